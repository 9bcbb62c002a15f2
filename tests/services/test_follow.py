"""A turn followed by its log: the same events as whoever asked was shown, wherever one joins or leaves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import InterfaceError, OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from django_chatgpt.core import run
from django_chatgpt.core import turn as core
from django_chatgpt.core.events import CallRequested, Content, Done, Failed, Finished, Started, TurnEvent
from django_chatgpt.core.log import Piece
from django_chatgpt.database import ahop
from django_chatgpt.exceptions import NotFoundError
from django_chatgpt.functions import function_registry
from django_chatgpt.models import AIConversation, AITurn, AITurnEvent
from django_chatgpt.runtime import checkpoints
from django_chatgpt.runtime.tasks import TurnTask, wait_for_turns
from django_chatgpt.services import AIService, approvals, chat, closing, follow, sweeper
from django_chatgpt.services.follow import Watch
from django_chatgpt.storage import events as storage
from django_chatgpt.testing import Answer, Call, Failure, FakeOpenAI

pytestmark = pytest.mark.django_db


def look(word: str) -> str:
    """Look something up."""
    return f"{word} means nothing"


@pytest.fixture(autouse=True)
def functions() -> Iterator[None]:
    function_registry.register(look, requires_approval=True)
    function_registry.register(look, name="see")
    yield
    for name in ("look", "see"):
        function_registry.unregister(name)


@pytest.fixture
def busy_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every piece of an answer is written by itself."""
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "GATHER_LEAST", 0.0)
    monkeypatch.setattr(checkpoints, "GATHER_MOST", 0.0)


def script(fake: FakeOpenAI) -> None:
    """A turn with everything in it: text, calls side by side, their results, text again."""
    calls = [Call("see", {"word": "a"}, fragments=3), Call("see", {"word": "b"}, fragments=2)]
    fake.script(
        Answer(chunks=["One ", "moment."], calls=calls), Answer(chunks=["It ", "is ", "done."], delay=0.01)
    )


def replay(turn_id: UUID | None, user: User, after: int = 0) -> list[TurnEvent]:
    assert turn_id is not None
    return [each for each in follow.follow(Watch(turn_id, user.pk, after)) if each is not None]


def unlogged(user: User, **fields: Any) -> AITurn:
    conversation = AIConversation.objects.create(user=user)
    return AITurn.objects.create(**{"conversation": conversation, "user": user, "status": "running"} | fields)


def test_from_any_event_on_the_rest_is_what_was_shown(
    user: User, fake_openai: FakeOpenAI, busy_log: None
) -> None:
    script(fake_openai)
    shown = list(AIService(user).stream("Hi"))
    assert AITurnEvent.objects.count() > 2
    for number in range(len(shown) + 1):
        assert replay(shown[0].turn_id, user, number) == shown[number:]


def test_who_leaves_after_every_event_and_comes_back_misses_nothing(
    user: User, fake_openai: FakeOpenAI, busy_log: None
) -> None:
    """While the turn runs: one listens all the time, one drops off at each event and takes it up again."""
    script(fake_openai)

    async def listen() -> tuple[list[TurnEvent], list[TurnEvent]]:
        task = await chat.alaunch(lambda: chat.begin(chat.Ask(user=user, text="Hi")))
        assert isinstance(task, TurnTask)
        joined: list[TurnEvent] = []
        while not joined or not isinstance(joined[-1], Done):
            batches = follow.afollow(Watch(task.spec.turn_id, user.pk, len(joined)))
            joined.append((await anext(batches))[0])
            await batches.aclose()
        shown = [event async for batch in task.events() for event in batch]
        await wait_for_turns()
        return joined, shown

    joined, shown = async_to_sync(listen)()
    assert joined == shown


