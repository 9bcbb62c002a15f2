"""Texts on their way to the provider: counted, cut to what a model takes, packed into requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, Literal

from django_chatgpt.core.limits import context_window, family
from django_chatgpt.core.request import Endpoint
from django_chatgpt.exceptions import AIServiceError, TokenLimitError
from django_chatgpt.models import EmbeddingVector
from django_chatgpt.models.embedding import content_hash_of
from django_chatgpt.models.owner import owner_key_of
from django_chatgpt.services import tokens
from django_chatgpt.services.budgets import Purse

MAX_INPUTS: Final = 2048
MAX_TOKENS: Final = 8192
MAX_TOKENS_PER_REQUEST: Final = 300_000
NATIVE_DIMENSIONS: Final = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}

TooLong = Literal["error", "truncate", "chunk"]
Metadata = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """Texts to be embedded, how, and on whose account.

    `metadata` is None, one mapping for all texts or one for each. `window` is what the model takes of a
    single text, in tokens. `redact` makes of a text what the provider may read; it is stored as it was.
    `purse` is what its requests are paid from, where there are budgets.
    """

    texts: Sequence[str] = field(repr=False)
    user_id: Any
    endpoint: Endpoint
    model: str
    dimensions: int | None
    metadata: Metadata | Sequence[Metadata] | None
    too_long: TooLong
    window: int
    max_retries: int
    timeout: float
    vectors: bool = True
    redact: Callable[[str], str] | None = None
    purse: Purse | None = None

    @property
    def owner_key(self) -> str:
        return owner_key_of(self.user_id)

    @property
    def stored_dimensions(self) -> int | None:
        """How long the vectors will be; None where only an answer can tell."""
        return self.dimensions or NATIVE_DIMENSIONS.get(family(self.model))

    def metadata_of(self, position: int) -> Metadata | None:
        if self.metadata is None or isinstance(self.metadata, Mapping):
            return self.metadata
        return self.metadata[position]


@dataclass(frozen=True, slots=True)
class FailedText:
    """A text that has no vector: where it stood in what was asked, and why."""

    position: int
    error: AIServiceError

    @property
    def code(self) -> str:
        return self.error.code

    @property
    def message(self) -> str:
        return self.error.public_message


@dataclass(frozen=True, slots=True)
class EmbeddingBatch:
    """What became of texts: for each, in their order, its row or why there is none.

    The same text twice has the same row twice.
    """

    results: Sequence[EmbeddingVector | FailedText]

    @property
    def embeddings(self) -> list[EmbeddingVector]:
        return [each for each in self.results if isinstance(each, EmbeddingVector)]

    @property
    def failed(self) -> list[FailedText]:
        return [each for each in self.results if isinstance(each, FailedText)]

    def __len__(self) -> int:
        return len(self.results)


@dataclass(slots=True)
class Item:
    """A text that has to be sent, once, however often it was asked for.

    `pieces` is the text itself, or what it was cut into; `counts` are their tokens.
    """

    text: str = field(repr=False)
    content_hash: str
    pieces: list[str] = field(repr=False)
    counts: list[int]

    @property
    def tokens(self) -> int:
        return sum(self.counts)

    def key(self, job: Job) -> str:
        """What a claim on it is called."""
        named = (job.owner_key, job.model, str(job.dimensions or ""), self.content_hash)
        return sha256("\0".join(named).encode()).hexdigest()


@dataclass(slots=True)
class Part:
    """The texts of one request; `tried` counts the attempts that failed for no fault of theirs."""

    items: list[Item]
    tried: int = 0

    @property
    def texts(self) -> list[str]:
        return [piece for item in self.items for piece in item.pieces]

    @property
    def tokens(self) -> int:
        return sum(item.tokens for item in self.items)

    def halves(self) -> tuple[Part, Part]:
        middle = len(self.items) // 2
        return Part(self.items[:middle]), Part(self.items[middle:])


def window_of(model: str, overrides: Mapping[str, int]) -> int:
    """How many tokens a single text may have."""
    return min(context_window(model, overrides), MAX_TOKENS) if model not in overrides else overrides[model]


def shorten(text: str, job: Job) -> str:
    """The text as it is stored: itself, or where it is to be truncated as much of it as the model takes."""
    # A token is a byte at least, so most texts need not be counted to be known as short enough.
    if job.too_long != "truncate" or len(text.encode()) <= job.window:
        return text
    return tokens.cut_text(text, job.model, job.window)[0]


def measure(text: str, job: Job) -> Item:
    """Count a text and cut it where the job says so. Raises TokenLimitError for one that is too long."""
    sent = text if job.redact is None else job.redact(text)
    count = tokens.count_text(sent, job.model)
    if count > job.window and job.too_long == "truncate":
        # What was cut to fit before may have grown.
        sent = tokens.cut_text(sent, job.model, job.window)[0]
        count = job.window
    if count <= job.window:
        return Item(text, content_hash_of(text), [sent], [count])
    if job.too_long != "chunk":
        raise TokenLimitError(f"The text has {count} tokens; the model takes {job.window}.")
    if count > MAX_TOKENS_PER_REQUEST // 2:
        raise TokenLimitError(
            f"The text has {count} tokens; one that is cut may have {MAX_TOKENS_PER_REQUEST // 2}."
        )
    pieces, rest = [], sent
    while rest:
        piece, rest = tokens.cut_text(rest, job.model, job.window)
        pieces.append(piece)
    pieces = [piece for piece in pieces if piece.strip()]
    return Item(
        text, content_hash_of(text), pieces, [tokens.count_text(piece, job.model) for piece in pieces]
    )


def pack(items: Iterable[Item]) -> Iterator[Part]:
    """Requests as large as the provider takes them, in the order of the texts."""
    part, inputs, size = Part([]), 0, 0
    for item in items:
        too_many = inputs + len(item.pieces) > MAX_INPUTS
        if part.items and (too_many or size + item.tokens > MAX_TOKENS_PER_REQUEST):
            yield part
            part, inputs, size = Part([]), 0, 0
        part.items.append(item)
        inputs += len(item.pieces)
        size += item.tokens
    if part.items:
        yield part
