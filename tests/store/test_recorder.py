"""Records reach the store soon, in order, once; and whatever the store does, nobody waits and memory is bounded."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from proxy.records.sinks import Sink
from proxy.store.questions import Filters
from proxy.store.recorder import Recorder
from proxy.store.sqlite import SqliteWriter
from proxy.store.sqlite_reader import SqliteReader
from proxy.store.store import StoreError
from tests.store.made import NOON, made

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

PATIENCE = 10.0  # seconds
MIB = 1024 * 1024


class Said:
    """What an upstream answered, still to be read."""

    def __init__(self, text: str, size: int = 0) -> None:
        self.text = text
        self.size = size


def tell(record: Mapping[str, Any]) -> dict[str, Any]:
    transcript = record["transcript"]
    if transcript is None:
        return dict(record)
    if transcript.text == "unreadable":
        raise ValueError("no JSON")
    return {**record, "transcript": transcript.text}


def said(number: int, text: str | None = None, size: int = 0) -> dict[str, Any]:
    return {**made(number, at=NOON + number), "transcript": None if text is None else Said(text, size)}


class Gate(SqliteWriter):
    """A store in a file that fails, or stands still, when a test wants it to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.passes = threading.Event()
        self.passes.set()
        self.waits = threading.Event()
        self.failure: str | None = None
        self.opened = 0
        self.pruned: list[tuple[float, int]] = []
        self.batches: list[int] = []

    def open(self) -> None:
        self.opened += 1
        self._fail()
        super().open()

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        self.waits.set()
        assert self.passes.wait(PATIENCE)
        self._fail()
        super().write(records)
        self.batches.append(len(records))

    def prune(self, before: float, limit: int) -> int:
        self.pruned.append((before, limit))
        return super().prune(before, limit)

    def _fail(self) -> None:
        if self.failure is not None:
            raise StoreError(self.failure)


