"""Bring the indexes of the site's own models up to date."""

from __future__ import annotations

from argparse import ArgumentParser
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_chatgpt.conf import conf
from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.indexes import Index, index_registry
from django_chatgpt.management.progress import progress
from django_chatgpt.services import indexing
from django_chatgpt.services.indexing import Work


class Command(BaseCommand):
    help = (
        "Embed what is new or has changed in the indexed models, and take out what is gone. What is up to "
        "date costs nothing, so it can be stopped and run again at any time."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("indexes", nargs="*", help="names of indexes; all by default")
        parser.add_argument("--dry-run", action="store_true", help="say what would be done and what it costs")
        parser.add_argument(
            "--stale",
            action="store_true",
            help="only what was saved since and not taken in yet; bulk changes are not noticed",
        )

    def handle(self, *args: Any, indexes: list[str], dry_run: bool, stale: bool, **options: Any) -> None:
        if dry_run and stale:
            raise CommandError("--dry-run looks at all objects; give it without --stale.")
        try:
            chosen = [index_registry.get(name) for name in indexes] or index_registry.indexes
            if not chosen:
                raise CommandError("No index is registered: write an ai_indexes.py.")
            failed = sum(self.bring_up(index, dry_run, stale) for index in chosen)
        except AIServiceError as error:
            raise CommandError(f"{error} What was done before it stays; run this again.") from error
        if failed:
            raise CommandError(f"{failed} objects could not be embedded; see the column error in the admin.")

    def bring_up(self, index: Index, dry_run: bool, stale: bool) -> int:
        """Do one index; how many objects have failed."""
        if stale:
            return self.done(index, indexing.refresh(index))
        total = index.rows().count()
        with progress(self.stderr, f"{index.name}: looking", total) as advance:
            planned = indexing.plan(index, advance)
        self.stdout.write(
            f"{index.name}: {planned.seen} objects, {planned.changed} new or changed, {planned.gone} gone. "
            f"{planned.texts} passages to embed, {planned.tokens} tokens, {_price(planned.cost)} "
            f"by {conf.embedding_model}."
        )
        if dry_run:
            return 0
        with progress(self.stderr, f"{index.name}: embedding", total) as advance:
            return self.done(index, indexing.build(index, advance))

    def done(self, index: Index, work: Work) -> int:
        self.stdout.write(f"{index.name}: {work.changed} done, {work.gone} taken out, {work.failed} failed.")
        return work.failed


def _price(cost: Decimal | None) -> str:
    return "at a price that is not known" if cost is None else f"about {cost.normalize():f} USD"
