"""End the turns whose process died, and take away what is kept no longer."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_chatgpt.exceptions import InvalidRequestError
from django_chatgpt.management.progress import progress
from django_chatgpt.services import retention

LINES = {
    "turns_ended": ("turns ended.", "turns would be ended."),
    "jobs_ended": ("calls left to workers ended.", "calls left to workers would be ended."),
    "events_deleted": ("rows of events deleted.", "rows of events would be deleted."),
    "jobs_deleted": ("calls left to workers deleted.", "calls left to workers would be deleted."),
    "conversations_deleted": ("conversations deleted.", "conversations would be deleted."),
    "conversations_archived": ("conversations archived.", "conversations would be archived."),
    "embeddings_deleted": ("vectors deleted.", "vectors would be deleted."),
    "budgets_deleted": ("memos of past budgets deleted.", "memos of past budgets would be deleted."),
}


class Command(BaseCommand):
    help = (
        "End turns whose process died: their text is kept, their conversations are free again; and calls "
        "that were left to workers and that none has begun, or ended, in time. Then take away what the "
        "settings keep no longer: events of turns and such calls that are over (OPENAI_EVENT_RETENTION), "
        "conversations (OPENAI_ARCHIVE_AFTER, OPENAI_DELETE_AFTER), vectors (OPENAI_EMBEDDING_RETENTION)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")
        for name, what in (
            ("archive-after", "archive conversations that nobody has used for so many days"),
            ("delete-after", "delete such conversations with all that was said in them"),
            ("embeddings-after", "delete vectors that nobody has written for so many days"),
        ):
            parser.add_argument(
                f"--{name}", type=int, metavar="DAYS", help=f"{what}, whatever the settings say"
            )

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        try:
            with progress(self.stderr, "rows", 0) as advance:
                done = retention.clean(
                    archive_after=options["archive_after"],
                    delete_after=options["delete_after"],
                    embeddings_after=options["embeddings_after"],
                    dry_run=dry_run,
                    progress=advance,
                )
        except InvalidRequestError as error:
            raise CommandError(str(error)) from error
        for key, number in done.items():
            self.stdout.write(f"{number} {LINES[key][dry_run]}")
