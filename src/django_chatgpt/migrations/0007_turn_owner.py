"""Make an idempotency key unique for the site itself, too, whose turns have no user."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import migrations, models
from django.db.models import Count

import django_chatgpt.models.fields
from django_chatgpt.models.owner import owner_key_of


def fill(apps: Any, schema_editor: Any) -> None:
    """Say whose each turn is; of the site's turns with one key, the first one keeps it."""
    turns = apps.get_model("django_chatgpt", "AITurn").objects.using(schema_editor.connection.alias)
    owned = turns.exclude(user=None).order_by("user_id")
    for user_id in list(owned.values_list("user_id", flat=True).distinct()):
        turns.filter(user_id=user_id).update(owner_key=owner_key_of(user_id))
    used = turns.filter(user=None).exclude(idempotency_key=None)
    repeated = used.order_by("idempotency_key").values("idempotency_key").annotate(number=Count("pk"))
    for key in list(repeated.filter(number__gt=1).values_list("idempotency_key", flat=True)):
        _, *later = used.filter(idempotency_key=key).order_by("pk").values_list("pk", flat=True)
        turns.filter(pk__in=later).update(idempotency_key=None)


class Migration(migrations.Migration):
    dependencies = [
        ("django_chatgpt", "0006_indexes"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="aiturn",
            name="owner_key",
            field=django_chatgpt.models.fields.ExactCharField(
                blank=True, default="", editable=False, max_length=64
            ),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name="aiturn",
            index=models.Index(fields=["user"], name="ai_turn_user"),
        ),
        migrations.RemoveConstraint(model_name="aiturn", name="ai_turn_user_idempotency_key"),
        migrations.AddConstraint(
            model_name="aiturn",
            constraint=models.UniqueConstraint(
                fields=("owner_key", "idempotency_key"), name="ai_turn_owner_idempotency_key"
            ),
        ),
        migrations.AddConstraint(
            model_name="aiturn",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("user__isnull", True), models.Q(("owner_key", ""), _negated=True), _connector="OR"
                ),
                name="ai_turn_owner_key",
                violation_error_message="owner_key: the user's key, where there is a user.",
            ),
        ),
    ]
