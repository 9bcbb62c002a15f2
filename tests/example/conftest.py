"""What the tests of the example site share: its modules on the path, and one real model for all of them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLE_PROJECT = Path(__file__).resolve().parents[2] / "example_project"
sys.path.insert(0, str(EXAMPLE_PROJECT))

from local_model import LocalModel, running_embedder, running_model  # noqa: E402 - the path comes first


@pytest.fixture(scope="session")
def real_model() -> Iterator[LocalModel]:
    """SmolLM2-135M-Instruct, answering on loopback; tests that ask for it carry the marker `realmodel`."""
    with running_model() as model:
        yield model


@pytest.fixture(scope="session")
def real_embedder() -> Iterator[LocalModel]:
    """all-MiniLM-L6-v2, embedding on loopback; tests that ask for it carry the marker `realmodel`."""
    with running_embedder() as model:
        yield model
