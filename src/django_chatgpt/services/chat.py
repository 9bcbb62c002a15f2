"""The one way into a turn: every door calls `begin`, and shows what `run` or `launch` gives.

begin(ask)       may they? store the question and the turn, know everything the turn needs; or leave it
                 to a worker, as OPENAI_TURN_RUNNER says
run(prepared)    the events of the turn, driven by the calling thread
launch(prepared) the turn in a task of its own, to be listened to
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.utils.crypto import salted_hmac
from pydantic_core import to_json

from django_chatgpt.adapter import get_adapter
from django_chatgpt.conf import DEFAULT_BASE_URL, OnDisconnect, conf
from django_chatgpt.core.events import TurnEvent
from django_chatgpt.core.log import EventLog
from django_chatgpt.core.messages import Message, TokenUsage
from django_chatgpt.core.request import Endpoint, ModelRequest, public_url
from django_chatgpt.core.spec import Ending, Resumed, Screen, TurnSpec
from django_chatgpt.core.summary import Summary, SummaryDue
from django_chatgpt.core.window import Window
from django_chatgpt.database import ahop
from django_chatgpt.exceptions import ContentFilterError, InvalidRequestError, NotFoundError
from django_chatgpt.functions.calls import Function, FunctionBox
from django_chatgpt.models import AIConfiguration, AITurn
from django_chatgpt.runtime import inline
from django_chatgpt.runtime.tasks import TurnTask, opened
from django_chatgpt.services import (
    access,
    citations,
    context,
    moderation,
    observed,
    patterns,
    rates,
    runners,
    summaries,
    tokens,
)
from django_chatgpt.services.budgets import Purse, guarded
from django_chatgpt.services.forms import Form
from django_chatgpt.services.sweeper import sweep
from django_chatgpt.services.turns import FREE, TurnLog
from django_chatgpt.services.types import Source
from django_chatgpt.storage import turns as storage
from django_chatgpt.storage.ledger import Hold
from django_chatgpt.storage.primary import primary

if TYPE_CHECKING:
    from django_chatgpt.services.indexes import Passage

FINGERPRINTED = (
    "text",
    "conversation_id",
    "configuration_id",
    "model",
    "temperature",
    "max_tokens",
    "use_functions",
)


@dataclass(frozen=True, slots=True)
class Ask:
    """A question as a door has parsed it. None means: as the configuration or the settings say.

    `functions`: those the model may call, None for all that are registered. `form`: what the answer has to
    look like. `passages`: what the answer is to be found in, the best first. `inline`: this process answers,
    whatever OPENAI_TURN_RUNNER says.
    """

    user: Any
    text: str
    conversation_id: UUID | None = None
    configuration_id: UUID | None = None
    configuration: AIConfiguration | None = None
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    use_functions: bool = True
    idempotency_key: str | None = None
    session_id: str = ""
    functions: Iterable[Function | Callable[..., Any]] | None = None
    form: Form[Any] | None = None
    passages: Sequence[Passage] = ()
    inline: bool = False

    @property
    def user_id(self) -> Any:
        return None if self.user is None else self.user.pk

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(to_json({name: getattr(self, name) for name in FINGERPRINTED})).hexdigest()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A stored turn, ready to run."""

    spec: TurnSpec
    functions: FunctionBox
    on_disconnect: OnDisconnect


