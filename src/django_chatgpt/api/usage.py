"""GET usage/: what was used, as JSON or as a table for a spreadsheet."""

from __future__ import annotations

import csv
from io import StringIO
from typing import Annotated, Any, Literal

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers
from ninja import Query, Router

from django_chatgpt.api.auth import SessionLogin
from django_chatgpt.api.openapi import USAGE
from django_chatgpt.api.schemas import ErrorOut, UsageOut
from django_chatgpt.exceptions import InvalidRequestError, NotFoundError, PermissionDeniedError
from django_chatgpt.models import AIUsage
from django_chatgpt.services import access, reports
from django_chatgpt.services.shown import money

router = Router(tags=["usage"], auth=SessionLogin())

REFUSED = {400: ErrorOut, 401: ErrorOut, 403: ErrorOut, 404: ErrorOut}
COLUMNS = ("date", "model", "requests", "tokens", "cost", "unpriced_requests")

Days = Annotated[int, Query(30, ge=1, le=reports.MAX_DAYS)]


@router.get("usage/", response={200: UsageOut, **REFUSED}, url_name="usage", openapi_extra=USAGE)
def usage(
    request: HttpRequest,
    response: HttpResponse,
    days: Days = 30,
    scope: Literal["user", "site"] = "user",
    user_id: Annotated[str | None, Query(None, max_length=100)] = None,
    format: Literal["json", "csv"] | None = None,
) -> Any:
    """What you have used in the last days, today included: altogether, by model, by day of the site.

    Staff who may view the ledger may ask for another user, or for the whole site. `format=csv`, or
    `Accept: text/csv`, gives a table.
    """
    rows = _rows(request.user, scope, user_id)
    preferred = request.get_preferred_type(["application/json", "text/csv"])
    if format == "csv" or (format is None and preferred == "text/csv"):
        response = _table(rows, days)
        patch_vary_headers(response, ["Accept"])
        return response
    patch_vary_headers(response, ["Accept"])
    found = reports.usage(rows, days)
    return {
        "total": found.total,
        "by_model": found.by_model,
        "daily": [{"date": day, **_shown(used)} for day, used in found.daily.items()],
        "unpriced_requests": found.total.unpriced,
    }


def _shown(used: reports.Used) -> dict[str, Any]:
    return {"tokens": used.tokens, "cost": used.cost, "requests": used.requests}


def _rows(user: Any, scope: str, user_id: str | None) -> QuerySet[AIUsage]:
    """What this user may see of what was asked for."""
    if scope == "site":
        if user_id is not None:
            raise InvalidRequestError(fields={"user_id": "goes with the scope user only."})
        if not access.may_see_others(user):
            raise PermissionDeniedError("Only staff who may view the ledger may see what the site has used.")
        return reports.of_site()
    if user_id is None or user_id == str(user.pk):
        return reports.of_user(user.pk)
    users = get_user_model()._default_manager
    try:
        known = access.may_see_others(user) and users.filter(pk=user_id).exists()
    except (ValueError, ValidationError):
        known = False
    if not known:
        raise NotFoundError(f"user_id: there is no user {user_id}.")
    return reports.of_user(user_id)


def _table(rows: QuerySet[AIUsage], days: int) -> HttpResponse:
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for day, model, used in reports.by_day_and_model(rows, days):
        cost = money(used.cost)
        writer.writerow(
            [
                day.isoformat(),
                reports.spreadsheet_cell(model),
                used.requests,
                used.tokens,
                cost,
                used.unpriced,
            ]
        )
    headers = {"Content-Disposition": 'attachment; filename="usage.csv"'}
    return HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8", headers=headers)
