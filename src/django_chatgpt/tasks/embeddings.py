"""Texts of the database that become vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.indexes import index_registry
from django_chatgpt.services import indexing, jobs
from django_chatgpt.services.jobs import EmbeddingJobs
from django_chatgpt.tasks.registration import report, task


@task
def create_embeddings_batch(
    job_ids: Sequence[str] | None = None, indexes: Sequence[str] | None = None
) -> dict[str, dict[str, Any]]:
    """Embed what waits in the database: bring jobs one step on, take in what has changed in indexes.

    Jobs are those that `EmbeddingJobs.submit` has written down, by their ids; indexes those of the site, by
    their names. Without either all open jobs and all indexes. {"jobs": {id: status}, "indexes": {name:
    {"changed", "gone", "failed", "texts", "tokens"}}, "failed": {id or name: code}}. What has failed keeps
    nothing else back; the error is raised where nothing else was done.
    """
    everything = job_ids is None and indexes is None
    told: dict[str, dict[str, Any]] = {"jobs": {}, "indexes": {}, "failed": {}}
    problem: AIServiceError | None = None
    for job in jobs.waiting(None if everything else map(UUID, job_ids or ())):
        try:
            told["jobs"][str(job.pk)] = str(EmbeddingJobs(job.user).advance(job).status)
        except AIServiceError as error:
            problem, told["failed"][str(job.pk)] = error, error.code
        report({"jobs": len(told["jobs"]), "indexes": 0})
    names = [each.name for each in index_registry.indexes] if everything else list(indexes or ())
    for name in names:
        try:
            work = indexing.refresh(index_registry.get(name))
        except AIServiceError as error:
            problem, told["failed"][name] = error, error.code
        else:
            counted = ("changed", "gone", "failed", "texts", "tokens")
            told["indexes"][name] = {each: getattr(work, each) for each in counted}
        report({"jobs": len(told["jobs"]), "indexes": len(told["indexes"])})
    if problem is not None and not told["jobs"] and not told["indexes"]:
        raise problem
    return told
