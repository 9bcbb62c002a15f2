"""The site's own functions, called for a person."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django_chatgpt.services import function_jobs
from django_chatgpt.tasks.registration import task


@task
def execute_ai_function(job_id: str) -> dict[str, Any]:
    """Make a call that `services.function_jobs.submit` has written down, once.

    {"job_id", "function", "status", "error_code", "duration_ms"}; what it returned is in its row. One that
    is over stays as it is. Raises NotFoundError, and ConflictError while another process makes it.
    """
    job = function_jobs.run(UUID(job_id))
    return {
        "job_id": str(job.pk),
        "function": job.name,
        "status": str(job.status),
        "error_code": job.error_code,
        "duration_ms": job.duration_ms,
    }
