"""Everything that can go wrong on the way, as the official SDK sees it."""

import json
import time
from collections.abc import Callable

import httpx2
import openai
import pytest

from django_chatgpt.testing import HTML, Answer, Call, Drop, Failure, FakeOpenAI, Gate
from tests.testing.conftest import HELLO, MODEL, Sdk

both = pytest.mark.parametrize("dialect", ["chat", "responses"])
TEN = [f"{number} " for number in range(10)]


@both
async def test_a_cut_stream_keeps_what_came_before(fake: FakeOpenAI, sdk: Sdk, dialect: str) -> None:
    fake.reply(chunks=TEN, cut_after=5)
    heard = await sdk.hear(dialect)
    assert heard.text == "0 1 2 3 4 "
    assert isinstance(heard.error, openai.APIConnectionError)
    request = fake.wait_for(finished=True)[0]
    assert request.pieces_sent == 5
    assert not request.disconnected
    assert request.billed is not None
    assert request.billed.completion == 3
    assert fake.open_connections == 0


@both
@pytest.mark.parametrize("after", [0, 99])
async def test_a_cut_before_the_first_piece_and_after_the_last(
    fake: FakeOpenAI, sdk: Sdk, dialect: str, after: int
) -> None:
    fake.reply(chunks=TEN, cut_after=after)
    heard = await sdk.hear(dialect)
    assert heard.text == ("".join(TEN) if after else "")
    assert isinstance(heard.error, openai.APIConnectionError)
    assert heard.events


@both
async def test_a_cut_between_the_fragments_of_a_call(fake: FakeOpenAI, sdk: Sdk, dialect: str) -> None:
    fake.script(Answer("Hm", calls=[Call("a", {"city": "Paris"}, fragments=4)], cut_after=3))
    heard = await sdk.hear(dialect)
    assert isinstance(heard.error, openai.APIConnectionError)
    assert fake.requests[0].sent[:2] == ["Hm", '{"ci']


@both
async def test_a_clean_early_end(fake: FakeOpenAI, sdk: Sdk, dialect: str) -> None:
    fake.reply(chunks=TEN, end_early_after=5)
    heard = await sdk.hear(dialect)
    assert heard.error is None
    assert heard.text == "0 1 2 3 4 "
    if dialect == "chat":
        assert all(event.choices[0].finish_reason is None for event in heard.events)
    else:
        assert heard.events[-1].type == "response.output_text.delta"


@both
async def test_bad_json_in_a_stream(fake: FakeOpenAI, sdk: Sdk, dialect: str) -> None:
    fake.reply(chunks=TEN, bad_json_after=2)
    heard = await sdk.hear(dialect)
    assert heard.text == "0 1 "
    assert isinstance(heard.error, json.JSONDecodeError)


async def test_an_error_inside_a_chat_stream(fake: FakeOpenAI, sdk: Sdk) -> None:
    fake.reply(chunks=TEN, error_after=2, error=Failure(503))
    heard = await sdk.hear("chat")
    assert heard.text == "0 1 "
    assert isinstance(heard.error, openai.APIError)
    assert "overloaded" in heard.error.message


@both
@pytest.mark.parametrize("stream", [False, True])
async def test_a_page_of_html_with_status_200(fake: FakeOpenAI, sdk: Sdk, dialect: str, stream: bool) -> None:
    fake.script(HTML())
    if stream:
        heard = await sdk.hear(dialect)
        assert heard.events == []
    else:
        assert "<html>" in await sdk.ask(dialect)


@both
async def test_a_page_of_html_with_an_error_status(fake: FakeOpenAI, sdk: Sdk, dialect: str) -> None:
    fake.script(HTML("<h1>Bad gateway</h1>", status=502))
    with pytest.raises(openai.InternalServerError) as caught:
        await sdk.ask(dialect)
    assert caught.value.status_code == 502


