"""Draw the tables of docs/explanation/performance.md, so that the pictures say what the tables say.

python -m benchmarks.charts
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.bars import svg

PAGE = Path(__file__).resolve().parents[1] / "docs" / "explanation" / "performance.md"
NUMBER = re.compile(r"[\d.,]+")


def rows(page: str, first: str) -> list[list[str]]:
    """The cells of the table whose first column is headed `first`, without its head."""
    lines = page.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first}".rstrip() + " |"))
    cells = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells.append([cell.strip() for cell in line.strip("|").split("|")])
    return cells


def number(cell: str) -> float:
    found = NUMBER.search(cell)
    assert found is not None, cell
    return float(found[0].replace(",", ""))


def charts(page: str) -> dict[str, str]:
    """Name and picture of each chart."""
    replies = [row for row in rows(page, "") if row[0].startswith("whole reply, ")]
    against = [
        (f"{row[0].removeprefix('whole reply, ')}: {whose}", number(row[column]))
        for row in replies
        for column, whose in ((1, "bare SDK"), (2, "django-chatgpt"), (5, "empty view"))
    ]
    late = [(row[0].replace("`", ""), number(row[2])) for row in rows(page, "streams at once")]
    return {
        "performance-replies.svg": svg("A whole reply", against, "ms"),
        "performance-lag.svg": svg("How late the latest hundredth of the pieces is", late, "ms"),
    }


def main() -> None:
    for name, picture in charts(PAGE.read_text()).items():
        (PAGE.parent / name).write_text(picture)


if __name__ == "__main__":
    main()
