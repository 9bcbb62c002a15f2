"""Figures in the pages of the admin: {{ cost|usd }}, {{ time|duration }}, {{ used|spent }},
{{ reply|answer }}."""

from __future__ import annotations

from decimal import Decimal

from django import template
from django.utils.safestring import SafeString, mark_safe

from django_chatgpt.services.figures import milliseconds, usd, with_unknown
from django_chatgpt.services.markdown import render
from django_chatgpt.services.reports import Used

register = template.Library()


@register.filter(name="usd")
def show_usd(amount: Decimal | None) -> str:
    """Money in USD; None is unknown."""
    return usd(amount)


@register.filter
def answer(text: str) -> SafeString:
    """What a model has written, as the HTML that its Markdown stands for, made safe."""
    return mark_safe(render(text))


@register.filter
def number(count: int) -> str:
    """A count with its thousands apart."""
    return f"{count:,}"


@register.filter
def duration(time: float | None) -> str:
    """Milliseconds as they are said."""
    return milliseconds(time) or "-"


@register.filter
def spent(used: Used) -> str:
    """What some attempts cost, and how many of them have no known cost."""
    return with_unknown(used.cost, used.unpriced)
