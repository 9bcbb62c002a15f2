"""On whose behalf a function is called."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, NoReturn, Union, get_args, get_origin
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls and where: given to every parameter that is annotated with this class.

    It is never part of what the model sees, and the model can't supply it. `user` is None where the site
    itself asks; the ids are None outside a turn. `idempotency_key` is the same for the same call however
    often it is made, and another for every other call.
    """

    user: Any = None
    conversation_id: UUID | None = None
    turn_id: UUID | None = None
    call_id: str = ""
    idempotency_key: str = ""

    @classmethod
    def __get_pydantic_core_schema__(cls, *args: object) -> NoReturn:
        """Keep it out of every schema, nested ones too: otherwise the model could say who calls."""
        raise TypeError("A Caller is given by the site and can be no part of the arguments.")


def asks_for_caller(hint: object) -> bool:
    """Whether an annotation is Caller, alone, optional or with something beside it."""
    if get_origin(hint) is Annotated:
        return asks_for_caller(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return all(part is type(None) or asks_for_caller(part) for part in get_args(hint))
    return hint is Caller


def idempotency_key(user: Any, turn_id: UUID | None, call_id: str, name: str, arguments: str) -> str:
    """64 hexadecimal digits that stand for one call. `arguments` is canonical JSON."""
    parts = [str(getattr(user, "pk", None)), str(turn_id), call_id, name, arguments]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
