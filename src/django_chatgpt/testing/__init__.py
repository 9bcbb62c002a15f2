"""For tests: an OpenAI on loopback that speaks the real wire protocol, and a guard against real calls."""

from django_chatgpt.testing.fake import FakeOpenAI
from django_chatgpt.testing.guard import StrayRequest, refuse_stray_requests
from django_chatgpt.testing.recorder import Request
from django_chatgpt.testing.script import Rule
from django_chatgpt.testing.steps import HTML, Answer, Call, Drop, Failure, Gate, Usage

__all__ = [
    "HTML",
    "Answer",
    "Call",
    "Drop",
    "Failure",
    "FakeOpenAI",
    "Gate",
    "Request",
    "Rule",
    "StrayRequest",
    "Usage",
    "refuse_stray_requests",
]
