"""A batch is found by its file, so that none is submitted twice."""

from __future__ import annotations

from typing import Any

import httpx2

from django_chatgpt.core.request import Endpoint
from django_chatgpt.providers import batches
from django_chatgpt.providers.clients import http_clients

ENDPOINT = Endpoint(api_key="sk-test", base_url="http://127.0.0.1:9/v1")


def listed(number: int, input_file: str) -> dict[str, Any]:
    return {
        "id": f"batch_{number}",
        "object": "batch",
        "completion_window": "24h",
        "created_at": 1_800_000_000 - number,
        "endpoint": "/v1/embeddings",
        "input_file_id": input_file,
        "status": "in_progress",
    }


def look_for(input_file: str, there: int) -> tuple[batches.Batch | None, int]:
    """What is found among so many batches, the last of which has the file "mine"; in how many requests."""
    asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        start = int(request.url.params.get("after", "batch_-1").removeprefix("batch_")) + 1
        end = min(start + int(request.url.params["limit"]), there)
        page = [listed(number, "mine" if number == there - 1 else "other") for number in range(start, end)]
        return httpx2.Response(200, json={"object": "list", "data": page, "has_more": end < there})

    with http_clients(sync=httpx2.Client(transport=httpx2.MockTransport(answer))):
        return batches.find(ENDPOINT, input_file, 5.0), len(asked)


def test_it_is_found_behind_many_newer_ones() -> None:
    found, asked = look_for("mine", batches.PER_PAGE + 5)
    assert found is not None
    assert (found.id, asked) == (f"batch_{batches.PER_PAGE + 4}", 2)


def test_one_that_is_not_there_is_not_looked_for_for_ever() -> None:
    assert look_for("nobody's", batches.PER_PAGE) == (None, 1)
    assert look_for("nobody's", batches.LOOK_BACK + 500) == (None, batches.LOOK_BACK // batches.PER_PAGE)
