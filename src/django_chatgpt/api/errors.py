"""Errors as the HTTP interface shows them: `{"error": {"code", "message"}}` and a status."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from django.core.exceptions import RequestDataTooBig
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    RawPostDataException,
)
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from pydantic_core import to_json

from django_chatgpt.exceptions import AIServiceError, InvalidRequestError, without_text
from django_chatgpt.services.access import NotAuthenticatedError as NotAuthenticatedError
from django_chatgpt.services.bodies import NO_OBJECT, from_validation
from django_chatgpt.services.shown import error_body, seconds_to_wait

logger = logging.getLogger("django_chatgpt.api")

STATUS: Mapping[str, int] = {
    "invalid_request": 400,
    "invalid_arguments": 400,
    "not_authenticated": 401,
    "permission_denied": 403,
    "function_inactive": 403,
    "approval_required": 403,
    "csrf_failed": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "unknown_function": 404,
    "conflict": 409,
    "turn_running": 409,
    "idempotency_mismatch": 409,
    "decided": 409,
    "cancelled": 409,
    "token_limit": 413,
    "too_large": 413,
    "content_filter": 422,
    "rate_limited": 429,
    "quota_exceeded": 429,
    "function_failed": 500,
    "result_unserializable": 500,
    "internal_error": 500,
    "provider_error": 502,
    "provider_rejected": 502,
    "provider_protocol": 502,
    "invalid_output": 502,
    "provider_unavailable": 503,
    "provider_rate_limited": 503,
    "provider_quota": 503,
    "interrupted": 503,
    "worker_unavailable": 503,
    "filter_unavailable": 503,
    "not_configured": 503,
    "provider_timeout": 504,
    "timeout": 504,
    "function_timeout": 504,
}


class CsrfFailedError(AIServiceError):
    code = "csrf_failed"
    default_message = "The CSRF token is missing or wrong; send it as the header X-CSRFToken."


def render_error(error: AIServiceError) -> HttpResponse:
    """An error as a response."""
    status = STATUS.get(error.code, 500)
    response = HttpResponse(
        to_json({"error": error_body(error)}), content_type="application/json", status=status
    )
    wait = seconds_to_wait(error)
    if wait is not None:
        response["Retry-After"] = str(wait)
    return response


def with_json_body(response: HttpResponse) -> HttpResponse:
    """The same response; of a method that is not allowed, with an error in the one shape."""
    if not isinstance(response, HttpResponseNotAllowed):
        return response
    allowed = response["Allow"]
    told = render_error(AIServiceError(f"This takes {allowed} only.", code="method_not_allowed"))
    told["Allow"] = allowed
    return told


def register(api: NinjaAPI) -> None:
    """Have `api` answer every error in the one shape."""

    @api.exception_handler(AIServiceError)
    def on_service_error(request: HttpRequest, error: AIServiceError) -> HttpResponse:
        if not error.public:
            logger.error("%s", error.message)
        return render_error(error)

    @api.exception_handler(ValidationError)
    def on_invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
        # A body is located under the name of the operation's parameter.
        return render_error(
            from_validation(
                {**found, "loc": ("body", *found["loc"][2:])} if found["loc"][0] == "body" else found
                for found in error.errors
            )
        )

    @api.exception_handler(AuthenticationError)
    def on_anonymous(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
        return render_error(NotAuthenticatedError())

    @api.exception_handler(RequestDataTooBig)
    def on_too_big(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
        message = "message: the request is larger than this site reads."
        return render_error(AIServiceError(message, code="too_large"))

    @api.exception_handler(RawPostDataException)
    def on_form(request: HttpRequest, error: RawPostDataException) -> HttpResponse:
        return render_error(InvalidRequestError(fields={"body": NO_OBJECT}))

    @api.exception_handler(Http404)
    def on_missing(request: HttpRequest, error: Http404) -> HttpResponse:
        return render_error(AIServiceError("There is no such object.", code="not_found"))

    @api.exception_handler(HttpError)
    def on_http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
        if error.status_code == 403:
            return render_error(CsrfFailedError())
        if error.status_code == 400:
            return render_error(InvalidRequestError(fields={"body": NO_OBJECT}))
        response = render_error(AIServiceError(str(error), code="http_error"))
        response.status_code = error.status_code
        return response

    @api.exception_handler(Exception)
    def on_unforeseen(request: HttpRequest, error: Exception) -> HttpResponse:
        # The text of an unforeseen exception may quote a message or a key.
        logger.error(
            "%s while answering %s", type(error).__qualname__, request.path, exc_info=without_text(error)
        )
        return render_error(AIServiceError())
