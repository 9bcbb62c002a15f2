"""A setting as a descriptor: one declaration is the typed property, its check and its line in the docs."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NoReturn, TypeVar, overload

from django.conf import settings

from django_chatgpt.conf.forms import Form, Malformed
from django_chatgpt.exceptions import NotConfiguredError

T = TypeVar("T")

ABSENT = object()


@dataclass(frozen=True, slots=True, repr=False)
class Reading(Generic[T]):
    """A raw value and what it was read as; without a repr, which tools that print variables would show."""

    raw: object
    value: T


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a setting, in one sentence; `cause` is what the site's own code raised, if any."""

    sentence: str
    cause: BaseException | None = None


class Setting(Generic[T]):
    """One `OPENAI_*` setting, read from the Django settings whenever the attribute is.

    `name` is the attribute's in capitals behind `OPENAI_`, unless given. `default` is a raw value, read
    like any other. `meaning` is one sentence for the reference. `env` names the environment variable that
    answers where the Django settings are silent. A value is read anew only when another object is set.
    """

    def __init__(
        self, form: Form[T], default: object, meaning: str, *, unit: str = "", name: str = "", env: str = ""
    ) -> None:
        self.form = form
        self.default = default
        self.meaning = meaning
        self.unit = unit
        self.name = name
        self.env = env
        self.check_id = ""
        self._last: Reading[T] | None = None

    def __set_name__(self, owner: type, attribute: str) -> None:
        self.name = self.name or f"OPENAI_{attribute.upper()}"

    def __repr__(self) -> str:
        return f"<Setting {self.name}>"

    @overload
    def __get__(self, instance: None, owner: type) -> Setting[T]: ...

    @overload
    def __get__(self, instance: Family, owner: type) -> T: ...

    def __get__(self, instance: Family | None, owner: type) -> Setting[T] | T:
        if instance is None:
            return self
        outcome = self.read()
        if isinstance(outcome, Problem):
            raise NotConfiguredError(outcome.sentence) from outcome.cause
        return outcome.value

    def __set__(self, instance: Family, value: object) -> NoReturn:
        raise AttributeError(f"{self.name} belongs to the Django settings and is set there.")

    def read(self) -> Reading[T] | Problem:
        """The setting as it stands, or what is wrong with it."""
        source, raw = self._raw()
        last = self._last
        if last is not None and last.raw is raw:
            return last
        try:
            reading = Reading(raw, self.form(raw))
        except Malformed as error:
            return Problem(error.sentence(source), error.__cause__)
        self._last = reading
        return reading

    def _raw(self) -> tuple[str, object]:
        """Where the value comes from, and the value: the same object as long as nobody sets another."""
        raw = getattr(settings, self.name, ABSENT)
        if raw is not ABSENT:
            return self.name, raw
        if self.env and (found := os.environ.get(self.env)) is not None:
            return f"The environment variable {self.env}", sys.intern(found)
        return self.name, self.default


class Family:
    """A group of settings, whose malformed values share the id of one system check."""

    check_id: ClassVar[str]

    def __init_subclass__(cls, check_id: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if check_id:
            cls.check_id = check_id
            for setting in cls.declared():
                setting.check_id = check_id

    @classmethod
    def declared(cls) -> list[Setting[Any]]:
        """The settings of this class itself, in the order of their declaration."""
        return [each for each in vars(cls).values() if isinstance(each, Setting)]
