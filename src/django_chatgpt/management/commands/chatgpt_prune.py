"""End the turns whose process died, and delete the events that nobody will ask for."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from django_chatgpt.models import AITurn
from django_chatgpt.services import retention
from django_chatgpt.services.sweeper import sweep_expired


class Command(BaseCommand):
    help = (
        "End turns whose process died: their text is kept, their conversations are free again. Delete the "
        "events of turns that ended OPENAI_EVENT_RETENTION seconds ago."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        if dry_run:
            self.stdout.write(f"{AITurn.objects.expired().count()} turns would be ended.")
            self.stdout.write(f"{retention.old_events().count()} rows of events would be deleted.")
            return
        self.stdout.write(f"{sweep_expired()} turns ended.")
        self.stdout.write(f"{retention.delete_old_events()} rows of events deleted.")
