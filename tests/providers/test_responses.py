"""The Responses dialect: the body that is sent, and its stream in all the shapes that servers give it."""

import json
from typing import Any

import pytest

from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.core.request import Delta, Endpoint, ModelRequest
from django_chatgpt.exceptions import (
    ContentFilterError,
    ProviderProtocolError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
)
from django_chatgpt.providers.responses import Parser, build_body
from tests.providers.conftest import Heard, question

PARIS, ROME = '{"city":"Paris"}', '{"city":"Rome"}'
WEATHER = {"name": "get_weather", "description": "Tell.", "parameters": {"type": "object"}, "strict": True}
REASONING = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "abc"}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hello", "annotations": []}],
}
CALL_A = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_a",
    "name": "get_weather",
    "arguments": PARIS,
}
CALL_B = {**CALL_A, "id": "fc_2", "call_id": "call_b", "name": "get_time", "arguments": ROME}
USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 15,
}


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


def final(status: str = "completed", **fields: Any) -> dict[str, Any]:
    response = {"status": status, "model": "gpt-x-2026", "output": [], "usage": USAGE, **fields}
    return event(f"response.{status}", response=response)


def text(delta: str, **place: Any) -> dict[str, Any]:
    return event("response.output_text.delta", delta=delta, **place)


def arguments(delta: str, **place: Any) -> dict[str, Any]:
    return event("response.function_call_arguments.delta", delta=delta, **place)


def added(item: dict[str, Any], **place: Any) -> dict[str, Any]:
    begun = {**item, "status": "in_progress"}
    if item["type"] == "function_call":
        begun["arguments"] = ""
    return event("response.output_item.added", item=begun, **place)


def done(item: dict[str, Any], **place: Any) -> dict[str, Any]:
    return event("response.output_item.done", item=item, **place)


def encoded(payloads: tuple[dict[str, Any] | bytes, ...]) -> list[tuple[bytes, bytes]]:
    return [
        (b"", each) if isinstance(each, bytes) else (each.get("type", "").encode(), json.dumps(each).encode())
        for each in payloads
    ]


def hear(*payloads: dict[str, Any] | bytes) -> Heard:
    """Each payload in a read of its own."""
    parser, heard = Parser("gpt-x", "req_1"), Heard()
    for each in encoded(payloads):
        heard.add(parser.feed([each]))
    heard.error = parser.ending()
    return heard


# the body


def build(**fields: Any) -> dict[str, Any]:
    return build_body(question("http://127.0.0.1/v1", "responses", **fields))


def test_the_least_body() -> None:
    assert build(model="smollm2") == {
        "model": "smollm2",
        "input": [{"role": "user", "content": "Hi"}],
        "store": False,
        "stream": True,
    }


def test_reasoning_models_give_their_reasoning_along_and_take_no_sampling() -> None:
    body = build(temperature=0.3, top_p=0.2)
    assert body["include"] == ["reasoning.encrypted_content"]
    assert not {"temperature", "top_p"} & set(body)


def test_every_option_to_a_model_that_takes_them() -> None:
    asked = question(
        "http://127.0.0.1/v1",
        "responses",
        model="gpt-4o",
        tools=[WEATHER, {"name": "plain", "parameters": {}}],
        tool_choice="get_weather",
        temperature=0.0,
        top_p=0.9,
        frequency_penalty=0.1,
        presence_penalty=0.2,
        max_output_tokens=7,
        response_schema={"name": "answer", "schema": {"type": "object"}, "strict": True},
        safety_identifier="someone",
    )
    assert build_body(asked, stream=False) == {
        "model": "gpt-4o",
        "input": [{"role": "user", "content": "Hi"}],
        "store": False,
        "max_output_tokens": 7,
        "temperature": 0.0,
        "top_p": 0.9,
        "tools": [
            {"type": "function", **WEATHER},
            {"type": "function", "strict": False, "name": "plain", "parameters": {}},
        ],
        "tool_choice": {"type": "function", "name": "get_weather"},
        "text": {
            "format": {"type": "json_schema", "name": "answer", "schema": {"type": "object"}, "strict": True}
        },
    }


def test_openai_itself_is_told_who_asks() -> None:
    body = build_body(ModelRequest(Endpoint("k"), "gpt-4o", (), safety_identifier="someone"))
    assert body["safety_identifier"] == "someone"


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("required", "required"),
        ("f", {"type": "function", "name": "f"}),
        ({"type": "function", "function": {"name": "f"}}, {"type": "function", "name": "f"}),
        ({"type": "function", "name": "f"}, {"type": "function", "name": "f"}),
    ],
)
def test_tool_choice(choice: Any, sent: Any) -> None:
    assert build(tools=[WEATHER], tool_choice=choice)["tool_choice"] == sent