@both
async def test_a_whole_answer_that_breaks(fake: FakeOpenAI, sdk: Sdk, dialect: str) -> None:
    fake.script(
        Answer("Hello there", cut_after=1),
        Answer("Hello there", bad_json_after=1),
        Answer("Hello there", end_early_after=1),
    )
    with pytest.raises(openai.APIConnectionError):
        await sdk.ask(dialect)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            await sdk.ask(dialect)


async def test_an_error_instead_of_a_whole_chat_answer(fake: FakeOpenAI, sdk: Sdk) -> None:
    fake.reply("Hello", error_after=1, error=Failure(503))
    with pytest.raises(openai.InternalServerError):
        await sdk.chat()


@pytest.mark.parametrize(
    ("failure", "kind", "code"),
    [
        (Failure(400), openai.BadRequestError, None),
        (Failure(401), openai.AuthenticationError, "invalid_api_key"),
        (Failure(403), openai.PermissionDeniedError, None),
        (Failure(404), openai.NotFoundError, "model_not_found"),
        (Failure(409), openai.ConflictError, None),
        (Failure(422, message="No."), openai.UnprocessableEntityError, None),
        (Failure(429), openai.RateLimitError, "rate_limit_exceeded"),
        (
            Failure(429, code="insufficient_quota", type="insufficient_quota"),
            openai.RateLimitError,
            "insufficient_quota",
        ),
        (Failure(), openai.InternalServerError, None),
        (Failure(503, message="Busy", code="busy"), openai.InternalServerError, "busy"),
        (Failure(599), openai.InternalServerError, None),
    ],
)
async def test_failures(
    fake: FakeOpenAI, sync_sdk: Sdk, failure: Failure, kind: type[openai.APIStatusError], code: str | None
) -> None:
    fake.script(failure)
    with pytest.raises(kind) as caught:
        await sync_sdk.chat()
    assert caught.value.status_code == failure.status
    assert caught.value.code == code
    assert caught.value.request_id == fake.requests[0].id
    assert caught.value.body["message"]
    assert fake.tokens_billed.total == 0


