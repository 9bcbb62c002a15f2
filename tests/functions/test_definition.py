from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User

from django_chatgpt.functions import Caller, Function, ai_function


def weather(city: str = "Paris") -> str:
    """Tell the weather."""
    return f"Sunny in {city}"


async def forecast(city: str = "Paris") -> str:
    """Tell the weather to come."""
    return city


class Station:
    """Tell the weather."""

    def __call__(self, city: str = "Paris") -> str:
        return city


class SlowStation:
    """Tell the weather, later."""

    async def __call__(self, city: str = "Paris") -> str:
        return city


def test_what_the_model_is_told() -> None:
    assert Function("weather", weather).schema == {
        "name": "weather",
        "description": "Tell the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    }


def test_whoever_is_told_can_not_change_it() -> None:
    made = Function("weather", weather)
    made.schema["parameters"]["properties"].clear()
    assert list(made.schema["parameters"]["properties"]) == ["city"]


def test_a_description_of_its_own() -> None:
    assert Function("weather", weather, description=" Short. ").schema["description"] == "Short."


def test_is_called_like_the_function() -> None:
    assert Function("weather", weather)("Rome") == "Sunny in Rome"


@pytest.mark.parametrize(
    ("call", "path"),
    [
        (weather, "weather"),
        (partial(weather, city="Rome"), "weather"),
        (Station(), "Station"),
        (Station().__call__, "Station.__call__"),
    ],
)
def test_the_implementation_is_a_dotted_path(call: Callable[..., Any], path: str) -> None:
    made = Function("weather", call)
    assert made.implementation == f"{__name__}.{path}"
    assert repr(made) == f"<Function weather: {__name__}.{path}>"


@pytest.mark.parametrize(
    ("call", "is_async"),
    [
        (weather, False),
        (forecast, True),
        (partial(forecast, city="Rome"), True),
        (Station(), False),
        (SlowStation(), True),
        (SlowStation().__call__, True),
    ],
)
def test_the_colour(call: Callable[..., Any], is_async: bool) -> None:
    assert Function("weather", call).is_async is is_async


class TestOf:
    def test_a_plain_function(self) -> None:
        made = Function.of(weather)
        assert (made.name, made.call, made.permission) == ("weather", weather, None)

    def test_a_partial_has_the_name_of_its_function(self) -> None:
        assert Function.of(partial(weather, city="Rome")).name == "weather"

    def test_itself(self) -> None:
        made = Function("weather", weather)
        assert Function.of(made) is made

    @pytest.mark.usefixtures("registry")
    def test_a_decorated_function_keeps_its_guard(self) -> None:
        @ai_function(permission="auth.view_user")
        def secret() -> str:
            """Tell a secret."""
            return "x"

        assert Function.of(secret).permission == "auth.view_user"


class TestPermission:
    def test_none_is_needed(self) -> None:
        assert Function("weather", weather).allows(None)

    @pytest.mark.django_db
    def test_a_string_is_djangos(self, user: User, staff_user: User) -> None:
        made = Function("weather", weather, permission="auth.view_user")
        assert not made.allows(user)
        assert made.allows(staff_user)
        user.user_permissions.add(Permission.objects.get(codename="view_user"))
        assert made.allows(User.objects.get(pk=user.pk))

    @pytest.mark.django_db
    def test_the_inactive_and_the_unknown_have_none(self, staff_user: User) -> None:
        made = Function("weather", weather, permission="auth.view_user")
        staff_user.is_active = False
        assert not made.allows(staff_user)
        assert not made.allows(AnonymousUser())

    def test_nobody_has_none(self) -> None:
        assert not Function("weather", weather, permission="auth.view_user").allows(None)

    def test_a_function_is_asked(self) -> None:
        made = Function("weather", weather, permission=lambda user: user == "ada")
        assert made.allows("ada")
        assert not made.allows("bob")
        assert not made.allows(None)

    def test_one_that_fails_refuses(self, caplog: pytest.LogCaptureFixture) -> None:
        made = Function("weather", weather, permission=lambda user: user.is_staff)
        with caplog.at_level(logging.ERROR, "django_chatgpt.functions"):
            assert not made.allows(None)
        assert "The permission of function weather can't be told" in caplog.text

    def test_what_it_fails_with_is_not_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        made = Function("weather", weather, permission=lambda user: int(user) > 0)
        assert not made.allows("somebody")
        assert "can't be told" in caplog.text
        assert "somebody" not in caplog.text


class TestApproval:
    def test_is_not_needed(self) -> None:
        assert not Function("weather", weather).needs_approval({})

    def test_is_always_needed(self) -> None:
        assert Function("weather", weather, requires_approval=True).needs_approval({})

    def test_depends_on_the_arguments(self) -> None:
        made = Function("pay", weather, requires_approval=lambda arguments: arguments["amount"] > 100)
        assert not made.needs_approval({"amount": 100})
        assert made.needs_approval({"amount": 101})

    def test_is_needed_where_it_can_not_be_told(self, caplog: pytest.LogCaptureFixture) -> None:
        made = Function("pay", weather, requires_approval=lambda arguments: arguments["amount"] > 100)
        assert made.needs_approval({})
        assert "Whether function pay needs an approval can't be told" in caplog.text

    def test_no_argument_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        made = Function("pay", weather, requires_approval=lambda arguments: int(arguments["to"]) > 100)
        assert made.needs_approval({"to": "somebody's account"})
        assert "can't be told" in caplog.text
        assert "somebody" not in caplog.text

    def test_whoever_is_asked_can_not_change_the_arguments(self) -> None:
        arguments = {"amount": 1}
        Function("pay", weather, requires_approval=lambda given: bool(given.clear())).needs_approval(
            arguments
        )
        assert arguments == {"amount": 1}


@pytest.mark.django_db
class TestWhoApproves:
    def test_the_asker_where_nobody_else_is_named(self, user: User, staff_user: User) -> None:
        made = Function("pay", weather, requires_approval=True)
        assert made.may_decide(user, asker=user)
        assert not made.may_decide(staff_user, asker=user)
        assert not made.may_decide(user, asker=None)
        assert not made.decides_for_others(staff_user)

    def test_the_asker_needs_the_permission_of_the_function(self, user: User, staff_user: User) -> None:
        made = Function("pay", weather, requires_approval=True, permission="auth.view_user")
        assert not made.may_decide(user, asker=user)
        assert made.may_decide(staff_user, asker=staff_user)

    def test_whoever_has_the_permission(self, user: User, other_user: User, staff_user: User) -> None:
        made = Function("pay", weather, requires_approval=True, approval_permission="auth.change_user")
        assert made.may_decide(staff_user, asker=user)
        assert made.may_decide(staff_user, asker=staff_user)
        assert made.may_decide(staff_user, asker=None)
        assert not made.may_decide(user, asker=user)
        assert not made.may_decide(other_user, asker=user)
        assert made.decides_for_others(staff_user)
        assert not made.decides_for_others(user)

    def test_somebody_else_than_the_asker(self, user: User, staff_user: User) -> None:
        made = Function(
            "pay",
            weather,
            requires_approval=True,
            approval_permission="auth.change_user",
            self_approval=False,
        )
        assert made.may_decide(staff_user, asker=user)
        assert not made.may_decide(staff_user, asker=staff_user)


class TestFingerprint:
    def test_is_that_of_name_schema_and_arguments(self) -> None:
        def other(city: str, day: int) -> str:
            """Tell the weather."""
            return city

        made = Function("weather", weather)
        first = made.fingerprint('{"city":"Rome"}')
        assert len(first) == 64
        assert first == Function("weather", weather, description="Other words.").fingerprint(
            '{"city":"Rome"}'
        )
        others = {
            made.fingerprint('{"city":"Oslo"}'),
            Function("weather2", weather).fingerprint('{"city":"Rome"}'),
            Function("weather", other).fingerprint('{"city":"Rome"}'),
        }
        assert len(others | {first}) == 4


@pytest.mark.parametrize("name", ["", "get weather", "a.b", "x" * 65, "wetter_für_heute", "a\n", "<lambda>"])
def test_a_name_that_providers_refuse(name: str) -> None:
    [problem] = Function(name, weather).problems
    assert problem.check == "django_chatgpt.E102"
    assert problem.sentence == f"is called {name!r}."


async def asked_later(value: Any) -> bool:
    return True


@pytest.mark.parametrize(
    "options",
    [
        {"permission": "view_user"},
        {"permission": ""},
        {"permission": "auth.view_user.x"},
        {"permission": ["auth.view_user"]},
        {"permission": True},
        {"permission": asked_later},
        {"requires_approval": "yes"},
        {"requires_approval": None},
        {"requires_approval": asked_later},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": "30"},
        {"timeout": True},
        {"timeout": float("inf")},
        {"timeout": float("nan")},
        {"approval_permission": "staff"},
        {"approval_permission": asked_later},
        {"self_approval": False},
        {"self_approval": "no"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_a_malformed_option(options: dict[str, Any]) -> None:
    made = Function("weather", weather, **options)
    [problem] = made.problems
    assert problem.check == "django_chatgpt.E107"
    assert next(iter(options)) in problem.sentence
    assert problem.hint
    assert not made.is_usable


def test_no_description_is_a_warning() -> None:
    def nameless() -> None: ...

    made = Function("nameless", nameless)
    [problem] = made.problems
    assert problem.check == "django_chatgpt.W101"
    assert made.is_usable


def test_a_long_description_is_a_warning() -> None:
    [problem] = Function("weather", weather, description="x" * 1025).problems
    assert problem.check == "django_chatgpt.W102"
    assert not Function("weather", weather, description="x" * 1024).problems


def test_a_caller_has_defaults_for_whoever_tests() -> None:
    assert Caller() == Caller(user=None, conversation_id=None, turn_id=None, call_id="", idempotency_key="")
