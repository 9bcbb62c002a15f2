"""One script through every door: the same events, with the same numbers."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from django.contrib.auth.models import User

from django_chatgpt.testing import FakeOpenAI
from django_chatgpt.testing.memory import forget
from tests.api.conftest import Door
from tests.parity.doors import DOORS, replay, service, the_turn
from tests.parity.scripts import SCRIPTS, Script
from tests.parity.shown import HTTP, WHOLE, narrowed, of_http

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_the_same_events(script: Script, user: User, fake_openai: FakeOpenAI) -> None:
    fake_openai.script(*script.steps())
    engine = service(user, script)
    assert [each.number for each in engine] == list(range(1, len(engine) + 1))
    for name, (ask, words) in DOORS.items():
        if name == "socket" and find_spec("channels") is None:
            continue
        forget()  # a breaker would open
        fake_openai.script(*script.steps())
        shown = ask(user, script)
        assert narrowed(shown, words) == narrowed(engine, words), name
        log = of_http(replay(Door("wsgi", user), the_turn(user), 0).events)
        assert log == narrowed(engine, HTTP), f"what is kept of {name}"


def test_the_scripts_say_everything(user: User, fake_openai: FakeOpenAI) -> None:
    """All that there is to say, but that a form was missed."""
    kinds = set()
    for script in SCRIPTS:
        fake_openai.script(*script.steps())
        kinds |= {each.kind for each in service(user, script)}
    assert kinds == set(WHOLE)