async def test_a_failure_with_a_body_of_its_own(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    fake.script(Failure(500, body='{"oops": "sk-secret"}', headers={"X-Where": "edge"}))
    with pytest.raises(openai.InternalServerError) as caught:
        await sync_sdk.chat()
    assert caught.value.response.json() == {"oops": "sk-secret"}
    assert caught.value.response.headers["x-where"] == "edge"


async def test_retry_after_is_obeyed_by_the_sdk(fake: FakeOpenAI) -> None:
    sdk = Sdk("async", fake, max_retries=1)
    fake.script(Failure(429, retry_after=0.3), "Hello")
    begun = time.monotonic()
    assert (await sdk.chat()).choices[0].message.content == "Hello"
    assert 0.25 < time.monotonic() - begun < 3
    assert [request.status for request in fake.requests] == [429, 200]
    await sdk.close()


async def test_retry_after_in_its_forms(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    fake.script(Failure(429, retry_after=20), Failure(429, retry_after=date), Failure(429))
    seen = []
    for _ in range(3):
        with pytest.raises(openai.RateLimitError) as caught:
            await sync_sdk.chat()
        headers = caught.value.response.headers
        seen.append((headers.get("retry-after"), headers.get("retry-after-ms")))
    assert seen == [("20", "20000"), (date, None), (None, None)]


@both
async def test_a_dropped_connection(fake: FakeOpenAI, sdk: Sdk, dialect: str) -> None:
    fake.script(Drop(), "Hello")
    with pytest.raises(openai.APIConnectionError):
        await sdk.ask(dialect)
    assert fake.wait_for(finished=True)[0].status is None
    await sdk.ask(dialect)


@both
async def test_a_stall_is_a_timeout(fake: FakeOpenAI, dialect: str) -> None:
    sdk = Sdk("async", fake, timeout=httpx2.Timeout(5, read=0.2))
    fake.reply(chunks=TEN, stall_after=3)
    heard = await sdk.hear(dialect)
    assert heard.text == "0 1 2 "
    assert isinstance(heard.error, openai.APITimeoutError)
    assert (await fake.await_for(disconnected=True))[0].pieces_sent == 3
    await sdk.close()


@pytest.mark.parametrize(
    "step",
    [Answer("Hello", wait=30), Failure(wait=30), HTML(wait=30), Drop(wait=30)],
    ids=lambda step: type(step).__name__,
)
async def test_nothing_for_a_long_time_is_a_timeout(
    fake: FakeOpenAI, step: Answer | Failure | HTML | Drop
) -> None:
    sdk = Sdk("async", fake, timeout=0.2)
    fake.script(step)
    with pytest.raises(openai.APITimeoutError):
        await sdk.chat()
    assert (await fake.await_for(disconnected=True))[0].status is None
    await sdk.close()


@both
@pytest.mark.parametrize("after", [0, 3, 99])
async def test_a_stall_that_ends(fake: FakeOpenAI, sync_sdk: Sdk, dialect: str, after: int) -> None:
    fake.reply(chunks=TEN, stall_after=after, stall=0.3)
    begun = time.monotonic()
    assert (await sync_sdk.hear(dialect)).text == "".join(TEN)
    assert time.monotonic() - begun >= 0.3


async def test_a_stall_without_any_piece(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    fake.reply(stall_after=0, stall=0.3)
    begun = time.monotonic()
    assert (await sync_sdk.hear("chat")).text == ""
    assert time.monotonic() - begun >= 0.3


async def test_a_gate_holds_until_it_is_opened(fake: FakeOpenAI, async_sdk: Sdk) -> None:
    gate = Gate()
    fake.script(*[Answer(chunks=TEN, stall_after=3, stall=gate)] * 2)
    stream = await async_sdk.chat(stream=True)
    heard = ""
    async for chunk in stream:
        heard += chunk.choices[0].delta.content or ""
        if heard == "0 1 2 ":
            assert gate.reached.wait(5)
            assert fake.requests[0].finished is None
            gate.open()
    assert heard == "".join(TEN)
    assert (await async_sdk.hear("chat")).text == heard


@both
async def test_a_slow_stream_and_a_slow_whole_answer(fake: FakeOpenAI, sdk: Sdk, dialect: str) -> None:
    fake.script(*[Answer(chunks=["a", "b", "c"], delay=0.1)] * 2)
    for ask in (sdk.hear, sdk.ask):
        begun = time.monotonic()
        await ask(dialect)
        assert time.monotonic() - begun >= 0.3


@both
@pytest.mark.parametrize("packet", [1, 7, 100_000])
async def test_events_split_between_packets(
    fake: FakeOpenAI, sync_sdk: Sdk, dialect: str, packet: int
) -> None:
    text = "Grüße, 世界 👩‍👩‍👧! \u2028 fin"
    fake.reply(text, packet=packet, comments=True)
    heard = await sync_sdk.hear(dialect)
    assert heard.error is None
    assert heard.text == text


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Answer("a", cut_after=1, end_early_after=1), "at most one"),
        (lambda: Answer("a", cut_after=-1), "cut_after must be 0 or more"),
        (lambda: Answer("abc", chunks=4), "chunks must be between 1 and the 3"),
        (lambda: Answer("abc", chunks=["a", "b"]), "chunks must join to the text"),
        (lambda: Answer("abc", packet=0), "packet must be 1 or more"),
        (lambda: Call("a", {}, fragments=3), "chunks must be between"),
        (lambda: Call("a", {}, fragments=["{", "]"]), "fragments must join"),
    ],
)
def test_steps_that_make_no_sense(make: Callable[[], object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        make()


def test_end_mark_and_end_of_body_arrive_together(fake: FakeOpenAI) -> None:
    with httpx2.stream(
        "POST",
        f"{fake.base_url}/chat/completions",
        headers={"authorization": "Bearer sk-someone"},
        json={"model": MODEL, "messages": HELLO, "stream": True},
    ) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert b"".join(response.iter_raw()).endswith(b"data: [DONE]\n\n")
