"""What is judged when, and what is shown of it; fed by hand."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_chatgpt.core import screening
from django_chatgpt.core.effects import Moderate, Stopped
from django_chatgpt.core.events import Content, TurnEvent
from django_chatgpt.core.request import Delta, Endpoint, ModelRequest, Verdict
from django_chatgpt.core.screening import CONTEXT, OVERLAP, PIECE, WINDOW, pieces, topic_request
from django_chatgpt.core.spec import Screen
from django_chatgpt.exceptions import ProviderUnavailableError
from tests.core.test_turn import Store, World, calls, make_spec, text
from tests.core.test_turn import said as said_in

ENDPOINT = Endpoint("sk-test")
SCREEN = Screen(ENDPOINT, "judge", answers=True)


class Court(World):
    """Flags every text with the word in it; an exception in `rulings` is thrown instead."""

    def __init__(self, *streams: Any, word: str = "bad") -> None:
        super().__init__(*streams)
        self.word = word
        self.rulings: list[Exception | None] = []
        self.judged: list[tuple[str, ...]] = []

    def perform(self, effect: Any) -> Any:
        if not isinstance(effect, Moderate):
            return super().perform(effect)
        self.judged.append(effect.request.texts)
        ruling = self.rulings.pop(0) if self.rulings else None
        if ruling is not None:
            raise ruling
        return Verdict(any(self.word in each for each in effect.request.texts))


def run(world: Court, screen: Screen = SCREEN, **changes: Any) -> tuple[Store, list[TurnEvent], Any]:
    store = Store()
    events, ending = world.run(make_spec(world, store, screen=screen, **changes))
    return store, events, ending


@given(
    whole=st.text(alphabet="bad \n", max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=12),
    window=st.integers(1, 20),
)
def test_a_held_back_answer_has_the_verdict_of_the_whole(whole: str, cuts: list[int], window: int) -> None:
    """However it comes in pieces, it is refused if and only if the whole would be; and shown as it is."""
    edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    parts = [whole[start:end] for start, end in pairwise(edges)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screening, "WINDOW", window)
        world = Court(text(*parts))
        store, events, ending = run(world)
    shown = said_in(events)
    [attempt] = store.attempts
    assert attempt.text == shown
    assert attempt.text + attempt.withheld == attempt.reply.text
    assert "bad" not in shown
    if "bad" in whole:
        assert (ending.status, ending.refused, ending.error.code) == ("failed", "answer", "content_filter")
        assert whole.startswith(shown)
    else:
        assert (ending.status, ending.refused) == ("completed", "")
        assert shown == whole


def test_a_short_answer_is_judged_once() -> None:
    world = Court(text("Hello ", "there"))
    _, events, _ = run(world)
    assert [each[-1] for each in world.judged] == ["Hi", "Hello there"]
    assert [event.content for event in events if isinstance(event, Content)] == ["Hello there"]


def test_only_the_last_of_a_long_answer_is_judged_again() -> None:
    part = "word " * (WINDOW // 5)
    world = Court(text(*[part] * 20))
    _, events, ending = run(world)
    assert ending.status == "completed"
    assert said_in(events) == part * 20
    assert max(len("".join(each)) for each in world.judged) <= CONTEXT + 2 * len(part)


def test_a_checkpoint_keeps_what_was_shown_only() -> None:
    world = Court([Delta(text="secret"), 1.0, 1.0, Delta(finish_reason="stop"), None])
    store, events, _ = run(world)
    assert said_in(events) == "secret"
    assert all("secret" not in entry[1:] for entry in store.log if entry[0] == "checkpoint")


def test_text_before_a_call_is_judged_before_the_call_is_shown() -> None:
    from django_chatgpt.core.request import CallFragment

    tools = ({"name": "f", "description": "", "parameters": {"type": "object", "properties": {}}},)
    world = Court(calls(CallFragment(0, "c1", "f", "{}"), said="bad"), text("never"))
    store, events, ending = run(world, tools=tools)
    assert (ending.refused, len(world.opened)) == ("answer", 1)
    assert not any(entry[0] == "calls" for entry in store.log)
    assert [event.type for event in events] == ["start", "error", "done"]


@pytest.mark.parametrize("why", ["cancelled", "interrupted", "lost"])
def test_stopped_while_the_question_is_judged(why: Any) -> None:
    world = Court()
    world.rulings = [Stopped(why)]
    store, _, ending = run(world)
    assert (ending.refused, ending.status == "completed") == ("question", False)
    assert [each.outcome for each in store.judgements] == [why]
    assert ending.attempt is not None
    assert not ending.attempt.asked
    assert ("admit",) not in [entry[:1] for entry in store.log]


def test_stopped_while_an_answer_is_judged() -> None:
    world = Court(text("Hello"))
    world.rulings = [None, Stopped("cancelled")]
    store, events, ending = run(world)
    assert (ending.status, ending.refused) == ("cancelled", "")
    assert said_in(events) == ""
    [attempt] = store.attempts
    assert (attempt.text, attempt.withheld) == ("", "Hello")
    assert world.closed == 1


def test_stopped_while_the_topic_is_judged() -> None:
    world = Court([Delta(text='{"on'), Stopped("cancelled")])
    store, events, ending = run(world, Screen(ENDPOINT, topics=("tea",)))
    assert (ending.status, ending.refused) == ("cancelled", "question")
    assert world.closed == 1
    [attempt] = store.attempts
    assert attempt.outcome == "cancelled"
    assert said_in(events) == ""


def test_stopped_when_the_question_has_passed() -> None:
    world = Court(text('{"on_topic": true}'))
    store = Store(go_on=[False])
    spec = make_spec(world, store, screen=Screen(ENDPOINT, topics=("tea",)))
    _, ending = world.run(spec)
    assert (ending.status, ending.refused, ending.attempt) == ("cancelled", "", None)
    assert len(store.attempts) == 1


def test_a_question_is_judged_once_whatever_the_steps() -> None:
    world = Court(ProviderUnavailableError(), text("Hello"))
    _, _, ending = run(world, Screen(ENDPOINT, "judge"))
    assert ending.status == "completed"
    assert world.judged == [("Hi",)]


def test_a_failed_moderation_is_tried_once_more_and_noted_each_time() -> None:
    world = Court()
    world.rulings = [ProviderUnavailableError(), ProviderUnavailableError()]
    store, _, ending = run(world)
    assert ending.error.code == "filter_unavailable"
    assert [each.outcome for each in store.judgements] == ["failed", "failed"]
    assert len({each.id for each in store.judgements}) == 2
    assert len(world.waited) == 1


@given(st.integers(0, 40_000))
def test_pieces_leave_nothing_out(length: int) -> None:
    whole = "".join(chr(97 + number % 26) for number in range(length))
    parts = pieces(whole)
    assert all(len(part) <= PIECE for part in parts)
    joined = parts[0] + "".join(part[OVERLAP:] for part in parts[1:])
    assert joined == whole


def test_the_question_about_the_topic() -> None:
    screen = Screen(ENDPOINT, topics=("tea", "kettles"), timeout=7.0)
    lines: list[Any] = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "First"},
        {"role": "assistant", "content": "x" * 2000},
        {"role": "assistant", "content": "", "tool_calls": []},
        {"role": "tool", "content": "42", "tool_call_id": "c"},
        {"role": "user", "content": "And {black}?"},
    ]
    asked = topic_request(screen, ModelRequest(ENDPOINT, "m", lines, temperature=1.0))
    system, user = asked.messages
    assert "- tea\n- kettles" in system["content"]
    assert "Be kind" not in user["content"] + system["content"]
    assert user["content"].startswith("Earlier, user: First\n\nEarlier, assistant: xxx")
    assert user["content"].endswith("The last message: And {black}?")
    assert len(user["content"]) < 700
    assert (asked.model, asked.timeout, asked.temperature) == ("m", 7.0, None)
    assert asked.response_schema is not None
