"""How a turn is kept: opened with its question, checkpointed, finished once, swept when its process died.

Plain functions on the ORM, each whole or not at all. Writes that race are guarded in their WHERE clause:
who updates no row has lost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from django.db import IntegrityError, OperationalError
from django.db.models import Max, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from django_chatgpt.core.effects import Stopped
from django_chatgpt.core.ids import uuid7
from django_chatgpt.core.log import Piece
from django_chatgpt.core.messages import Message, storable
from django_chatgpt.core.window import Window
from django_chatgpt.exceptions import AIServiceError, ConflictError, NotFoundError
from django_chatgpt.models import AIConfiguration, AIConversation, AIMessage, AITurn
from django_chatgpt.models.owner import owner_key_of
from django_chatgpt.storage import events, ledger
from django_chatgpt.storage.history import History, load_history
from django_chatgpt.storage.ledger import Hold
from django_chatgpt.storage.primary import atomic, in_transaction, pause, primary
from django_chatgpt.storage.statements import find, insert, update, update_each

TITLE_LENGTH = 60
OPEN_TRIES = 12
EXPIRED: Mapping[str, tuple[str, str]] = {
    AITurn.Status.AWAITING_APPROVAL: ("approval_expired", "Nobody decided in time."),
    AITurn.Status.QUEUED: ("interrupted", "No worker has begun the turn in time."),
}


@dataclass(frozen=True, slots=True)
class Question:
    """What opening a turn needs. `lease` is how long its process may be silent before it counts as dead.

    Of the `window` the question, and what is sent with it in any case, have used their part.
    `waits`: the turn is not begun here, but waits for a worker; the lease is for how long it may.
    `admitted` is False of a question that has to be judged first: until then it counts as refused.
    `refusal` is why it is refused already; its turn is over as soon as it is stored. `refused_by` is what
    staff is told about that.
    """

    user_id: Any
    text: str
    token_count: int
    window: Window
    lease: timedelta
    conversation_id: UUID | None = None
    configuration: AIConfiguration | None = None
    session_id: str = ""
    idempotency_key: str | None = None
    fingerprint: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    waits: bool = False
    admitted: bool = True
    refusal: AIServiceError | None = None
    refused_by: str = ""


@dataclass(frozen=True, slots=True)
class OpenedTurn:
    """A stored turn. `history` ends with the question; `next_sequence` is the answer's.

    `used` are the tokens of all messages that are sent, `dropped` is the number of the last that is not.
    """

    turn_id: UUID
    conversation_id: UUID
    attempt_id: UUID
    history: list[Message]
    used: int
    next_sequence: int
    hold: Hold | None = None
    dropped: int = 0


def configuration_of(conversation_id: UUID, user_id: Any) -> UUID | None:
    """The key of the configuration of the user's own conversation; NotFoundError also for somebody else's."""
    found = find(AIConversation, {"pk": conversation_id, "user_id": user_id}, "configuration_id")
    if found is None:
        raise NotFoundError(f"conversation_id: you have no conversation {conversation_id}.")
    configuration_id: UUID | None = found[0]
    return configuration_id


def find_repeat(user_id: Any, idempotency_key: str, fingerprint: str) -> AITurn | None:
    """The turn that this key has opened before; ConflictError if it was for another question."""
    own = AITurn.objects.using(primary()).filter(owner_key=owner_key_of(user_id))
    turn = own.filter(idempotency_key=idempotency_key).first()
    if turn is not None and turn.request_fingerprint != fingerprint:
        raise ConflictError(
            "Idempotency-Key: this key was used for another request.",
            turn_id=turn.pk,
            code="idempotency_mismatch",
        )
    return turn


def open_turn(
    question: Question,
    model: str,
    sweep: Callable[[AITurn], bool],
    reserve: Callable[[int, int], Hold] | None = None,
) -> OpenedTurn | AITurn:
    """Store the question and its turn, and announce the first attempt in the ledger.

    `reserve` holds the budgets for it, given the tokens of what is sent and the number of the last message
    that is not; what it raises undoes everything.

    Returns the earlier turn where the idempotency key has opened one. Raises ConflictError naming the turn
    that the conversation is busy with; one whose lease ran out is ended by `sweep` first.
    """
    failure: OperationalError | None = None
    for tried in range(OPEN_TRIES):
        try:
            with atomic():
                return _open(question, model, reserve)
        except IntegrityError:
            failure = None
        except OperationalError as error:
            # Two who begin at once may deadlock on MariaDB's index locks; the loser's transaction is gone.
            if in_transaction():
                raise
            failure = error
            pause(tried + 1)
            continue
        if question.idempotency_key is not None:
            repeat = find_repeat(question.user_id, question.idempotency_key, question.fingerprint)
            if repeat is not None:
                return repeat
        if question.conversation_id is not None:
            # It may have been deleted since it was found.
            configuration_of(question.conversation_id, question.user_id)
        busy = (
            AITurn.objects.using(primary()).active().filter(conversation_id=question.conversation_id).first()
        )
        if busy is not None and not (is_expired(busy) and sweep(busy)):
            raise busy_with(busy)
    raise failure or ConflictError("The conversation is busy.", code="turn_running")


def busy_with(turn: AITurn) -> ConflictError:
    """What somebody is told who wants the conversation that `turn` holds."""
    return ConflictError(
        f"The conversation is busy with turn {turn.pk}; wait for it or cancel it.",
        turn_id=turn.pk,
        code="turn_running",
    )


def _open(question: Question, model: str, reserve: Callable[[int, int], Hold] | None) -> OpenedTurn:
    # The first statement of the transaction writes: on SQLite a transaction that begins by reading can't
    # wait for another writer.
    now = timezone.now()
    conversation_id = question.conversation_id
    if conversation_id is None:
        conversation = AIConversation(
            user_id=question.user_id,
            configuration_id=question.configuration.pk if question.configuration else None,
            title=title_of(question.text),
            session_id=question.session_id,
        )
        insert(conversation)
        conversation_id = conversation.pk
    turn = AITurn(
        conversation_id=conversation_id,
        user_id=question.user_id,
        status=AITurn.Status.QUEUED if question.waits else AITurn.Status.RUNNING,
        idempotency_key=question.idempotency_key,
        request_fingerprint=question.fingerprint,
        options=question.options,
        started_at=None if question.waits else now,
        lease_expires_at=now + question.lease,
    )
    turn.fill_keys()
    insert(turn)
    said = History([], question.window.used, 0)
    if question.conversation_id is not None:
        said = load_history(conversation_id, question.window)
    insert(
        AIMessage(
            conversation_id=conversation_id,
            turn_id=turn.pk,
            sequence=said.last + 1,
            role=AIMessage.Role.USER,
            content=question.text,
            token_count=question.token_count,
            status=AIMessage.Status.COMPLETE if question.admitted else AIMessage.Status.REFUSED,
            metadata={"refused_by": question.refused_by} if question.refused_by else {},
        )
    )
    hold = None if reserve is None else reserve(said.used, said.dropped)
    attempt_id = uuid7()
    if (refusal := question.refusal) is None:
        ledger.announce(
            attempt_id,
            user_id=question.user_id,
            conversation_id=conversation_id,
            turn_id=turn.pk,
            model=model,
            hold=hold,
        )
    else:
        end(
            turn.pk,
            AITurn.Status.FAILED,
            partial_text="",
            error_code=refusal.code,
            error_message=refusal.public_message,
        )
    history: list[Message] = [*said.messages, {"role": "user", "content": question.text}]
    return OpenedTurn(
        turn.pk, conversation_id, attempt_id, history, said.used, said.last + 2, hold, said.dropped
    )


def title_of(text: str) -> str:
    """The first words of a question, at most TITLE_LENGTH characters."""
    line = " ".join(text.split())
    if len(line) <= TITLE_LENGTH:
        return line
    words = line[:TITLE_LENGTH].rsplit(" ", 1)[0]
    return words.rstrip(".,;:") + "…"


def running(turn_id: UUID) -> QuerySet[AITurn]:
    return AITurn.objects.using(primary()).filter(pk=turn_id, status=AITurn.Status.RUNNING)


def checkpoint(turn_id: UUID, text: str, lease: timedelta) -> bool:
    """Keep the text so far and renew the lease. False: a stop was asked for. Raises Stopped("lost")."""
    now = timezone.now()
    values = {"partial_text": text, "lease_expires_at": now + lease, "updated_at": now}
    if running(turn_id).filter(cancel_requested_at=None).update(**values):
        return True
    if running(turn_id).update(**values):
        return False
    raise Stopped("lost")


def checkpoint_all(
    texts: Mapping[UUID, tuple[str, timedelta]], pieces: Mapping[UUID, Piece]
) -> dict[UUID, Literal["cancelled", "lost"]]:
    """Keep the texts of many turns, renew their leases and go on with their logs, in one transaction.

    Answers which of them have to stop: somebody asked for it, or they are over already.
    """
    with atomic():
        stops = _checkpoint_all(texts)
        events.add_all({key: piece for key, piece in pieces.items() if stops.get(key) != "lost"})
    return stops


def _checkpoint_all(
    texts: Mapping[UUID, tuple[str, timedelta]],
) -> dict[UUID, Literal["cancelled", "lost"]]:
    now, running = timezone.now(), AITurn.Status.RUNNING
    until = {lease: now + lease for _, lease in texts.values()}
    # In the order of their keys, so that nobody waits in a circle.
    update_each(
        AITurn,
        [
            (
                {"pk": turn_id, "status": running},
                {"partial_text": storable(text), "lease_expires_at": until[lease]},
            )
            for turn_id, (text, lease) in sorted(texts.items())
        ],
    )
    written = AITurn.objects.using(primary()).filter(pk__in=texts, status=running)
    asked = dict(written.values_list("pk", "cancel_requested_at"))
    stops: dict[UUID, Literal["cancelled", "lost"]] = {}
    for turn_id in texts:
        if turn_id not in asked:
            stops[turn_id] = "lost"
        elif asked[turn_id] is not None:
            stops[turn_id] = "cancelled"
    return stops


def ask_to_stop(turn_id: UUID) -> bool:
    """Have whoever runs a turn stop it; asking again changes nothing. False: nobody runs it."""
    now = timezone.now()
    return bool(
        running(turn_id).update(cancel_requested_at=Coalesce("cancel_requested_at", now), updated_at=now)
    )


def end_resting(turn_id: UUID) -> bool:
    """Cancel a turn that waits for a worker or a person, once: of several who try, one is told True."""
    now = timezone.now()
    waiting = (AITurn.Status.QUEUED, AITurn.Status.AWAITING_APPROVAL)
    return bool(
        AITurn.objects.using(primary())
        .filter(pk=turn_id, status__in=waiting)
        .update(
            status=AITurn.Status.CANCELLED,
            active_conversation=None,
            cancel_requested_at=now,
            lease_expires_at=None,
            finished_at=now,
            updated_at=now,
        )
    )


def stops_wanted(turn_ids: Collection[UUID]) -> list[UUID]:
    """Those of the running turns that somebody wants stopped."""
    wanted = AITurn.objects.using(primary()).filter(
        pk__in=turn_ids, status=AITurn.Status.RUNNING, cancel_requested_at__isnull=False
    )
    return list(wanted.values_list("pk", flat=True))


def renew(turn_id: UUID, lease: timedelta) -> bool:
    """Clear the text of a step that is stored by now and renew the lease; answers as `checkpoint` does."""
    return checkpoint(turn_id, "", lease)


def park(turn_id: UUID, until: datetime) -> None:
    """Let a running turn rest until a person has decided, or the time is over.

    Raises Stopped: "cancelled" where somebody asked for it, as nobody would hear of that while it rests.
    """
    now = timezone.now()
    parked = (
        running(turn_id)
        .filter(cancel_requested_at=None)
        .update(
            status=AITurn.Status.AWAITING_APPROVAL, partial_text="", lease_expires_at=until, updated_at=now
        )
    )
    if not parked:
        raise Stopped("cancelled" if running(turn_id).exists() else "lost")


def end(turn_id: UUID, status: str, *, partial_text: str, error_code: str, error_message: str) -> None:
    """End a running turn and free its conversation. Raises Stopped("lost") if it is over already."""
    ended = update(
        AITurn,
        {"pk": turn_id, "status": AITurn.Status.RUNNING},
        {
            "status": status,
            "active_conversation": None,
            "partial_text": partial_text,
            "error_code": error_code,
            "error_message": error_message,
            "lease_expires_at": None,
            "finished_at": timezone.now(),
        },
    )
    if not ended:
        raise Stopped("lost")


def is_completed(turn_id: UUID) -> bool:
    """Whether a turn has come to its own end, which only who runs it can write."""
    return AITurn.objects.using(primary()).filter(pk=turn_id, status=AITurn.Status.COMPLETED).exists()


def admit_question(turn_id: UUID) -> None:
    """The question of a turn has passed: from now on it is part of what was said."""
    AIMessage.objects.using(primary()).filter(turn_id=turn_id, role=AIMessage.Role.USER).update(
        status=AIMessage.Status.COMPLETE, updated_at=timezone.now()
    )


def refuse_question(turn_id: UUID) -> None:
    """The question of a turn has not passed: it is never sent again."""
    _refuse(AIMessage.objects.using(primary()).filter(turn_id=turn_id, role=AIMessage.Role.USER))


def refuse_results(turn_id: UUID) -> None:
    """What the functions of a turn's last step returned is never sent again; that they were called is."""
    said = AIMessage.objects.using(primary()).filter(turn_id=turn_id)
    last = said.filter(role=AIMessage.Role.ASSISTANT).aggregate(last=Max("sequence"))["last"] or 0
    _refuse(said.filter(role=AIMessage.Role.TOOL, sequence__gt=last))


