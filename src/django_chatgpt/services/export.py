"""Everything that is kept of a user, as one JSON document that is never in memory as a whole.

export_user(user, file)            written to an open text file
export_to_storage(user, name)      written to one of Django's storages
pieces(user)                       the text of it, for a response that streams

    {"format": "django-chatgpt-export-1", "exported_at": ..., "user": {"id": ..., "username": ...},
     "conversations": [...], "turns": [...], "messages": [...], "function_calls": [...],
     "function_jobs": [...], "events": [...], "usage": [...], "embeddings": [...],
     "embedding_jobs": [...], "embedding_job_texts": [...], "alerts": [...], "budgets": [...]}

Rows carry their keys and those of the rows they belong to. Money is in USD, as text; times are in ISO 8601;
of embeddings the texts are told and not the numbers. Tables are read one after the other: what is written
meanwhile may be in one and not yet in another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from tempfile import TemporaryFile
from typing import Any, Final, Protocol
from uuid import UUID

from django.core.files import File
from django.core.files.storage import Storage, storages
from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from django_chatgpt.services.budgets import Payer
from django_chatgpt.storage import budgets as budget_storage
from django_chatgpt.storage import personal

FORMAT: Final = "django-chatgpt-export-1"
ROWS_AT_ONCE: Final = 200

#: Told how many rows were written, each time some were.
Progress = Callable[[int], object]


class Writable(Protocol):
    """An open text file, as far as it is needed."""

    def write(self, text: str, /) -> object: ...


def count(user: Any) -> int:
    """How many rows there are to be exported."""
    return sum(table.rows(user.pk).count() for table in personal.TABLES)


def export_user(user: Any, file: Writable, *, progress: Progress | None = None) -> int:
    """Write all that is kept of a user; how many rows that was."""
    written = 0

    def count_rows(number: int) -> None:
        nonlocal written
        written += number
        if progress is not None:
            progress(number)

    for piece in pieces(user, progress=count_rows):
        file.write(piece)
    return written


def export_to_storage(
    user: Any, name: str, *, storage: Storage | None = None, progress: Progress | None = None
) -> str:
    """Write all that is kept of a user to a storage, the default one if None; the name it got there.

    Make sure that the storage shows it to nobody else.
    """
    with TemporaryFile("w+b") as file:

        class Encoded:
            def write(self, text: str, /) -> object:
                return file.write(text.encode())

        export_user(user, Encoded(), progress=progress)
        file.seek(0)
        where = storages["default"] if storage is None else storage
        return str(where.save(name, File(file)))


def pieces(user: Any, *, progress: Progress | None = None) -> Iterator[str]:
    """The document in pieces of at most ROWS_AT_ONCE rows."""
    head = {
        "format": FORMAT,
        "exported_at": timezone.now(),
        "user": {"id": user.pk, "username": user.get_username()},
    }
    yield _json(head)[:-1]
    yield from _tables(personal.TABLES, user.pk, progress)
    yield f',\n"budgets": {_json(_budgets(user))}}}\n'


def pieces_of_conversation(conversation_id: UUID) -> Iterator[str]:
    """The same document of one conversation alone, without what belongs to its user."""
    yield _json({"format": FORMAT, "exported_at": timezone.now()})[:-1]
    yield from _tables(personal.OF_CONVERSATION, conversation_id, None)
    yield "}\n"


def _tables(tables: Iterable[personal.Table], key: Any, progress: Progress | None) -> Iterator[str]:
    for table in tables:
        yield f',\n"{table.name}": ['
        comma = "\n"
        for rows in personal.told(table, key, ROWS_AT_ONCE):
            yield comma + ",\n".join(map(_json, rows))
            comma = ",\n"
            if progress is not None:
                progress(len(rows))
        yield "]"


def _budgets(user: Any) -> list[dict[str, Any]]:
    """The user's own budgets of today and this month, and how they stand."""
    payer = Payer.of(user)
    windows = [] if payer is None else payer.windows(timezone.now())
    standings = budget_storage.read([each for each in windows if each.kind == "user"])
    return [
        {
            "period": each.window.label,
            "limit": each.window.limit,
            "spent": each.spent,
            "reserved": each.reserved,
        }
        for each in standings
    ]


class _Encoder(DjangoJSONEncoder):
    """Django's own leaves microseconds out; and some user ids are neither numbers nor UUIDs."""

    def default(self, o: Any) -> Any:
        if hasattr(o, "isoformat"):
            return o.isoformat()
        try:
            return super().default(o)
        except TypeError:
            return str(o)


def _json(value: Any) -> str:
    return json.dumps(value, cls=_Encoder, ensure_ascii=False)
