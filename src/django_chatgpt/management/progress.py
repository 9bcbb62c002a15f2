"""How far a long command has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress(stream: Any, title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar where somebody looks at the terminal, nothing elsewhere. Gives what to call with each advance."""
    from tqdm import tqdm

    with tqdm(total=total, desc=title, file=stream, disable=None, unit="") as bar:

        def advance(number: int) -> None:
            bar.update(number)

        yield advance
