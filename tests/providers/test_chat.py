"""Chat Completions: the body that is sent, and its stream in all the shapes that servers give it."""

import json
from typing import Any

import pytest

from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.core.request import Delta, Endpoint, ModelRequest
from django_chatgpt.exceptions import (
    NotConfiguredError,
    ProviderProtocolError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
)
from django_chatgpt.providers.chat import Parser, adapt_body, build_body
from tests.providers.conftest import Heard, question

DONE = b"[DONE]"
WEATHER = {
    "name": "get_weather",
    "description": "Tell the weather.",
    "parameters": {"type": "object", "properties": {}},
    "strict": True,
}


def events(*payloads: dict[str, Any] | bytes) -> list[tuple[bytes, bytes]]:
    return [(b"", each if isinstance(each, bytes) else json.dumps(each).encode()) for each in payloads]


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {
        "id": "c1",
        "model": "gpt-x-2026",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def call(arguments: str | None = "", **more: Any) -> dict[str, Any]:
    function = {
        name: value
        for name, value in {"name": more.pop("name", None), "arguments": arguments}.items()
        if value is not None
    }
    return {**more, "function": function}


def hear(*payloads: dict[str, Any] | bytes) -> tuple[Heard, Parser]:
    """Each payload in a read of its own."""
    parser, heard = Parser("gpt-x", "req_1"), Heard()
    for event in events(*payloads):
        heard.add(parser.feed([event]))
    heard.error = parser.ending()
    return heard, parser


# the body


def test_the_least_body() -> None:
    assert build_body(question("http://127.0.0.1/v1")) == {
        "model": "gpt-6-luna",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_every_option_to_a_model_that_takes_them() -> None:
    body = build_body(
        question(
            "http://127.0.0.1/v1",
            model="smollm2",
            tools=[WEATHER],
            tool_choice="get_weather",
            temperature=0.0,
            top_p=0.9,
            frequency_penalty=0.1,
            presence_penalty=0.2,
            max_output_tokens=7,
            response_schema={"name": "answer", "schema": {"type": "object"}, "strict": True},
            safety_identifier="someone",
        ),
        stream=False,
    )
    assert body == {
        "model": "smollm2",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_completion_tokens": 7,
        "temperature": 0.0,
        "top_p": 0.9,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "tools": [{"type": "function", "function": WEATHER}],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
        },
    }


def test_openai_itself_is_told_to_keep_nothing_and_who_asks() -> None:
    body = build_body(ModelRequest(Endpoint("k", dialect="chat"), "gpt-4o", (), safety_identifier="someone"))
    assert body["store"] is False
    assert body["safety_identifier"] == "someone"


def test_reasoning_models_get_no_sampling_options() -> None:
    body = build_body(question("http://127.0.0.1/v1", temperature=0.5, top_p=1.0, presence_penalty=0.1))
    assert not {"temperature", "top_p", "presence_penalty", "reasoning_effort"} & set(body)


def test_functions_for_reasoning_models() -> None:
    assert build_body(question("http://127.0.0.1/v1", tools=[WEATHER]))["reasoning_effort"] == "none"
    with pytest.raises(NotConfiguredError, match='OPENAI_API = "responses"'):
        build_body(question("http://127.0.0.1/v1", model="gpt-6.2-sol", tools=[WEATHER]))


def test_private_keys_stay_here_and_the_rest_is_sent_as_it_is() -> None:
    plain = {"role": "user", "content": "Hi"}
    called = {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
        ],
    }
    body = build_body(question("http://x/v1", messages=[plain, {**called, "items": [{"type": "reasoning"}]}]))
    assert body["messages"] == [plain, called]
    assert body["messages"][0] is plain


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("f", {"type": "function", "function": {"name": "f"}}),
        ({"type": "function", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
        ({"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "f"}}),
    ],
)
def test_tool_choice(choice: Any, sent: Any) -> None:
    body = build_body(question("http://x/v1", model="m", tools=[WEATHER], tool_choice=choice))
    assert body["tool_choice"] == sent


def test_a_body_of_somebody_elses_is_adapted() -> None:
    body = {"model": "gpt-6-luna", "max_tokens": 5, "temperature": 1, "tools": [{}], "seed": 7}
    adapted = adapt_body(body, Endpoint("k", "http://127.0.0.1/v1"))
    assert adapted == {
        "model": "gpt-6-luna",
        "max_completion_tokens": 5,
        "tools": [{}],
        "seed": 7,
        "reasoning_effort": "none",
    }
    assert body["max_tokens"] == 5
    assert adapt_body({"model": "gpt-4o", "top_p": 1}, Endpoint("k")) == {
        "model": "gpt-4o",
        "top_p": 1,
        "store": False,
    }


# the stream


def test_one_read_gives_one_delta() -> None:
    parser = Parser()
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    delta = parser.feed(
        events(
            chunk(role="assistant", content=""),
            chunk(content="Hel"),
            chunk(content="lo"),
            chunk("stop"),
            {"choices": [], "usage": usage, "service_tier": "default"},
            DONE,
            b"not even JSON",
        )
    )
    assert delta == Delta(
        text="Hello",
        usage=TokenUsage(prompt_tokens=3, completion_tokens=2, total_tokens=5),
        finish_reason="stop",
        model="gpt-x-2026",
        service_tier="default",
    )
    assert parser.done
    parser.finish()
    assert parser.feed(events(chunk(content="after the end"))) == Delta()


def test_model_and_tier_are_told_once() -> None:
    heard, _ = hear(
        {**chunk(content="a"), "service_tier": "flex"}, {**chunk(content="b"), "service_tier": "flex"}
    )
    assert [(delta.model, delta.service_tier) for delta in heard.deltas] == [("gpt-x-2026", "flex"), ("", "")]


@pytest.mark.parametrize(
    "payloads",
    [
        [],
        [chunk(content="x")],
        [chunk(content="x"), DONE],
        [chunk("stop")],
        [chunk("stop"), {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}],
    ],
    ids=["empty", "no finish", "DONE without finish", "no DONE", "usage without DONE"],
)
def test_an_early_end_is_an_error(payloads: list[Any]) -> None:
    heard, parser = hear(*payloads)
    assert isinstance(heard.error, ProviderProtocolError)
    assert heard.error.retryable
    assert heard.error.request_id == "req_1"
    assert not parser.done
    with pytest.raises(ProviderProtocolError):
        parser.finish()


@pytest.mark.parametrize(
    "broken",
    [
        b'{"choices": [{"delta": {"con',
        b"<html>",
        b"[]",
        b"7",
        b'"text"',
        b"null",
        b'{"choices": 7}',
        b'{"choices": ["x"]}',
        b'{"choices": [{"delta": 7}]}',
        b'{"choices": [{"delta": {"content": 7}}]}',
        b'{"choices": [{"delta": {"content": [7]}}]}',
        b'{"choices": [{"delta": {"refusal": {"a": 1}}}]}',
        b'{"choices": [{"delta": {"tool_calls": [7]}}]}',
        b'{"choices": [{"delta": {"tool_calls": [{"index": {}}]}}]}',
        b'{"choices": [{"delta": {"tool_calls": [{"id": [7], "function": {"name": "x"}}]}}]}',
        b'{"choices": [{"delta": {"tool_calls": [{"function": {"name": 7}}]}}]}',
        b'{"choices": [{"delta": {"content": "\xff"}}]}',
        b"[" * 100_000,
        b'{"\\u0041":' * 20_000,
    ],
)
def test_what_is_no_chunk_is_an_error_and_what_came_before_counts(broken: bytes) -> None:
    parser = Parser()
    delta = parser.feed(events(chunk(content="before "), chunk(content="it"), broken, chunk(content="after")))
    assert delta.text == "before it"
    assert isinstance(parser.failure, ProviderProtocolError)
    assert not parser.failure.retryable
    assert parser.failure.__traceback__ is None
    assert parser.failure.__context__ is None
    assert parser.feed(events(chunk("stop"), DONE)) == Delta()
    assert parser.ending() is parser.failure


@pytest.mark.parametrize(
    "payload", [{}, {"choices": None}, {"choices": [{"delta": None}]}, {"choices": [{}]}]
)
def test_empty_chunks_say_nothing(payload: dict[str, Any]) -> None:
    heard, _ = hear(payload, chunk("stop"), DONE)
    assert heard.error is None


@pytest.mark.parametrize(
    ("error", "expected", "retryable"),
    [
        ({"message": "slow down", "code": 429}, ProviderRateLimitedError, True),
        ({"message": "slow down", "code": "rate_limit_exceeded"}, ProviderRateLimitedError, True),
        ({"message": "pay", "code": "insufficient_quota"}, ProviderRateLimitedError, False),
        ({"message": "oops", "type": "server_error", "code": None}, ProviderUnavailableError, True),
        ({"message": "oops", "code": 502}, ProviderUnavailableError, True),
        ({"message": "oops"}, ProviderUnavailableError, True),
        ("oops", ProviderUnavailableError, True),
        ({"message": "oops", "code": "something_else"}, ProviderProtocolError, False),
    ],
)
def test_an_error_inside_the_stream(error: Any, expected: type[Exception], retryable: bool) -> None:
    heard, _ = hear(chunk(content="Hel"), {"error": error}, chunk(content="lo"), chunk("stop"), DONE)
    assert heard.text == "Hel"
    assert type(heard.error) is expected
    assert heard.error is not None
    assert heard.error.retryable is retryable


def test_an_error_by_its_events_name() -> None:
    parser = Parser()
    parser.feed([(b"error", b'{"message": "overloaded", "code": "overloaded_error"}')])
    assert isinstance(parser.failure, ProviderUnavailableError)


def test_finish_reason_error_is_an_error() -> None:
    heard, _ = hear(chunk("error", content="Hel"), DONE)
    assert isinstance(heard.error, ProviderUnavailableError)
    assert heard.text == "Hel"


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("max_tokens", "length"),
        ("eos", "stop"),
        ("whatever", "stop"),
    ],
)
def test_finish_reasons(said: str, means: str) -> None:
    heard, _ = hear(chunk(content="x"), chunk(said), DONE)
    assert heard.finish_reason == means
    assert heard.error is None


