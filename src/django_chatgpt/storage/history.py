"""What was said in a conversation, read newest first and no further than a model can be shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import Case, PositiveIntegerField, TextField, Value, When
from django.db.models.functions import Cast

from django_chatgpt.core.history import from_legacy, repair
from django_chatgpt.core.messages import Message
from django_chatgpt.core.window import Window, last_question, trim
from django_chatgpt.models import AIMessage
from django_chatgpt.storage.primary import primary

NOTHING = (None, "", "null", "[]", "{}")
# A first query takes in most conversations, and not much more text than the window does.
FEWEST_ROWS, MOST_ROWS = 16, 256
TOKENS_PER_ROW = 16
GROWTH = 4
# Messages at the beginning of a conversation that may be what the model is told before everything else.
FIRST_LINES = 4
WRITTEN_BACK = 200
END = 2**31 - 1  # no sequence number is as high
NO_ID = UUID(int=0)


@dataclass(frozen=True, slots=True)
class History:
    """What a model is shown of a conversation. `used`: the window's tokens that are taken by now.

    `last` is the last sequence number there is, 0 if nothing was said; `dropped` that of the last message
    that was left out, 0 if none was.
    """

    messages: list[Message]
    used: int
    last: int
    dropped: int = 0


def load_history(
    conversation_id: UUID, window: Window, *, in_turn: bool = False, before: int = END
) -> History:
    """The newest of what was said that fits into the window, in a form every provider accepts.

    Of that only what has a sequence number less than `before`.

    With `in_turn` the last exchange is that of a turn which is not over: it stays whole, whether it fits or
    not, and calls in it may be without their results. Messages that nobody has counted are counted, and
    their counts stored.
    """
    read = _read(conversation_id, window, in_turn, before)
    # The objects stay the same on the way, but for what is put in where a result is missing.
    counts = {id(line): tokens for line, tokens in zip(read.lines, read.counts, strict=True)}
    messages: list[Any] = from_legacy(read.lines) if read.is_legacy else read.lines
    if not in_turn:
        messages = repair(messages, over=True)
    kept, tokens = trim(
        messages,
        [counts[id(line)] if id(line) in counts else window.count(line) for line in messages],
        window.room - window.used,
        present=last_question(messages) if in_turn else None,
    )
    dropped = 0 if len(kept) == len(messages) else read.last_before(kept)
    return History(kept, window.used + tokens, read.last, dropped)


@dataclass(slots=True)
class _Read:
    lines: list[dict[str, Any]]
    counts: list[int]
    numbers: list[int]
    last: int = 0
    is_legacy: bool = False

    def last_before(self, kept: list[Message]) -> int:
        """The number of the last message before the first of those that were kept."""
        numbers = {id(line): number for line, number in zip(self.lines, self.numbers, strict=True)}
        found = (numbers[id(line)] for line in kept if line["role"] != "system" and id(line) in numbers)
        return next(found, self.last + 1) - 1


def _read(conversation_id: UUID, window: Window, in_turn: bool, before: int) -> _Read:
    """The lines from the first that does not fit any more, in their order."""
    room = window.room - window.used
    read = _Read([], [], [])
    uncounted: dict[int, int] = {}
    asked, used, oldest = not in_turn, 0, 0
    overhead = window.count({"role": "user", "content": ""})
    batches = _batches(conversation_id, min(max(room // TOKENS_PER_ROW, FEWEST_ROWS), MOST_ROWS), before)
    for oldest, role, content, token_count, tool_call_id, status, calls, metadata, old_call in batches:
        read.last = read.last or oldest
        if status == AIMessage.Status.REFUSED:
            continue
        line: dict[str, Any] = {"role": role, "content": content}
        if calls not in NOTHING:
            line["tool_calls"] = json.loads(calls)
        if tool_call_id:
            line["tool_call_id"] = tool_call_id
        if metadata and '"items"' in metadata and (items := json.loads(metadata).get("items")):
            line["items"] = items
        if token_count is None:
            said = {**line, "content": content if old_call in NOTHING else content + old_call}
            token_count = uncounted[oldest] = window.count(said) - overhead  # type: ignore[arg-type]
        if old_call not in NOTHING:
            line["function_call"] = json.loads(old_call)
        read.is_legacy = read.is_legacy or old_call not in NOTHING or role == AIMessage.Role.FUNCTION
        read.lines.append(line)
        read.counts.append(overhead + token_count)
        read.numbers.append(oldest)
        used += read.counts[-1]
        asked = asked or role == AIMessage.Role.USER
        if used > room and asked:
            _add_first_lines(read, conversation_id, oldest, window)
            break
    _write_back(conversation_id, uncounted)
    read.lines.reverse()
    read.counts.reverse()
    read.numbers.reverse()
    return read


def _batches(conversation_id: UUID, size: int, before: int) -> Iterator[Any]:
    """All rows, newest first, in queries that grow: few for a short history, not many for a long one."""
    alias = primary()
    connection = connections[alias]
    key = AIMessage._meta.get_field("conversation").get_db_prep_value(conversation_id, connection)
    while True:
        with connection.cursor() as cursor:
            cursor.execute(_statement(alias), (key, before, size))
            batch = cursor.fetchall()
        yield from batch
        if len(batch) < size:
            return
        before, size = batch[-1][0], size * GROWTH


@lru_cache(maxsize=32)
def _statement(alias: str) -> str:
    """The query of a batch, put together once: that takes longer than running it for a short history."""
    rows = (
        AIMessage.objects.using(alias)
        .filter(conversation_id=NO_ID, sequence__lt=END)
        .order_by("-sequence")
        .values_list(
            "sequence",
            "role",
            "content",
            "token_count",
            "tool_call_id",
            "status",
            # As text: most rows have none, and parsing JSON would cost more than all the rest.
            Cast("tool_calls", TextField()),
            Cast("metadata", TextField()),
            Cast("function_call", TextField()),
        )
    )
    sql, parameters = rows.query.get_compiler(using=alias).as_sql()
    assert len(parameters) == 2
    return f"{sql} LIMIT %s"


def _add_first_lines(read: _Read, conversation_id: UUID, before: int, window: Window) -> None:
    """Take in the system messages that the conversation begins with, if they were not reached."""
    if before <= 1:
        return
    lines = AIMessage.objects.using(primary()).filter(
        conversation_id=conversation_id,
        sequence__lt=min(before, FIRST_LINES + 1),
        role=AIMessage.Role.SYSTEM,
    )
    for content in lines.order_by("-sequence").values_list("content", flat=True):
        read.lines.append({"role": "system", "content": content})
        read.counts.append(window.count({"role": "system", "content": content}))
        read.numbers.append(0)


def _write_back(conversation_id: UUID, counts: Mapping[int, int]) -> None:
    """Store counts by sequence number, of the newest WRITTEN_BACK; the others have their turn later."""
    written = dict(list(counts.items())[:WRITTEN_BACK])
    if written:
        AIMessage.objects.using(primary()).filter(
            conversation_id=conversation_id, sequence__in=written
        ).update(
            token_count=Case(
                *(When(sequence=sequence, then=Value(tokens)) for sequence, tokens in written.items()),
                output_field=PositiveIntegerField(),
            )
        )
