"""What an attempt cost, and who says so.

The site's own `OPENAI_PRICES` go first, then the price list of the package genai-prices, as far as it knows
exactly this model at exactly this provider. Otherwise the cost is unknown, which is None and never zero.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django_chatgpt.conf import DEFAULT_BASE_URL, conf
from django_chatgpt.conf import Price as PricePerMillion
from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.exceptions import NotConfiguredError

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice, Provider

logger = logging.getLogger(__name__)

MILLION = 1_000_000
SMALLEST = Decimal("1E-12")
LARGEST = Decimal(10) ** 12  # what the ledger's column holds

DEFAULT_HOST = urlsplit(DEFAULT_BASE_URL).hostname
OPENAI = "openai"
BATCH = "batch"
STANDARD_TIERS = frozenset({"", "auto", "default", "standard"})
FREE = ("omni-moderation", "text-moderation")
# The end of a name that says which version of the model it is; -0613 is from before they had years.
VERSION = re.compile(r"-(\d{4}-\d\d-\d\d|\d{8}|\d{4})$")
LATEST = re.compile(r"(-chat)?-latest$")


@dataclass(frozen=True, slots=True)
class Price:
    """What an attempt cost in USD, to 12 places, and the list it was priced by.

    `cost` is None where it is not known, and `source` then empty.
    """

    cost: Decimal | None
    source: str


UNKNOWN = Price(None, "")


def price(
    model: str,
    usage: TokenUsage,
    *,
    asked: str = "",
    base_url: str | None = None,
    service_tier: str = "",
    at: datetime | None = None,
) -> Price:
    """Price one attempt of `model` at `base_url`, which is OpenAI's where None.

    `model` is the name the provider answered with. The site may have set its price under the name that was
    `asked` for instead, such as that of a deployment; the list is only asked about the answer's. `usage` is
    that of a single attempt, as long prompts have prices of their own. `service_tier` is the answer's, or
    "batch" for what went through the Batch API. `at` is when it was asked, now if None, since prices change;
    the site's own hold for all tiers and times, but for batches, which cost half.
    Usage that contradicts itself has no known cost.
    """
    try:
        own = conf.prices
    except NotConfiguredError as error:
        logger.error("Costs are unknown: %s", error)
        return UNKNOWN
    if not _consistent(usage):
        return UNKNOWN
    with localcontext(prec=60):
        for name in (*_names(asked), *_names(model)):
            if name in own:
                cost = _by_own_price(own[name], usage)
                if cost is not None and service_tier.lower() == BATCH:
                    cost /= 2
                return _rounded(cost, "settings")
        return _by_price_list(model, usage, base_url or DEFAULT_BASE_URL, service_tier.lower(), at)


def _consistent(usage: TokenUsage) -> bool:
    counts = (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.cache_write_tokens)
    return min(counts) >= 0 and usage.cached_tokens + usage.cache_write_tokens <= usage.prompt_tokens


def _by_own_price(own: PricePerMillion, usage: TokenUsage) -> Decimal | None:
    """The cost by a price of the settings; None for output tokens of a model without an output price."""
    if own.output is None and usage.completion_tokens:
        return None
    fresh = usage.prompt_tokens - usage.cached_tokens
    total = fresh * own.input + usage.cached_tokens * own.cached_input
    return (total + usage.completion_tokens * (own.output or 0)) / MILLION


def _by_price_list(
    model: str, usage: TokenUsage, base_url: str, service_tier: str, at: datetime | None
) -> Price:
    host = urlsplit(base_url).hostname or ""
    if _is_local(host):
        return UNKNOWN
    # The price list takes 80 MB of memory and half a second, once in a process that asks for a price.
    from genai_prices import Usage, __version__
    from genai_prices.data_snapshot import get_snapshot

    prices = get_snapshot()
    source = f"genai-prices {__version__}"
    if prices.from_auto_update:
        source += f" of {prices.timestamp:%Y-%m-%d}"
    try:
        provider = _provider(prices, host, base_url)
        if provider.id == OPENAI and model.lower().startswith(FREE):
            return _rounded(Decimal(0), source)
        _, found = prices.find_provider_model(model, provider, None, None)
        _require_same_model(found, model)
        at = at or datetime.now(UTC)
        context = _context(provider, found, service_tier, at)
        _require_prices(found.get_prices(at, context), usage)
        counted = Usage(
            input_tokens=usage.prompt_tokens,
            cache_read_tokens=usage.cached_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            output_tokens=usage.completion_tokens,
        )
        calculation = found.calc_price(counted, provider, genai_request_timestamp=at, price_context=context)
    except (LookupError, ValueError):
        return UNKNOWN
    total = calculation.total_price
    return _rounded(total / 2 if service_tier == BATCH and context is None else total, source)


def _is_local(host: str) -> bool:
    """Whether no list can have a price for what runs there: an address, or a name without a domain."""
    try:
        ip_address(host)
    except ValueError:
        return "." not in host
    return True


def _provider(prices: DataSnapshot, host: str, base_url: str) -> Provider:
    if host == DEFAULT_HOST:
        return prices.find_provider(None, OPENAI, None)
    provider = prices.find_provider(None, None, base_url)
    if provider.id.startswith(OPENAI):  # the list looks at the beginning only: api.openai.com.example.org
        raise LookupError(base_url)
    return provider


def _require_same_model(found: ModelInfo, model: str) -> None:
    """Refuse what the list takes for the same without saying why: gpt-5.1-mini for gpt-5.1-codex-mini."""
    asked = model.lower()
    names = {*_names(asked), LATEST.sub("", asked)}
    if found.id.lower().rstrip("-") not in names:
        raise LookupError(model)


def _context(provider: Provider, found: ModelInfo, service_tier: str, at: datetime) -> dict[str, str] | None:
    """What the list calls the tier; LookupError where it would silently take the standard price instead."""
    if service_tier in STANDARD_TIERS:
        return None
    if service_tier == BATCH and provider.id == OPENAI and not found.price_variants:
        # The list has no tiers for embeddings. Batches of OpenAI cost half: `_by_price_list` halves them.
        return None
    context = {"processing" if service_tier == BATCH else "service_tier": service_tier}
    if not any(found is model for model in provider.models) or not any(
        variant.when == context and (variant.constraint is None or variant.constraint.active(at))
        for variant in found.price_variants or ()
    ):
        raise LookupError(service_tier)
    return context


def _require_prices(prices: ModelPrice, usage: TokenUsage) -> None:
    """Refuse prices that lack one which is needed: the list would take it for zero."""
    if usage.prompt_tokens and prices.input_mtok is None:
        raise LookupError("input")
    if usage.completion_tokens and prices.output_mtok is None:
        raise LookupError("output")


def _names(model: str) -> tuple[str, ...]:
    """The names under which `model` may be listed: its own, and that without owner and version.

    "ft:gpt-4o-mini-2024-07-18:acme::x" is a "ft:gpt-4o-mini", and never a "gpt-4o-mini", which costs less.
    """
    owned = ":".join(model.split(":", 2)[:2]) if model.lower().startswith("ft:") else model
    return model, owned, VERSION.sub("", owned)


def _rounded(cost: Decimal | None, source: str) -> Price:
    if cost is None or cost >= LARGEST:
        return UNKNOWN
    return Price(cost.quantize(SMALLEST, ROUND_HALF_EVEN), source)
