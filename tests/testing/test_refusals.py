"""Requests that OpenAI would not take are not taken here, and the reason names the parameter."""

from typing import Any

import openai
import pytest

from django_chatgpt.testing import Answer, Call, FakeOpenAI
from django_chatgpt.testing.responses import seal
from tests.testing.conftest import Sdk

USER = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
FLAT = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}


def calling(*ids: str) -> dict[str, Any]:
    function = {"name": "f", "arguments": "{}"}
    calls = [{"id": id_, "type": "function", "function": function} for id_ in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(id_: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": "42"}


def call_item(id_: str, **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": id_, "name": "f", "arguments": "{}", **more}


def output_item(id_: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": id_, "output": "42"}


def strict_tool(**schema: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {}, "required": [], "additionalProperties": False} | schema
    return {"type": "function", "function": {"name": "f", "strict": True, "parameters": parameters}}


OLD = {"model": "gpt-4o-mini"}
CHAT: list[tuple[dict[str, Any], str | None, str | None]] = [
    # messages
    ({"messages": None}, "messages", "missing_required_parameter"),
    ({"messages": []}, "messages", "empty_array"),
    ({"messages": "Hi"}, "messages", "invalid_type"),
    ({"messages": ["Hi"]}, "messages[0]", "invalid_type"),
    ({"messages": [{"content": "Hi"}]}, "messages[0].role", "missing_required_parameter"),
    ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages[0].role", "invalid_value"),
    ({"messages": [{"role": "user", "content": None}]}, "messages.[0].content", None),
    ({"messages": [{"role": "user"}]}, "messages.[0].content", None),
    ({"messages": [{"role": "assistant", "content": None}, USER]}, "messages.[0].content", None),
    ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content", "invalid_type"),
    ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", "empty_array"),
    ({"messages": [{"role": "user", "content": ["Hi"]}]}, "messages[0].content[0]", "invalid_type"),
    (
        {"messages": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]},
        "messages[0].content[0].type",
        "invalid_value",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        "messages[0].content[0].text",
        "missing_required_parameter",
    ),
    ({"messages": [USER | {"metadata": {}}]}, "messages[0].metadata", "unknown_parameter"),
    # tool calls and their results
    ({"messages": [USER, calling("a")]}, "messages.[2].role", None),
    ({"messages": [USER, calling("a", "b"), result("a")]}, "messages.[3].role", None),
    ({"messages": [USER, calling("a", "b"), result("a"), USER]}, "messages.[3].role", None),
    ({"messages": [USER, result("a")]}, "messages.[1].role", None),
    ({"messages": [USER, calling("a"), result("b")]}, "messages.[2].tool_call_id", None),
    ({"messages": [USER, calling("a"), result("a"), result("a")]}, "messages.[3].role", None),
    (
        {"messages": [USER, calling("a", "b"), result("a"), result("a")]},
        "messages.[3].tool_call_id",
        None,
    ),
    ({"messages": [USER, calling("a", "a"), result("a")]}, "messages[1]", None),
    ({"messages": [USER, calling()]}, "messages[1].tool_calls", "empty_array"),
    (
        {"messages": [USER, calling("a"), {"role": "tool", "content": "42"}]},
        "messages[2].tool_call_id",
        "missing_required_parameter",
    ),
    (
        {"messages": [USER, {"role": "assistant", "tool_calls": [{"id": "a", "type": "function"}]}]},
        "messages[1].tool_calls[0].function",
        "missing_required_parameter",
    ),
    (
        {"messages": [USER, {"role": "assistant", "tool_calls": ["a"]}]},
        "messages[1].tool_calls[0]",
        "invalid_type",
    ),
    (
        {
            "messages": [
                USER,
                {
                    "role": "assistant",
                    "tool_calls": [
                        {"id": "a", "type": "function", "function": {"name": "f", "arguments": {}}}
                    ],
                },
            ]
        },
        "messages[1].tool_calls[0].function.arguments",
        "invalid_type",
    ),
    (
        {
            "messages": [
                USER,
                {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {}}]},
            ]
        },
        "messages[1].tool_calls[0].function.name",
        "missing_required_parameter",
    ),
    (
        {
            "messages": [
                USER,
                {"role": "assistant", "tool_calls": [calling("a")["tool_calls"][0] | {"index": 0}]},
            ]
        },
        "messages[1].tool_calls[0].index",
        "unknown_parameter",
    ),
    # parameters
    ({"model": ""}, None, None),
    ({"model": 7}, "model", "invalid_type"),
    ({"max_tokens": 5}, "max_tokens", "unsupported_parameter"),
    ({"max_tokens": 5, "model": "o3"}, "max_tokens", "unsupported_parameter"),
    ({"max_tokens": 5, "model": "gpt-5.4-mini"}, "max_tokens", "unsupported_parameter"),
    (OLD | {"max_tokens": 5, "max_completion_tokens": 5}, None, None),
    ({"max_completion_tokens": 0}, "max_completion_tokens", "integer_below_min_value"),
    ({"max_completion_tokens": 1.5}, "max_completion_tokens", "invalid_type"),
    ({"temperature": 0.5}, "temperature", "unsupported_parameter"),
    ({"temperature": 1, "reasoning_effort": "low"}, "temperature", "unsupported_parameter"),
    ({"top_p": 0.5}, "top_p", "unsupported_parameter"),
    ({"presence_penalty": 0.5}, "presence_penalty", "unsupported_parameter"),
    ({"frequency_penalty": 0.5}, "frequency_penalty", "unsupported_parameter"),
    ({"stop": ["x"]}, "stop", "unsupported_parameter"),
    (OLD | {"temperature": 2.5}, "temperature", "decimal_above_max_value"),
    (OLD | {"temperature": -1}, "temperature", "decimal_below_min_value"),
    (OLD | {"temperature": "hot"}, "temperature", "invalid_type"),
    (OLD | {"presence_penalty": True}, "presence_penalty", "invalid_type"),
    (OLD | {"reasoning_effort": "low"}, None, None),
    ({"reasoning_effort": "extreme"}, "reasoning_effort", "invalid_value"),
    ({"reasoning_effort": "none", "model": "gpt-6-astra"}, "reasoning_effort", "invalid_value"),
    ({"reasoning_effort": "none", "model": "gpt-6.2-sol"}, "reasoning_effort", "invalid_value"),
    ({"stream": "yes"}, "stream", "invalid_type"),
    ({"stream_options": {"include_usage": True}}, "stream_options", None),
    ({"stream": True, "stream_options": 7}, "stream_options", "invalid_type"),
    ({"n": 2}, "n", "unsupported_value"),
    ({"extra_body": {"conversation_id": 1}}, None, None),
    # tools
    ({"tools": [TOOL]}, "reasoning_effort", None),
    ({"tools": [TOOL], "reasoning_effort": "low"}, "reasoning_effort", None),
    ({"tools": [TOOL], "model": "gpt-5.6-sol"}, "reasoning_effort", None),
    ({"tools": []}, "tools", "empty_array"),
    ({"tools": "f"}, "tools", "invalid_type"),
    ({"tools": ["f"]}, "tools[0]", "invalid_type"),
    ({"tools": [{"function": {}}]}, "tools[0].type", "missing_required_parameter"),
    ({"tools": [FLAT]}, "tools[0].function", "missing_required_parameter"),
    (
        {"tools": [{"type": "function", "function": {}}]},
        "tools[0].function.name",
        "missing_required_parameter",
    ),
    (
        {"tools": [{"type": "function", "function": {"name": "f g"}}]},
        "tools[0].function.name",
        "invalid_value",
    ),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
        "tools[0].function.parameters",
        "invalid_type",
    ),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}]},
        "tools[0].function.parameters",
        "invalid_function_parameters",
    ),
    (
        {"tools": [strict_tool(additionalProperties=True)]},
        "tools[0].function.parameters",
        "invalid_function_parameters",
    ),
    (
        {"tools": [strict_tool(properties={"x": {"type": "string"}})]},
        "tools[0].function.parameters",
        "invalid_function_parameters",
    ),
    (
        {"tools": [strict_tool(properties={"x": {"type": "string", "default": ""}}, required=["x"])]},
        "tools[0].function.parameters",
        "invalid_function_parameters",
    ),
    (
        {
            "tools": [
                strict_tool(
                    properties={
                        "x": {"anyOf": [{"type": "null"}, {"type": "array", "items": {"type": "object"}}]}
                    },
                    required=["x"],
                )
            ]
        },
        "tools[0].function.parameters",
        "invalid_function_parameters",
    ),
    (
        {"tools": [strict_tool(**{"$defs": {"X": {"type": "object"}}})]},
        "tools[0].function.parameters",
        "invalid_function_parameters",
    ),
    ({"tool_choice": "auto"}, "tool_choice", None),
    ({"parallel_tool_calls": False}, "parallel_tool_calls", None),
]

