"""What the database keeps of the site's functions: that they are there, and how often they are called."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils import timezone

from django_chatgpt.core.messages import FunctionResult
from django_chatgpt.models import AIFunction
from django_chatgpt.storage.primary import atomic, primary

IMPLEMENTATION_LENGTH = 500


def sync(rows: Sequence[Mapping[str, Any]], *, using: str = "default", model: Any = AIFunction) -> int:
    """Make the table say what the code says; returns how many rows were made or changed.

    `rows` have name, description, parameters_schema and implementation. Counters and the switch stay as
    they are, and so do rows whose function is gone: its calls were made. `model` may be a historic one.
    """
    if not rows:
        return 0
    wanted = {
        row["name"]: {**row, "implementation": row["implementation"][:IMPLEMENTATION_LENGTH]} for row in rows
    }
    manager = model.objects.using(using)
    with transaction.atomic(using=using):
        present = {row["name"]: row for row in manager.filter(name__in=wanted).values(*next(iter(rows)))}
        new = [model(**row) for name, row in wanted.items() if name not in present]
        # Another process that migrates at the same time may have made them meanwhile.
        manager.bulk_create(new, ignore_conflicts=True)
        changed = [row for name, row in wanted.items() if name in present and present[name] != row]
        for row in changed:
            manager.filter(name=row["name"]).update(**row, updated_at=timezone.now())
    return len(new) + len(changed)


def count(results: Iterable[FunctionResult]) -> None:
    """Add calls to the counters of their functions, whole or not at all; unknown names have none.

    The average runs over all calls. Right however many processes count at the same time.
    """
    by_name: defaultdict[str, list[FunctionResult]] = defaultdict(list)
    for result in results:
        # A name that a model made up may be one that PostgreSQL can't even look for.
        if result.error_code != "unknown_function":
            by_name[result.call.name].append(result)
    if not by_name:
        return
    with atomic():
        # In one order everywhere, so that two that count the same functions never wait for each other.
        for name in sorted(by_name):
            calls = by_name[name]
            successes = sum(each.status == "completed" for each in calls)
            spent = sum(each.duration_ms for each in calls)
            # MySQL assigns from left to right and uses the new values at once, so the average comes first.
            AIFunction.objects.using(primary()).filter(name=name).update(
                average_response_time_ms=(
                    Coalesce(F("average_response_time_ms"), 0.0) * F("usage_count") + spent
                )
                / (F("usage_count") + len(calls)),
                usage_count=F("usage_count") + len(calls),
                success_count=F("success_count") + successes,
                error_count=F("error_count") + len(calls) - successes,
                updated_at=timezone.now(),
            )
