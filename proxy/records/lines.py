"""Writes records as whole lines, from one thread and a bounded queue: nothing ever waits on a reader of stdout.

What was said is not in a line unless that is wanted; then its reply is read in that thread, too.
"""

from __future__ import annotations

import json
import os
import select
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import orjson

from proxy.records.heard import told, untold

if TYPE_CHECKING:
    from collections.abc import Mapping

    _Item = Mapping[str, Any] | bytes

_BATCH: Final = 256  # records a write: enough to save system calls, few enough to hold little memory
_BATCH_BYTES: Final = 1_048_576  # of replies and lines a write: they are in memory twice then
_GATHER: Final = 0.02  # seconds: waking a thread for each record costs the loop more than the record itself
_MOST_BYTES: Final = 67_108_864  # of replies and of lines that wait: with transcripts a record may take a MiB and more
_LAST_WORDS: Final = 2.0  # seconds that a stop waits for a reader to take what is left


class Lines:
    """A sink for records: one JSON object a line on a file descriptor.

    :meth:`put` is synchronous and never blocks. When ``limit`` records wait, or 64 MiB, the oldest are dropped.
    ``written`` and ``dropped`` count records. A descriptor that fails for good (a closed pipe) drops what comes from
    then on. ``transcripts``: lines tell what was said; it may change at any time.
    """

    def __init__(self, descriptor: int, limit: int, *, transcripts: bool = False) -> None:
        self.written = 0
        self.dropped = 0
        self.transcripts = transcripts
        self._limit = limit
        self._queued = 0  # bytes of replies and lines that were put, …
        self._shed = 0  # … dropped again, both by whoever puts, …
        self._taken = 0  # … and taken by the thread: each is written by one side alone
        self._descriptor = descriptor
        self._writing = 0  # records in the thread's hands
        self._waiting: deque[_Item] = deque()
        self._news = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="audiogate-lines", daemon=True)
        self._thread.start()

    def put(self, record: Mapping[str, Any] | bytes) -> None:
        """Queue a record, or a line that is written already (with its newline)."""
        if not (self.transcripts or isinstance(record, bytes)):
            record = untold(record)
        waiting = self._waiting
        self._queued += _size(record)
        waiting.append(record)
        while len(waiting) > self._limit or self._queued - self._shed - self._taken > _MOST_BYTES:
            try:
                self._shed += _size(waiting.popleft())
            except IndexError:  # the thread was faster
                break
            self.dropped += 1
        if not self._news.is_set():
            self._news.set()

    def stop(self) -> None:
        """Write what waits, for a bounded time, and end the thread; what is left then counts as dropped."""
        self._stopping = True
        self._news.set()
        self._thread.join(_LAST_WORDS)
        self.dropped += len(self._waiting) + self._writing

    def _run(self) -> None:
        while True:
            self._news.wait()
            if not self._stopping:
                time.sleep(_GATHER)
            self._news.clear()
            while self._waiting:
                self._write(self._take())
            if self._stopping and not self._waiting:
                return

    def _take(self) -> list[_Item]:
        batch: list[_Item] = []
        enough = self._taken + _BATCH_BYTES
        with suppress(IndexError):  # put() may drop the oldest meanwhile
            while len(batch) < _BATCH and self._taken < enough:
                batch.append(self._waiting.popleft())
                self._taken += _size(batch[-1])
        return batch

    def _write(self, batch: list[_Item]) -> None:
        self._writing = len(batch)
        data = memoryview(b"".join(_line(record) for record in batch))
        try:
            while data:
                data = data[self._write_some(data) :]
        except OSError:
            self.dropped += len(batch)
        else:
            self.written += len(batch)
        self._writing = 0

    def _write_some(self, data: memoryview) -> int:
        while True:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:  # whoever shares the descriptor may have made it so: half a line must not stay
                select.select((), (self._descriptor,), ())


def _size(item: _Item) -> int:
    """Return what an item takes in memory beyond a record's own few thousand bytes."""
    if isinstance(item, bytes):
        return len(item)
    heard = item.get("transcript")
    return 0 if heard is None else int(heard.size)


def _line(record: _Item) -> bytes:
    if isinstance(record, bytes):
        return record
    if record.get("transcript") is not None:
        record = told(record)
    try:
        return orjson.dumps(record, default=str, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # bytes of a header that are no UTF-8, a number beyond 64 bits, deep metadata
        return json.dumps(record, default=str, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
