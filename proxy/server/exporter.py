"""Exports spans over OTLP/HTTP: a task of its own, in batches, and never in the way of a request.

https://opentelemetry.io/docs/specs/otlp/#otlphttp. Spans are made of closed records, and in a thread.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from multidict import CIMultiDict

from proxy import __version__
from proxy.records.heard import untold
from proxy.records.sinks import Sink
from proxy.records.spans import rejected_in, request_of, resource_of, spans_of
from proxy.routing.backoff import backoff, retry_after
from proxy.server.logs import log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxy.server.telemetry import Telemetry

_SPANS: Final = 512  # of an export: the specification's own number
_PLENTY: Final = _SPANS // 2  # records that fill one: with an attempt each
_RETRIED: Final = frozenset({429, 502, 503, 504})  # answers that ask to be asked again (OTLP/HTTP, failures)
_TRIES: Final = 8  # of one export, in two minutes: what makes a collector fail shall not stand in the way for ever
_LONGEST_WAIT: Final = 300.0  # seconds that a collector may ask to be left alone
_LAST_WORDS: Final = 5.0  # seconds that a stop waits for what is left to be taken
_ANSWER: Final = 65_536  # bytes of an answer that are read: it holds a number and a sentence


class Exporter:
    """A sink for records that have a ``span``. When ``limit`` of them wait, the oldest are dropped.

    ``flushed`` takes the seconds of each export. :meth:`put` is for the event loop, which :meth:`start` needs running.
    """

    def __init__(self, telemetry: Telemetry, limit: int, flushed: Callable[[float], None]) -> None:
        self._telemetry = telemetry
        self._limit = limit
        self._flushed = flushed
        self._resource = resource_of(telemetry.resource)
        self._headers = CIMultiDict({"User-Agent": f"audiogate/{__version__}"})
        self._headers.update(telemetry.headers)
        self._headers["Content-Type"] = "application/x-protobuf"
        if telemetry.gzip:
            self._headers["Content-Encoding"] = "gzip"
        self._waiting: deque[Mapping[str, Any]] = deque()
        self._exporting = self._written = self._dropped = 0  # records
        self._news, self._plenty, self._stopping = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._outage: int | None = None  # how many had been dropped when it began
        self._rejected = False
        self._task: asyncio.Task[None] | None = None

    @property
    def sink(self) -> Sink:
        """What has become of the records so far."""
        return Sink(self._written, self._dropped, len(self._waiting) + self._exporting)

    def put(self, record: Mapping[str, Any]) -> None:
        """Queue a closed record; one that is in no trace, or in one that nobody records, makes no spans."""
        if "span" not in record:
            return
        waiting = self._waiting
        waiting.append(untold(record))
        if len(waiting) + self._exporting > self._limit:
            waiting.popleft()
            self._dropped += 1
        self._news.set()
        if len(waiting) >= _PLENTY:
            self._plenty.set()

    def start(self) -> None:
        """Begin to export."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Export what waits, for a bounded time and without a second try; what is left then counts as dropped."""
        self._stopping.set()
        self._news.set()
        self._plenty.set()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=_LAST_WORDS)
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        left = len(self._waiting) + self._exporting
        lost = left if self._outage is None else self._dropped + left - self._outage
        self._dropped += left
        self._exporting = 0
        self._waiting.clear()
        if lost:
            log.warning("the spans of %d requests never reached %s", lost, self._telemetry.where)

    async def _run(self) -> None:
        telemetry = self._telemetry
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1, ssl=telemetry.tls or True),
            timeout=aiohttp.ClientTimeout(total=telemetry.timeout),
            trust_env=True,  # a collector outside may be behind a proxy
        ) as session:
            while self._waiting or not self._stopping.is_set():
                await self._news.wait()
                await _within(telemetry.every, self._plenty)
                batch = self._take()
                if batch:
                    await self._export(session, batch)
                if not self._waiting and not self._stopping.is_set():
                    self._news.clear()
                if len(self._waiting) < _PLENTY and not self._stopping.is_set():
                    self._plenty.clear()

    def _take(self) -> list[Mapping[str, Any]]:
        batch: list[Mapping[str, Any]] = []
        spans = 0
        while self._waiting and spans < _SPANS:
            spans += 1 + len(self._waiting[0]["attempts"])
            if batch and spans > _SPANS:
                break
            batch.append(self._waiting.popleft())
        self._exporting = len(batch)
        return batch

    async def _export(self, session: aiohttp.ClientSession, batch: list[Mapping[str, Any]]) -> None:
        """Send a batch until it is taken, or is not wanted."""
        body, made = await asyncio.to_thread(self._encoded, batch)
        self._dropped += len(batch) - made
        self._exporting = made
        for tries in range(_TRIES):
            began = time.perf_counter()
            problem, wait = await self._send(session, body)
            if problem is None:
                self._flushed(time.perf_counter() - began)
                self._written += made
                self._recovered()
                break
            self._failed(problem)
            if wait is None or self._stopping.is_set() or tries == _TRIES - 1:
                self._dropped += made
                break
            await _within(wait or backoff(tries, random.random()), self._stopping)  # noqa: S311  (no secret)
        self._exporting = 0

    async def _send(self, session: aiohttp.ClientSession, body: bytes) -> tuple[str | None, float | None]:
        """Send once. Return what went wrong, if anything, and how long to wait for another try.

        That is 0 for as long as is usual, and None when there is no use in trying.
        """
        url, timeout = self._telemetry.url, self._telemetry.timeout
        try:
            async with session.post(url, data=body, headers=self._headers, allow_redirects=False) as reply:
                answer = await reply.content.read(_ANSWER)
                if reply.ok and reply.status < 300:
                    self._look_at(answer)
                    return None, None
                wait = retry_after(reply.headers, time.time()) or 0.0
                again = min(wait, _LONGEST_WAIT) if reply.status in _RETRIED else None
                return f"it answers {reply.status}", again
        except TimeoutError:
            return f"no answer within {timeout:g} s", 0.0
        except (aiohttp.ClientSSLError, aiohttp.InvalidURL):
            return "its address, its certificate or its TLS is not acceptable", 0.0
        except (aiohttp.ClientError, OSError):
            return "it cannot be reached, or it broke off", 0.0

    def _encoded(self, batch: list[Mapping[str, Any]]) -> tuple[bytes, int]:
        """Return the body of an export and how many records are in it. Runs in a thread."""
        spans: list[bytes] = []
        made = 0
        for record in batch:
            try:
                spans += spans_of(record)
            except Exception:  # noqa: BLE001  (whatever is in a record, the others are exported)
                log.exception("a record could not be made into spans")
            else:
                made += 1
            time.sleep(0)  # the event loop shall not wait for the interpreter until all are done
        body = request_of(self._resource, spans)
        return gzip.compress(body, 5) if self._telemetry.gzip else body, made

    def _look_at(self, answer: bytes) -> None:
        """Tell, once, of spans that the collector did not want although it took the export."""
        rejected = rejected_in(answer)
        if rejected and not self._rejected:
            self._rejected = True
            log.warning(
                "%s did not want %d spans; what it does not want is not sent again", self._telemetry.where, rejected
            )

    def _failed(self, problem: str) -> None:
        """Say so, once in an outage."""
        if self._outage is None:
            self._outage = self._dropped
            log.warning(
                "no spans reach %s: %s; requests are served all the same, and beyond %d the oldest spans are dropped",
                self._telemetry.where, problem, self._limit,
            )  # fmt: skip

    def _recovered(self) -> None:
        if self._outage is not None:
            dropped, self._outage = self._dropped - self._outage, None
            log.warning("spans reach %s again; those of %d requests are lost", self._telemetry.where, dropped)


async def _within(seconds: float, event: asyncio.Event) -> None:
    """Wait until ``event``, or for ``seconds``."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