class Desk:
    """A recorder at work, the store behind it, and what it measured."""

    def __init__(self, path: Path, limit: int, retention: float | None) -> None:
        self.path = path
        self.writer = Gate(path)
        self.flushed: list[float] = []
        self.recorder = Recorder(self.writer, limit=limit, retention=retention, flushed=self.flushed.append, tell=tell)

    def wait(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"{self.recorder.sink}"
            time.sleep(0.002)

    def wait_sink(self, sink: Sink) -> None:
        self.wait(lambda: self.recorder.sink == sink)

    def kept(self) -> list[int]:
        """Return the numbers of the records in the file, oldest first."""
        connection = sqlite3.connect(self.path)
        found = [int(row[0][-12:], 16) for row in connection.execute("SELECT id FROM requests ORDER BY key")]
        connection.close()
        return found


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.store.recorder._FIRST_WAIT", 0.02)
    monkeypatch.setattr("proxy.store.recorder._LONGEST_WAIT", 0.05)
    monkeypatch.setattr("proxy.store.recorder._GATHER", 0.02)


@contextmanager
def at_work(folder: Path, *, limit: int = 1000, retention: float | None = None) -> Iterator[Desk]:
    desk = Desk(folder / "records.db", limit, retention)
    desk.recorder.start()
    try:
        yield desk
    finally:
        desk.writer.passes.set()
        desk.recorder.stop()


def test_records_reach_the_store_in_order_and_are_counted(tmp_path: Path) -> None:
    with at_work(tmp_path, limit=2000) as desk:
        for number in range(1200):
            desk.recorder.put(said(number))
        desk.wait_sink(Sink(1200, 0, 0))
        assert desk.kept() == list(range(1200))
        assert max(desk.writer.batches) <= 500
        assert len(desk.flushed) == len(desk.writer.batches) >= 3
        assert all(seconds > 0 for seconds in desk.flushed)


def test_a_record_that_comes_alone_is_written_soon(tmp_path: Path) -> None:
    with at_work(tmp_path) as desk:
        desk.wait(desk.path.exists)
        desk.recorder.put(said(1))
        desk.wait_sink(Sink(1, 0, 0))


def test_a_store_is_there_before_the_first_record(tmp_path: Path) -> None:
    with at_work(tmp_path) as desk:
        desk.wait(lambda: desk.path.exists() and desk.path.stat().st_size)
        assert desk.recorder.sink == Sink(0, 0, 0)


async def test_transcripts_are_read_beside_the_loop_and_found(tmp_path: Path) -> None:
    with at_work(tmp_path) as desk:
        desk.recorder.put(said(1, "hello world", 100))
        desk.wait_sink(Sink(1, 0, 0))
        reader = SqliteReader(desk.path)
        (item,) = (await reader.page(Filters(text="world"), limit=2, before=None)).items
        assert item["transcript"] == "hello world"
        await reader.close()


def test_a_store_that_stands_still_costs_the_oldest_records_and_no_time(tmp_path: Path) -> None:
    with at_work(tmp_path, limit=10) as desk:
        desk.writer.passes.clear()
        desk.recorder.put(said(0))
        assert desk.writer.waits.wait(PATIENCE)
        began = time.monotonic()
        for number in range(1, 5001):
            desk.recorder.put(said(number))
        assert time.monotonic() - began < 2
        assert desk.recorder.sink == Sink(0, 4990, 11)
        desk.writer.passes.set()
        desk.wait_sink(Sink(11, 4990, 0))
        assert desk.kept() == [0, *range(4991, 5001)]


def test_replies_that_wait_to_be_read_are_bounded_by_their_bytes(tmp_path: Path) -> None:
    with at_work(tmp_path) as desk:
        desk.writer.passes.clear()
        desk.recorder.put(said(0))
        assert desk.writer.waits.wait(PATIENCE)
        for number in range(1, 101):
            desk.recorder.put(said(number, "hello", MIB))
        assert desk.recorder.sink == Sink(0, 100 - 64, 65)
        desk.recorder.put(said(101))  # which holds nothing
        assert desk.recorder.sink == Sink(0, 100 - 64, 66)
        desk.writer.passes.set()
        desk.wait_sink(Sink(66, 36, 0))
        assert max(desk.writer.batches) <= 9  # which is 8 MiB, and the one that holds nothing
        for number in range(200, 264):  # all of that was given back
            desk.recorder.put(said(number, "hello", MIB))
        desk.wait_sink(Sink(66 + 64, 36, 0))


def test_a_store_that_fails_comes_back_and_misses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with at_work(tmp_path) as desk:
        desk.recorder.put(said(1, "hello", 10))
        desk.wait_sink(Sink(1, 0, 0))
        desk.writer.failure = "store: the disk is full"
        for number in range(2, 50):
            desk.recorder.put(said(number, "hello", 10))
        opened = desk.writer.opened
        desk.wait(lambda: desk.writer.opened > opened + 3)
        assert desk.recorder.sink == Sink(1, 0, 48)
        desk.writer.failure = None
        desk.wait_sink(Sink(49, 0, 0))
        assert desk.kept() == list(range(1, 50))
    assert [record.message for record in caplog.records] == [
        "store: the disk is full; records wait in memory, and the oldest are dropped beyond 1000",
        "the store takes records again; 0 were dropped meanwhile",
    ]


def test_an_outage_drops_the_oldest_and_says_how_many(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with at_work(tmp_path, limit=5) as desk:
        desk.wait(lambda: desk.writer.opened)
        desk.writer.failure = "store: gone"
        desk.recorder.put(said(0))
        desk.wait(lambda: desk.writer.opened > 1)
        for number in range(1, 20):
            desk.recorder.put(said(number))
        assert desk.recorder.sink.waiting + desk.recorder.sink.dropped == 20
        assert desk.recorder.sink.waiting == 5
        desk.writer.failure = None
        desk.wait_sink(Sink(5, 15, 0))
        assert desk.kept() == list(range(15, 20))
    assert caplog.records[-1].message == "the store takes records again; 15 were dropped meanwhile"
    assert len(caplog.records) == 2


def test_a_store_that_cannot_be_opened_is_tried_until_it_can(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    with at_work(folder) as desk:
        desk.recorder.put(said(1))
        desk.wait(lambda: desk.writer.opened > 3)
        assert desk.recorder.sink == Sink(0, 0, 1)
        folder.mkdir()
        desk.wait_sink(Sink(1, 0, 0))


def test_a_file_that_was_deleted_is_made_anew(tmp_path: Path) -> None:
    with at_work(tmp_path) as desk:
        desk.recorder.put(said(1))
        desk.wait_sink(Sink(1, 0, 0))
        for file in tmp_path.iterdir():
            file.unlink()
        desk.recorder.put(said(2))
        desk.wait_sink(Sink(2, 0, 0))
        assert desk.kept() == [2]


def test_an_answer_that_cannot_be_read_stops_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with at_work(tmp_path) as desk:
        for number in range(10):
            desk.recorder.put(said(number, "unreadable" if number == 4 else "fine"))
        desk.wait_sink(Sink(9, 1, 0))
        assert desk.kept() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert [record.message for record in caplog.records] == ["a transcript could not be read"]


def test_what_is_no_record_stops_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with at_work(tmp_path) as desk:
        for number in range(10):
            desk.recorder.put({"transcript": None} if number == 4 else said(number))
        desk.wait_sink(Sink(9, 1, 0))
        assert desk.kept() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
        desk.recorder.put({**said(10), "bytes_in": 1 << 70})  # more than any database counts
        desk.recorder.put(said(11))
        desk.wait_sink(Sink(10, 2, 0))
    assert {record.message for record in caplog.records} == {"a record could not be written"}


def test_a_stop_writes_what_waits(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "records.db", 1000, None)
    desk.recorder.start()
    for number in range(700):
        desk.recorder.put(said(number))
    desk.recorder.stop()
    assert desk.recorder.sink == Sink(700, 0, 0)
    assert desk.kept() == list(range(700))
    assert [file.name for file in tmp_path.iterdir()] == ["records.db"]  # closed: no log is left


def test_a_stop_does_not_wait_for_ever_and_counts_what_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.store.recorder._LAST_WORDS", 0.2)
    with at_work(tmp_path) as desk:
        desk.writer.passes.clear()
        for number in range(10):
            desk.recorder.put(said(number))
        assert desk.writer.waits.wait(PATIENCE)
        began = time.monotonic()
        desk.recorder.stop()
        assert time.monotonic() - began < 1
        assert desk.recorder.sink.dropped == 10


def test_a_stop_while_the_store_fails_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.store.recorder._FIRST_WAIT", 60.0)
    monkeypatch.setattr("proxy.store.recorder._LONGEST_WAIT", 60.0)
    desk = Desk(tmp_path / "missing" / "records.db", 1000, None)
    desk.recorder.start()
    desk.recorder.put(said(1))
    desk.wait(lambda: desk.writer.opened)
    began = time.monotonic()
    desk.recorder.stop()
    assert time.monotonic() - began < 2
    assert desk.recorder.sink == Sink(0, 1, 0)


def test_a_recorder_that_never_began_can_be_stopped(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "records.db", 1000, None)
    desk.recorder.put(said(1))
    desk.recorder.stop()
    assert desk.recorder.sink == Sink(0, 1, 0)


def test_what_is_too_old_goes_while_records_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AFTER", "ON", "EVERY"):
        monkeypatch.setattr(f"proxy.store.recorder._PRUNE_{name}", 0.02)
    monkeypatch.setattr("proxy.store.recorder._PRUNED", 10)
    now = time.time()
    with at_work(tmp_path, retention=3600) as desk:
        for number in range(35):
            desk.recorder.put({**made(number, at=now - 7200)})
        desk.recorder.put(made(99, at=now))
        desk.wait(lambda: len(desk.writer.pruned) > 6 and desk.kept() == [99])
        before, limit = desk.writer.pruned[0]
        assert limit == 10
        assert before == pytest.approx(now - 3600, abs=30)
        desk.recorder.retention = None  # as a reload may say
        seen = len(desk.writer.pruned)
        desk.wait(lambda: len(desk.writer.pruned) > seen + 1)
        assert desk.writer.pruned[-1][0] == 0.0
        assert desk.kept() == [99]


def test_putting_a_record_takes_microseconds(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "records.db", 10_000, None)
    record = said(1, "hello", 10)
    began = time.perf_counter()
    for _ in range(10_000):
        desk.recorder.put(record)
    assert (time.perf_counter() - began) / 10_000 < 20e-6  # a tenth of that on a machine of our own
    desk.recorder.stop()


def test_a_slow_store_is_told_once_a_minute(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with at_work(tmp_path, limit=5) as desk:
        for turn in range(3):
            desk.writer.waits.clear()
            desk.writer.passes.clear()
            desk.recorder.put(said(100 * turn))
            assert desk.writer.waits.wait(PATIENCE)
            for number in range(1, 10):
                desk.recorder.put(said(100 * turn + number))
            desk.writer.passes.set()
            desk.wait_sink(Sink(6 * (turn + 1), 4 * (turn + 1), 0))
    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.message for record in told] == ["the store is slower than records come: 4 were dropped"]
