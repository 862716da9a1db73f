"""Records on their way into the store: a bounded queue and its one thread, so that no request ever waits on a store."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from proxy.records.sinks import Sink
from proxy.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxy.store.store import StoreWriter

_BATCH: Final = 500  # records of a write: larger ones are no faster, and hold the interpreter longer
_GATHER: Final = 0.25  # seconds that a record may wait for company, and what a killed process loses
_HELD: Final = 64 * 1024 * 1024  # bytes of replies that may wait to be read: those of thousands of requests
_TOLD: Final = 8 * 1024 * 1024  # bytes of replies that one batch may read
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 5.0  # seconds until a failing store is opened again
_LAST_WORDS: Final = 5.0  # seconds that a stop waits for what is left to be written
_PRUNED: Final = 500  # records deleted at a time: others want to write, too
_PRUNE_AFTER: Final = 5.0  # seconds from the start: that is for requests
_PRUNE_ON: Final = 0.1  # seconds until the next are deleted when there are more
_PRUNE_EVERY: Final = 60.0  # seconds between two looks for what is too old
_SAID_EVERY: Final = 60.0  # seconds between two complaints about a slow store

_log = logging.getLogger("audiogate")


class _Waiting:
    """A record that waits, with the bytes of the reply that it still holds; ``told`` once its transcript is read."""

    __slots__ = ("record", "size", "told")

    def __init__(self, record: Mapping[str, Any], size: int) -> None:
        self.record = record
        self.size = size
        self.told = False


class Recorder:
    """A sink that writes records to a store.

    :meth:`put` is for one thread, the event loop's; it is synchronous and never blocks. When ``limit`` records or 64
    MiB of replies wait, the oldest are dropped and counted. A store that fails is opened again, for ever; what it did
    not take is written then. ``retention`` is how many seconds records are kept, None: for ever; it may be changed at
    any time. ``flushed`` takes the seconds of each batch, and ``tell`` reads a record's transcript; both are called in
    the recorder's thread.
    """

    def __init__(
        self,
        writer: StoreWriter,
        *,
        limit: int,
        retention: float | None,
        flushed: Callable[[float], None],
        tell: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    ) -> None:
        self._writer = writer
        self._limit = limit
        self.retention = retention
        self._flushed = flushed
        self._tell = tell
        self._waiting: deque[_Waiting] = deque()
        # Each of these is changed by one thread only: adding up is not atomic.
        self._put_bytes = self._shed_bytes = self._taken_bytes = 0
        self._shed = self._refused = self._written = self._left = 0
        self._writing = 0
        self._news = threading.Event()
        self._plenty = threading.Event()
        self._stopping = threading.Event()
        self._is_open = False
        self._next_prune = 0.0
        self._pause = _FIRST_WAIT
        self._outage: int | None = None  # how many had been shed when it began
        self._said = 0  # of those that were shed
        self._say_again = 0.0
        self._thread = threading.Thread(target=self._run, name="audiogate-recorder", daemon=True)

    @property
    def sink(self) -> Sink:
        """What has become of the records so far."""
        return Sink(self._written, self._shed + self._refused + self._left, len(self._waiting) + self._writing)

    def put(self, record: Mapping[str, Any]) -> None:
        """Queue a closed record."""
        transcript = record["transcript"]
        size = 0 if transcript is None else transcript.size
        self._put_bytes += size
        self._waiting.append(_Waiting(record, size))
        count = len(self._waiting)
        if count > self._limit or self._put_bytes - self._shed_bytes - self._taken_bytes > _HELD:
            self._shed_oldest()
        if not self._news.is_set():
            self._news.set()
        if count >= _BATCH and not self._plenty.is_set():
            self._plenty.set()

    def start(self) -> None:
        """Begin to write; the store is opened meanwhile, and again until it can be."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, for a bounded time, and close the store; what is left then counts as dropped."""
        self._stopping.set()
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(_LAST_WORDS)
        self._left += len(self._waiting) + self._writing
        self._waiting.clear()

    def _shed_oldest(self) -> None:
        with suppress(IndexError):  # the thread takes some meanwhile
            while len(self._waiting) > self._limit or self._put_bytes - self._shed_bytes - self._taken_bytes > _HELD:
                oldest = self._waiting.popleft()
                self._shed += 1
                self._shed_bytes += oldest.size

    def _wake(self) -> None:
        self._news.set()
        self._plenty.set()

    def _run(self) -> None:
        self._next_prune = time.monotonic() + _PRUNE_AFTER
        while not self._stopping.is_set():
            if self._is_open or self._open():  # before the first record: so that those who ask find a store
                if self._news.wait(max(self._next_prune - time.monotonic(), 0.0)):
                    self._plenty.wait(_GATHER)
                self._news.clear()
                self._plenty.clear()
                self._flush()
                self._prune()
        self._flush()
        with suppress(StoreError):
            self._writer.close()

    def _open(self) -> bool:
        try:
            self._writer.open()
        except StoreError as error:
            self._failed(error)
            return False
        self._is_open = True
        return True

    def _flush(self) -> None:
        """Write all that waits; a store that fails is tried again, until the end: then once is enough.

        What comes meanwhile waits for company, as the first did: a write of five records costs half of one of fifty.
        """
        rest = len(self._waiting)
        while rest > 0 or (self._waiting and self._stopping.is_set()):
            if self._is_open or self._open():
                batch = self._take()
                try:
                    self._write(batch)
                except StoreError as error:
                    self._put_back(batch)
                    self._failed(error)
                else:
                    rest -= _BATCH
            if not self._is_open and self._stopping.is_set():
                return
        if self._waiting:
            self._news.set()

    def _take(self) -> list[_Waiting]:
        """Return the next batch, its transcripts read."""
        batch: list[_Waiting] = []
        size = 0
        with suppress(IndexError):  # put() may shed the oldest meanwhile
            while len(batch) < _BATCH and size < _TOLD:
                batch.append(self._waiting.popleft())
                size += batch[-1].size
                self._writing += 1
        self._taken_bytes += size
        told = [waiting for waiting in batch if self._is_told(waiting)]
        self._refuse(len(batch) - len(told))
        return told

    def _is_told(self, waiting: _Waiting) -> bool:
        if not waiting.told:
            try:
                waiting.record = self._tell(waiting.record)
            except Exception:  # noqa: BLE001  (whatever an upstream answered, the others are kept)
                _log.exception("a transcript could not be read")
                return False
            waiting.told = True
        return True

    def _put_back(self, batch: list[_Waiting]) -> None:
        self._taken_bytes -= sum(waiting.size for waiting in batch)
        self._waiting.extendleft(reversed(batch))
        self._writing = 0

    def _write(self, batch: list[_Waiting]) -> None:
        """Write a batch, and take from it what has been dealt with. Raises StoreError, and then the rest is there."""
        count = len(batch)
        while batch:
            began = time.perf_counter()
            try:
                self._writer.write([waiting.record for waiting in batch[:count]])
            except StoreError:
                raise
            except Exception:  # noqa: BLE001  (one of them is no record: find it, write the others)
                if count > 1:
                    count = 1
                    continue
                _log.exception("a record could not be written")
                self._refuse(1)
            else:
                self._flushed(time.perf_counter() - began)
                self._written += count
                self._writing -= count
            del batch[:count]
        self._recovered()

    def _refuse(self, count: int) -> None:
        self._refused += count
        self._writing -= count

    def _prune(self) -> None:
        """Delete a few of the records that are too old, now and then; roll-ups have their own age."""
        if not self._is_open or time.monotonic() < self._next_prune:
            return
        before = 0.0 if self.retention is None else time.time() - self.retention
        try:
            more = self._writer.prune(before, _PRUNED) >= _PRUNED  # a whole day may go at once
        except StoreError as error:
            self._failed(error)
            more = False
        except Exception:  # noqa: BLE001  (what cannot be deleted is no reason to write nothing)
            _log.exception("old records could not be deleted")
            more = False
        self._next_prune = time.monotonic() + (_PRUNE_ON if more else _PRUNE_EVERY)

    def _failed(self, error: StoreError) -> None:
        """Say so, once in an outage, and wait before the store is tried again."""
        self._is_open = False
        if self._outage is None:
            self._outage = self._shed
            _log.warning("%s; records wait in memory, and the oldest are dropped beyond %d", error, self._limit)
        self._stopping.wait(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_WAIT)

    def _recovered(self) -> None:
        """Say so after an outage; and in none, that the store is too slow, when records had to be dropped."""
        now = time.monotonic()
        if self._outage is not None:
            _log.warning("the store takes records again; %d were dropped meanwhile", self._shed - self._outage)
        elif self._shed > self._said and now >= self._say_again:
            _log.warning("the store is slower than records come: %d were dropped", self._shed - self._said)
        else:
            return
        self._outage, self._said, self._say_again = None, self._shed, now + _SAID_EVERY
        self._pause = _FIRST_WAIT
