"""The page of errors lists the tree as it is."""

import re
from pathlib import Path

from django_chatgpt import exceptions

PAGE = (Path(__file__).parents[2] / "docs/reference/errors.md").read_text()


def test_every_error_is_listed_with_its_base_code_and_whether_it_may_work_later() -> None:
    listed = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \| (yes|no) \|", PAGE, re.MULTILINE)
    classes = [getattr(exceptions, name) for name in exceptions.__all__]
    assert sorted(listed) == sorted(
        (each.__name__, each.__base__.__name__, each.code, "yes" if each.retryable else "no")
        for each in classes
    )
