"""Everything that is kept of a user, as JSON."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_chatgpt.management.people import find_user
from django_chatgpt.management.progress import progress
from django_chatgpt.services import export

OWN_EYES = 0o600


class Command(BaseCommand):
    help = "Write everything that is kept of a user as one JSON document."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help="the name or the key of the user")
        parser.add_argument(
            "-o",
            "--output",
            type=Path,
            metavar="FILE",
            help="a file, readable by you alone; else the terminal",
        )

    def handle(self, *args: Any, user: str, output: Path | None, **options: Any) -> None:
        found = find_user(user)
        if output is None:
            for piece in export.pieces(found):
                self.stdout.write(piece, ending="")
            return
        # Under another name until it is whole: what is cut short is not taken for all there is.
        unfinished = output.with_name(f"{output.name}.{os.getpid()}.part")
        try:
            # Only where there is nothing of that name: in a folder of many it may be another's link or file.
            number = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWN_EYES)
        except OSError as error:
            raise CommandError(f"{output} can't be written: {error.strerror}.") from error
        try:
            with (
                os.fdopen(number, "w", encoding="utf-8") as file,
                progress(self.stderr, "rows", export.count(found)) as advance,
            ):
                rows = export.export_user(found, file, progress=advance)
            unfinished.replace(output)
        except OSError as error:
            raise CommandError(f"{output} can't be written: {error.strerror}.") from error
        finally:
            with suppress(OSError):
                unfinished.unlink()
        self.stdout.write(f"{rows} rows written to {output}.")
