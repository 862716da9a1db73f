"""One serving process: relay, listener, reload and drain, from start to exit. The only one, or a worker of several."""

from __future__ import annotations

import asyncio
import gc
import platform
import signal
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from proxy import __version__
from proxy.ops.desk import Desk
from proxy.ops.playground import loopback_url
from proxy.ops.state import State
from proxy.records.exposition import Exposition
from proxy.records.levels import Levels, Now
from proxy.records.meters import Meters
from proxy.records.metrics import Metrics
from proxy.records.names import names_in
from proxy.records.sinks import Sink, SinkLevels, TimedLines
from proxy.relay.internals import require_c_parser
from proxy.relay.relay import Relay
from proxy.routing.breaker import LEVELS, circuits_in
from proxy.server.certificates import remarks
from proxy.server.drain import Stop, drain
from proxy.server.exporter import Exporter
from proxy.server.failing import CannotStartError, cannot_listen
from proxy.server.gateway import Listener
from proxy.server.keeping import kept_for, reader_for, recorder_for, tried
from proxy.server.lag import watch_lag
from proxy.server.ops import Ops
from proxy.server.reload import Reloader, Source
from proxy.server.telemetry import telemetry_from
from proxy.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from proxy.relay.house import House
    from proxy.server.activation import Passed
    from proxy.server.notify import Notifier
    from proxy.settings import Address, Loaded, Settings

_STDOUT = 1
_COUNT_EVERY = 0.02  # seconds: no scrape comes so close upon another, and whoever scrapes us alone gets all of them
_COUNT_AT_ONCE = 64  # records: a millisecond of counting, during which nothing else is done


