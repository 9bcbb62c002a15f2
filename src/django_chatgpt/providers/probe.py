"""Whether the provider is there: one small request that costs nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import httpx2
import jiter

from django_chatgpt.core.request import Endpoint
from django_chatgpt.providers.clients import sync_client, timeouts
from django_chatgpt.providers.errors import translate

PATH = "/models"
PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What the provider said. `models` are those it lists, None where it gives no list.

    `skew` is how many seconds the clock of this machine is ahead of the provider's, None where it told no
    time; it is exact to a second and the way there and back.
    """

    status: int
    models: frozenset[str] | None = None
    skew: float | None = None


def probe(endpoint: Endpoint) -> Probe:
    """Ask for the list of models. Raises NotConfiguredError, and ProviderError if nobody answers."""
    client = sync_client(endpoint)
    headers = {name: value for name, value in client.auth_headers.items() if isinstance(value, str)}
    address = str(client.base_url).rstrip("/") + PATH
    before = time.time()
    try:
        response = client._client.get(address, headers=headers, timeout=timeouts(PATIENCE))
    except Exception as error:
        raise translate(error) from None
    middle = (before + time.time()) / 2
    return Probe(response.status_code, _models(response), _skew(response.headers.get("date"), middle))


def _models(response: httpx2.Response) -> frozenset[str] | None:
    try:
        body = jiter.from_json(response.content)
    except ValueError:
        return None
    listed = body.get("data") if isinstance(body, dict) and response.status_code == 200 else None
    if not isinstance(listed, list):
        return None
    return frozenset(
        each["id"] for each in listed if isinstance(each, dict) and isinstance(each.get("id"), str)
    )


def _skew(date: str | None, now: float) -> float | None:
    try:
        return None if date is None else now - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
