"""How a running turn is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypedDict
from uuid import UUID

from django.db import InterfaceError, OperationalError
from django.utils import timezone

from django_chatgpt.conf import conf
from django_chatgpt.core.effects import Stopped
from django_chatgpt.core.events import TurnEvent
from django_chatgpt.core.log import EventLog, Piece
from django_chatgpt.core.messages import FunctionCall, FunctionResult, Message, TokenUsage, storable
from django_chatgpt.core.spec import Announcing, Attempt, Closing, Ending, Judgement, Plan, Resumed, Settled
from django_chatgpt.core.summary import Summary
from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.functions.calls import FunctionBox
from django_chatgpt.models import AIMessage, AIUsage
from django_chatgpt.runtime import wakes
from django_chatgpt.services import billing, breakers, budgets, moderation, observed, tokens
from django_chatgpt.services.budgets import Purse
from django_chatgpt.services.types import Source
from django_chatgpt.storage import calls as call_storage
from django_chatgpt.storage import events, ledger, primary, summaries
from django_chatgpt.storage import functions as function_storage
from django_chatgpt.storage import turns as storage
from django_chatgpt.storage.ledger import Bill, Hold

FREE = Decimal(0)
MESSAGE_STATUS = {
    "completed": AIMessage.Status.COMPLETE,
    "cancelled": AIMessage.Status.CANCELLED,
    "interrupted": AIMessage.Status.INTERRUPTED,
    "failed": AIMessage.Status.FAILED,
    "refused": AIMessage.Status.REFUSED,
}


class _Whose(TypedDict):
    turn_id: UUID
    conversation_id: UUID
    user_id: Any


class TurnLog:
    """The store of one running turn: ledger, messages, totals and log change together or not at all."""

    def __init__(
        self,
        *,
        turn_id: UUID,
        conversation_id: UUID,
        user_id: Any,
        next_sequence: int,
        lease: timedelta,
        functions: FunctionBox,
        model: str,
        log: EventLog,
        base_url: str | None = None,
        usage: TokenUsage | None = None,
        cost: Decimal | None = FREE,
        resumed: Resumed | None = None,
        purse: Purse | None = None,
        hold: Hold | None = None,
        attempt_id: UUID | None = None,
        spoken: int = 0,
        given: Sequence[Source] = (),
    ) -> None:
        self._turn_id = turn_id
        self._conversation_id = conversation_id
        self._user_id = user_id
        self._sequence = next_sequence
        self._lease = lease
        self._functions = functions
        self._model = model
        self._base_url = base_url
        self._usage = usage or TokenUsage()
        self._cost = cost
        self._purse = purse
        self._hold = hold
        # The ledger's row that has the reservation: the running attempt's, or between two the last one's.
        self._holder = attempt_id if hold is not None else None
        self._log = log
        self._added = 0
        self._judgements: list[AIUsage] = []
        self._piece: Piece | None = None
        self._unsure: Settled | None = None
        self._open_calls: set[str] = set()
        if resumed is not None:
            self._open_calls = {call.id for call in resumed.now} | {each.call.id for each in resumed.refused}
            functions.results.update({each.call.id: each for each in resumed.refused})
        self._spoken = spoken
        self.given = given
        self.refusal = None if resumed else breakers.refusal(base_url, model)

    def note(self, judgement: Judgement) -> None:
        self._judgements.append(
            moderation.usage(
                judgement,
                user_id=self._user_id,
                conversation_id=self._conversation_id,
                turn_id=self._turn_id,
            )
        )

    def admit(self, asked: Attempt | None, next_id: UUID) -> bool:
        bill = None if asked is None else billing.bill(asked)

        def write() -> tuple[bool, Hold | None]:
            hold = None
            with self._writing():
                go_on = self._renew()
                storage.admit_question(self._turn_id)
                if asked is not None and bill is not None:
                    self._settle(asked.id, bill)
                    if go_on:
                        left, prompt = self._left(bill), self._prompt(asked, bill)
                        hold = self._announce(next_id, self._model, left, prompt)
            return go_on, hold

        go_on, hold = budgets.guarded(write)
        if asked is not None and bill is not None:
            self._hold, self._holder = hold, next_id
            self._settled(asked, bill)
            self.refusal = breakers.refusal(self._base_url, self._model) if go_on else None
        return go_on

    def sum_up(self, asked: Attempt, summary: Summary | None, next_id: UUID, prompt_tokens: int) -> bool:
        bill = billing.bill(asked)
        prompt = prompt_tokens + (self._purse.overhead if self._purse is not None else 0)

        def write() -> tuple[bool, Hold | None]:
            with self._writing():
                go_on = self._renew()
                self._settle(asked.id, bill)
                if summary is not None:
                    summaries.keep(self._conversation_id, summary)
                return go_on, self._announce(
                    next_id, self._model, self._left(bill), prompt
                ) if go_on else None

        go_on, hold = budgets.guarded(write)
        self._hold, self._holder = hold, next_id
        self._settled(asked, bill)
        self.refusal = breakers.refusal(self._base_url, self._model) if go_on else None
        return go_on

    def retry(self, failed: Attempt, next_id: UUID, model: str) -> None:
        bill = billing.bill(failed)
        prompt = self._prompt(failed, bill)

        def write() -> Hold | None:
            with self._writing():
                if not self._renew():
                    raise Stopped("cancelled")
                self._settle(failed.id, bill)
                return self._announce(next_id, model, self._left(bill), prompt)

        # Where that is refused, the ending settles the failed one.
        self._hold, self._holder = budgets.guarded(write), next_id
        self._settled(failed, bill)
        self._model = model
        self.refusal = breakers.refusal(self._base_url, model)

    def checkpoint(self, text: str) -> bool:
        with self._writing():
            go_on = storage.checkpoint(self._turn_id, storable(text), self._lease)
            self._write_log()
        return go_on

    def record_calls(self, attempt: Attempt, calls: Sequence[FunctionCall], announcing: Announcing) -> Plan:
        bill = billing.bill(attempt)
        examined = self._functions.examine(calls)
        parked = [each.call for each in examined if each.needs_approval]
        plan = Plan([each.call for each in examined if not each.needs_approval], parked)
        until = timezone.now() + timedelta(seconds=conf.approval_timeout)
        with self._writing():
            # While functions run nothing renews the lease.
            patience = timedelta(seconds=self._functions.patience(plan.now))
            if not self._renew(patience, announcing(plan)):
                raise Stopped("cancelled")
            keep = self._left(bill)
            self._settle(attempt.id, bill, keep)
            self._add([self._answer(attempt, bill, "completed", with_calls=True)])
            call_storage.record(
                self._turn_id,
                [
                    call_storage.RecordedCall(
                        each.call, each.fingerprint, until if each.needs_approval else None
                    )
                    for each in examined
                ],
            )
        self._hold, self._holder = keep, attempt.id
        self._spoken = self._prompt(attempt, bill)
        self._settled(attempt, bill)
        self._open_calls = {call.id for call in calls}
        return plan

    def save_results(self, results: Sequence[FunctionResult], next_id: UUID) -> bool:
        def write() -> tuple[bool, Hold | None]:
            with self._writing():
                go_on = self._renew()
                said = self._add_results(results)
                if not go_on:
                    return False, self._hold
                self._release()
                return True, self._announce(next_id, self._model, self._hold, self._spoken + said)

        go_on, hold = budgets.guarded(write)
        self._hold = hold
        if go_on:
            self._holder = next_id
        self._open_calls = set()
        self.refusal = breakers.refusal(self._base_url, self._model) if go_on else None
        return go_on

    def park(self, results: Sequence[FunctionResult], closing: Closing) -> Settled:
        settled = Settled(self._usage, self._cost, None)
        until = timezone.now() + timedelta(seconds=conf.approval_timeout)
        with self._writing():
            storage.park(self._turn_id, until)
            self._add_results(results)
            ledger.add_to_conversation(self._conversation_id, 0, None)
            self._release()
            self._write_log(closing(settled))
        self._hold, self._holder = None, None
        self._open_calls = set()
        self._ended("awaiting_approval", "awaiting_approval", None, None)
        return settled

    def finish(self, ending: Ending, closing: Closing) -> Settled:
        attempt, error = ending.attempt, ending.error
        bill = None if attempt is None else billing.bill(attempt)
        message = None
        # A refused question has no answer: the attempt, if there is one, was asked to judge it.
        if attempt is not None and bill is not None and ending.refused != "question":
            if ending.refused == "answer" and (attempt.text or attempt.withheld):
                message = self._answer(attempt, bill, "refused")
            elif ending.status == "completed" or attempt.text:
                message = self._answer(attempt, bill, ending.status)
        settled = Settled(*self._totals(bill), message.pk if message else None)
        try:
            with self._writing():
                storage.end(
                    self._turn_id,
                    ending.status,
                    partial_text=(
                        storable(attempt.text)
                        if attempt and ending.status != "completed" and ending.refused != "question"
                        else ""
                    ),
                    error_code=error.code if error else "",
                    error_message=error.public_message if error else "",
                )
                # The conversation is written first: MariaDB would lock it to read for the message.
                if attempt is not None and bill is not None:
                    self._settle(attempt.id, bill)
                else:
                    ledger.add_to_conversation(self._conversation_id, 0, None)
                self._release(attempt)
                if self._open_calls:
                    made = self._functions.results.items()
                    self._add_results([result for call_id, result in made if call_id in self._open_calls])
                if ending.status != "completed":
                    call_storage.give_up(self._turn_id)
                if message is not None:
                    self._add([message])
                if ending.refused == "question":
                    storage.refuse_question(self._turn_id)
                elif ending.refused == "results":
                    storage.refuse_results(self._turn_id)
                self._write_log(closing(settled))
        except (OperationalError, InterfaceError):
            # Whether it was kept is known only where the database has said so.
            self._unsure = settled
            raise
        except Stopped:
            if (
                self._unsure is None
                or ending.status != "completed"
                or not storage.is_completed(self._turn_id)
            ):
                # Somebody else has ended the turn; what its last attempt took is still known best here.
                if attempt is not None and bill is not None:
                    with self._writing():
                        self._settle(attempt.id, bill)
                        self._release(attempt)
                raise
            settled = self._unsure
        if attempt is not None and bill is not None:
            self._settled(attempt, bill)
            budgets.settled(attempt.request.model, bill, self._purse, self._hold)
        self._ended(ending.status, ending.reason, error, bill)
        return settled

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction. Rolled back, the numbers of its messages are given again, and the log holds on."""
        self._added, self._piece = 0, None
        with primary.atomic():
            yield
            if self._judgements:
                ledger.record(self._judgements)
                observed.recorded(self._judgements, self._base_url)
        self._sequence += self._added
        self._judgements.clear()
        if self._piece is not None:
            self._log.kept(self._piece)
            wakes.wake(self._turn_id)

    def _renew(self, patience: timedelta = timedelta(), ahead: Sequence[TurnEvent] = ()) -> bool:
        """Renew the lease, for so much longer than usual. False: somebody asked to stop."""
        go_on = storage.renew(self._turn_id, self._lease + patience)
        self._write_log(ahead)
        return go_on

    def _write_log(self, ahead: Sequence[TurnEvent] = ()) -> None:
        """Write what the log holds and what is to follow, after a write that has found the turn running."""
        self._piece = self._log.piece(ahead)
        if self._piece is not None:
            events.add(self._turn_id, self._piece)

    def _add(self, messages: Sequence[AIMessage]) -> None:
        for message in messages:
            message.sequence = self._sequence + self._added
            self._added += 1
        storage.add_messages(messages)

    def _add_results(self, results: Sequence[FunctionResult]) -> int:
        """Keep them; answers how many tokens they are."""
        call_storage.settle(self._turn_id, results)
        function_storage.count(results)
        observed.called(results, **self._whose)
        messages = [self._result(result) for result in results]
        if messages:
            self._add(messages)
        return sum(tokens.PER_MESSAGE + (message.token_count or 0) for message in messages)

    def _announce(self, attempt_id: UUID, model: str, left: Hold | None, prompt_tokens: int) -> Hold | None:
        """Announce the next attempt, with what is left of the reservation or, if need be, a new one."""
        hold = None if self._purse is None else self._purse.next(left, prompt_tokens, model)
        if hold is not None and attempt_id == self._holder:
            ledger.hold(attempt_id, hold)
            return hold
        ledger.announce(
            attempt_id,
            user_id=self._user_id,
            conversation_id=self._conversation_id,
            turn_id=self._turn_id,
            model=model,
            hold=hold,
        )
        return hold

    def _settle(self, attempt_id: UUID, bill: Bill, keep: Hold | None = None) -> None:
        if ledger.settle(attempt_id, bill, keep):
            ledger.add_to_conversation(self._conversation_id, bill.usage.total_tokens, bill.cost)

    def _left(self, bill: Bill) -> Hold | None:
        return None if self._hold is None else budgets.remaining(self._hold, bill.cost)

    def _release(self, settled: Attempt | None = None) -> None:
        """Release what the last attempt still keeps; the one that was settled just now keeps nothing."""
        if self._holder is not None and (settled is None or settled.id != self._holder):
            ledger.release(self._holder)

    def _prompt(self, attempt: Attempt, bill: Bill) -> int:
        """How many tokens the next request takes in, before what is added to what `attempt` has said."""
        if self._purse is None:
            return 0
        request = attempt.request
        asked = bill.usage.prompt_tokens or self._purse.prompt_tokens(request.messages, request.model)
        said = 0 if attempt.error is not None else bill.usage.completion_tokens + tokens.PER_MESSAGE
        return asked + said

    def _settled(self, attempt: Attempt, bill: Bill) -> None:
        """What follows from an attempt whose settling is stored."""
        self._usage, self._cost = self._totals(bill)
        if attempt.asked:
            error, accepted = attempt.error, attempt.accepted
            breakers.note(self._base_url, attempt.request.model, error, accepted=accepted)
            observed.settled(
                attempt.id,
                bill,
                requested_model=attempt.request.model,
                base_url=self._base_url,
                started=attempt.started,
                **self._whose,
            )

    @property
    def _whose(self) -> _Whose:
        return {
            "turn_id": self._turn_id,
            "conversation_id": self._conversation_id,
            "user_id": self._user_id,
        }

    def _ended(self, status: str, reason: str, error: AIServiceError | None, bill: Bill | None) -> None:
        observed.ended(
            **self._whose,
            status=status,
            reason=reason,
            error_code=error.code if error else "",
            model=bill.model if bill else self._model,
            usage=self._usage,
            cost=self._cost,
        )

    def _totals(self, bill: Bill | None) -> tuple[TokenUsage, Decimal | None]:
        """Usage and cost of the turn so far, and of `bill` with it."""
        if bill is None:
            return self._usage, self._cost
        cost = None if self._cost is None or bill.cost is None else self._cost + bill.cost
        return self._usage + bill.usage, cost

    def _answer(self, attempt: Attempt, bill: Bill, status: str, *, with_calls: bool = False) -> AIMessage:
        reply = attempt.reply
        calls = [call.as_tool_call() for call in reply.calls] if with_calls else []
        said: Message = {"role": "assistant", "content": attempt.text, "tool_calls": calls}
        metadata: dict[str, Any] = {"model": bill.model, "attempt": str(attempt.id)}
        if reply.finish_reason:
            metadata["finish_reason"] = reply.finish_reason
        if attempt.withheld:
            metadata["withheld"] = storable(attempt.withheld)
        if reply.items and (with_calls or status == "completed"):
            metadata["items"] = reply.items
        if self.given and not with_calls:
            metadata["sources"] = [each.model_dump() for each in self.given]
        return self._message(
            AIMessage.Role.ASSISTANT,
            content=attempt.text,
            tool_calls=calls,
            status=MESSAGE_STATUS[status],
            token_count=tokens.count_content(said),
            estimated_cost=bill.cost,
            request_id=bill.request_id,
            response_time_ms=bill.latency_ms,
            metadata=metadata,
        )

    def _result(self, result: FunctionResult) -> AIMessage:
        metadata = {"function": result.call.name}
        if result.error_code:
            metadata["error_code"] = result.error_code
        return self._message(
            AIMessage.Role.TOOL,
            content=result.output,
            tool_call_id=result.call.id,
            status=MESSAGE_STATUS[result.status],
            token_count=tokens.count_content(result.as_message()),
            response_time_ms=result.duration_ms,
            metadata=metadata,
        )

    def _message(self, role: str, *, content: str, **fields: Any) -> AIMessage:
        return AIMessage(
            content=storable(content),
            conversation_id=self._conversation_id,
            turn_id=self._turn_id,
            sequence=self._sequence,
            role=role,
            **fields,
        )
