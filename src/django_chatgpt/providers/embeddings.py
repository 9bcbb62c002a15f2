"""Texts become vectors: one call, in both colours, in base64 where the server knows it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import httpx2
import jiter
import openai

from django_chatgpt.core.messages import storable
from django_chatgpt.core.reply import MAX_NAME
from django_chatgpt.core.request import EmbeddingRequest, Embeddings
from django_chatgpt.core.vectors import unit_rows
from django_chatgpt.exceptions import AIServiceError, ProviderProtocolError
from django_chatgpt.providers.clients import async_client, sync_client
from django_chatgpt.providers.errors import in_band, translate
from django_chatgpt.providers.parsing import token_usage
from django_chatgpt.providers.streams import encode, request_options

if TYPE_CHECKING:
    # NumPy itself is loaded by the first answer: a site that only chats has no use for it.
    from numpy import float32
    from numpy.typing import NDArray

PATH: Final = "/embeddings"
AT_ONCE: Final = 32  # vectors that are read in a millisecond or two, for which an event loop need not wait


def create_embeddings(request: EmbeddingRequest) -> Embeddings:
    """Embed the texts of one request. Raises an AIServiceError for whatever goes wrong."""
    client = sync_client(request.endpoint)
    content, options = encode(_body(request)), _options(request)
    try:
        response = client.post(PATH, content=content, cast_to=httpx2.Response, options=options)
        outcome = _parse(request, response)
    except Exception as error:
        outcome = translate(error, model=request.model)
    if isinstance(outcome, AIServiceError):
        raise outcome
    return outcome


async def acreate_embeddings(request: EmbeddingRequest) -> Embeddings:
    """Like `create_embeddings`, in a coroutine."""
    client = async_client(request.endpoint)
    content, options = encode(_body(request)), _options(request)
    try:
        response = await client.post(PATH, content=content, cast_to=httpx2.Response, options=options)
        if len(request.texts) > AT_ONCE:
            outcome = await asyncio.to_thread(_parse, request, response)
        else:
            outcome = _parse(request, response)
    except Exception as error:
        outcome = translate(error, model=request.model)
    if isinstance(outcome, AIServiceError):
        raise outcome
    return outcome


def _body(request: EmbeddingRequest) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": request.model,
        "input": list(request.texts),
        "encoding_format": "base64",
    }
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return body


def _options(request: EmbeddingRequest) -> openai.RequestOptions:
    return request_options(request.timeout)


def _parse(request: EmbeddingRequest, response: httpx2.Response) -> Embeddings | AIServiceError:
    """What a 2xx answer says; an error, not raised, for what can't be understood or has other sizes."""
    request_id = storable(response.headers.get("x-request-id") or "", MAX_NAME)
    try:
        answer = jiter.from_json(response.content)
        if answer.get("error"):
            return in_band(answer["error"], model=request.model, request_id=request_id)
        vectors = _vectors(answer["data"], len(request.texts))
        usage, model = answer.get("usage"), answer.get("model")
        counted = token_usage(usage) if isinstance(usage, Mapping) else None
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        return ProviderProtocolError(request_id=request_id)
    if request.dimensions is not None and vectors.shape[1] != request.dimensions:
        return ProviderProtocolError(
            f"The model answers with {vectors.shape[1]} dimensions, not with {request.dimensions}.",
            request_id=request_id,
        )
    name = storable(model, MAX_NAME) if isinstance(model, str) else ""
    return Embeddings(vectors, counted, name, request_id)


def _vectors(data: list[dict[str, Any]], expected: int) -> NDArray[float32]:
    """The vectors in the order of their texts. ValueError: one is missing, twice there, or longer."""
    import numpy as np

    rows: dict[int, NDArray[float32]] = {}
    for place, item in enumerate(data):
        index = item.get("index", place)
        if isinstance(index, bool) or not isinstance(index, int) or index in rows:
            raise ValueError
        rows[index] = numbers(item["embedding"])
    if sorted(rows) != list(range(expected)):
        raise ValueError
    return unit_rows(np.stack([rows[index] for index in range(expected)]))


def numbers(embedding: object) -> NDArray[float32]:
    """The numbers of one vector; servers that don't know base64 send a list."""
    import numpy as np

    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
    if not isinstance(embedding, list):
        raise TypeError
    return np.asarray(embedding, dtype="<f4")
