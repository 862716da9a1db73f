"""What happens to a file when its disk is full or read-only, its writer is killed, or several write to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from proxy.store.questions import HOUR, Filters, StatsQuestion
from proxy.store.sqlite import SqliteWriter
from proxy.store.sqlite_reader import SqliteReader
from proxy.store.store import StoreError
from tests.rules.sources import ROOT
from tests.store.made import NOON, id_at, made
from tests.store.places import make_read_only, make_writable, small_disk

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.store.store import Document

QUESTION = StatsQuestion(since=NOON // HOUR * HOUR, until=NOON + 200 * HOUR, bucket=HOUR)

WRITE = """
import sys, time
from pathlib import Path
from proxy.store.sqlite import SqliteWriter
from tests.store.made import NOON, made

path, first, count, batch = Path(sys.argv[1]), *map(int, sys.argv[2:])
writer = SqliteWriter(path)
writer.open()
for start in range(first, first + count, batch):
    writer.write([made(n, at=NOON + n, transcript=f"number n{n}") for n in range(start, start + batch)])
    print(start + batch, flush=True)
writer.close()
"""


def start(path: Path, first: int, count: int, batch: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITE, str(path), str(first), str(count), str(batch)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


async def kept(path: Path) -> tuple[list[Document], int, int]:
    """Return all records of a file, how many its search finds, and how many its roll-ups count."""
    reader = SqliteReader(path)
    records = [item async for batch in reader.export(Filters()) for item in batch]
    found = [item async for batch in reader.export(Filters(text="number")) for item in batch]
    stats = await reader.stats(QUESTION)
    await reader.close()
    return records, len(found), stats.total.requests


async def test_a_killed_writer_loses_no_batch_that_was_written_and_leaves_no_half_of_one(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    done = 0
    for turn in range(5):
        writer = start(path, turn * 100_000, 100_000, 20)
        assert writer.stdout is not None
        last = 0
        for _ in range(turn * 7 + 3):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
        last = int(rest[-1]) if rest else last
        writer.wait(10)
        writer.stdout.close()
        records, found, counted = await kept(path)
        done += last - turn * 100_000
        assert len(records) in {done, done + 20}  # the last may have been written and not yet told
        assert len(records) == found == counted
        done = len(records)
    again = SqliteWriter(path)
    again.open()
    again.write([made(1, at=NOON + 1_000_000)])
    again.close()


async def test_two_processes_write_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    writers = [start(path, number * 100_000, 1000, 10) for number in range(2)]
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    records, found, counted = await kept(path)
    wanted = {id_at(NOON + n, n) for first in (0, 100_000) for n in range(first, first + 1000)}
    assert {record["id"] for record in records} == wanted
    assert (len(records), found) == (2000, 2000)
    assert counted == 2000


def until_full(writer: SqliteWriter) -> int:
    """Write until the disk is full; return how many records could be written."""
    for number in range(0, 10_000, 10):
        try:
            writer.write([made(number + n, at=NOON + number + n, transcript="number " * 50) for n in range(10)])
        except StoreError:
            return number
    raise AssertionError("the disk was never full")


async def test_a_full_disk_keeps_whole_batches_only_and_takes_more_once_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(1_000_000))
        writer = SqliteWriter(disk / "records.db")
        writer.open()
        number = until_full(writer)
        assert number > 0
        with pytest.raises(StoreError, match="disk is full"):
            writer.write([made(9_999, transcript="number " * 200_000)])
        records, found, counted = await kept(disk / "records.db")
        assert (len(records), found, counted) == (number, number, number)
        ballast.unlink()
        writer.open()
        writer.write([made(number + n, at=NOON + number + n, transcript="number") for n in range(10)])
        assert len((await kept(disk / "records.db"))[0]) == number + 10
        writer.close()


async def test_a_disk_that_nobody_may_write_to_is_told_and_used_once_it_can_be(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "8m") as disk:
        path = disk / "records.db"
        with pytest.raises(StoreError, match="No such"):
            SqliteWriter(disk / "nowhere" / "records.db").open()
        writer = SqliteWriter(path)
        writer.open()
        writer.write([made(1)])
        writer.close()
        make_read_only(disk)
        with pytest.raises(StoreError, match="unable to open"):
            writer.open()
        with pytest.raises(StoreError, match="Read-only"):
            SqliteWriter(disk / "new.db").open()
        make_writable(disk)
        writer.open()
        writer.write([made(2)])
        writer.close()
        assert len((await kept(path))[0]) == 2


def test_a_folder_that_is_not_ours_is_told_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o755)
    script = f"""
import os
from pathlib import Path
from proxy.store.sqlite import SqliteWriter
from proxy.store.store import StoreError
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
try:
    SqliteWriter(Path({str(folder / "records.db")!r})).open()
except StoreError as error:
    print(error)
"""
    if os.geteuid() != 0:
        folder.chmod(0o555)
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):  # pytest's own: closed to others
        parent.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == (f"store {folder / 'records.db'}: Permission denied\n", "")


def test_writers_wait_for_each_other_and_not_long(tmp_path: Path) -> None:
    first, second = SqliteWriter(tmp_path / "records.db"), SqliteWriter(tmp_path / "records.db")
    first.open()
    second.open()
    began = time.monotonic()
    for number in range(50):
        first.write([made(2 * number)])
        second.write([made(2 * number + 1)])
    assert time.monotonic() - began < 5
    first.close()
    second.close()
