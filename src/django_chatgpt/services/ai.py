"""The service that a site's own code uses."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, overload
from uuid import UUID

from pydantic import ValidationError

from django_chatgpt.conf import conf
from django_chatgpt.core.events import TurnEvent
from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.core.request import ModelRequest
from django_chatgpt.core.spec import TurnSpec
from django_chatgpt.database import ahop
from django_chatgpt.exceptions import ContentFilterError, InvalidRequestError
from django_chatgpt.models import AIConfiguration, AIConversation, AITurn
from django_chatgpt.runtime import inline
from django_chatgpt.runtime.coroutines import adrive, aperform
from django_chatgpt.runtime.tasks import TurnTask
from django_chatgpt.services import (
    access,
    caching,
    chat,
    completions,
    follow,
    moderation,
    patterns,
    prices,
    rates,
    sources,
    tokens,
)
from django_chatgpt.services.budgets import Payer, Purse
from django_chatgpt.services.forms import Form, Model, Reading
from django_chatgpt.services.results import Fold, Snapshot, fold
from django_chatgpt.services.turns import TurnLog
from django_chatgpt.services.types import AIResponse, ChatMessage

if TYPE_CHECKING:
    from django_chatgpt.providers import ChatCompletion, ChatCompletionChunk

Conversation = AIConversation | UUID | None
Messages = Sequence[Mapping[str, Any] | ChatMessage]


class AIService:
    """Conversations with a model on behalf of one user; without a user, of the site itself.

    Methods come in Django's two colours: `ask` and `aask`, `stream` and `astream`. `configuration` is an
    AIConfiguration, whose values count unless a call names others; settings count last.
    """

    def __init__(self, user: Any = None, configuration: AIConfiguration | None = None) -> None:
        self.user = user
        self.configuration = configuration

    def __repr__(self) -> str:
        return f"<AIService user={getattr(self.user, 'pk', None)!r}>"

    def ask(self, text: str, conversation: Conversation = None, **options: Any) -> AIResponse:
        """Ask and wait for the whole reply; the question and the reply are stored.

        Without a `conversation` a new one is begun; the response names it. Options: model, temperature,
        max_tokens, functions (those the model may call; None: all that are registered), use_functions,
        sources (indexes of the site; the model is given their passages that are nearest to the question),
        idempotency_key. Raises any AIServiceError.
        """
        prepared = self._begin(text, conversation, self._with_passages(text, options))
        if isinstance(prepared, AITurn):
            return _stored(follow.wait(prepared.pk, self._user_id))
        return _sourced(fold(chat.run(prepared)), prepared.spec)

    async def aask(self, text: str, conversation: Conversation = None, **options: Any) -> AIResponse:
        """Like `ask`, in a coroutine."""
        options = await self._awith_passages(text, options)
        turn = await chat.alaunch(partial(self._begin, text, conversation, options))
        if isinstance(turn, AITurn):
            return _stored(await follow.await_end(turn.pk, self._user_id))
        return _sourced(await afold(turn), turn.spec)

    def stream(self, text: str, conversation: Conversation = None, **options: Any) -> Generator[TurnEvent]:
        """Ask and yield the events of the turn as they come; a failure is an event, too.

        The question is stored before this returns. Closing the generator early is what a lost listener
        looks like: OPENAI_ON_DISCONNECT says what becomes of the turn. Raises what `ask` raises for a
        question that can't be asked at all.
        """
        prepared = self._begin(text, conversation, self._with_passages(text, options))
        if isinstance(prepared, AITurn):
            return _begun(_events(follow.follow(follow.Watch(prepared.pk, self._user_id))))
        return _begun(_events(chat.run(prepared)))

    async def astream(
        self, text: str, conversation: Conversation = None, **options: Any
    ) -> AsyncGenerator[TurnEvent]:
        """Like `stream`, in a coroutine; the turn runs in a task of its own. Stored at the first step."""
        options = await self._awith_passages(text, options)
        turn = await chat.alaunch(partial(self._begin, text, conversation, options))
        if isinstance(turn, AITurn):
            batches = follow.afollow(follow.Watch(turn.pk, self._user_id))
        else:
            batches = turn.events()
        try:
            async for batch in batches:
                for event in batch:
                    yield event
        finally:
            await batches.aclose()

    def parse(
        self, text: str, conversation: Conversation = None, *, response_model: type[Model], **options: Any
    ) -> Model:
        """Ask for an answer that has a form, and give it as that pydantic model.

        The model is told of an answer that does not fit and may mend it once. Raises
        StructuredOutputError with the raw text, and what `ask` raises.
        """
        form = Form(response_model)
        return form.read(self.ask(text, conversation, form=form, **options).content)

    async def aparse(
        self, text: str, conversation: Conversation = None, *, response_model: type[Model], **options: Any
    ) -> Model:
        """Like `parse`, in a coroutine."""
        form = Form(response_model)
        reply = await self.aask(text, conversation, form=form, **options)
        return form.read(reply.content)

    def stream_parse(
        self, text: str, conversation: Conversation = None, *, response_model: type[Model], **options: Any
    ) -> Generator[Any]:
        """Like `parse`, but yield what there is of the answer as it grows, and the model at the end.

        What is yielded before the end is plain data (dict, list), of which anything may be missing yet.
        """
        reading = Reading(Form(response_model))
        for event in self.stream(text, conversation, form=reading.form, **options):
            yield from reading.add(event)

    async def astream_parse(
        self, text: str, conversation: Conversation = None, *, response_model: type[Model], **options: Any
    ) -> AsyncGenerator[Any]:
        """Like `stream_parse`, in a coroutine."""
        reading = Reading(Form(response_model))
        async for event in self.astream(text, conversation, form=reading.form, **options):
            for value in reading.add(event):
                yield value

    @overload
    def chat_completion(
        self, messages: Messages, stream: Literal[False] = False, **options: Any
    ) -> ChatCompletion: ...
    @overload
    def chat_completion(
        self, messages: Messages, stream: Literal[True], **options: Any
    ) -> Generator[ChatCompletionChunk]: ...
    def chat_completion(
        self,
        messages: Messages,
        stream: bool = False,
        functions: Sequence[dict[str, Any]] | None = None,
        **options: Any,
    ) -> Any:
        """Call Chat Completions with messages of your own; no conversation, nothing stored but the ledger.

        Returns the SDK's ChatCompletion, or with `stream` an iterator of its ChatCompletionChunk.
        `functions` are flat schemas ({"name", "description", "parameters"}); the model's calls are
        returned, not made. Options are OpenAI's. A whole answer without functions may come from the cache
        (OPENAI_ENABLE_CACHING). Raises any AIServiceError.
        """
        completion = self._completion(messages, functions, options, stream)
        steps = completions.stream(completion) if stream else caching.complete(completion)
        driven = inline.drive(steps, inline.InlineWorld(), on_leave=inline.cancelled)
        return driven if stream else inline.result(driven)

    @overload
    async def achat_completion(
        self, messages: Messages, stream: Literal[False] = False, **options: Any
    ) -> ChatCompletion: ...
    @overload
    async def achat_completion(
        self, messages: Messages, stream: Literal[True], **options: Any
    ) -> AsyncGenerator[ChatCompletionChunk]: ...
    async def achat_completion(
        self,
        messages: Messages,
        stream: bool = False,
        functions: Sequence[dict[str, Any]] | None = None,
        **options: Any,
    ) -> Any:
        """Like `chat_completion`, in a coroutine; with `stream`, await it and iterate over what it gives."""
        completion = await ahop(partial(self._completion, messages, functions, options, stream))
        if stream:
            return adrive(completions.stream(completion))
        return await aperform(caching.complete(completion))

    def get_cache_key(
        self, messages: Messages, functions: Sequence[dict[str, Any]] | None = None, **options: Any
    ) -> str:
        """What stands for a call of `chat_completion` in the cache, made of all that shapes its answer and
        of who asks: 64 hexadecimal digits. Raises InvalidRequestError for options that are not JSON.
        """
        key = caching.cache_key(self._request(messages, functions, options))
        if key is None:
            raise InvalidRequestError("The options must be JSON.")
        return key

    def validate_content(self, text: str) -> None:
        """Check a text as a question is checked: patterns, moderation, topics, as far as they are set.

        Raises ContentFilterError if it may not be sent; its code is `filter_unavailable` if that could not
        be found out and OPENAI_FILTER_FAILURE is "closed". What the check took is in the ledger.
        """
        steps = self._validation(text)
        inline.result(inline.drive(steps, inline.InlineWorld(), on_leave=inline.cancelled))

    async def avalidate_content(self, text: str) -> None:
        """Like `validate_content`, in a coroutine."""
        await aperform(await ahop(partial(self._validation, text)))

    def count_tokens(self, text: str | Messages, model: str | None = None) -> int:
        """How many tokens a text, or a list of messages, is for the model; counted without any network."""
        model = model or self._model
        if isinstance(text, str):
            return tokens.count_text(text, model)
        return tokens.count_messages(_wire(text), model)

    def estimate_cost(
        self, prompt_tokens: int, completion_tokens: int = 0, model: str | None = None
    ) -> Decimal | None:
        """What so many tokens cost, in USD; None if the model's price is not known."""
        usage = TokenUsage(
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            total_tokens=prompt_tokens + completion_tokens,
        )
        return prices.price(model or self._model, usage, base_url=conf.base_url).cost

    @property
    def _user_id(self) -> Any:
        return None if self.user is None else self.user.pk

    @property
    def _model(self) -> str:
        return (self.configuration.model if self.configuration else "") or conf.default_model

    def _with_passages(self, text: str, options: dict[str, Any]) -> dict[str, Any]:
        """The options with what the answer is to be found in, in the place of where."""
        wanted = options.pop("sources", None)
        return {**options, "passages": sources.find(self.user, text, wanted)} if wanted else options

    async def _awith_passages(self, text: str, options: dict[str, Any]) -> dict[str, Any]:
        """Like `_with_passages`, in a coroutine."""
        wanted = options.pop("sources", None)
        return {**options, "passages": await sources.afind(self.user, text, wanted)} if wanted else options

    def _begin(
        self, text: str, conversation: Conversation, options: dict[str, Any]
    ) -> chat.Prepared | AITurn:
        ask = chat.Ask(
            user=self.user,
            text=text,
            conversation_id=conversation.pk if isinstance(conversation, AIConversation) else conversation,
            configuration=self.configuration,
            **{"inline": True, **options},
        )
        return chat.begin(ask)

    def _validation(self, text: str) -> Generator[Any, Any, None]:
        access.require(self.user)
        chat.check_text(text)
        _refuse_forbidden([text])
        request = ModelRequest(
            endpoint=access.account_of(self.user).endpoint,
            model=access.choose_model(self.user, None, self.configuration),
            messages=access.redacted([{"role": "user", "content": text}]),
        )
        return moderation.judge_question(
            request, moderation.screen_for(request), self._user_id, Payer.of(self.user)
        )

    def _completion(
        self,
        messages: Messages,
        functions: Sequence[dict[str, Any]] | None,
        options: dict[str, Any],
        stream: bool,
    ) -> completions.Completion:
        access.require(self.user)
        completion = self._request(messages, functions, options, stream)
        rates.admit(self.user)
        _refuse_forbidden(_asked(messages))
        return completion

    def _request(
        self,
        messages: Messages,
        functions: Sequence[dict[str, Any]] | None,
        options: dict[str, Any],
        stream: bool = False,
    ) -> completions.Completion:
        model = access.choose_model(self.user, options.pop("model", None), self.configuration)
        wire: Sequence[Any] = access.redacted(_wire(messages))
        defaults = {"max_completion_tokens": options.pop("max_tokens", None) or conf.max_tokens}
        if stream:
            defaults["stream_options"] = {"include_usage": True}
        account = access.account_of(self.user)
        body = completions.build_body(
            model=model, messages=wire, functions=functions, options=defaults | options
        )
        return completions.Completion(
            endpoint=account.endpoint,
            body=body,
            user_id=self._user_id,
            max_retries=conf.max_retries,
            fallbacks=access.allowed_of(self.user, conf.fallback_models),
            timeout=float(conf.timeout),
            tenant=account.tenant,
            screen=moderation.screen_for(ModelRequest(account.endpoint, model, ())),
            purse=Purse.for_body(self.user, account.endpoint, body),
        )


