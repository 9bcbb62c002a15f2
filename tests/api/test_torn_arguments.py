"""Names and arguments that JSON can bring and no database or JSON writer takes: 400, and the field named."""

from __future__ import annotations

import pytest

from django_chatgpt.exceptions import InvalidRequestError
from django_chatgpt.services.functions import as_text
from tests.api.conftest import ABSENT, Door

pytestmark = pytest.mark.django_db

APPROVE = f"/ai/turns/{ABSENT}/approve/"
EXECUTE = "/ai/functions/execute/"
DEEP = b"[" * 500 + b"]" * 500


@pytest.mark.parametrize(
    ("path", "field", "body"),
    [
        (APPROVE, "call_id", b'{"approve": true, "call_id": "a\\u0000b"}'),
        (APPROVE, "call_id", b'{"approve": true, "call_id": "a\\ud800b"}'),
        (APPROVE, "arguments", b'{"approve": true, "arguments": {"a": ["\\ud800"]}}'),
        (APPROVE, "arguments", b'{"approve": true, "arguments": {"\\udfff": 1}}'),
        (APPROVE, "arguments", b'{"approve": true, "arguments": {"a": %s}}' % DEEP),
        (EXECUTE, "function_name", b'{"function_name": "a\\u0000b"}'),
        (EXECUTE, "function_name", b'{"function_name": "a\\ud800b"}'),
        (EXECUTE, "arguments", b'{"function_name": "f", "arguments": {"a": "\\ud800"}}'),
        (EXECUTE, "arguments", b'{"function_name": "f", "arguments": {"\\udfff": 1}}'),
    ],
)
def test_they_are_refused(door: Door, path: str, field: str, body: bytes) -> None:
    answer = door.send("POST", path, body)
    assert answer.status == 400, answer.body
    assert list(answer.error["fields"]) == [field]


def test_the_service_names_them_too() -> None:
    assert as_text({"a": "\x00"}) == '{"a":"\\u0000"}'
    with pytest.raises(InvalidRequestError) as caught:
        as_text({"a": "\ud800"})
    assert list(caught.value.fields) == ["arguments"]
