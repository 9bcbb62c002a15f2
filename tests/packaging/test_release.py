"""What builds a release is pinned, and the release says which it is."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"


@pytest.mark.parametrize("workflow", sorted((GITHUB / "workflows").iterdir()), ids=lambda path: path.name)
def test_every_action_is_named_by_its_commit(workflow: Path) -> None:
    used = re.findall(r"uses: (\S+)", workflow.read_text())
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", each)] == []


def test_every_tool_of_a_release_is_named_by_its_hash() -> None:
    text = (GITHUB / "release-requirements.txt").read_text()
    entries = re.split(r"\n(?=\S)", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).strip())
    assert [entry for entry in entries if not re.match(r"[\w.-]+==\S+ \\\n\s+--hash=sha256:", entry)] == []
    wanted = re.findall(r"^([\w-]+)>=", (GITHUB / "release-requirements.in").read_text(), re.MULTILINE)
    assert set(wanted) <= {entry.partition("==")[0] for entry in entries}


def test_the_changelog_has_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(
        r"^## \[(\S+)\] - (unreleased|\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert newest is not None
    assert newest[1] == version
