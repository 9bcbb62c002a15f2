"""Objects become passages and passages vectors; what has not changed is neither cut nor sent again.

`Page.of` looks at some objects and knows what is to be done, `Page.carry_out` does it. Stopped anywhere and
begun again, only what is lacking is done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from django_chatgpt.conf import conf
from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.indexes import Index
from django_chatgpt.models.embedding import content_hash_of
from django_chatgpt.services import access, embeddings, passages, prices, tokens
from django_chatgpt.services.batches import FailedText
from django_chatgpt.services.chat import is_text
from django_chatgpt.storage import embeddings as vectors
from django_chatgpt.storage import indexes as storage
from django_chatgpt.storage.indexes import MADE_BY_INDEX, Changes, Cut

logger = logging.getLogger("django_chatgpt.indexes")

OBJECTS_AT_ONCE: Final = 200
TEXT_FAILED: Final = "text_failed"

Advance = Callable[[int], None]


@dataclass(slots=True)
class Work:
    """What was done or is to be done: objects changed, gone and failed, texts and their tokens."""

    seen: int = 0
    changed: int = 0
    gone: int = 0
    failed: int = 0
    texts: int = 0
    tokens: int = 0

    def add(self, other: Work) -> None:
        for name in Work.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def cost(self) -> Decimal | None:
        """What embedding the texts costs, in USD; None if the model's price is not known."""
        usage = TokenUsage(prompt_tokens=self.tokens, total_tokens=self.tokens)
        endpoint = access.embedding_endpoint_of(None)
        return prices.price(conf.embedding_model, usage, base_url=endpoint.base_url).cost


@dataclass(slots=True)
class Page:
    """Some objects of an index, and what is to be done about them."""

    index: Index
    model: str
    seen: int
    changes: Changes
    texts: dict[str, str] = field(repr=False)

    @classmethod
    def of(cls, index: Index, rows: Collection[Any], gone: Sequence[str] = ()) -> Page:
        """Look at objects and at the keys of some that are there no more: three queries, and the texts'."""
        model = conf.embedding_model
        keyed = {index.key_of(row): row for row in rows}
        known = storage.find(index.name, keyed)
        changes, pieces = Changes(gone=list(gone)), dict[str, str]()
        cuts: list[tuple[str, Cut, bool]] = []
        for key, row in keyed.items():
            indexed = known.get(key)
            try:
                text = index.text_of(row)
                text_hash = index.hash_of(text)
            except Exception:
                logger.exception("The text of object %s of index %s can't be told.", key, index.name)
                changes.failed[key] = TEXT_FAILED
                continue
            stale = indexed.stale if indexed else None
            if indexed is not None and indexed.text_hash == text_hash:
                hashes = [each.content_hash for each in indexed.passages.all()]
                cuts.append((text, Cut(key, stale, text_hash, hashes), True))
            elif not is_text(text):
                changes.failed[key] = TEXT_FAILED
            else:
                cuts.append((text, _cut(index, model, key, stale, text_hash, text, pieces), False))
        wanted = {each for _, cut, _ in cuts for each in cut.passages}
        stored = set(vectors.find(vectors.Shelf("", model), wanted))
        for text, cut, same in cuts:
            if not same:
                changes.cut.append(cut)
            elif stored.issuperset(cut.passages):
                changes.unchanged.append(cut)
            else:
                changes.cut.append(_cut(index, model, cut.key, cut.stale, cut.text_hash, text, pieces))
        return cls(index, model, len(keyed), changes, {k: v for k, v in pieces.items() if k not in stored})

    @property
    def work(self) -> Work:
        """What there is to be done."""
        return Work(
            seen=self.seen,
            changed=len(self.changes.cut),
            gone=len(self.changes.gone),
            failed=len(self.changes.failed),
            texts=len(self.texts),
            tokens=sum(tokens.count_text(text, self.model) for text in self.texts.values()),
        )

    def carry_out(self) -> Work:
        """Embed what lacks a vector and write it all down. Raises any AIServiceError of the provider."""
        work = self.work
        refused = self._embed()
        for cut in list(self.changes.cut):
            error = next((refused[each] for each in cut.passages if each in refused), None)
            if error is not None:
                self.changes.cut.remove(cut)
                self.changes.failed[cut.key] = error
        late = storage.write(self.index.name, self.model, self.changes)
        work.changed = len(self.changes.cut) - len(late)
        work.failed = len(self.changes.failed) + len(late)
        return work

    def _embed(self) -> dict[str, str]:
        """Have the texts embedded for the site itself; those that were not, with the code that says why."""
        if not self.texts:
            return {}
        service = embeddings.EmbeddingService()
        steps = service.prepare_batch(
            list(self.texts.values()), model=self.model, metadata=MADE_BY_INDEX, vectors=False
        )
        batch = embeddings.run(steps, release=True)
        return {
            content_hash: result.code
            for content_hash, result in zip(self.texts, batch.results, strict=True)
            if isinstance(result, FailedText)
        }


def _cut(
    index: Index, model: str, key: str, stale: Any, text_hash: str, text: str, pieces: dict[str, str]
) -> Cut:
    found = {content_hash_of(piece): piece for piece in passages.cut(text, index, model)}
    pieces.update(found)
    return Cut(key, stale, text_hash, list(found))


def pages(index: Index) -> Iterator[Page]:
    """All objects of an index, then those it has and that are there no more, some at a time."""
    rows = index.rows().order_by("pk")
    some = list(rows[:OBJECTS_AT_ONCE])
    while some:
        yield Page.of(index, some)
        some = list(rows.filter(pk__gt=some[-1].pk)[:OBJECTS_AT_ONCE])
    last = ""
    while keys := storage.keys_after(index.name, last, OBJECTS_AT_ONCE):
        last = keys[-1]
        there = present(index, keys)
        if gone := [key for key in keys if key not in there]:
            yield Page.of(index, [], gone)


def plan(index: Index, advance: Advance) -> Work:
    """What there is to be done, without doing it."""
    work = Work()
    for page in pages(index):
        work.add(page.work)
        advance(page.seen)
    return work


def build(index: Index, advance: Advance) -> Work:
    """Bring a whole index up to date. Raises any AIServiceError; what was done before it, stays."""
    work = Work()
    for page in pages(index):
        work.add(page.carry_out())
        advance(page.seen)
    storage.drop_orphans()
    return work


def refresh(index: Index) -> Work:
    """Bring up to date what is known to have changed. Raises what `build` raises."""
    work, last = Work(), None
    while rows := storage.stale_after(index.name, last, OBJECTS_AT_ONCE):
        last = rows[-1].pk
        keys = [row.object_key for row in rows]
        found = list(index.rows().filter(pk__in=[index.pk_of(key) for key in keys]))
        there = {index.key_of(row) for row in found}
        work.add(Page.of(index, found, [key for key in keys if key not in there]).carry_out())
    return work


def present(index: Index, keys: Sequence[str]) -> set[str]:
    """Which of the keys are those of objects of the index."""
    found = index.rows().filter(pk__in=[index.pk_of(key) for key in keys]).order_by()
    return {index.as_key(pk) for pk in found.values_list("pk", flat=True)}
