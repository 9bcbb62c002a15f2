"""A provider whose answers come a letter at a time, and functions for it to call."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from django.test.utils import override_settings

from django_chatgpt.core import run as core
from django_chatgpt.functions import function_registry
from django_chatgpt.runtime import checkpoints
from django_chatgpt.services import follow
from tests.parity import scripts
from tests.parity.letters import spell

SITE = {
    "OPENAI_PRICES": {"gpt-6-luna": {"input": "1", "output": "2"}},
    "OPENAI_MAX_RETRIES": 0,
    "CHANNEL_LAYERS": {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
}


@pytest.fixture(autouse=True)
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    spell(monkeypatch)
    monkeypatch.setattr(core, "CHECKPOINT_SECONDS", 0.05)
    monkeypatch.setattr(checkpoints, "GATHER_LEAST", 0.01)
    monkeypatch.setattr(checkpoints, "GATHER_MOST", 0.01)
    monkeypatch.setattr(follow, "LOOK_SECONDS", 0.05)
    function_registry.register(scripts.look)
    function_registry.register(scripts.fail)
    function_registry.register(scripts.pay, requires_approval=True)
    with override_settings(**SITE):
        yield
    for name in ("look", "fail", "pay"):
        function_registry.unregister(name)
    if find_spec("channels") is not None:
        from django_chatgpt.services import monitoring

        monitoring.unsubscribe()
