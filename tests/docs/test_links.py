"""Every link between the pages leads somewhere, and every page can be come to from the first."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")


def links(page: Path) -> set[Path]:
    return {(page.parent / target).resolve() for target in LINK.findall(page.read_text("utf-8"))}


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *PAGES], ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_links_lead_somewhere(page: Path) -> None:
    assert {target for target in links(page) if not target.exists()} == set()


def test_every_page_is_found_from_the_first() -> None:
    found: set[Path] = set()
    new = {ROOT / "docs" / "index.md"}
    while new:
        found |= new
        new = {target for page in new for target in links(page) if target.suffix == ".md"} - found
    assert set(PAGES) <= found
