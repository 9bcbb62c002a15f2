"""What is misconfigured for this deployment, and how to mend it."""

from __future__ import annotations

import json
import textwrap
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_chatgpt.management.progress import progress
from django_chatgpt.services import doctor
from django_chatgpt.services.doctor import Finding, Level, Server, Site

LEVELS = {"info": Level.INFO, "warning": Level.WARNING, "error": Level.ERROR}
NEVER = "never"
INDENT = " " * 9
WIDTH = 100


class Command(BaseCommand):
    help = (
        "Look at how this site is deployed and say what is wrong, why that matters and how to mend it. "
        "Exits with 1 if anything is an error. Changes nothing, and shows no key."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="an array of findings, for scripts")
        parser.add_argument("--offline", action="store_true", help="ask neither the provider nor the broker")
        parser.add_argument(
            "--fail-level",
            choices=(*LEVELS, NEVER),
            default="error",
            help="exit with 1 if anything is as bad as this; error by default",
        )
        parser.add_argument(
            "--server",
            choices=("asgi", "wsgi"),
            help="what serves the site; by default as ASGI_APPLICATION says",
        )
        parser.add_argument(
            "--workers", type=int, metavar="N", help="how many processes do; by default WEB_CONCURRENCY, or 1"
        )

    def handle(
        self,
        *args: Any,
        fail_level: str,
        server: Server | None,
        workers: int | None,
        offline: bool,
        **options: Any,
    ) -> None:
        site = Site.of_settings(server, workers, offline=offline)
        with progress(self.stderr, "subjects", len(doctor.DIAGNOSES)) as advance:
            found = list(doctor.diagnose(site, advance))
        if options["json"]:
            self.stdout.write(json.dumps([_body(each) for each in found], indent=2, ensure_ascii=False))
        else:
            least = Level.WARNING if options["verbosity"] == 0 else Level.OK
            for each in sorted(found, key=lambda each: -each.level):
                if each.level >= least:
                    self._show(each)
        self._conclude(found, fail_level)

    def _show(self, finding: Finding) -> None:
        styles = {
            Level.OK: self.style.SUCCESS,
            Level.WARNING: self.style.WARNING,
            Level.ERROR: self.style.ERROR,
        }
        style = styles.get(finding.level, self.style.NOTICE)
        head = textwrap.wrap(f"{finding.id}: {finding.what}", WIDTH - len(INDENT))
        self.stdout.write(style(finding.level.name.lower().ljust(len(INDENT))) + f"\n{INDENT}".join(head))
        for text in (finding.why, finding.mend and f"-> {finding.mend}"):
            for line in textwrap.wrap(text, WIDTH - len(INDENT)):
                self.stdout.write(INDENT + line)

    def _conclude(self, found: list[Finding], fail_level: str) -> None:
        numbers = {level: sum(each.level == level for each in found) for level in Level}
        said = f"{_several(numbers[Level.ERROR], 'error')}, {_several(numbers[Level.WARNING], 'warning')}."
        if fail_level != NEVER and any(each.level >= LEVELS[fail_level] for each in found):
            raise CommandError(said)
        self.stderr.write(said, style_func=str)


def _several(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _body(finding: Finding) -> dict[str, str]:
    return {
        "id": finding.id,
        "level": finding.level.name.lower(),
        "what": finding.what,
        "why": finding.why,
        "mend": finding.mend,
    }
