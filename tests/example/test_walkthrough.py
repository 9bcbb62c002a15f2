"""The demo believes nothing it has not seen: each promise that is not kept is a sentence of its own."""

import socket
from collections.abc import Callable
from typing import Any

import pytest
from site_server import SiteError, bound_socket
from visitor import Answer, Call
from walkthrough import DemoError, check

QUESTION = "What is Django?"
USAGE = {"prompt_tokens": 34, "completion_tokens": 2, "total_tokens": 36}


def good_answer() -> Answer:
    finish = {"type": "finish", "reason": "stop", "usage": dict(USAGE), "cost": "0.000000000000"}
    return Answer(pieces=["A frame", "work."], conversation_id="c", finish=finish, done=True)


def good_conversation() -> dict[str, Any]:
    said = [("user", QUESTION), ("assistant", "A framework.")]
    return {
        "id": "c",
        "total_tokens": 36,
        "messages": [{"role": role, "content": content} for role, content in said],
    }


Spoil = Callable[[Answer, dict[str, Any]], object]

BROKEN: dict[str, tuple[Spoil, str]] = {
    "no finish": (lambda answer, kept: setattr(answer, "finish", None), "without saying that the answer"),
    "no done": (lambda answer, kept: setattr(answer, "done", False), "without saying that the answer"),
    "one piece": (lambda answer, kept: setattr(answer, "pieces", ["A framework."]), "came in 1 piece(s)"),
    "no text": (lambda answer, kept: answer.pieces.clear(), "came in 0 piece(s)"),
    "no usage": (lambda answer, kept: answer.finish and answer.finish.pop("usage"), "tokens are missing"),
    "empty usage": (lambda answer, kept: answer.usage.update(completion_tokens=0), "tokens are missing"),
    "nothing stored": (lambda answer, kept: kept["messages"].clear(), "it has 0 messages"),
    "no reply stored": (lambda answer, kept: kept["messages"].pop(), "it has 1 messages"),
    "other text stored": (
        lambda answer, kept: kept["messages"][1].update(content="A frame"),
        "is not what was said",
    ),
    "not counted": (lambda answer, kept: kept.update(total_tokens=0), "counts 0 tokens, the answer took 36"),
}


def answer_with_a_call() -> Answer:
    answer = good_answer()
    answer.calls.append(Call("c1", "look", "{}", result="found", status="completed"))
    return answer


def conversation_with_a_call() -> dict[str, Any]:
    kept = good_conversation()
    kept["messages"][1:1] = [
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c1"}]},
        {"role": "tool", "content": "found", "tool_call_id": "c1"},
    ]
    return kept


BROKEN_WITH_A_CALL: dict[str, tuple[Spoil, str]] = {
    "no result": (lambda answer, kept: setattr(answer.calls[0], "status", ""), "called look, and the result"),
    "other result stored": (lambda answer, kept: kept["messages"][2].update(content=""), "it has 4 messages"),
    "result of another": (
        lambda answer, kept: kept["messages"][2].update(tool_call_id="c2"),
        "it has 4 messages",
    ),
    "call not stored": (lambda answer, kept: kept["messages"][1]["tool_calls"].clear(), "it has 4 messages"),
    "result not stored": (lambda answer, kept: kept["messages"].pop(2), "it has 3 messages"),
    "call not shown": (lambda answer, kept: answer.calls.clear(), "it has 4 messages"),
}


def test_an_answer_that_keeps_every_promise_passes() -> None:
    check(QUESTION, good_answer(), good_conversation())
    check(QUESTION, answer_with_a_call(), conversation_with_a_call())


@pytest.mark.parametrize(("spoil", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_promise_is_named(spoil: Spoil, said: str) -> None:
    answer, kept = good_answer(), good_conversation()
    spoil(answer, kept)

    with pytest.raises(DemoError) as raised:
        check(QUESTION, answer, kept)

    assert said in str(raised.value)


@pytest.mark.parametrize(("spoil", "said"), BROKEN_WITH_A_CALL.values(), ids=BROKEN_WITH_A_CALL.keys())
def test_a_broken_promise_about_a_call_is_named(spoil: Spoil, said: str) -> None:
    answer, kept = answer_with_a_call(), conversation_with_a_call()
    spoil(answer, kept)

    with pytest.raises(DemoError) as raised:
        check(QUESTION, answer, kept)

    assert said in str(raised.value)


def test_a_port_in_use_is_said_when_it_was_asked_for() -> None:
    with bound_socket(0) as taken:
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(SiteError, match=rf"^Port {port} can't be used \(.+\); leave --port out"):
            bound_socket(port)


def test_a_preferred_port_in_use_gives_way_to_a_free_one() -> None:
    with bound_socket(0) as taken:
        taken.listen()
        port = taken.getsockname()[1]

        with bound_socket(None, preferred=port) as listener:
            assert listener.getsockname()[0] == "127.0.0.1"
            assert listener.getsockname()[1] != port


def test_a_free_preferred_port_is_taken() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    with bound_socket(None, preferred=port) as listener:
        assert listener.getsockname()[1] == port