async def afold(task: TurnTask) -> AIResponse:
    """Listen to a turn to its end and give the whole reply. Raises the error it failed with."""
    folded = Fold()
    async for batch in task.events():
        for event in batch:
            folded.add(event)
    assert task.ending is not None
    return folded.response(task.ending)


def _sourced(reply: AIResponse, spec: TurnSpec) -> AIResponse:
    """The reply with the passages that its turn was given."""
    assert isinstance(spec.store, TurnLog)
    return reply.model_copy(update={"sources": list(spec.store.given)}) if spec.store.given else reply


def _stored(seen: Snapshot) -> AIResponse:
    if seen.error is not None:
        raise seen.error
    assert seen.response is not None
    return seen.response


def _begun(events: Generator[Any]) -> Generator[TurnEvent]:
    """A generator that was never begun can't be told that it is closed."""
    next(events)
    return events


def _events(events: Generator[TurnEvent | None, None, Any]) -> Generator[TurnEvent | None]:
    """The events of a turn, behind a None that begins it."""
    first = next(events)
    try:
        yield None
        for event in chain((first,), events):
            if event is not None:
                yield event
    finally:
        events.close()


def _asked(messages: Messages) -> Iterator[str]:
    """What the user has said in messages as a caller gave them."""
    for line in _wire(messages):
        if line["role"] == "user" and "content" in line:
            yield line["content"]


def _refuse_forbidden(texts: Iterable[str]) -> None:
    if patterns.find_forbidden(texts) is not None:
        raise ContentFilterError()


def _wire(messages: Messages) -> list[Any]:
    """Messages as they are sent. Raises InvalidRequestError naming the first that is none."""
    problem = ""
    wire = []
    for number, message in enumerate(messages):
        try:
            if not isinstance(message, ChatMessage):
                message = ChatMessage.model_validate(dict(message))
        except (ValidationError, TypeError, ValueError) as error:
            where = error.errors()[0] if isinstance(error, ValidationError) else None
            name = ".".join(str(part) for part in where["loc"]) if where else ""
            problem = f"messages[{number}]{'.' + name if name else ''}: " + (
                where["msg"] if where else "must be a mapping."
            )
            break
        wire.append(message.as_wire())
    if problem:
        raise InvalidRequestError(problem)
    if not wire:
        raise InvalidRequestError(fields={"messages": "must not be empty."})
    return wire
