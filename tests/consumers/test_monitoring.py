"""What staff see of the site: numbers in a fixed number of queries, and events as they happen."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext, override_settings

from django_chatgpt.exceptions import AIServiceError, ProviderUnavailableError
from django_chatgpt.models import AIConversation
from django_chatgpt.services import AIService, alerts, breakers, monitoring, overview
from django_chatgpt.testing import Failure, FakeOpenAI
from tests.consumers.pages import Monitor, Open

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sqlite_only]


@pytest.fixture
async def monitor(visit: Open, staff_user: User) -> Monitor:
    opened: Monitor = await visit(staff_user, Monitor)
    return opened


async def test_the_numbers(monitor: Monitor, user: User, other_user: User, fake: FakeOpenAI) -> None:
    for _ in range(2):
        await AIService(user).aask("Hi")
    fake.script(Failure(500))
    with pytest.raises(AIServiceError):
        await AIService(other_user).aask("Hi")
    await sync_to_async(alerts.unknown_price)("unheard-of")
    monitoring.unsubscribe()
    numbers: list[dict[str, Any]] = []
    for kind in ("get_system_stats", "get_user_activity", "get_cost_analytics"):
        await monitor.send(kind, ref=kind)
        frames = await monitor.read_to(kind.removeprefix("get_"))
        assert frames[-1]["ref"] == kind
        numbers.append(frames[-1])
    stats, activity, costs = numbers
    assert stats["stats"]["turns"] == {"awaiting_approval": 0, "queued": 0, "running": 0}
    assert stats["stats"]["conversations"] == 3
    day = stats["stats"]["last_day"]
    assert (day["requests"], day["users"]) == (3, 2)
    assert day["outcomes"] == {"completed": 2, "failed": 1}
    assert stats["stats"]["open_alerts"]["warning"] == 1
    users = activity["activity"]["users"]
    assert [(each["name"], each["requests"]) for each in users] == [("ada", 2), ("bob", 1)]
    assert users[0]["last_active"]
    assert costs["costs"]["by_user"][0]["name"] == "ada"
    assert len(costs["costs"]["daily"]) == 30
    assert float(costs["costs"]["total"]["cost"]) == sum(
        float(each["cost"]) for each in costs["costs"]["by_model"].values() if each["cost"]
    )
    for kind, field in (("get_user_activity", "days"), ("get_cost_analytics", "limit")):
        error = await monitor.error(kind, **{field: 0})
        assert set(error["fields"]) == {field}


async def test_staff_who_may_not_view_the_ledger(visit: Open, user: User, fake: FakeOpenAI) -> None:
    """They see that something happens, and not what users have used; from when they may, all of it."""
    clerk = await User.objects.acreate_user("clerk", is_staff=True)
    monitor = await visit(clerk, Monitor)
    await AIService(user).aask("Hi")
    begun, ended = await monitor.read(), await monitor.read()
    assert (begun["event"], ended["event"]) == ("turn_started", "turn_ended")
    assert ended["data"]["status"] == "completed"
    assert not {"usage", "cost"} & set(ended["data"])
    monitoring.unsubscribe()
    day = (await monitor.answer("get_system_stats"))["stats"]["last_day"]
    assert day["requests"] == 1
    assert "cost" not in day
    for kind in ("get_user_activity", "get_cost_analytics"):
        assert (await monitor.error(kind))["code"] == "permission_denied"
    await clerk.user_permissions.aadd(await Permission.objects.aget(codename="view_aiusage"))
    for kind in ("get_user_activity", "get_cost_analytics"):
        assert (await monitor.answer(kind))["type"] == kind.removeprefix("get_")
    assert "cost" in (await monitor.answer("get_system_stats"))["stats"]["last_day"]


@pytest.mark.parametrize(
    ("ask", "most"),
    [
        (overview.system_stats, 5),
        (lambda: overview.user_activity(30, 20), 2),
        (lambda: overview.cost_analytics(30, 20), 5),
    ],
    ids=["stats", "activity", "costs"],
)
def test_as_many_queries_whatever_there_is(ask: Any, most: int, user: User, fake: FakeOpenAI) -> None:
    counts = []
    for number in range(3):
        person = User.objects.create_user(f"user{number}")
        AIConversation.objects.create(user=person)
        AIService(person).ask("Hi")
        with CaptureQueriesContext(connection) as queries:
            ask()
        counts.append(len(queries))
    assert set(counts) == {most} or max(counts) <= most


async def test_what_happens(monitor: Monitor, user: User, fake: FakeOpenAI) -> None:
    fake.reply("A secret answer")
    await AIService(user).aask("A secret question")
    begun, ended = await monitor.read(), await monitor.read()
    assert (begun["event"], ended["event"]) == ("turn_started", "turn_ended")
    assert begun["data"]["turn_id"] == ended["data"]["turn_id"]
    assert (ended["data"]["status"], ended["data"]["user_id"]) == ("completed", user.pk)
    assert ended["data"]["usage"]["total_tokens"] > 0
    assert float(ended["data"]["cost"]) > 0
    await sync_to_async(alerts.unknown_price)("unheard-of")
    raised = await monitor.read()
    assert (raised["event"], raised["data"]["kind"]) == ("alert_raised", "price")
    assert "secret" not in str(monitor.seen)


async def test_a_breaker(monitor: Monitor) -> None:
    def fails() -> None:
        breakers.note(None, "m", ProviderUnavailableError(), accepted=False)

    with override_settings(OPENAI_BREAKER_FAILURES=1):
        await sync_to_async(fails)()
    events = {(await monitor.read())["event"], (await monitor.read())["event"]}
    assert events == {"breaker_changed", "alert_raised"}