class Process:
    """Everything one process needs to serve requests, without a listener for ops.

    ``store`` is the address of a store that can be opened, None for none. A ``worker`` shows what is going on at every
    beat of its pulse, for a supervisor that reads it elsewhere, and hands its lines to that supervisor, who counts what
    becomes of them.
    """

    def __init__(
        self, source: Source, loaded: Loaded, house: House, *, store: str | None, worker: bool = False
    ) -> None:
        require_c_parser()
        records, metrics = loaded.settings.records, loaded.settings.metrics
        self.stop = Stop()
        self._source = source
        self.meters = Meters(CollectorRegistry(), key_label=metrics.key_label)
        self._worker = worker
        self._rejected: Counter[str] = Counter()
        self._metrics = Metrics(self.meters, models=metrics.models)
        telemetry = telemetry_from(source.environ)
        also = {"store": store, "otlp": telemetry}
        sinks = SinkLevels(self.meters, ["stdout", *(name for name, used in also.items() if used is not None)])
        self._levels = Levels(self.meters, self._metrics, sinks, breaker=self._circuit)
        self._lag = self.meters.histograms("event_loop_lag_seconds")[()]
        flushed = sinks.flushed("stdout") if not worker else _nobody_asks
        self.lines = TimedLines(_STDOUT, records.queue, flushed) if records.stdout else None
        self.recorder = None if store is None else recorder_for(store, records, sinks.flushed("store"))
        self.exporter = None
        if telemetry is not None:
            self.exporter = Exporter(telemetry, records.queue, sinks.flushed("otlp"))
        self.relay = Relay(house, self._take, None if telemetry is None else telemetry.sampler)
        self.reloader = Reloader(source, loaded, self._adopt)
        self.listener = Listener(self.relay, self._rejected)
        self._watchers: list[Callable[[dict[str, Any]], None]] = []
        self._loop = asyncio.get_running_loop()
        self._uncounted: list[dict[str, Any]] = []
        self._note_house(house)
        self.show()

    def watch(self, watcher: Callable[[dict[str, Any]], None]) -> None:
        """Show every closed record to ``watcher``, which must not wait."""
        self._watchers.append(watcher)

    def _take(self, record: dict[str, Any]) -> None:
        if self.lines is not None:
            self.lines.put(record)
        if self.recorder is not None:
            self.recorder.put(record)
        if self.exporter is not None:
            self.exporter.put(record)
        for watcher in self._watchers:
            watcher(record)
        # Counted together, records cost half as much: code and counters are in the processor's caches then.
        if not self._uncounted:
            self._loop.call_later(_COUNT_EVERY, self._count)
        self._uncounted.append(record)
        if len(self._uncounted) >= _COUNT_AT_ONCE:
            self._count()

    def _count(self) -> None:
        """Bring the metrics up to the last closed record."""
        records, self._uncounted = self._uncounted, []
        for record in records:
            self._metrics.observe(record)

    def _adopt(self, house: House) -> None:
        self.relay.adopt(house)
        self._note_house(house)

    def _note_house(self, house: House) -> None:
        self.loaded_at = time.time()
        if self.lines is not None:
            self.lines.transcripts = house.settings.records.stdout_transcripts
        if self.recorder is not None:
            self.recorder.retention = kept_for(house.settings.records)
        names = names_in(house.settings, house.providers.keys())
        self._metrics.admit(names)
        self._levels.admit(names.providers)
        keys = house.directory.virtual_keys
        self._circuits = circuits_in(house.directory.configs, {slug: key.provider for slug, key in keys.items()})

    def _circuit(self, provider: str) -> int:
        """Return the worst state of a provider's circuits: closed (0), half-open (1) or open (2)."""
        circuits = self._circuits.get(provider)
        if not circuits:
            return 0
        return LEVELS[self.relay.shared.breakers.worst(circuits, asyncio.get_running_loop().time())]

    def show(self) -> None:
        """Bring the gauges, and the counts that others keep, up to this moment."""
        self._count()
        shared, lines = self.relay.shared, self.lines
        sink = lines.sink if lines is not None else Sink(0, 0, 0)
        sinks = {"stdout": Sink(0, sink.dropped, sink.waiting) if self._worker else sink}
        if self.recorder is not None:
            sinks["store"] = self.recorder.sink
        if self.exporter is not None:
            sinks["otlp"] = self.exporter.sink
        self._levels.take(
            Now(
                requests=shared.in_flight_by_route,
                attempts=shared.upstream_in_flight,
                replay_bytes=shared.budget.used,
                draining=shared.draining,
                reloaded=self.reloader.succeeded,
                loaded_at=self.loaded_at,
                rejected=self._rejected,
                sinks=sinks,
            )
        )

    def exposition(self) -> Exposition:
        """Return the metrics of this process as the only one."""
        self.meters.gauges("workers")[()].set(1)
        show_build(self.meters)
        show_standard(self.meters.registry)
        return Exposition(self.meters.registry, self.show)

    async def desk(self, state: State, store: str | None, stack: AsyncExitStack) -> Desk:
        """Return what ops shows of this process as the only one; ``stack`` closes what it opens."""
        desk = Desk(
            state=state,
            exposition=self.exposition(),
            house=lambda: self.relay.house,
            loaded_at=lambda: self.loaded_at,
            file=self._source.name,
        )
        if store is not None:
            desk.reader = await reader_for(store)
            stack.push_async_callback(desk.reader.close)
        return desk

    def heed_signals(self) -> None:
        """Take SIGTERM and SIGINT as asking for an end, and SIGHUP for the settings to be loaded anew."""
        self.stop.listen()
        self._loop.add_signal_handler(signal.SIGHUP, self.reloader.reload)

    async def listen(self, address: Address, *, shared: bool, passed: Sequence[int] = ()) -> str:
        """Open the gateway's listener; raises :class:`CannotStartError`."""
        try:
            return await self.listener.start(address, shared=shared, passed=passed)
        except OSError as error:
            raise cannot_listen(address, error) from None

    async def run(self) -> None:
        """Serve until asked to stop, and drain."""
        if self.recorder is not None:
            self.recorder.start()
        if self.exporter is not None:
            self.exporter.start()
        settle()
        watching = asyncio.create_task(self.reloader.watch())
        pulse = asyncio.create_task(watch_lag(self._lag.observe, self.show if self._worker else None))
        await self.stop.asked.wait()
        watching.cancel()
        await drain(self.relay, self.stop, self.relay.house.settings.drain)
        pulse.cancel()

    async def close(self) -> None:
        """Close listener, upstreams and, last, the records' queues."""
        await self.listener.close()
        await self.relay.close()
        queues = [queue for queue in (self.lines, self.recorder) if queue is not None]
        stops = [asyncio.to_thread(queue.stop) for queue in queues]
        if self.exporter is not None:
            stops.append(self.exporter.stop())
        await asyncio.gather(*stops)
        self.show()