def begin(ask: Ask) -> Prepared | AITurn:
    """Store the question and prepare its turn, in one hop to the database.

    Returns the earlier turn where the idempotency key has opened one already, and the turn as it is where
    it waits for a worker. Raises PermissionDeniedError, InvalidRequestError, RateLimitedError,
    QuotaExceededError, NotFoundError, ConflictError, NotConfiguredError, TokenLimitError, ContentFilterError
    when a question with a forbidden pattern is stored, and WorkerUnavailableError.
    """
    # The SDK takes a second to import. The first question of a process waits for it here; no event loop does.
    import_module("django_chatgpt.providers")
    access.require(ask.user)
    check_text(ask.text)
    if (repeated := admit(ask)) is not None:
        return repeated
    forbidden = patterns.find_forbidden([ask.text])
    refusal = None if forbidden is None else ContentFilterError()
    waits = refusal is None and not ask.inline and runners.queues()
    configuration = ask.configuration or find_configuration(ask.configuration_id)
    if ask.conversation_id is not None:
        own = storage.configuration_of(ask.conversation_id, ask.user_id)
        configuration = configuration or configuration_in_force(own)
    account = access.account_of(ask.user)
    model = access.choose_model(ask.user, ask.model, configuration)
    request = build_request(replace(ask, model=model), configuration, account.endpoint)
    # Whatever may fail does so before the turn is stored; nobody would drive it afterwards.
    system = system_messages(ask.user, configuration)
    access.redacted([{"role": "user", "content": ask.text}])
    box = FunctionBox.for_user(ask.user, ask.functions if ask.use_functions else ())
    rules = Rules.of_the_site()
    question_tokens = tokens.count_text(ask.text, tokens.ANY_MODEL)
    window = context.window_of(request, box.schemas, system)
    context.check_question(window, question_tokens, request.model)
    passages = citations.fitting(ask.passages, window, question_tokens)
    told = citations.messages_of(passages)
    system, window = [*system, *told], citations.room_left(window, told)
    given = citations.as_sources(passages)
    bare = window
    summary = summaries.known(ask.conversation_id, window, question_tokens)
    window = summaries.with_summary(window, summary)
    screen = moderation.screen_for(request)
    question = storage.Question(
        user_id=ask.user_id,
        text=ask.text,
        token_count=question_tokens,
        window=replace(window, used=window.used + tokens.PER_MESSAGE + question_tokens),
        lease=runners.patience() if waits else rules.lease,
        waits=waits,
        conversation_id=ask.conversation_id,
        configuration=configuration,
        session_id=ask.session_id,
        idempotency_key=ask.idempotency_key,
        fingerprint=ask.fingerprint if ask.idempotency_key else "",
        options=kept_options(request, ask, configuration, account.tenant, given),
        admitted=screen is None and refusal is None,
        refusal=refusal,
        refused_by=forbidden or "",
    )
    purse = None if refusal else Purse.for_turn(ask.user, request, box.schemas, rules.max_steps, screen)
    if purse is None:
        opened = storage.open_turn(question, request.model, sweep)
    else:
        reserve = partial(_reserve, purse, request.model, window.room, summary)
        opened = guarded(lambda: storage.open_turn(question, request.model, sweep, reserve))
    if isinstance(opened, AITurn):
        return opened
    if refusal is not None:
        raise refusal
    if waits:
        runners.enqueue(opened.turn_id)
        return AITurn.objects.using(primary()).get(pk=opened.turn_id)
    box.conversation_id, box.turn_id = opened.conversation_id, opened.turn_id
    return prepare_first(
        opened,
        request,
        box,
        rules,
        system=system,
        window=window,
        summary=summary,
        due=summaries.due(opened, summary, request, bare, question_tokens, len(system)),
        check=ask.form.check if ask.form is not None else None,
        screen=screen,
        purse=purse,
        given=given,
    )


def _reserve(purse: Purse, model: str, room: int, summary: Summary | None, used: int, dropped: int) -> Hold:
    if summaries.is_due(dropped, summary):
        # One call more, which may be sent as much as the window takes.
        purse, used = replace(purse, steps=purse.steps + 1), max(used, room)
    return purse.first(used + purse.overhead, model)