def test_a_transcript_is_translated() -> None:
    body = build(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": "Let me see.",
                "tool_calls": [
                    {
                        "id": "call_a",
                        "type": "function",
                        "function": {"name": "get_weather", "arguments": PARIS},
                    },
                    {"id": "call_b", "type": "function", "function": {"name": "get_time", "arguments": ROME}},
                ],
            },
            {"role": "tool", "tool_call_id": "call_a", "content": "Sunny"},
            {"role": "tool", "tool_call_id": "call_b", "content": "Noon"},
            {"role": "assistant", "content": "Sunny noon."},
            {"role": "system", "content": "It is late."},
            {"role": "user", "content": "Bye"},
        ]
    )
    assert body["instructions"] == "Be brief.\n\nBe kind."
    assert body["input"] == [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "Let me see."},
        {"type": "function_call", "call_id": "call_a", "name": "get_weather", "arguments": PARIS},
        {"type": "function_call", "call_id": "call_b", "name": "get_time", "arguments": ROME},
        {"type": "function_call_output", "call_id": "call_a", "output": "Sunny"},
        {"type": "function_call_output", "call_id": "call_b", "output": "Noon"},
        {"role": "assistant", "content": "Sunny noon."},
        {"role": "system", "content": "It is late."},
        {"role": "user", "content": "Bye"},
    ]


def tool_call(item: dict[str, Any]) -> dict[str, Any]:
    function = {"name": item["name"], "arguments": item["arguments"]}
    return {"id": item["call_id"], "type": "function", "function": function}


def test_the_providers_own_items_are_replayed_by_value() -> None:
    line = {
        "role": "assistant",
        "content": "Hello",
        "tool_calls": [tool_call(CALL_A)],
        "items": [REASONING, MESSAGE, CALL_A],
    }
    assert build(messages=[line])["input"] == [
        {"type": "reasoning", "summary": [], "encrypted_content": "abc"},
        {"type": "message", "role": "assistant", "content": MESSAGE["content"]},
        {"type": "function_call", "call_id": "call_a", "name": "get_weather", "arguments": PARIS},
    ]
    assert line["items"] == [REASONING, MESSAGE, CALL_A]


def test_reasoning_that_is_a_mere_id_is_left_out() -> None:
    bare: dict[str, Any] = {"id": "rs_2", "type": "reasoning", "summary": [], "encrypted_content": None}
    open_ = {
        "id": "rs_3",
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "Hm"}],
    }
    line = {"role": "assistant", "content": "Hello", "items": [bare, open_, MESSAGE]}
    assert [item["type"] for item in build(messages=[line])["input"]] == ["reasoning", "message"]


def test_calls_that_were_taken_out_of_a_line_do_not_come_back_with_its_items() -> None:
    line = {"role": "assistant", "content": "Hello", "items": [REASONING, MESSAGE, CALL_A]}
    assert build(messages=[line])["input"] == [{"role": "assistant", "content": "Hello"}]


# the stream


def test_one_read_gives_one_delta() -> None:
    parser = Parser()
    payloads: tuple[dict[str, Any] | bytes, ...] = (
        event("response.created", response={"model": "gpt-x-2026"}),
        event("response.in_progress", response={}),
        added(MESSAGE, output_index=0),
        event("response.content_part.added", output_index=0, part={}),
        text("Hel", output_index=0, item_id="msg_1"),
        text("lo", output_index=0, item_id="msg_1"),
        event("response.output_text.done", text="Hello", output_index=0),
        done(MESSAGE, output_index=0),
        final(output=[MESSAGE], service_tier="default"),
        b"not even JSON",
    )
    assert parser.feed(encoded(payloads)) == Delta(
        text="Hello",
        usage=TokenUsage(
            prompt_tokens=10,
            completion_tokens=5,
            total_tokens=15,
            cached_tokens=4,
            cache_write_tokens=2,
            reasoning_tokens=3,
        ),
        finish_reason="stop",
        model="gpt-x-2026",
        service_tier="default",
    )
    parser.finish()


@pytest.mark.parametrize(
    "payloads",
    [
        [],
        [text("x")],
        [text("x"), b"[DONE]"],
        [event("response.output_text.done", text="x")],
        [text("x"), final("cancelled")],
    ],
    ids=["empty", "no end", "DONE alone", "text done", "cancelled"],
)
def test_an_early_end_is_an_error(payloads: list[Any]) -> None:
    heard = hear(*payloads)
    assert isinstance(heard.error, ProviderProtocolError)
    assert heard.error.retryable
    assert heard.error.request_id == "req_1"


def test_a_done_mark_after_the_end_changes_nothing() -> None:
    assert hear(text("x"), final(), b"[DONE]").error is None


