"""A store by its address: ``sqlite:PATH``, or ``postgresql://...`` where the extra ``postgres`` is installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.store.sqlite import SqliteWriter
from proxy.store.sqlite_reader import SqliteReader
from proxy.store.store import StoreError

if TYPE_CHECKING:
    from proxy.store.store import StoreReader, StoreWriter

_FILE: Final = "sqlite:"
_SERVERS: Final = ("postgresql://", "postgres://")


def writer_at(url: str) -> StoreWriter:
    """Return the writing side of the store at ``url``, still closed. Raises StoreError when there is no such kind."""
    if url.startswith(_FILE):
        return SqliteWriter(_path(url))
    _check(url)
    try:
        from proxy.store.postgres import PostgresWriter  # noqa: PLC0415  an extra: SQLite must do without it
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    return PostgresWriter(url)


def reader_at(url: str) -> StoreReader:
    """Return the asking side of the store at ``url``, still closed. Raises StoreError when there is no such kind."""
    if url.startswith(_FILE):
        return SqliteReader(_path(url))
    _check(url)
    try:
        from proxy.store.postgres import PostgresReader  # noqa: PLC0415  an extra: SQLite must do without it
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    return PostgresReader(url)


def _path(url: str) -> Path:
    path = url.removeprefix(_FILE)
    if not path:
        raise StoreError("a store's address has a file after sqlite:, like sqlite:audiogate.db")
    return Path(path).absolute()


def _check(url: str) -> None:
    if not url.startswith(_SERVERS):
        raise StoreError("a store's address is sqlite:PATH or postgresql://USER:PASSWORD@HOST/DATABASE")


def _not_installed(error: ModuleNotFoundError) -> StoreError:
    return StoreError(
        f"a store in PostgreSQL needs the extra postgres ({error.name}): pip install 'audiogate[postgres]'"
    )
