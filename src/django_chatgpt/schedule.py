"""What Celery's beat does for a site, and when: `app.conf.beat_schedule = BEAT_SCHEDULE`.

Nothing is imported here, so that settings may.
"""

from datetime import timedelta
from typing import Any, Final

_MINUTE: Final = timedelta(minutes=1)


def _entry(name: str, every: timedelta) -> dict[str, Any]:
    # What was not done until its turn comes again is not done twice.
    return {
        "task": f"django_chatgpt.tasks.{name}",
        "schedule": every,
        "options": {"expires": every.total_seconds()},
    }


BEAT_SCHEDULE: Final[dict[str, dict[str, Any]]] = {
    "chatgpt: end dead turns": _entry("sweep_ai_turns", _MINUTE),
    "chatgpt: embed what waits": _entry("create_embeddings_batch", 10 * _MINUTE),
    "chatgpt: watch the costs": _entry("monitor_ai_costs", 60 * _MINUTE),
    "chatgpt: daily maintenance": _entry("daily_ai_maintenance", 24 * 60 * _MINUTE),
}