@pytest.mark.parametrize(
    "broken",
    [
        b"{",
        b"[]",
        b'{"type": "response.output_text.delta"}',
        b'{"type": "response.output_text.delta", "delta": 7}',
        b'{"type": "response.output_item.done", "item": 7}',
        b'{"type": "response.output_item.added"}',
        b'{"type": "response.function_call_arguments.delta", "output_index": {}, "delta": "x"}',
        b'{"type": "response.completed"}',
        b'{"type": "response.completed", "response": null}',
        b'{"type": "response.completed", "response": {"output": [7]}}',
    ],
)
def test_what_is_no_event_is_an_error_and_what_came_before_counts(broken: bytes) -> None:
    parser = Parser()
    delta = parser.feed(encoded((text("before"), broken, text("after"))))
    assert delta.text == "before"
    assert isinstance(parser.failure, ProviderProtocolError)
    assert parser.failure.__traceback__ is None


def test_events_of_other_kinds_are_passed_over() -> None:
    heard = hear(
        event("response.reasoning_summary_text.delta", delta="hm"),
        event("response.something_new", error=None),
        event("keepalive"),
        text("x"),
        final(),
    )
    assert (heard.text, heard.error) == ("x", None)


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (event("error", code="server_error", message="oops"), ProviderUnavailableError),
        (event("error", error={"code": "rate_limit_exceeded"}), ProviderRateLimitedError),
        ({"error": {"code": 500, "message": "oops"}}, ProviderUnavailableError),
        (final("failed", error={"code": "server_error", "message": "oops"}), ProviderUnavailableError),
        (final("failed", error={"code": "invalid_prompt"}), ContentFilterError),
        (final("failed", error=None), ProviderUnavailableError),
    ],
)
def test_errors_inside_the_stream(last: dict[str, Any], expected: type[Exception]) -> None:
    heard = hear(text("Hel"), last, text("lo"), final())
    assert heard.text == "Hel"
    assert type(heard.error) is expected


def test_a_failed_response_still_tells_its_usage() -> None:
    assert hear(final("failed", error={"code": "server_error"})).usage is not None


@pytest.mark.parametrize(
    ("details", "means"),
    [
        ({"reason": "max_output_tokens"}, "length"),
        ({"reason": "content_filter"}, "content_filter"),
        ({"reason": None}, "length"),
        (None, "length"),
    ],
)
def test_incomplete_responses(details: Any, means: str) -> None:
    heard = hear(text("Half"), final("incomplete", incomplete_details=details))
    assert (heard.text, heard.finish_reason, heard.error) == ("Half", means, None)


def test_a_refusal_is_text_and_a_content_filter() -> None:
    heard = hear(
        event("response.refusal.delta", delta="I can't"),
        event("response.refusal.delta", delta="."),
        done({"type": "message", "content": [{"type": "refusal", "refusal": "I can't."}]}),
        final(),
    )
    assert (heard.text, heard.finish_reason) == ("I can't.", "content_filter")


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": None, "output_tokens": None}])
def test_usage_that_says_nothing_is_none(usage: Any) -> None:
    assert hear(text("x"), final(usage=usage)).usage is None


def test_usage_with_null_details() -> None:
    usage = {"input_tokens": 1, "output_tokens": 2, "output_tokens_details": None}
    assert hear(text("x"), final(usage=usage)).usage == TokenUsage(
        prompt_tokens=1, completion_tokens=2, total_tokens=3
    )


# items and calls

BOTH = [
    {"id": "call_a", "name": "get_weather", "arguments": PARIS},
    {"id": "call_b", "name": "get_time", "arguments": ROME},
]
CALL_STREAMS: dict[str, list[dict[str, Any]]] = {
    "OpenAI's": [
        added(CALL_A, output_index=0),
        arguments(PARIS[:5], output_index=0, item_id="fc_1"),
        arguments(PARIS[5:], output_index=0, item_id="fc_1"),
        event("response.function_call_arguments.done", arguments=PARIS, output_index=0, item_id="fc_1"),
        done(CALL_A, output_index=0),
        added(CALL_B, output_index=1),
        arguments(ROME, output_index=1, item_id="fc_2"),
        done(CALL_B, output_index=1),
        final(output=[CALL_A, CALL_B]),
    ],
    "interleaved": [
        added(CALL_A, output_index=0),
        added(CALL_B, output_index=1),
        arguments(PARIS[:5], output_index=0),
        arguments(ROME[:4], output_index=1),
        arguments(PARIS[5:], output_index=0),
        arguments(ROME[4:], output_index=1),
        done(CALL_B, output_index=1),
        done(CALL_A, output_index=0),
        final(output=[CALL_A, CALL_B]),
    ],
    "without output_index": [
        added(CALL_A),
        arguments(PARIS[:5], item_id="fc_1"),
        arguments(PARIS[5:], item_id="fc_1"),
        done(CALL_A),
        added(CALL_B),
        arguments(ROME, item_id="fc_2"),
        done(CALL_B),
        final(output=[CALL_A, CALL_B]),
    ],
    "without any place": [
        added({name: value for name, value in CALL_A.items() if name != "id"}),
        arguments(PARIS[:5]),
        arguments(PARIS[5:]),
        added({name: value for name, value in CALL_B.items() if name != "id"}),
        arguments(ROME),
        final(),
    ],
    "another id for the item": [
        added({**CALL_A, "id": "x1"}),
        arguments(PARIS, item_id="x1"),
        done({**CALL_A, "id": "y1"}),
        added({**CALL_B, "id": "x2"}),
        arguments(ROME, item_id="x2"),
        done({**CALL_B, "id": "y2"}),
        final(output=[CALL_A, CALL_B]),
    ],
    "only done": [done(CALL_A, output_index=0), done(CALL_B, output_index=1), final(output=[CALL_A, CALL_B])],
    "only arguments done": [
        added(CALL_A, output_index=0),
        event("response.function_call_arguments.done", arguments=PARIS, output_index=0),
        added(CALL_B, output_index=1),
        event("response.function_call_arguments.done", arguments=ROME, output_index=1),
        final(),
    ],
    "only at the end": [final(output=[CALL_A, CALL_B])],
    "half in pieces": [
        added(CALL_A, output_index=0),
        arguments(PARIS[:5], output_index=0),
        final(output=[CALL_A, CALL_B]),
    ],
}


