"""Who is let in, asked of every route there is: one that is added later is asked as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from django.test.utils import override_settings
from django.urls import URLPattern, get_resolver

from django_chatgpt.api import api
from django_chatgpt.models import AIConversation, AIMessage, AITurn
from django_chatgpt.testing import FakeOpenAI
from tests.api.conftest import ABSENT, Door

pytestmark = [pytest.mark.django_db, pytest.mark.sqlite_only]

#: These tell nothing of anybody.
PUBLIC = {"api-root", "openapi-json", "openapi-view"}

#: What people see; tests/pages asks who is let in there.
PAGES = {"page", "talk"}

#: A body that each route would take. A new unsafe route has to be written down here.
BODIES: dict[tuple[str, str], Any] = {
    ("chat", "POST"): {"message": "Hi"},
    ("approve", "POST"): {"approve": True},
    ("cancel", "POST"): None,
    ("execute_function", "POST"): {"function_name": "nothing", "arguments": {}},
    ("embeddings", "POST"): {"texts": ["Hi"]},
    ("search_embeddings", "POST"): {"query": "Hi"},
    ("conversations", "POST"): {"title": "Mine"},
    ("conversation", "PATCH"): {"title": "Mine"},
    ("conversation", "DELETE"): None,
}
SAFE = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True)
class Route:
    """One method of one path; `place` has the path's parameters as {name}."""

    name: str
    method: str
    place: str

    @property
    def body(self) -> Any:
        return None if self.method in SAFE else BODIES[self.name, self.method]

    def path(self, **ids: Any) -> str:
        return "/ai/" + self.place.format(**ids)

    def __str__(self) -> str:
        return f"{self.method} {self.place}"


def all_routes() -> list[Route]:
    """Every method of every route of the interface."""
    routes = []
    for prefix, router in api._routers:
        for place, view in router.path_operations.items():
            for operation in view.operations:
                routes += [Route(str(view.url_name), method, prefix + place) for method in operation.methods]
    return [Route(route.name, route.method, route.place.lstrip("/")) for route in routes]


ROUTES = all_routes()
every_route = pytest.mark.parametrize("route", ROUTES, ids=str)
unsafe_route = pytest.mark.parametrize("route", [r for r in ROUTES if r.method not in SAFE], ids=str)
owned_route = pytest.mark.parametrize("route", [r for r in ROUTES if "{" in r.place], ids=str)


def ids_of(conversation: AIConversation) -> dict[str, Any]:
    return {"conversation_id": conversation.pk, "turn_id": conversation.turns.get().pk}


@pytest.fixture
def conversation(user: Any) -> AIConversation:
    """A conversation of `user` in which something was said."""
    conversation = AIConversation.objects.create(user=user, title="Private")
    turn = AITurn.objects.create(conversation=conversation, user=user, status="completed")
    AIMessage.objects.create(conversation=conversation, turn=turn, sequence=1, role="user", content="Secret")
    return conversation


def test_the_routes_are_all_there_are() -> None:
    """What is asked below is what the URLs lead to."""
    (include,) = (
        pattern
        for pattern in get_resolver("tests.urls").url_patterns
        if getattr(pattern, "app_name", None) == "django_chatgpt"
    )
    patterns = [pattern for pattern in include.url_patterns if pattern.name not in PAGES]
    assert all(isinstance(pattern, URLPattern) for pattern in patterns)
    assert {pattern.name for pattern in patterns} - PUBLIC == {route.name for route in ROUTES}
    assert {(route.name, route.method) for route in ROUTES if route.method not in SAFE} == set(BODIES)


@every_route
def test_nobody_in_particular_is_401(
    anonymous_door: Door, fake: FakeOpenAI, conversation: AIConversation, route: Route
) -> None:
    answer = anonymous_door.send(route.method, route.path(**ids_of(conversation)), route.body)
    assert answer.status == 401
    assert answer.error["code"] == "not_authenticated"
    assert b"Private" not in answer.body
    conversation.refresh_from_db()
    assert conversation.title == "Private"
    fake.assert_nothing_asked()


@every_route
def test_a_browser_without_anything_is_401(handler: Any, conversation: AIConversation, route: Route) -> None:
    """The same where the token is missing, too: signing in comes first."""
    door = Door(handler, None, csrf=True)
    assert door.send(route.method, route.path(**ids_of(conversation)), route.body).status == 401


@every_route
def test_a_session_of_a_user_who_may_no_longer(
    door: Door, fake: FakeOpenAI, conversation: AIConversation, user: Any, route: Route
) -> None:
    user.is_active = False
    user.save()
    assert door.send(route.method, route.path(**ids_of(conversation)), route.body).status == 401
    fake.assert_nothing_asked()


@every_route
def test_a_made_up_session_is_401(anonymous_door: Door, conversation: AIConversation, route: Route) -> None:
    anonymous_door.client.cookies["sessionid"] = "x" * 32
    assert anonymous_door.send(route.method, route.path(**ids_of(conversation)), route.body).status == 401


@unsafe_route
@pytest.mark.parametrize("token", [None, "x" * 32])
def test_no_csrf_token_is_403(
    csrf_door: Door, fake: FakeOpenAI, conversation: AIConversation, route: Route, token: str | None
) -> None:
    csrf_door.client.cookies["csrftoken"] = "y" * 32
    headers = {} if token is None else {"X-CSRFToken": token}
    answer = csrf_door.send(route.method, route.path(**ids_of(conversation)), route.body, headers)
    assert answer.status == 403
    assert answer.error["code"] == "csrf_failed"
    conversation.refresh_from_db()
    assert conversation.title == "Private"
    assert AIConversation.objects.count() == 1
    fake.assert_nothing_asked()


