"""Bars of what was used, drawn on the server: a picture, without any script."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from django.http import HttpResponse

from django_chatgpt.conf.extras import missing_extra, require_extra
from django_chatgpt.exceptions import NotConfiguredError
from django_chatgpt.services.figures import usd
from django_chatgpt.services.reports import Used

Theme = Literal["light", "dark"]

MOST_LABELS = 16
LONGEST_LABEL = 28
_NOT_OF_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
SVG = "{http://www.w3.org/2000/svg}"
# A picture has no page around it: what it says of itself is all there is to be loaded.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: what it is of, and what was used."""

    label: str
    used: Used


def draw(bars: Sequence[Bar], theme: Theme, *, lying: bool) -> bytes:
    """An SVG of what each bar cost, or of its tokens where nothing has a cost.

    `lying` bars are for names, standing ones for days. Raises NotConfiguredError without the extra [charts].
    """
    pygal = _library()
    style = require_extra("pygal.style", "charts").Style(
        background="transparent",
        plot_background="transparent",
        foreground="#444444" if theme == "light" else "#cccccc",
        foreground_strong="#222222" if theme == "light" else "#eeeeee",
        foreground_subtle="#cccccc" if theme == "light" else "#444444",
        opacity="1",
        guide_stroke_color="#dddddd" if theme == "light" else "#333333",
        major_guide_stroke_color="#dddddd" if theme == "light" else "#333333",
        guide_stroke_dasharray="0",
        major_guide_stroke_dasharray="0",
        colors=("#417690",) if theme == "light" else ("#79aec8",),
        font_family="system-ui, sans-serif",
        label_font_size=12,
        major_label_font_size=12,
        value_font_size=12,
    )
    money = by_cost(bars)
    chart = (pygal.HorizontalBar if lying else pygal.Bar)(
        style=style,
        js=[],
        show_legend=False,
        width=900,
        height=60 + 26 * max(len(bars), 2) if lying else 260,
        margin=4,
        x_label_rotation=0 if lying else 30,
        truncate_label=LONGEST_LABEL,
        min_scale=3,
        max_scale=6,
        range=None if any(_height(bar, money) for bar in bars) else (0, 1),
        value_formatter=lambda value: usd(Decimal(repr(value))) if money else f"{value:,.0f}",
    )
    # The first of lying bars is the lowest.
    shown = list(reversed(bars)) if lying else list(bars)
    chart.x_labels = [_NOT_OF_XML.sub("\ufffd", bar.label) for bar in shown]
    if not lying and len(bars) > MOST_LABELS:
        chart.x_labels_major_every = -(-len(bars) // MOST_LABELS)
        chart.show_minor_x_labels = False
    chart.add("", [_height(bar, money) for bar in shown])
    chart.add_xml_filter(_still)
    drawn: bytes = chart.render()
    return drawn


def _library() -> Any:
    """pygal, without the finder that it leaves behind: Python 3.11 warns of it at imports that fail later."""
    pygal = require_extra("pygal", "charts")
    sys.meta_path[:] = [each for each in sys.meta_path if type(each).__module__ != "pygal"]
    return pygal


def _still(root: Any) -> Any:
    """The picture without what would move it: the library writes a script even where none is wanted."""
    for parent in list(root.iter()):
        for child in [each for each in parent if each.tag in ("script", f"{SVG}script")]:
            parent.remove(child)
    return root


def missing() -> str:
    """What to install for charts; "" where it is there."""
    try:
        _library()
    except NotConfiguredError:
        return missing_extra("charts")
    return ""


def picture(svg: bytes) -> HttpResponse:
    return HttpResponse(svg, content_type="image/svg+xml", headers={"Content-Security-Policy": POLICY})


def by_cost(bars: Sequence[Bar]) -> bool:
    """Whether the bars are of money; else of tokens."""
    return any(bar.used.cost for bar in bars)


def _height(bar: Bar, money: bool) -> Any:
    return float(bar.used.cost or 0) if money else bar.used.tokens
