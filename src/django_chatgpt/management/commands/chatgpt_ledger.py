"""Hold the totals against the ledger."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_chatgpt.management.progress import progress
from django_chatgpt.services import audit
from django_chatgpt.storage.audit import Totals

SHOWN = 20


class Command(BaseCommand):
    help = (
        "Check that conversations say they took what the ledger says, and that nothing is reserved for "
        "nobody. Fails if not."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        action = parser.add_mutually_exclusive_group()
        action.add_argument("--check", action="store_true", help="look, and change nothing; the default")
        action.add_argument("--rebuild", action="store_true", help="mend what is wrong")

    def handle(self, *args: Any, rebuild: bool, **options: Any) -> None:
        wrong = 0
        with progress(self.stderr, "conversations", audit.count()) as advance:
            for each in (audit.rebuild if rebuild else audit.check)(advance):
                wrong += 1
                if wrong <= SHOWN:
                    self.stdout.write(sentence(each))
        if wrong > SHOWN:
            self.stdout.write(f"... and {wrong - SHOWN} more.")
        if rebuild:
            self.stdout.write(
                f"{wrong} conversations mended, {audit.release_strays()} reservations released."
            )
            return
        strays = audit.stray_reservations()
        said = f"{wrong} conversations differ from the ledger, {strays} reservations are held for nobody."
        if wrong or strays:
            raise CommandError(f"{said} --rebuild mends them.")
        self.stdout.write(said)


def sentence(totals: Totals) -> str:
    return (
        f"{totals.conversation_id} has {totals.tokens} tokens and {totals.cost:f} USD, "
        f"the ledger {totals.ledger_tokens} and {totals.ledger_cost:f}"
    )