def _nobody_asks(_seconds: float) -> None:
    """A worker's lines go into a pipe: only the time that their sink takes is of interest."""


def show_build(meters: Meters) -> None:
    """Show the versions of the gateway and of Python."""
    meters.gauges("build_info")[__version__, platform.python_version()].set(1)


def show_standard(registry: CollectorRegistry) -> None:
    """Add prometheus_client's metrics of this process and its interpreter to what ``registry`` shows."""
    for collector in (ProcessCollector, GCCollector, PlatformCollector):
        collector(registry=registry)


async def serve_alone(source: Source, loaded: Loaded, house: House, passed: Passed, notifier: Notifier) -> None:
    """Serve with one process and its own ops listener; return when drained."""
    async with AsyncExitStack() as stack:
        settings = loaded.settings
        store = await open_store(settings)
        process = Process(source, loaded, house, store=store)
        stack.push_async_callback(process.close)
        process.reloader.notifier = notifier
        process.heed_signals()
        state = State()
        desk = await process.desk(state, store, stack)
        ops = Ops(desk)
        stack.push_async_callback(ops.close)
        where = await process.listen(settings.listen, shared=False, passed=passed.gateway)
        desk.gateway = loopback_url(where, tls=settings.tls.cert is not None)
        ops_where = await listen_ops(ops, settings.ops.listen, passed.ops)
        state.loaded = True
        announce(where, ops_where, loaded, notifier)
        beating = asyncio.create_task(notifier.beat())
        waiting = asyncio.create_task(_mark(process.stop, state, notifier))
        await process.run()
        waiting.cancel()
        beating.cancel()


async def open_store(settings: Settings) -> str | None:
    """Return the address of the store, which can be opened, or None to go without.

    Raises :class:`CannotStartError` when somebody has asked for a store that cannot be opened.
    """
    store = settings.records.store
    if store.kind == "none":
        return None
    try:
        await tried(store.url)
    except StoreError as error:
        if store.named:
            raise CannotStartError(f"records.store: {error}") from None
        print(f"audiogate: no store, so the console has no records: {error}", file=sys.stderr, flush=True)
        return None
    return store.url


async def _mark(stop: Stop, state: State, notifier: Notifier) -> None:
    await stop.asked.wait()
    state.draining = True
    notifier.stopping()


async def listen_ops(ops: Ops, address: Address, passed: Sequence[int] = ()) -> str:
    """Open the ops listener; raises :class:`CannotStartError`."""
    try:
        return await ops.start(address, passed)
    except OSError as error:
        raise cannot_listen(address, error) from None


def announce(gateway: str, ops: str, loaded: Loaded, notifier: Notifier) -> None:
    """Tell on stderr where the listeners are, once they serve, and the service manager that they do."""
    settings = loaded.settings
    gateway = f"{'http' if settings.tls.cert is None else 'https'}://{gateway}"
    ops = f"{'http' if settings.ops.tls.cert is None else 'https'}://{ops}"
    print(f"audiogate: gateway on {gateway}", file=sys.stderr)
    print(f"audiogate: ops on {ops}", file=sys.stderr, flush=True)
    notifier.ready(f"gateway on {gateway}, ops on {ops}")
    for remark in remarks(settings):
        print(f"audiogate: {remark}", file=sys.stderr, flush=True)
    if not settings.ops.listen.is_loopback and settings.ops.token is None:
        print(
            "audiogate: ops is reachable from other machines and has no ops.token: it serves health and metrics only",
            file=sys.stderr,
            flush=True,
        )


def settle() -> None:
    """Tell the garbage collector that what start-up made stays, and that requests make little for it to find."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end on uvloop, or on asyncio's own loop where there is none."""
    try:
        import uvloop  # noqa: PLC0415  (optional at run time)
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)