def admit(ask: Ask) -> AITurn | None:
    """Count a question against the rate limits; not the repeat of one, whose turn is returned instead."""
    if conf.rate_limits and ask.idempotency_key is not None:
        repeat = storage.find_repeat(ask.user_id, ask.idempotency_key, ask.fingerprint)
        if repeat is not None:
            return repeat
    rates.admit(ask.user)
    return None


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say about every turn, at the moment it begins or goes on."""

    lease: timedelta
    max_steps: int
    max_retries: int
    fallbacks: Sequence[str]
    on_disconnect: OnDisconnect
    time_limit: float | None

    @classmethod
    def of_the_site(cls) -> Rules:
        return cls(
            timedelta(seconds=conf.turn_lease),
            conf.max_tool_steps,
            conf.max_retries,
            conf.fallback_models,
            conf.on_disconnect,
            conf.turn_timeout,
        )


def prepare(
    request: ModelRequest,
    box: FunctionBox,
    rules: Rules,
    *,
    turn_id: UUID,
    conversation_id: UUID,
    user_id: Any,
    next_sequence: int,
    attempt_id: UUID,
    window: Window,
    usage: TokenUsage | None = None,
    cost: Decimal | None = FREE,
    first_step: int = 0,
    resumed: Resumed | None = None,
    check: Callable[[str], str | None] | None = None,
    screen: Screen | None = None,
    purse: Purse | None = None,
    hold: Hold | None = None,
    spoken: int = 0,
    given: Sequence[Source] = (),
    last_event: int = 0,
    summary: SummaryDue | None = None,
) -> Prepared:
    """Everything that driving a stored turn needs."""
    events = EventLog(last_event)
    box.redact = get_adapter().redactor
    log = TurnLog(
        turn_id=turn_id,
        conversation_id=conversation_id,
        user_id=user_id,
        next_sequence=next_sequence,
        lease=rules.lease,
        functions=box,
        model=request.model,
        log=events,
        base_url=request.endpoint.base_url,
        usage=usage,
        cost=cost,
        resumed=resumed,
        purse=purse,
        hold=hold,
        attempt_id=attempt_id,
        spoken=spoken,
        given=given,
    )
    spec = TurnSpec(
        turn_id=turn_id,
        conversation_id=conversation_id,
        attempt_id=attempt_id,
        request=replace(request, tools=box.schemas, messages=access.redacted(request.messages)),
        store=log,
        window=window,
        max_steps=rules.max_steps,
        max_retries=rules.max_retries,
        fallbacks=[model for model in access.allowed_of(box.user, rules.fallbacks) if model != request.model],
        fit=partial(context.fit, tools=box.schemas),
        renew_after=rules.lease.total_seconds() / 3,
        first_step=first_step,
        resumed=resumed,
        check=check,
        screen=screen,
        log=events,
        summary=summary,
        time_limit=rules.time_limit,
    )
    observed.begun(turn_id, conversation_id, user_id, request.model, resumed=resumed is not None)
    return Prepared(spec, box, rules.on_disconnect)


def prepare_first(
    opened: storage.OpenedTurn,
    request: ModelRequest,
    box: FunctionBox,
    rules: Rules,
    *,
    system: Sequence[Message],
    window: Window,
    summary: Summary | None,
    due: SummaryDue | None,
    check: Callable[[str], str | None] | None = None,
    screen: Screen | None = None,
    purse: Purse | None = None,
    given: Sequence[Source] = (),
) -> Prepared:
    """Everything that driving a turn needs that was opened and never begun."""
    told = (*system, *([summary.line] if summary else ()), *opened.history)
    return prepare(
        replace(request, messages=told),
        box,
        rules,
        turn_id=opened.turn_id,
        conversation_id=opened.conversation_id,
        user_id=None if box.user is None else box.user.pk,
        next_sequence=opened.next_sequence,
        attempt_id=opened.attempt_id,
        window=replace(window, used=opened.used),
        check=check,
        screen=screen,
        purse=purse,
        hold=opened.hold,
        given=given,
        summary=due,
    )


def system_messages(user: Any, configuration: AIConfiguration | None) -> list[Message]:
    """What the model is told before everything else, if it is told anything."""
    prompt = get_adapter().system_prompt(user, configuration.system_prompt if configuration else "")
    return [{"role": "system", "content": prompt}] if prompt else []


def run(
    prepared: Prepared, *, release: bool = False, heartbeat: float | None = None
) -> Generator[TurnEvent | None, None, Ending]:
    """The events of a turn, driven by the thread that iterates; see `runtime.inline.run`."""
    return inline.run(
        prepared.spec,
        prepared.functions,
        on_disconnect=prepared.on_disconnect,
        release=release,
        heartbeat=heartbeat,
    )


def launch(prepared: Prepared) -> TurnTask:
    """Start the turn in a task of its own on the running event loop."""
    return TurnTask(prepared.spec, prepared.functions, on_disconnect=prepared.on_disconnect)


async def alaunch(prepare: Callable[[], Prepared | AITurn]) -> TurnTask | AITurn:
    """Begin a turn in one hop and launch it, whatever becomes of the coroutine that waits for that.

    `prepare` calls `begin`. An earlier turn, that an idempotency key has opened, is returned as it is.
    """

    async def open_turn() -> TurnTask | AITurn:
        prepared = await ahop(prepare)
        return prepared if isinstance(prepared, AITurn) else launch(prepared)

    return await opened(open_turn())


def check_text(text: str) -> None:
    """Refuse what is no question. Raises InvalidRequestError naming `message`."""
    if not text.strip():
        raise InvalidRequestError(fields={"message": "must not be empty."})
    if not is_text(text):
        raise InvalidRequestError(fields={"message": "must be text; it has a NUL or half a character."})
    if len(text) > conf.max_message_chars:
        raise InvalidRequestError(
            fields={"message": f"has {len(text)} characters; at most {conf.max_message_chars} are allowed."}
        )


def is_text(text: str) -> bool:
    """Whether a database can keep it: JSON may bring a NUL and halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def configuration_in_force(configuration_id: UUID | None) -> AIConfiguration | None:
    """A conversation's configuration, unless it is switched off; then the site's own values count."""
    if configuration_id is None:
        return None
    return AIConfiguration.active.using(primary()).filter(pk=configuration_id).first()


