"""What becomes of the calls of one step, in every colour."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.utils import translation
from pydantic import BaseModel
from pytest_django.fixtures import DjangoAssertNumQueries

from django_chatgpt.core.messages import FunctionCall, FunctionResult
from django_chatgpt.exceptions import ToolFailedError
from django_chatgpt.functions import Caller, Function, FunctionRegistry, ai_function
from django_chatgpt.functions.calls import FunctionBox
from django_chatgpt.functions.results import MAX_RESULT_CHARS
from django_chatgpt.functions.running import WIDTH
from django_chatgpt.models import AIFunction
from tests.functions.cases import call, raw
from tests.functions.conftest import Make

AMOUNT = {"type": "object", "properties": {"amount": {"type": "integer"}}}
SECRET = "hunter2-in-a-traceback"


def add(a: int, b: int = 1) -> int:
    """Add."""
    return a + b


async def slow_add(a: int, b: int = 1) -> int:
    """Add, later."""
    await asyncio.sleep(0)
    return a + b


def new_add() -> Callable[..., int]:
    """An `add` of its own, which may be registered."""

    def another(a: int, b: int = 1) -> int:
        """Add."""
        return add(a, b)

    return another


def told(results: list[FunctionResult]) -> list[tuple[str, str]]:
    return [(result.error_code or result.status, result.output) for result in results]


def only(results: list[FunctionResult]) -> FunctionResult:
    [result] = results
    return result


class TestResults:
    @pytest.mark.parametrize("function", [add, slow_add])
    def test_goes_back(self, make: Make, function: Callable[..., Any]) -> None:
        result = only(make(FunctionBox([Function("add", function)]), [call("add", a=2, b=3)]))
        assert (result.output, result.status, result.error_code) == ("5", "completed", "")
        assert result.call.id == "call_add"
        assert 0 <= result.duration_ms < 5_000

    def test_no_calls(self, make: Make) -> None:
        assert make(FunctionBox(), []) == []

    def test_structured_ones(self, make: Make) -> None:
        class Weather(BaseModel):
            city: str
            warmth: float

        async def weather() -> list[Weather]:
            return [Weather(city="Rome", warmth=21.5)]

        assert (
            only(make(FunctionBox([weather]), [call("weather")])).output == '[{"city":"Rome","warmth":21.5}]'
        )

    def test_what_is_long_is_cut(self, make: Make) -> None:
        def much() -> str:
            return "x" * 1_000_000

        result = only(make(FunctionBox([much]), [call("much")]))
        assert result.status == "completed"
        assert len(result.output) < MAX_RESULT_CHARS + 200
        assert "Ask for less at once" in result.output

    def test_the_same_call_object_twice(self, make: Make) -> None:
        once = call("add", a=1)
        assert [result.output for result in make(FunctionBox([add]), [once, once])] == ["2", "2"]

    def test_an_awaitable_from_a_function_that_does_not_look_like_one(self, make: Make) -> None:
        def disguised(a: int) -> Any:
            return slow_add(a)

        assert only(make(FunctionBox([disguised]), [call("disguised", a=1)])).output == "2"

    def test_are_kept_by_the_box(self, make: Make) -> None:
        box = FunctionBox([add])
        results = make(box, [call("add", "one", a=1), call("nope", "two")])
        assert box.results == {"one": results[0], "two": results[1]}


class TestOrder:
    def test_is_that_of_the_calls(self, make: Make) -> None:
        def sleepy(seconds: float) -> float:
            time.sleep(seconds)
            return seconds

        async def dreamy(seconds: float) -> float:
            await asyncio.sleep(seconds)
            return seconds

        calls = [
            call("sleepy", "a", seconds=0.2),
            call("nobody", "b"),
            call("dreamy", "c", seconds=0.1),
            call("sleepy", "d", seconds=0),
            call("dreamy", "e", seconds=0),
        ]
        results = make(FunctionBox([sleepy, dreamy]), calls)
        assert [result.call.id for result in results] == ["a", "b", "c", "d", "e"]
        assert [result.output for result in results if result.status == "completed"] == [
            "0.2",
            "0.1",
            "0.0",
            "0.0",
        ]

    def test_side_by_side(self, make: Make) -> None:
        """Each waits for all the others, so that one after the other they would never get on."""
        barrier, met = threading.Barrier(4, timeout=10), threading.Semaphore(0)

        def meet() -> None:
            barrier.wait()

        async def ameet() -> None:
            met.release()
            for _ in range(1000):
                if met._value == 4:
                    return
                await asyncio.sleep(0.01)
            raise TimeoutError

        box = FunctionBox([meet, ameet])
        calls = [call(name, f"{name}{n}") for n in range(4) for name in ("meet", "ameet")]
        assert {result.status for result in make(box, calls)} == {"completed"}

    @pytest.mark.parametrize("is_async", [False, True])
    def test_never_too_many_at_once(self, make: Make, is_async: bool) -> None:
        lock, now, most = threading.Lock(), 0, 0

        def change(by: int) -> None:
            nonlocal now, most
            with lock:
                now += by
                most = max(most, now)

        def work() -> None:
            change(1)
            time.sleep(0.02)
            change(-1)

        async def awork() -> None:
            change(1)
            await asyncio.sleep(0.02)
            change(-1)

        box = FunctionBox([Function("work", awork if is_async else work)])
        results = make(box, [call("work", f"call {n}") for n in range(3 * WIDTH)])
        assert [result.call.id for result in results] == [f"call {n}" for n in range(3 * WIDTH)]
        # A busy machine may begin the next before all of these are there.
        assert 1 < most <= WIDTH

    def test_a_synchronous_function_does_not_hold_up_the_loop(self) -> None:
        async def run() -> int:
            ticks = 0

            async def tick() -> None:
                nonlocal ticks
                while True:
                    await asyncio.sleep(0.01)
                    ticks += 1

            ticking = asyncio.ensure_future(tick())
            await FunctionBox([Function("nap", lambda: time.sleep(0.3))]).acall([call("nap")])
            ticking.cancel()
            return ticks

        assert asyncio.run(run()) > 5


class TestRefusals:
    @pytest.mark.parametrize(
        ("asked", "code", "text"),
        [
            (
                call("add", a="two"),
                "invalid_arguments",
                'a: should be a valid integer, unable to parse string as an integer, not "two".',
            ),
            (call("add"), "invalid_arguments", "a: is missing."),
            (
                call("add", a=1, c=2),
                "invalid_arguments",
                "c: is no argument of this function; it takes a, b.",
            ),
            (
                raw("add", '{"a": 1'),
                "invalid_arguments",
                "The arguments are not valid JSON: EOF while parsing an object at line 1 column 7.",
            ),
            (raw("add", "[1]"), "invalid_arguments", "The arguments must be a JSON object."),
            (
                raw("add", '{"a": "' + "x" * 1_000_000 + '"}'),
                "invalid_arguments",
                "The arguments have 1000009 bytes; at most 1000000 are taken.",
            ),
            (call("ad", a=1), "unknown_function", "There is no function ad. Did you mean add?"),
            (
                call("functions.Add", a=1),
                "unknown_function",
                "There is no function functions.Add. Did you mean add?",
            ),
            (call("weather"), "unknown_function", "There is no function weather. There is: add, multiply."),
            (call(""), "unknown_function", "There is no function . There is: add, multiply."),
        ],
        ids=[
            "wrong type",
            "missing",
            "extra",
            "broken",
            "list",
            "1 MB",
            "misspelt",
            "prefixed",
            "unknown",
            "nameless",
        ],
    )
    def test_the_model_is_told_what_to_do_better(
        self, make: Make, asked: FunctionCall, code: str, text: str
    ) -> None:
        box = FunctionBox([add, Function("multiply", add)])
        result = only(make(box, [asked]))
        assert (result.status, result.error_code, result.output) == ("failed", code, text)
        assert result.duration_ms == 0

    def test_a_name_without_end(self, make: Make) -> None:
        result = only(make(FunctionBox([add]), [call("x" * 1_000_000)]))
        assert result.error_code == "unknown_function"
        assert len(result.output) < 200

    def test_a_name_that_no_database_takes(self, make: Make) -> None:
        output = only(make(FunctionBox([add]), [call("a\x00\ud800b")])).output
        assert "\x00" not in output
        assert output.encode()

    def test_there_is_nothing_to_call(self, make: Make) -> None:
        assert told(make(FunctionBox(), [call("add")])) == [
            ("unknown_function", "There is no function add. There are no functions.")
        ]

    def test_a_faulty_function_is_none(self, make: Make) -> None:
        def faulty(*args: int) -> None: ...

        box = FunctionBox([faulty])
        assert box.schemas == ()
        assert only(make(box, [call("faulty")])).error_code == "unknown_function"

    def test_a_validator_that_fails(self, make: Make, caplog: pytest.LogCaptureFixture) -> None:
        class Looked(BaseModel):
            name: str

            def model_post_init(self, context: Any, /) -> None:
                raise LookupError(SECRET)

        def function(looked: Looked) -> None: ...

        function.__annotations__["looked"] = Looked
        assert told(make(FunctionBox([function]), [call("function", looked={"name": "a"})])) == [
            ("function_failed", "The function failed.")
        ]
        assert "could not be checked" in caplog.text
        assert SECRET not in caplog.text

    def test_a_refusal_does_not_touch_its_siblings(self, make: Make) -> None:
        results = make(FunctionBox([add]), [call("add", "1", a="x"), call("add", "2", a=1), call("no", "3")])
        assert [result.status for result in results] == ["failed", "completed", "failed"]


def raises(error: BaseException) -> list[Function]:
    def fail() -> None:
        raise error

    async def afail() -> None:
        raise error

    return [Function("fail", fail), Function("afail", afail)]


class TestFailures:
    @pytest.mark.parametrize(
        "error",
        [
            ValueError(SECRET),
            KeyError("OPENAI_API_KEY"),
            SystemExit(3),
            asyncio.CancelledError(),
            TimeoutError(),
            StopIteration(3),
            BaseException(SECRET),
            BaseExceptionGroup("group", [SystemExit()]),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_are_told_in_short_and_logged_at_length(
        self, make: Make, error: BaseException, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.ERROR, "django_chatgpt.functions"):
            results = make(FunctionBox(raises(error)), [call("fail", secret=1), call("fail"), call("afail")])
        assert told(results[1:]) == [("function_failed", "The function failed.")] * 2
        assert SECRET not in repr(results)
        records = [record for record in caplog.records if record.name == "django_chatgpt.functions"]
        assert sorted(record.getMessage() for record in records) == [
            "Function afail failed (turn None, call call_afail).",
            "Function fail failed (turn None, call call_fail).",
        ]
        assert all(record.exc_info and record.levelno == logging.ERROR for record in records)

    def test_arguments_are_not_logged(self, make: Make, caplog: pytest.LogCaptureFixture) -> None:
        def fail(password: str) -> None:
            raise ValueError("no")

        with caplog.at_level(logging.DEBUG):
            make(FunctionBox([fail]), [call("fail", password=SECRET), call("fail", password=[SECRET])])
        assert SECRET not in caplog.text

    def test_on_purpose(self, make: Make, caplog: pytest.LogCaptureFixture) -> None:
        text = "There is no order 7; orders have six digits."
        results = make(FunctionBox(raises(ToolFailedError(text))), [call("fail"), call("afail")])
        assert told(results) == [("function_failed", text)] * 2
        assert "Traceback" not in caplog.text

    def test_on_purpose_at_length(self, make: Make) -> None:
        results = make(FunctionBox(raises(ToolFailedError("\x00" * 100_000))), [call("fail")])
        assert len(results[0].output) < MAX_RESULT_CHARS + 200
        assert "\x00" not in results[0].output

    def test_a_result_that_can_not_be_told(self, make: Make, caplog: pytest.LogCaptureFixture) -> None:
        async def astrange() -> Any:
            return {"user": User(username=SECRET)}

        def strange() -> Any:
            return object()

        results = make(FunctionBox([strange, astrange]), [call("strange"), call("astrange")])
        assert told(results) == [
            ("result_unserializable", "strange ran, but what it returned can't be shown."),
            ("result_unserializable", "astrange ran, but what it returned can't be shown."),
        ]
        assert "User is a model instance" in caplog.text
        assert SECRET not in repr(results)

    def test_leave_what_others_brought(self, make: Make) -> None:
        functions = [*raises(RuntimeError()), Function("add", add), Function("slow_add", slow_add)]
        names = ["fail", "add", "afail", "slow_add"]
        results = make(FunctionBox(functions), [call(n, a=1) if "add" in n else call(n) for n in names])
        assert [result.status for result in results] == ["failed", "completed", "failed", "completed"]


class TestCaller:
    def test_is_told_who_calls(self, make: Make) -> None:
        seen: list[Caller] = []

        def whoami(caller: Caller) -> None:
            seen.append(caller)

        async def awhoami(caller: Caller, also: Caller | None = None) -> None:
            seen.extend(each for each in (caller, also) if each)

        box = FunctionBox([whoami, awhoami], user="ada", conversation_id=UUID(int=1), turn_id=UUID(int=2))
        make(box, [call("whoami"), call("awhoami")])
        assert [(each.user, each.conversation_id, each.turn_id) for each in seen] == [
            ("ada", UUID(int=1), UUID(int=2))
        ] * 3
        assert {each.call_id for each in seen} == {"call_whoami", "call_awhoami"}

    def test_the_model_can_not_say_who_calls(self, make: Make) -> None:
        def whoami(caller: Caller) -> str:
            return str(caller.user)

        box = FunctionBox([whoami], user="ada")
        assert box.schemas[0]["parameters"]["properties"] == {}
        assert told(make(box, [call("whoami", caller={"user": "grace"})])) == [
            ("invalid_arguments", "caller: is not taken here.")
        ]

    def test_the_key_is_that_of_the_call(self, make: Make) -> None:
        keys: list[str] = []

        def pay(caller: Caller, amount: int = 1) -> None:
            keys.append(caller.idempotency_key)

        def box(user: Any = "ada", turn: int = 2) -> FunctionBox:
            return FunctionBox([pay], user=user, turn_id=UUID(int=turn))

        same = [call("pay", "one", amount=1)]
        for each in (box(), box()):
            make(each, same)
        assert keys[0] == keys[1]
        assert len(bytes.fromhex(keys[0])) == hashlib.sha256().digest_size
        make(box(), [call("pay", "two", amount=1)])
        make(box(), [call("pay", "one", amount=2)])
        make(box(turn=3), same)
        make(
            FunctionBox([Function("pay2", pay)], user="ada", turn_id=UUID(int=2)),
            [call("pay2", "one", amount=1)],
        )
        assert len(set(keys)) == 5

    def test_the_layout_of_the_arguments_does_not_change_the_key(self, make: Make) -> None:
        keys: list[str] = []

        def pay(caller: Caller, amount: int, to: str) -> None:
            keys.append(caller.idempotency_key)

        for text in ('{"amount":1,"to":"a"}', '{ "to": "a", "amount": 1 }'):
            make(FunctionBox([pay]), [raw("pay", text)])
        assert keys[0] == keys[1]


def test_the_language_of_the_caller_is_that_of_the_function(make: Make) -> None:
    def language() -> Any:
        return translation.get_language()

    async def alanguage() -> Any:
        return translation.get_language()

    with translation.override("fr"):
        results = make(FunctionBox([language, alanguage]), [call("language"), call("alanguage")])
    assert [result.output for result in results] == ["fr", "fr"]


@pytest.mark.django_db
class TestWhoMay:
    @pytest.fixture
    def _registered(self, registry: FunctionRegistry) -> None:
        def is_ada(user: Any) -> bool:
            return user is not None and user.username == "ada"

        registry.register(new_add(), name="add")
        registry.register(new_add(), name="delete", permission="auth.delete_user")
        registry.register(new_add(), name="for_ada", permission=is_ada)
        registry.register(new_add(), name="off")
        AIFunction.objects.create(name="off", is_active=False)
        AIFunction.objects.create(name="add")

    @staticmethod
    def names(box: FunctionBox) -> list[str]:
        return [schema["name"] for schema in box.schemas]

    @pytest.mark.usefixtures("_registered")
    def test_each_sees_what_is_theirs(self, user: User, other_user: User, staff_user: User) -> None:
        assert self.names(FunctionBox.for_user(user)) == ["add", "for_ada"]
        assert self.names(FunctionBox.for_user(other_user)) == ["add"]
        assert self.names(FunctionBox.for_user(staff_user)) == ["add", "delete"]
        assert self.names(FunctionBox.for_user(None)) == ["add"]

    @pytest.mark.usefixtures("_registered")
    def test_what_is_not_shown_is_refused_all_the_same(self, user: User) -> None:
        box = FunctionBox.for_user(user)
        calls = [call(name, a=1) for name in ("add", "delete", "for_ada", "off", "delet", "of")]
        assert told(box.call(calls)) == [
            ("completed", "2"),
            ("permission_denied", "This user may not call delete."),
            ("completed", "2"),
            ("function_inactive", "off is switched off at the moment."),
            ("unknown_function", "There is no function delet. There is: add, for_ada."),
            ("unknown_function", "There is no function of. There is: add, for_ada."),
        ]

    @pytest.mark.usefixtures("_registered")
    def test_switching_off_acts_at_once(self, user: User) -> None:
        box = FunctionBox.for_user(user)
        AIFunction.objects.filter(name="add").update(is_active=False)
        assert told(box.call([call("add", a=1)]))[0][0] == "function_inactive"
        assert self.names(FunctionBox.for_user(user)) == ["for_ada"]

    @pytest.mark.usefixtures("_registered")
    def test_one_query_for_the_box_and_one_for_a_step(
        self, user: User, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        user.has_perm("auth.delete_user")
        with django_assert_num_queries(1):
            box = FunctionBox.for_user(user)
            assert box.schemas
        with django_assert_num_queries(1):
            box.call([call("add", "1", a=1), call("for_ada", "2", a=1), call("off", "3", a=1)])

    @pytest.mark.usefixtures("registry")
    def test_no_query_where_nothing_is_registered(
        self, user: User, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        with django_assert_num_queries(0):
            box = FunctionBox.for_user(user)
            box.call([call("add", a=1)])
            FunctionBox([add], user=user).call([call("add", a=1)])

    @pytest.mark.usefixtures("_registered")
    def test_only_some_of_them(self, user: User) -> None:
        @ai_function(permission="auth.delete_user")
        def secret() -> None: ...

        assert self.names(FunctionBox.for_user(user, [add, secret])) == ["add"]

    def test_a_row_of_the_same_name_does_not_touch_what_is_not_registered(
        self, registry: FunctionRegistry, user: User
    ) -> None:
        AIFunction.objects.create(name="add", is_active=False)
        assert told(FunctionBox.for_user(user, [add]).call([call("add", a=1)])) == [("completed", "2")]

    def test_nothing_of_a_row_is_executed(self, registry: FunctionRegistry, user: User) -> None:
        AIFunction.objects.create(name="evil", implementation="os.system", is_active=True)
        box = FunctionBox.for_user(user)
        assert box.schemas == ()
        assert told(box.call([call("evil", command="true")]))[0][0] == "unknown_function"


class TestApproval:
    def pay(self, amount: int, to: str = "bob") -> str:
        """Pay."""
        return f"{amount} to {to}"

    @pytest.fixture
    def function(self) -> Function:
        return Function("pay", self.pay, requires_approval=lambda arguments: arguments["amount"] > 100)

    def test_nothing_happens_without_one(self, make: Make, function: Function) -> None:
        results = make(FunctionBox([function]), [call("pay", "1", amount=100), call("pay", "2", amount=101)])
        assert told(results) == [
            ("completed", "100 to bob"),
            ("approval_required", "pay needs the approval of a person; it was not called."),
        ]

    def test_which_calls_need_one_is_known_beforehand(self, function: Function) -> None:
        calls = [
            call("pay", "1", amount=100),
            call("pay", "2", amount=101),
            call("pay", "3"),
            call("no", "4"),
        ]
        examined = FunctionBox([function]).examine(calls)
        assert [each.call for each in examined] == calls
        assert [each.needs_approval for each in examined] == [False, True, False, False]
        assert [each.refused and each.refused.error_code for each in examined] == [
            None,
            None,
            "invalid_arguments",
            "unknown_function",
        ]

    def test_with_one_it_is_made(self, make: Make, function: Function) -> None:
        asked = call("pay", amount=101)
        [examined] = FunctionBox([function]).examine([asked])
        box = FunctionBox([function], approved={asked.id: examined.fingerprint})
        assert not box.examine([asked])[0].needs_approval
        assert told(make(box, [asked])) == [("completed", "101 to bob")]

    def test_counts_for_that_call_and_those_arguments_only(self, make: Make, function: Function) -> None:
        asked = call("pay", "1", amount=101)
        [examined] = FunctionBox([function]).examine([asked])
        box = FunctionBox([function], approved={"1": examined.fingerprint})
        forged = [
            call("pay", "1", amount=102),
            call("pay", "2", amount=101),
            call("pay", "1", amount=101, to="eve"),
        ]
        for each in forged:
            assert told(make(box, [each]))[0][0] == "approval_required"

    def test_does_not_count_for_another_function_or_another_schema(
        self, make: Make, function: Function
    ) -> None:
        asked = call("pay", amount=101)
        [examined] = FunctionBox([function]).examine([asked])

        def changed(amount: int, to: str = "bob", currency: str = "USD") -> str:
            return "x"

        for other in (
            Function("pay", changed, requires_approval=True),
            Function(
                "pay",
                self.pay,
                parameters={"type": "object", "properties": {"amount": {}}},
                requires_approval=True,
            ),
        ):
            box = FunctionBox([other], approved={asked.id: examined.fingerprint})
            assert told(make(box, [asked]))[0][0] == "approval_required"

    def test_does_not_replace_the_permission(self, make: Make) -> None:
        function = Function("pay", self.pay, permission=lambda user: False, requires_approval=True)
        asked = call("pay", amount=1)
        box = FunctionBox([function], approved={asked.id: function.fingerprint('{"amount":1}')})
        assert told(make(box, [asked]))[0][0] == "permission_denied"
