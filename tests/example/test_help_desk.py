"""The example's help desk, answered by real local models in a process of its own."""

import os
import subprocess
import sys

import pytest
from local_model import LocalModel

from tests.example.conftest import EXAMPLE_PROJECT


@pytest.mark.realmodel
def test_its_pages_are_found_and_cited(real_model: LocalModel, real_embedder: LocalModel) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "test", "example.real_tests"],
        cwd=EXAMPLE_PROJECT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "example.settings",
            "OPENAI_BASE_URL": real_model.base_url,
            "OPENAI_DEFAULT_MODEL": real_model.name,
            "EMBEDDING_BASE_URL": real_embedder.base_url,
            "OPENAI_EMBEDDING_MODEL": real_embedder.name,
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Ran 2 tests" in done.stderr