def find_configuration(configuration_id: UUID | None) -> AIConfiguration | None:
    """An active configuration. Raises NotFoundError."""
    if configuration_id is None:
        return None
    found = AIConfiguration.active.filter(pk=configuration_id).first()
    if found is None:
        raise NotFoundError(f"configuration_id: there is no active configuration {configuration_id}.")
    return found


def build_request(ask: Ask, configuration: AIConfiguration | None, endpoint: Endpoint) -> ModelRequest:
    """The request without its messages: what was asked, else the configuration, else the settings."""

    def first(*values: Any) -> Any:
        return next((value for value in values if value is not None), None)

    def of_configuration(name: str) -> Any:
        return getattr(configuration, name) if configuration is not None else None

    model = ask.model or of_configuration("model") or conf.default_model
    wanted = capped(first(ask.max_tokens, of_configuration("max_tokens")), conf.max_tokens)
    return ModelRequest(
        endpoint=endpoint,
        model=model,
        messages=(),
        temperature=first(ask.temperature, of_configuration("temperature"), conf.temperature),
        max_output_tokens=context.longest_answer(model, wanted),
        top_p=of_configuration("top_p"),
        frequency_penalty=of_configuration("frequency_penalty"),
        presence_penalty=of_configuration("presence_penalty"),
        response_schema=ask.form.schema if ask.form is not None else None,
        safety_identifier=safety_identifier(ask.user, endpoint),
        timeout=float(conf.timeout),
    )


def capped(wanted: int | None, most: int | None) -> int | None:
    """What is wanted, but no more than the site allows; None: no limit."""
    return min((each for each in (wanted, most) if each is not None), default=None)


def kept_options(
    request: ModelRequest,
    ask: Ask,
    configuration: AIConfiguration | None,
    tenant: str,
    given: Sequence[Source] = (),
) -> dict[str, Any]:
    """What the turn row keeps of how it was asked; never the key, nor what of an address is secret."""
    base_url = request.endpoint.base_url
    options: dict[str, Any] = {
        "tenant": tenant or None,
        "model": request.model,
        "dialect": request.endpoint.dialect,
        "base_url": None if base_url is None else public_url(base_url),
        "temperature": request.temperature,
        "max_tokens": request.max_output_tokens,
        "use_functions": ask.use_functions,
        "functions": None if ask.functions is None else [Function.of(each).name for each in ask.functions],
        "configuration_id": None if configuration is None else str(configuration.pk),
        "response_schema": request.response_schema,
        "sources": [each.model_dump() for each in given] or None,
    }
    return {name: value for name, value in options.items() if value is not None}


def safety_identifier(user: Any, endpoint: Endpoint) -> str | None:
    """A name for the user that tells OpenAI nothing of who it is; other servers get none."""
    if user is None or endpoint.base_url not in (None, DEFAULT_BASE_URL):
        return None
    return salted_hmac("django_chatgpt.safety_identifier", str(user.pk), algorithm="sha256").hexdigest()
