"""Take away every word of a user, and keep what it cost."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_chatgpt.exceptions import ConflictError
from django_chatgpt.management.people import find_user
from django_chatgpt.management.progress import progress
from django_chatgpt.services import erase


class Command(BaseCommand):
    help = (
        "Take away every word of a user: conversations, embeddings, jobs, cached replies, what alerts say. "
        "The ledger keeps its numbers."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help="the name or the key of the user")
        sure = parser.add_mutually_exclusive_group(required=True)
        sure.add_argument("--dry-run", action="store_true", help="say what there is, take nothing away")
        sure.add_argument("--yes", action="store_true", help="do it; it can't be taken back")
        parser.add_argument("--forget", action="store_true", help="take the user out of the ledger as well")

    def handle(self, *args: Any, user: str, dry_run: bool, forget: bool, **options: Any) -> None:
        found = find_user(user)
        there = erase.what_there_is(found)
        if dry_run:
            for name, number in there.items():
                stays = name == "usage" and not forget
                self.stdout.write(f"{number} {name.replace('_', ' ')}{' (stay)' if stays else ''}")
            return
        try:
            with progress(self.stderr, "rows", 0) as advance:
                done = erase.erase_user(found, forget=forget, progress=advance)
        except ConflictError as error:
            raise CommandError(str(error)) from error
        for name, number in done.items():
            self.stdout.write(f"{number} {name.replace('_', ' ')} erased.")
