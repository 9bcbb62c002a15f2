"""Whatever a provider answers becomes one of our errors, and nothing of its text goes along."""

import asyncio
import email.utils
import json
import logging
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any

import httpx2
import openai
import pytest

from django_chatgpt import providers
from django_chatgpt.core.request import Dialect, ModelRequest
from django_chatgpt.exceptions import (
    AIServiceError,
    ContentFilterError,
    NotConfiguredError,
    ProviderError,
    ProviderProtocolError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    TokenLimitError,
)
from django_chatgpt.providers import redaction
from django_chatgpt.providers.answer import Answer as IncomingAnswer
from django_chatgpt.providers.chat import Parser
from django_chatgpt.providers.errors import in_band, retry_after, translate
from django_chatgpt.testing import Answer, Failure, FakeOpenAI
from tests.providers.conftest import KEY, Colour, listen, mocked, question

SAID = "secret words of the provider"


def body(**fields: Any) -> dict[str, Any]:
    return {"error": {"message": SAID, **fields}}


def refuse(status: int, payload: Any = None, **headers: str) -> AIServiceError:
    """What comes of an answer with this status."""
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    answered = {"x-request-id": "req_7", **{name.replace("_", "-"): value for name, value in headers.items()}}

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, content=content, headers=answered)

    with mocked(answer):
        error = listen(question("http://127.0.0.1/v1", model="gpt-x"), "sync").error
    assert error is not None
    assert SAID not in f"{error!r} {error}"
    return error


CASES: list[tuple[int, Any, type[AIServiceError], str, bool]] = [
    (400, body(), ProviderRejectedError, "provider_rejected", False),
    (400, body(code="context_length_exceeded", param="messages"), TokenLimitError, "token_limit", False),
    (
        400,
        {"error": {"code": 400, "message": "too big", "type": "exceed_context_size_error", "n_ctx": 512}},
        TokenLimitError,
        "token_limit",
        False,
    ),
    (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 4096 tokens.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        TokenLimitError,
        "token_limit",
        False,
    ),
    (400, body(code="content_filter"), ContentFilterError, "content_filter", False),
    (
        400,
        body(type="invalid_request_error", code="invalid_prompt"),
        ContentFilterError,
        "content_filter",
        False,
    ),
    (
        400,
        body(param="temperature", code="unsupported_value"),
        ProviderRejectedError,
        "provider_rejected",
        False,
    ),
    (400, body(param="model"), ProviderRejectedError, "provider_rejected", False),
    (401, body(code="invalid_api_key"), ProviderRejectedError, "provider_rejected", False),
    (403, body(), ProviderRejectedError, "provider_rejected", False),
    (403, body(code="model_not_found"), ProviderRejectedError, "provider_rejected", False),
    (404, body(code="model_not_found"), ProviderRejectedError, "provider_rejected", False),
    (404, b"not found", ProviderRejectedError, "provider_rejected", False),
    (408, body(), ProviderTimeoutError, "provider_timeout", True),
    (409, body(), ProviderUnavailableError, "provider_unavailable", True),
    (413, b"", TokenLimitError, "token_limit", False),
    (418, None, ProviderRejectedError, "provider_rejected", False),
    (422, {"detail": [{"loc": ["body"]}]}, ProviderRejectedError, "provider_rejected", False),
    (429, body(), ProviderRateLimitedError, "provider_rate_limited", True),
    (429, body(code="rate_limit_exceeded"), ProviderRateLimitedError, "provider_rate_limited", True),
    (429, body(code="insufficient_quota"), ProviderRateLimitedError, "provider_quota", False),
    (429, body(type="insufficient_quota"), ProviderRateLimitedError, "provider_quota", False),
    (500, body(), ProviderUnavailableError, "provider_unavailable", True),
    (500, b"<html>oops</html>", ProviderUnavailableError, "provider_unavailable", True),
    (502, b"\xff\xfe", ProviderUnavailableError, "provider_unavailable", True),
    (503, {"error": SAID}, ProviderUnavailableError, "provider_unavailable", True),
    (504, body(), ProviderTimeoutError, "provider_timeout", True),
    (529, body(type="overloaded_error"), ProviderUnavailableError, "provider_unavailable", True),
    (304, None, ProviderProtocolError, "provider_protocol", False),
]


