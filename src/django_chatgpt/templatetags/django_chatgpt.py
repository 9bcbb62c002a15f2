"""`{% load django_chatgpt %}{% chatgpt_widget %}`: the chat in a corner of any page."""

from __future__ import annotations

from typing import Any

from django import template
from django.template import Context
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from django_chatgpt.pages.shell import may_use, shell

register = template.Library()


@register.simple_tag(takes_context=True)
def chatgpt_widget(context: Context, **options: Any) -> SafeString:
    """The widget, for those who may ask; for others, and where there is no request, nothing.

    Options: title (what the panel is called), open (whether it is open at first).
    """
    if strange := sorted(set(options) - {"title", "open"}):
        raise template.TemplateSyntaxError(f"chatgpt_widget has no option {', '.join(strange)}.")
    request = context.get("request")
    if request is None or not may_use(request):
        return mark_safe("")
    html = render_to_string("django_chatgpt/widget.html", shell(request) | {"options": options}, request)
    return mark_safe(html)
