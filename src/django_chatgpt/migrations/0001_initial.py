from decimal import Decimal

import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import django_chatgpt.core.ids
import django_chatgpt.models.fields


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="AIFunction",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=django_chatgpt.core.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated")),
                (
                    "name",
                    django_chatgpt.models.fields.ExactCharField(
                        max_length=150, unique=True, verbose_name="name"
                    ),
                ),
                ("description", models.TextField(blank=True, default="", verbose_name="description")),
                (
                    "parameters_schema",
                    models.JSONField(blank=True, default=dict, verbose_name="parameters schema"),
                ),
                (
                    "implementation",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="Dotted path, information only: nothing is imported or executed from it.",
                        max_length=500,
                        verbose_name="implementation",
                    ),
                ),
                ("is_active", models.BooleanField(default=True, verbose_name="active")),
                (
                    "usage_count",
                    models.PositiveBigIntegerField(default=0, editable=False, verbose_name="calls"),
                ),
                (
                    "success_count",
                    models.PositiveBigIntegerField(default=0, editable=False, verbose_name="successes"),
                ),
                (
                    "error_count",
                    models.PositiveBigIntegerField(default=0, editable=False, verbose_name="errors"),
                ),
                (
                    "average_response_time_ms",
                    models.FloatField(
                        blank=True, editable=False, null=True, verbose_name="average response time (ms)"
                    ),
                ),
                ("metadata", models.JSONField(blank=True, default=dict, verbose_name="metadata")),
            ],
            options={
                "verbose_name": "AI function",
                "verbose_name_plural": "AI functions",
                "db_table": "ai_function",
            },
        ),
        migrations.CreateModel(
            name="AIConfiguration",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=django_chatgpt.core.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated")),
                (
                    "name",
                    django_chatgpt.models.fields.ExactCharField(
                        max_length=150, unique=True, verbose_name="name"
                    ),
                ),
                (
                    "model",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="Blank: the site's default model.",
                        max_length=200,
                        verbose_name="model",
                    ),
                ),
                (
                    "temperature",
                    models.FloatField(
                        blank=True,
                        help_text="0 to 2. Blank: not sent.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(0.0),
                            django.core.validators.MaxValueValidator(2.0),
                        ],
                        verbose_name="temperature",
                    ),
                ),
                (
                    "max_tokens",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Cap on the output of one reply, at least 1. Blank: the site's cap.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                        verbose_name="maximum tokens",
                    ),
                ),
                (
                    "top_p",
                    models.FloatField(
                        blank=True,
                        help_text="0 to 1. Blank: not sent.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(0.0),
                            django.core.validators.MaxValueValidator(1.0),
                        ],
                        verbose_name="top p",
                    ),
                ),
                (
                    "frequency_penalty",
                    models.FloatField(
                        blank=True,
                        help_text="-2 to 2. Blank: not sent.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(-2.0),
                            django.core.validators.MaxValueValidator(2.0),
                        ],
                        verbose_name="frequency penalty",
                    ),
                ),
                (
                    "presence_penalty",
                    models.FloatField(
                        blank=True,
                        help_text="-2 to 2. Blank: not sent.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(-2.0),
                            django.core.validators.MaxValueValidator(2.0),
                        ],
                        verbose_name="presence penalty",
                    ),
                ),
                ("system_prompt", models.TextField(blank=True, default="", verbose_name="system prompt")),
                ("is_active", models.BooleanField(default=True, verbose_name="active")),
                ("metadata", models.JSONField(blank=True, default=dict, verbose_name="metadata")),
            ],
            options={
                "verbose_name": "AI configuration",
                "verbose_name_plural": "AI configurations",
                "db_table": "ai_configuration",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("temperature__isnull", True),
                            models.Q(("temperature__gte", 0.0), ("temperature__lte", 2.0)),
                            _connector="OR",
                        ),
                        name="ai_configuration_temperature",
                        violation_error_message="temperature: 0 to 2.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("max_tokens__isnull", True), ("max_tokens__gte", 1), _connector="OR"
                        ),
                        name="ai_configuration_max_tokens",
                        violation_error_message="max_tokens: at least 1.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("top_p__isnull", True),
                            models.Q(("top_p__gte", 0.0), ("top_p__lte", 1.0)),
                            _connector="OR",
                        ),
                        name="ai_configuration_top_p",
                        violation_error_message="top_p: 0 to 1.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("frequency_penalty__isnull", True),
                            models.Q(("frequency_penalty__gte", -2.0), ("frequency_penalty__lte", 2.0)),
                            _connector="OR",
                        ),
                        name="ai_configuration_frequency_penalty",
                        violation_error_message="frequency_penalty: -2 to 2.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("presence_penalty__isnull", True),
                            models.Q(("presence_penalty__gte", -2.0), ("presence_penalty__lte", 2.0)),
                            _connector="OR",
                        ),
                        name="ai_configuration_presence_penalty",
                        violation_error_message="presence_penalty: -2 to 2.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="AIConversation",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=django_chatgpt.core.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated")),
                ("title", models.CharField(blank=True, default="", max_length=200, verbose_name="title")),
                (
                    "session_id",
                    models.CharField(blank=True, default="", max_length=100, verbose_name="session ID"),
                ),
                ("is_active", models.BooleanField(default=True, verbose_name="active")),
                (
                    "total_tokens",
                    models.PositiveBigIntegerField(default=0, editable=False, verbose_name="total tokens"),
                ),
                (
                    "total_cost",
                    models.DecimalField(
                        decimal_places=12,
                        default=Decimal("0"),
                        editable=False,
                        help_text="USD.",
                        max_digits=24,
                        verbose_name="total cost",
                    ),
                ),
                ("metadata", models.JSONField(blank=True, default=dict, verbose_name="metadata")),
                (
                    "configuration",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="conversations",
                        to="django_chatgpt.aiconfiguration",
                        verbose_name="configuration",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="ai_conversations",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "verbose_name": "AI conversation",
                "verbose_name_plural": "AI conversations",
                "db_table": "ai_conversation",
            },
        ),
        migrations.CreateModel(
            name="AIAlert",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=django_chatgpt.core.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated")),
                (
                    "severity",
                    models.CharField(
                        choices=[
                            ("info", "info"),
                            ("warning", "warning"),
                            ("error", "error"),
                            ("critical", "critical"),
                        ],
                        default="info",
                        max_length=10,
                        verbose_name="severity",
                    ),
                ),
                ("title", models.CharField(max_length=200, verbose_name="title")),
                ("description", models.TextField(blank=True, default="", verbose_name="description")),
                ("is_resolved", models.BooleanField(default=False, verbose_name="resolved")),
                (
                    "resolved_at",
                    models.DateTimeField(blank=True, editable=False, null=True, verbose_name="resolved at"),
                ),
                ("metadata", models.JSONField(blank=True, default=dict, verbose_name="metadata")),
                (
                    "resolved_by",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="resolved_ai_alerts",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="resolved by",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="ai_alerts",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
                (
                    "conversation",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="alerts",
                        to="django_chatgpt.aiconversation",
                        verbose_name="conversation",
                    ),
                ),
            ],
            options={
                "verbose_name": "AI alert",
                "verbose_name_plural": "AI alerts",
                "db_table": "ai_alert",
            },
        ),
        migrations.CreateModel(
            name="AITurn",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=django_chatgpt.core.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("queued", "queued"),
                            ("running", "running"),
                            ("awaiting_approval", "awaiting approval"),
                            ("completed", "completed"),
                            ("failed", "failed"),
                            ("cancelled", "cancelled"),
                            ("interrupted", "interrupted"),
                        ],
                        default="queued",
                        max_length=20,
                        verbose_name="status",
                    ),
                ),
                ("active_conversation", models.UUIDField(editable=False, null=True, unique=True)),
                (
                    "idempotency_key",
                    django_chatgpt.models.fields.ExactCharField(  # type: ignore[misc]
                        blank=True, max_length=200, null=True, verbose_name="idempotency key"
                    ),
                ),
                (
                    "request_fingerprint",
                    models.CharField(
                        blank=True, default="", max_length=64, verbose_name="request fingerprint"
                    ),
                ),
                ("options", models.JSONField(blank=True, default=dict, verbose_name="options")),
                (
                    "partial_text",
                    models.TextField(
                        blank=True,
                        default="",
                        help_text="The answer as far as it had arrived.",
                        verbose_name="partial text",
                    ),
                ),
                (
                    "cancel_requested_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="cancel requested"),
                ),
                (
                    "lease_expires_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="lease expires"),
                ),
                (
                    "error_code",
                    models.CharField(blank=True, default="", max_length=64, verbose_name="error code"),
                ),
                ("error_message", models.TextField(blank=True, default="", verbose_name="error message")),
                ("started_at", models.DateTimeField(blank=True, null=True, verbose_name="started")),
                ("finished_at", models.DateTimeField(blank=True, null=True, verbose_name="finished")),
                (
                    "conversation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="turns",
                        to="django_chatgpt.aiconversation",
                        verbose_name="conversation",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="ai_turns",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "verbose_name": "AI turn",
                "verbose_name_plural": "AI turns",
                "db_table": "ai_turn",
            },
        ),
        migrations.CreateModel(
            name="AIMessage",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=django_chatgpt.core.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated")),
                ("sequence", models.PositiveIntegerField(verbose_name="sequence")),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("system", "system"),
                            ("user", "user"),
                            ("assistant", "assistant"),
                            ("tool", "tool"),
                            ("function", "function (old data)"),
                        ],
                        max_length=10,
                        verbose_name="role",
                    ),
                ),
                ("content", models.TextField(blank=True, default="", verbose_name="content")),
                ("function_call", models.JSONField(blank=True, null=True, verbose_name="function call")),
                ("tool_calls", models.JSONField(blank=True, default=list, verbose_name="tool calls")),
                (
                    "tool_call_id",
                    models.CharField(blank=True, default="", max_length=200, verbose_name="tool call ID"),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("complete", "complete"),
                            ("cancelled", "cancelled"),
                            ("interrupted", "interrupted"),
                            ("failed", "failed"),
                            ("refused", "refused"),
                        ],
                        default="complete",
                        max_length=12,
                        verbose_name="status",
                    ),
                ),
                ("token_count", models.PositiveIntegerField(blank=True, null=True, verbose_name="tokens")),
                (
                    "estimated_cost",
                    models.DecimalField(
                        blank=True,
                        decimal_places=12,
                        help_text="USD. Blank: unknown.",
                        max_digits=24,
                        null=True,
                        verbose_name="estimated cost",
                    ),
                ),
                (
                    "request_id",
                    models.CharField(blank=True, default="", max_length=200, verbose_name="request ID"),
                ),
                (
                    "response_time_ms",
                    models.PositiveIntegerField(blank=True, null=True, verbose_name="response time (ms)"),
                ),
                ("metadata", models.JSONField(blank=True, default=dict, verbose_name="metadata")),
                (
                    "conversation",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="messages",
                        to="django_chatgpt.aiconversation",
                        verbose_name="conversation",
                    ),
                ),
                (
                    "turn",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="messages",
                        to="django_chatgpt.aiturn",
                        verbose_name="turn",
                    ),
                ),
            ],
            options={
                "verbose_name": "AI message",
                "verbose_name_plural": "AI messages",
                "db_table": "ai_message",
                "ordering": ("conversation_id", "sequence"),
            },
        ),
        migrations.CreateModel(
            name="AIUsage",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=django_chatgpt.core.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated")),
                (
                    "kind",
                    models.CharField(
                        choices=[("chat", "chat"), ("embedding", "embedding"), ("moderation", "moderation")],
                        default="chat",
                        max_length=12,
                        verbose_name="kind",
                    ),
                ),
                ("model", django_chatgpt.models.fields.ExactCharField(max_length=200, verbose_name="model")),
                ("prompt_tokens", models.PositiveIntegerField(default=0, verbose_name="prompt tokens")),
                (
                    "completion_tokens",
                    models.PositiveIntegerField(default=0, verbose_name="completion tokens"),
                ),
                ("total_tokens", models.PositiveIntegerField(default=0, verbose_name="total tokens")),
                ("cached_tokens", models.PositiveIntegerField(default=0, verbose_name="cached tokens")),
                (
                    "cache_write_tokens",
                    models.PositiveIntegerField(default=0, verbose_name="cache write tokens"),
                ),
                ("reasoning_tokens", models.PositiveIntegerField(default=0, verbose_name="reasoning tokens")),
                (
                    "service_tier",
                    models.CharField(blank=True, default="", max_length=40, verbose_name="service tier"),
                ),
                (
                    "estimated_cost",
                    models.DecimalField(
                        blank=True,
                        decimal_places=12,
                        help_text="USD. Blank: unknown.",
                        max_digits=24,
                        null=True,
                        verbose_name="estimated cost",
                    ),
                ),
                (
                    "price_source",
                    models.CharField(blank=True, default="", max_length=100, verbose_name="price source"),
                ),
                (
                    "usage_source",
                    models.CharField(
                        choices=[
                            ("provider", "provider"),
                            ("estimated", "estimated"),
                            ("unknown", "unknown"),
                        ],
                        default="unknown",
                        max_length=10,
                        verbose_name="usage source",
                    ),
                ),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("running", "running"),
                            ("completed", "completed"),
                            ("failed", "failed"),
                            ("cancelled", "cancelled"),
                            ("interrupted", "interrupted"),
                        ],
                        default="running",
                        max_length=12,
                        verbose_name="outcome",
                    ),
                ),
                (
                    "error_code",
                    models.CharField(blank=True, default="", max_length=64, verbose_name="error code"),
                ),
                (
                    "request_id",
                    models.CharField(blank=True, default="", max_length=200, verbose_name="request ID"),
                ),
                (
                    "latency_ms",
                    models.PositiveIntegerField(blank=True, null=True, verbose_name="latency (ms)"),
                ),
                (
                    "time_to_first_token_ms",
                    models.PositiveIntegerField(
                        blank=True, null=True, verbose_name="time to first token (ms)"
                    ),
                ),
                ("timestamp", models.DateTimeField(default=django.utils.timezone.now, verbose_name="time")),
                ("metadata", models.JSONField(blank=True, default=dict, verbose_name="metadata")),
                (
                    "conversation",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="usage",
                        to="django_chatgpt.aiconversation",
                        verbose_name="conversation",
                    ),
                ),
                (
                    "turn",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="usage",
                        to="django_chatgpt.aiturn",
                        verbose_name="turn",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="ai_usage",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "verbose_name": "AI usage",
                "verbose_name_plural": "AI usage",
                "db_table": "ai_usage",
            },
        ),
        migrations.CreateModel(
            name="EmbeddingVector",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=django_chatgpt.core.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated")),
                (
                    "owner_key",
                    django_chatgpt.models.fields.ExactCharField(
                        blank=True, default="", editable=False, max_length=64
                    ),
                ),
                ("content", models.TextField(verbose_name="content")),
                (
                    "content_hash",
                    django_chatgpt.models.fields.ExactCharField(
                        editable=False, max_length=64, verbose_name="content hash"
                    ),
                ),
                ("model", django_chatgpt.models.fields.ExactCharField(max_length=200, verbose_name="model")),
                ("dimensions", models.PositiveIntegerField(editable=False, verbose_name="dimensions")),
                ("vector", models.BinaryField(verbose_name="vector")),
                ("metadata", models.JSONField(blank=True, default=dict, verbose_name="metadata")),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="ai_embeddings",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "verbose_name": "embedding vector",
                "verbose_name_plural": "embedding vectors",
                "db_table": "embedding_vector",
            },
        ),
        migrations.AddIndex(
            model_name="aiconversation",
            index=models.Index(fields=["user", "-updated_at", "-id"], name="ai_conversation_user_newest"),
        ),
        migrations.AddIndex(
            model_name="aiconversation",
            index=models.Index(fields=["updated_at"], name="ai_conversation_updated"),
        ),
        migrations.AddIndex(
            model_name="aialert",
            index=models.Index(fields=["is_resolved", "-created_at"], name="ai_alert_resolved_created"),
        ),
        migrations.AddIndex(
            model_name="aiturn",
            index=models.Index(fields=["status", "lease_expires_at"], name="ai_turn_status_lease"),
        ),
        migrations.AddConstraint(
            model_name="aiturn",
            constraint=models.UniqueConstraint(
                fields=("user", "idempotency_key"), name="ai_turn_user_idempotency_key"
            ),
        ),
        migrations.AddConstraint(
            model_name="aiturn",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("active_conversation", models.F("conversation")),
                        ("active_conversation__isnull", False),
                        ("status__in", ["awaiting_approval", "queued", "running"]),
                    ),
                    models.Q(
                        ("active_conversation__isnull", True),
                        ("status__in", ["cancelled", "completed", "failed", "interrupted"]),
                    ),
                    _connector="OR",
                ),
                name="ai_turn_active_conversation",
                violation_error_message="active_conversation: the conversation while the turn is active, else empty.",
            ),
        ),
        migrations.AddConstraint(
            model_name="aimessage",
            constraint=models.UniqueConstraint(
                fields=("conversation", "sequence"), name="ai_message_conversation_sequence"
            ),
        ),
        migrations.AddIndex(
            model_name="aiusage",
            index=models.Index(fields=["user", "timestamp"], name="ai_usage_user_timestamp"),
        ),
        migrations.AddIndex(
            model_name="aiusage",
            index=models.Index(fields=["model", "timestamp"], name="ai_usage_model_timestamp"),
        ),
        migrations.AddIndex(
            model_name="aiusage",
            index=models.Index(fields=["outcome", "timestamp"], name="ai_usage_outcome_timestamp"),
        ),
        migrations.AddIndex(
            model_name="aiusage",
            index=models.Index(fields=["timestamp"], name="ai_usage_timestamp"),
        ),
        migrations.AddConstraint(
            model_name="aiusage",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("estimated_cost__isnull", True), ("estimated_cost__gte", 0), _connector="OR"
                ),
                name="ai_usage_estimated_cost",
                violation_error_message="estimated_cost: 0 or more, or empty where unknown.",
            ),
        ),
        migrations.AddConstraint(
            model_name="embeddingvector",
            constraint=models.UniqueConstraint(
                fields=("owner_key", "model", "dimensions", "content_hash"),
                name="embedding_vector_owner_content",
            ),
        ),
        migrations.AddConstraint(
            model_name="embeddingvector",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("owner_key", ""), ("user__isnull", True)),
                    models.Q(("user__isnull", False), models.Q(("owner_key", ""), _negated=True)),
                    _connector="OR",
                ),
                name="embedding_vector_owner_key",
                violation_error_message="owner_key: the user's key, or empty without a user.",
            ),
        ),
        migrations.AddConstraint(
            model_name="embeddingvector",
            constraint=models.CheckConstraint(
                condition=models.Q(("dimensions__gte", 1)),
                name="embedding_vector_dimensions",
                violation_error_message="dimensions: at least 1.",
            ),
        ),
    ]