RESPONSES: list[tuple[dict[str, Any], str | None, str | None]] = [
    # input
    ({"input": []}, "input", "missing_required_parameter"),
    ({"input": ""}, "input", "missing_required_parameter"),
    ({"input": {"role": "user"}}, "input", "invalid_type"),
    ({"input": ["Hi"]}, "input[0]", "invalid_type"),
    ({"input": [{"content": "Hi"}]}, "input[0].role", "missing_required_parameter"),
    ({"input": [{"role": "tool", "content": "Hi"}]}, "input[0].role", "invalid_value"),
    ({"input": [{"role": "user"}]}, "input[0].content", "missing_required_parameter"),
    ({"input": [{"role": "user", "content": None}]}, "input[0].content", "invalid_type"),
    ({"input": [{"role": "user", "content": ["Hi"]}]}, "input[0].content[0]", "invalid_type"),
    (
        {"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "Hi"}]}]},
        "input[0].content[0]",
        "invalid_value",
    ),
    (
        {"input": [{"role": "user", "content": [{"type": "output_text", "text": "Hi"}]}]},
        "input[0].content[0]",
        "invalid_value",
    ),
    ({"input": [USER | {"metadata": {}}]}, "input[0].metadata", "unknown_parameter"),
    ({"input": [USER | {"id": "7"}]}, "input[0].id", "invalid_value"),
    # calls and their outputs
    ({"input": [USER, call_item("a")]}, "input", None),
    ({"input": [USER, output_item("a")]}, "input", None),
    ({"input": [USER, output_item("a"), call_item("a")]}, "input", None),
    ({"input": [USER, call_item("a"), output_item("a"), output_item("a")]}, "input", None),
    ({"input": [USER, call_item("a"), call_item("b"), output_item("b")]}, "input", None),
    ({"input": [USER, call_item("a", id="call_1"), output_item("a")]}, "input[1].id", "invalid_value"),
    (
        {"input": [USER, call_item("a", arguments=None), output_item("a")]},
        "input[1].arguments",
        "missing_required_parameter",
    ),
    ({"input": [USER, call_item("a", arguments={}), output_item("a")]}, "input[1].arguments", "invalid_type"),
    (
        {"input": [USER, call_item("a"), output_item("a") | {"output": None}]},
        "input[2].output",
        "missing_required_parameter",
    ),
    ({"input": [USER, call_item("a"), output_item("a") | {"output": 7}]}, "input[2].output", "invalid_type"),
    # reasoning
    (
        {
            "input": [
                USER,
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal("rs_1")},
            ]
        },
        "input",
        None,
    ),
    (
        {"input": [USER, {"type": "reasoning", "id": "rs_1", "encrypted_content": seal("rs_1")}]},
        "input[1].summary",
        "missing_required_parameter",
    ),
    (
        {
            "input": [
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal("rs_1")},
                USER,
            ]
        },
        "input",
        None,
    ),
    (
        {
            "input": [
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal("rs_2")},
                {"role": "assistant", "content": "Hi"},
            ]
        },
        None,
        "invalid_encrypted_content",
    ),
    # parameters
    ({"extra_body": {"messages": []}}, "messages", "unsupported_parameter"),
    ({"extra_body": {"max_tokens": 100}}, "max_tokens", "unsupported_parameter"),
    ({"extra_body": {"frequency_penalty": 1}}, "frequency_penalty", "unknown_parameter"),
    ({"max_output_tokens": 15}, "max_output_tokens", "integer_below_min_value"),
    ({"temperature": 0.5}, "temperature", "unsupported_parameter"),
    ({"top_p": 0.5, "reasoning": {"effort": "low"}}, "top_p", "unsupported_parameter"),
    ({"reasoning": {"effort": "extreme"}}, "reasoning.effort", "invalid_value"),
    ({"reasoning": "low"}, "reasoning", "invalid_type"),
    (OLD | {"reasoning": {"effort": "low"}}, "reasoning.effort", "unsupported_parameter"),
    ({"previous_response_id": "resp_1"}, "previous_response_id", "previous_response_not_found"),
    # tools
    ({"tools": [TOOL]}, "tools[0].name", "missing_required_parameter"),
    ({"tools": [FLAT | {"strict": True}]}, "tools[0].parameters", "invalid_function_parameters"),
]


