"""Both kinds of store, opened for a test: what one may ask of them, and what they answer, has the same cases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pytest

from proxy.store.open import reader_at, writer_at
from tests.bootstrap import in_ci, missing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path

    from proxy.store.questions import Filters
    from proxy.store.store import Document

KINDS: Final = ("sqlite", "postgres")
PATIENCE: Final = 60.0  # seconds for anything that a store does in a test

_T = TypeVar("_T")


class Written:
    """A store's writing side in a thread of its own, as a gateway has it."""

    def __init__(self, url: str) -> None:
        self.writer = writer_at(url)
        self._thread = ThreadPoolExecutor(1)

    def do(self, call: Callable[..., _T], *given: Any) -> _T:
        """Return what ``call`` returns in the writer's thread."""
        return self._thread.submit(call, *given).result(PATIENCE)

    def open(self) -> None:
        self.do(self.writer.open)

    def write(self, *records: Mapping[str, Any]) -> None:
        self.do(self.writer.write, records)

    def prune(self, before: float, limit: int = 1000) -> int:
        return self.do(self.writer.prune, before, limit)

    def close(self) -> None:
        self.do(self.writer.close)
        self._thread.shutdown()


class Store(Written):
    """An empty store, open for writing and for questions."""

    def __init__(self, kind: str, url: str) -> None:
        super().__init__(url)
        self.kind = kind
        self.url = url
        self.reader = reader_at(url)

    async def ids(self, filters: Filters, limit: int = 1000) -> list[str]:
        """Return the ids of the first page that ``filters`` pass."""
        return [item["id"] for item in (await self.reader.page(filters, limit=limit, before=None)).items]

    async def all(self, filters: Filters) -> list[Document]:
        """Return all that an export gives."""
        return [item async for batch in self.reader.export(filters) for item in batch]


@asynccontextmanager
async def opened(kind: str, url: str) -> AsyncIterator[Store]:
    """Open a store; close it in the end."""
    store = Store(kind, url)
    store.open()
    await store.reader.open()
    try:
        yield store
    finally:
        await store.reader.close()
        store.close()


@contextmanager
def url_of(kind: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the address of an empty store of this kind; skip the test where there can be none."""
    if kind == "sqlite":
        yield f"sqlite:{folder / 'records.db'}"
        return
    reason = missing("initdb")
    if reason is not None and not in_ci():
        pytest.skip(reason)
    server = request.getfixturevalue("postgres_server")
    yield server.url(server.database())
