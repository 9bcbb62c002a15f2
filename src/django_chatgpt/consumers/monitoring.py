"""ws/ai/monitoring/: how the site stands and what happens on it, for staff."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django_chatgpt.consumers import incoming
from django_chatgpt.consumers.frames import Frame, answer
from django_chatgpt.consumers.socket import Socket
from django_chatgpt.database import ahop
from django_chatgpt.exceptions import PermissionDeniedError
from django_chatgpt.services import access, monitoring, overview

#: Arguments of events that are in the ledger, too.
OF_USAGE = frozenset({"usage", "cost"})


class AIMonitoringConsumer(Socket):
    """Numbers on request and events as they happen. Closes 4001 anonymous, 4003 not staff.

    What users have used and what it cost is for those of the staff who may see it elsewhere.
    """

    frames = incoming.MONITORING

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sees_usage = False

    def admit(self, user: Any) -> None:
        self.check(user)

    def check(self, user: Any) -> None:
        if not (user.is_active and getattr(user, "is_staff", False)):
            raise PermissionDeniedError("This is for staff.")
        self._sees_usage = access.may_see_others(user)

    def groups_of(self, user: Any) -> list[str]:
        monitoring.subscribe()
        return [monitoring.GROUP]

    async def on_get_system_stats(self, frame: incoming.GetStats) -> None:
        stats = await ahop(self._stats)
        await self.tell(answer("system_stats", frame.ref, stats=stats))

    async def on_get_user_activity(self, frame: incoming.GetActivity) -> None:
        ask = partial(overview.user_activity, frame.days, frame.limit)
        activity = await ahop(lambda: self._used(ask))
        await self.tell(answer("user_activity", frame.ref, activity=activity))

    async def on_get_cost_analytics(self, frame: incoming.GetCosts) -> None:
        ask = partial(overview.cost_analytics, frame.days, frame.limit)
        costs = await ahop(lambda: self._used(ask))
        await self.tell(answer("cost_analytics", frame.ref, costs=costs))

    def _stats(self) -> dict[str, Any]:
        self.user()
        return overview.system_stats(with_costs=self._sees_usage)

    def _used(self, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        self.user()
        if not self._sees_usage:
            raise PermissionDeniedError("Only staff who may view the ledger may see what users have used.")
        return ask()

    def fit(self, frame: Frame) -> Frame:
        if self._sees_usage or frame["type"] != "monitoring_event":
            return frame
        return frame | {"data": {name: each for name, each in frame["data"].items() if name not in OF_USAGE}}

    async def ai_monitoring_event(self, event: dict[str, Any]) -> None:
        """Something has happened in whichever process."""
        await self.pass_on({"type": "monitoring_event", "event": event["event"], "data": event["data"]})