@pytest.mark.parametrize(("status", "payload", "expected", "code", "retryable"), CASES)
def test_statuses(
    status: int, payload: Any, expected: type[AIServiceError], code: str, retryable: bool
) -> None:
    error = refuse(status, payload)
    assert type(error) is expected
    assert (error.code, error.retryable) == (code, retryable)
    if isinstance(error, ProviderError):
        assert (error.status, error.request_id) == (status, "req_7")


@pytest.mark.parametrize(
    ("status", "payload", "named"),
    [
        (404, body(code="model_not_found"), "'gpt-x'"),
        (404, None, "'gpt-x'"),
        (400, body(param="model"), "'gpt-x'"),
        (400, body(param="temperature"), "option temperature"),
        (400, body(param="messages[3].content"), "option messages"),
        (400, body(param="text.format.schema"), "option text"),
        (401, body(), "credentials"),
    ],
)
def test_the_message_names_what_is_wrong(status: int, payload: Any, named: str) -> None:
    assert named in str(refuse(status, payload))


def test_what_the_provider_calls_a_parameter_is_not_repeated() -> None:
    assert "evil" not in str(refuse(400, body(param="evil <b>")))


@pytest.mark.parametrize(
    ("status", "said", "retryable"),
    [(500, "false", False), (429, "False", False), (400, "true", True), (500, "perhaps", True)],
)
def test_the_provider_may_say_whether_to_retry(status: int, said: str, retryable: bool) -> None:
    assert refuse(status, body(), x_should_retry=said).retryable is retryable


def test_a_used_up_account_is_never_retried() -> None:
    error = refuse(429, body(code="insufficient_quota"), x_should_retry="true", retry_after="1")
    assert not error.retryable


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e400"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "Wed, 99 Foo 2026 99:99:99 GMT"}, None),
        ({"retry-after": "Mon, 01 Jan 99999 00:00:00 GMT"}, None),
        ({"retry-after": "999999999"}, 86400.0),
        ({"retry-after": "Sun, 22 Nov 2020 08:00:00 GMT"}, 0.0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_retry_after_a_date() -> None:
    assert (
        25 < (retry_after({"retry-after": email.utils.formatdate(time.time() + 30, usegmt=True)}) or 0) < 31
    )


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_of_a_real_answer(
    fake: FakeOpenAI, ask: ModelRequest, colour: Colour, status: int
) -> None:
    fake.script(Failure(status, retry_after=3))
    error = listen(ask, colour).error
    assert isinstance(error, ProviderUnavailableError)
    assert (error.retry_after, error.status, error.request_id) == (3.0, status, fake.calls[0].id)
    assert len(fake.calls) == 1


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (httpx2.ConnectError("x"), ProviderUnavailableError),
        (httpx2.ConnectTimeout("x"), ProviderTimeoutError),
        (httpx2.ReadTimeout("x"), ProviderTimeoutError),
        (httpx2.PoolTimeout("x"), ProviderTimeoutError),
        (httpx2.ReadError("x"), ProviderUnavailableError),
        (httpx2.RemoteProtocolError("x"), ProviderUnavailableError),
        (httpx2.ProxyError("x"), ProviderUnavailableError),
        (httpx2.UnsupportedProtocol("x"), ProviderUnavailableError),
        (httpx2.TooManyRedirects("x"), ProviderUnavailableError),
        (openai.APIError("x", httpx2.Request("POST", "http://x"), body=None), ProviderProtocolError),
        (openai.OpenAIError("x"), NotConfiguredError),
        # Some releases of the SDK take anything for a lost connection.
        (KeyError("x"), ProviderError),
    ],
)
def test_the_network(raised: Exception, expected: type[Exception]) -> None:
    def fail(request: httpx2.Request) -> httpx2.Response:
        raise raised

    with mocked(fail):
        for colour in ("sync", "async"):
            error = _ask_mocked(colour)
            assert type(error) is expected or (expected is ProviderError and isinstance(error, expected))
            assert error.__cause__ is None
            assert error.__context__ is None


