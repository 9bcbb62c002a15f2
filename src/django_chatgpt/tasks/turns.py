"""The turns that wait for a worker."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django_chatgpt.services import function_jobs, queue
from django_chatgpt.services.results import snapshot_of
from django_chatgpt.services.sweeper import sweep_expired
from django_chatgpt.tasks.registration import report, task


@task
def process_ai_message_async(turn_id: str) -> dict[str, Any]:
    """Answer the question of a turn that waits, once; of one that is over or rests, tell how it stands.

    {"turn_id", "conversation_id", "status", "error_code", "message_id", "total_tokens", "cost"}; cost is USD
    as text. A turn that fails is a result like any other: the engine has tried again what was worth it.
    Raises NotFoundError, and ConflictError while another process answers.
    """

    def tell(events: int) -> None:
        report({"turn_id": turn_id, "events": events})

    turn = queue.work(UUID(turn_id), tell)
    seen = snapshot_of(turn).response
    return {
        "turn_id": str(turn.pk),
        "conversation_id": str(turn.conversation_id),
        "status": str(turn.status),
        "error_code": turn.error_code,
        "message_id": str(seen.message_id) if seen and seen.message_id else None,
        "total_tokens": seen.usage.total_tokens if seen else None,
        "cost": f"{seen.cost:.12f}" if seen and seen.cost is not None else None,
    }


@task
def sweep_ai_turns() -> dict[str, int]:
    """End the turns whose process died, and hand those on that no worker has begun in time.

    {"ended", "jobs"}: the turns, and the calls of functions that no worker has begun or ended in time. To
    be run every minute or so.
    """
    return {"ended": sweep_expired(), "jobs": function_jobs.give_up_overdue()}
