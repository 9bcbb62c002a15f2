"""Everything that can go wrong, as one tree.

    AIServiceError                       the root: catch this
    ├── NotConfiguredError               a setting is missing or malformed
    ├── InvalidRequestError              what the caller asked makes no sense; names every field
    ├── PermissionDeniedError            this user may not
    ├── NotFoundError                    there is none, or it is somebody else's
    ├── ConflictError                    the conversation is busy, or a key was reused
    ├── TokenLimitError                  the question does not fit the model's window
    ├── ContentFilterError               the text was refused
    ├── RateLimitedError                 too many questions; `retry_after` in seconds
    ├── QuotaExceededError               too much money or too many tokens; `retry_after` in seconds
    ├── StructuredOutputError            the model's answer does not fit the form asked for
    ├── ToolFailedError                  a function of the site failed
    ├── TurnCancelledError               somebody stopped the turn
    ├── TurnInterruptedError             the process that ran the turn went away
    ├── TurnTimeoutError                 the whole answer took longer than the site allows
    ├── WorkerUnavailableError           nothing can be handed to a worker just now
    └── ProviderError                    the model's side
        ├── ProviderUnavailableError     no connection, 5xx, or overloaded: may work later
        │   ├── ProviderRateLimitedError 429 of the provider
        │   └── ProviderTimeoutError     no answer in time
        ├── ProviderRejectedError        4xx of the provider: will not work again either
        └── ProviderProtocolError        an answer that is not one: HTML, broken JSON, cut short

Each has a `code`, which is part of the public interface, and says whether the same call may succeed
later (`retryable`). The text of an error is meant for the person who asked: it never holds what the
provider sent, a key or a traceback.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import ClassVar
from uuid import UUID

__all__ = [
    "AIServiceError",
    "ConflictError",
    "ContentFilterError",
    "InvalidRequestError",
    "NotConfiguredError",
    "NotFoundError",
    "PermissionDeniedError",
    "ProviderError",
    "ProviderProtocolError",
    "ProviderRateLimitedError",
    "ProviderRejectedError",
    "ProviderTimeoutError",
    "ProviderUnavailableError",
    "QuotaExceededError",
    "RateLimitedError",
    "StructuredOutputError",
    "TokenLimitError",
    "ToolFailedError",
    "TurnCancelledError",
    "TurnInterruptedError",
    "TurnTimeoutError",
    "WorkerUnavailableError",
]


class AIServiceError(Exception):
    """The root of the tree; raised itself only for what nobody foresaw."""

    code: str = "internal_error"
    retryable: bool = False
    public: ClassVar[bool] = True
    default_message: ClassVar[str] = "Something went wrong on this site while answering."

    def __init__(
        self,
        message: str | None = None,
        *,
        code: str | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.message = message or self.default_message
        self.retry_after = retry_after
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable
        super().__init__(self.message)

    @property
    def public_message(self) -> str:
        """The text for whoever asked; that of an error of the site's own set-up is for its log only."""
        return self.message if self.public else self.default_message


class NotConfiguredError(AIServiceError):
    code = "not_configured"
    public = False
    default_message = "The AI service of this site is not configured."


class InvalidRequestError(AIServiceError):
    """Bad input; `fields` maps each field to what is wrong with it."""

    code = "invalid_request"
    default_message = "The request is not valid."

    def __init__(
        self, message: str | None = None, *, fields: Mapping[str, str] | None = None, code: str | None = None
    ) -> None:
        self.fields = dict(fields or {})
        if message is None and self.fields:
            message = " ".join(f"{name}: {problem}" for name, problem in self.fields.items())
        super().__init__(message, code=code)


class PermissionDeniedError(AIServiceError):
    code = "permission_denied"
    default_message = "You may not use this."


class NotFoundError(AIServiceError):
    code = "not_found"
    default_message = "There is no such object."


class ConflictError(AIServiceError):
    """Something else is in the way; `turn_id` names the turn that is, where it is one.

    `retry_after` is in seconds, where it is known how long that may last.
    """

    code = "conflict"
    retryable = True
    default_message = "Another request is in the way."

    def __init__(
        self,
        message: str | None = None,
        *,
        turn_id: UUID | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.turn_id = turn_id
        super().__init__(message, code=code, retry_after=retry_after)


class TokenLimitError(AIServiceError):
    code = "token_limit"
    default_message = "The text is too long for the model."


class ContentFilterError(AIServiceError):
    code = "content_filter"
    default_message = "The text was refused by the content filter."


class RateLimitedError(AIServiceError):
    code = "rate_limited"
    retryable = True
    default_message = "Too many questions in a short time."


class QuotaExceededError(AIServiceError):
    code = "quota_exceeded"
    retryable = True
    default_message = "The budget for this period is used up."


class StructuredOutputError(AIServiceError):
    """The model's answer does not fit the form asked for, twice; `raw` is its text."""

    code = "invalid_output"
    retryable = True
    default_message = "The model's answer does not have the form that was asked for."

    def __init__(self, message: str | None = None, *, raw: str = "") -> None:
        self.raw = raw
        super().__init__(message)


class ToolFailedError(AIServiceError):
    code = "function_failed"
    default_message = "A function of this site failed."


class TurnCancelledError(AIServiceError):
    code = "cancelled"
    default_message = "The answer was stopped."


class TurnInterruptedError(AIServiceError):
    code = "interrupted"
    retryable = True
    default_message = "The answer was interrupted; what had arrived is kept."


class TurnTimeoutError(AIServiceError):
    code = "timeout"
    retryable = True
    default_message = "The answer took longer than this site allows; what had arrived is kept."


class WorkerUnavailableError(AIServiceError):
    code = "worker_unavailable"
    retryable = True
    default_message = "No worker can be reached at the moment."


class ProviderError(AIServiceError):
    """The model's side failed; `status` is the HTTP status it answered with, None where it did not."""

    code = "provider_error"
    default_message = "The model's provider failed."

    def __init__(
        self,
        message: str | None = None,
        *,
        code: str | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
        status: int | None = None,
        request_id: str = "",
    ) -> None:
        self.status = status
        self.request_id = request_id
        super().__init__(message, code=code, retryable=retryable, retry_after=retry_after)


class ProviderUnavailableError(ProviderError):
    code = "provider_unavailable"
    retryable = True
    default_message = "The model's provider can't be reached at the moment."


class ProviderRateLimitedError(ProviderUnavailableError):
    code = "provider_rate_limited"
    default_message = "The model's provider has too much to do at the moment."


class ProviderTimeoutError(ProviderUnavailableError):
    code = "provider_timeout"
    default_message = "The model's provider did not answer in time."


class ProviderRejectedError(ProviderError):
    """The provider will not have it; `about` is the part of the request it objects to, where it said so."""

    about: str = ""
    code = "provider_rejected"
    default_message = "The model's provider refused the request."


class ProviderProtocolError(ProviderError):
    code = "provider_protocol"
    default_message = "The model's provider sent an answer that can't be read."


def without_text(error: Exception) -> tuple[type[Exception], Exception, TracebackType | None]:
    """For a log, as `exc_info`: the traceback without what the exception says, which may be a message."""
    return (RuntimeError, RuntimeError("(text withheld)"), error.__traceback__)
