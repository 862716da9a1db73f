"""A store of each kind, empty and open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.store.postgres import Server, server
from tests.store.stores import KINDS, Store, opened, url_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A PostgreSQL server for all tests of this process; each gets a database of its own."""
    with server() as made:
        yield made


@pytest.fixture(params=KINDS)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty store, of each kind."""
    with url_of(request.param, tmp_path, request) as url:
        yield url


@pytest_asyncio.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """An empty store of each kind, open."""
    async with opened(store_url.partition(":")[0], store_url) as made:
        yield made
