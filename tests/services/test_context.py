"""What of a conversation goes with a question, and which question is too long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from django_chatgpt.core.request import Endpoint, ModelRequest
from django_chatgpt.core.window import LEFT_OUT
from django_chatgpt.exceptions import TokenLimitError
from django_chatgpt.models import AIConfiguration, AIConversation, AIMessage, AITurn, AIUsage
from django_chatgpt.services import AIService, context, tokens
from django_chatgpt.testing import Answer, Call, FakeOpenAI

if TYPE_CHECKING:
    from tests.services.conftest import Async, Sync

    Colour = Sync | Async

SCHEMA = {"name": "f", "description": "Do it.", "parameters": {"type": "object", "properties": {}}}


def request(**fields: Any) -> ModelRequest:
    return ModelRequest(Endpoint("sk"), **{"model": "gpt-4o", "messages": (), **fields})


def chatter(user: User, length: int, **fields: Any) -> AIConversation:
    conversation = AIConversation.objects.create(user=user, **fields)
    AIMessage.objects.bulk_create(
        AIMessage(
            conversation=conversation,
            sequence=number,
            role=("assistant", "user")[number % 2],
            content=f"Line {number} " + "word " * 95,
            token_count=100,
        )
        for number in range(1, length + 1)
    )
    return conversation


def long_story(words: int) -> str:
    """Print a story."""
    return "once " * words


def test_the_room_is_the_window_less_all_that_is_kept_free(settings: Settings) -> None:
    settings.OPENAI_TOKEN_BUFFER = 300
    plain = context.window_of(request(max_output_tokens=1_000), ()).room
    assert plain == 128_000 - 1_000 - 300 - tokens.PER_REQUEST
    tool = tokens.count_schemas([SCHEMA])
    assert tool > 10
    assert context.window_of(request(max_output_tokens=1_000), [SCHEMA]).room == plain - tool
    formed = request(max_output_tokens=1_000, response_schema=SCHEMA)
    assert context.window_of(formed, ()).room == plain - tool
    settings.OPENAI_CONTEXT_WINDOW = {"gpt-4o": 9_000}
    assert context.window_of(request(max_output_tokens=1_000), ()).room == plain - 119_000


def test_what_the_model_is_told_is_used_already() -> None:
    window = context.window_of(request(), (), [{"role": "system", "content": "Be kind."}])
    assert window.used == tokens.PER_MESSAGE + tokens.count_text("Be kind.", "gpt-4o")


def test_an_eighth_is_kept_free_where_the_tokenizer_is_another(settings: Settings) -> None:
    settings.OPENAI_TOKEN_BUFFER = 0
    room = context.window_of(request(model="smollm2", max_output_tokens=1_024), ()).room
    assert room == 8_192 - 1_024 - 1_024 - tokens.PER_REQUEST


def test_the_newest_goes_and_what_was_left_behind_is_not_missed(
    colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_CONTEXT_WINDOW = {"gpt-4o": 2_000}
    settings.OPENAI_MAX_TOKENS = 400
    configuration = AIConfiguration.objects.create(name="c", model="gpt-4o", system_prompt="Be kind.")
    conversation = chatter(user, 40)
    colour.ask(AIService(user, configuration), "And now?", conversation)
    system, first, *_, question = fake_openai.calls[0].messages
    assert system["content"] == "Be kind."
    assert question["content"] == "And now?"
    assert first["role"] == "user"
    sent = len(fake_openai.calls[0].messages)
    assert sent == 2 + 10, "of 1,100 tokens of room an exchange takes 208"
    counts = list(conversation.messages.order_by("sequence").values_list("token_count", flat=True))
    assert counts[:-2] == [100] * 40
    assert counts[-2] == 3


@pytest.mark.parametrize("length", [0, 2, 200])
def test_nothing_is_counted_but_the_question(
    user: User, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """Before the model is asked, that is: its answer is counted once, too."""
    counted: list[str] = []
    genuine = tokens.count_text

    def counting(text: str, model: str) -> int:
        counted.append(text)
        return genuine(text, model)

    def respond(request: Any) -> Answer:
        asked.extend(counted)
        return Answer("Well.")

    asked: list[str] = []
    conversation = chatter(user, length)
    monkeypatch.setattr(tokens, "count_text", counting)
    fake_openai.respond_with(respond)
    AIService(user).ask("And now?", conversation)
    assert len(fake_openai.calls[0].messages) == length + 1
    assert [text for text in asked if text] == ["And now?"]
    assert [text for text in counted if text] == ["And now?", "Well."]


def test_small_models_get_an_answer_of_half_their_window(
    colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_CONTEXT_WINDOW = {"tiny": 4_096}
    colour.ask(AIService(user), "Hi", model="tiny")
    colour.ask(AIService(user), "Hi", model="unknown")
    sent = [call.body.get("max_tokens", call.body.get("max_completion_tokens")) for call in fake_openai.calls]
    assert sent == [2_048, 4_096]


def test_a_question_that_is_too_long_alone_is_not_stored(
    colour: Colour, user: User, fake_openai: FakeOpenAI
) -> None:
    conversation = chatter(user, 2)
    with pytest.raises(TokenLimitError) as caught:
        colour.ask(AIService(user), "word " * 5_000, conversation, model="unknown")
    assert str(caught.value) == "message: is 5,001 tokens long; unknown takes at most 2,565 here."
    assert conversation.messages.count() == 2
    assert not AITurn.objects.exists()
    assert not AIUsage.objects.exists()
    fake_openai.assert_nothing_asked()
    colour.ask(AIService(user), "word " * 2_560, conversation, model="unknown")
    assert len(fake_openai.calls[0].messages) == 1


def test_results_that_fill_the_window_push_out_the_history_and_then_each_other(
    colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_CONTEXT_WINDOW = {"gpt-4o": 4_000}
    settings.OPENAI_MAX_TOKENS = 400
    fake_openai.script(
        Answer(calls=[Call("long_story", {"words": 1_500})]),
        Answer(calls=[Call("long_story", {"words": 1_800})]),
        "The end.",
    )
    conversation = chatter(user, 20)
    reply = colour.ask(AIService(user), "Tell me", conversation, model="gpt-4o", functions=[long_story])
    assert reply.content == "The end."
    one, two, three = ([message["role"] for message in call.messages] for call in fake_openai.calls)
    assert one == ["user", "assistant"] * 10 + ["user"]
    assert two == [*["user", "assistant"] * ((len(two) - 3) // 2), "user", "assistant", "tool"]
    assert 3 < len(two) < len(one)
    assert three == ["user", "assistant", "tool", "assistant", "tool"]
    results = [each["content"] for each in fake_openai.calls[2].messages if each["role"] == "tool"]
    assert results[0] == LEFT_OUT
    assert results[1].startswith("once once")
    stored = AIMessage.objects.filter(role="tool").order_by("sequence")
    assert [message.content[:4] for message in stored] == ["once", "once"]
    assert [message.token_count for message in stored] == [1_501, 1_801]


def test_a_turn_that_outgrows_the_window_fails_by_name(
    colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_CONTEXT_WINDOW = {"gpt-4o": 2_000}
    fake_openai.script(Answer(text="word " * 3_000, calls=[Call("long_story", {"words": 1})]))
    with pytest.raises(TokenLimitError, match="the model takes"):
        colour.ask(AIService(user), "Tell me", model="gpt-4o", functions=[long_story])
    turn = AITurn.objects.get()
    assert (turn.status, turn.error_code) == ("failed", "token_limit")
    assert not AIUsage.objects.filter(outcome="running").exists()


def test_calls_are_part_of_what_a_message_counts(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    fake_openai.script(Answer(calls=[Call("long_story", {"words": 1})]), "Done.")
    colour.ask(AIService(user), "Tell me", functions=[long_story])
    message = AIMessage.objects.order_by("sequence")[1]
    said = {"role": "assistant", "content": "", "tool_calls": message.tool_calls}
    assert message.token_count == tokens.count_content(cast(Any, said))
    assert message.token_count > tokens.PER_CALL
