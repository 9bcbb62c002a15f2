"""UUIDv7: their layout, and that they sort by the order in which they were made."""

import subprocess
import sys
import threading
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_chatgpt.core import ids
from django_chatgpt.core.ids import uuid7


def milliseconds_of(made: uuid.UUID) -> int:
    return made.int >> 80


def test_layout_is_that_of_rfc_9562() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    after = time.time_ns() // 1_000_000
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    # Ids made a moment ago, under a burst, may have run ahead of the clock by a little.
    assert before <= milliseconds_of(made) <= after + 1000


def test_fraction_of_the_millisecond_is_in_the_twelve_bits_after_the_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ids, "_last", 0)
    monkeypatch.setattr(ids.time, "time_ns", lambda: 1_700_000_000_123_500_000)
    made = uuid7()
    assert milliseconds_of(made) == 1_700_000_000_123
    assert made.int >> 64 & 0xFFF == 0x800


@given(st.lists(st.integers(min_value=0, max_value=2**62), min_size=1, max_size=50))
def test_order_of_creation_is_kept_whatever_the_clock_does(clock: list[int]) -> None:
    readings = iter(clock)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids.time, "time_ns", lambda: next(readings))
        made = [uuid7() for _ in clock]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert all(one.version == 7 and one.variant == uuid.RFC_4122 for one in made)


@pytest.fixture(autouse=True)
def forget_the_future(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what a made-up clock has left behind."""
    monkeypatch.setattr(ids, "_last", ids._last)


def test_texts_and_bytes_sort_like_the_ids() -> None:
    made = [uuid7() for _ in range(5000)]
    assert made == sorted(made)
    assert [str(one) for one in made] == sorted(str(one) for one in made)
    assert [one.bytes for one in made] == sorted(one.bytes for one in made)


def test_threads_never_share_an_id() -> None:
    made: list[list[uuid.UUID]] = [[] for _ in range(8)]
    start = threading.Barrier(8)

    def work(mine: list[uuid.UUID]) -> None:
        start.wait()
        mine.extend(uuid7() for _ in range(2000))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(mine == sorted(mine) for mine in made)
    assert len({one for mine in made for one in mine}) == 8 * 2000


def test_the_random_part_differs() -> None:
    assert len({uuid7().int & (1 << 62) - 1 for _ in range(1000)}) == 1000


FORK = """
import os, sys
from django_chatgpt.core import ids
first = ids.uuid7()
reading, writing = os.pipe()
ids._lock.acquire()
if os.fork() == 0:
    os.write(writing, ids.uuid7().bytes)
    os._exit(0)
ids._lock.release()
child, mine = os.read(reading, 16), ids.uuid7()
os.wait()
assert first.bytes < child and child != mine.bytes
"""


@pytest.mark.skipif(not hasattr(ids.os, "fork"), reason="this system has no fork")
def test_a_forked_child_does_not_wait_for_a_lock_that_nobody_releases() -> None:
    result = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, timeout=20, check=False
    )
    assert result.returncode == 0, result.stderr


def test_a_renewed_lock_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_lock", threading.Lock())
    ids._lock.acquire()
    ids._renew_lock()
    assert not ids._lock.locked()
    assert uuid7() < uuid7()
