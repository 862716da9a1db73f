"""What only a file has: its mode, its form, other programs that hold it, and questions that take too long."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from proxy.store.questions import Filters
from proxy.store.sqlite import SqliteWriter
from proxy.store.sqlite_file import MIGRATIONS, OLDEST_SQLITE, open_to_read, open_to_write
from proxy.store.sqlite_reader import SqliteReader
from proxy.store.store import StoreError
from tests.store.made import NOON, id_at, made, some

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.db"


@pytest.fixture
def writer(path: Path) -> Iterator[SqliteWriter]:
    made_writer = SqliteWriter(path)
    made_writer.open()
    yield made_writer
    made_writer.close()


def modes(folder: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_nobody_else_may_read_the_files_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        writer = SqliteWriter(tmp_path / "records.db")
        writer.open()
        writer.write(some(10))
    finally:
        os.umask(before)
    assert modes(tmp_path) == {"records.db": 0o600, "records.db-wal": 0o600, "records.db-shm": 0o600}
    writer.close()
    assert modes(tmp_path) == {"records.db": 0o600}


def test_a_mode_that_somebody_chose_stays(path: Path, writer: SqliteWriter) -> None:
    writer.close()
    path.chmod(0o640)
    writer.open()
    writer.write([made(1)])
    assert set(modes(path.parent).values()) == {0o640}


def test_what_a_file_is_told_when_it_is_made(writer: SqliteWriter, path: Path) -> None:
    connection = open_to_write(path)
    told = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "auto_vacuum", "synchronous", "temp_store", "user_version", "secure_delete")
    }
    assert told == {
        "journal_mode": "wal",
        "auto_vacuum": 2,
        "synchronous": 1,
        "temp_store": 2,
        "user_version": len(MIGRATIONS),
        "secure_delete": 2,
    }
    connection.close()
    assert writer is not None


def schema(path: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(path) as connection:
        found = connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
    connection.close()
    return found


@pytest.mark.parametrize("version", range(len(MIGRATIONS) + 1))
async def test_a_file_of_any_earlier_form_becomes_one_of_the_present(
    path: Path, writer: SqliteWriter, version: int
) -> None:
    old = path.with_name("old.db")
    connection = sqlite3.connect(old, isolation_level=None)
    for statements in MIGRATIONS[:version]:
        for statement in statements:
            connection.execute(statement)
    if version:
        connection.execute(f"PRAGMA application_id = {0x61756467}")
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    renewed = SqliteWriter(old)
    renewed.open()
    renewed.write([made(1, transcript="hello")])
    renewed.close()
    writer.close()
    assert schema(old) == schema(path)
    reader = SqliteReader(old)
    assert len((await reader.page(Filters(text="hello"), limit=2, before=None)).items) == 1
    await reader.close()


def test_a_file_of_a_newer_audiogate_is_left_alone(path: Path, writer: SqliteWriter) -> None:
    writer.close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer Audiogate"):
        writer.open()
    with pytest.raises(StoreError, match="newer Audiogate"):
        open_to_read(path)
    assert path.read_bytes() == before


def test_a_database_of_another_program_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        SqliteWriter(path).open()
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.write_bytes(b"hello, I am a letter " * 100)
    with pytest.raises(StoreError, match="not a database"):
        SqliteWriter(path).open()
    assert path.read_bytes().startswith(b"hello")


def test_a_damaged_file_is_told_as_one(path: Path, writer: SqliteWriter) -> None:
    writer.write(some(500))
    writer.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises(StoreError):
        _open_and_write(writer)


def _open_and_write(writer: SqliteWriter) -> None:
    writer.open()
    writer.write([made(1, at=NOON + 1)])


@pytest.mark.parametrize("place", ["missing/records.db", ".", "file/records.db"])
def test_a_place_where_no_file_can_be_is_told_in_one_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError) as caught:
        SqliteWriter(tmp_path / place).open()
    assert str(caught.value).startswith(f"store {tmp_path}")
    assert "\n" not in str(caught.value)


def test_an_sqlite_that_is_too_old_is_told_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (OLDEST_SQLITE[0], OLDEST_SQLITE[1] - 1, 9))
    with pytest.raises(StoreError, match=r"too old, 3\.37\.0 is needed"):
        SqliteWriter(path).open()


def test_a_name_with_signs_of_addresses_in_it_is_just_a_name(tmp_path: Path) -> None:
    odd = tmp_path / "a?mode=memory#b%20c &d.db"
    writer = SqliteWriter(odd)
    writer.open()
    writer.write([made(1)])
    writer.close()
    assert [file.name for file in tmp_path.iterdir()] == [odd.name]


def test_a_file_that_another_process_holds_fails_and_then_does_not(
    path: Path, writer: SqliteWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.store.sqlite_file.BUSY", 0.1)
    writer.open()
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    began = time.monotonic()
    with pytest.raises(StoreError, match="locked"):
        writer.write([made(1)])
    with pytest.raises(StoreError, match="locked"):
        writer.prune(NOON + 1, 10)
    assert time.monotonic() - began < 2
    holder.communicate(b"\n", timeout=10)
    writer.write([made(1)])
    assert writer.prune(NOON + 1, 10) == 1


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
"""


