"""The site's functions, called by a person instead of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import to_json

from django_chatgpt.core.ids import uuid7
from django_chatgpt.core.messages import FunctionCall
from django_chatgpt.database import ahop
from django_chatgpt.exceptions import InvalidRequestError
from django_chatgpt.functions.calls import FunctionBox
from django_chatgpt.functions.outcomes import Outcome
from django_chatgpt.services import access, observed, rates
from django_chatgpt.storage import functions as storage


def schemas_for(user: Any) -> list[dict[str, Any]]:
    """What the model is told of the functions that this user may call."""
    return list(_box(user).schemas)


def execute(user: Any, name: str, arguments: Mapping[str, Any]) -> Any:
    """Call a function and count the call. Gives what it returns, as JSON would have it.

    Raises NotFoundError, PermissionDeniedError, RateLimitedError, InvalidRequestError, ToolFailedError.
    """
    box, call = _admit(user, name, arguments)
    [outcome] = box.execute([call])
    return _kept(user, outcome)


async def aexecute(find_user: Callable[[], Any], name: str, arguments: Mapping[str, Any]) -> Any:
    """The same in a coroutine. `find_user`, which may use the database and refuse, says who calls."""
    user, (box, call) = await ahop(lambda: (user := find_user(), _admit(user, name, arguments)))
    [outcome] = await box.aexecute([call])
    return await ahop(lambda: _kept(user, outcome))


def _admit(user: Any, name: str, arguments: Mapping[str, Any]) -> tuple[FunctionBox, FunctionCall]:
    call = FunctionCall(id=f"call_{uuid7().hex}", name=name, arguments=as_text(arguments))
    box = _box(user)
    rates.admit(user)
    return box, call


def _kept(user: Any, outcome: Outcome) -> Any:
    storage.count([outcome.result])
    observed.called([outcome.result], user_id=None if user is None else user.pk)
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


def as_text(arguments: Mapping[str, Any]) -> str:
    """A person's arguments as a model would write them: JSON. Raises InvalidRequestError."""
    try:
        return to_json(dict(arguments)).decode()
    except ValueError:
        problem = "must be JSON; it has half a character or too many levels."
        raise InvalidRequestError(fields={"arguments": problem}) from None


def _box(user: Any) -> FunctionBox:
    access.require(user)
    return FunctionBox.for_user(user)
