"""The example site's own pages: behind a login, nothing inline, and nothing missing."""

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.test import AsyncClient, Client, override_settings

from django_chatgpt.functions import function_registry
from django_chatgpt.indexes import index_registry

EXAMPLE_PROJECT = Path(__file__).resolve().parents[2] / "example_project"


class Page(HTMLParser):
    """What a Content-Security-Policy looks at, and what a screen reader needs."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.static: set[str] = set()
        self.labelled: set[str] = set()
        self.fields: set[str] = set()
        self.places: set[str] = set()
        self._open = ""
        self.feed(html)

    def handle_starttag(self, tag: str, pairs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in pairs}
        self._open = tag
        self.inline += [f"{tag} {name}" for name in attributes if name.startswith("on") or name == "style"]
        self.static |= {
            attributes[name] for name in ("src", "href") if "/static/" in attributes.get(name, "")
        }
        if tag == "label" and "for" in attributes:
            self.labelled.add(attributes["for"])
        if tag in ("input", "textarea") and attributes.get("type") not in ("hidden", "search"):
            self.fields.add(attributes["id"])
        self.places |= {value for name, value in attributes.items() if name.startswith("data-place-")}

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style") and data.strip():
            self.inline.append(self._open)

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


@pytest.fixture(autouse=True)
def example_site() -> Iterator[None]:
    """The test settings, with the example's pages and policy in them."""
    with override_settings(
        INSTALLED_APPS=["example", *settings.INSTALLED_APPS],
        MIDDLEWARE=["example.csp.content_security_policy", *settings.MIDDLEWARE],
        ROOT_URLCONF="example.urls",
        LOGIN_URL="login",
        LOGIN_REDIRECT_URL="django_chatgpt:page",
        LOGOUT_REDIRECT_URL="login",
        OPENAI_DEFAULT_MODEL="smollm2",
    ):
        yield
    for name in ("get_weather", "search_database", "send_postcard"):
        function_registry.unregister(name)
    index_registry.unregister("help")
    # The admin discovered the example's tables; without the app it could not show itself any more.
    for model in [model for model in admin.site._registry if model._meta.app_label == "example"]:
        admin.site.unregister(model)


def test_a_stranger_is_asked_to_log_in_and_then_sees_the_chat(user: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    login = browser.get("/ai/", follow=True)
    assert login.redirect_chain == [("/login/?next=/ai/", 302)]

    form = {"username": "ada", "password": "ada-secret", "next": "/ai/"}
    form["csrfmiddlewaretoken"] = browser.cookies["csrftoken"].value
    chat = browser.post("/login/", form, follow=True)

    assert chat.redirect_chain == [("/ai/", 302)]
    assert 'data-dc="page"' in chat.content.decode()


def test_after_a_login_without_an_aim_there_is_the_chat(user: User) -> None:
    form = {"username": "ada", "password": "ada-secret"}
    assert Client().post("/login/", form, follow=True).redirect_chain == [("/ai/", 302)]


def test_a_wrong_password_is_told_on_the_page(user: User) -> None:
    page = Client().post("/login/", {"username": "ada", "password": "wrong"})

    assert 'role="alert"' in page.content.decode()


def test_logging_out_ends_at_the_login(user_client: Client) -> None:
    assert user_client.post("/logout/", follow=True).redirect_chain == [("/login/", 302)]


@pytest.mark.parametrize("path", ["/ai/", "/login/"])
def test_pages_hold_nothing_inline_and_nothing_missing(path: str, user_client: Client) -> None:
    browser = Client() if path == "/login/" else user_client

    response = browser.get(path)

    page = Page(response.content.decode())
    assert page.inline == []
    assert page.fields == page.labelled != set()
    assert page.static
    prefix = settings.STATIC_URL
    assert [file for file in page.static if finders.find(file.removeprefix(prefix)) is None] == []


def test_the_page_posts_to_the_chat_api_of_the_package(user_client: Client) -> None:
    page = Page(user_client.get("/ai/").content.decode())

    assert page.places >= {"/ai/chat/", "/ai/conversations/"}


def test_every_answer_carries_the_policy(client: Client) -> None:
    policy = client.get("/login/").headers["Content-Security-Policy"]

    assert "script-src 'self'" in policy
    assert "unsafe" not in policy


async def test_the_policy_is_the_same_under_asgi(db: None) -> None:
    asynchronous = await AsyncClient().get("/login/")

    assert "default-src 'none'" in asynchronous.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "command",
    [["check"], ["makemigrations", "--check"], ["migrate"]],
)
def test_manage_py_works_from_any_folder(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = manage(tmp_path, monkeypatch, *command)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_example_passes_its_own_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = manage(tmp_path, monkeypatch, "test", "example")

    assert done.returncode == 0, done.stderr
    assert int(re.search(r"^Ran (\d+) tests", done.stderr, re.MULTILINE)[1]) > 5


def manage(folder: Path, monkeypatch: pytest.MonkeyPatch, *command: str) -> subprocess.CompletedProcess[str]:
    monkeypatch.setenv("EXAMPLE_DATABASE", str(folder / "db.sqlite3"))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    for name in ("DJANGO_SETTINGS_MODULE", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return subprocess.run(
        [sys.executable, str(EXAMPLE_PROJECT / "manage.py"), *command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
