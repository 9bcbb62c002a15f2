"""The German catalogue says everything that the pages say, and the compiled one says what its source says."""

import gettext
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.template import engines
from django.test import Client, override_settings
from django.utils import translation
from django.utils.translation.template import templatize

import django_chatgpt

PACKAGE = Path(django_chatgpt.__file__).parent
CATALOGUE = PACKAGE / "locale" / "de" / "LC_MESSAGES"
TEMPLATES = sorted((PACKAGE / "templates" / "django_chatgpt").glob("*.html"))
ENTRY = re.compile(r'^msgid "(.*)"\nmsgstr "(.*)"$', re.MULTILINE)


def written() -> dict[str, str]:
    """What stands in the source of the catalogue."""
    text = (CATALOGUE / "django.po").read_text(encoding="utf-8")
    return {name: said for name, said in ENTRY.findall(text) if name}


def asked(template: Path) -> set[str]:
    """What a template wants translated, as Django's own extraction sees it."""
    code = templatize(template.read_text(encoding="utf-8"))
    return {
        next(filter(None, found))
        for found in re.findall(r"gettext\((?:u?'((?:[^'\\]|\\.)*)'|u?\"((?:[^\"\\]|\\.)*)\")\)", code)
    }


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_nothing_is_missing(template: Path) -> None:
    names = {name.replace("\\'", "'") for name in asked(template)}
    assert names - set(written()) == set()


def test_nothing_is_left_over() -> None:
    names = {name.replace("\\'", "'") for template in TEMPLATES for name in asked(template)}
    assert set(written()) - names == set()


def test_everything_is_said_and_keeps_what_is_filled_in() -> None:
    for name, said in written().items():
        assert said
        for pattern in (r"\{\w+\}", r"%\(\w+\)s", r"<[^>]+>"):
            assert sorted(re.findall(pattern, said)) == sorted(re.findall(pattern, name)), name


def test_the_compiled_catalogue_is_of_its_source() -> None:
    with (CATALOGUE / "django.mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for name, said in written().items():
        assert compiled.gettext(name) == said


def test_the_scripts_find_all_their_words() -> None:
    words = (PACKAGE / "templates" / "django_chatgpt" / "words.html").read_text(encoding="utf-8")
    there = {
        re.sub(r"-(\w)", lambda letter: letter[1].upper(), name)
        for name in re.findall(r"^\s*data-([\w-]+)=", words, re.MULTILINE)
    }
    scripts = "".join(
        file.read_text(encoding="utf-8") for file in (PACKAGE / "static" / "django_chatgpt").glob("*/*.js")
    )
    used = set(re.findall(r'\bwords\("(\w+)"', scripts)) | set(
        re.findall(r'^  \w+: "(\w+)",$', scripts, re.M)
    )
    assert used - there == set()


@pytest.mark.django_db
@pytest.mark.sqlite_only
def test_the_page_in_german(user_client: Client) -> None:
    with translation.override("de"):
        html = engines["django"].get_template("django_chatgpt/forbidden.html").render({"user": "ada"})
    assert "Der Chat steht Ihnen nicht offen" in html
    assert '<html lang="de" dir="ltr">' in html
    middleware = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    with override_settings(MIDDLEWARE=middleware):
        page = Client()
        page.cookies = user_client.cookies
        answer = page.get("/ai/", headers={"accept-language": "de"})
    assert "Was möchten Sie wissen?" in answer.content.decode()
