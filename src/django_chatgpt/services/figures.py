"""Numbers as people read them: money to the digit that matters, unknown said as such."""

from __future__ import annotations

from decimal import Decimal

from django.utils.translation import gettext

SHOWN_PLACES = 6


def usd(amount: Decimal | None) -> str:
    """Money in USD: two places or as many as are not zero, up to six; of less than that, all there is."""
    if amount is None:
        return gettext("unknown")
    rounded = round(amount, SHOWN_PLACES)
    shown = rounded if rounded or not amount else amount
    places = max(2, -int(shown.normalize().as_tuple().exponent))
    return f"${shown:,.{places}f}"


def with_unknown(amount: Decimal | None, unpriced: int) -> str:
    """A sum, and of how many attempts the cost is in no sum."""
    if not unpriced or amount is None:
        return usd(amount)
    return gettext("%(cost)s and %(number)s of unknown cost") % {"cost": usd(amount), "number": unpriced}


def per_cent(part: float | None) -> str | None:
    return None if part is None else f"{part:.1f} %"


def milliseconds(duration: float | None) -> str | None:
    """A duration as it is said: "340 ms", "2.1 s"."""
    if duration is None:
        return None
    return f"{duration:.0f} ms" if duration < 1000 else f"{duration / 1000:.1f} s"