def test_a_listener_that_stays_is_told_all_of_it_in_time(
    user: User, fake_openai: FakeOpenAI, busy_log: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is woken: by itself it would look again in an hour."""
    monkeypatch.setattr(follow, "LOOK_SECONDS", 3600.0)
    script(fake_openai)

    async def listen() -> tuple[list[TurnEvent], list[TurnEvent]]:
        task = await chat.alaunch(lambda: chat.begin(chat.Ask(user=user, text="Hi")))
        assert isinstance(task, TurnTask)
        watch = Watch(task.spec.turn_id, user.pk)
        followed = [event async for batch in follow.afollow(watch) for event in batch]
        return followed, [event async for batch in task.events() for event in batch]

    followed, shown = async_to_sync(listen)()
    assert followed == shown


def test_of_a_turn_that_has_just_begun_the_beginning_is_known(user: User) -> None:
    turn = unlogged(user, lease_expires_at=timezone.now() + timedelta(minutes=1))
    watch = Watch(turn.pk, user.pk)
    assert watch.begin()
    assert watch.next() == [Started(turn_id=turn.pk, seq=1, conversation_id=turn.conversation_id)]
    assert (watch.look(), watch.over) == ([], False)
    events = follow.follow(Watch(turn.pk, user.pk, 1), heartbeat=0.0)
    assert next(events) is None
    events.close()


def test_a_turn_that_rests_ends_the_stream_and_goes_on_with_the_next_number(
    user: User, fake_openai: FakeOpenAI
) -> None:
    fake_openai.script(Answer("One moment.", calls=[Call("look", {"word": "a"})]), "It is done.")
    first = list(AIService(user).stream("Hi"))
    turn_id = first[0].turn_id
    assert turn_id is not None
    assert replay(turn_id, user) == first
    assert isinstance(first[-2], Finished)
    resting = Watch(turn_id, user.pk, first[-1].seq)
    assert not resting.begin()
    prepared = approvals.decide(user, turn_id, approvals.Decision(approve=True))
    assert isinstance(prepared, chat.Prepared)
    waiting = Watch(turn_id, user.pk, first[-2].seq)
    assert (waiting.look(), waiting.over) == ([], False), "the end of the rest is not the end"
    rest = [event for event in chat.run(prepared) if event is not None]
    assert rest[0].seq == first[-1].seq + 1
    assert replay(turn_id, user, first[-1].seq) == rest
    assert replay(turn_id, user) == [*first[:-1], *rest], "nothing says that nothing follows, but the end"
    assert any(isinstance(event, CallRequested) and event.needs_approval for event in first)


def test_a_failure_is_told_as_it_was(user: User, fake_openai: FakeOpenAI, settings: Settings) -> None:
    settings.OPENAI_MAX_RETRIES = 0
    fake_openai.script(Failure(429, headers={"retry-after": "7"}))
    shown = list(AIService(user).stream("Hi"))
    assert isinstance(shown[-2], Failed)
    assert shown[-2].retryable
    assert replay(shown[0].turn_id, user) == shown


def test_a_failed_write_of_the_end_is_made_again_with_the_same_numbers(
    user: User, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, fails = storage.add, [RuntimeError(), RuntimeError()]

    def away(turn_id: UUID, piece: Piece) -> None:
        add(turn_id, piece)
        if fails:
            raise fails.pop()

    monkeypatch.setattr(storage, "add", away)
    monkeypatch.setattr(core, "FINISH_AGAIN_SECONDS", (0.0, 0.0))
    shown = list(AIService(user).stream("Hi"))
    assert [event.seq for event in shown] == list(range(1, len(shown) + 1))
    assert replay(shown[0].turn_id, user) == shown


def test_what_was_written_twice_is_told_once(user: User, fake_openai: FakeOpenAI) -> None:
    """A commit of which nobody heard is made again, with more in it."""
    turn = unlogged(user, status="completed", finished_at=timezone.now())
    events: list[TurnEvent] = [Started(seq=1, conversation_id=turn.conversation_id)]
    events += [Content(seq=2, content="a"), Content(seq=3, content="b"), Done(seq=4)]
    for first, last in ((1, 2), (1, 3), (4, 4)):
        storage.add(turn.pk, Piece(tuple(events[first - 1 : last])))
    assert [event.seq for event in replay(turn.pk, user)] == [1, 2, 3, 4]
    assert [event.seq for event in replay(turn.pk, user, 1)] == [2, 3, 4]


def test_a_long_log_is_read_in_parts(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "PIECES", 3)
    turn = unlogged(user, status="completed", finished_at=timezone.now())
    said = [Content(seq=number, content=str(number)) for number in range(2, 12)]
    for event in (*said, Done(seq=12)):
        storage.add(turn.pk, Piece((event,)))
    watch = Watch(turn.pk, user.pk)
    with CaptureQueriesContext(connection) as queries:
        assert len(watch.look()) == 4, "three and the beginning"
    assert len(queries) == 2
    assert (watch.behind, watch.over) == (True, False)
    assert [event.seq for event in replay(turn.pk, user)] == list(range(1, 13))


@pytest.mark.parametrize("seen", [0, 2, 40])
def test_whoever_follows_a_turn_whose_process_died_is_told_the_end(user: User, seen: int) -> None:
    """Also one who has seen more than there was time to write."""
    turn = unlogged(user, partial_text="Once", lease_expires_at=timezone.now() - timedelta(seconds=1))
    begun = Started(seq=1, conversation_id=turn.conversation_id)
    storage.add(turn.pk, Piece((begun, Content(seq=2, content="Once"))))
    events = replay(turn.pk, user, seen)
    assert [event.type for event in events] == ["start", "content", "error", "done"][min(seen, 2) :]
    assert [event.seq for event in events[-2:]] == [2 + closing.GAP, 3 + closing.GAP]
    assert isinstance(events[-2], Failed)
    assert events[-2].code == "interrupted"
    assert sweeper.sweep_expired() == 0


def test_a_log_goes_some_time_after_the_end(
    user: User, fake_openai: FakeOpenAI, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_openai.script(Answer(chunks=["Hello ", "there"]))
    shown = list(AIService(user).stream("Hi"))
    turn_id = shown[0].turn_id
    running = unlogged(user, lease_expires_at=timezone.now() + timedelta(minutes=1))
    storage.add(running.pk, Piece((Content(seq=2, content="a"),)))
    settings.OPENAI_EVENT_RETENTION = 3600
    call_command("chatgpt_prune")
    assert replay(turn_id, user) == shown
    settings.OPENAI_EVENT_RETENTION = 0
    call_command("chatgpt_prune", dry_run=True)
    assert "1 rows of events would be deleted" in capsys.readouterr().out
    call_command("chatgpt_prune")
    assert "1 rows of events deleted" in capsys.readouterr().out
    assert [row.turn_id for row in AITurnEvent.objects.all()] == [running.pk]
    in_short = replay(turn_id, user)
    assert [event.type for event in in_short] == ["start", "content", "finish", "done"]
    assert in_short[1] == Content(turn_id=turn_id, seq=2, content="Hello there")
    end, shown_end = in_short[2], shown[-2]
    assert isinstance(end, Finished)
    assert isinstance(shown_end, Finished)
    assert (end.usage, end.cost, end.message_id) == (shown_end.usage, shown_end.cost, shown_end.message_id)
    assert [event.type for event in replay(turn_id, user, 2)] == ["finish", "done"], "no text twice"


def test_old_rows_are_deleted_in_batches(user: User) -> None:
    turn = unlogged(user, status="completed", finished_at=timezone.now())
    for number in range(5):
        storage.add(turn.pk, Piece((Content(seq=number + 2, content="a"),)))
    assert storage.delete(storage.ended_before(timezone.now()), batch=2) == 5


def test_a_turn_of_somebody_else_is_not_there(user: User, other_user: User) -> None:
    turn = unlogged(user)
    for stranger in (other_user.pk, None):
        with pytest.raises(NotFoundError):
            Watch(turn.pk, stranger).begin()
        with pytest.raises(NotFoundError):
            follow.wait(turn.pk, stranger)


def test_waiting_for_the_end_in_a_coroutine(user: User, fake_openai: FakeOpenAI, busy_log: None) -> None:
    script(fake_openai)

    async def both() -> str:
        task = await chat.alaunch(lambda: chat.begin(chat.Ask(user=user, text="Hi")))
        assert isinstance(task, TurnTask)
        seen = await follow.await_end(task.spec.turn_id, user.pk)
        assert seen == await ahop(lambda: follow.wait(task.spec.turn_id, user.pk))
        return seen.text

    assert async_to_sync(both)() == "It is done."


class TestADatabaseThatIsAway:
    """As while it is restarted: whoever listens hears the rest once it is back."""

    @pytest.fixture(autouse=True)
    def usual(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(follow, "LOOK_SECONDS", 0.01)
        # A test's own transaction is no reason to give up.
        monkeypatch.setattr(follow, "in_transaction", lambda: False)

    @pytest.fixture
    def turn(self, user: User, fake_openai: FakeOpenAI) -> AITurn:
        script(fake_openai)
        return AITurn.objects.get(pk=AIService(user).ask("Hi").turn_id)

    @pytest.mark.parametrize("broken", ["find_turn", "storage.after"])
    @pytest.mark.parametrize("error", [OperationalError, InterfaceError])
    def test_it_is_waited_for(
        self, turn: AITurn, user: User, monkeypatch: pytest.MonkeyPatch, broken: str, error: type[Exception]
    ) -> None:
        shown = replay(turn.pk, user)
        for colour in ("sync", "async"):
            with monkeypatch.context() as patch:
                tried = fail_twice(patch, broken, error)
                if colour == "sync":
                    assert replay(turn.pk, user) == shown
                else:
                    watch = Watch(turn.pk, user.pk)
                    assert async_to_sync(listen_to_all)(watch) == shown
                assert len(tried) > 2

    def test_whoever_waits_for_a_whole_answer(
        self, turn: AITurn, user: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for wait in (follow.wait, async_to_sync(follow.await_end)):
            with monkeypatch.context() as patch:
                fail_twice(patch, "snapshot", OperationalError)
                assert wait(turn.pk, user.pk).over

    def test_not_for_ever(self, turn: AITurn, user: User, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(follow, "AWAY_SECONDS", 0.0)
        fail_twice(monkeypatch, "find_turn", OperationalError)
        with pytest.raises(OperationalError):
            replay(turn.pk, user)

    def test_not_in_a_transaction_which_is_lost(
        self, turn: AITurn, user: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(follow, "in_transaction", lambda: True)
        fail_twice(monkeypatch, "find_turn", OperationalError)
        with pytest.raises(OperationalError):
            replay(turn.pk, user)


async def listen_to_all(watch: Watch) -> list[TurnEvent]:
    return [event async for batch in follow.afollow(watch) for event in batch]


def fail_twice(patch: pytest.MonkeyPatch, name: str, error: type[Exception]) -> list[Any]:
    """What is called in `follow` fails so, twice; each call of it is noted."""
    owner: Any = follow
    for part in name.split(".")[:-1]:
        owner = getattr(owner, part)
    name = name.rpartition(".")[2]
    real, tried = getattr(owner, name), list[Any]()

    def call(*arguments: Any) -> Any:
        tried.append(arguments)
        if len(tried) < 3:
            raise error("the database system is shutting down")
        return real(*arguments)

    patch.setattr(owner, name, call)
    return tried
