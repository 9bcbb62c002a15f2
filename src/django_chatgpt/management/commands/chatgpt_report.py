"""What was used in a period, to be read, kept or sent."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_chatgpt.exceptions import InvalidRequestError
from django_chatgpt.management.people import find_user
from django_chatgpt.management.terminal.text import printable
from django_chatgpt.services.usage_report import as_lines, generate_usage_report


class Command(BaseCommand):
    help = "Tell what was used in a period: by model, kind, user and month."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, help="so many days, today included; 30 if nothing is said")
        parser.add_argument("--start", type=date.fromisoformat, metavar="DATE", help="the first day")
        parser.add_argument("--end", type=date.fromisoformat, metavar="DATE", help="the last day")
        parser.add_argument("--user", help="the name or the key of one user")
        parser.add_argument("--json", action="store_true", help="as JSON, with each day")
        parser.add_argument("--send", action="store_true", help="to those who get alerts by e-mail, once")

    def handle(self, *args: Any, user: str | None, **options: Any) -> None:
        found = None if user is None else find_user(user)
        try:
            report = generate_usage_report(
                options["days"],
                start=options["start"],
                end=options["end"],
                user=found,
                send=options["send"],
            )
        except InvalidRequestError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(report, indent=2))
        else:
            self.stdout.write(printable("\n".join(as_lines(report))))
