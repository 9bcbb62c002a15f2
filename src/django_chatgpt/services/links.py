"""Where the passages that an answer was made from can be read, for those who may see them."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.core.exceptions import ValidationError

from django_chatgpt.indexes import Index, index_registry
from django_chatgpt.models import AIMessage, AITurn
from django_chatgpt.services.citations import kept

logger = logging.getLogger("django_chatgpt.services")

MOST: Final = 50
_CITATION: Final = re.compile(r"([a-zA-Z0-9_-]{1,64})/(.{1,255})#\d+", re.DOTALL)
_ADDRESS: Final = re.compile(r"(?:https?://|/(?!/))")

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Link:
    """A source. `number` is what it is cited by, None if the model found it itself; `url` may be ""."""

    index: str
    title: str
    url: str = ""
    number: int | None = None


def links_of(user: Any, turns: Iterable[AITurn], lines: Iterable[AIMessage]) -> dict[Any, list[Link]]:
    """The sources of turns by their keys, given all lines of them; what the user may not find is not there.

    An object is named once; one that is gone is left out. Two queries for each index at most.
    """
    wanted: dict[Any, dict[Key, int | None]] = {}
    for turn in turns:
        for source in kept(turn.options):
            wanted.setdefault(turn.pk, {}).setdefault((source.index, source.object_key), source.number)
    for line in lines:
        if line.role == AIMessage.Role.TOOL and line.turn_id is not None:
            for key in _cited(line.content):
                wanted.setdefault(line.turn_id, {}).setdefault(key, None)
    shown = _shown(user, {key for keys in wanted.values() for key in keys}) if wanted else {}
    return {
        turn_id: [
            Link(index=key[0], title=shown[key][0], url=shown[key][1], number=number)
            for key, number in keys.items()
            if key in shown
        ][:MOST]
        for turn_id, keys in wanted.items()
    }


def _cited(content: str) -> list[Key]:
    """What a function has found: those that `search_function` makes say it so."""
    if '"citation"' not in content:
        return []
    try:
        value = json.loads(content)
    except ValueError:
        return []
    passages = value.get("passages") if isinstance(value, Mapping) else None
    found = []
    for passage in passages if isinstance(passages, list) else []:
        citation = passage.get("citation") if isinstance(passage, Mapping) else None
        if isinstance(citation, str) and (match := _CITATION.fullmatch(citation)):
            found.append((match[1], match[2]))
    return found


def _shown(user: Any, keys: set[Key]) -> dict[Key, tuple[str, str]]:
    """Title and address of each object that may be seen."""
    shown: dict[Key, tuple[str, str]] = {}
    for index in index_registry.indexes:
        own = {key for name, key in keys if name == index.name}
        for key, row in _objects(index, user, own).items():
            shown[index.name, key] = (str(row), _address(row))
    return shown


def _objects(index: Index, user: Any, keys: set[str]) -> dict[str, Any]:
    pks = []
    for key in keys:
        try:
            pks.append(index.pk_of(key))
        except ValidationError:
            continue
    if not pks:
        return {}
    found = {index.key_of(row): row for row in index.rows().filter(pk__in=pks)}
    if index.for_user is None or not found:
        return found
    own = {index.key_of(row) for row in index.for_user(user).filter(pk__in=pks)}
    return {key: row for key, row in found.items() if key in own}


def _address(row: Any) -> str:
    """Where an object is shown; "" where the site does not say, or says nothing that a link may lead to."""
    address = getattr(row, "get_absolute_url", None)
    if address is None:
        return ""
    try:
        url = str(address())
    except Exception as error:  # the site's own code
        logger.warning("%s.get_absolute_url: %s", type(row).__name__, type(error).__name__)
        return ""
    return url if _ADDRESS.match(url) else ""
