"""Functions as a whole turn calls them, over the wire of a provider that checks schemas strictly."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from pydantic import Field
from pytest_django import Settings

from django_chatgpt.functions import Caller, Function
from django_chatgpt.models import AIMessage, AITurn
from django_chatgpt.services import AIResponse, AIService
from django_chatgpt.testing import Answer, Call, FakeOpenAI


def get_weather(
    city: str,
    unit: Literal["celsius", "fahrenheit"] = "celsius",
    days: Annotated[int, Field(ge=1, le=7)] = 1,
    caller: Caller | None = None,
) -> dict[str, Any]:
    """Tell the weather of a city.

    Args:
        city: Name of the city.
        unit: How warm it is told.
        days: For how many days.
    """
    assert caller is not None
    return {"city": city, "unit": unit, "days": days, "turn": caller.call_id != ""}


async def search(text: str, tags: dict[str, str] | None = None) -> list[str]:
    """Search."""
    return [text]


def fail() -> None:
    """Fail."""
    raise ValueError("hunter2")


@pytest.fixture(params=["chat", "responses"])
def _dialect(request: pytest.FixtureRequest, settings: Settings) -> None:
    settings.OPENAI_API = request.param


def ask(user: User, is_async: bool) -> AIResponse:
    functions = [get_weather, search, fail, Function("secret", fail, permission="auth.view_user")]
    service = AIService(user)
    reply: AIResponse = (
        async_to_sync(service.aask)("Go", functions=functions)
        if is_async
        else service.ask("Go", functions=functions)
    )
    return reply


def tool_messages() -> list[tuple[str, str]]:
    rows = AIMessage.objects.filter(role="tool").order_by("sequence")
    return [(row.content, row.metadata.get("error_code", "")) for row in rows]


@pytest.mark.usefixtures("_dialect")
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
class TestTurn:
    def test_parallel_calls_of_both_colours(
        self, user: User, fake_openai: FakeOpenAI, is_async: bool
    ) -> None:
        fake_openai.script(
            Answer(
                calls=[
                    Call("get_weather", {"city": "Paris", "unit": None, "days": 2}),
                    Call("search", {"text": "tea"}),
                    Call("get_weather", {"city": "Rome", "unit": "fahrenheit", "days": None}),
                ]
            ),
            Answer("Done."),
        )
        assert ask(user, is_async).content == "Done."
        assert tool_messages() == [
            ('{"city":"Paris","unit":"celsius","days":2,"turn":true}', ""),
            ('["tea"]', ""),
            ('{"city":"Rome","unit":"fahrenheit","days":1,"turn":true}', ""),
        ]

    @pytest.mark.parametrize(
        ("asked", "code"),
        [
            (Call("get_weather", {"city": 5}), "invalid_arguments"),
            (Call("get_weather", {}), "invalid_arguments"),
            (Call("get_weather", {"city": "Rome", "caller": {"user": 1}}), "invalid_arguments"),
            (Call("get_weather", '{"city": '), "invalid_arguments"),
            (Call("get_wether", {"city": "Rome"}), "unknown_function"),
            (Call("secret", {}), "permission_denied"),
            (Call("fail", {}), "function_failed"),
        ],
        ids=["wrong type", "missing", "extra", "broken", "unknown", "forbidden", "failing"],
    )
    def test_whatever_is_wrong_with_a_call_the_turn_ends_well(
        self, user: User, fake_openai: FakeOpenAI, is_async: bool, asked: Call, code: str
    ) -> None:
        good = Call("search", {"text": "tea"})
        fake_openai.script(Answer(calls=[asked, good]), Answer("I see."))
        assert ask(user, is_async).content == "I see."
        [(refusal, found), answer] = tool_messages()
        assert found == code
        assert "hunter2" not in refusal
        assert answer == ('["tea"]', "")
        assert AITurn.objects.get().status == "completed"
