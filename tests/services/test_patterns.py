"""Forbidden patterns: found however they are dressed up, and never for long."""

from __future__ import annotations

import threading
import time

import pytest
from pytest_django import Settings

from django_chatgpt.conf import conf
from django_chatgpt.services import patterns
from django_chatgpt.services.patterns import OUT_OF_TIME, find_forbidden, forms

CATASTROPHE = r"(a+)+$"
LONG = "a" * 50_000 + "b"


def test_nothing_is_forbidden_by_default() -> None:
    assert find_forbidden(["anything"]) is None


def test_the_first_pattern_that_is_found(settings: Settings) -> None:
    settings.OPENAI_FORBIDDEN_PATTERNS = ["coffee", "tea"]
    assert find_forbidden(["water", "tea"]) == "tea"
    assert find_forbidden(["water"]) is None
    assert find_forbidden([]) is None
    settings.OPENAI_CONTENT_FILTER = False
    assert find_forbidden(["tea"]) is None


@pytest.mark.parametrize(
    "text",
    [
        "tea",
        "t\u200bea",  # zero width space
        "t\u00adea",  # soft hyphen
        "t\ufe0fe\u2060a",  # variation selector, word joiner
        "t\u034fea",  # combining grapheme joiner
        "\u202etea",  # right to left
        "\uff54\uff45\uff41",  # full width
        "\U0001d42d\U0001d41e\U0001d41a",  # bold
        "t\u0336e\u0336a\u0336",  # struck through
        "t\u0334\u0353\u0321e\u20dd\u0332a\u0315",  # heaped up
    ],
)
def test_dressed_up(text: str, settings: Settings) -> None:
    settings.OPENAI_FORBIDDEN_PATTERNS = [r"\btea\b"]
    assert find_forbidden([text])


def test_the_text_as_it_was_sent_is_searched_too(settings: Settings) -> None:
    """A site may forbid the very characters that are taken away."""
    settings.OPENAI_FORBIDDEN_PATTERNS = ["[\u200b\uff54]"]
    assert find_forbidden(["t\u200bea"])
    assert find_forbidden(["\uff54ea"])
    assert find_forbidden(["tea"]) is None


def test_plain_text_has_one_form() -> None:
    assert list(forms("tea")) == ["tea"]
    assert list(forms("th\u00e9")) == ["th\u00e9"]
    assert list(forms("\u0e0a\u0e37\u0e48\u0e2d")) == ["\u0e0a\u0e37\u0e48\u0e2d"]


def test_writing_that_needs_its_marks_keeps_them(settings: Settings) -> None:
    settings.OPENAI_FORBIDDEN_PATTERNS = ["\u0915\u0932", "the$"]
    assert find_forbidden(["\u0915\u093f\u0932"]) is None
    assert find_forbidden(["the\u0301"]) is None
    assert list(forms("th\u00e9\u200b")) == ["th\u00e9\u200b", "th\u00e9"]


@pytest.mark.parametrize(("failure", "verdict"), [("closed", OUT_OF_TIME), ("open", None)])
def test_a_catastrophic_pattern_is_given_up(settings: Settings, failure: str, verdict: str | None) -> None:
    settings.OPENAI_FORBIDDEN_PATTERNS = [CATASTROPHE, "tea"]
    settings.OPENAI_FILTER_FAILURE = failure
    assert find_forbidden([LONG]) == verdict
    assert find_forbidden(["aaa"]) == CATASTROPHE


def test_all_patterns_and_texts_share_the_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.OPENAI_FORBIDDEN_PATTERNS = ["coffee", "tea"]
    given: list[float] = []
    now = iter([0.0, 0.1, 0.3, 0.6])
    monkeypatch.setattr(patterns.time, "monotonic", lambda: next(now))
    real = type(conf).forbidden_patterns.read().value  # type: ignore[union-attr]

    class Spy:
        def __init__(self, pattern: str) -> None:
            self.pattern = pattern

        def search(self, text: str, *, timeout: float, concurrent: bool) -> None:
            assert concurrent
            given.append(round(timeout, 6))

    monkeypatch.setattr(type(conf), "forbidden_patterns", tuple(Spy(each.pattern) for each in real))
    assert find_forbidden(["water", "milk"]) == OUT_OF_TIME
    assert given == [0.4, 0.2]


def test_others_go_on_meanwhile(settings: Settings) -> None:
    """The search lets go of the interpreter's lock."""
    settings.OPENAI_FORBIDDEN_PATTERNS = [CATASTROPHE]
    done = threading.Event()
    searching = threading.Thread(target=lambda: (find_forbidden([LONG]), done.set()))
    searching.start()
    turns = 0
    while not done.is_set():
        time.sleep(0)
        turns += 1
    searching.join()
    assert turns > 10
