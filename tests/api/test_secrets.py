"""What a provider says about the key, and what people say to each other, is nowhere but where it belongs."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.core import serializers
from django.db import models
from django.test.utils import override_settings

from django_chatgpt.adapter import Adapter
from django_chatgpt.core.request import Endpoint
from django_chatgpt.models import AIConversation, AIMessage, AITurn, AIUsage
from django_chatgpt.testing import HTML, Answer, Failure, FakeOpenAI
from tests.api.conftest import Door

pytestmark = [pytest.mark.django_db, pytest.mark.sqlite_only, pytest.mark.usefixtures("own_dialect")]

KEY = "sk-proj-S3cr3tS3cr3tS3cr3tS3cr3t"
#: Enough of it to know it by, also where something was cut off.
PART = "S3cr3tS3cr3t"
SAYS_IT = f"Internal error while calling upstream with Authorization: Bearer {KEY}"
ERROR = json.dumps({"error": {"message": SAYS_IT, "type": KEY, "code": KEY, "param": KEY}})

STEPS: dict[str, Any] = {
    "500": Failure(500, body=ERROR),
    "500 text": Failure(500, body=SAYS_IT),
    "500 list": Failure(500, body=json.dumps([SAYS_IT])),
    "401": Failure(401, message=f"Incorrect API key provided: {KEY}."),
    "404": Failure(404, message=f"The model {KEY} does not exist", param=KEY),
    "400": Failure(400, message=SAYS_IT, code=KEY),
    "429": Failure(429, message=SAYS_IT, headers={"x-request-id": KEY, "x-note": KEY}, retry_after=0),
    "redirect": Failure(302, body=SAYS_IT, headers={"location": f"/elsewhere?key={KEY}"}),
    "page": HTML(f"<html>{SAYS_IT}</html>"),
    "error page": HTML(f"<html>{SAYS_IT}</html>", status=502),
    "in the stream": Answer("Hello there", error_after=1, error=Failure(500, message=SAYS_IT, code=KEY)),
    "bad JSON": Answer("Hello there", bad_json_after=1, headers={"x-note": KEY}),
    "cut": Answer("Hello there", cut_after=1, headers={"x-request-id": KEY}),
}


@pytest.fixture(autouse=True)
def loud(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Everything that anybody logs is heard, the libraries' last detail included."""
    names = [
        "openai",
        "openai._base_client",
        "httpx2",
        "httpcore2",
        "aiohttp",
        "asyncio",
        "django",
        "django_chatgpt",
    ]
    with caplog.at_level(logging.DEBUG):
        for name in names:
            caplog.set_level(logging.DEBUG, logger=name)
        yield


def everything_stored() -> str:
    tables: list[type[models.Model]] = [AIConversation, AITurn, AIMessage, AIUsage]
    return "".join(serializers.serialize("json", table._default_manager.all()) for table in tables)


def everything_logged(caplog: pytest.LogCaptureFixture) -> str:
    extra = [str(vars(record)) for record in caplog.records]
    return caplog.text + "".join(extra)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", STEPS)
def test_the_key_is_nowhere(
    door: Door, fake: FakeOpenAI, caplog: pytest.LogCaptureFixture, name: str, stream: bool
) -> None:
    fake.respond_with(lambda request: STEPS[name])
    with override_settings(OPENAI_API_KEY=KEY, OPENAI_MAX_RETRIES=1 if name == "429" else 0):
        answer = door.ask(stream=stream)
        seen = door.get(f"/ai/turns/{AITurn.objects.get().pk}/")
    assert answer.error["code"]
    assert fake.calls[0].carried(KEY)
    assert PART not in answer.body.decode()
    assert PART not in str(answer.headers)
    assert PART not in seen.body.decode()
    assert PART not in everything_stored()
    assert caplog.records
    assert PART not in everything_logged(caplog)


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY} ", f"{KEY}\x00", f"{KEY}é", f"\t{KEY}"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_key_that_can_not_be_sent_is_nowhere(
    door: Door, fake: FakeOpenAI, caplog: pytest.LogCaptureFixture, key: str, stream: bool
) -> None:
    with override_settings(OPENAI_API_KEY=key):
        answer = door.ask(stream=stream)
    assert PART not in answer.body.decode()
    assert PART not in everything_stored()
    assert PART not in everything_logged(caplog)


def test_what_is_said_is_not_logged(door: Door, fake: FakeOpenAI, caplog: pytest.LogCaptureFixture) -> None:
    fake.script("the-answer", Answer("the-answer", cut_after=1), Failure(500, message="the-answer"))
    for _ in range(3):
        door.ask("the-question", stream=True)
    door.ask("the-question", colour="the-question")
    assert len(fake.calls) == 3
    logged = everything_logged(caplog)
    assert "the-question" not in logged
    assert "the-answer" not in logged


def test_an_error_of_our_own_says_nothing(
    door: Door, fake: FakeOpenAI, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before the turn, and not in it."""

    said = f"the-{'question'} {KEY}"

    def fail(*arguments: Any, **fields: Any) -> None:
        raise RuntimeError(said)

    with monkeypatch.context() as patch:
        patch.setattr("django_chatgpt.services.chat.find_configuration", fail)
        answer = door.ask("Hi")
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert "find_configuration" in caplog.text
    with monkeypatch.context() as patch:
        patch.setattr("django_chatgpt.providers.chat.build_body", fail)
        patch.setattr("django_chatgpt.providers.responses.build_body", fail)
        whole, streamed = door.ask("Hi"), door.ask("Hi", stream=True)
    assert (whole.status, whole.error["code"]) == (500, "internal_error")
    assert streamed.error == {"code": whole.error["code"], "message": whole.error["message"]}
    assert set(AITurn.objects.values_list("status", flat=True)) == {"failed"}
    for text in (
        answer.body.decode(),
        whole.body.decode(),
        streamed.body.decode(),
        everything_logged(caplog),
    ):
        assert PART not in text
        assert "the-question" not in text
        assert "Traceback" not in text or text is not answer.body.decode()


class Proxied(Adapter):
    """Reaches the model by an address that has a secret of its own."""

    def endpoint(self, user: Any, tenant: str = "") -> Endpoint:
        plain = super().endpoint(user, tenant)
        assert plain.base_url is not None
        return replace(plain, base_url=plain.base_url.replace("://", f"://proxy:{PART}@"))


def test_what_is_secret_of_an_address_is_nowhere(
    door: Door, fake: FakeOpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    with override_settings(OPENAI_ADAPTER=f"{__name__}.Proxied", OPENAI_MAX_RETRIES=0):
        answer = door.ask()  # aiohttp takes no such address, which must not be told with it either
    assert PART.encode() not in answer.body
    assert AITurn.objects.get().options["base_url"] == fake.base_url
    assert PART not in everything_stored()
    assert PART not in everything_logged(caplog)