async def test_who_reads_does_not_wait_for_who_writes(path: Path, writer: SqliteWriter) -> None:
    writer.write([made(1)])
    reader = SqliteReader(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    assert len((await reader.page(Filters(), limit=2, before=None)).items) == 1
    holder.execute("ROLLBACK")
    holder.close()
    await reader.close()


async def test_a_file_that_is_not_there_yet_is_found_once_it_is(path: Path) -> None:
    reader = SqliteReader(path)
    with pytest.raises(StoreError, match="No such file"):
        await reader.open()
    assert not path.exists()
    path.touch()
    with pytest.raises(StoreError, match="earlier form"):
        await reader.arrivals(None, limit=1)
    writer = SqliteWriter(path)
    writer.open()
    writer.write([made(1)])
    assert (await reader.get(id_at(NOON, 1))) == made(1)
    writer.close()
    await reader.close()


async def test_a_file_that_took_the_place_of_another_is_the_one_in_use(path: Path, writer: SqliteWriter) -> None:
    reader = SqliteReader(path)
    writer.write([made(1)])
    assert (await reader.get(id_at(NOON, 1))) is not None
    for file in path.parent.iterdir():
        file.unlink()
    with pytest.raises(StoreError, match="No such file"):
        writer.write([made(2)])
    writer.open()
    writer.write([made(3)])
    assert [item["id"] for item in (await reader.page(Filters(), limit=9, before=None)).items] == [id_at(NOON, 3)]
    other = SqliteWriter(path.with_name("other.db"))
    other.open()
    other.close()
    path.with_name("other.db").rename(path)
    with pytest.raises(StoreError, match="another file has taken its place"):
        writer.write([made(4)])
    await reader.close()


async def test_a_question_that_takes_too_long_is_given_up(path: Path, writer: SqliteWriter) -> None:
    for start in range(20):
        writer.write([made(start * 500 + n, transcript=f"a{n} b{n} c{n}") for n in range(500)])
    reader = SqliteReader(path, patience=0.0)
    with pytest.raises(StoreError, match="no answer within 0 s"):
        async for _ in reader.export(Filters(text="a")):
            pass
    await reader.close()


async def test_a_question_cannot_change_anything(path: Path, writer: SqliteWriter) -> None:
    writer.write([made(1)])
    connection = open_to_read(path)
    for statement in ("DELETE FROM documents", "DROP TABLE requests", "PRAGMA user_version = 0"):
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute(statement)
    connection.close()


def test_what_was_deleted_gives_its_room_back_and_leaves_no_word(path: Path, writer: SqliteWriter) -> None:
    for start in range(4):
        writer.write([made(start * 500 + n, transcript="an unmistakable story " * 200) for n in range(500)])
    writer.close()
    before = path.stat().st_size
    assert b"unmistakable" in path.read_bytes()
    writer.open()
    for _ in range(20):  # minutes of a gateway
        writer.prune(NOON + 1, 500)
    writer.close()
    assert path.stat().st_size < before / 40
    assert b"unmistakable" not in path.read_bytes()


def test_what_arrived_is_remembered_only_for_a_while(path: Path, writer: SqliteWriter) -> None:
    for start in range(0, 12_000, 2000):
        writer.write([made(start + n, at=NOON + n) for n in range(2000)])
    connection = open_to_read(path)
    assert connection.execute("SELECT count(*), max(seq) FROM arrivals").fetchone() == (10_000, 12_000)
    connection.close()


def test_series_that_nothing_is_counted_in_go(path: Path, writer: SqliteWriter) -> None:
    writer.write([made(n, requested=f"model-{n}", outcome="upstream_error", status=404) for n in range(300)])
    connection = open_to_read(path)
    count = "SELECT count(*) FROM series"
    assert connection.execute(count).fetchone() == (301,)  # and that of all others
    assert writer.prune(NOON + 1, 1000) == 300
    assert connection.execute(count).fetchone() == (201,)  # the roll-ups need these, for a year
    connection.close()
