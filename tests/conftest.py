"""Fixtures that any test of the project may ask for."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import caches
from django.test import AsyncClient, Client
from django.utils import translation

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytest_plugins = ("tests.strictness",)


@pytest.fixture(autouse=True)
def fresh_cache() -> None:
    """What a process remembers between requests, as that a model can't be reached, ends with a test."""
    from django_chatgpt.services import alerts

    caches["default"].clear()
    alerts.told.clear()


@pytest.fixture(autouse=True)
def fresh_language() -> Iterator[None]:
    """A request in another language leaves it behind in its thread."""
    yield
    translation.deactivate()


@pytest.fixture
def user(db: None) -> "User":
    """An ordinary person, the one who asks."""
    return get_user_model().objects.create_user("ada", "ada@example.com", "ada-secret")


@pytest.fixture
def other_user(db: None) -> "User":
    """Somebody else, to whom nothing of `user` may be shown."""
    return get_user_model().objects.create_user("bob", "bob@example.com", "bob-secret")


@pytest.fixture
def staff_user(db: None) -> "User":
    """A superuser, for the admin."""
    return get_user_model().objects.create_superuser("grace", "grace@example.com", "grace-secret")


@pytest.fixture
def user_client(user: "User") -> Client:
    """A browser in which `user` is logged in."""
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def other_client(other_user: "User") -> Client:
    """A browser in which `other_user` is logged in."""
    client = Client()
    client.force_login(other_user)
    return client


@pytest.fixture
def csrf_client(user: "User") -> Client:
    """A browser in which `user` is logged in, and whose requests must carry a CSRF token."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    return client


@pytest.fixture
def async_user_client(user: "User") -> AsyncClient:
    """The same as `user_client`, for the ASGI handler."""
    client = AsyncClient()
    client.force_login(user)
    return client


@pytest.fixture
def admin_browser(staff_user: "User") -> Client:
    """A browser in which a superuser is logged in."""
    client = Client()
    client.force_login(staff_user)
    return client
