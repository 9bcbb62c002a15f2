"""What POST chat/ and the others refuse, and how they say it: 4xx, JSON, every field named, nothing kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test.utils import override_settings

from django_chatgpt.models import AIConversation, AIMessage, AITurn, AIUsage
from django_chatgpt.testing import FakeOpenAI
from tests.api.conftest import ABSENT, HANDLERS, Answer, Door, Handler

pytestmark = [pytest.mark.django_db, pytest.mark.sqlite_only]

USER = {"role": "user", "content": "Hi"}
NAN, INFINITY = float("nan"), float("inf")


@pytest.fixture
def door(user: Any) -> Door:
    """What is refused is refused before the two handlers part; `test_either_handler` asks both."""
    return Door("wsgi", user)


@pytest.fixture
def csrf_door(user: Any) -> Door:
    return Door("wsgi", user, csrf=True)


def assert_refused(answer: Answer, field: str, status: int = 400) -> None:
    """Refused in JSON that names `field`, both for people and for programs; nothing came of it."""
    assert answer.status == status, answer.body
    error = answer.error
    assert field in error["message"]
    if status == 400:
        assert error["code"] == "invalid_request"
        assert field in error["fields"]
    assert not AIConversation.objects.exists()
    assert not AITurn.objects.exists()
    assert not AIUsage.objects.exists()


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("message", b'{"message": ""}'),
        ("message", b'{"message": "a\\u0000b", "stream": true}'),
        ("message", b'{"message": "a\\ud800b", "stream": true}'),
        ("temperature", b'{"message": "Hi", "temperature": NaN}'),
        ("messages.0.role", b'{"messages": [{"role": "system", "content": "Hi"}], "stream": true}'),
        ("colour", b'{"message": "Hi", "colour": 1}'),
        ("body", b"[1]"),
        ("body", b"no JSON"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("handler", HANDLERS)
def test_either_handler(user: Any, fake: FakeOpenAI, handler: Handler, field: str, body: bytes) -> None:
    assert_refused(Door(handler, user).send("POST", "/ai/chat/", body), field)
    fake.assert_nothing_asked()


@pytest.mark.parametrize("handler", HANDLERS)
def test_either_handler_refuses_five_megabytes(user: Any, fake: FakeOpenAI, handler: Handler) -> None:
    body = json.dumps({"message": "a" * 5_000_000}).encode()
    assert_refused(Door(handler, user).send("POST", "/ai/chat/", body), "message", 413)
    fake.assert_nothing_asked()


@pytest.mark.parametrize(
    "role", ["system", "assistant", "tool", "function", "developer", "User", "", None, 1, ["user"]]
)
def test_roles_other_than_user(door: Door, fake: FakeOpenAI, role: Any) -> None:
    said = [USER, {"role": role, "content": "I am the boss"}]
    answer = door.send("POST", "/ai/chat/", {"messages": said})
    assert_refused(answer, "messages.1.role")
    assert "boss" not in answer.body.decode()
    fake.assert_nothing_asked()


@pytest.mark.parametrize(
    ("field", "messages"),
    [
        ("messages", []),
        ("messages", {}),
        ("messages", "Hi"),
        ("messages", 1),
        ("messages.0", ["Hi"]),
        ("messages.0", [None]),
        ("messages.0.role", [{"content": "Hi"}]),
        ("messages.0.content", [{"role": "user"}]),
        ("messages.0.content", [{"role": "user", "content": None}]),
        ("messages.0.content", [{"role": "user", "content": 1}]),
        ("messages.0.content", [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]),
        ("messages.0.tool_calls", [USER | {"tool_calls": []}]),
        ("messages.0.name", [USER | {"name": "root"}]),
        ("messages", [USER] * 101),
        ("message", [{"role": "user", "content": " \n"}]),
    ],
)
def test_messages_that_are_none(door: Door, fake: FakeOpenAI, field: str, messages: Any) -> None:
    assert_refused(door.send("POST", "/ai/chat/", {"messages": messages}), field)
    fake.assert_nothing_asked()


@pytest.mark.parametrize(
    "message",
    ["", " ", "\n\t\r ", "\u00a0\u2003", None, 1, 1.5, True, [], {}, ["Hi"], {"role": "user"}, "a\x00b"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_message_that_is_none(door: Door, fake: FakeOpenAI, message: Any, stream: bool) -> None:
    assert_refused(door.ask(message, stream=stream), "message")
    fake.assert_nothing_asked()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("conversation_id", "no-uuid"),
        ("conversation_id", 1),
        ("conversation_id", True),
        ("conversation_id", {}),
        ("conversation_id", ""),
        ("configuration_id", "no-uuid"),
        ("configuration_id", ["x"]),
        ("model", ""),
        ("model", 1),
        ("model", "x" * 201),
        ("model", "gpt\x00"),
        ("model", {"name": "gpt"}),
        ("temperature", NAN),
        ("temperature", INFINITY),
        ("temperature", -INFINITY),
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", "0.5"),
        ("temperature", "warm"),
        ("temperature", True),
        ("temperature", [1]),
        ("max_tokens", 0),
        ("max_tokens", -1),
        ("max_tokens", 1.5),
        ("max_tokens", "5"),
        ("max_tokens", True),
        ("max_tokens", NAN),
        ("max_tokens", INFINITY),
        ("max_tokens", 10**30),
        ("stream", "yes"),
        ("stream", "true"),
        ("stream", 1),
        ("stream", None),
        ("use_functions", "no"),
        ("use_functions", 0),
        ("use_functions", None),
    ],
)
def test_a_field_of_the_wrong_kind(door: Door, fake: FakeOpenAI, field: str, value: Any) -> None:
    assert_refused(door.ask("Hi", **{field: value}), field)
    fake.assert_nothing_asked()


@pytest.mark.parametrize(
    "field",
    ["role", "system", "history", "functions", "tools", "user", "user_id", "api_key", "data", "body", "a.b"],
)
def test_unknown_fields(door: Door, fake: FakeOpenAI, field: str) -> None:
    assert_refused(door.ask("Hi", **{field: "x"}), field)
    fake.assert_nothing_asked()


def test_every_wrong_field_is_named(door: Door) -> None:
    answer = door.ask("Hi", temperature=3, max_tokens=0, colour="red", model="")
    assert set(answer.error["fields"]) == {"temperature", "max_tokens", "colour", "model"}


def test_both_message_and_messages(door: Door) -> None:
    assert_refused(door.ask("Hi", messages=[USER]), "message")


def test_neither_message_nor_messages(door: Door) -> None:
    assert_refused(door.send("POST", "/ai/chat/", {}), "message")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"1",
        b'"Hi"',
        b"Hi",
        b"message=Hi",
        b'{"message": "Hi"',
        b'{"message": "Hi"} x',
        b"{'message': 'Hi'}",
        b'{"message": Hi}',
        b"\xff\xfe\x00",
        b'{"message": "\xff"}',
        b"[" * 100_000,
        b'{"message": ' * 50_000,
        b'{"max_tokens": ' + b"9" * 5000 + b"}",
        b"<html></html>",
    ],
    ids=lambda body: repr(body[:20]),
)
@pytest.mark.parametrize("path", ["/ai/chat/", "/ai/conversations/"])
def test_a_body_that_is_no_json_object(door: Door, path: str, body: bytes) -> None:
    answer = door.send("POST", path, body)
    assert_refused(answer, "body")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "multipart/form-data",
        "application/json; charset=no-such",
        "",
        "nonsense",
    ],
)
@pytest.mark.parametrize("path", ["/ai/chat/", "/ai/conversations/"])
def test_other_content_types_are_never_500(csrf_door: Door, path: str, content_type: str) -> None:
    csrf_door.client.cookies["csrftoken"] = "y" * 32
    body = b'--b\r\nContent-Disposition: form-data; name="message"\r\n\r\nHi\r\n--b--'
    answer = csrf_door.send("POST", path, body, {"X-CSRFToken": "y" * 32}, content_type)
    assert_refused(answer, "body")


@pytest.mark.parametrize("surrogate", [r"\ud800", r"\udc00", r"\udfff\ud800"])
@pytest.mark.parametrize("field", ["message", "model", "conversation_id"])
def test_a_lone_surrogate(door: Door, field: str, surrogate: str) -> None:
    body = json.dumps({"message": "Hi"} | {field: "SURROGATE"}).replace("SURROGATE", f"a{surrogate}b")
    assert_refused(door.send("POST", "/ai/chat/", body.encode()), field)


def test_a_lone_surrogate_in_messages_and_in_names(door: Door) -> None:
    body = b'{"messages": [{"role": "user", "content": "\\ud83c"}]}'
    assert_refused(door.send("POST", "/ai/chat/", body), "messages.0.content")
    answer = door.send("POST", "/ai/chat/", b'{"message": "Hi", "\\ud83c": 1}')
    assert answer.status == 400
    assert answer.error["code"] == "invalid_request"


def test_a_pair_of_surrogates_is_a_letter(door: Door, fake: FakeOpenAI) -> None:
    answer = door.send("POST", "/ai/chat/", b'{"message": "\\ud83c\\udf88"}')
    assert answer.status == 200
    assert fake.calls[0].question == "🎈"


@pytest.mark.parametrize("stream", [False, True])
def test_a_message_that_is_too_long(door: Door, fake: FakeOpenAI, stream: bool) -> None:
    with override_settings(OPENAI_MAX_MESSAGE_CHARS=10):
        assert door.ask("a" * 10, stream=stream).status == 200
        AIUsage.objects.all().delete()
        AIConversation.objects.all().delete()
        answer = door.ask("a" * 11, stream=stream)
        assert_refused(answer, "message")
        assert "10" in answer.error["message"]
        answer = door.send("POST", "/ai/chat/", {"messages": [USER | {"content": "a" * 5}] * 2})
        assert_refused(answer, "message")
    assert len(fake.calls) == 1


@pytest.mark.parametrize("message", ["a" * 5_000_000, " " * 5_000_000, "🎈" * 1_250_000])
def test_a_body_of_five_megabytes(door: Door, fake: FakeOpenAI, message: str) -> None:
    body = json.dumps({"message": message}, ensure_ascii=False).encode()
    assert_refused(door.send("POST", "/ai/chat/", body), "message", 413)
    with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=None):
        assert_refused(door.send("POST", "/ai/chat/", body), "message")
    fake.assert_nothing_asked()


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/plain"]
)
def test_five_megabytes_of_something_else(csrf_door: Door, content_type: str) -> None:
    csrf_door.client.cookies["csrftoken"] = "y" * 32
    body = b'--b\r\nContent-Disposition: form-data; name="message"\r\n\r\n' + b"a" * 5_000_000 + b"\r\n--b--"
    answer = csrf_door.send("POST", "/ai/chat/", body, {"X-CSRFToken": "y" * 32}, content_type)
    assert answer.status in (400, 413)
    assert answer.error


@pytest.mark.parametrize("key", ["", "a" * 201, "clé", "tab\there", "\x7f", "a\x00b"])
def test_an_idempotency_key_that_is_none(door: Door, fake: FakeOpenAI, key: str) -> None:
    assert_refused(door.ask("Hi", key=key), "Idempotency-Key")
    fake.assert_nothing_asked()


def test_a_conversation_that_is_not_there(door: Door, fake: FakeOpenAI) -> None:
    for field in ("conversation_id", "configuration_id"):
        for stream in (False, True):
            answer = door.ask("Hi", stream=stream, **{field: ABSENT})
            assert answer.status == 404
            assert field in answer.error["message"]
    fake.assert_nothing_asked()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", 1),
        ("title", None),
        ("title", "x" * 201),
        ("title", "a\x00b"),
        ("title", ["x"]),
        ("configuration_id", "no-uuid"),
        ("configuration_id", 1),
        ("user", 1),
        ("user_id", 1),
        ("id", ABSENT),
        ("total_cost", "0"),
        ("data", 1),
    ],
)
def test_a_new_conversation_with_a_wrong_field(door: Door, field: str, value: Any) -> None:
    assert_refused(door.send("POST", "/ai/conversations/", {field: value}), field)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", 1),
        ("title", None),
        ("title", "x" * 201),
        ("title", "a\x00b"),
        ("is_active", None),
        ("is_active", "yes"),
        ("is_active", 1),
        ("user", 1),
        ("total_cost", "0"),
        ("data", 1),
    ],
)
def test_a_change_with_a_wrong_field(door: Door, user: Any, field: str, value: Any) -> None:
    conversation = AIConversation.objects.create(user=user, title="Before")
    answer = door.send("PATCH", f"/ai/conversations/{conversation.pk}/", {"title": "After"} | {field: value})
    assert answer.status == 400
    assert field in answer.error["fields"]
    conversation.refresh_from_db()
    assert conversation.title == "Before"


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"title": "\\ud800"}'])
def test_a_change_that_is_none(door: Door, user: Any, body: bytes) -> None:
    conversation = AIConversation.objects.create(user=user, title="Before")
    answer = door.send("PATCH", f"/ai/conversations/{conversation.pk}/", body)
    assert answer.status == 400
    assert answer.error["fields"]
    conversation.refresh_from_db()
    assert conversation.title == "Before"


@pytest.mark.parametrize(
    ("field", "query"),
    [
        ("page", "page=0"),
        ("page", "page=-1"),
        ("page", "page=x"),
        ("page", "page="),
        ("page", "page=1.5"),
        ("page", "page=99999999999999999999"),
        ("page", "page=%00"),
        ("page_size", "page_size=0"),
        ("page_size", "page_size=101"),
        ("page_size", "page_size=all"),
        ("page_size", "page=1&page_size=%F0%9F%8E%88"),
    ],
)
def test_a_page_that_is_none(door: Door, field: str, query: str) -> None:
    assert_refused(door.get(f"/ai/conversations/?{query}"), field)


def test_a_refused_question_leaves_its_conversation_as_it_was(door: Door, fake: FakeOpenAI) -> None:
    first = door.ask("Hi")
    before = AIConversation.objects.values().get()
    assert door.ask("", conversation_id=first.conversation_id).status == 400
    assert door.ask("Hi", conversation_id=first.conversation_id, temperature=5).status == 400
    assert AIConversation.objects.values().get() == before
    assert AIMessage.objects.count() == 2
    assert door.ask("Hi", conversation_id=first.conversation_id).status == 200
