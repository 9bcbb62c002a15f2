"""What a site has done regularly: old things taken away, money watched."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import date
from hashlib import sha256
from typing import Any, Literal
from uuid import UUID

from django.utils import timezone

from django_chatgpt.conf import require_extra
from django_chatgpt.exceptions import AIServiceError, InvalidRequestError
from django_chatgpt.models import AIAlert
from django_chatgpt.services import (
    access,
    alerts,
    conversation_batches,
    costs,
    function_jobs,
    retention,
    usage_report,
)
from django_chatgpt.services.periods import period_of
from django_chatgpt.tasks.registration import is_in_worker, report, task
from django_chatgpt.tasks.turns import sweep_ai_turns

logger = logging.getLogger("django_chatgpt.tasks")

MOST_TITLE = 200


@task
def cleanup_old_conversations(
    days: int | None = None, action: Literal["archive", "delete"] = "archive", archived_only: bool = False
) -> dict[str, int]:
    """Archive or delete the conversations that nobody has used for `days` days: {"done"}.

    Without `days`, as OPENAI_ARCHIVE_AFTER or OPENAI_DELETE_AFTER says; where that is None, nothing.
    `archived_only`: delete only what was archived before.
    """
    counted = _Counted("done")
    done = retention.cleanup_old_conversations(
        days, action=action, archived_only=archived_only, progress=counted
    )
    return {"done": done}


@task
def cleanup_old_embeddings(days: int | None = None, model: str | None = None) -> dict[str, int]:
    """Delete the vectors that nobody has written for `days` days and no index needs: {"done"}.

    Without `days`, as OPENAI_EMBEDDING_RETENTION says; where that is None, nothing. `model`: only those
    that it has made.
    """
    return {"done": retention.cleanup_old_embeddings(days, model=model, progress=_Counted("done"))}


@task
def generate_usage_report(
    days: int | None = None,
    start: str | None = None,
    end: str | None = None,
    user_id: str | int | None = None,
    send: bool = False,
) -> dict[str, Any]:
    """What was used in the last `days` days (30), or from `start` to `end` ("2026-11-01"), both included.

    The report as `services.usage_report` gives it: numbers, by model, kind, user and day. `send` raises it
    as an alert, which the adapter's `alert_recipients` get by e-mail, once for the same days.
    """
    return usage_report.generate_usage_report(
        days,
        start=_day("start", start),
        end=_day("end", end),
        user=None if user_id is None else access.user_of(user_id),
        send=send,
    )


@task
def create_ai_alert(
    severity: str,
    title: str,
    key: str | None = None,
    user_id: str | int | None = None,
    conversation_id: str | None = None,
) -> dict[str, bool]:
    """Raise an alert for those who run the site: {"raised"}; False where there is one already.

    `title` must be words of the site's own, as brokers keep them in plain sight; never what somebody said.
    There is one alert of a `key`; without it, one a day of the same severity, title, user and conversation.
    """
    if severity not in AIAlert.Severity.values:
        raise InvalidRequestError(
            fields={"severity": f"must be one of {', '.join(AIAlert.Severity.values)}."}
        )
    if not title.strip() or len(title) > MOST_TITLE:
        raise InvalidRequestError(fields={"title": f"must have 1 to {MOST_TITLE} characters."})
    if key is None:
        today = period_of("day", timezone.now()).label
        parts = "\0".join(map(str, (severity, title, user_id, conversation_id)))
        key = f"{today}:{sha256(parts.encode()).hexdigest()}"
    raised = alerts.raise_alert(
        "site",
        f"site:{key}",
        severity=severity,
        title=title,
        description="",
        user_id=None if user_id is None else access.user_of(user_id).pk,
        conversation_id=None if conversation_id is None else UUID(conversation_id),
    )
    return {"raised": raised}


@task
def monitor_ai_costs() -> dict[str, dict[str, Any]]:
    """Look whether today or this month has cost more than it should, and raise an alert once.

    {"day": {"period", "spent", "threshold", "over", "alerted"}, "month": {...}}, as far as there are
    thresholds; money is USD as text.
    """
    return costs.monitor_costs()


@task
def process_conversation_batch(
    action: str,
    conversation_ids: Sequence[str],
    user_id: str | int | None = None,
    storage: str | None = None,
) -> dict[str, Any]:
    """Archive, delete or export conversations: {"action", "done", "skipped"}, lists of ids.

    With `user_id` only those of that user. An export writes a JSON file of each to the storage of STORAGES
    that is named.
    """
    ids = [UUID(each) for each in conversation_ids]
    done = conversation_batches.process(
        action,
        ids,
        user_id=None if user_id is None else access.user_of(user_id).pk,
        storage=storage,
        progress=_Counted("done", len(ids)),
    )
    made = {str(each) for each in done}
    return {
        "action": action,
        "done": [str(each) for each in ids if str(each) in made],
        "skipped": [str(each) for each in ids if str(each) not in made],
    }


#: What is done once a day, in this order where there are no workers.
DAILY: tuple[tuple[Any, dict[str, Any]], ...] = (
    (sweep_ai_turns, {}),
    (cleanup_old_conversations, {"action": "delete"}),
    (cleanup_old_conversations, {"action": "archive"}),
    (cleanup_old_embeddings, {}),
    (monitor_ai_costs, {}),
)


@task
def daily_ai_maintenance() -> dict[str, Any]:
    """Have all done that is due once a day: {"events_deleted", "budgets_deleted", "jobs_deleted"}, and more.

    A worker enqueues the others as a group and waits for none of them: {"queued"}. Called without one, it
    does them one after the other, whatever becomes of each: {"done", "failed"}, by name.
    """
    told: dict[str, Any] = {
        "events_deleted": retention.delete_old_events(),
        "budgets_deleted": retention.delete_old_budgets(),
        "jobs_deleted": function_jobs.delete_old(),
    }
    names = [f"{part.__name__}:{values['action']}" if values else part.__name__ for part, values in DAILY]
    if is_in_worker():
        group = require_extra("celery", "celery").group
        group(part.si(**values) for part, values in DAILY).apply_async()
        return told | {"queued": names}
    done: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for name, (part, values) in zip(names, DAILY, strict=True):
        try:
            done[name] = part(**values)
        except Exception as error:
            logger.error("%s has failed: %s", name, type(error).__qualname__)
            failed[name] = error.code if isinstance(error, AIServiceError) else AIServiceError.code
    return told | {"done": done, "failed": failed}


class _Counted:
    """Tells how many there are by now, and how many are to come where that is known."""

    def __init__(self, name: str, total: int | None = None) -> None:
        self._name, self._total, self._done = name, total, 0

    def __call__(self, number: int) -> None:
        self._done += number
        told = {self._name: self._done}
        report(told if self._total is None else told | {"total": self._total})


def _day(name: str, given: str | None) -> date | None:
    try:
        return None if given is None else date.fromisoformat(given)
    except ValueError:
        raise InvalidRequestError(fields={name: 'must be a day, such as "2026-11-22".'}) from None
