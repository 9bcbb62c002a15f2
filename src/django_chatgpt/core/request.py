"""What is asked of a provider, and what comes back in pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from django_chatgpt.core.messages import Message, TokenUsage

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

Dialect = Literal["responses", "chat"]


def public_url(url: str) -> str:
    """An address without what is before an @, which is nobody's business, and without a query."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is reached, and as whom. Its repr never shows the key."""

    api_key: str = field(repr=False)
    base_url: str | None = None
    organization: str | None = None
    dialect: Dialect = "responses"


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One call of a model. A None is not sent.

    `tools` are flat function schemas: {"name", "description", "parameters", "strict"}.
    `response_schema` is {"name", "schema", "strict"}. `timeout` is in seconds and counts silence.
    """

    endpoint: Endpoint
    model: str
    messages: Sequence[Message]
    tools: Sequence[dict[str, Any]] = ()
    tool_choice: str | dict[str, Any] | None = None
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    max_output_tokens: int | None = None
    response_schema: dict[str, Any] | None = None
    safety_identifier: str | None = None
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class ModerationRequest:
    """Texts that the provider shall judge. `timeout` is in seconds and counts silence."""

    endpoint: Endpoint
    model: str
    texts: tuple[str, ...]
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the provider says of texts taken together; `categories` are those it objects to."""

    flagged: bool
    categories: tuple[str, ...] = ()
    model: str = ""
    request_id: str = ""


@dataclass(slots=True)
class CallFragment:
    """A piece of a function call; pieces of one call share an index."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class Delta:
    """Everything one read from the provider brought; empty when nothing came in time."""

    text: str = ""
    calls: list[CallFragment] = field(default_factory=list)
    usage: TokenUsage | None = None
    finish_reason: str | None = None
    items: list[dict[str, Any]] = field(default_factory=list)
    model: str = ""
    service_tier: str = ""
    request_id: str = ""

    @property
    def shows(self) -> bool:
        """Whether somebody who watches sees something of it."""
        return bool(self.text or self.calls)


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts to be embedded in one call; `dimensions` is sent only if it is not None.

    `timeout` is in seconds and counts silence.
    """

    endpoint: Endpoint
    model: str
    texts: Sequence[str] = field(repr=False)
    dimensions: int | None = None
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of a request's texts, in their order: float32 of unit length, (texts, dimensions).

    `usage` is None where the provider has not counted.
    """

    vectors: NDArray[float32] = field(repr=False)
    usage: TokenUsage | None = None
    model: str = ""
    request_id: str = ""
