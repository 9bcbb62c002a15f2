"""What the measured site's database says after a run, as JSON: what is open, what the ledger sums up to."""

from __future__ import annotations

import json

import benchmarks.site  # noqa: F401 - configures Django, which the imports below need

# isort: split
from django.db.models import Count

from django_chatgpt.models import AITurn, AIUsage


def accounts() -> dict[str, object]:
    """Turns by status, what is still open, and the ledger's rows: request id, source, outcome, tokens."""
    usage = AIUsage.objects.all()
    return {
        "running": AITurn.objects.filter(status__in=AITurn.ACTIVE).count(),
        "reserved": usage.filter(reserved_cost__isnull=False).count(),
        "turns": dict(AITurn.objects.values_list("status").annotate(Count("pk")).order_by()),
        "ledger": list(usage.values_list("request_id", "usage_source", "outcome", "total_tokens")),
    }


if __name__ == "__main__":
    print(json.dumps(accounts()))
