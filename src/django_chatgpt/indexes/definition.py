"""An index: which objects of the site are found by meaning, and what their text is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from django.core.exceptions import FieldDoesNotExist
from django.db import models, router
from django.db.models import F, QuerySet, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast, Replace

from django_chatgpt.indexes.problems import BAD_KEY, BAD_NAME, BAD_OPTION, BAD_SOURCE, BAD_TEXT, Problem

MAX_CHUNK: Final = 8192
MAX_KEY: Final = 255

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")

Source = type[models.Model] | QuerySet[Any]


@dataclass(frozen=True, eq=False)
class Index:
    """Objects of `source`, a model or a queryset, each with the text of `fields` or what `text` makes of it.

    The text is cut into passages of at most `chunk_tokens`, each beginning with up to `overlap` tokens of the
    one before. `for_user` gives a queryset of the objects that a user may find, asked with None where the
    site itself searches. With `background` a saved object is embedded by a thread after the commit, else by
    `manage.py chatgpt_index` alone.
    """

    name: str
    source: Source
    fields: Sequence[str] | None = None
    text: Callable[[Any], str] | None = None
    chunk_tokens: int = 400
    overlap: int = 50
    for_user: Callable[[Any], QuerySet[Any]] | None = None
    background: bool = True

    def __repr__(self) -> str:
        return f"<Index {self.name}>"

    @property
    def model(self) -> type[models.Model]:
        return self.source.model if isinstance(self.source, QuerySet) else self.source

    def rows(self) -> QuerySet[Any]:
        """The objects of the index, read where they are written: a copy may be behind."""
        source = self.source
        rows: Any = source.all() if isinstance(source, QuerySet) else source._default_manager.all()
        found: QuerySet[Any] = rows if rows._db else rows.using(router.db_for_write(self.model))
        return found

    def text_of(self, row: Any) -> str:
        """An object in words: the values of its fields with blank lines between, or what `text` says."""
        if self.text is not None:
            return str(self.text(row)).strip()
        values = (getattr(row, name) for name in self.fields or ())
        return "\n\n".join(text for value in values if value is not None and (text := str(value).strip()))

    def hash_of(self, text: str) -> str:
        """sha256 of a text and of how it is cut: another hash, other passages."""
        return sha256(f"{self.chunk_tokens} {self.overlap}\n{text}".encode()).hexdigest()

    def key_of(self, row: Any) -> str:
        """The primary key of an object as the tables of the index have it."""
        return self.as_key(getattr(row, self.key_field.attname))

    def as_key(self, value: Any) -> str:
        value = self._plain_key.to_python(value)
        return value.hex if isinstance(value, UUID) else str(value)

    def pk_of(self, key: str) -> Any:
        """The primary key that is meant by a key of the tables."""
        return self._plain_key.to_python(key)

    @property
    def key_expression(self) -> Combinable:
        """`as_key` of the primary key, as the database computes it."""
        if isinstance(self._plain_key, models.CharField):
            return F("pk")
        text = Cast("pk", models.CharField(max_length=MAX_KEY))
        return Replace(text, Value("-")) if isinstance(self._plain_key, models.UUIDField) else text

    @property
    def key_field(self) -> Any:
        return self.model._meta.pk

    @cached_property
    def _plain_key(self) -> Any:
        """The column itself, where the key is a relation: to a parent, or one to one."""
        field = self.key_field
        while field.remote_field is not None:
            field = field.target_field
        return field

    @cached_property
    def where(self) -> str:
        return f"Index {self.name!r}"

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong with it; with anything, it can't be searched."""
        return tuple(Problem(check, self.where, sentence) for check, sentence in self._wrong())

    def _wrong(self) -> Iterator[tuple[str, str]]:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            yield BAD_NAME, "must be named with 1 to 64 letters, digits, hyphens and underscores."
        source = self.source
        if isinstance(source, QuerySet):
            if source.query.is_sliced or source.query.combinator or source._fields is not None:  # type: ignore[attr-defined]
                yield BAD_SOURCE, "must have a queryset of objects, not sliced, no values() and no union()."
        elif not (isinstance(source, type) and issubclass(source, models.Model) and hasattr(source, "_meta")):
            yield BAD_SOURCE, f"must be made of a model or a queryset, not of {source!r}."
            return
        yield from self._wrong_text()
        if not _is_whole(self.chunk_tokens, 1, MAX_CHUNK):
            yield BAD_OPTION, f"must have chunk_tokens between 1 and {MAX_CHUNK}."
        elif not _is_whole(self.overlap, 0, self.chunk_tokens - 1):
            yield BAD_OPTION, "must have an overlap of 0 or more, and below chunk_tokens."
        if self.for_user is not None and not callable(self.for_user):
            yield BAD_OPTION, "must have a for_user that is called with the user and gives a queryset."
        key = self._plain_key
        if isinstance(key, models.CharField):
            if not key.max_length or key.max_length > MAX_KEY:
                yield BAD_KEY, f"is of a model whose primary key has more than {MAX_KEY} characters."
        elif not isinstance(key, models.IntegerField | models.UUIDField):
            yield BAD_KEY, "is of a model whose primary key is no number, UUID or text."

    def _wrong_text(self) -> Iterator[tuple[str, str]]:
        if (self.fields is None) is (self.text is None):
            yield BAD_TEXT, "must have either fields= or text=."
        elif self.text is not None:
            if not callable(self.text):
                yield BAD_TEXT, "must have a text= that is called with an object and gives its text."
        elif isinstance(self.fields, str) or not self.fields:
            yield BAD_TEXT, "must have a list of names for fields=."
        else:
            for name in self.fields:
                if not self._has(name):
                    yield BAD_TEXT, f"has a field {name!r}, and {self.model.__name__} has none."

    def _has(self, name: Any) -> bool:
        try:
            self.model._meta.get_field(name)
        except FieldDoesNotExist:
            return isinstance(name, str) and hasattr(self.model, name)
        return True


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
