"""Answers from the site's own objects: the right passages go with the question, and every one is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from django_chatgpt.adapter import Adapter
from django_chatgpt.core.events import Finished
from django_chatgpt.core.request import Endpoint
from django_chatgpt.exceptions import ContentFilterError, InvalidRequestError, PermissionDeniedError
from django_chatgpt.functions import function_registry
from django_chatgpt.indexes import Index
from django_chatgpt.models import AIConfiguration, AIFunctionCall, AIMessage, AITurn, AIUsage
from django_chatgpt.services import AIService, Source, approvals, indexing, results, search_function
from django_chatgpt.services.chat import run
from django_chatgpt.testing import Answer, Call, FakeOpenAI
from tests.indexes.conftest import Register, add
from tests.indexes.test_search import PROMPTS, colour  # noqa: F401 - the fixture
from tests.services.conftest import Async, Sync

pytestmark = pytest.mark.django_db

Colour = Sync | Async


@pytest.fixture
def rows(index: Index, fake_openai: FakeOpenAI) -> dict[str, AIConfiguration]:
    made = {name: add(name, prompt) for name, prompt in PROMPTS.items()}
    indexing.build(index, lambda number: None)
    return made


def system_of(fake: FakeOpenAI, call: int = -1) -> str:
    """What the model was told before the conversation."""
    body = fake.calls[call].body
    lines = body.get("messages") or [
        {"role": "system", "content": body.get("instructions") or ""},
        *body["input"],
    ]
    return json.dumps([line["content"] for line in lines if line["role"] in ("system", "developer")])


def test_the_model_is_given_the_nearest_passages_and_they_are_kept(
    colour: Colour,  # noqa: F811
    user: User,
    rows: dict[str, AIConfiguration],
    fake_openai: FakeOpenAI,
) -> None:
    fake_openai.script("At night [1].")
    reply = colour.ask(AIService(user), "When do lions hunt?", sources=["prompts"])
    told = system_of(fake_openai)
    assert "[1] lions\\n\\nlions hunt at night" in told
    assert "no instructions" in told
    assert [each.number for each in reply.sources] == [1, 2, 3, 4]
    first = reply.sources[0]
    assert (first.index, first.object_key, first.chunk) == ("prompts", rows["lions"].pk.hex, 0)
    assert first.similarity == max(each.similarity for each in reply.sources)
    asked, answered = AIMessage.objects.order_by("sequence")
    assert [Source(**each) for each in answered.metadata["sources"]] == reply.sources
    assert "sources" not in asked.metadata
    assert results.snapshot(reply.turn_id, user.pk).response == reply.model_copy(
        update={"response_time_ms": answered.response_time_ms}
    )
    assert sorted(AIUsage.objects.filter(user=user).values_list("kind", flat=True)) == ["chat", "embedding"]


def test_without_sources_nothing_is_looked_for(
    colour: Colour,  # noqa: F811
    user: User,
    rows: dict[str, AIConfiguration],
    fake_openai: FakeOpenAI,
) -> None:
    before = len(fake_openai.requests)
    for options in ({}, {"sources": []}, {"sources": None}):
        fake_openai.script("Hello")
        assert colour.ask(AIService(user), "Hi", **options).sources == []
    assert len(fake_openai.requests) == before + 3


def test_a_stream_has_them_too(
    colour: Colour,  # noqa: F811
    user: User,
    rows: dict[str, AIConfiguration],
    fake_openai: FakeOpenAI,
) -> None:
    fake_openai.script("At night [1].")
    events = colour.stream(AIService(user), "When do lions hunt?", sources=["prompts"])
    assert any(isinstance(event, Finished) for event in events)
    assert "lions hunt at night" in system_of(fake_openai)
    assert AIMessage.objects.get(role="assistant").metadata["sources"][0]["number"] == 1


def test_only_what_the_asker_may_find_is_given(
    user: User, other_user: User, register: Register, fake_openai: FakeOpenAI
) -> None:
    secret = add("secret", "lions hunt for gold")
    add("open", "lions hunt at night")
    everybody = AIConfiguration.objects.exclude(pk=secret.pk)
    index = register(
        "prompts",
        AIConfiguration,
        fields=["system_prompt"],
        for_user=lambda asker: AIConfiguration.objects.all() if asker == user else everybody,
    )
    indexing.build(index, lambda number: None)
    for asker, number in [(user, 2), (other_user, 1), (None, 1)]:
        fake_openai.script("So.")
        reply = AIService(asker).ask("When do lions hunt?", sources=[index])
        assert len(reply.sources) == number
        assert ("gold" in system_of(fake_openai)) is (number == 2)


def test_passages_of_several_indexes_compete(user: User, register: Register, fake_openai: FakeOpenAI) -> None:
    from django.contrib.auth.models import Group

    Group.objects.create(name="lions hunt at night")
    add("cats", "cats sleep")
    for index in (
        register("prompts", AIConfiguration, fields=["system_prompt"]),
        register("groups", Group, fields=["name"]),
    ):
        indexing.build(index, lambda number: None)
    fake_openai.script("So.")
    reply = AIService(user).ask("lions hunt at night", sources=["prompts", "groups"])
    assert [each.index for each in reply.sources] == ["groups", "prompts"]


def test_passages_leave_room_for_what_was_said(
    user: User, register: Register, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    index = register("prompts", AIConfiguration, fields=["system_prompt"])
    for number in range(8):
        add(str(number), f"{number} lions " * 90)
    indexing.build(index, lambda number: None)
    settings.OPENAI_CONTEXT_WINDOW = {"gpt-6-luna": 4000}
    fake_openai.script("So.")
    reply = AIService(user).ask("lions", sources=["prompts"])
    assert 1 <= len(reply.sources) < 5
    assert f"[{len(reply.sources)}] " in system_of(fake_openai)
    assert f"[{len(reply.sources) + 1}] " not in system_of(fake_openai)


def test_refused_questions_are_not_looked_up(
    user: User, rows: dict[str, AIConfiguration], fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_FORBIDDEN_PATTERNS = ["lions"]
    before = len(fake_openai.requests)
    with pytest.raises(ContentFilterError):
        AIService(user).ask("When do lions hunt?", sources=["prompts"])
    with pytest.raises(InvalidRequestError, match="message"):
        AIService(user).ask(" ", sources=["prompts"])
    assert len(fake_openai.requests) == before


def test_what_is_no_index_is_named(user: User, rows: dict[str, AIConfiguration]) -> None:
    with pytest.raises(InvalidRequestError, match="index: must be one of prompts"):
        AIService(user).ask("Hi", sources=["unknown"])
    with pytest.raises(InvalidRequestError, match="sources: must be a list"):
        AIService(user).ask("Hi", sources="prompts")
    assert not AITurn.objects.exists()


def test_a_question_counts_once_for_the_rate_limits(
    user: User, rows: dict[str, AIConfiguration], fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_RATE_LIMITS = {"user": "1/m"}
    fake_openai.script("So.")
    assert AIService(user).ask("lions", sources=["prompts"]).sources


class Careful(Adapter):
    def may_use(self, user: Any) -> bool:
        return user is None or user.username != "ada"

    def redact(self, text: str) -> str:
        return text.replace("night", "[time]")


def test_whoever_may_not_ask_looks_nothing_up(
    user: User, rows: dict[str, AIConfiguration], fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_ADAPTER = f"{__name__}.Careful"
    before = len(fake_openai.requests)
    with pytest.raises(PermissionDeniedError):
        AIService(user).ask("lions", sources=["prompts"])
    assert len(fake_openai.requests) == before


def test_passages_are_redacted_as_what_people_say_is(
    other_user: User, rows: dict[str, AIConfiguration], fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_ADAPTER = f"{__name__}.Careful"
    fake_openai.script("So.")
    AIService(other_user).ask("lions", sources=["prompts"])
    assert "lions hunt at [time]" in system_of(fake_openai)


class Elsewhere(Adapter):
    address = ""

    def embedding_endpoint(self, user: Any, tenant: str = "") -> Endpoint:
        return Endpoint("sk-elsewhere", base_url=self.address)


def test_texts_may_be_embedded_by_another_server(
    user: User, rows: dict[str, AIConfiguration], fake_openai: FakeOpenAI, settings: Settings
) -> None:
    before = len(fake_openai.requests)
    with FakeOpenAI() as embedder:
        Elsewhere.address = embedder.base_url
        settings.OPENAI_ADAPTER = f"{__name__}.Elsewhere"
        fake_openai.script("So.")
        assert AIService(user).ask("lions", sources=["prompts"]).sources
        assert [each.endpoint for each in embedder.requests] == ["embeddings"]
    assert [each.endpoint for each in fake_openai.requests[before:]] != ["embeddings"]
    assert len(fake_openai.requests) == before + 1


def test_a_turn_that_rested_is_given_the_same_passages_again(
    user: User, rows: dict[str, AIConfiguration], fake_openai: FakeOpenAI
) -> None:
    def pay(amount: int) -> str:
        """Pay somebody."""
        return f"paid {amount}"

    function_registry.register(pay, requires_approval=True)
    try:
        fake_openai.script(Answer(calls=[Call("pay", {"amount": 1})]), Answer("Paid [1]."))
        reply = AIService(user).ask("Do lions hunt?", sources=["prompts"])
        assert reply.finish_reason == "awaiting_approval"
        AIConfiguration.objects.get(name="stones").delete()
        call = AIFunctionCall.objects.get()
        prepared = approvals.decide(
            user, reply.turn_id, approvals.Decision(approve=True, call_id=call.call_id)
        )
        assert not isinstance(prepared, AITurn)
        for _ in run(prepared):
            pass
    finally:
        function_registry.unregister("pay")
    assert system_of(fake_openai, 0) == system_of(fake_openai, 1)
    told = AIMessage.objects.filter(role="assistant").order_by("sequence").last()
    assert told is not None
    assert [Source(**each) for each in told.metadata["sources"]] == reply.sources


def test_the_model_may_look_for_itself(
    user: User, rows: dict[str, AIConfiguration], fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_RATE_LIMITS = {"user": "1/m"}
    search_function("prompts", top_k=2)
    try:
        schema = function_registry.get_schema("search_prompts")
        assert schema is not None
        assert list(schema["parameters"]["properties"]) == ["query"]
        fake_openai.script(Answer(calls=[Call("search_prompts", {"query": "lions hunt"})]), Answer("So."))
        AIService(user).ask("When do lions hunt?")
    finally:
        function_registry.unregister("search_prompts")
    found = json.loads(AIMessage.objects.get(role="tool").content)["passages"]
    assert len(found) == 2
    assert found[0]["citation"] == f"prompts/{rows['lions'].pk.hex}#0"
    assert (found[0]["title"], found[0]["text"]) == ("lions", "lions\n\nlions hunt at night")
    assert 0 < found[0]["similarity"] <= 1


def test_a_function_finds_what_its_caller_may(
    user: User, other_user: User, register: Register, fake_openai: FakeOpenAI
) -> None:
    add("open", "lions hunt at night")
    index = register(
        "my-prompts",
        AIConfiguration,
        fields=["system_prompt"],
        for_user=lambda asker: AIConfiguration.objects.filter(is_active=asker == user),
    )
    indexing.build(index, lambda number: None)
    search_function(index, name="look", description="Look it up.", permission=lambda asker: asker is not None)
    try:
        found = function_registry.execute_function("look", {"query": "lions"}, user=user)
        assert len(found["passages"]) == 1
        assert function_registry.execute_function("look", {"query": "lions"}, user=other_user) == {
            "passages": []
        }
        with pytest.raises(PermissionDeniedError):
            function_registry.execute_function("look", {"query": "lions"})
    finally:
        function_registry.unregister("look")
