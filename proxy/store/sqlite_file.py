"""SQLite's file: how it is opened, its tables, and how an older form becomes the present one.

Unlike the records' documents, which are read one page at a time, ``requests`` holds only what records are found by, so
that a search that finds little reads little. What records have in common (a series: provider, model, status ...) stands
once in ``series``; the index from a series to its records, in the order of keys, answers every filter. ``search`` holds
no text: the words only, for the documents have the text.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from proxy.store.latencies import LatencySum, merged
from proxy.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OLDEST_SQLITE: Final = (3, 37, 0)  # STRICT tables
BUSY: Final = 2.0  # seconds to wait for another process: its batch takes a hundredth of that
_JOURNAL: Final = 64 * 1024 * 1024  # bytes that the write-ahead log may keep after a burst
_CHECKPOINT: Final = 4000  # pages, 16 MB, until the log is worked into the file: rarer costs less, longer to read
_MARK: Final = 0x61756467  # application_id: "audg"

_OF_FILES: Final = (sqlite3.OperationalError, sqlite3.InternalError, sqlite3.DatabaseError)

_FIRST: Final = (
    """CREATE TABLE series (
        id INTEGER PRIMARY KEY, route TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, key TEXT NOT NULL,
        status INTEGER NOT NULL, outcome TEXT NOT NULL, seen INTEGER NOT NULL,
        UNIQUE (route, provider, model, key, status, outcome)) STRICT""",
    """CREATE TABLE requests (
        key INTEGER PRIMARY KEY, series INTEGER NOT NULL, id TEXT NOT NULL, trace_id TEXT NOT NULL) STRICT""",
    "CREATE UNIQUE INDEX requests_by_id ON requests (id)",
    "CREATE INDEX requests_by_trace ON requests (trace_id)",
    "CREATE INDEX requests_by_series ON requests (series, key)",
    "CREATE TABLE documents (key INTEGER PRIMARY KEY, document TEXT NOT NULL) STRICT",
    "CREATE TABLE arrivals (seq INTEGER PRIMARY KEY AUTOINCREMENT, key INTEGER NOT NULL) STRICT",
    # Case and accents are settled before (words.py); marks are parts of words, or Hindi would fall apart.
    """CREATE VIRTUAL TABLE search USING fts5 (
        text, content='', columnsize=0, tokenize="unicode61 remove_diacritics 0 categories 'L* N* M* Co'")""",
    """CREATE TABLE rollups (
        period INTEGER NOT NULL, start INTEGER NOT NULL, series INTEGER NOT NULL, requests INTEGER NOT NULL,
        errors INTEGER NOT NULL, unpriced INTEGER NOT NULL, cost_nano INTEGER NOT NULL, audio_ms INTEGER NOT NULL,
        bytes_in INTEGER NOT NULL, bytes_out INTEGER NOT NULL, latency BLOB NOT NULL,
        PRIMARY KEY (period, start, series)) STRICT, WITHOUT ROWID""",
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_FIRST,)
"""What brings a file from one ``user_version`` to the next; the first makes the tables. Never change one: add one."""


@contextmanager
def failures(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system say of a file into a StoreError; what they say of a value passes."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if type(error) not in _OF_FILES:
            raise
        raise StoreError(f"store {path}: {error}") from error
    except OSError as error:
        raise StoreError(f"store {path}: {error.strerror or error}") from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Do all or nothing, with the right to write from the beginning: nobody else comes in between."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # a full disk may have rolled back by itself
            connection.execute("ROLLBACK")
        raise


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open the store at ``path``, make it (mode 0600) if there is none, and bring it to the present form."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        raise StoreError(f"store {path}: SQLite {sqlite3.sqlite_version} is too old, {wanted} is needed")
    with failures(path):
        _make(path)
        connection = _connect(path, "rw")
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open the store at ``path`` for questions; StoreError when there is none, or none of this form."""
    with failures(path):
        connection = _connect(path, "ro")
        try:
            connection.execute("PRAGMA query_only = ON")
            version = _version(connection, path)
            if version < len(MIGRATIONS):
                raise StoreError(f"store {path}: it is of an earlier form, which the gateway's next start renews")
        except BaseException:
            connection.close()
            raise
    return connection


def identity(path: Path) -> tuple[int, int]:
    """Return what tells this file from another of the same name, put there later."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _make(path: Path) -> None:
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)  # whatever the umask; SQLite gives its other files the same mode
        finally:
            os.close(descriptor)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # Each connection is used by one thread at a time, though not always by the same.
    address = f"file:{quote(str(path.absolute()))}?mode={mode}"
    connection = sqlite3.connect(address, uri=True, timeout=BUSY, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA temp_store = MEMORY")  # what is said in a request is written to no other file
    connection.create_function("merged", 2, merged, deterministic=True)
    # typeshed asks for a result of SQLite's types in a form that takes no bytes
    connection.create_aggregate("latencies", 1, LatencySum)  # type: ignore[arg-type]
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    _version(connection, path)
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # heard only while there is no table
    if connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
        raise StoreError(f"store {path}: this file system cannot hold a write-ahead log; is it a network's?")
    connection.execute("PRAGMA synchronous = NORMAL")  # power that fails costs the last records, never the file
    connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
    connection.execute("PRAGMA secure_delete = FAST")  # what is deleted is overwritten where that costs no more I/O
    with transaction(connection):  # also when nothing is to be done: a file that cannot be written fails here
        version = _version(connection, path)
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        if version < len(MIGRATIONS):
            connection.execute(f"PRAGMA application_id = {_MARK}")
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the form that the file has: 0 for an empty one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and mark != _MARK:
        raise StoreError(f"store {path}: this is a database of another program")
    if version > len(MIGRATIONS):
        raise StoreError(f"store {path}: a newer Audiogate has written it (form {version}; {len(MIGRATIONS)} is known)")
    return int(version)
