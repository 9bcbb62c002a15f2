"""embeddings/: the user's own texts become vectors, and are found by meaning."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any, TypeVar

from django.http import HttpRequest, HttpResponse
from ninja import Router
from pydantic import BaseModel
from pydantic_core import to_json

from django_chatgpt.api.auth import DeferredSessionLogin, authorise
from django_chatgpt.api.body import parse_body
from django_chatgpt.api.openapi import EMBEDDINGS, SEARCH
from django_chatgpt.api.running import is_async, run_inline
from django_chatgpt.api.schemas import (
    EmbeddingOut,
    EmbeddingsIn,
    EmbeddingsOut,
    FailedTextOut,
    FoundOut,
    SearchIn,
    SearchOut,
)
from django_chatgpt.core.effects import Effect
from django_chatgpt.database import ahop, arelease, hop
from django_chatgpt.services import EmbeddingBatch, EmbeddingService, SearchResult
from django_chatgpt.services.embeddings import arun, run

router = Router(tags=["embeddings"])

T = TypeVar("T")
Steps = Generator[Effect, Any, T]


@router.post("embeddings/", auth=DeferredSessionLogin(), url_name="embeddings", openapi_extra=EMBEDDINGS)
async def create_embeddings(request: HttpRequest) -> HttpResponse:
    """Embed texts and store them as your own; a text that is stored already is not sent again.

    A text that can't be embedded is named in `errors`, and the others are stored. Where none could be, the
    answer is the error of the first.
    """

    def begin() -> Steps[EmbeddingBatch]:
        user = authorise(request)
        data = parse_body(EmbeddingsIn, request)
        return EmbeddingService(user).prepare_batch(data.texts, model=data.model, vectors=False)

    return _json(_stored(await _done(request, begin)))


@router.post(
    "embeddings/search/", auth=DeferredSessionLogin(), url_name="search_embeddings", openapi_extra=SEARCH
)
async def search_embeddings(request: HttpRequest) -> HttpResponse:
    """Find the texts of your own whose meaning is nearest to a query."""
    query = ""

    def begin() -> Steps[list[SearchResult]]:
        nonlocal query
        user = authorise(request)
        data = parse_body(SearchIn, request)
        query = data.query
        return EmbeddingService(user).prepare_search(
            data.query, data.top_k, threshold=data.threshold, model=data.model
        )

    results = await _done(request, begin)
    found = [FoundOut.model_validate(result) for result in results]
    return _json(SearchOut(query=query, results=found, count=len(found)))


async def _done(request: HttpRequest, begin: Callable[[], Steps[T]]) -> T:
    """Run what `begin` prepares, in the way of the server; no connection is held while the provider works."""
    if is_async(request):
        await arelease()
        return await arun(await ahop(begin))
    return await run_inline(partial(_under_wsgi, begin))


def _under_wsgi(begin: Callable[[], Steps[T]]) -> T:
    return run(hop(begin), release=True)


def _stored(batch: EmbeddingBatch) -> EmbeddingsOut:
    rows, failed = batch.embeddings, batch.failed
    if not rows:
        raise failed[0].error
    return EmbeddingsOut(
        embeddings=[
            EmbeddingOut(
                id=row.pk,
                text=row.content,
                model=row.model,
                dimensions=row.dimensions,
                created_at=row.created_at,
            )
            for row in rows
        ],
        count=len(rows),
        failed=len(failed),
        errors=[FailedTextOut.model_validate(each) for each in failed],
    )


def _json(body: BaseModel) -> HttpResponse:
    return HttpResponse(to_json(body), content_type="application/json")
