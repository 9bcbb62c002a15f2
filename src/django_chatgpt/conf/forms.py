"""What a form of settings values is, and the forms made of others: optional, lists, dicts.

A form reads a raw value, or says what is wrong with it. It never repeats a text value in saying so,
because any of them may be a misplaced key; it shows numbers, types and the keys of the dicts around.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, Literal, NoReturn, TypeVar

T = TypeVar("T")


class Malformed(Exception):
    """A value its form does not allow: NAME + `path` + `problem` + "; it must be " + `allowed`.

    A reader knows the problem; the form around it adds what is allowed, the containers add the path.
    """

    def __init__(self, problem: str, allowed: str = "", path: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.allowed = allowed
        self.path = path

    def sentence(self, name: str) -> str:
        """The whole complaint about the setting `name`."""
        return f"{name}{self.path} {self.problem}; it must be {self.allowed}."


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """One form: `type` as the documentation shows it, `allowed` as a sentence ends, and the reader.

    `read` takes the raw value and returns the typed one, or refuses it by raising `Malformed`.
    """

    type: str
    allowed: str
    read: Callable[[object], T]

    def __call__(self, raw: object, at: str = "") -> T:
        """Read `raw`; `at` is where it lies inside the value around it, as in `['input']`."""
        try:
            return self.read(raw)
        except Malformed as error:
            raise Malformed(
                error.problem, error.allowed or self.allowed, at + error.path
            ) from error.__cause__


def refuse(problem: str) -> NoReturn:
    """Object to the value being read; `problem` continues its name: "is not finite"."""
    raise Malformed(problem)


def of_wrong_type(raw: object) -> NoReturn:
    """Object to the type of `raw`."""
    refuse("is None" if raw is None else f"is of type {type(raw).__name__}")


def a_key(key: object) -> str:
    """A dict key as a step of a path, shortened to 40 characters."""
    text = str(key)
    return f"[{text if len(text) <= 40 else text[:40] + '…'!r}]"


def optional(form: Form[T]) -> Form[T | None]:
    """The same, or None."""
    return Form(
        f"{form.type} or None",
        f"None or {form.allowed}",
        lambda raw: None if raw is None else form.read(raw),
    )


def unless_blank(form: Form[T]) -> Form[T | None]:
    """The same, or None, with an empty text taken as None: so `os.environ.get(…, "")` means unset."""
    maybe = optional(form)
    return Form(
        maybe.type, maybe.allowed, lambda raw: maybe.read(None if isinstance(raw, str) and not raw else raw)
    )


def or_off(form: Form[T]) -> Form[T | Literal[False] | None]:
    """None for what follows from other settings, False for nothing at all."""

    def read(raw: object) -> T | Literal[False] | None:
        if raw is False:
            return False
        return None if raw is None or raw == "" else form.read(raw)

    return Form(f"{form.type}, False or None", f"None, False or {form.allowed}", read)


def or_default(form: Form[T], default: T) -> Form[T]:
    """The same, with None and an empty text standing for `default`."""
    blank = unless_blank(form)

    def read(raw: object) -> T:
        value = blank.read(raw)
        return default if value is None else value

    return Form(blank.type, blank.allowed, read)


def list_of(item: Form[T], *, allowed: str) -> Form[tuple[T, ...]]:
    """A list or tuple whose items have the form `item`; read as a tuple."""

    def read(raw: object) -> tuple[T, ...]:
        if not isinstance(raw, list | tuple):
            of_wrong_type(raw)
        return tuple(item(value, at=f"[{index}]") for index, value in enumerate(raw))

    return Form(f"list of {item.type}", allowed, read)


def dict_of(value: Form[T], *, allowed: str) -> Form[Mapping[str, T]]:
    """A dict from non-empty texts to values of the form `value`; read as a read-only mapping."""

    def read(raw: object) -> Mapping[str, T]:
        if not isinstance(raw, Mapping):
            of_wrong_type(raw)
        for key in raw:
            if not isinstance(key, str) or not key:
                refuse("has a key that is empty or no text")
        return MappingProxyType({key: value(raw[key], at=a_key(key)) for key in raw})

    return Form(f"dict of str to {value.type}", allowed, read)


def fields_of(raw: object, *, required: Set[str], extra: Set[str] = frozenset()) -> Mapping[str, object]:
    """The dict `raw` as it is, once its keys are seen to be all `required` ones and at most the `extra`."""
    if not isinstance(raw, Mapping):
        of_wrong_type(raw)
    for key in raw:
        if key not in required | extra:
            refuse(f"has the unknown key {a_key(key)[1:-1]}")
    for key in sorted(required):
        if key not in raw:
            refuse(f"has no {key!r}")
    return raw
