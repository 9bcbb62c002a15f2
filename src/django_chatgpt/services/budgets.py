"""Budgets: what a call may cost at most is reserved before it is made, and settled when it is over.

A `Payer` is whose budgets count. A `Purse` is what one turn, or one call outside any turn, may draw from
them: `first` before it begins, `next` before each further attempt, all within the transaction that announces
the attempt. What is not used goes back when the attempt is settled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from django.utils import timezone
from pydantic_core import to_json

from django_chatgpt.adapter import get_adapter
from django_chatgpt.conf import Budget, conf
from django_chatgpt.core.limits import context_window
from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.core.request import Endpoint, ModelRequest
from django_chatgpt.core.screening import TOPIC_TOKENS, topic_request
from django_chatgpt.core.spec import Screen
from django_chatgpt.exceptions import InvalidRequestError, NotConfiguredError, QuotaExceededError
from django_chatgpt.models import AIUsage
from django_chatgpt.models.fields import MONEY_PLACES
from django_chatgpt.services import alerts, prices, tokens
from django_chatgpt.services.periods import local, period_of
from django_chatgpt.services.sweeper import release_dead
from django_chatgpt.storage import budgets as storage
from django_chatgpt.storage.budgets import Standing, Window
from django_chatgpt.storage.ledger import Bill, Hold
from django_chatgpt.storage.primary import atomic, primary, retried

logger = logging.getLogger("django_chatgpt.budgets")

Answer = TypeVar("Answer")

# Longer than any call lasts. A turn's reservation lives as long as the turn's own lease is renewed.
HOLD_LEASE = timedelta(minutes=15)
NOTHING = Decimal(0)
SMALLEST = Decimal(1).scaleb(-MONEY_PLACES)


class BudgetExceededError(QuotaExceededError):
    """A budget has not enough left; `standing` is how it stands, for those who run the site."""

    def __init__(self, standing: Standing, amount: Decimal) -> None:
        self.standing = standing
        window = standing.window
        reset = local(window.end)
        left = max(1.0, (window.end - timezone.now()).total_seconds())
        if window.kind != "user":
            # The figures of what others pay for too are the site's own business.
            whose = "your group" if window.kind == "group" else "the site"
            text = f"This may cost more than what is left of the budget of {whose} for the {window.period}"
        elif amount > window.limit:
            text = f"This may cost {_usd(amount)}, more than your budget allows, {_usd(window.limit)}"
            text += f" a {window.period}"
        else:
            text = "This may cost more than what is left of your budget, "
            text += f"{_usd(window.limit)} a {window.period}"
        zone = f" {reset:%Z}" if reset.tzinfo else ""
        super().__init__(f"{text}. It begins anew at {reset:%Y-%m-%d %H:%M}{zone}.", retry_after=left)


def _usd(amount: Decimal) -> str:
    return f"{amount.normalize():f} USD"


@dataclass(frozen=True, slots=True)
class Payer:
    """Whose budgets count: those of the user, of the groups they are in, of the site."""

    user_id: Any
    budgets: tuple[Budget, ...]
    groups: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, user: Any) -> Payer | None:
        """The account of a user, or of the site itself where None; None where there are no budgets."""
        found = tuple(get_adapter().budgets(user))
        if not found:
            return None
        names = {budget.group for budget in found if budget.group is not None}
        memberships = getattr(user, "groups", None) if names else None
        if memberships is None:
            return cls(None if user is None else user.pk, found)
        rows = memberships.using(primary()).filter(name__in=names).order_by("pk").values_list("name", "pk")
        # Some databases take "Staff" for "staff".
        return cls(user.pk, found, tuple((name, pk) for name, pk in rows if name in names))

    @property
    def marks(self) -> str:
        """The groups as the ledger keeps them."""
        return f",{','.join(str(pk) for _, pk in self.groups)}," if self.groups else ""

    def windows(self, now: datetime) -> list[Window]:
        """The windows of the budgets that `now` lies in."""
        ids = dict(self.groups)
        windows = []
        for budget in self.budgets:
            if budget.group is not None:
                if budget.group in ids:
                    windows.append(window_of(budget, "group", ids[budget.group], budget.group, now))
            elif budget.scope == "site":
                windows.append(window_of(budget, "site", None, "", now))
            elif self.user_id is not None:
                windows.append(window_of(budget, "user", self.user_id, "", now))
        return windows


def window_of(budget: Budget, kind: Any, owner: Any, name: str, now: datetime) -> Window:
    """The window of a budget that `now` lies in, for one owner of it."""
    period = period_of(budget.period, now)
    return Window(kind, owner, name, budget.period, period.label, period.start, period.end, budget.limit)


def keys_of(row: AIUsage) -> set[str]:
    """The budgets that an attempt may count in, whichever are set, by the keys of their memos."""
    owners: list[tuple[str, Any]] = [("site", None), ("user", row.user_id)]
    owners += [("group", pk) for pk in row.budget_groups.split(",") if pk]
    return {
        storage.key_of(kind, owner, period, period_of(period, row.timestamp).label)
        for kind, owner in owners
        for period in ("day", "month")
    }


@dataclass(frozen=True, slots=True)
class Purse:
    """What may be drawn from an account for one turn, or for one call that belongs to none.

    `steps` is how many answers of the model it may still take; `overhead` the tokens of what is offered to
    the model besides the messages. `max_output_tokens` None: as many as the model's window has room for.
    `judge` is there if a model, with so many tokens to tell it what about, is asked first what it thinks of
    the question.
    """

    payer: Payer
    base_url: str | None
    max_output_tokens: int | None
    steps: int = 1
    overhead: int = 0
    judge: tuple[str, int] | None = None

    @classmethod
    def for_turn(
        cls,
        user: Any,
        request: ModelRequest,
        tools: Sequence[dict[str, Any]],
        steps: int,
        screen: Screen | None = None,
    ) -> Purse | None:
        """The purse of a turn that may call `tools` in `steps` steps; None where there are no budgets."""
        payer = Payer.of(user)
        if payer is None:
            return None
        offered = [*tools, request.response_schema] if request.response_schema else tools
        return cls(
            payer,
            request.endpoint.base_url,
            request.max_output_tokens,
            steps + 1 if tools else 1,
            tokens.PER_REQUEST + tokens.count_schemas(offered),
            None if screen is None or not screen.topics else _judge(request, screen),
        )

    @classmethod
    def for_body(cls, user: Any, endpoint: Endpoint, body: Mapping[str, Any]) -> Purse | None:
        """The purse of one request in the form of Chat Completions; None where there are no budgets."""
        payer = Payer.of(user)
        if payer is None:
            return None
        most = body.get("max_completion_tokens") or body.get("max_tokens")
        choices = body.get("n")
        offered = [body[name] for name in ("tools", "response_format") if body.get(name)]
        schemas = to_json(offered, fallback=str).decode() if offered else ""
        return cls(
            payer,
            endpoint.base_url,
            most if isinstance(most, int) else None,
            choices if isinstance(choices, int) and choices > 1 else 1,
            tokens.PER_REQUEST + tokens.count_known(schemas),
        )

    @classmethod
    def for_request(cls, payer: Payer | None, request: ModelRequest) -> Purse | None:
        """The purse of one request that belongs to no turn; None where there are no budgets."""
        if payer is None:
            return None
        offered = [request.response_schema] if request.response_schema else []
        overhead = tokens.PER_REQUEST + tokens.count_schemas(offered)
        return cls(payer, request.endpoint.base_url, request.max_output_tokens, overhead=overhead)

    def prompt_tokens(self, messages: Sequence[Any], model: str) -> int:
        """What a request with these messages takes in."""
        lines: list[Any] = [{"content": "", **message} for message in messages]
        return sum(tokens.count_message(line, model) for line in lines) + self.overhead

    def worst(self, prompt_tokens: int, model: str) -> Decimal:
        """What one answer can cost at most, in USD. Raises InvalidRequestError where the price is not known.

        A budget that lets through what nobody knows the price of is none.
        """
        output = self.max_output_tokens
        if output is None:
            output = max(context_window(model, conf.context_window) - prompt_tokens, 1)
        usage = TokenUsage(
            prompt_tokens=prompt_tokens, completion_tokens=output, total_tokens=prompt_tokens + output
        )
        costs = [
            prices.price(model, each, asked=model, base_url=self.base_url).cost
            for each in (usage, usage.model_copy(update={"cache_write_tokens": prompt_tokens}))
        ]
        known = [cost for cost in costs if cost is not None]
        if len(known) < len(costs):
            raise UnknownPriceError(model)
        return max(known)

    def first(self, prompt_tokens: int, model: str) -> Hold:
        """Reserve all steps. Raises QuotaExceededError."""
        amount = self.worst(prompt_tokens, model) * self.steps
        if self.judge is not None:
            judge, told = self.judge
            # Of what was said it is shown the question and no more than the model itself.
            amount += replace(self, max_output_tokens=TOPIC_TOKENS).worst(prompt_tokens + told, judge)
        return self._reserve(amount)

    def kept(self, row: AIUsage) -> Hold | None:
        """What an announced attempt has reserved, as its row tells; None if that is nothing."""
        if row.reserved_cost is None or row.reserved_until is None:
            return None
        windows = tuple(window.key for window in self.payer.windows(row.timestamp))
        return Hold(row.reserved_cost, row.timestamp, row.reserved_until, windows, row.budget_groups)

    def next(self, hold: Hold | None, prompt_tokens: int, model: str) -> Hold:
        """Carry on with what is left of `hold`, or reserve anew where that is not enough for one answer.

        Whoever calls has released `hold` in the same transaction. Raises QuotaExceededError.
        """
        if hold is None:
            return self.first(prompt_tokens, model)
        need = self.worst(prompt_tokens, model)
        now = timezone.now()
        windows = tuple(window.key for window in self.payer.windows(now))
        if windows == hold.windows and need <= hold.cost:
            return replace(hold, at=max(now, hold.at), until=now + HOLD_LEASE)
        return self._reserve(need)

    def _reserve(self, amount: Decimal) -> Hold:
        now = timezone.now()
        windows = self.payer.windows(now)
        while True:
            memos = storage.lock(windows)
            now = timezone.now()
            present = self.payer.windows(now)
            if present == windows:
                break
            windows = present  # midnight has passed while it waited
        for window in windows:
            storage.advance(memos[window.key], window, now)
        standings = storage.standings(windows, memos)
        _require(standings, amount)
        near = alerts.WARN_AT[-1]
        calm = all((each.used + amount) * 100 < each.window.limit * near for each in standings)
        # Where the clock has gone back, what was added up for good is not added up again, nor its time.
        at = max([now, *(memo.settled_before for memo in memos.values())])
        keys = tuple(window.key for window in windows)
        return Hold(amount, at, now + HOLD_LEASE, keys, self.payer.marks, calm)


class UnknownPriceError(InvalidRequestError):
    """A model without a known price was to be used where a budget applies."""

    def __init__(self, model: str) -> None:
        self.model = model
        super().__init__(
            fields={"model": f"{model} has no known price, and a budget applies; choose another."}
        )


def _judge(request: ModelRequest, screen: Screen) -> tuple[str, int]:
    asked = topic_request(screen, replace(request, messages=({"role": "user", "content": ""},)))
    told = sum(tokens.count_message(line, asked.model) for line in asked.messages)
    schemas = [asked.response_schema] if asked.response_schema else []
    return asked.model, told + tokens.PER_REQUEST + tokens.count_schemas(schemas)


def _require(standings: Sequence[Standing], amount: Decimal) -> None:
    """Raise for the window that begins anew last of those that have too little left."""
    short = [each for each in standings if each.used + amount > each.window.limit]
    if short:
        raise BudgetExceededError(max(short, key=lambda each: each.window.end), amount)


def share_used(user: Any) -> Decimal:
    """How much of a budget is spent or reserved, 1 being all of it, of the one that has least left."""
    payer = Payer.of(user)
    windows = [] if payer is None else payer.windows(timezone.now())
    standings = storage.read(windows) if windows else []
    shares = [each.used / each.window.limit if each.window.limit else Decimal(1) for each in standings]
    return max(shares, default=NOTHING)


def check(user: Any) -> None:
    """Refuse whoever has nothing left. Nothing is reserved. Raises QuotaExceededError."""
    payer = Payer.of(user)
    windows = [] if payer is None else payer.windows(timezone.now())
    if windows:
        _require(storage.read(windows), SMALLEST)


def announce(reserve: Callable[[], Hold] | None, announced: Callable[..., None]) -> None:
    """Announce a call outside any turn by `announced`, which takes the `hold` that `reserve` answers."""
    if reserve is None:
        announced()
        return

    def write() -> None:
        with atomic():
            announced(hold=reserve())

    guarded(lambda: retried(write))


def guarded(work: Callable[[], Answer]) -> Answer:
    """Do `work`, which reserves; where a budget refuses, again once what dead processes hold is released.

    What the site should know of a refusal is told, after the transaction of `work` is undone.
    """
    try:
        try:
            return work()
        except BudgetExceededError:
            if not release_dead():
                raise
            return work()
    except BudgetExceededError as error:
        alerts.budget(error.standing, refused=True)
        raise
    except UnknownPriceError as error:
        alerts.unknown_price(error.model)
        raise


def settled(asked: str, bill: Bill, purse: Purse | None, hold: Hold | None = None) -> None:
    """Tell the site what it should know after an attempt was settled: thresholds passed, prices missing.

    Nothing is asked of the database where there are neither, or where `hold` was calm: of those who together
    pass a level the last to reserve was not. To be called when the settling is committed: what can't be told
    is logged, for the answer is stored.
    """
    try:
        _tell(asked, bill, purse, hold)
    except NotConfiguredError as error:
        logger.error("Nobody is told what is spent: %s", error)
    except Exception as error:
        logger.error("Nobody is told what is spent: %s", type(error).__name__)


def _tell(asked: str, bill: Bill, purse: Purse | None, hold: Hold | None) -> None:
    if bill.cost is None and bill.usage_source != "unknown":
        alerts.unknown_price(bill.model or asked)
    if not bill.cost:
        return
    now = timezone.now()
    calm = hold is not None and hold.calm and bill.cost <= hold.cost
    windows = [] if purse is None or calm else purse.payer.windows(now)
    thresholds = threshold_windows(now)
    if not windows and not thresholds:
        return
    standings = storage.read([*windows, *thresholds])
    for standing in standings[: len(windows)]:
        alerts.budget(standing)
    for standing in standings[len(windows) :]:
        alerts.threshold(standing)


def threshold_windows(now: datetime) -> list[Window]:
    """The day and the month that `now` lies in, those of them that have a threshold, as its `limit`."""
    limits = [("day", conf.daily_cost_threshold), ("month", conf.monthly_cost_threshold)]
    return [
        window_of(Budget("site", period, limit), "site", None, "", now)  # type: ignore[arg-type]
        for period, limit in limits
        if limit is not None
    ]


def remaining(hold: Hold, cost: Decimal | None) -> Hold:
    """What is left of a reservation after an attempt; an unknown cost takes nothing from it."""
    return replace(hold, cost=max(hold.cost - (cost or NOTHING), NOTHING))
