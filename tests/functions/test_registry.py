from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.checks import Error, Warning
from django.core.checks import registry as checks
from django.test.utils import override_settings

from django_chatgpt.exceptions import (
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ToolFailedError,
)
from django_chatgpt.functions import Caller, Function, FunctionRegistry, ai_function
from django_chatgpt.functions.checks import FUNCTION_CHECKS, check_functions
from django_chatgpt.models import AIFunction


class TestDecorator:
    def test_bare(self, registry: FunctionRegistry) -> None:
        @ai_function
        def weather(city: str) -> str:
            """Tell the weather."""
            return city

        assert weather("Rome") == "Rome"
        made = registry.get_function("weather")
        assert made is not None
        assert made.call is weather
        assert made.text == "Tell the weather."

    def test_with_options(self, registry: FunctionRegistry) -> None:
        schema = {"type": "object", "properties": {"city": {"type": "string"}}}

        @ai_function(
            name="get_weather",
            description="Tell.",
            parameters=schema,
            permission="auth.view_user",
            requires_approval=True,
            timeout=5,
        )
        def weather(city: str) -> str:
            return city

        assert weather("Rome") == "Rome"
        assert registry.get_function("weather") is None
        made = registry.get_function("get_weather")
        assert made == Function.of(weather)
        assert made is not None
        assert (made.permission, made.requires_approval, made.timeout) == ("auth.view_user", True, 5)
        assert registry.get_schema("get_weather") == {
            "name": "get_weather",
            "description": "Tell.",
            "parameters": schema,
            "strict": False,
        }

    @pytest.mark.usefixtures("registry")
    def test_its_options_have_names(self) -> None:
        with pytest.raises(TypeError, match="its options have names"):
            ai_function("get_weather")  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="permision"):
            ai_function(permision="a.b")(print)  # type: ignore[call-overload]

    def test_what_takes_no_attributes(self, registry: FunctionRegistry) -> None:
        class Station:
            def weather(self, city: str) -> str:
                """Tell the weather."""
                return city

        registry.register(Station().weather)
        assert registry.get_schema("weather") is not None


class TestRegistry:
    def test_nothing_is_there(self, registry: FunctionRegistry) -> None:
        assert registry.get_function("weather") is None
        assert registry.get_schema("weather") is None
        assert registry.get_all_schemas() == registry.functions == registry.problems == registry.rows == []

    def test_all_schemas_in_their_order(self, registry: FunctionRegistry) -> None:
        for name in ("b", "a", "c"):
            registry.register(_noop(), name=name)
        assert [schema["name"] for schema in registry.get_all_schemas()] == ["b", "a", "c"]

    def test_the_rows_of_the_table(self, registry: FunctionRegistry) -> None:
        registry.register(weather)
        assert registry.rows == [
            {
                "name": "weather",
                "description": "Tell the weather.",
                "parameters_schema": Function("weather", weather).schema["parameters"],
                "implementation": f"{__name__}.weather",
            }
        ]

    def test_a_faulty_function_is_kept_from_the_model(self, registry: FunctionRegistry) -> None:
        @ai_function
        def faulty(*names: str) -> None:
            """Do."""

        assert registry.get_function("faulty") is not None
        assert registry.get_schema("faulty") is None
        assert registry.functions == registry.rows == registry.get_all_schemas() == []

    def test_of_two_with_one_name_the_first_stays(self, registry: FunctionRegistry) -> None:
        first, second = _noop(), weather
        registry.register(first, name="same")
        registry.register(second, name="same")
        made = registry.get_function("same")
        assert made is not None
        assert made.call is first
        [problem] = registry.problems
        assert problem.check == "django_chatgpt.E101"
        assert problem.where == f"{__name__}.weather"
        assert problem.sentence == f"is called 'same', as {__name__}._noop.<locals>.noop already is."

    def test_a_name_given_twice_in_one_module_is_told(self, registry: FunctionRegistry) -> None:
        def one() -> None:
            """Do."""

        def other() -> None:
            """Do."""

        other.__qualname__ = one.__qualname__
        other.__name__ = "one"
        registry.register(one)
        registry.register(other)
        assert [problem.check for problem in registry.problems] == ["django_chatgpt.E101"]

    def test_a_module_imported_again_brings_the_same_functions(self, registry: FunctionRegistry) -> None:
        first, again = _noop(), _noop()
        registry.register(first, name="same")
        registry.register(again, name="same")
        made = registry.get_function("same")
        assert made is not None
        assert made.call is again
        assert registry.problems == []

    def test_taken_away(self, registry: FunctionRegistry) -> None:
        registry.register(weather)
        registry.register(_noop(), name="weather")
        registry.unregister("weather")
        registry.unregister("weather")
        assert registry.get_function("weather") is None
        assert registry.problems == []


def weather(city: str = "Paris") -> str:
    """Tell the weather."""
    return f"Sunny in {city}"


def _noop() -> Any:
    def noop() -> None:
        """Do nothing."""

    return noop


