"""Who may ask, with whose key, and which model: the adapter's answers, asked for in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist, ValidationError

from django_chatgpt.adapter import get_adapter
from django_chatgpt.conf import conf
from django_chatgpt.core.messages import Message
from django_chatgpt.core.request import Endpoint
from django_chatgpt.exceptions import (
    AIServiceError,
    InvalidRequestError,
    NotConfiguredError,
    NotFoundError,
    PermissionDeniedError,
)
from django_chatgpt.models import AIConfiguration, AITurn

MAX_TENANT = 200
#: The permission to see the ledger, in the admin as everywhere.
VIEW_LEDGER = "django_chatgpt.view_aiusage"


class NotAuthenticatedError(AIServiceError):
    """Nobody is signed in, where somebody has to be."""

    code = "not_authenticated"
    default_message = "Sign in first."


@dataclass(frozen=True, slots=True)
class Account:
    """Whose account a question goes to. The key in `endpoint` is never stored; `tenant` leads to it again."""

    tenant: str
    endpoint: Endpoint


def require(user: Any) -> None:
    """Raise PermissionDeniedError unless this user may ask."""
    if not get_adapter().may_use(user):
        raise PermissionDeniedError()


def may_view_ledger(user: Any) -> bool:
    """Whether this user may see what things cost; a user model may be without permissions."""
    has_perm = getattr(user, "has_perm", None)
    return has_perm is not None and bool(has_perm(VIEW_LEDGER))


def may_see_others(user: Any) -> bool:
    """Whether this user may see what others have used: staff who may view the ledger."""
    return bool(user.is_active and getattr(user, "is_staff", False)) and may_view_ledger(user)


def user_of(user_id: Any) -> Any:
    """The user with this primary key, which may be given as text. Raises NotFoundError."""
    try:
        return get_user_model()._default_manager.get(pk=user_id)
    except (ObjectDoesNotExist, ValidationError, ValueError, OverflowError):
        raise NotFoundError(f"user_id: there is no user {user_id}.") from None


def account_of(user: Any) -> Account:
    """The account of what this user asks now. Raises NotConfiguredError."""
    tenant = tenant_of(user)
    return Account(tenant, get_adapter().endpoint(user, tenant))


def embedding_endpoint_of(user: Any) -> Endpoint:
    """Where this user's texts are embedded. Raises NotConfiguredError."""
    return get_adapter().embedding_endpoint(user, tenant_of(user))


def tenant_of(user: Any) -> str:
    """The tenant whom this user asks for now. Raises NotConfiguredError."""
    tenant = get_adapter().tenant(user)
    if not isinstance(tenant, str) or len(tenant) > MAX_TENANT:
        raise NotConfiguredError(
            f"OPENAI_ADAPTER: a tenant must be a text of at most {MAX_TENANT} characters."
        )
    return tenant


def endpoint_of(turn: AITurn) -> Endpoint:
    """Where a stored turn is answered: with the account it was begun with, whatever its user has become.

    Key and address come from the adapter together, so that no key is sent to an address it is not for.
    """
    return get_adapter().endpoint(turn.user, turn.options.get("tenant", ""))


def choose_model(user: Any, asked: str | None, configuration: AIConfiguration | None) -> str:
    """The model for a question: the one asked for, else the configuration's, else the site's.

    Raises InvalidRequestError naming `model`, or `configuration_id`, and what is allowed.
    """
    _check_name(asked)
    adapter = get_adapter()
    configured = configuration.model if configuration is not None else ""
    wanted = asked or configured or conf.default_model
    allowed = adapter.allowed_models(user)
    if allowed is not None and wanted not in allowed:
        if not allowed:
            raise PermissionDeniedError("You may not use any model.")
        if asked or configured:
            problem = f"must be one of {', '.join(allowed)}."
            if not asked:
                problem = f"has a model that you may not use; it {problem}"
            raise InvalidRequestError(fields={"model" if asked else "configuration_id": problem})
        wanted = allowed[0]
    return adapter.model_for(user, wanted)


def choose_embedding_model(user: Any, asked: str | None) -> str:
    """The model that embeds: the site's, or another one asked for that the user may use.

    Raises InvalidRequestError naming `model`.
    """
    _check_name(asked)
    model = asked or conf.embedding_model
    if model != conf.embedding_model and not allowed_of(user, [model]):
        raise InvalidRequestError(fields={"model": f"must be {conf.embedding_model}."})
    return model


def _check_name(model: str | None) -> None:
    # It is in the ledger from now on, and so on the terminal, in pictures and in subjects of mails.
    if model is not None and not model.isprintable():
        raise InvalidRequestError(fields={"model": "must have printable characters only."})


def allowed_of(user: Any, models: Sequence[str]) -> list[str]:
    """Those of the models that this user may use, in their order."""
    allowed = get_adapter().allowed_models(user) if models else None
    return [model for model in models if allowed is None or model in allowed]


def redacted(messages: Sequence[Message]) -> Sequence[Message]:
    """A transcript as the provider may read it: what people and functions have said, without what it may not.

    What the model has said it knows already, and the system prompt is the site's own.
    """
    redact = get_adapter().redactor
    return messages if redact is None else [_redacted(line, redact) for line in messages]


def _redacted(line: Message, redact: Callable[[str], str]) -> Message:
    if line["role"] not in ("user", "tool"):
        return line
    return {**line, "content": redact(line["content"])}
