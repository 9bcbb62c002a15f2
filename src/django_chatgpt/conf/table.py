"""Every setting there is: the one table behind `conf`, the system checks and the reference."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from django_chatgpt.conf.forms import dict_of, list_of, optional, or_default, or_off, unless_blank
from django_chatgpt.conf.scalars import (
    choice,
    duration,
    flag,
    header_value,
    imported_class,
    integer,
    money,
    number,
    pattern,
    redis_url,
    secret,
    text,
    url,
)
from django_chatgpt.conf.setting import Family, Setting
from django_chatgpt.conf.values import budget_list, price_table, rate_table
from django_chatgpt.exceptions import NotConfiguredError

Dialect = Literal["responses", "chat"]
DialectChoice = Literal["auto", "responses", "chat"]
OnDisconnect = Literal["continue", "drain", "cancel"]
FilterFailure = Literal["closed", "open"]
TurnRunner = Literal["inline", "celery"]

DEFAULT_BASE_URL = "https://api.openai.com/v1"
DEFAULT_HOST = "api.openai.com"


class Provider(Family, check_id="django_chatgpt.E001"):
    """Who answers, and how it is reached."""

    api_key = Setting(
        unless_blank(secret),
        None,
        "The key the provider is called with; it is never shown.",
        env="OPENAI_API_KEY",
    )
    organization = Setting(
        unless_blank(header_value),
        None,
        "The organization that calls are counted for, where a key belongs to several.",
        env="OPENAI_ORG_ID",
    )
    base_url = Setting(
        or_default(url, DEFAULT_BASE_URL),
        DEFAULT_BASE_URL,
        "The address of the provider, or of any server that speaks its protocol.",
        env="OPENAI_BASE_URL",
    )
    api_choice: Setting[DialectChoice] = Setting(
        choice("auto", "responses", "chat"),
        "auto",
        "The protocol; auto is Responses with api.openai.com and Chat Completions with any other host.",
        name="OPENAI_API",
    )


class Models(Family, check_id="django_chatgpt.E002"):
    """Which models are asked."""

    default_model = Setting(
        text, "gpt-6-luna", "The model that answers unless the configuration or the request names another."
    )
    fallback_models = Setting(
        list_of(text, allowed="a list of model names"),
        [],
        "The models tried in this order when the first can't be reached.",
    )
    embedding_model = Setting(text, "text-embedding-3-small", "The model that turns text into vectors.")
    moderation_model = Setting(
        unless_blank(text),
        None,
        "The provider's model that judges text before it is sent; None does not ask it.",
    )


class Requests(Family, check_id="django_chatgpt.E003"):
    """What one call of the provider may take."""

    max_tokens = Setting(
        optional(integer(1)),
        4096,
        "The longest reply, reasoning included; None leaves it to the model.",
        unit="tokens",
    )
    temperature = Setting(
        optional(number(0, 2)),
        None,
        "How freely the model chooses its words; None sends nothing, as reasoning models require.",
    )
    timeout = Setting(duration, 60, "How long the provider may stay silent.", unit="seconds")
    max_retries = Setting(
        integer(0, 20),
        3,
        "How often a call that failed for a passing reason is tried again.",
        unit="attempts",
    )
    breaker_failures = Setting(
        integer(0),
        5,
        "How many failures in a row keep a model from being asked for a while; 0 always asks.",
        unit="attempts",
    )
    breaker_seconds = Setting(
        duration, 30, "How long such a model is not asked before one call tries again.", unit="seconds"
    )


class Context(Family, check_id="django_chatgpt.E004"):
    """How much text is taken in."""

    context_window = Setting(
        dict_of(integer(1), allowed='a dict such as {"model": 128000}'),
        {},
        "The windows of models that are not known, or known wrongly.",
        unit="tokens",
    )
    token_buffer = Setting(integer(0), 500, "What is kept free in the context window.", unit="tokens")
    max_message_chars = Setting(
        integer(1), 200_000, "The longest message that is accepted.", unit="characters"
    )
    summarize_history = Setting(
        flag, False, "Whether what a conversation has no room for any more is summed up, in one more call."
    )


class Caching(Family, check_id="django_chatgpt.E005"):
    """Whether the same question is answered twice."""

    enable_caching = Setting(flag, True, "Whether replies to stateless requests without tools are cached.")
    cache_ttl = Setting(integer(0), 3600, "How long a cached reply is used.", unit="seconds")


class Content(Family, check_id="django_chatgpt.E006"):
    """Which text is refused."""

    content_filter = Setting(flag, True, "Whether text is checked before it is sent.")
    allowed_topics = Setting(
        list_of(text, allowed="a list of texts"),
        [],
        "The topics questions may be about; an empty list allows every topic.",
    )
    forbidden_patterns = Setting(
        list_of(pattern, allowed="a list of regular expressions"),
        [],
        "Text in which one of these is found is refused.",
    )
    classifier_model = Setting(
        unless_blank(text),
        None,
        "The model that says whether a question is about an allowed topic; None is the one that answers.",
    )
    moderate_output = Setting(
        flag, False, "Whether OPENAI_MODERATION_MODEL judges answers, too, before they are shown."
    )
    filter_failure: Setting[FilterFailure] = Setting(
        choice("closed", "open"),
        "closed",
        "Whether text that can't be checked, as the check fails or takes too long, is refused or let pass.",
    )


class Tools(Family, check_id="django_chatgpt.E007"):
    """What the site's functions may do in a turn."""

    max_tool_steps = Setting(
        integer(1, 1000), 8, "How often the model may call functions before it has to answer.", unit="steps"
    )
    tool_timeout = Setting(
        duration, 30, "How long a function may run unless it says otherwise.", unit="seconds"
    )
    approval_timeout = Setting(
        duration, 86_400, "How long a call waits for the approval of a person.", unit="seconds"
    )


