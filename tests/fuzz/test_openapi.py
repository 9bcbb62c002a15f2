"""Whatever a client makes of `openapi.json`, the answer is one that the document announces, and never a 5xx.

`DJANGO_CHATGPT_FUZZ` says how many requests are made to each operation.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.wsgi import get_wsgi_application
from django.middleware.csrf import _get_new_csrf_string
from django.test import Client
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from django_chatgpt.api import api
from django_chatgpt.functions import function_registry
from django_chatgpt.services import AIService
from django_chatgpt.testing import FakeOpenAI

schemathesis = pytest.importorskip("schemathesis")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")

#: A document can not say everything: that a message must not be empty, that a name has no NUL.
TOO_STRICT = [checks.positive_data_acceptance]
#: The answers of something that was there: 409 is one, too.
MET = (200, 201, 204, 409)
REQUESTS = int(os.environ.get("DJANGO_CHATGPT_FUZZ", "40"))

pytestmark = [pytest.mark.sqlite_only, pytest.mark.timeout(900)]


@pytest.fixture
def cookies(user: User, transactional_db: None) -> dict[str, str]:
    """The cookies of a browser in which `user` is logged in."""
    client = Client()
    client.force_login(user)
    session = client.session.session_key
    assert session is not None
    return {settings.SESSION_COOKIE_NAME: session, settings.CSRF_COOKIE_NAME: _get_new_csrf_string()}


def add(a: int, b: int) -> int:
    """The sum of two numbers."""
    return a + b


@pytest.fixture
def known(user: User, transactional_db: None) -> Iterator[dict[str, Any]]:
    """Identifiers that lead somewhere."""
    function_registry.register(add)
    with FakeOpenAI() as fake, fake.settings():
        reply = AIService(user).ask("Hello?")
        yield {"turn_id": str(reply.turn_id), "conversation_id": str(reply.conversation_id)}
    function_registry.unregister("add")


OPERATIONS = [
    (method.upper(), path)
    for path, methods in api.get_openapi_schema(path_prefix="/ai/")["paths"].items()
    for method in methods
]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_answer_is_announced(
    method: str, path: str, known: dict[str, Any], cookies: dict[str, str]
) -> None:
    document = schemathesis.openapi.from_wsgi("/ai/openapi.json", get_wsgi_application())
    operation = document[path][method]
    headers = {"X-CSRFToken": cookies[settings.CSRF_COOKIE_NAME]}
    answered: Counter[int] = Counter()

    @hypothesis_settings(
        max_examples=REQUESTS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
        derandomize=True,
        database=None,
    )
    @given(case=operation.as_strategy(), lead=st.booleans())
    def ask(case: Any, lead: bool) -> None:
        if lead and isinstance(case.body, dict) and "function_name" in case.body:
            case.body.update(function_name="add", arguments={"a": 1, "b": 2})
        if lead:
            case.path_parameters.update({name: known[name] for name in case.path_parameters if name in known})
        response = case.call_and_validate(headers=headers, cookies=cookies, excluded_checks=TOO_STRICT)
        answered[response.status_code] += 1

    ask()
    # Somebody who was not let in, or never met what is there, would have seen nothing.
    assert not answered[401], answered
    assert sum(answered[status] for status in MET), answered
