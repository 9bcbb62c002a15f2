"""Whatever the SDK, the network or the server throws, as one of our errors.

What the provider sent chooses the error and is then forgotten: neither its text nor the exception that
carried it goes along. So errors are made here and raised by the caller outside its `except` block.
"""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Mapping
from typing import Final

import httpx2
import openai

from django_chatgpt.exceptions import (
    AIServiceError,
    ContentFilterError,
    NotConfiguredError,
    ProviderError,
    ProviderProtocolError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    TokenLimitError,
)

OPTIONS: Final = frozenset(
    {
        "dimensions",
        "frequency_penalty",
        "include",
        "input",
        "instructions",
        "max_completion_tokens",
        "max_output_tokens",
        "max_tokens",
        "messages",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "store",
        "stream_options",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_p",
    }
)

_TOO_LONG: Final = frozenset(
    {"context_length_exceeded", "exceed_context_size_error", "string_above_max_length", "request_too_large"}
)
_TOO_LONG_TEXT: Final = re.compile(r"context (length|window|size)|prompt is too long", re.IGNORECASE)
_FILTERED: Final = frozenset(
    {
        "bio_policy",
        "content_filter",
        "content_policy_violation",
        "cyber_policy",
        "invalid_prompt",
        "misalignment_policy_violation",
    }
)
_QUOTA: Final = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "quota_exceeded"}
)
_RATE: Final = frozenset(
    {"rate_limit_exceeded", "rate_limit_error", "too_many_requests", "requests", "tokens"}
)
_UNAVAILABLE: Final = frozenset(
    {
        "api_error",
        "internal_error",
        "internal_server_error",
        "overloaded",
        "overloaded_error",
        "server_error",
        "server_is_overloaded",
        "service_unavailable",
        "slow_down",
        "timeout",
        "unavailable_error",
    }
)
_NO_MODEL: Final = frozenset({"model_not_found", "model_not_available", "invalid_model"})

CUT_SHORT: Final = "The answer of the model's provider was cut short."
_MAX_RETRY_AFTER: Final = 24 * 60 * 60.0


def cut_short(request_id: str = "") -> ProviderProtocolError:
    """The answer ended before its end. The same call may well go through."""
    return ProviderProtocolError(CUT_SHORT, retryable=True, request_id=request_id)


def translate(
    error: Exception, *, model: str = "", request_id: str = "", reading: bool = False
) -> AIServiceError:
    """Make the error to raise instead of `error`; `reading` says that the answer had already begun."""
    if isinstance(error, AIServiceError):
        return error
    if isinstance(error, openai.APIStatusError):
        return from_response(error.status_code, error.response.headers, error.body, model=model)
    if isinstance(error, openai.APIError) and not isinstance(error, openai.APIConnectionError):
        return ProviderProtocolError(request_id=request_id)
    if _is_timeout(error):
        return ProviderTimeoutError(request_id=request_id)
    if reading and isinstance(error, (openai.APIConnectionError, httpx2.NetworkError, httpx2.ProtocolError)):
        return cut_short(request_id)
    if isinstance(error, httpx2.DecodingError | ValueError):
        return ProviderProtocolError(request_id=request_id)
    if isinstance(error, openai.APIConnectionError | httpx2.RequestError | OSError):
        return cut_short(request_id) if reading else ProviderUnavailableError(request_id=request_id)
    if isinstance(error, openai.OpenAIError | httpx2.InvalidURL):
        return NotConfiguredError()
    return ProviderError(request_id=request_id)


def from_response(
    status: int, headers: Mapping[str, str], body: object, *, model: str = ""
) -> AIServiceError:
    """The error that an answer other than 2xx means. `body` is the SDK's: parsed JSON, or text."""
    codes, param, text = _details(body)
    request_id = headers.get("x-request-id") or ""
    error = _choose(status, codes, param, text, model, request_id)
    error.retry_after = retry_after(headers)
    asked = headers.get("x-should-retry", "").strip().lower()
    if asked in ("true", "false") and error.code != "provider_quota":
        error.retryable = asked == "true"
    return error