@unsafe_route
def test_a_csrf_token_is_let_through(
    csrf_door: Door, fake: FakeOpenAI, conversation: AIConversation, route: Route
) -> None:
    csrf_door.client.cookies["csrftoken"] = "y" * 32
    headers = {"X-CSRFToken": "y" * 32}
    answer = csrf_door.send(route.method, route.path(**ids_of(conversation)), route.body, headers)
    # Nothing waits for a decision, and there is no such function: who asks was let through to hear that.
    assert answer.status == {"approve": 409, "execute_function": 404}.get(route.name, answer.status)
    assert answer.status in (200, 201, 204, 404, 409)
    if answer.status in (404, 409):
        assert answer.error["code"] in ("decided", "unknown_function")


@unsafe_route
def test_another_origin_is_403(csrf_door: Door, conversation: AIConversation, route: Route) -> None:
    csrf_door.client.cookies["csrftoken"] = "y" * 32
    headers = {"X-CSRFToken": "y" * 32, "Origin": "https://elsewhere.example"}
    answer = csrf_door.send(route.method, route.path(**ids_of(conversation)), route.body, headers)
    assert answer.status == 403


@unsafe_route
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"message=Hi"),
        ("text/plain", b'{"message": "Hi"}'),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="message"\r\n\r\nHi\r\n--b--',
        ),
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=b", b"cut"),
    ],
)
def test_a_form_of_another_site_is_403(
    csrf_door: Door,
    fake: FakeOpenAI,
    conversation: AIConversation,
    route: Route,
    content_type: str,
    body: bytes,
) -> None:
    path = route.path(**ids_of(conversation))
    answer = csrf_door.send(route.method, path, body, content_type=content_type)
    assert answer.status == 403
    assert AIConversation.objects.count() == 1
    fake.assert_nothing_asked()


@owned_route
def test_what_is_somebody_elses_is_404(
    other_door: Door, fake: FakeOpenAI, conversation: AIConversation, route: Route
) -> None:
    """And said in the same words as what is nowhere."""
    ids = ids_of(conversation)
    answer = other_door.send(route.method, route.path(**ids), route.body)
    assert answer.status == 404
    absent = other_door.send(route.method, route.path(**dict.fromkeys(ids, ABSENT)), route.body)
    assert absent.status == 404
    assert answer.error["code"] == absent.error["code"] == "not_found"
    (own,) = (id for name, id in ids.items() if name in route.place)
    assert answer.error["message"].replace(str(own), ABSENT) == absent.error["message"]
    assert b"Private" not in answer.body
    assert b"Secret" not in answer.body
    conversation.refresh_from_db()
    assert conversation.title == "Private"


@owned_route
@pytest.mark.parametrize("id", ["no-uuid", "%00", "%F0%9F%8E%88"])
def test_an_id_that_is_none_is_404(door: Door, route: Route, id: str) -> None:
    answer = door.send(route.method, route.path(conversation_id=id, turn_id=id), route.body)
    assert answer.status == 404


def test_asking_in_somebody_elses_conversation(
    other_door: Door, fake: FakeOpenAI, conversation: AIConversation
) -> None:
    for body in ({}, {"stream": True}):
        answer = other_door.ask("Hi", conversation_id=str(conversation.pk), **body)
        assert answer.status == 404
        assert "conversation_id" in answer.error["message"]
    fake.assert_nothing_asked()
    assert conversation.turns.count() == 1


def test_the_list_is_ones_own(other_door: Door, conversation: AIConversation) -> None:
    answer = other_door.get("/ai/conversations/").json
    assert answer["conversations"] == []
    assert answer["pagination"]["total_count"] == 0


@every_route
def test_other_methods_are_405(door: Door, conversation: AIConversation, route: Route) -> None:
    taken = {other.method for other in ROUTES if other.place == route.place}
    for method in {"POST", "PUT", "PATCH", "DELETE"} - taken:
        answer = door.send(method, route.path(**ids_of(conversation)), {})
        assert answer.status == 405
        assert answer.error["code"] == "method_not_allowed"
        assert set(answer.headers["Allow"].split(", ")) == taken


def test_the_schema(anonymous_door: Door) -> None:
    schema = anonymous_door.get("/ai/openapi.json").json
    described = {
        (path.removeprefix("/ai/"), method.upper())
        for path, item in schema["paths"].items()
        for method in item
    }
    assert described == {(route.place, route.method) for route in ROUTES}
    chat = schema["paths"]["/ai/chat/"]["post"]
    assert set(chat["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    assert {"400", "401", "403", "404", "409", "413", "422", "429", "502", "503", "504"} <= set(
        chat["responses"]
    )
    assert any(parameter["name"] == "Idempotency-Key" for parameter in chat["parameters"])
    assert set(chat["requestBody"]["content"]["application/json"]["schema"]["properties"]) == {
        "message",
        "messages",
        "conversation_id",
        "configuration_id",
        "model",
        "temperature",
        "max_tokens",
        "use_functions",
        "stream",
    }


def test_the_page_of_documentation_is_there_where_wanted(anonymous_door: Door) -> None:
    assert anonymous_door.get("/ai/docs").status == 404
    with override_settings(OPENAI_API_DOCS=True):
        assert anonymous_door.get("/ai/docs").status == 200


def test_a_malformed_setting_shows_no_page(anonymous_door: Door, caplog: pytest.LogCaptureFixture) -> None:
    with override_settings(OPENAI_API_DOCS="yes?"):
        assert anonymous_door.get("/ai/docs").status == 404
    assert "OPENAI_API_DOCS" in caplog.text
