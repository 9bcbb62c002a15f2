"""The functions of one turn, for one user: which there are, and what becomes of the model's calls."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django_chatgpt.core.messages import FunctionCall, FunctionResult
from django_chatgpt.database import ahop, only_here
from django_chatgpt.exceptions import without_text
from django_chatgpt.functions import running
from django_chatgpt.functions.arguments import ArgumentsError
from django_chatgpt.functions.caller import Caller, idempotency_key
from django_chatgpt.functions.definition import Function
from django_chatgpt.functions.jobs import Job
from django_chatgpt.functions.outcomes import Outcome, failed, unknown
from django_chatgpt.functions.registry import function_registry

__all__ = ["Examined", "Function", "FunctionBox"]

logger = logging.getLogger("django_chatgpt.functions")

UNREADABLE = "The result can't be shown."


@dataclass(frozen=True, slots=True)
class Examined:
    """A call as far as it can be judged without making it.

    `refused` is the answer to a call that can't be made at all. `needs_approval`: a person has to agree
    first, to exactly what `fingerprint` stands for: the function, its schema and these arguments.
    """

    call: FunctionCall
    refused: FunctionResult | None = None
    needs_approval: bool = False
    fingerprint: str = ""


class FunctionBox:
    """The functions that a turn may call, on behalf of `user`.

    `approved` maps the id of a call to the fingerprint that a person has agreed to. `results` keeps, by the
    id of its call, every result there is so far, also where the calls as a whole were cut short. `redact`
    gives a result as the model may read it.
    """

    redact: Callable[[str], str] | None = None

    def __init__(
        self,
        functions: Iterable[Function | Callable[..., Any]] = (),
        *,
        user: Any = None,
        conversation_id: UUID | None = None,
        turn_id: UUID | None = None,
        approved: Mapping[str, str] | None = None,
        switched_off: Collection[str] = (),
    ) -> None:
        self.user = user
        self.conversation_id = conversation_id
        self.turn_id = turn_id
        self.approved = dict(approved or {})
        self.results: dict[str, FunctionResult] = {}
        usable = (each for each in map(Function.of, functions) if each.is_usable)
        self._functions = {each.name: each for each in usable}
        self._offered = [
            each for each in self._functions.values() if each.name not in switched_off and each.allows(user)
        ]

    @classmethod
    def for_user(
        cls,
        user: Any,
        functions: Iterable[Function | Callable[..., Any]] | None = None,
        *,
        conversation_id: UUID | None = None,
        turn_id: UUID | None = None,
        approved: Mapping[str, str] | None = None,
    ) -> FunctionBox:
        """The registered functions, or those given, that are switched on and that this user may call.

        One query, none where nothing is registered; permissions may cost more. Call it where the database
        may be used.
        """
        chosen = (
            function_registry.functions if functions is None else [Function.of(each) for each in functions]
        )
        return cls(
            chosen,
            user=user,
            conversation_id=conversation_id,
            turn_id=turn_id,
            approved=approved,
            switched_off=_switched_off(chosen),
        )

    @property
    def schemas(self) -> tuple[dict[str, Any], ...]:
        """What the model is told: {"name", "description", "parameters", "strict"} of each function."""
        return tuple(each.schema for each in self._offered)

    def call(
        self,
        calls: Sequence[FunctionCall],
        *,
        tick: float | None = None,
        on_tick: Callable[[], object] | None = None,
    ) -> list[FunctionResult]:
        """Make the calls side by side; one result for each, in their order, whatever becomes of it.

        `on_tick` is called about every `tick` seconds meanwhile. What it raises ends the wait, and leaves
        behind what is not finished.
        """
        return self._told(self.execute(calls, tick=tick, on_tick=on_tick))

    async def acall(self, calls: Sequence[FunctionCall]) -> list[FunctionResult]:
        """Like `call`, in a coroutine. Cancelled, it cancels coroutines and leaves threads behind."""
        outcomes = await self.aexecute(calls)
        if self.redact is None:
            return self._told(outcomes)
        # It may take its time, and may use the database.
        return await ahop(lambda: self._told(outcomes))

    def execute(
        self,
        calls: Sequence[FunctionCall],
        *,
        tick: float | None = None,
        on_tick: Callable[[], object] | None = None,
    ) -> list[Outcome]:
        """Like `call`, with all that the site may want to know of each."""
        step = _Step(self, calls)
        running.run(step.jobs, step.keep, here=only_here(), tick=tick, on_tick=on_tick)
        return step.outcomes

    async def aexecute(self, calls: Sequence[FunctionCall]) -> list[Outcome]:
        """Like `acall`, with all that the site may want to know of each."""
        step, here = await ahop(lambda: (_Step(self, calls), only_here()))
        await running.arun(step.jobs, step.keep, here=here)
        return step.outcomes

    def _told(self, outcomes: Sequence[Outcome]) -> list[FunctionResult]:
        """The results, with what the model is told of them."""
        results = [outcome.result for outcome in outcomes]
        if self.redact is None:
            return results
        return [each.model_copy(update={"told": self._redacted(each.output)}) for each in results]

    def _redacted(self, output: str) -> str:
        assert self.redact is not None
        try:
            return self.redact(output)
        except Exception as error:
            # What it says may quote what it was to take out.
            logger.error("A function's result could not be redacted: %s.", type(error).__qualname__)
            return UNREADABLE

    def patience(self, calls: Sequence[FunctionCall]) -> float:
        """The seconds after which all calls are answered at the latest, made in a transaction excepted."""
        called = [self._functions[call.name] for call in calls if call.name in self._functions]
        longest = max((each.seconds for each in called), default=0.0)
        return running.patience(len(called), longest)

    def examine(self, calls: Sequence[FunctionCall]) -> list[Examined]:
        """Judge the calls without making any. Call it where the database may be used."""
        return [_examined(judged) for judged in self._judge(calls)]

    def _judge(self, calls: Sequence[FunctionCall]) -> list[_Admitted | Outcome]:
        """Each call as it may be made, or the answer to one that may not."""
        called = [self._functions[call.name] for call in calls if call.name in self._functions]
        off = _switched_off(called)
        return [self._admit(call, off) for call in calls]

    def _admit(self, call: FunctionCall, switched_off: Collection[str]) -> _Admitted | Outcome:
        function = self._functions.get(call.name)
        if function is None:
            return unknown(call, [each.name for each in self._offered])
        if not function.allows(self.user):
            return failed(call, "permission_denied", f"This user may not call {function.name}.")
        if function.name in switched_off:
            return failed(call, "function_inactive", f"{function.name} is switched off at the moment.")
        try:
            arguments = function.contract.read(call.arguments)
        except ArgumentsError as error:
            return failed(call, "invalid_arguments", error.text, problems=error.problems)
        except Exception as error:
            problem = "The arguments of function %s could not be checked."
            logger.error(problem, function.name, exc_info=without_text(error))
            return failed(call, "function_failed", "The function failed.")
        fingerprint = function.fingerprint(arguments.canonical)
        agreed = self.approved.get(call.id) == fingerprint
        return _Admitted(
            call=call,
            function=function,
            values=arguments.values,
            caller=Caller(
                user=self.user,
                conversation_id=self.conversation_id,
                turn_id=self.turn_id,
                call_id=call.id,
                idempotency_key=idempotency_key(
                    self.user, self.turn_id, call.id, call.name, arguments.canonical
                ),
            ),
            fingerprint=fingerprint,
            needs_approval=not agreed and function.needs_approval(arguments.values),
        )


@dataclass(frozen=True, slots=True)
class _Admitted:
    """A call that may be made, by whom that has to be."""

    call: FunctionCall
    function: Function
    values: dict[str, Any]
    caller: Caller
    fingerprint: str
    needs_approval: bool


class _Step:
    """The calls of one step: the jobs that they are, and their outcomes in the order of the calls."""

    def __init__(self, box: FunctionBox, calls: Sequence[FunctionCall]) -> None:
        self.jobs: list[Job] = []
        self._box = box
        self._outcomes: dict[int, Outcome] = {}
        for place, judged in enumerate(box._judge(calls)):
            if isinstance(judged, Outcome):
                self.keep(place, judged)
            elif judged.needs_approval:
                text = f"{judged.function.name} needs the approval of a person; it was not called."
                self.keep(place, failed(judged.call, "approval_required", text))
            else:
                self.jobs.append(_job(place, judged))

    @property
    def outcomes(self) -> list[Outcome]:
        return [self._outcomes[place] for place in sorted(self._outcomes)]

    def keep(self, place: int, outcome: Outcome) -> None:
        self._outcomes[place] = outcome
        self._box.results[outcome.result.call.id] = outcome.result


def _job(place: int, judged: _Admitted) -> Job:
    return Job(
        place=place,
        call=judged.call,
        function=judged.function,
        arguments=judged.values,
        caller=judged.caller,
        timeout=judged.function.seconds,
    )


def _examined(judged: _Admitted | Outcome) -> Examined:
    if isinstance(judged, Outcome):
        return Examined(judged.result.call, refused=judged.result)
    return Examined(judged.call, needs_approval=judged.needs_approval, fingerprint=judged.fingerprint)


def _switched_off(functions: Iterable[Function]) -> frozenset[str]:
    """The names of those that somebody has switched off. One query; none where no function has a row."""
    names = [each.name for each in functions if function_registry.get_function(each.name) is each]
    if not names:
        return frozenset()
    from django_chatgpt.models import AIFunction

    return frozenset(
        AIFunction.objects.filter(name__in=names, is_active=False).values_list("name", flat=True)
    )