def test_functions_are_discovered_in_each_app(
    registry: FunctionRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for app in ("with_functions", "without_functions"):
        (tmp_path / app).mkdir()
        (tmp_path / app / "__init__.py").touch()
    (tmp_path / "with_functions" / "ai_functions.py").write_text(
        "from django_chatgpt.functions import ai_function\n\n"
        "@ai_function\n"
        "def weather(city: str) -> str:\n"
        '    """Tell the weather."""\n'
        "    return city\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with override_settings(
        INSTALLED_APPS=[
            *(config.name for config in apps.get_app_configs()),
            "with_functions",
            "without_functions",
        ]
    ):
        registry.autodiscover()
    for name in [name for name in sys.modules if name.startswith(("with_functions", "without_functions"))]:
        del sys.modules[name]
    made = registry.get_function("weather")
    assert made is not None
    assert made.implementation == "with_functions.ai_functions.weather"


class TestChecks:
    def test_is_registered(self) -> None:
        assert check_functions in checks.registry.get_checks()

    @pytest.mark.usefixtures("registry")
    def test_nothing_is_wrong(self) -> None:
        ai_function(weather)
        assert check_functions() == []

    @pytest.mark.usefixtures("registry")
    def test_errors_and_warnings(self) -> None:
        @ai_function
        def faulty(*names: str) -> None: ...

        where = f"{__name__}.TestChecks.test_errors_and_warnings.<locals>.faulty"
        assert check_functions() == [
            Error(
                f"{where} takes *names.", hint="Take a list: `names: list[str]`.", id="django_chatgpt.E103"
            ),
            Warning(
                f"{where} has no description, so the model can only guess what it is for.",
                hint="Write a docstring.",
                id="django_chatgpt.W101",
            ),
        ]

    def test_of_some_apps_only(self, registry: FunctionRegistry) -> None:
        def theirs() -> None:
            """Do."""

        theirs.__module__ = "django.contrib.auth.ai_functions"
        registry.register(theirs, name="two words")
        registry.register(_noop(), name="three more words")
        auth, sessions = apps.get_app_config("auth"), apps.get_app_config("sessions")
        assert len(check_functions()) == 2
        [message] = check_functions([auth, sessions])
        assert "'two words'" in message.msg
        assert check_functions([sessions]) == []

    def test_each_has_a_meaning(self) -> None:
        assert all(meaning.endswith(".") for meaning in FUNCTION_CHECKS.values())


@pytest.mark.django_db
class TestExecute:
    def test_by_name(self, registry: FunctionRegistry) -> None:
        registry.register(weather)
        assert registry.execute_function("weather", {"city": "Rome"}) == "Sunny in Rome"
        assert registry.execute_function("weather", '{"city": "Oslo"}') == "Sunny in Oslo"
        assert registry.execute_function("weather") == "Sunny in Paris"

    def test_arguments_that_are_no_json_yet(self, registry: FunctionRegistry) -> None:
        @ai_function
        def show(key: UUID) -> dict[str, UUID]:
            """Show."""
            return {"key": key}

        assert registry.execute_function("show", {"key": UUID(int=1)}) == {"key": str(UUID(int=1))}

    def test_the_result_is_whole(self, registry: FunctionRegistry) -> None:
        @ai_function
        def much() -> list[str]:
            """Tell much."""
            return ["x" * 100] * 1000

        assert registry.execute_function("much") == ["x" * 100] * 1000

    @pytest.mark.parametrize(
        ("name", "arguments", "error", "code", "text"),
        [
            (
                "wether",
                {},
                NotFoundError,
                "unknown_function",
                "There is no function wether. Did you mean",
            ),
            (
                "weather",
                {"city": 1},
                InvalidRequestError,
                "invalid_arguments",
                "city: should be a valid string, not",
            ),
            ("weather", "{", InvalidRequestError, "invalid_arguments", "The arguments are not valid JSON: "),
            ("secret", {}, PermissionDeniedError, "permission_denied", "This user may not call secret."),
            ("off", {}, PermissionDeniedError, "function_inactive", "off is switched off at the moment."),
            ("grave", {}, PermissionDeniedError, "approval_required", "grave needs the approval of a person"),
            ("fails", {}, ToolFailedError, "function_failed", "The function failed."),
            (
                "strange",
                {},
                ToolFailedError,
                "result_unserializable",
                "strange ran, but what it returned",
            ),
        ],
    )
    def test_each_refusal_is_an_error_of_its_own(
        self,
        registry: FunctionRegistry,
        user: User,
        name: str,
        arguments: Any,
        error: type,
        code: str,
        text: str,
    ) -> None:
        def fails() -> None:
            raise ValueError("the password is 1234")

        registry.register(weather)
        registry.register(_noop(), name="secret", permission="auth.view_user")
        registry.register(_noop(), name="off")
        registry.register(_noop(), name="grave", requires_approval=True)
        registry.register(fails)
        registry.register(lambda: object(), name="strange")
        AIFunction.objects.create(name="off", is_active=False)
        with pytest.raises(error) as caught:
            registry.execute_function(name, arguments, user=user)
        assert caught.value.code == code
        assert caught.value.message.startswith(text)
        assert "1234" not in str(caught.value)
        if code == "invalid_arguments":
            assert list(caught.value.fields) == ["city" if isinstance(arguments, dict) else "arguments"]

    def test_with_the_callers_permissions(self, registry: FunctionRegistry, staff_user: User) -> None:
        @ai_function(permission="auth.view_user")
        def whoami(caller: Caller) -> str:
            """Tell who asks."""
            return str(caller.user.username)

        assert registry.execute_function("whoami", user=staff_user) == "grace"

    def test_a_coroutine_function(self, registry: FunctionRegistry) -> None:
        @ai_function
        async def later() -> int:
            """Tell later."""
            return 3

        assert registry.execute_function("later") == 3


@pytest.mark.django_db(transaction=True)
class TestExecuteInACoroutine:
    async def test_by_name(self, registry: FunctionRegistry) -> None:
        registry.register(weather)
        assert await registry.aexecute_function("weather", {"city": "Rome"}) == "Sunny in Rome"

    async def test_a_refusal(self, registry: FunctionRegistry) -> None:
        with pytest.raises(NotFoundError):
            await registry.aexecute_function("weather")