def _ask_mocked(colour: str) -> AIServiceError:
    asked = question("http://127.0.0.1/v1")

    async def main() -> None:
        await providers.aopen_stream(asked)

    with pytest.raises(AIServiceError) as caught:
        providers.open_stream(asked) if colour == "sync" else asyncio.run(main())
    return caught.value


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (httpx2.ReadError("x"), ProviderProtocolError),
        (httpx2.RemoteProtocolError("x"), ProviderProtocolError),
        (httpx2.ReadTimeout("x"), ProviderTimeoutError),
        (httpx2.DecodingError("x"), ProviderProtocolError),
        (OSError("x"), ProviderProtocolError),
        (KeyError("x"), ProviderError),
    ],
)
def test_the_network_in_the_middle_of_an_answer(raised: Exception, expected: type[Exception]) -> None:
    assert type(translate(raised, reading=True)) is expected


def test_our_own_errors_stay_as_they_are() -> None:
    error = TokenLimitError()
    assert translate(error) is error


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        (None, ProviderUnavailableError),
        (SAID, ProviderUnavailableError),
        ({"code": "server_error", "message": SAID}, ProviderUnavailableError),
        ({"code": "rate_limit_exceeded"}, ProviderRateLimitedError),
        ({"code": "invalid_prompt"}, ContentFilterError),
        ({"code": "context_length_exceeded"}, TokenLimitError),
        ({"code": 401}, ProviderRejectedError),
        ({"code": 503}, ProviderUnavailableError),
        ({"type": "error", "code": "model_not_found"}, ProviderRejectedError),
        ({"code": "image_too_large"}, ProviderProtocolError),
    ],
)
def test_errors_inside_an_answer(details: object, expected: type[Exception]) -> None:
    error = in_band(details, model="gpt-x", request_id="req_1")
    assert type(error) is expected
    assert SAID not in str(error)


# secrets


def leaks(error: BaseException) -> str:
    """All that a log or a crash reporter could show of an error, with the variables of its frames."""
    seen = [repr(error), str(error), repr(vars(error)), "".join(traceback.format_exception(error))]
    chain: BaseException | None = error
    while chain is not None:
        step: TracebackType | None = chain.__traceback__
        while step is not None:
            if step.tb_frame.f_globals["__name__"].startswith("django_chatgpt."):
                seen += [repr(value) for value in step.tb_frame.f_locals.values()]
            step = step.tb_next
        chain = chain.__cause__ or chain.__context__
    return "\n".join(seen)