def in_band(details: object, *, model: str = "", request_id: str = "") -> AIServiceError:
    """The error that a server reports inside an answer it had begun with 200."""
    codes, param, text = _details(details)
    if codes & (_QUOTA | _RATE) or "429" in codes:
        return _rate_limited(codes, 429, request_id)
    status = next((int(code) for code in codes if code.isdecimal() and 400 <= int(code) < 600), None)
    if status is not None:
        return _choose(status, codes, param, text, model, request_id)
    if codes & _UNAVAILABLE or not codes:
        return ProviderUnavailableError(request_id=request_id)
    refused = _refusal(codes, param, text, model, None, request_id)
    return refused or ProviderProtocolError(
        "The model's provider broke off with an error.", request_id=request_id
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the provider wants us to wait, of `retry-after-ms` or `Retry-After` (seconds or a date)."""
    for name, divisor in (("retry-after-ms", 1000), ("retry-after", 1)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) / divisor
        except ValueError:
            parsed = email.utils.parsedate_tz(value) if divisor == 1 else None
            if parsed is None:
                continue
            try:
                seconds = email.utils.mktime_tz(parsed) - time.time()
            except (ValueError, OverflowError):
                continue
        if math.isfinite(seconds):
            return min(max(seconds, 0.0), _MAX_RETRY_AFTER)
    return None


def _choose(
    status: int, codes: set[str], param: str, text: str, model: str, request_id: str
) -> AIServiceError:
    if status == 429:
        return _rate_limited(codes, status, request_id)
    if status in (401, 403) and not codes & (_NO_MODEL | _FILTERED):
        return ProviderRejectedError(
            "The model's provider does not accept this site's credentials.",
            status=status,
            request_id=request_id,
        )
    if status in (408, 504):
        return ProviderTimeoutError(status=status, request_id=request_id)
    if status in (409, 425) or status >= 500:
        return ProviderUnavailableError(status=status, request_id=request_id)
    if status == 413:
        return TokenLimitError()
    refused = _refusal(codes, param, text, model, status, request_id)
    if refused is not None:
        return refused
    if status == 404:
        return _no_model(model, status, request_id)
    if status < 400:
        return ProviderProtocolError(status=status, request_id=request_id)
    return ProviderRejectedError(status=status, request_id=request_id)


def _refusal(
    codes: set[str], param: str, text: str, model: str, status: int | None, request_id: str
) -> AIServiceError | None:
    """What the provider objects to, where it says so in a way that can be told apart."""
    if codes & _TOO_LONG or (status in (400, 422) and _TOO_LONG_TEXT.search(text)):
        return TokenLimitError()
    if codes & _FILTERED:
        return ContentFilterError()
    if codes & _NO_MODEL or param == "model":
        return _no_model(model, status, request_id)
    option = re.split(r"[.\[]", param, maxsplit=1)[0]
    if option in OPTIONS:
        rejected = ProviderRejectedError(
            f"The model does not accept the option {option} as it was sent.",
            status=status,
            request_id=request_id,
        )
        rejected.about = option
        return rejected
    return None


def _no_model(model: str, status: int | None, request_id: str) -> ProviderRejectedError:
    named = f"the model {model!r}" if model else "this model"
    rejected = ProviderRejectedError(
        f"The model's provider does not offer {named}.", status=status, request_id=request_id
    )
    rejected.about = "model"
    return rejected


def _rate_limited(codes: set[str], status: int, request_id: str) -> ProviderRateLimitedError:
    if codes & _QUOTA:
        return ProviderRateLimitedError(
            "This site's account with the model's provider is used up.",
            code="provider_quota",
            retryable=False,
            status=status,
            request_id=request_id,
        )
    return ProviderRateLimitedError(status=status, request_id=request_id)


def _details(body: object) -> tuple[set[str], str, str]:
    """What a body says of an error: its `code` and `type`, its `param`, its text, in all shapes seen."""
    if isinstance(body, str):
        return set(), "", body[:2000]
    if not isinstance(body, Mapping):
        return set(), "", ""
    codes = {str(body[name]).lower() for name in ("code", "type") if isinstance(body.get(name), str | int)}
    codes -= {"error", "none", ""}
    param, message = body.get("param"), body.get("message") or body.get("detail")
    return (
        codes,
        param if isinstance(param, str) else "",
        message[:2000] if isinstance(message, str) else "",
    )


def _is_timeout(error: Exception) -> bool:
    """Whether time ran out. The aiohttp transport reports lost connections as timeouts too; look beneath."""
    if not isinstance(error, openai.APITimeoutError | httpx2.TimeoutException | TimeoutError):
        return False
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    return any(isinstance(cause, TimeoutError) for cause in causes) or not any(
        type(cause).__module__.startswith("aiohttp") for cause in causes
    )