class Turns(Family, check_id="django_chatgpt.E008"):
    """When a turn ends that nobody waits for, and how long what was said is kept."""

    on_disconnect: Setting[OnDisconnect] = Setting(
        choice("continue", "drain", "cancel"),
        "continue",
        "Whether a turn whose listener has gone is finished, read to the end of the present call, or closed.",
    )
    turn_timeout = Setting(
        optional(duration),
        600,
        "How long a turn may take, without the time in which it waits for a person; None sets no limit.",
        unit="seconds",
    )
    turn_lease = Setting(
        duration, 30, "How long a running turn may give no sign of life before it is ended.", unit="seconds"
    )
    turn_runner: Setting[TurnRunner] = Setting(
        choice("inline", "celery"),
        "inline",
        "Who answers what is asked over HTTP or a WebSocket: the process that was asked, or a Celery worker.",
    )
    queue_patience = Setting(
        duration,
        300,
        "How long a turn waits for a worker until it is handed to another, and then until it is ended.",
        unit="seconds",
    )
    wake_url = Setting(
        or_off(redis_url),
        None,
        "The Redis by which processes wake those who follow a turn in others; None takes that of the default "
        "cache or channel layer, False none.",
    )
    event_retention = Setting(
        integer(0),
        86_400,
        "How long the events of a turn are kept when it is over, to be streamed again.",
        unit="seconds",
    )
    archive_after = Setting(
        optional(integer(1)),
        None,
        "How long a conversation is unused before it is archived; None archives none.",
        unit="days",
    )
    delete_after = Setting(
        optional(integer(1)),
        None,
        "How long a conversation is unused before it is deleted with all that was said; None keeps it.",
        unit="days",
    )
    embedding_retention = Setting(
        optional(integer(1)),
        None,
        "How long a vector that no index needs is kept after it was written; None keeps it.",
        unit="days",
    )


class Money(Family, check_id="django_chatgpt.E009"):
    """What calls cost, and when somebody is told."""

    prices = Setting(
        price_table,
        {},
        "Prices that go before the known ones, by model.",
        unit="USD per million tokens",
    )
    daily_cost_threshold = Setting(
        optional(money), None, "The cost of one day above which an alert is raised.", unit="USD"
    )
    monthly_cost_threshold = Setting(
        optional(money), None, "The cost of one month above which an alert is raised.", unit="USD"
    )


class Quotas(Family, check_id="django_chatgpt.E010"):
    """How much may be used."""

    rate_limits = Setting(rate_table, {}, "How many requests are answered, by scope.", unit="requests")
    budgets = Setting(
        budget_list,
        [],
        "How much may be spent in a day or month of the site's time zone, by scope.",
        unit="USD",
    )


class Extensions(Family, check_id="django_chatgpt.E011"):
    """The site's own classes."""

    adapter = Setting(
        unless_blank(imported_class),
        None,
        "The class that answers what only the site knows: who may ask, with which key, quota and models.",
    )
    vector_backend = Setting(
        unless_blank(imported_class),
        None,
        "The class that searches vectors; None is the one that keeps them in the memory of each process.",
    )
    vector_memory = Setting(
        integer(1),
        1024,
        "How much memory a process may use to keep vectors in; what was not searched for longest goes first.",
        unit="MB",
    )


class Api(Family, check_id="django_chatgpt.E012"):
    """The HTTP interface."""

    api_docs = Setting(flag, False, "Whether the HTTP interface shows a page of documentation.")


class Conf(
    Provider, Models, Requests, Context, Caching, Content, Tools, Turns, Money, Quotas, Extensions, Api
):
    """The settings of this moment, one typed property each.

    A malformed value raises NotConfiguredError, which names the setting and what is allowed.
    """

    def __repr__(self) -> str:
        return "<django-chatgpt settings>"

    @property
    def api(self) -> Dialect:
        """The dialect spoken with `base_url`."""
        return self.api_for(self.base_url)

    def api_for(self, base_url: str) -> Dialect:
        """The dialect spoken with the server at `base_url`, which need not be the configured one."""
        chosen = self.api_choice
        if chosen != "auto":
            return chosen
        return "responses" if urlsplit(base_url).hostname == DEFAULT_HOST else "chat"

    def require_api_key(self) -> SecretStr:
        """The key, or NotConfiguredError where there is none."""
        key = self.api_key
        if key is None:
            raise NotConfiguredError(NO_API_KEY)
        return key


FAMILIES: tuple[type[Family], ...] = tuple(cls for cls in Conf.__bases__ if issubclass(cls, Family))
SETTINGS: dict[str, Setting[Any]] = {each.name: each for family in FAMILIES for each in family.declared()}
NO_API_KEY = "OPENAI_API_KEY is neither in the Django settings nor in the environment."

conf = Conf()