def test_a_refusal_is_text_and_a_content_filter() -> None:
    heard, _ = hear(chunk(refusal="I can't"), chunk(refusal=" do that."), chunk("stop"), DONE)
    assert heard.text == "I can't do that."
    assert heard.finish_reason == "content_filter"


def test_content_in_parts() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": "hm"}, {"text": "b"}]
    heard, _ = hear(chunk(content=parts), chunk("stop"), DONE)
    assert heard.text == "ab"


def test_usage_is_told_as_often_as_the_server_tells_it_and_nulls_are_zero() -> None:
    heard, _ = hear(
        {**chunk(content="a"), "usage": None},
        {
            **chunk("stop"),
            "usage": {
                "prompt_tokens": 10,
                "completion_tokens": 4,
                "total_tokens": None,
                "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
        },
        DONE,
    )
    assert heard.usage == TokenUsage(
        prompt_tokens=10,
        completion_tokens=4,
        total_tokens=14,
        cached_tokens=10,
        cache_write_tokens=2,
        reasoning_tokens=3,
    )


@pytest.mark.parametrize(
    "usage",
    [
        None,
        7,
        [],
        {},
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": "many", "completion_tokens": -1},
    ],
)
def test_usage_that_says_nothing_is_none(usage: Any) -> None:
    heard, _ = hear(chunk(content="a"), {**chunk("stop"), "usage": usage}, DONE)
    assert heard.usage is None
    assert heard.error is None


@pytest.mark.parametrize("details", [None, 7, {}, {"cached_tokens": None}])
def test_usage_details_that_say_nothing_are_zero(details: Any) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": details}
    heard, _ = hear(chunk("stop"), {"choices": [], "usage": usage}, DONE)
    assert heard.usage == TokenUsage(prompt_tokens=1, completion_tokens=2, total_tokens=3)


# calls

PARIS, ROME = '{"city":"Paris"}', '{"city":"Rome"}'
BOTH = [
    {"id": "c1", "name": "get_weather", "arguments": PARIS},
    {"id": "c2", "name": "get_time", "arguments": ROME},
]
CALL_STREAMS: dict[str, list[dict[str, Any]]] = {
    "one after the other": [
        call(index=0, id="c1", name="get_weather", type="function"),
        call(PARIS[:5], index=0),
        call(PARIS[5:], index=0),
        call(index=1, id="c2", name="get_time", type="function"),
        call(ROME, index=1),
    ],
    "interleaved": [
        call(index=0, id="c1", name="get_weather"),
        call(index=1, id="c2", name="get_time"),
        call(PARIS[:5], index=0),
        call(ROME[:3], index=1),
        call(PARIS[5:], index=0),
        call(ROME[3:], index=1),
    ],
    "counted from one": [
        call(PARIS, index=1, id="c1", name="get_weather"),
        call(ROME, index=2, id="c2", name="get_time"),
    ],
    "without index, whole": [call(PARIS, id="c1", name="get_weather"), call(ROME, id="c2", name="get_time")],
    "without index, in pieces": [
        call(PARIS[:5], id="c1", name="get_weather"),
        call(PARIS[5:]),
        call(ROME[:3], id="c2", name="get_time"),
        call(ROME[3:]),
    ],
    "without index, id in every piece": [
        call(PARIS[:5], id="c1", name="get_weather"),
        call(ROME[:3], id="c2", name="get_time"),
        call(PARIS[5:], id="c1"),
        call(ROME[3:], id="c2"),
    ],
    "the same index for both": [
        call(PARIS[:5], index=0, id="c1", name="get_weather"),
        call(PARIS[5:], index=0),
        call(ROME[:3], index=0, id="c2", name="get_time"),
        call(ROME[3:], index=0),
    ],
    "id and name in every piece": [
        call(PARIS[:5], index=0, id="c1", name="get_weather"),
        call(PARIS[5:], index=0, id="c1", name="get_weather"),
        call(ROME[:3], index=1, id="c2", name="get_time"),
        call(ROME[3:], index=1, id="c2", name="get_time"),
    ],
    "another id in every piece": [
        call(PARIS[:5], index=0, id="c1", name="get_weather"),
        call(PARIS[5:], index=0, id="x8"),
        call(ROME[:3], index=1, id="c2", name="get_time"),
        call(ROME[3:], index=1, id="x9"),
    ],
    "the id after the name": [
        call(PARIS[:5], index=0, name="get_weather"),
        call(PARIS[5:], index=0, id="c1"),
        call(ROME, index=1, id="c2", name="get_time"),
    ],
    "null arguments": [
        call(None, index=0, id="c1", name="get_weather"),
        call(PARIS, index=0),
        call(ROME, index=1, id="c2", name="get_time"),
    ],
}


@pytest.mark.parametrize("together", [False, True], ids=["a read each", "one read"])
@pytest.mark.parametrize("name", CALL_STREAMS)
def test_calls_of_all_kinds_of_servers(name: str, together: bool) -> None:
    payloads = [chunk(tool_calls=[fragment]) for fragment in CALL_STREAMS[name]]
    payloads += [chunk("tool_calls"), DONE]  # type: ignore[list-item]
    if together:
        parser, heard = Parser(), Heard()
        heard.add(parser.feed(events(*payloads)))
        assert parser.ending() is None
    else:
        heard, _ = hear(*payloads)
        assert heard.error is None
    assert heard.calls == BOTH
    assert heard.finish_reason == "tool_calls"


def test_calls_without_ids_are_told_apart_by_their_names() -> None:
    heard, _ = hear(
        chunk(tool_calls=[call(PARIS, name="get_weather")]),
        chunk(tool_calls=[call(ROME, name="get_time")]),
        chunk("stop"),
        DONE,
    )
    assert [each["arguments"] for each in heard.calls] == [PARIS, ROME]
    assert heard.finish_reason == "tool_calls"


def test_fragments_of_one_call_in_one_read_are_one_fragment() -> None:
    delta = Parser().feed(
        events(*[chunk(tool_calls=[fragment]) for fragment in CALL_STREAMS["one after the other"]])
    )
    assert [(each.index, each.id, each.name, each.arguments) for each in delta.calls] == [
        (0, "c1", "get_weather", PARIS),
        (1, "c2", "get_time", ROME),
    ]


def test_arguments_that_are_json_already_become_text() -> None:
    fragment = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": {"city": "Paris"}}}
    heard, _ = hear(chunk(tool_calls=[fragment]), chunk("tool_calls"), DONE)
    assert heard.calls == [{"id": "c1", "name": "f", "arguments": PARIS}]


def test_a_function_call_of_old() -> None:
    heard, _ = hear(
        chunk(function_call={"name": "f", "arguments": PARIS[:4]}),
        chunk(function_call={"arguments": PARIS[4:]}),
        chunk("function_call"),
        DONE,
    )
    assert heard.calls == [{"id": "", "name": "f", "arguments": PARIS}]
    assert heard.finish_reason == "tool_calls"


def test_arguments_cut_by_the_length_are_no_call_to_make() -> None:
    heard, _ = hear(chunk(tool_calls=[call(PARIS[:5], index=0, id="c1", name="f")]), chunk("length"), DONE)
    assert heard.finish_reason == "length"


# text that is torn


def test_surrogates_that_were_torn_apart_meet_again() -> None:
    head, tail = (
        b'{"choices": [{"delta": {"content": "a\\ud83e"}}]}',
        b'{"choices": [{"delta": {"content": "\\udd8ab"}}]}',
    )
    heard, _ = hear(head, tail, chunk("stop"), DONE)
    assert [delta.text for delta in heard.deltas[:2]] == ["a", "🦊b"]
    assert heard.error is None


def test_surrogates_left_alone_become_replacement_characters() -> None:
    lone = b'{"choices": [{"delta": {"content": "a\\udd8ab\\ud83e"}}]}'
    heard, _ = hear(lone, chunk("stop"), DONE)
    assert heard.text == "a\ufffdb\ufffd"
    heard, _ = hear(
        b'{"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "\\ud83e"}}]}}]}'
    )
    assert heard.calls[0]["arguments"] == "\ufffd"
    call_of_nobody = b'{"tool_calls": [{"index": 0, "id": "c\\ud83e", "function": {"name": "f\\ud83e"}}]}'
    heard, _ = hear(b'{"choices": [{"delta": %b}]}' % call_of_nobody)
    assert (heard.calls[0]["id"], heard.calls[0]["name"]) == ("c\ufffd", "f\ufffd")


# an answer in one piece

WHOLE: dict[str, Any] = {
    "object": "chat.completion",
    "model": "m1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


def test_a_server_that_does_not_stream() -> None:
    parser = Parser()
    delta = parser.whole(json.dumps(WHOLE).encode())
    assert (delta.text, delta.finish_reason, delta.model) == ("Hello", "stop", "m1")
    assert delta.usage is not None
    assert parser.done


def test_a_whole_answer_with_calls() -> None:
    message = {"content": None, "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": "{}"}}]}
    parser, heard = Parser(), Heard()
    body = {**WHOLE, "choices": [{"message": message, "finish_reason": "tool_calls"}]}
    heard.add(parser.whole(json.dumps(body).encode()))
    assert heard.calls == [{"id": "c1", "name": "f", "arguments": "{}"}]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", ProviderProtocolError),
        (b"{}", ProviderProtocolError),
        (b'{"choices": []}', ProviderProtocolError),
        (b'{"choices": null}', ProviderProtocolError),
        (b'{"choices": [{"message": {"content": "x"}, "finish_reason": null}]}', ProviderProtocolError),
        (b"[1]", ProviderProtocolError),
        (b'{"error": {"code": "rate_limit_exceeded"}}', ProviderRateLimitedError),
    ],
)
def test_a_whole_answer_that_is_none(body: bytes, expected: type[Exception]) -> None:
    parser = Parser()
    parser.whole(body)
    assert type(parser.failure) is expected
    assert not parser.done