ECHO = f"You sent {KEY} and {SAID}"
STEPS: dict[str, Callable[[], Answer | Failure]] = {
    "500": lambda: Failure(500, message=ECHO),
    "500 as text": lambda: Failure(500, body=ECHO),
    "500 with headers": lambda: Failure(500, message=ECHO, headers={"x-echo": KEY}),
    "401": lambda: Failure(401, message=ECHO, code="invalid_api_key"),
    "400 in param": lambda: Failure(400, message=ECHO, param=KEY, code=KEY),
    "400 too long": lambda: Failure(400, message=ECHO, code="context_length_exceeded"),
    "200 with another type": lambda: Failure(200, body=ECHO, headers={"content-type": "text/html"}),
    "200 that is no stream": lambda: Failure(200, body=ECHO, headers={"content-type": "text/event-stream"}),
    "200 that is no JSON": lambda: Failure(200, body=ECHO, headers={"content-type": "application/json"}),
    "an error in JSON": lambda: Failure(
        200, body=json.dumps({"error": {"message": ECHO}}), headers={"content-type": "application/json"}
    ),
    "in the stream": lambda: Answer("Hello", error_after=1, error=Failure(500, message=ECHO)),
    "bad JSON": lambda: Failure(200, body=f"data: {ECHO}\n\n", headers={"content-type": "text/event-stream"}),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_provider_that_echoes_the_key_shows_it_to_nobody(
    fake: FakeOpenAI, ask: ModelRequest, colour: Colour, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    fake.script(STEPS[step]())
    with caplog.at_level(logging.DEBUG):
        error = listen(ask, colour).error
    assert error is not None
    shown = leaks(error)
    logged = "\n".join(
        f"{record.getMessage()} {vars(record)!r} {record.exc_text}" for record in caplog.records
    )
    for secret in (KEY, SAID):
        assert secret not in shown
        assert secret not in logged


@pytest.mark.parametrize(
    "late", [f'data: {{"error": {{"message": "{KEY}"}}}}\n\n', f"data: {KEY}\n\n"], ids=["error", "nonsense"]
)
def test_an_error_that_comes_by_itself_shows_no_key(late: str) -> None:
    answer = IncomingAnswer(Parser("m"), whole=False, request_id="")
    answer.take(b'data: {"choices": [{"delta": {"content": "Hello"}}]}\n\n')
    with pytest.raises(AIServiceError) as caught:
        answer.take(late.encode())
    assert KEY not in leaks(caught.value)


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_an_error_in_a_later_read_shows_no_key(colour: str) -> None:
    pieces = [
        b'data: {"choices": [{"delta": {"content": "Hello"}}]}\n\n',
        f'data: {{"error": {{"message": "{KEY}"}}}}\n\n'.encode(),
    ]

    class Slow(httpx2.SyncByteStream, httpx2.AsyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            for piece in pieces:
                yield piece
                time.sleep(0.1)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece
                await asyncio.sleep(0.1)

    async def listen_async() -> None:
        stream = await providers.aopen_stream(asked)
        try:
            while await stream.read(1) is not None:
                pass
        finally:
            await stream.aclose()

    def listen_sync() -> None:
        stream = providers.open_stream(asked)
        try:
            while stream.read(1) is not None:
                pass
        finally:
            stream.close()

    asked = question("http://127.0.0.1/v1")
    with (
        mocked(lambda request: httpx2.Response(200, stream=Slow())),
        pytest.raises(ProviderUnavailableError) as caught,
    ):
        listen_sync() if colour == "sync" else asyncio.run(listen_async())
    assert KEY not in leaks(caught.value)


def test_whole_completions_show_no_key_either(fake: FakeOpenAI, caplog: pytest.LogCaptureFixture) -> None:
    asked = question(fake.base_url)
    for step in ("500", "an error in JSON", "200 with another type"):
        fake.script(STEPS[step]())
        with caplog.at_level(logging.DEBUG), pytest.raises(AIServiceError) as caught:
            providers.create_completion(asked.endpoint, {"model": "m", "messages": list(asked.messages)})
        assert SAID not in leaks(caught.value)
        assert KEY not in leaks(caught.value)
    assert KEY not in caplog.text
    assert SAID not in caplog.text


def test_text_is_not_logged(
    fake: FakeOpenAI, ask: ModelRequest, colour: Colour, caplog: pytest.LogCaptureFixture
) -> None:
    fake.reply("an answer of the model")
    asked = replace(ask, messages=[{"role": "user", "content": "a question of somebody"}])
    with caplog.at_level(logging.DEBUG):
        assert listen(asked, colour).text == "an answer of the model"
    assert "somebody" not in caplog.text
    assert "an answer of the model" not in caplog.text


def test_keys_in_what_the_libraries_log_are_masked(caplog: pytest.LogCaptureFixture) -> None:
    redaction.hide("sk-hidden-1234")
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("httpcore2.http11").debug("headers %s", [("x-echo", "sk-hidden-1234")])
        logging.getLogger("httpcore2.http11").debug("nothing %s", "else")
    assert caplog.messages == [f"headers [('x-echo', '{redaction.HIDDEN}')]", "nothing else"]


def test_keys_in_tracebacks_and_bodies_are_masked_too(caplog: pytest.LogCaptureFixture) -> None:
    redaction.hide("sk-hidden-1234")
    logger = logging.getLogger("openai._base_client")
    with caplog.at_level(logging.DEBUG):
        for said in ("sk-hidden-1234", "harmless"):
            try:
                raise ValueError(said)
            except ValueError:
                logger.debug("Encountered Exception", exc_info=True)
        logger.debug("Request options: %s", {"method": "post", "content": b"somebody's question"})
        logger.debug("Request options: %s", {"method": "get"})
    assert "sk-hidden-1234" not in caplog.text
    assert "harmless" in caplog.text
    assert caplog.messages[-2:] == [
        f"Request options: {{'method': 'post', 'content': '{redaction.HIDDEN}'}}",
        "Request options: {'method': 'get'}",
    ]


def test_the_number_of_masked_keys_is_bounded() -> None:
    for number in range(redaction.MAX_KEYS + 10):
        redaction.hide(f"sk-many-{number}")
    assert len(redaction._filter.keys) == redaction.MAX_KEYS


@pytest.mark.parametrize("dialect", ["chat", "responses"])
def test_the_repr_of_what_travels_shows_no_key(dialect: Dialect) -> None:
    asked = question("http://127.0.0.1/v1", dialect)
    assert KEY not in repr(asked)
