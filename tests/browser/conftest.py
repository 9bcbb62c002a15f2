"""A browser, a site for it to visit, and a model for the site to ask: each started once.

Playwright keeps an event loop running in its thread, which neither Django nor other tests' loops bear, so it
has a thread of its own, and so do the tests here.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from playwright import sync_api

from django_chatgpt.testing import FakeOpenAI, Gate
from tests.browser.reader import Reader
from tests.browser.site import Site

PEOPLE = {"ada": "ada-secret", "grace": "grace-secret"}
USUAL: dict[str, Any] = {"OPENAI_RATE_LIMITS": {}, "OPENAI_BUDGETS": []}

_thread = ThreadPoolExecutor(1, thread_name_prefix="browser")


def there(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call something in the browser's thread."""
    return _thread.submit(function, *arguments, **options).result()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser/" in item.path.as_posix():
            item.add_marker(pytest.mark.chromium)
            item.add_marker(pytest.mark.sqlite_only)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    given = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    there(pyfuncitem.obj, **given)
    return True


@pytest.fixture(scope="session")
def _model() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


@pytest.fixture(scope="session")
def _site(_model: FakeOpenAI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(
        tmp_path_factory.mktemp("site"), OPENAI_BASE_URL=_model.base_url, OPENAI_API_KEY=_model.api_key
    )
    yield site
    site.kill()


@pytest.fixture(scope="session")
def _browser() -> Iterator[Any]:
    playwright = there(sync_api.sync_playwright().start)
    browser = there(
        playwright.chromium.launch, executable_path=shutil.which("chromium"), args=["--no-sandbox"]
    )
    yield browser
    there(browser.close)
    there(playwright.stop)


@pytest.fixture(scope="session")
def _sessions(_browser: Any, _site: Site) -> dict[str, Any]:
    """What the browser keeps of people who have logged in."""

    def log_in(name: str) -> Any:
        context = _browser.new_context(base_url=_site.url)
        page = context.new_page()
        page.goto("/login/")
        page.fill("[name=username]", name)
        page.fill("[name=password]", PEOPLE[name])
        page.click("main button")
        page.wait_for_url("**/ai/")
        kept = context.storage_state()
        context.close()
        return kept

    return {name: there(log_in, name) for name in PEOPLE}


@pytest.fixture
def fake(_model: FakeOpenAI) -> FakeOpenAI:
    _model.reset()
    return _model


@pytest.fixture
def site(_site: Site, fake: FakeOpenAI) -> Site:
    """The site, with usual settings."""
    if _site.process.poll() is not None:
        _site.start()
    _site.configure(**USUAL)
    return _site


@pytest.fixture
def visit(_browser: Any, _sessions: dict[str, Any], site: Site) -> Iterator[Callable[..., Reader]]:
    """Somebody at the site: `visit(name, **options)`, whose options are those of a browser's context."""
    readers: list[Reader] = []

    def visit(name: str | None = "ada", **options: Any) -> Reader:
        usual = {"base_url": site.url, "viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"}
        state = {"storage_state": _sessions[name]} if name else {}
        context = _browser.new_context(**usual | state | options)
        context.set_default_timeout(20_000)
        readers.append(Reader(context))
        return readers[-1]

    yield visit
    for reader in readers:
        there(reader.context.close)
    for reader in readers:
        assert reader.problems == []


@pytest.fixture
def gate() -> Iterator[Gate]:
    """What an answer of the model waits for; open at the end whatever happens."""
    gate = Gate()
    yield gate
    gate.open()
