"""The scripts find each other wherever static files are served from, and after each upgrade anew."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import storage
from django.core.management import call_command
from django.test import override_settings

import django_chatgpt

FILES = Path(django_chatgpt.__file__).parent / "static" / "django_chatgpt"
SCRIPTS = sorted(FILES.glob("*/*.js"))
IMPORT = re.compile(r'\bfrom "(\./[^"]+)";')


class Aggregating(storage.ManifestStaticFilesStorage):
    support_js_module_import_aggregation = True


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_imports_lead_to_scripts_of_this_version(script: Path) -> None:
    """A browser that has kept scripts of an earlier version asks for those of this one: rename the folder."""
    assert script.parent.name == f"js-{django_chatgpt.__version__}"
    text = script.read_text(encoding="utf-8")
    names = IMPORT.findall(text)
    assert len(re.findall(r"^import\b", text, re.MULTILINE)) == len(names)
    for name in names:
        assert (script.parent / name).is_file(), name


def test_the_pages_load_them() -> None:
    templates = Path(django_chatgpt.__file__).parent / "templates" / "django_chatgpt"
    for entry in ("page", "widget"):
        text = (templates / f"{entry}.html").read_text(encoding="utf-8")
        assert f"django_chatgpt/js-{django_chatgpt.__version__}/{entry}.js" in text


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_nothing_that_a_policy_forbids(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert not re.search(r"\beval\(|new Function|document\.write|insertAdjacentHTML|outerHTML", text)
    assert not re.search(r"https?://", text)
    assert len(re.findall(r"innerHTML", text)) == (1 if script.name == "line.js" else 0)


@pytest.mark.parametrize("sheet", sorted(FILES.glob("*.css")), ids=lambda sheet: sheet.name)
def test_styles_load_nothing_and_know_no_left(sheet: Path) -> None:
    text = sheet.read_text(encoding="utf-8")
    assert not re.search(r"@import|url\(", text)
    assert not re.search(r"(?:margin|padding|border|^|[\s;{])-?(?:left|right)\s*:", text)


@pytest.fixture(params=["ManifestStaticFilesStorage", "Aggregating"])
def collected(request: Any, tmp_path: Path) -> Iterator[Path]:
    backend = {
        "ManifestStaticFilesStorage": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage",
        "Aggregating": f"{__name__}.Aggregating",
    }[request.param]
    with override_settings(
        STATIC_ROOT=tmp_path,
        STORAGES={"staticfiles": {"BACKEND": backend}},
        INSTALLED_APPS=["django.contrib.staticfiles", "django_chatgpt"],
    ):
        call_command("collectstatic", interactive=False, verbosity=0)
        yield tmp_path


@pytest.mark.parametrize("entry", ["page", "widget"])
def test_hashed_names_lead_to_files(collected: Path, entry: str) -> None:
    """Whether imports are rewritten or not, each leads to a file that is there."""
    name = storage.staticfiles_storage.stored_name(
        f"django_chatgpt/js-{django_chatgpt.__version__}/{entry}.js"
    )
    assert re.search(rf"/{entry}\.[0-9a-f]{{12}}\.js$", name)
    waiting, seen = [collected / name], set()
    while waiting:
        script = waiting.pop()
        if script in seen:
            continue
        seen.add(script)
        text = script.read_text(encoding="utf-8")
        waiting += [script.parent / each for each in IMPORT.findall(text)]
    assert len(seen) >= 10
