"""The indexes that the site has registered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db.models import QuerySet
from django.utils.module_loading import autodiscover_modules

from django_chatgpt.exceptions import InvalidRequestError
from django_chatgpt.indexes.definition import Index, Source
from django_chatgpt.indexes.problems import DUPLICATE, Problem

MODULE = "ai_indexes"

Watch = Callable[[Index], None]


class IndexRegistry:
    """Indexes by name. A faulty one is not searched, and the system checks say why."""

    def __init__(self) -> None:
        self._indexes: dict[str, Index] = {}
        self._duplicates: list[Index] = []
        self._watch: Watch | None = None

    def register(self, index: Index) -> Index:
        """Take an index in and return it. Of two with one name, the first stays."""
        if index.name in self._indexes:
            self._duplicates.append(index)
            return index
        self._indexes[index.name] = index
        if self._watch is not None:
            self._watch(index)
        return index

    def unregister(self, name: str) -> None:
        """Take an index away again; none of that name is no error."""
        self._indexes.pop(name, None)
        self._duplicates = [each for each in self._duplicates if each.name != name]

    def autodiscover(self) -> None:
        """Import `ai_indexes` of each installed app that has it."""
        autodiscover_modules(MODULE)

    def attach(self, watch: Watch) -> None:
        """Call `watch` with every index there is and will be."""
        self._watch = watch
        for index in self._indexes.values():
            watch(index)

    @property
    def indexes(self) -> list[Index]:
        """All that can be searched, in the order of their registration."""
        return [index for index in self._indexes.values() if not index.problems]

    @property
    def problems(self) -> list[Problem]:
        """Everything that is wrong with what was registered."""
        found = [problem for index in self._indexes.values() for problem in index.problems]
        for later in self._duplicates:
            found.append(Problem(DUPLICATE, later.where, "is registered twice; only the first is searched."))
        return found

    def get(self, index: Index | str) -> Index:
        """The index of that name. Raises InvalidRequestError naming `index`."""
        name = index.name if isinstance(index, Index) else index
        found = self._indexes.get(name)
        if found is None or found.problems:
            names = ", ".join(each.name for each in self.indexes) or "registered; there is none yet"
            raise InvalidRequestError(fields={"index": f"must be one of {names}."})
        return found


index_registry = IndexRegistry()


def register_index(
    name: str,
    source: Source,
    *,
    fields: Sequence[str] | None = None,
    text: Callable[[Any], str] | None = None,
    chunk_tokens: int = 400,
    overlap: int = 50,
    for_user: Callable[[Any], QuerySet[Any]] | None = None,
    background: bool = True,
) -> Index:
    """Have objects of the site found by meaning; `source` is their model, or a queryset of them.

    Their text is that of `fields`, or what `text` makes of an object; see `Index` for the rest.
    """
    return index_registry.register(
        Index(name, source, fields, text, chunk_tokens, overlap, for_user, background)
    )
