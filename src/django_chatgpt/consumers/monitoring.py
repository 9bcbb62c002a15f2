"""ws/ai/monitoring/: how the site stands and what happens on it, for staff."""

from __future__ import annotations

from functools import partial
from typing import Any

from django_chatgpt.consumers import incoming
from django_chatgpt.consumers.frames import answer
from django_chatgpt.consumers.socket import Socket
from django_chatgpt.database import ahop
from django_chatgpt.exceptions import PermissionDeniedError
from django_chatgpt.services import monitoring, overview


class AIMonitoringConsumer(Socket):
    """Numbers on request and events as they happen. Closes 4001 anonymous, 4003 not staff."""

    frames = incoming.MONITORING

    def admit(self, user: Any) -> None:
        self.check(user)

    def check(self, user: Any) -> None:
        if not (user.is_active and getattr(user, "is_staff", False)):
            raise PermissionDeniedError("This is for staff.")

    def groups_of(self, user: Any) -> list[str]:
        monitoring.subscribe()
        return [monitoring.GROUP]

    async def on_get_system_stats(self, frame: incoming.GetStats) -> None:
        stats = await ahop(lambda: self._asked(overview.system_stats))
        await self.tell(answer("system_stats", frame.ref, stats=stats))

    async def on_get_user_activity(self, frame: incoming.GetActivity) -> None:
        ask = partial(overview.user_activity, frame.days, frame.limit)
        activity = await ahop(lambda: self._asked(ask))
        await self.tell(answer("user_activity", frame.ref, activity=activity))

    async def on_get_cost_analytics(self, frame: incoming.GetCosts) -> None:
        ask = partial(overview.cost_analytics, frame.days, frame.limit)
        costs = await ahop(lambda: self._asked(ask))
        await self.tell(answer("cost_analytics", frame.ref, costs=costs))

    def _asked(self, ask: Any) -> Any:
        self.user()
        return ask()

    async def ai_monitoring_event(self, event: dict[str, Any]) -> None:
        """Something has happened in whichever process."""
        await self.pass_on({"type": "monitoring_event", "event": event["event"], "data": event["data"]})