@pytest.mark.parametrize(
    ("dialect", "arguments", "param", "code"),
    [("chat", *case) for case in CHAT] + [("responses", *case) for case in RESPONSES],
)
async def test_what_is_refused(
    fake: FakeOpenAI,
    async_sdk: Sdk,
    dialect: str,
    arguments: dict[str, Any],
    param: str | None,
    code: str | None,
) -> None:
    fake.reply("never said")
    lean = {name: arguments[name] for name in ("messages", "input") if name in arguments}
    others = {name: value for name, value in arguments.items() if name not in lean}
    extra = others.pop("extra_body", {}) | lean
    with pytest.raises(openai.BadRequestError) as caught:
        await async_sdk.ask(dialect, **others, extra_body=extra)
    assert caught.value.type == "invalid_request_error"
    assert (caught.value.param, caught.value.code) == (param, code)
    assert caught.value.body["message"]
    assert len(fake.unused) == 1
    assert fake.tokens_billed.total == 0


@pytest.mark.parametrize(
    ("dialect", "arguments"),
    [
        ("chat", {"messages": [USER, calling("a", "b"), result("b"), result("a"), USER]}),
        ("chat", {"messages": [{"role": "developer", "content": "Be kind."}, USER]}),
        ("chat", {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}),
        ("chat", {"messages": [USER, {"role": "assistant", "content": ""}, USER]}),
        ("chat", {"messages": [USER, {"role": "function", "name": "f", "content": None}]}),
        ("chat", {"max_completion_tokens": 5, "temperature": None}),
        ("chat", {"temperature": 0, "reasoning_effort": "none"}),
        ("chat", {"tools": [TOOL], "reasoning_effort": "none", "tool_choice": "auto"}),
        ("chat", {"tools": [TOOL], "model": "gpt-5.4-mini"}),
        ("chat", {"tools": [strict_tool()], "model": "gpt-5.4-mini"}),
        ("chat", {"tools": [{"type": "custom", "custom": {"name": "x"}}], "reasoning_effort": "none"}),
        ("chat", OLD | {"temperature": 0.7, "max_tokens": 5, "tools": [TOOL]}),
        ("chat", {"model": "gpt-5.2-chat-latest", "temperature": 1, "max_tokens": 5}),
        ("responses", {"input": [USER, {"role": "assistant", "content": "Yes?"}, USER]}),
        ("responses", {"input": [USER, call_item("a", id="fc_1"), output_item("a"), USER]}),
        ("responses", {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]}),
        ("responses", {"temperature": 0, "reasoning": {"effort": "none"}}),
        ("responses", {"tools": [FLAT], "max_output_tokens": 16}),
        ("responses", {"tools": [{"type": "web_search"}], "include": ["reasoning.encrypted_content"]}),
        ("responses", OLD | {"temperature": 0.7}),
        ("responses", {"input": [USER, {"type": "web_search_call", "id": "ws_1", "status": "completed"}]}),
    ],
)
async def test_what_is_taken(
    fake: FakeOpenAI, async_sdk: Sdk, dialect: str, arguments: dict[str, Any]
) -> None:
    await async_sdk.ask(dialect, **arguments)
    assert fake.requests[0].status == 200


