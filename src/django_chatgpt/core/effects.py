"""What a turn asks the world to do. A driver performs each and sends the answer back.

Every effect may answer with an exception instead: an AIServiceError where the world failed, or Stopped
where somebody wants the turn to end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from django_chatgpt.core.messages import FunctionCall
from django_chatgpt.core.request import EmbeddingRequest, Endpoint, ModelRequest, ModerationRequest


class Stopped(Exception):
    """Somebody wants the turn to end now.

    `why`: "cancelled", a person or a lost listener; "interrupted", the process is going away; "lost",
    somebody else has already ended the turn; "timeout", it has taken longer than it may.
    """

    def __init__(self, why: Literal["cancelled", "interrupted", "lost", "timeout"]) -> None:
        self.why = why
        super().__init__(why)

    @property
    def outcome(self) -> str:
        """What becomes of an attempt that is stopped so, as the ledger calls it."""
        return "failed" if self.why == "timeout" else self.why


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Call the model. Answers None once the provider has accepted.

    Until then `renewal` is asked now and then whether a function is due that uses the database, to be run
    in one hop. What that raises ends the wait.
    """

    request: ModelRequest
    renewal: Callable[[], Callable[[], object] | None] = field(compare=False)


@dataclass(frozen=True, slots=True)
class ReadStream:
    """Wait for more of the open stream. Answers a Delta, or None at its proper end."""


@dataclass(frozen=True, slots=True)
class CloseStream:
    """Close the open stream or chunks, at whatever point it is. Answers None; never fails."""


@dataclass(frozen=True, slots=True)
class Complete:
    """Call the model outside any turn. Answers the SDK's ChatCompletion, whole.

    `body` is the request as OpenAI's Chat Completions takes it. `timeout` is in seconds and counts silence.
    """

    endpoint: Endpoint
    body: dict[str, Any]
    timeout: float


@dataclass(frozen=True, slots=True)
class OpenChunks:
    """Call the model outside any turn, streamed. Answers None once the provider has accepted.

    `limit` is how many seconds the chunks may take from then on; None: any number.
    """

    endpoint: Endpoint
    body: dict[str, Any]
    timeout: float
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class ReadChunk:
    """Wait for the next of the open chunks. Answers the SDK's ChatCompletionChunk, or None at the end."""


@dataclass(frozen=True, slots=True)
class Embed:
    """Embed texts, the requests side by side.

    Answers a list in their order, of Embeddings and, for a request that failed, its AIServiceError.
    """

    requests: Sequence[EmbeddingRequest]


@dataclass(frozen=True, slots=True)
class Moderate:
    """Have the provider judge texts. Answers a Verdict; `renewal` is as that of OpenStream."""

    request: ModerationRequest
    renewal: Callable[[], Callable[[], object] | None] = field(compare=False)


@dataclass(frozen=True, slots=True)
class CallFunctions:
    """Run functions of the site, side by side. Answers a list of FunctionResult in the order of the calls."""

    calls: Sequence[FunctionCall]


@dataclass(frozen=True, slots=True)
class Db:
    """Run a plain function that uses the database, in one hop. Answers what it returns."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Keep the text so far and renew the lease. Answers None.

    `keep` does it in one hop, and raises Stopped if the turn has to end. A driver with many turns may write
    them together instead, after it has answered, and then tell the turn at a later effect.
    """

    text: str
    keep: Callable[[], None] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for so many seconds. Answers None."""

    seconds: float


EFFECTS = (
    OpenStream,
    ReadStream,
    CloseStream,
    Complete,
    OpenChunks,
    ReadChunk,
    Embed,
    Moderate,
    CallFunctions,
    Db,
    Checkpoint,
    Wait,
)
Effect = (
    OpenStream
    | ReadStream
    | CloseStream
    | Complete
    | OpenChunks
    | ReadChunk
    | Embed
    | Moderate
    | CallFunctions
    | Db
    | Checkpoint
    | Wait
)
