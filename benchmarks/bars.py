"""A picture of a few values."""

from __future__ import annotations

import math


def svg(title: str, bars: list[tuple[str, float]], unit: str, *, logarithmic: bool = False) -> str:
    """A bar for each value, from nothing or, on a logarithmic scale, from a tenth of the least."""
    most = max(value for _, value in bars)
    low = min(value for _, value in bars) / 10
    height = 40 + 30 * len(bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 {height}" aria-label="{title}">',
        '<g font-family="system-ui, sans-serif" font-size="14">',
        f'<rect width="680" height="{height}" fill="#fff"/>',
        f'<text x="10" y="24" font-weight="600">{title}</text>',
    ]
    for at, (name, value) in enumerate(bars):
        share = math.log10(value / low) / math.log10(most / low) if logarithmic else value / most
        y, width = 40 + 30 * at, 310 * share
        parts.append(f'<text x="10" y="{y + 15}">{name}</text>')
        parts.append(f'<rect x="250" y="{y}" width="{width:.0f}" height="20" rx="3" fill="#2f6f8f"/>')
        parts.append(f'<text x="{256 + width:.0f}" y="{y + 15}">{value:.3g} {unit}</text>')
    return "\n".join([*parts, "</g>", "</svg>\n"])
