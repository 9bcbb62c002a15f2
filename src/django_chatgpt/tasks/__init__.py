"""What a Celery worker does for a site; without Celery, functions that may be called like any others.

Arguments are ids, numbers and names of the site's own, never what somebody said: brokers keep them in plain
sight. So are results. Each may be run twice.
"""

from django_chatgpt.tasks.embeddings import create_embeddings_batch
from django_chatgpt.tasks.functions import execute_ai_function
from django_chatgpt.tasks.turns import process_ai_message_async, sweep_ai_turns
from django_chatgpt.tasks.upkeep import (
    cleanup_old_conversations,
    cleanup_old_embeddings,
    create_ai_alert,
    daily_ai_maintenance,
    generate_usage_report,
    monitor_ai_costs,
    process_conversation_batch,
)

__all__ = [
    "cleanup_old_conversations",
    "cleanup_old_embeddings",
    "create_ai_alert",
    "create_embeddings_batch",
    "daily_ai_maintenance",
    "execute_ai_function",
    "generate_usage_report",
    "monitor_ai_costs",
    "process_ai_message_async",
    "process_conversation_batch",
    "sweep_ai_turns",
]
