"""The documentation as a site: `tox run -e docs` builds it into docs/_build."""

import os
import sys
from importlib.metadata import version as installed
from pathlib import Path

import django

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings.sqlite")
django.setup()

project = "django-chatgpt"
author = "The django-chatgpt authors"
copyright = author
release = version = installed("django-chatgpt")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["myst.xref_missing"]
default_role = "code"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = "django-chatgpt"
html_static_path: list[str] = []

#: The four kinds of pages, as the sidebar shows them.
KINDS = {"tutorial": "Tutorial", "how-to": "How to", "reference": "Reference", "explanation": "Explanation"}


def add_sidebar(app, docname, source):
    """Put every page into the sidebar, in the order of the first page; that stays plain Markdown."""
    if docname != "index":
        return
    first = source[0]
    for folder, caption in KINDS.items():
        pages = [page.relative_to(HERE).with_suffix("").as_posix() for page in HERE.glob(f"{folder}/*.md")]
        pages.sort(key=lambda page: first.find(f"({page}.md)"))
        source[0] += "\n".join(
            ["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", ""]
        )


def setup(app):
    app.connect("source-read", add_sidebar)
