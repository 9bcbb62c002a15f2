"""An answer in pieces, as far as anybody could mean it."""

from __future__ import annotations

import pytest

from django_chatgpt.core import reply
from django_chatgpt.core.reply import MAX_CALLS, Reply
from django_chatgpt.core.request import CallFragment, Delta
from django_chatgpt.exceptions import ProviderProtocolError


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply, "MAX_CHARACTERS", 100)


@pytest.mark.usefixtures("few")
def test_text_without_end_is_refused_and_what_came_before_is_kept() -> None:
    said = Reply("x")
    for _ in range(10):
        said.add(Delta(text="a" * 10))
    with pytest.raises(ProviderProtocolError) as caught:
        said.add(Delta(text="a"))
    assert said.text == "a" * 100
    assert not caught.value.retryable


@pytest.mark.usefixtures("few")
def test_arguments_and_items_count_as_text_does() -> None:
    said = Reply("x")
    said.add(Delta(text="a" * 40))
    said.add_fragment(CallFragment(0, "c", "pay", "1" * 60))
    with pytest.raises(ProviderProtocolError):
        said.add_fragment(CallFragment(0, "", "", "1"))
    assert said.calls[0].arguments == "1" * 60
    with pytest.raises(ProviderProtocolError):
        Reply("x").add(Delta(items=[{"type": "reasoning", "encrypted_content": "e" * 100}]))


def test_more_calls_than_any_model_makes_at_once_are_refused() -> None:
    said = Reply("x")
    for number in range(MAX_CALLS):
        said.add_fragment(CallFragment(number, f"c{number}", "pay", "{}"))
    said.add_fragment(CallFragment(0, "", "", " "))
    with pytest.raises(ProviderProtocolError):
        said.add_fragment(CallFragment(MAX_CALLS, "more", "pay", "{}"))
    assert len(said.calls) == MAX_CALLS
