"""Price calls of the past anew."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from django_chatgpt.management.progress import progress
from django_chatgpt.services.periods import aware, midnight
from django_chatgpt.services.repricing import Repriced, count, reprice


def moment(text: str) -> datetime:
    """A day of the site, from its midnight, or a time."""
    try:
        # A date is tried first: it is a time, too, for the other.
        if (day := parse_date(text)) is not None:
            return midnight(day)
        if (found := parse_datetime(text)) is not None:
            return aware(found) if timezone.is_aware(timezone.now()) else found
    except ValueError:
        pass
    raise ArgumentTypeError(f"{text!r} is neither a date (2026-11-22) nor a time (2026-11-22T13:30).")


class Command(BaseCommand):
    help = "Price calls of the past anew, from the tokens in the ledger. The old costs are kept in its rows."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--since", type=moment, required=True, help="the day, or time, of the first call: 2026-11-01"
        )
        parser.add_argument("--model", help="only calls that asked this model, or were answered by it")
        parser.add_argument("--dry-run", action="store_true", help="say what would change, change nothing")

    def handle(self, *args: Any, since: datetime, model: str | None, dry_run: bool, **options: Any) -> None:
        result = Repriced()
        with progress(self.stderr, "calls", count(since, model)) as advance:
            try:
                reprice(since, model, dry_run=dry_run, advance=advance, result=result)
            except KeyboardInterrupt:
                so_far = (result.until or since).isoformat()
                raise CommandError(f"Stopped. What was done is kept; go on with --since {so_far}") from None
        would = "would cost" if dry_run else "cost"
        self.stdout.write(
            f"{result.changed} of {result.seen} calls {would} something else now: "
            f"{result.difference.normalize():+f} USD. {result.newly_known} of them had no known cost."
        )
        if result.unknown:
            models = ", ".join(sorted(result.without_price))
            self.stdout.write(f"{result.unknown} still have none, of {models}. Set OPENAI_PRICES for them.")
