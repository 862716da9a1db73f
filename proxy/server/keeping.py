"""The store as a gateway's processes use it: tried once before anything starts, written by all, read by ops."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from proxy.records.heard import told
from proxy.server.logs import log
from proxy.store.open import reader_at, writer_at
from proxy.store.recorder import Recorder
from proxy.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.settings import Records
    from proxy.store.store import StoreReader

_DAY: Final = 86_400.0  # seconds


def try_store(url: str) -> None:
    """Open the store, make it if there is none, and close it again. Waits; raises StoreError."""
    writer = writer_at(url)
    try:
        writer.open()
    finally:
        writer.close()


def recorder_for(url: str, records: Records, flushed: Callable[[float], None]) -> Recorder:
    """Return what writes records to the store at ``url``; it has not begun."""
    return Recorder(writer_at(url), limit=records.queue, retention=kept_for(records), flushed=flushed, tell=told)


def kept_for(records: Records) -> float | None:
    """Return the seconds that records are kept; None: for ever."""
    return None if records.retention_days is None else records.retention_days * _DAY


async def reader_for(url: str) -> StoreReader:
    """Return what asks the store at ``url``. One that cannot be reached now is asked again with each question."""
    reader = reader_at(url)
    try:
        await reader.open()
    except StoreError as error:
        log.warning("the store cannot be read yet: %s", error)
    return reader


async def tried(url: str) -> None:
    """Try the store beside the event loop, in a thread that has none."""
    await asyncio.to_thread(try_store, url)
