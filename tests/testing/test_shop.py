"""The kit as its users have it: a site of their own, the page of the documentation, a pytest of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import django_chatgpt.testing
from tests.testing.test_pytest_plugin import INSTALLED, PLUGIN

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
PYTEST = """[pytest]
DJANGO_SETTINGS_MODULE = shop.settings
asyncio_default_fixture_loop_scope = function
"""

pytestmark = pytest.mark.sqlite_only


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    shutil.copytree(HERE / "shop", tmp_path / "shop")
    (tmp_path / "pytest.ini").write_text(PYTEST)
    return tmp_path


def run(site: Path, *command: str) -> str:
    where = {"SHOP_DATABASE": str(site / "shop.sqlite3"), "DJANGO_SETTINGS_MODULE": "shop.settings"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=site,
        env=os.environ | where,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def snippets(kind: str) -> str:
    page = (DOCS / "how-to" / "test-your-site.md").read_text(encoding="utf-8")
    return "\n\n".join(re.findall(rf"^```{kind}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))


def test_a_suite_as_the_page_shows_it(shop: Path) -> None:
    (shop / "test_page.py").write_text(snippets("python"))
    shutil.copy(shop / "shop" / "tests.py", shop / "test_more.py")
    plugin = [] if INSTALLED else ["-p", PLUGIN]
    output = run(shop, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, "-W", "error")
    assert re.search(r"\d\d passed", output)
    assert "failed" not in output


def test_the_test_runner_of_django_does_as_well(shop: Path) -> None:
    cases = snippets("python").partition("from django.test import TestCase")
    (shop / "shop" / "test_page.py").write_text("".join(cases[1:]))
    assert "OK" in run(shop, "-m", "django", "test", "shop")


def test_the_reference_names_what_there_is() -> None:
    text = (DOCS / "reference" / "testing.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)", text, re.MULTILINE)) >= set(django_chatgpt.testing.__all__)
    methods = {name for name in vars(django_chatgpt.testing.FakeOpenAI) if not name.startswith("_")}
    assert set(re.findall(r"^\| `fake\.(\w+)", text, re.MULTILINE)) == methods
