"""The page and the widget: for whom they are there, and what is in them."""

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, Permission
from django.http import HttpRequest
from django.template import Context, RequestContext, Template, TemplateSyntaxError
from django.test import Client, RequestFactory, override_settings

from django_chatgpt.adapter import Adapter
from django_chatgpt.models import AIConversation

pytestmark = [pytest.mark.django_db, pytest.mark.sqlite_only]

TAG = "{% load django_chatgpt %}{% chatgpt_widget %}"


class Nobody(Adapter):
    def may_use(self, user: Any) -> bool:
        return False


@pytest.fixture
def closed() -> Iterator[None]:
    with override_settings(OPENAI_ADAPTER=f"{__name__}.Nobody"):
        yield


def request_of(user: Any) -> HttpRequest:
    request = RequestFactory().get("/anywhere/")
    request.user = user
    return request


def widget(user: Any, tag: str = TAG) -> str:
    return Template(tag).render(RequestContext(request_of(user)))


def test_a_user_model_without_permissions_sees_no_costs() -> None:
    """AbstractBaseUser alone has no `has_perm`."""
    person = SimpleNamespace(pk=1, is_authenticated=True, is_active=True)
    assert not hasattr(AbstractBaseUser, "has_perm")
    assert 'data-language="' in widget(person)
    assert "data-costs" not in widget(person)


def test_strangers_are_sent_to_the_login(client: Client) -> None:
    with override_settings(LOGIN_URL="/enter/"):
        answer = client.get("/ai/?a=b")
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/enter/?next=/ai/%3Fa%3Db"


def test_where_a_site_guards_itself_the_page_still_answers_strangers(client: Client) -> None:
    guard = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    with override_settings(LOGIN_URL="/enter/", MIDDLEWARE=[*settings.MIDDLEWARE, guard]):
        assert client.get("/ai/").headers["Location"] == "/enter/?next=/ai/"


def test_who_may_not_ask_is_told_so(user_client: Client, closed: None) -> None:
    answer = user_client.get("/ai/")
    assert answer.status_code == 403
    page = answer.content.decode()
    assert "ada" in page
    assert "data-place-chat" not in page


def test_the_page(user_client: Client) -> None:
    answer = user_client.get("/ai/")
    assert answer.status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]
    page = answer.content.decode()
    assert 'data-place-chat="/ai/chat/"' in page
    assert 'data-place-conversation="/ai/conversations/00000000-0000-0000-0000-000000000000/"' in page
    assert "csrftoken" in answer.cookies


def test_nothing_but_reading(user_client: Client) -> None:
    assert user_client.post("/ai/").status_code == 405
    assert user_client.head("/ai/").status_code == 200


def test_a_conversation_of_ones_own(user_client: Client, other_client: Client, user: Any) -> None:
    conversation = AIConversation.objects.create(user=user, title="Private")
    place = f"/ai/c/{conversation.pk}/"
    assert f'data-conversation="{conversation.pk}"' in user_client.get(place).content.decode()
    assert other_client.get(place).status_code == 404
    assert user_client.get(f"/ai/c/{uuid4()}/").status_code == 404


@pytest.mark.parametrize("path", ["/ai/", "tag"])
def test_nothing_is_inline(path: str, user_client: Client, user: Any) -> None:
    """What a strict Content-Security-Policy forbids is not there."""
    html = widget(user) if path == "tag" else user_client.get(path).content.decode()
    assert not re.search(r"<[^>]+\s(on\w+|style)=", html)
    assert not re.search(r"<style|javascript:", html)
    for script in re.findall(r"<script\b[^>]*>(.*?)</script>", html, re.DOTALL):
        assert script == ""


def test_costs_are_for_those_who_may_see_the_ledger(user_client: Client, user: Any) -> None:
    assert "data-costs" not in user_client.get("/ai/").content.decode()
    user.user_permissions.add(Permission.objects.get(codename="view_aiusage"))
    assert "data-costs" in user_client.get("/ai/").content.decode()


@override_settings(TEMPLATES=[])
def test_a_site_without_templates_has_no_page(user_client: Client) -> None:
    assert user_client.get("/ai/").status_code == 404


def test_the_widget(user: Any) -> None:
    html = widget(user)
    assert '<template shadowrootmode="open">' in html
    assert 'data-place-chat="/ai/chat/"' in html
    assert 'name="csrfmiddlewaretoken"' in html


def test_the_widget_is_not_for_strangers(user: Any, closed: None) -> None:
    assert widget(AnonymousUser()) == ""
    assert widget(user) == ""


def test_without_a_request_there_is_no_widget() -> None:
    assert Template(TAG).render(Context()) == ""


def test_a_title_is_text(user: Any) -> None:
    tag = Template("{% load django_chatgpt %}{% chatgpt_widget title=title open=True %}")
    html = tag.render(RequestContext(request_of(user), {"title": "<b>Ask</b>"}))
    assert "&lt;b&gt;Ask&lt;/b&gt;" in html
    assert "<django-chatgpt open>" in html


def test_another_option_is_a_mistake(user: Any) -> None:
    with pytest.raises(TemplateSyntaxError, match="colour"):
        widget(user, '{% load django_chatgpt %}{% chatgpt_widget colour="red" %}')
