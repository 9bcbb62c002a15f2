"""The functions that the site lets the model call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar, overload

from django.utils.module_loading import autodiscover_modules
from pydantic_core import to_json

from django_chatgpt.core.ids import uuid7
from django_chatgpt.core.messages import FunctionCall
from django_chatgpt.functions.definition import Function, Permission, RequiresApproval, name_of
from django_chatgpt.functions.problems import DUPLICATE, Problem

MODULE = "ai_functions"

F = TypeVar("F", bound=Callable[..., Any])


class FunctionRegistry:
    """Functions by name. A faulty one is kept from the model, and the system checks say why."""

    def __init__(self) -> None:
        self._functions: dict[str, Function] = {}
        self._duplicates: list[tuple[Function, Function]] = []

    def register(
        self,
        function: F,
        *,
        name: str | None = None,
        description: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        permission: Permission = None,
        requires_approval: RequiresApproval = False,
        timeout: float | None = None,
        approval_permission: str | None = None,
        self_approval: bool = True,
    ) -> F:
        """Let the model call a function; returns it unchanged. Of two with one name, the first stays."""
        if not callable(function):
            raise TypeError(f"ai_function decorates a function, not {function!r}; its options have names.")
        made = Function(
            name=name_of(function) if name is None else name,
            call=function,
            description=description,
            parameters=parameters,
            permission=permission,
            requires_approval=requires_approval,
            timeout=timeout,
            approval_permission=approval_permission,
            self_approval=self_approval,
        )
        earlier = self._functions.get(made.name)
        if earlier is None or _origin(earlier) == _origin(made):
            self._functions[made.name] = made
        else:
            self._duplicates.append((earlier, made))
        with suppress(AttributeError):  # not everything that can be called takes attributes
            function.ai_function = made  # type: ignore[attr-defined]
        return function

    def unregister(self, name: str) -> None:
        """Take a function away again; none of that name is no error."""
        self._functions.pop(name, None)
        self._duplicates = [pair for pair in self._duplicates if pair[0].name != name]

    def autodiscover(self) -> None:
        """Import `ai_functions` of each installed app that has it."""
        autodiscover_modules(MODULE)

    @property
    def functions(self) -> list[Function]:
        """All functions that can be called, in the order of their registration."""
        return [function for function in self._functions.values() if function.is_usable]

    @property
    def problems(self) -> list[Problem]:
        """Everything that is wrong with what was registered."""
        found = [problem for function in self._functions.values() for problem in function.problems]
        for earlier, later in self._duplicates:
            found.append(
                Problem(
                    DUPLICATE,
                    later.implementation,
                    f"is called {later.name!r}, as {earlier.implementation} already is.",
                    "Give one of them another name by `name=`; until then only the first can be called.",
                )
            )
        return found

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What the table of functions says of each: name, description, parameters_schema, implementation."""
        return [
            {
                "name": function.name,
                "description": function.text,
                "parameters_schema": function.schema["parameters"],
                "implementation": function.implementation,
            }
            for function in self.functions
        ]

    def get_function(self, name: str) -> Function | None:
        """The function of that name; calling it calls the code, unchecked."""
        return self._functions.get(name)

    def get_schema(self, name: str) -> dict[str, Any] | None:
        """What a model is told of the function: {"name", "description", "parameters", "strict"}."""
        function = self._functions.get(name)
        return function.schema if function is not None and function.is_usable else None

    def get_all_schemas(self) -> list[dict[str, Any]]:
        """The schemas of all functions; `FunctionBox.for_user(user).schemas` are those one user may call."""
        return [function.schema for function in self.functions]

    def execute_function(
        self, name: str, arguments: Mapping[str, Any] | str | None = None, *, user: Any = None
    ) -> Any:
        """Call a function as the model would, and give what it returns, as JSON would have it.

        `arguments` are a mapping or JSON text. Without a `user` the site itself calls, which has no
        permissions. Raises NotFoundError, PermissionDeniedError, InvalidRequestError, ToolFailedError.
        """
        from django_chatgpt.functions.calls import FunctionBox

        [outcome] = FunctionBox.for_user(user).execute([_call(name, arguments)])
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    async def aexecute_function(
        self, name: str, arguments: Mapping[str, Any] | str | None = None, *, user: Any = None
    ) -> Any:
        """Like `execute_function`, in a coroutine."""
        from django_chatgpt.database import ahop
        from django_chatgpt.functions.calls import FunctionBox

        box = await ahop(lambda: FunctionBox.for_user(user))
        [outcome] = await box.aexecute([_call(name, arguments)])
        if outcome.error is not None:
            raise outcome.error
        return outcome.value


function_registry = FunctionRegistry()


@overload
def ai_function(function: F, /) -> F: ...
@overload
def ai_function(
    *,
    name: str | None = None,
    description: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    permission: Permission = None,
    requires_approval: RequiresApproval = False,
    timeout: float | None = None,
    approval_permission: str | None = None,
    self_approval: bool = True,
) -> Callable[[F], F]: ...
def ai_function(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Let the model call the decorated function, which stays what it is.

    Options, all by name: `name`, `description` and `parameters` (a JSON schema of an object) instead of what
    the signature and the docstring say; `permission` ("app.codename", or a function of the user);
    `requires_approval` (True, or a function of the arguments), then `approval_permission` for those who may
    approve it instead of the asker, and `self_approval=False` where the asker may not; `timeout` in seconds.
    """
    if function is not None:
        return function_registry.register(function, **options)
    return lambda decorated: function_registry.register(decorated, **options)


def _call(name: str, arguments: Mapping[str, Any] | str | None) -> FunctionCall:
    text = arguments if isinstance(arguments, str) else to_json(dict(arguments or {})).decode()
    return FunctionCall(id=f"call_{uuid7().hex}", name=name, arguments=text)


def _origin(function: Function) -> tuple[str, int | None]:
    """Where a function was written: a module that is imported again brings the same one."""
    code = getattr(function.call, "__code__", None)
    return function.implementation, getattr(code, "co_firstlineno", None)
