"""End the turns whose process died."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from django_chatgpt.models import AITurn
from django_chatgpt.services.sweeper import sweep_expired


class Command(BaseCommand):
    help = "End turns whose process died: their text is kept, their conversations are free again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would be ended, end nothing")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        if dry_run:
            self.stdout.write(f"{AITurn.objects.expired().count()} turns would be ended.")
            return
        self.stdout.write(f"{sweep_expired()} turns ended.")
