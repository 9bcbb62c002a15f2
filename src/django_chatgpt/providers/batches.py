"""OpenAI's Batch API for embeddings: a file of requests, answered within a day at half price."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

import jiter
from openai.types import Batch as SdkBatch

from django_chatgpt.core.messages import storable
from django_chatgpt.core.reply import MAX_NAME
from django_chatgpt.core.request import Endpoint
from django_chatgpt.core.vectors import unit_rows
from django_chatgpt.exceptions import AIServiceError, ProviderProtocolError
from django_chatgpt.providers.clients import sync_client
from django_chatgpt.providers.embeddings import PATH, numbers
from django_chatgpt.providers.errors import from_response, in_band, translate
from django_chatgpt.providers.streams import encode

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

T = TypeVar("T")

URL: Final = f"/v1{PATH}"
OVER: Final = frozenset({"completed", "failed", "expired", "cancelled"})
#: Batches among which one is looked for, and how many of them come at a time.
LOOK_BACK: Final = 2_000
PER_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Batch:
    """How a batch stands. The files are "" until it is over, and where there would be nothing in them."""

    id: str
    status: str
    output_file: str = ""
    error_file: str = ""
    input_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one text: a vector of unit length, or the code of an error.

    `tokens` is what the provider counted, None where it says nothing.
    """

    custom_id: str
    vector: NDArray[float32] | None = field(default=None, repr=False)
    tokens: int | None = None
    model: str = ""
    error: str = ""


def request_line(custom_id: str, model: str, text: str, dimensions: int | None) -> bytes:
    """One line of a batch's file."""
    body: dict[str, Any] = {"model": model, "input": [text], "encoding_format": "base64"}
    if dimensions is not None:
        body["dimensions"] = dimensions
    return encode({"custom_id": custom_id, "method": "POST", "url": URL, "body": body}) + b"\n"


def upload(endpoint: Endpoint, file: IO[bytes], timeout: float) -> str:
    """Upload the lines; the file's id. Raises an AIServiceError, as all of these do."""
    client = sync_client(endpoint)
    named = ("embeddings.jsonl", file, "application/jsonl")
    return _asked(lambda: client.files.create(file=named, purpose="batch", timeout=timeout)).id


def create(endpoint: Endpoint, input_file: str, timeout: float) -> Batch:
    """Have an uploaded file worked through."""
    client = sync_client(endpoint)
    return _read(
        _asked(
            lambda: client.batches.create(
                input_file_id=input_file,
                endpoint="/v1/embeddings",
                completion_window="24h",
                timeout=timeout,
            )
        )
    )


def find(endpoint: Endpoint, input_file: str, timeout: float) -> Batch | None:
    """The batch of a file among the newest, if it was created."""
    client = sync_client(endpoint)

    def look() -> SdkBatch | None:
        # The account may be used by others, too: theirs may have come after it.
        newest = islice(client.batches.list(limit=PER_PAGE, timeout=timeout), LOOK_BACK)
        return next((batch for batch in newest if batch.input_file_id == input_file), None)

    found = _asked(look)
    return None if found is None else _read(found)


def retrieve(endpoint: Endpoint, batch_id: str, timeout: float) -> Batch:
    """How a batch stands now."""
    client = sync_client(endpoint)
    return _read(_asked(lambda: client.batches.retrieve(batch_id, timeout=timeout)))


def cancel(endpoint: Endpoint, batch_id: str, timeout: float) -> Batch:
    """Ask for a batch to be stopped; what was answered by then is kept and charged."""
    client = sync_client(endpoint)
    return _read(_asked(lambda: client.batches.cancel(batch_id, timeout=timeout)))


def read(endpoint: Endpoint, file_id: str, timeout: float) -> Generator[Line, None, None]:
    """The lines of an answer, in whatever order they come; never held in memory as a whole."""
    client = sync_client(endpoint)
    with contextlib.ExitStack() as opened:
        answer = _asked(
            lambda: opened.enter_context(
                client.files.with_streaming_response.content(file_id, timeout=timeout)
            )
        )
        lines = answer.iter_lines()
        while (text := _asked(lambda: next(lines, None))) is not None:
            if text.strip():
                yield _line(text)


def _asked(work: Callable[[], T]) -> T:
    """What the SDK answers; its errors as ours, without what the provider said."""
    outcome: T | AIServiceError
    try:
        outcome = work()
    except Exception as error:
        outcome = translate(error)
    if isinstance(outcome, AIServiceError):
        raise outcome
    return outcome


def _read(batch: SdkBatch) -> Batch:
    if not isinstance(batch.id, str) or len(batch.id) > MAX_NAME:
        raise ProviderProtocolError
    counted = batch.usage.input_tokens if batch.usage else None
    return Batch(batch.id, batch.status, batch.output_file_id or "", batch.error_file_id or "", counted)


def _line(text: str) -> Line:
    custom_id = ""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        line = jiter.from_json(text.encode())
        custom_id = str(line["custom_id"])
    if not custom_id:
        raise ProviderProtocolError
    if line.get("error"):
        given = line["error"]
        code = str(given.get("code", "")) if isinstance(given, Mapping) else ""
        expired = code in ("batch_expired", "batch_cancelled")
        return Line(custom_id, error=code if expired else in_band(given).code)
    try:
        answer = line["response"]
        status, body = int(answer["status_code"]), answer["body"]
        if status != 200:
            return Line(custom_id, error=from_response(status, {}, body.get("error", body)).code)
        [item] = body["data"]
        vector = unit_rows(numbers(item["embedding"])[None, :])[0]
        counted = (body.get("usage") or {}).get("prompt_tokens")
        model = body.get("model")
        return Line(
            custom_id,
            vector,
            counted if isinstance(counted, int) and counted >= 0 else None,
            storable(model, MAX_NAME) if isinstance(model, str) else "",
        )
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        return Line(custom_id, error=ProviderProtocolError.code)
