"""Whole answers to requests that belong to no conversation, kept in Django's default cache.

The key of an answer is made of everything that shapes it and of who asked; nobody is given what somebody
else was answered. Kept are JSON bytes, and only of answers that came to their proper end. A cache that
fails costs the answer it had, never the request. Of requests that are the same one asks; the others wait.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from django.core.cache import caches
from pydantic import ValidationError
from pydantic_core import from_json

from django_chatgpt.conf import conf
from django_chatgpt.core.effects import Db, Effect, Wait
from django_chatgpt.core.messages import storable
from django_chatgpt.core.reply import MAX_NAME
from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.models.owner import owner_key_of
from django_chatgpt.services import completions
from django_chatgpt.services.completions import Completion
from django_chatgpt.storage import ledger

if TYPE_CHECKING:
    from django_chatgpt.providers import ChatCompletion

logger = logging.getLogger("django_chatgpt.caching")

ALIAS = "default"
PREFIX = "django_chatgpt:completion:1:"
OWNED = "django_chatgpt:completions_of:1:"
MAX_BYTES = 256 * 1024
MOST_NOTED = 1000  # answers of one user
# Answers to such requests are made of more than the request, or are no answers yet.
UNCACHED = frozenset({"tools", "functions", "tool_choice", "function_call", "web_search_options", "stream"})
LOOK_SECONDS = 0.02  # between looks whether the same request of this process is answered
LOOK_FAR_SECONDS = 0.1  # the same of another process
PATIENCE_SECONDS = 10  # for which another process is waited for


def cache_key(completion: Completion) -> str | None:
    """What stands for the request and who asked: 64 hexadecimal digits. None if it is not JSON."""
    endpoint = completion.endpoint
    shaping = {
        "owner": None if completion.user_id is None else str(completion.user_id),
        "tenant": completion.tenant,
        "endpoint": [endpoint.base_url, endpoint.organization, endpoint.dialect, endpoint.api_key],
        "body": completion.body,
        "screen": None if completion.screen is None else completion.screen.rules,
    }
    try:
        canonical = json.dumps(shaping, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return None
    return hashlib.sha256(canonical.encode()).hexdigest()


def forget(user_id: Any) -> int:
    """Throw away the answers that a user was given, as far as they are noted; how many."""
    name = _shelf_of(user_id)
    try:
        keys = caches[ALIAS].get(name)
        if not isinstance(keys, list):
            return 0
        caches[ALIAS].delete_many([*keys, name])
    except Exception as error:
        logger.warning("The cache failed: %s", type(error).__name__)
        return 0
    return len(keys)


def _shelf_of(user_id: Any) -> str:
    return OWNED + hashlib.sha256(owner_key_of(user_id).encode()).hexdigest()


def is_cached(completion: Completion) -> bool:
    """Whether the answer may come from the cache, as the settings and the request stand."""
    return (
        conf.enable_caching
        and conf.cache_ttl > 0
        and UNCACHED.isdisjoint(completion.body)
        and not any(line["role"] == "tool" or "tool_calls" in line for line in completion.body["messages"])
    )


def complete(completion: Completion) -> Generator[Effect, Any, ChatCompletion]:
    """Steps that get one whole answer, from the cache if the same was answered before."""
    key = cache_key(completion) if is_cached(completion) else None
    if key is None:
        return (yield from completions.complete(completion))
    request = _Request(completion, PREFIX + key)
    while True:
        found: ChatCompletion | None = yield Db(request.find)
        if found is not None:
            return found
        flight, is_first = _board(key)
        if is_first:
            return (yield from _lead(request, key, flight))
        # Not for ever: who asks may need the very thread that waits here.
        until = time.monotonic() + completion.timeout
        while flight.outcome == "running" and time.monotonic() < until:
            yield Wait(LOOK_SECONDS)
        if flight.outcome == "answered":
            found = yield Db(partial(request.take, flight.answer))
            if found is not None:
                return found
        if flight.outcome != "left":
            # One after the other would take as long as all of them together.
            return (yield from completions.complete(completion))


@dataclass(slots=True)
class _Request:
    """A request and its place in the cache; broken once, the cache is left alone. Used in hops only."""

    completion: Completion
    key: str
    token: str = field(default_factory=lambda: uuid4().hex)
    started: float = field(default_factory=time.monotonic)
    broken: bool = False

    def find(self) -> ChatCompletion | None:
        """The answer that is kept, and its row in the ledger; None if there is none."""
        kept = self._try("get", self.key)
        return self.take(kept) if isinstance(kept, bytes) else None

    def take(self, kept: bytes) -> ChatCompletion | None:
        """The answer that these bytes are, and its row in the ledger; None if they are none."""
        answer = _read(kept)
        if answer is not None:
            ledger.note_cached(
                user_id=self.completion.user_id,
                model=storable(answer.model or str(self.completion.body["model"]), MAX_NAME),
                latency_ms=round((time.monotonic() - self.started) * 1000),
            )
        return answer

    def claim(self) -> bool:
        """Whether no other process is asking just now; they are told that this one does."""
        return self._try("add", f"{self.key}:asked", self.token, PATIENCE_SECONDS) is not False

    def keep(self, answer: bytes) -> None:
        """Keep an answer, and let others have it. Empty, it is none."""
        if answer:
            self._try("set", self.key, answer, conf.cache_ttl)
            self._note()
        if self._try("get", f"{self.key}:asked") == self.token:
            self._try("delete", f"{self.key}:asked")

    def _note(self) -> None:
        """Note whose answer it is, so that it can be forgotten. Of two who do so at once one may be lost."""
        name = _shelf_of(self.completion.user_id)
        known = self._try("get", name)
        keys = [key for key in known if key != self.key] if isinstance(known, list) else []
        self._try("set", name, [*keys, self.key][-MOST_NOTED:], conf.cache_ttl)

    def _try(self, method: str, *arguments: Any) -> Any:
        if self.broken:
            return None
        try:
            return getattr(caches[ALIAS], method)(*arguments)
        except Exception as error:
            # Its name only: what it says may be what is kept.
            self.broken = True
            logger.warning("The cache failed: %s", type(error).__name__)
            return None


@dataclass(slots=True)
class _Flight:
    """A request of this process that is on its way. "left": who asked has gone, and somebody else may."""

    outcome: Literal["running", "answered", "failed", "left"] = "running"
    answer: bytes = b""


_flights: dict[str, _Flight] = {}
_lock = threading.Lock()


def _forget() -> None:
    """A forked process has the flights of its parent, and nobody on board."""
    global _lock
    _lock = threading.Lock()
    _flights.clear()


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_forget)


def _board(key: str) -> tuple[_Flight, bool]:
    """The flight of this key, and whether it begins here."""
    with _lock:
        flight = _flights.get(key)
        if flight is not None:
            return flight, False
        flight = _flights[key] = _Flight()
        return flight, True


def _lead(request: _Request, key: str, flight: _Flight) -> Generator[Effect, Any, ChatCompletion]:
    """Ask on behalf of all in this process who want the same."""
    kept = b""
    try:
        answer, is_new = yield from _ask(request)
        kept = b"" if _is_substitute(answer, request.completion) else _written(answer)
        flight.answer, flight.outcome = kept, "answered" if kept else "failed"
        if is_new:
            yield Db(partial(request.keep, kept))
    except GeneratorExit:
        raise
    except BaseException as error:
        flight.outcome = "failed" if isinstance(error, AIServiceError) else "left"
        yield Db(partial(request.keep, b""))
        raise
    finally:
        if flight.outcome == "running":
            flight.outcome = "left"
        with _lock:
            _flights.pop(key, None)
    return answer


def _ask(request: _Request) -> Generator[Effect, Any, tuple[ChatCompletion, bool]]:
    """Ask, unless another process is asking the same: then wait a while for what it gets."""
    patient_until = time.monotonic() + PATIENCE_SECONDS
    while True:
        claimed: bool = yield Db(request.claim)
        # It may have been answered between the last look and the claim.
        found: ChatCompletion | None = yield Db(request.find)
        if found is not None:
            if claimed:
                yield Db(partial(request.keep, b""))
            return found, False
        if claimed or time.monotonic() >= patient_until:
            answer = yield from completions.complete(request.completion)
            return answer, True
        yield Wait(LOOK_FAR_SECONDS)


def _written(answer: ChatCompletion) -> bytes:
    """The answer as it is kept; nothing of one that is not whole, was refused, calls, or is too long."""
    try:
        if not _is_worth_keeping(answer):
            return b""
        written = answer.model_dump_json(exclude_unset=True, warnings=False).encode()
    except Exception:
        # Whatever a server has put in the places of what is promised.
        return b""
    return written if len(written) <= MAX_BYTES else b""


def _is_substitute(answer: ChatCompletion, completion: Completion) -> bool:
    """Whether another model has answered in the place of the one asked; that may be back in a moment."""
    asked, name = completion.body["model"], str(answer.model or "")
    meant = [model for model in (*completion.fallbacks, asked) if name.startswith(model)]
    return bool(meant) and max(meant, key=len) != asked


def _is_worth_keeping(answer: ChatCompletion) -> bool:
    return bool(answer.choices) and all(map(_is_whole, answer.choices))


def _is_whole(choice: Any) -> bool:
    said = choice.message
    return (
        choice.finish_reason == "stop"
        and isinstance(said.content, str)
        and bool(said.content)
        and not said.refusal
        and not said.tool_calls
    )


def _read(kept: bytes) -> ChatCompletion | None:
    # The SDK takes long to import; who asks for an answer has it by now.
    from django_chatgpt.providers import ChatCompletion

    try:
        try:
            answer = ChatCompletion.model_validate_json(kept)
        except ValidationError:
            # Slower, but it takes whatever the SDK has let through.
            answer = ChatCompletion.construct(**from_json(kept))
        return answer if _is_worth_keeping(answer) else None
    except Exception:
        return None
