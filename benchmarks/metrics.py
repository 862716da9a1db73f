"""What is measured: one function per row of the table, each on a proxy that it starts for itself."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from benchmarks.processes import PeakMemory
from benchmarks.profiling import sampled
from benchmarks.programs import BenchError, Load
from benchmarks.proxies import AUDIOGATE, BARE, DIRECT, NGINX, UNKEPT, UNMETERED, UNSTORED, Proxy, Running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SMALL = 100_000  # bytes of a small upload's file: 6 s of Opus, or 3 s of 16 kHz PCM
TINY = 4_000  # bytes where the cost per request is looked for, not that per byte
LARGE = 25_000_000  # bytes of a large one: what OpenAI takes at most
PACE = 5_000_000  # bytes per second of a slow upload, or a slow upstream
SLOW_UPLOADS = 64
PAUSE_MS = 100  # long beside any delay that is not buffering
SETTLE_SECONDS = 1.0  # after start, until memory stands still
FALLBACK = (  # a second target is possible, so the upload is kept
    'x-portkey-config: {"strategy": {"mode": "fallback"}, "targets": [{"provider": "bench"}, {"provider": "bench"}]}'
)


@dataclass(frozen=True, slots=True)
class Scale:
    """How long to measure: enough for stable medians, or enough to see that all works."""

    rounds: int
    seconds: float  # of each CPU and throughput measurement
    slow_bytes: int  # of each slow upload
    repeats: int  # of what is measured one at a time

    @classmethod
    def full(cls) -> Scale:
        """Return what the README's table is made with."""
        return cls(rounds=3, seconds=2.0, slow_bytes=LARGE, repeats=10)

    @classmethod
    def quick(cls) -> Scale:
        """Return one short round."""
        return cls(rounds=1, seconds=1.0, slow_bytes=LARGE // 2, repeats=5)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where a measurement takes place: proxy, fake upstream's port, scale, and the flame graph's file."""

    proxy: Proxy
    upstream: int
    scale: Scale

    profile: Path | None = None

    @contextmanager
    def serving(self, workers: int = 1) -> Iterator[Running]:
        """Start the proxy and send what makes its lazy imports, connections and caches be there."""
        with self.proxy.serving(self.upstream, workers) as running:
            running.load(Load(connections=SLOW_UPLOADS, requests=4 * SLOW_UPLOADS, file_bytes=TINY))
            with sampled(running.pids[0], self.profile) if self.profile else nullcontext():
                yield running


@dataclass(frozen=True, slots=True)
class Budget:
    """The most (or least) that Audiogate may show: its value, or its ratio to a peer's, or what it has more."""

    limit: float
    peer: str | None = None
    at_least: bool = False
    more: bool = False  # the limit is on the difference to the peer, in the metric's unit


@dataclass(frozen=True, slots=True)
class Metric:
    """One row: ``measure`` returns a number in ``unit`` for one proxy."""

    name: str
    title: str
    unit: Literal["ms", "s", "MiB", "x"]
    measure: Callable[[Bench], float]
    budget: Budget | None = None
    proxies: tuple[Proxy, ...] = (NGINX, BARE, AUDIOGATE)
    digits: int = 2


def first_byte(bench: Bench) -> float:
    """Milliseconds from the client's first byte to the upstream's, while the client pauses after 64 KiB.

    The median of each field order, of which the worse counts: with the file first, the model is yet to come.
    """
    paused = Load(requests=bench.scale.repeats, file_bytes=2 * SMALL, pause_after=65536, pause_ms=PAUSE_MS)
    with bench.serving() as running:
        orders = [running.load(paused), running.load(replace(paused, file_first=True))]
    return max(_some(outcome.first_byte_ms) for outcome in orders)


def cpu_per_small_request(bench: Bench, *, mp3: bool = False) -> float:
    """CPU milliseconds of the proxy per 100 KB upload, 32 at a time."""
    with bench.serving() as running:
        before = running.cpu_seconds()
        outcome = running.load(Load(connections=32, seconds=bench.scale.seconds, file_bytes=SMALL, mp3=mp3))
        return (running.cpu_seconds() - before) * 1000 / outcome.requests


def cpu_per_gigabyte(bench: Bench, chunk: int = 0, *, mp3: bool = False) -> float:
    """CPU seconds of the proxy per 10^9 bytes in uploads of 25 MB, 8 at a time; chunk 0: Content-Length."""
    with bench.serving() as running:
        before = running.cpu_seconds()
        load = Load(connections=8, seconds=bench.scale.seconds, file_bytes=LARGE, chunk=chunk, mp3=mp3)
        outcome = running.load(load)
        return (running.cpu_seconds() - before) * 1e9 / outcome.bytes


def cpu_with_replay(bench: Bench) -> float:
    """CPU seconds per 10^9 bytes as in :func:`cpu_per_gigabyte`; Audiogate keeps every upload for a second target."""
    headers = (FALLBACK,) if bench.proxy is AUDIOGATE else ()
    with bench.serving() as running:
        before = running.cpu_seconds()
        outcome = running.load(Load(connections=8, seconds=bench.scale.seconds, file_bytes=LARGE, headers=headers))
        spent = running.cpu_seconds() - before
        if headers:
            _expect_replay(running.folder, "disk", 8)
        return spent * 1e9 / outcome.bytes


def memory_slow_client(bench: Bench) -> float:
    """MiB per upload in flight when 64 clients send 5 MB/s each: peak less idle."""
    return _memory(bench, Load(pace=PACE))


def memory_slow_upstream(bench: Bench) -> float:
    """MiB per upload in flight when 64 clients send all they can and the upstream reads 5 MB/s from each."""
    return _memory(bench, Load(headers=(f"x-bench-pace: {PACE}",)))


def memory_replay(bench: Bench) -> float:
    """MiB per upload in flight as with slow clients, when every upload is kept on disk for a retry."""
    return _memory(bench, Load(pace=PACE, headers=(FALLBACK,)), replay="disk")


def _memory(bench: Bench, load: Load, replay: str | None = None) -> float:
    uploads = replace(load, connections=SLOW_UPLOADS, requests=SLOW_UPLOADS, file_bytes=bench.scale.slow_bytes)
    with bench.serving() as running:
        time.sleep(SETTLE_SECONDS)
        idle = running.memory_mib()
        with PeakMemory(running.pids) as peak:
            running.load(uploads)
        if replay:
            _expect_replay(running.folder, replay, SLOW_UPLOADS)
        return max(0.0, peak.mib - idle) / SLOW_UPLOADS


def _expect_replay(folder: Path, replay: str, count: int) -> None:
    """Make sure, by the gateway's own last records, that uploads were kept: else the number means nothing."""
    deadline = time.monotonic() + SETTLE_SECONDS  # records are written by and by
    while True:
        records = (folder / "audiogate.out").read_bytes().splitlines()[-count:]
        kept = {json.loads(record).get("replay") for record in records}
        if kept == {replay} or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    if kept != {replay}:
        raise BenchError(f"uploads were to be kept for a second attempt ({replay}), but the records say {kept}")


def added_latency(bench: Bench) -> float:
    """Milliseconds that the proxy adds to the median of small requests, one at a time."""
    one_at_a_time = Load(requests=100 * bench.scale.repeats, file_bytes=TINY)
    direct = Bench(DIRECT, bench.upstream, bench.scale)
    return _latency(bench, one_at_a_time) - _latency(direct, one_at_a_time)


def _latency(bench: Bench, load: Load) -> float:
    with bench.serving() as running:
        return _some(running.load(load).latency_ms)


def event_delay(bench: Bench) -> float:
    """Milliseconds from the upstream's sending of an event to its arrival, median, one stream at a time."""
    events = (
        "x-bench-events: 100",
        "x-bench-interval-us: 10000",
    )  # an event every 10 ms: faster than any model speaks
    streams = Load(requests=max(1, bench.scale.repeats // 5), file_bytes=TINY, stream=True, headers=events)
    with bench.serving() as running:
        return _some(running.load(streams).event_delay_ms)


def idle_memory(bench: Bench) -> float:
    """MiB of the whole proxy after start, before any request."""
    with bench.proxy.serving(bench.upstream) as running:
        time.sleep(SETTLE_SECONDS)
        return running.memory_mib()


def two_workers(bench: Bench) -> float:
    """Requests per second of two workers against one, in requests so small that the load costs little."""
    rates = []
    for workers in (1, 2):
        with bench.serving(workers) as running:
            outcome = running.load(Load(connections=SLOW_UPLOADS, seconds=bench.scale.seconds, file_bytes=TINY))
            rates.append(outcome.requests / outcome.seconds)
    return rates[1] / rates[0]


def _some(value: float | None) -> float:
    if value is None:
        raise BenchError("the times that the fake upstream sends along did not reach the client")
    return value


WITH_DIRECT = (DIRECT, NGINX, BARE, AUDIOGATE)
MEMORY = Budget(0.5)
METRICS = (
    Metric("first-byte", "first upstream byte after the client's", "ms", first_byte, Budget(2), WITH_DIRECT),
    Metric(
        "cpu-small",
        "CPU per 100 KB request, 32 at a time",
        "ms",
        cpu_per_small_request,
        Budget(1.5, "bare"),
        digits=3,
    ),
    Metric("cpu-large", "CPU per GB at 25 MB, 8 at a time", "s", cpu_per_gigabyte, Budget(1.5, "nginx")),
    Metric("cpu-chunked", "the same in chunks of 64 KiB", "s", partial(cpu_per_gigabyte, chunk=65536)),
    Metric(
        "metered-large",
        "CPU per GB at 25 MB of MP3, with and without metering",
        "s",
        partial(cpu_per_gigabyte, mp3=True),
        Budget(1.15, "unmetered"),
        (UNMETERED, AUDIOGATE),
    ),
    Metric(
        "metered-small",
        "CPU per 100 KB request of MP3, with and without metering",
        "ms",
        partial(cpu_per_small_request, mp3=True),
        Budget(0.06, "unmetered", more=True),
        (UNMETERED, AUDIOGATE),
        digits=3,
    ),
    Metric(
        "stored-small",
        "CPU per 100 KB request, its record kept in SQLite or nowhere",
        "ms",
        cpu_per_small_request,
        Budget(0.05, "unstored", more=True),
        (UNSTORED, AUDIOGATE),
        digits=3,
    ),
    Metric(
        "cpu-replay",
        "CPU per GB at 25 MB, kept on disk for a second target",
        "s",
        cpu_with_replay,
        Budget(1.6, "unkept"),
        (UNKEPT, AUDIOGATE),
    ),
    Metric("memory", "memory per upload: 64 x 25 MB from slow clients", "MiB", memory_slow_client, MEMORY),
    Metric(
        "memory-stall",
        "memory per upload: 64 x 25 MB to a slow upstream",
        "MiB",
        memory_slow_upstream,
        MEMORY,
    ),
    Metric("memory-replay", "memory per upload: replay on disk", "MiB", memory_replay, Budget(0.75), (AUDIOGATE,)),
    Metric("latency", "added latency p50, one small request at a time", "ms", added_latency, Budget(0.5)),
    Metric("sse", "SSE event delay p50", "ms", event_delay, Budget(0.4), WITH_DIRECT),
    Metric("idle", "idle memory", "MiB", idle_memory, Budget(80), digits=0),
    Metric(
        "workers",
        "two workers against one, requests per second",
        "x",
        two_workers,
        Budget(1.7, at_least=True),
        (BARE, AUDIOGATE),
    ),
)
