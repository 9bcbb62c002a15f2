"""Where answers are to be found: passages for a question, and a function for the model to look itself."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Annotated, Any, Final

from pydantic import Field

from django_chatgpt.core.effects import Effect
from django_chatgpt.database import ahop
from django_chatgpt.exceptions import InvalidRequestError
from django_chatgpt.functions import Caller, ai_function
from django_chatgpt.functions.definition import Permission
from django_chatgpt.indexes import Index, index_registry
from django_chatgpt.services import embeddings, patterns
from django_chatgpt.services.indexes import IndexService, Passage

#: Passages for one question, of all its indexes together.
MOST: Final = 5

Indexes = Sequence[Index | str]


def find(user: Any, text: str, indexes: Indexes) -> list[Passage]:
    """The passages nearest to a question among all that the user may find. Raises any AIServiceError."""
    return _best([embeddings.run(steps) for steps in _searches(user, text, indexes)])


async def afind(user: Any, text: str, indexes: Indexes) -> list[Passage]:
    """Like `find`, in a coroutine."""
    searches = await ahop(partial(_searches, user, text, indexes))
    return _best([await embeddings.arun(steps) for steps in searches])


def _searches(user: Any, text: str, indexes: Indexes) -> list[Generator[Effect, Any, list[Passage]]]:
    """The searches of a question; none for what is no question, or is refused before anybody reads it."""
    if isinstance(indexes, str):
        raise InvalidRequestError(fields={"sources": "must be a list of indexes."})
    if not text.strip() or patterns.find_forbidden([text]) is not None:
        return []
    chosen = [index_registry.get(each) for each in indexes]
    service = IndexService(user)
    return [
        service.prepare(text, each, top_k=MOST, per_object=None, admitted=True, truncate=True)
        for each in chosen
    ]


def _best(found: Sequence[list[Passage]]) -> list[Passage]:
    # Of equal similarity in the order of the indexes: the sort is stable.
    return sorted((each for some in found for each in some), key=lambda each: -each.similarity)[:MOST]


def search_function(
    index: Index | str,
    *,
    name: str | None = None,
    description: str | None = None,
    top_k: int = MOST,
    permission: Permission = None,
    timeout: float | None = None,
) -> Callable[..., dict[str, Any]]:
    """Let the model search an index on behalf of whoever asks it; to be called in `ai_functions.py`.

    The function is called `search_` and the name of the index if no `name` is given. Its passages carry
    a `citation`: index, key of the object and number of the piece.
    """
    index_name = index.name if isinstance(index, Index) else index

    def search(query: Annotated[str, Field(min_length=1, max_length=400)], caller: Caller) -> dict[str, Any]:
        """Search the site's texts by meaning. Cite the passages that you use by their citation.

        Args:
            query: What is looked for, as a question or in a few words.
        """
        service = IndexService(caller.user)
        steps = service.prepare(query, index_name, top_k=top_k, per_object=None, admitted=True)
        return {
            "passages": [
                {
                    "citation": f"{each.index}/{each.key}#{each.number}",
                    "title": str(each.object),
                    "text": each.text,
                    "similarity": round(each.similarity, 3),
                }
                for each in embeddings.run(steps, release=True)
            ]
        }

    registered: Callable[..., dict[str, Any]] = ai_function(
        name=name or f"search_{index_name}".replace("-", "_"),
        description=description,
        permission=permission,
        timeout=timeout,
    )(search)
    return registered