def _refuse(messages: QuerySet[AIMessage]) -> None:
    messages.update(status=AIMessage.Status.REFUSED, updated_at=timezone.now())


def add_messages(messages: Sequence[AIMessage]) -> None:
    if len(messages) == 1:
        insert(messages[0])
    else:
        AIMessage.objects.using(primary()).bulk_create(messages)


def is_expired(turn: AITurn, now: datetime | None = None) -> bool:
    """Whether the process that drove this active turn counts as dead."""
    expires = turn.lease_expires_at
    return turn.is_active and expires is not None and expires < (now or timezone.now())


def claim_running(turn_id: UUID) -> bool:
    """Cancel a running turn over the head of whoever runs it, once; nothing more is written of it there."""
    now = timezone.now()
    return bool(
        running(turn_id).update(
            status=AITurn.Status.CANCELLED,
            active_conversation=None,
            cancel_requested_at=Coalesce("cancel_requested_at", now),
            lease_expires_at=None,
            finished_at=now,
            updated_at=now,
        )
    )


def claim_expired(turn: AITurn) -> bool:
    """End a turn whose lease ran out, once: of several who try, one is told True.

    Nobody is if it was written on since `turn` was read: whoever does so renews the lease.
    """
    now = timezone.now()
    rested = turn.status == AITurn.Status.AWAITING_APPROVAL
    code, why = EXPIRED.get(turn.status, ("interrupted", "The process that ran the turn went away."))
    return bool(
        AITurn.objects.using(primary())
        .expired(now)
        .filter(pk=turn.pk, status=turn.status, lease_expires_at=turn.lease_expires_at)
        .update(
            status=AITurn.Status.CANCELLED if rested else AITurn.Status.INTERRUPTED,
            active_conversation=None,
            error_code=code,
            error_message=why,
            lease_expires_at=None,
            finished_at=now,
            updated_at=now,
        )
    )
