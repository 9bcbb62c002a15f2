"""Look after the stored vectors: what there is, the backend's copy of it, its recall, another model."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_chatgpt.conf import conf
from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.management.progress import progress
from django_chatgpt.services import vectors
from django_chatgpt.storage.vectors import get_backend


class Command(BaseCommand):
    help = "Look after the stored vectors."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("stats", help="say how many vectors there are, by model")
        actions.add_parser("sync", help="have the backend take in what it lacks; run it after changing it")
        recall = actions.add_parser("recall", help="say how much of what is nearest the backend finds")
        recall.add_argument(
            "--questions", type=int, default=100, help="how many stored vectors are asked for"
        )
        recall.add_argument("--top-k", type=int, default=10, help="how many are to be found for each")
        reembed = actions.add_parser(
            "reembed", help="embed every text by another model, beside the old vectors"
        )
        reembed.add_argument("model", help="the model to embed by")
        reembed.add_argument(
            "--from", dest="old", help="the model of the texts; OPENAI_EMBEDDING_MODEL by default"
        )
        reembed.add_argument("--dimensions", type=int, help="numbers in each vector, if not the model's own")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        try:
            getattr(self, action)(options)
        except AIServiceError as error:
            raise CommandError(str(error)) from error

    def stats(self, options: dict[str, Any]) -> None:
        self.stdout.write(f"searched by {type(get_backend()).__name__}")
        for kind in vectors.kinds():
            self.stdout.write(f"{kind.model}, {kind.dimensions} dimensions: {kind.count} vectors")

    def sync(self, options: dict[str, Any]) -> None:
        for kind in vectors.kinds():
            with progress(self.stderr, kind.model, kind.count) as advance:
                vectors.sync(kind, advance)
            self.stdout.write(f"{kind.model}, {kind.dimensions} dimensions: in step.")

    def recall(self, options: dict[str, Any]) -> None:
        questions, top_k = options["questions"], options["top_k"]
        if min(questions, top_k) < 1:
            raise CommandError("--questions and --top-k must be 1 or more.")
        for kind in vectors.kinds():
            with progress(self.stderr, kind.model, min(questions, kind.count)) as advance:
                found = vectors.recall(kind, questions, top_k, advance)
            if found is not None:
                self.stdout.write(
                    f"{kind.model}, {kind.dimensions} dimensions: recall@{top_k} {found.recall:.3f} "
                    f"(worst {found.worst:.2f}) over {found.questions} questions, "
                    f"{found.median_ms:.1f} ms each, exactly {found.exact_ms:.1f} ms"
                )

    def reembed(self, options: dict[str, Any]) -> None:
        old, new, dimensions = options["old"] or conf.embedding_model, options["model"], options["dimensions"]
        if old == new and dimensions is None:
            raise CommandError(
                f"The texts have vectors of {new} already; name another with --from, or --dimensions."
            )
        if dimensions is not None and dimensions < 1:
            raise CommandError("--dimensions must be 1 or more.")
        with progress(self.stderr, new, vectors.lacking(old, new, dimensions).count()) as advance:
            result = vectors.reembed(old, new, dimensions, advance)
        self.stdout.write(f"{result.done} texts embedded, {result.failed} left out.")
        left = vectors.lacking(old, new, dimensions).count()
        if left:
            self.stdout.write(f"Without a vector of {new}: {left}. Run this again to try once more.")
            return
        self.stdout.write(f'Every text has one. To search them, set OPENAI_EMBEDDING_MODEL = "{new}".')
        if dimensions is not None:
            self.stdout.write(f"Store and search with dimensions={dimensions} from then on.")
