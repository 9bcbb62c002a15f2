"""For tests: an OpenAI on loopback that speaks the real wire protocol, and a guard against real calls."""

from django_chatgpt.testing.case import FakeOpenAIMixin
from django_chatgpt.testing.embeddings import embed
from django_chatgpt.testing.fake import FakeOpenAI
from django_chatgpt.testing.guard import StrayRequest, refuse_stray_requests
from django_chatgpt.testing.recorder import Request
from django_chatgpt.testing.script import Rule, Unscripted
from django_chatgpt.testing.steps import HTML, Answer, Call, Drop, Failure, Gate, Usage

__all__ = [
    "HTML",
    "Answer",
    "Call",
    "Drop",
    "Failure",
    "FakeOpenAI",
    "FakeOpenAIMixin",
    "Gate",
    "Request",
    "Rule",
    "StrayRequest",
    "Unscripted",
    "Usage",
    "embed",
    "refuse_stray_requests",
]
