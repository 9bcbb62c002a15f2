"""How the reference of the models writes down a column."""

from typing import Any

from django.conf import settings
from django.db import models

#: The columns of every table, told once at the top of the page.
BASE = ("id", "created_at", "updated_at")


def typed(field: "models.Field[Any, Any]") -> str:
    """`CharField(200), null`, `ForeignKey(AITurn, SET_NULL), null`: what a cell of the type column says."""
    arguments: list[str] = []
    if isinstance(field, models.ForeignKey):
        target = field.remote_field.model
        user = target._meta.label == settings.AUTH_USER_MODEL
        arguments = ["user" if user else target.__name__, field.remote_field.on_delete.__name__]
    elif isinstance(field, models.DecimalField):
        arguments = [str(field.max_digits), str(field.decimal_places)]
    elif isinstance(field, models.CharField):
        arguments = [str(field.max_length)]
    text = type(field).__name__ + (f"({', '.join(arguments)})" if arguments else "")
    return text + (", null" if field.null else "") + (", unique" if field.unique else "")
