"""For pytest: the fixture `fake_openai`, and no test that calls the real world unless it is marked
`allow_openai`.
"""

import os
from collections.abc import Generator, Iterator
from contextlib import nullcontext

import pytest

from django_chatgpt.testing.fake import FakeOpenAI
from django_chatgpt.testing.guard import refuse_stray_requests
from django_chatgpt.testing.memory import forget

_HOSTS = "openai_allow_hosts"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        _HOSTS, "hosts other than this machine that tests may send requests to", type="linelist", default=[]
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "allow_openai: this test may send requests to the real world")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """The guard stands around setup, call and teardown, so also around setUpClass and wider fixtures."""
    if item.get_closest_marker("allow_openai") is not None:
        return (yield)
    with refuse_stray_requests(allow=item.config.getini(_HOSTS)):
        return (yield)


@pytest.fixture(scope="session")
def _fake_openai_server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


@pytest.fixture
def fake_openai(_fake_openai_server: FakeOpenAI) -> Iterator[FakeOpenAI]:
    """A fake OpenAI with nothing scripted; where Django is set up, OPENAI_BASE_URL and OPENAI_API_KEY point
    at it.
    """
    from django.conf import settings

    fake = _fake_openai_server
    fake.reset()
    has_django = settings.configured or "DJANGO_SETTINGS_MODULE" in os.environ
    forget()
    with fake.settings() if has_django else nullcontext():
        yield fake
    try:
        fake.raise_errors()
    finally:
        fake.reset()
