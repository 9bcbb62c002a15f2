"""What a function takes, as its signature says it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, get_type_hints

from pydantic.fields import FieldInfo

from django_chatgpt.functions.caller import asks_for_caller
from django_chatgpt.functions.problems import BAD_HINT, BAD_SIGNATURE, NO_HINT, Problem

_EMPTY = inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument that the model may give. `default` counts only where it is not `required`."""

    name: str
    hint: Any
    required: bool
    default: Any = None


@dataclass(slots=True)
class Signature:
    """The parameters of a function; `callers` are those that are given a Caller instead."""

    parameters: list[Parameter] = field(default_factory=list)
    callers: list[str] = field(default_factory=list)
    takes_any_name: bool = False
    problems: list[Problem] = field(default_factory=list)


def read_signature(function: Callable[..., Any], where: str, *, has_schema: bool) -> Signature:
    """Read a signature; what is wrong with it is in `problems`.

    With `has_schema` the types are written elsewhere: hints may be missing and `**kwargs` is allowed.
    """
    read = Signature()
    if inspect.isclass(function):
        read.problems.append(Problem(BAD_SIGNATURE, where, "is a class.", "Decorate a function."))
        return read
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        read.problems.append(
            Problem(BAD_SIGNATURE, where, "yields its result in pieces.", "Return one value, such as a list.")
        )
    try:
        parameters = inspect.signature(function).parameters
    except Exception as error:
        read.problems.append(Problem(BAD_SIGNATURE, where, f"has no signature that can be read: {error}."))
        return read
    read.problems.extend(_wrong_kinds(parameters, where, has_schema))
    names = _global_names(function)
    for parameter in parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            read.takes_any_name = True
        elif parameter.kind not in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            _read_parameter(read, parameter, names, where, has_schema)
    return read


def _wrong_kinds(parameters: Any, where: str, has_schema: bool) -> Iterator[Problem]:
    for parameter in parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            yield Problem(
                BAD_SIGNATURE, where, f"takes *{parameter.name}.", "Take a list: `names: list[str]`."
            )
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            yield Problem(
                BAD_SIGNATURE,
                where,
                f"takes {parameter.name} by position only.",
                "Arguments are given by name: remove the `/`.",
            )
        elif parameter.kind is parameter.VAR_KEYWORD and not has_schema:
            yield Problem(
                BAD_SIGNATURE,
                where,
                f"takes **{parameter.name}, so the model can't know its arguments.",
                "Name each argument, or describe them with `parameters=`.",
            )


def _read_parameter(
    read: Signature, parameter: inspect.Parameter, names: dict[str, Any], where: str, has_schema: bool
) -> None:
    hint: Any = parameter.annotation
    if hint is _EMPTY:
        if not has_schema:
            advice = f"Write what it is: `{parameter.name}: str`."
            if parameter.name in ("self", "cls"):
                advice = "A method has nothing to be bound to: decorate a function."
            read.problems.append(Problem(NO_HINT, where, f"has no type hint for {parameter.name}.", advice))
            return
        hint = Any
    try:
        hint = _resolved(hint, names)
    except Exception as error:
        read.problems.append(
            Problem(
                BAD_HINT,
                where,
                f"has a type hint for {parameter.name} that can't be resolved: {error}.",
                "Import what the hint names where the function is defined, not only for type checkers.",
            )
        )
        return
    if asks_for_caller(hint):
        read.callers.append(parameter.name)
        return
    default = parameter.default
    if isinstance(default, FieldInfo):
        hint = Annotated[hint, default]
    elif default is not _EMPTY:
        read.parameters.append(Parameter(parameter.name, hint, required=False, default=default))
        return
    described = FieldInfo.from_annotation(hint)
    if described.is_required():
        read.parameters.append(Parameter(parameter.name, hint, required=True))
    else:
        given = described.get_default(call_default_factory=True, validated_data={})
        read.parameters.append(Parameter(parameter.name, hint, required=False, default=given))


def _global_names(function: Callable[..., Any]) -> dict[str, Any]:
    """The names that a function's annotations may use."""
    inner: Any = inspect.unwrap(function)
    while isinstance(inner, partial):
        inner = inspect.unwrap(inner.func)
    if not hasattr(inner, "__globals__"):
        inner = inspect.unwrap(getattr(inner, "__func__", None) or type(inner).__call__)
    names: dict[str, Any] = getattr(inner, "__globals__", {})
    return names


def _resolved(hint: Any, names: dict[str, Any]) -> Any:
    def holder() -> None: ...

    holder.__annotations__ = {"hint": hint}
    return get_type_hints(holder, globalns=names, include_extras=True)["hint"]