async def test_items_that_were_never_stored(fake: FakeOpenAI, async_sdk: Sdk) -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    for item in ({"type": "item_reference", "id": "msg_1"}, thought):
        with pytest.raises(
            openai.NotFoundError, match="Items are not persisted when `store` is set to false"
        ):
            await async_sdk.respond(input=[item, {"role": "assistant", "content": "Hi"}])
        with pytest.raises(openai.NotFoundError, match=r"not found\.$"):
            await async_sdk.respond(input=[item, {"role": "assistant", "content": "Hi"}], store=True)


async def test_a_missing_input(fake: FakeOpenAI, async_sdk: Sdk) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await async_sdk.respond(input=openai.omit)
    assert caught.value.param == "input"


async def test_keys(fake: FakeOpenAI) -> None:
    anonymous = Sdk("sync", fake)
    with pytest.raises(openai.AuthenticationError, match="didn't provide an API key"):
        await anonymous.chat(extra_headers={"Authorization": openai.omit})
    with FakeOpenAI(api_key="sk-the-only-one") as strict:
        sdk = Sdk("sync", strict, api_key="sk-some-other-abcd")
        with pytest.raises(openai.AuthenticationError) as caught:
            await sdk.chat()
        assert caught.value.code == "invalid_api_key"
        assert "sk-some" not in str(caught.value)
        short = Sdk("sync", strict, api_key="short")
        with pytest.raises(openai.AuthenticationError, match=r"\*\*\*\*\*"):
            await short.chat()
        right = Sdk("sync", strict, api_key=strict.api_key)
        await right.chat()
        for each in (anonymous, sdk, short, right):
            await each.close()


async def test_models_that_there_are(sync_sdk: Sdk) -> None:
    with FakeOpenAI(models=["gpt-6-luna"]) as fake:
        sdk = Sdk("sync", fake)
        await sdk.chat()
        for method in (sdk.chat, sdk.respond):
            with pytest.raises(openai.NotFoundError) as caught:
                await method(model="gpt-9")
            assert caught.value.code == "model_not_found"
        await sdk.close()


async def test_a_lenient_fake_takes_what_compatible_servers_take() -> None:
    with FakeOpenAI(strict=False) as fake:
        sdk = Sdk("sync", fake)
        fake.script("a", "b", Answer(calls=[Call("f")]))
        await sdk.chat(max_tokens=5, temperature=0.5, extra_body={"cache_prompt": True})
        await sdk.respond(extra_body={"temperature": 3})
        await sdk.chat(messages=[USER, calling("a")], tools=[TOOL])
        await sdk.close()