@pytest.mark.parametrize("name", CALL_STREAMS)
def test_calls_of_all_kinds_of_servers(name: str) -> None:
    heard = hear(*CALL_STREAMS[name])
    assert heard.error is None
    assert heard.calls == BOTH
    assert heard.finish_reason == "tool_calls"
    parser, at_once = Parser(), Heard()
    at_once.add(parser.feed(encoded(tuple(CALL_STREAMS[name]))))
    assert at_once.calls == BOTH


@pytest.mark.parametrize("place", [{"output_index": 1}, {}], ids=["index", "no index"])
def test_items_are_kept_where_there_is_reasoning(place: dict[str, int]) -> None:
    first = {"output_index": 0} if place else {}
    heard = hear(
        done(REASONING, **first),
        added(MESSAGE, **place),
        text("Hello", item_id="msg_1", **place),
        done(MESSAGE, **place),
        final(output=[REASONING, MESSAGE]),
    )
    assert heard.text == "Hello"
    assert [delta.items for delta in heard.deltas if delta.items] == [[REASONING, MESSAGE]]


def test_items_stand_in_their_order_however_they_were_done() -> None:
    heard = hear(
        done(CALL_B, output_index=2),
        done(CALL_A, output_index=1),
        done(REASONING, output_index=0),
        final(output=[REASONING, CALL_A, CALL_B]),
    )
    assert heard.last("items") == [REASONING, CALL_A, CALL_B]


def test_items_count_that_the_end_does_not_repeat() -> None:
    heard = hear(done(REASONING, output_index=0), done(MESSAGE, output_index=1), final(output=[]))
    assert heard.last("items") == [REASONING, MESSAGE]


def test_items_are_not_kept_otherwise() -> None:
    assert not hear(text("Hello", output_index=0), done(MESSAGE, output_index=0), final()).last("items")


@pytest.mark.parametrize(
    "payloads",
    [
        [done(MESSAGE, output_index=0), final(output=[MESSAGE])],
        [final(output=[MESSAGE])],
        [text("Hello", item_id="other"), done(MESSAGE), final(output=[MESSAGE])],
    ],
    ids=["done alone", "at the end alone", "with another id"],
)
def test_text_is_told_once_however_it_comes(payloads: list[Any]) -> None:
    assert hear(*payloads).text == "Hello"


# an answer in one piece


def test_a_server_that_does_not_stream() -> None:
    parser = Parser()
    response = final(output=[REASONING, MESSAGE])["response"]
    delta = parser.whole(json.dumps(response).encode())
    assert (delta.text, delta.finish_reason, delta.model) == ("Hello", "stop", "gpt-x-2026")
    assert delta.items == [REASONING, MESSAGE]
    assert delta.usage is not None
    assert parser.done


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", ProviderProtocolError),
        (b"[]", ProviderProtocolError),
        (b'{"error": {"code": "server_error"}}', ProviderUnavailableError),
        (b'{"status": "failed", "error": null}', ProviderUnavailableError),
        (b'{"status": "in_progress"}', ProviderProtocolError),
        (b'{"detail": "Not here"}', ProviderProtocolError),
    ],
)
def test_a_whole_answer_that_is_none(body: bytes, expected: type[Exception]) -> None:
    parser = Parser()
    parser.whole(body)
    assert type(parser.failure) is expected
    assert not parser.done
