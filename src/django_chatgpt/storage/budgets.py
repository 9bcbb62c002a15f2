"""What is used of a budget, reserved under its lock so that no two who ask at once get the same money.

used = the cost of the attempts that were begun in the period + what those still running have reserved

Both are columns of the ledger, so nothing can drift from it. Locks are taken last in a transaction and in the
order of their keys; nothing but the announcement of an attempt follows.

Transactions have to be READ COMMITTED, as Django makes them on PostgreSQL and MariaDB unless a site says
otherwise: a sum read after the lock was got has to see what was committed before.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from django.db import connections
from django.db.models import F, Min, Q, QuerySet, Sum
from django.utils import timezone

from django_chatgpt.models import AIBudget, AITurn, AIUsage
from django_chatgpt.storage.primary import atomic, hold, primary, update_found
from django_chatgpt.storage.statements import sum_between, update

FINAL_AFTER = timedelta(minutes=1)  # clocks of different machines differ by less
CENTS = Decimal("1E-12")
NOTHING = Decimal(0)
OPEN = Q(outcome=AIUsage.Outcome.RUNNING) | Q(reserved_cost__isnull=False)


def key_of(kind: str, owner: Any, period: str, label: str) -> str:
    """What the memo of a window is found by."""
    return f"{kind}:{'' if owner is None else owner}:{period}:{label}"


@dataclass(frozen=True, slots=True)
class Window:
    """The period of a budget that a moment lies in, for one owner of it.

    `owner` is the id of a user or a group, None for the site. `label` is the day or month: "2026-11-22".
    `limit` is in USD.
    """

    kind: Literal["user", "group", "site"]
    owner: Any
    name: str
    period: str
    label: str
    start: datetime
    end: datetime
    limit: Decimal

    @property
    def key(self) -> str:
        return key_of(self.kind, self.owner, self.period, self.label)

    @property
    def rows(self) -> QuerySet[AIUsage]:
        """The attempts that count."""
        rows = AIUsage.objects.using(primary()).filter(timestamp__lt=self.end)
        match self.kind:
            case "user":
                return rows.filter(user_id=self.owner)
            case "group":
                return rows.filter(budget_groups__contains=f",{self.owner},")
        return rows


@dataclass(frozen=True, slots=True)
class Standing:
    """What of a window is spent, and what is reserved besides. In USD."""

    window: Window
    spent: Decimal
    reserved: Decimal

    @property
    def used(self) -> Decimal:
        return self.spent + self.reserved


def lock(windows: Sequence[Window]) -> dict[str, AIBudget]:
    """Hold the windows until the end of the transaction; their rows by key. Makes those that are missing."""
    wanted = {window.key: window for window in sorted(windows, key=lambda window: window.key)}
    features = connections[primary()].features
    held: dict[str, AIBudget] = {}
    if features.has_select_for_update:
        held = _held(wanted)
        if len(held) == len(wanted):
            return held
    elif all(update(AIBudget, {"key": key}, {}) for key in wanted):
        return _held(wanted)
    # Written over where they are, rather than left alone: that takes the lock for writing at once, where
    # MariaDB would share one for reading with others who then wait for each other. On SQLite any write is the
    # lock.
    AIBudget.objects.using(primary()).bulk_create(
        [
            AIBudget(key=key, starts_at=window.start, settled_before=window.start)
            for key, window in wanted.items()
            if key not in held
        ],
        update_conflicts=True,
        update_fields=["updated_at"],
        unique_fields=["key"] if features.supports_update_conflicts_with_target else None,
    )
    return _held(wanted)


def _held(keys: Collection[str]) -> dict[str, AIBudget]:
    """The rows by key, locked where the database has such a thing."""
    alias = primary()
    lock = " FOR UPDATE" if connections[alias].features.has_select_for_update else ""
    return _memos(keys, f" ORDER BY {connections[alias].ops.quote_name('key')}{lock}")


def _memos(keys: Collection[str], end: str = "") -> dict[str, AIBudget]:
    if not keys:
        return {}
    alias = primary()
    table, column = map(connections[alias].ops.quote_name, (AIBudget._meta.db_table, "key"))
    sql = f"SELECT * FROM {table} WHERE {column} IN ({', '.join(['%s'] * len(keys))}){end}"
    return {row.key: row for row in AIBudget.objects.db_manager(alias).raw(sql, list(keys))}


def standings(windows: Sequence[Window], memos: dict[str, AIBudget]) -> list[Standing]:
    """How the windows stand; one query each, over the rows that are not in the memo."""
    return [_standing(window, memos.get(window.key)) for window in windows]


def read(windows: Sequence[Window]) -> list[Standing]:
    """How the windows stand, without holding anything. Memos that are behind are brought forward."""
    now = timezone.now()
    memos = _memos([window.key for window in windows])
    stale = [window for window in windows if _is_behind(memos.get(window.key), window, now)]
    if stale:
        with atomic():
            held = lock(stale)
            for window in stale:
                advance(held[window.key], window, now)
        memos |= held
    return standings(windows, memos)


def _standing(window: Window, memo: AIBudget | None) -> Standing:
    since = window.start if memo is None else memo.settled_before
    if window.kind == "group":
        sums = window.rows.filter(timestamp__gte=since).aggregate(
            spent=Sum("estimated_cost"), reserved=Sum("reserved_cost")
        )
        spent, reserved = sums["spent"], sums["reserved"]
    else:
        whose = {"user_id": window.owner} if window.kind == "user" else {}
        spent, reserved = sum_between(
            AIUsage, ("estimated_cost", "reserved_cost"), "timestamp", since, window.end, whose
        )
    settled = NOTHING if memo is None else memo.settled_cost
    return Standing(
        window, (settled + (spent or NOTHING)).quantize(CENTS), (reserved or NOTHING).quantize(CENTS)
    )


def _is_behind(memo: AIBudget | None, window: Window, now: datetime) -> bool:
    return now - (window.start if memo is None else memo.settled_before) > 2 * FINAL_AFTER


def advance(memo: AIBudget, window: Window, now: datetime) -> None:
    """Bring the memo of a held window forward, past rows that are final."""
    if not _is_behind(memo, window, now):
        return
    rows = window.rows.filter(timestamp__gte=memo.settled_before, timestamp__lt=now - FINAL_AFTER)
    first_open: datetime | None = rows.filter(OPEN).aggregate(first=Min("timestamp"))["first"]
    until = min(first_open or now - FINAL_AFTER, window.end)
    if until <= memo.settled_before:
        return
    added = rows.filter(timestamp__lt=until).aggregate(cost=Sum("estimated_cost"))["cost"] or NOTHING
    memo.settled_cost = (memo.settled_cost + added).quantize(CENTS)
    memo.settled_before = until
    memo.save(using=primary(), update_fields=["settled_cost", "settled_before", "updated_at"])


def forget(keys: Collection[str]) -> None:
    """Throw memos away, and hold them until the end of the transaction: settled rows have changed.

    To be called in the transaction that changes the rows, so that no memo outlives a crash, and again when it
    is committed, for a memo that was made meanwhile of what the rows were before.
    """
    rows = AIBudget.objects.using(primary()).filter(key__in=keys)
    hold(rows, by="key")
    stale = rows.filter(settled_before__gt=F("starts_at"))
    stale.update(settled_cost=NOTHING, settled_before=F("starts_at"), updated_at=timezone.now())


def release_expired(now: datetime) -> int:
    """Release reservations whose time is over and that no active turn stands behind; how many they were."""
    nobody = Q(turn=None) | Q(turn__status__in=sorted(AITurn.OVER))
    rows = AIUsage.objects.using(primary()).filter(nobody, reserved_until__lt=now)
    still = Q(reserved_until__lt=now)
    return update_found(rows, still, reserved_cost=None, reserved_until=None, updated_at=now)
