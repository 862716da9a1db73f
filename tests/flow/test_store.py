"""Whatever becomes of the store, requests are served; and what it could not take then, it has once it is back."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from proxy.store.questions import Filters
from proxy.store.sqlite_reader import SqliteReader
from tests.flow.client import BrokenReplyError
from tests.flow.desk import Desk
from tests.flow.scripts import READ_ALL, reply, send
from tests.records.shown import parsed
from tests.store.places import covered, small_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.flow.stage import Stage

FLUSHED = 0.25  # seconds until a record is written
SLACK = 2.0  # seconds that a busy machine may take for it all the same
LATER = 30.0  # seconds until a store that is back has all
QUICK = 2.0  # seconds that no request takes here, whatever the store does

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def kept(request: pytest.FixtureRequest, own_gateway: Callable[..., Stage], tmp_path: Path) -> Iterator[Stage]:
    """A gateway with a store of its own."""
    stage = own_gateway(workers=request.param, records={"store": f"sqlite:{tmp_path / 'records.db'}"})
    yield stage
    stage.gateway.stop()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    with small_disk(tmp_path / "disk", "2m") as folder:
        yield folder


@pytest.fixture
def cramped(own_gateway: Callable[..., Stage], disk: Path) -> Iterator[Stage]:
    """A gateway whose store is on the small disk, and whose queue holds ten records."""
    stage = own_gateway(records={"store": f"sqlite:{disk / 'records.db'}", "queue": 10, "stdout": False})
    yield stage
    stage.gateway.stop()


def post(stage: Stage, count: int) -> None:
    """Have so many requests served, each in no time to speak of."""
    for _ in range(count):
        began = time.monotonic()
        assert stage.post().status == 200
        assert time.monotonic() - began < QUICK


def sink(stage: Stage) -> tuple[int, int]:
    """Return how many records the store has got, and how many were dropped."""
    found = parsed(stage.gateway.ops("/metrics")[1])
    written, dropped = (
        found[f'log_records_total{{result="{result}",sink="store"}}'] for result in ("written", "dropped")
    )
    return int(written), int(dropped)


def wait_sink(stage: Stage, written: int, dropped: int) -> None:
    stage.gateway.wait_for(lambda: sink(stage) == (written, dropped), f"{written} written, {dropped} dropped", LATER)


def in_file(path: Path) -> list[dict[str, Any]]:
    """Return every record in a file, oldest first, once it has been found sound."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()

    async def read() -> list[dict[str, Any]]:
        reader = SqliteReader(path)
        found = [item async for batch in reader.export(Filters()) for item in batch]
        await reader.close()
        return found

    return asyncio.run(read())[::-1]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_gateway_loses_at_most_what_it_had_not_flushed(
    own_gateway: Callable[..., Stage], tmp_path: Path, workers: int
) -> None:
    records = {"store": f"sqlite:{tmp_path / 'records.db'}"}
    stage = own_gateway(workers=workers, records=records)
    answered: list[float] = []
    threads = [threading.Thread(target=ask_on, args=(stage, answered)) for _ in range(2)]
    for thread in threads:
        thread.start()
    stage.gateway.wait_for(lambda: answered and time.monotonic() > answered[0] + FLUSHED + SLACK + 1, "some requests")
    killed = time.monotonic()
    for pid in stage.gateway.pids():
        os.kill(pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    stage.gateway.wait_exit()
    safe = sum(1 for moment in answered if moment < killed - FLUSHED - SLACK)
    left = in_file(tmp_path / "records.db")
    assert 10 < safe <= len(left) <= len(answered) + len(threads)
    again = own_gateway(workers=workers, records=records)
    desk = Desk(again.gateway)
    assert desk.get(f"/api/requests/{left[0]['id']}") == left[0]
    post(again, 1)
    desk.wait_items(f"trace={again.token}", 1)
    assert desk.get("/api/stats?since=1h")["total"]["requests"] == len(left) + 1
    again.gateway.stop()


def ask_on(stage: Stage, answered: list[float]) -> None:
    """Send requests until nobody answers."""
    with suppress(BrokenReplyError, OSError):
        while True:
            assert stage.post().status == 200
            answered.append(time.monotonic())


def test_a_file_that_another_holds_delays_records_and_no_request(kept: Stage, tmp_path: Path) -> None:
    post(kept, 2)
    wait_sink(kept, 2, 0)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "records.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        post(kept, 20)
        kept.gateway.wait_stderr("database is locked", LATER)
        assert sink(kept) == (2, 0)
        post(kept, 5)
        desk = Desk(kept.gateway)
        assert len(desk.get("/api/requests")["items"]) == 2  # who reads waits for nobody
        holder.stdin.write(b"\n")
    wait_sink(kept, 27, 0)
    assert len(desk.wait_items(f"trace={kept.token}", 27)) == 27


def test_a_full_disk_costs_the_oldest_records_beyond_the_queue_and_no_request(cramped: Stage, disk: Path) -> None:
    post(cramped, 3)
    wait_sink(cramped, 3, 0)
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    served = 3 + 25 + 1
    while "disk is full" not in cramped.gateway.stderr():  # the room that SQLite has already is soon used up
        cramped.script(READ_ALL, send(reply(body=LONG)))
        post(cramped, 1)
        served += 1
        assert served < 2000, "the disk was never full"
    written, dropped = sink(cramped)
    post(cramped, 25)
    cramped.gateway.wait_for(lambda: sink(cramped)[1] >= dropped + 15, "records to be dropped")
    assert cramped.post(extra=[("x-portkey-trace-id", "the-last")]).status == 200
    ballast.unlink()
    cramped.gateway.wait_stderr("the store takes records again", LATER)
    cramped.gateway.wait_for(lambda: sum(sink(cramped)) == served, "all to be written or dropped", LATER)
    left = in_file(disk / "records.db")
    assert len(left) == sink(cramped)[0] >= written + 10
    assert left[-1]["trace_id"] == "the-last"
    assert cramped.gateway.stderr().count("disk is full") == 1  # said once


LONG = b'{"text":"' + b"many words " * 20_000 + b'"}'


def test_a_folder_that_nobody_may_write_to_any_more_delays_records_and_no_request(cramped: Stage, disk: Path) -> None:
    post(cramped, 3)
    wait_sink(cramped, 3, 0)
    with covered(disk):
        post(cramped, 6)
        cramped.gateway.wait_stderr("records wait in memory", LATER)
        assert sink(cramped) == (3, 0)
        post(cramped, 2)
        assert Desk(cramped.gateway).ask("GET", "/api/requests").status >= 500  # it says so, and does not hang
    wait_sink(cramped, 11, 0)
    assert len(in_file(disk / "records.db")) == 11


def test_a_file_that_was_deleted_is_made_anew(kept: Stage, tmp_path: Path) -> None:
    post(kept, 2)
    wait_sink(kept, 2, 0)
    for file in tmp_path.glob("records.db*"):
        file.unlink()
    post(kept, 4)
    wait_sink(kept, 6, 0)
    assert len(Desk(kept.gateway).wait_items(f"trace={kept.token}", 4)) == 4
    assert {file.stat().st_mode & 0o777 for file in tmp_path.glob("records.db*")} == {0o600}


def test_a_stop_writes_what_has_just_been_served(own_gateway: Callable[..., Stage], tmp_path: Path) -> None:
    stage = own_gateway(records={"store": f"sqlite:{tmp_path / 'records.db'}"})
    post(stage, 15)
    stage.gateway.stop()
    assert [file.name for file in tmp_path.iterdir()] == ["records.db"]
    assert len(in_file(tmp_path / "records.db")) == 15
