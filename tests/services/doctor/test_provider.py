"""What one small request tells of the provider."""

from __future__ import annotations

import logging
from collections.abc import Callable
from email.utils import formatdate

import httpx2
import pytest
from django.test import override_settings

from django_chatgpt.providers.clients import http_clients
from django_chatgpt.services import doctor
from django_chatgpt.services.doctor import Finding, Level, Site
from django_chatgpt.testing import FakeOpenAI

pytestmark = pytest.mark.django_db

KEY = "sk-test-0000000000000000"
LISTED = {"data": [{"id": "gpt-6-luna"}, {"id": 3}, None]}


def look(subject: str, answer: Callable[[httpx2.Request], httpx2.Response]) -> list[Finding]:
    [diagnosis] = [each for each in doctor.DIAGNOSES if each.id == subject]
    with http_clients(sync=httpx2.Client(transport=httpx2.MockTransport(answer))):
        return list(diagnosis.look(Site("wsgi")))


def test_a_provider_that_is_there(fake_openai: FakeOpenAI) -> None:
    found = [each for each in doctor.diagnose(Site("wsgi")) if each.id in ("provider", "clock")]
    assert [each.level for each in found] == [Level.OK, Level.INFO], found
    assert [request.endpoint for request in fake_openai.requests] == ["models"]


def test_offline_nobody_is_asked(fake_openai: FakeOpenAI) -> None:
    found = {each.id for each in doctor.diagnose(Site("wsgi", offline=True))}
    fake_openai.assert_nothing_asked()
    assert found == {each.id for each in doctor.DIAGNOSES if not each.online}


@pytest.mark.parametrize(
    ("answer", "level", "said"),
    [
        (httpx2.Response(200, json=LISTED), None, ""),
        (httpx2.Response(200, json={"data": []}), Level.WARNING, "does not list gpt-6-luna"),
        (httpx2.Response(200, text="<html>sign in</html>"), Level.WARNING, "no list of models"),
        (httpx2.Response(404, json={}), None, ""),
        (httpx2.Response(401, json={"error": {"message": f"bad key {KEY}"}}), Level.ERROR, "refuses the key"),
        (httpx2.Response(429), Level.WARNING, "429"),
        (httpx2.Response(503), Level.ERROR, "503"),
    ],
    ids=["fine", "other models", "a page", "no list", "key", "too much", "down"],
)
def test_what_it_answers(answer: httpx2.Response, level: Level | None, said: str) -> None:
    found = look("provider", lambda request: answer)
    assert [each.level for each in found] == ([] if level is None else [level])
    assert not found or said in found[0].what
    assert KEY not in str(found)


def test_nobody_answers_and_it_is_asked_once() -> None:
    asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        raise httpx2.ConnectError(f"no route for {KEY}")

    site = Site("wsgi")
    with http_clients(sync=httpx2.Client(transport=httpx2.MockTransport(answer))):
        found = [each for each in doctor.diagnose(site) if each.id in ("provider", "clock")]
    assert [each.level for each in found] == [Level.ERROR, Level.INFO]
    assert "can't be reached" in found[0].what
    assert KEY not in str(found)
    assert len(asked) == 1


def test_without_a_key_it_is_not_asked() -> None:
    with override_settings(OPENAI_API_KEY=None):
        [found] = look("provider", lambda request: httpx2.Response(200))
    assert found.level is Level.ERROR


@pytest.mark.parametrize(
    ("date", "level", "said"),
    [
        ("now", None, ""),
        ("Sun, 01 Jan 2040 00:00:00 GMT", Level.ERROR, "behind"),
        ("Sun, 01 Jan 2012 00:00:00 GMT", Level.ERROR, "ahead"),
        ("yesterday", Level.INFO, "not said"),
        (None, Level.INFO, "not said"),
    ],
)
def test_a_clock_that_is_wrong(date: str | None, level: Level | None, said: str) -> None:
    now = formatdate(usegmt=True)
    headers = {} if date is None else {"date": date.replace("now", now)}
    found = look("clock", lambda request: httpx2.Response(200, json=LISTED, headers=headers))
    assert [each.level for each in found] == ([] if level is None else [level])
    assert not found or said in found[0].what


def test_no_key_is_logged(fake_openai: FakeOpenAI, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        found = list(doctor.diagnose(Site("wsgi")))
    assert fake_openai.api_key not in caplog.text + str(found)
