"""Members of the staff who may do exactly this and no more."""

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client


def staff_browser(*permissions: str, name: str = "clerk") -> Client:
    """A browser in which somebody of the staff is logged in: "view_aiturn", "auth.delete_user"."""
    user = get_user_model().objects.create_user(name, is_staff=True)
    for each in permissions:
        app, _, codename = each.rpartition(".")
        user.user_permissions.add(
            Permission.objects.get(content_type__app_label=app or "django_chatgpt", codename=codename)
        )
    client = Client()
    client.force_login(user)
    return client
