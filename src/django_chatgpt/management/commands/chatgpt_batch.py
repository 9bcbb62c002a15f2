"""Have texts embedded within a day at half price."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.indexes import index_registry
from django_chatgpt.management.progress import progress
from django_chatgpt.models import EmbeddingJob
from django_chatgpt.services import EmbeddingJobs, indexing
from django_chatgpt.services import jobs as service
from django_chatgpt.storage import jobs
from django_chatgpt.storage.indexes import MADE_FOR_INDEX

POLL_SECONDS: Final = 60.0


class Command(BaseCommand):
    help = "Have the site's texts embedded within a day, at half price, by OpenAI's Batch API."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        submit = actions.add_parser(
            "submit", help="submit texts; what is stored or waits already is left out"
        )
        source = submit.add_mutually_exclusive_group(required=True)
        source.add_argument("--index", help="the index whose texts are to be embedded")
        source.add_argument("--file", help="a file in UTF-8 with one text a line")
        submit.add_argument("--model", help="the model to embed by; with --file only")
        advance = actions.add_parser("advance", help="ask after open jobs, and take in what came")
        advance.add_argument("--wait", action="store_true", help="ask again every minute until all are over")
        actions.add_parser("list", help="list the jobs, the newest first")
        for action, text in (("cancel", "stop a job"), ("again", "submit anew what has failed in a job")):
            actions.add_parser(action, help=text).add_argument("id", help="as `list` shows it")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        try:
            getattr(self, f"do_{action}")(options)
        except AIServiceError as error:
            raise CommandError(f"{error} What was done before it stays; run this again.") from error

    def do_submit(self, options: dict[str, Any]) -> None:
        if options["index"]:
            if options["model"]:
                raise CommandError("An index is embedded by OPENAI_EMBEDDING_MODEL; leave --model out.")
            parts = self._of_index(options["index"])
            made = [job for texts in parts for job in EmbeddingJobs().submit(texts, metadata=MADE_FOR_INDEX)]
        else:
            try:
                lines = Path(options["file"]).read_text(encoding="utf-8").splitlines()
            except (OSError, ValueError) as error:
                raise CommandError(f"--file: {error}") from error
            texts = [line for line in lines if line.strip()]
            made = EmbeddingJobs().submit(texts, model=options["model"])
        self._told(made)

    def do_advance(self, options: dict[str, Any]) -> None:
        waiting = jobs.open_jobs()
        with progress(self.stderr, "texts", sum(job.total for job in waiting)) as bar:
            while waiting:
                moved = [EmbeddingJobs(job.user).advance(job) for job in waiting]
                for job in moved:
                    if job.is_over:
                        bar(job.total)
                        self._say(job)
                waiting = [job for job in moved if not job.is_over]
                if waiting and not options["wait"]:
                    for job in waiting:
                        self._say(job)
                    return
                if waiting:
                    time.sleep(POLL_SECONDS)

    def do_list(self, options: dict[str, Any]) -> None:
        for job in EmbeddingJob.objects.order_by("-id").iterator():
            self._say(job)

    def do_cancel(self, options: dict[str, Any]) -> None:
        job = self._found(options["id"])
        self._say(EmbeddingJobs(job.user).cancel(job))

    def do_again(self, options: dict[str, Any]) -> None:
        job = self._found(options["id"])
        self._told(EmbeddingJobs(job.user).again(job))

    def _of_index(self, name: str) -> Iterator[list[str]]:
        """The texts that an index lacks, as many at a time as go into one job."""
        index = index_registry.get(name)
        texts: dict[str, str] = {}
        with progress(self.stderr, f"{index.name}: looking", index.rows().count()) as advance:
            for page in indexing.pages(index):
                texts |= page.texts
                advance(page.seen)
                if len(texts) >= service.MAX_LINES:
                    yield [*texts.values()]
                    texts = {}
        if texts:
            yield [*texts.values()]

    def _found(self, given: str) -> EmbeddingJob:
        try:
            return jobs.get(UUID(given))
        except (ValueError, ValidationError, EmbeddingJob.DoesNotExist) as error:
            raise CommandError(f"There is no job {given}.") from error

    def _told(self, made: list[EmbeddingJob]) -> None:
        if not made:
            self.stdout.write("Nothing to submit: every text is stored, or waits in a job.")
        for job in made:
            self._say(job)

    def _say(self, job: EmbeddingJob) -> None:
        figures = f"{job.done} stored, {job.failed} failed" if job.is_over else f"{job.total} texts"
        self.stdout.write(f"{job.pk} {job.status}: {figures}, by {job.model}.")
