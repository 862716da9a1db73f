"""Several processes on one port: a supervisor that owns ops and stdout, and workers that serve.

The kernel spreads connections over the workers' sockets (SO_REUSEPORT). The supervisor first binds the port for itself
alone: with SO_REUSEPORT a second gateway would start without a word and take half of the connections.
A worker writes its records into a pipe; the supervisor writes them out, whole line by whole line, through one queue.
It keeps its counts in files that the supervisor reads for every scrape, and that its successor goes on with.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Final

import orjson
from prometheus_client import CollectorRegistry

from proxy.ops.desk import Desk
from proxy.ops.playground import loopback_url
from proxy.ops.state import State
from proxy.records.exposition import Exposition
from proxy.records.meters import Meters
from proxy.records.sinks import SinkLevels, TimedLines
from proxy.records.workers import Merged, directory, ended, sharing
from proxy.server.drain import Stop
from proxy.server.failing import CannotStartError, cannot_listen
from proxy.server.keeping import reader_for
from proxy.server.logs import log
from proxy.server.ops import Ops
from proxy.server.process import (
    Process,
    announce,
    listen_ops,
    open_store,
    show_build,
    show_standard,
)
from proxy.server.reload import Reloader
from proxy.settings import Address

if TYPE_CHECKING:
    from asyncio.subprocess import Process as Child
    from collections.abc import Collection, Mapping

    from proxy.records.lines import Lines
    from proxy.relay.house import House
    from proxy.server.activation import Passed
    from proxy.server.logs import LogFormat
    from proxy.server.notify import Notifier
    from proxy.server.reload import Source
    from proxy.settings import Loaded, Settings

_LONGEST_LINE: Final = 8_388_608  # bytes of one record: its transcript, also in segments, control characters spelt out
_READY: Final = b'{"ready":true}\n'
_RESTART: Final = (0.1, 5.0)  # seconds before a dead worker is replaced: the first time, and at most
_HEALTHY: Final = 10.0  # seconds after which a worker's end is an accident and no longer a habit


class Worker:
    """The supervisor's side of one worker: started, watched, started again.

    Where it keeps records does not come with its order, which the machine's other users may read in its command line.
    """

    def __init__(self, number: int, order: Mapping[str, Any], store: str | None, lines: Lines | None) -> None:
        self.number = number
        self.ready = asyncio.Event()
        self.failure: str | None = None
        self._order = {**order, "name": f"w{number}"}
        self._store = store
        self._lines = lines
        self._child: Child | None = None

    async def keep_alive(self, stop: Stop) -> None:
        """Run the worker until ``stop`` is asked and it has drained; start it anew whenever it dies before."""
        wait, loop = _RESTART[0], asyncio.get_running_loop()
        while not stop.asked.is_set():
            began = loop.time()
            status = await self._once()
            if stop.asked.is_set():
                return
            if not self.ready.is_set() and self.failure is not None:
                return
            log.error("worker %d ended with %s; starting another", self.number, status)
            self.ready.clear()
            wait = _RESTART[0] if loop.time() - began > _HEALTHY else min(wait * 2, _RESTART[1])
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.asked.wait(), wait)

    def signal(self, number: signal.Signals) -> None:
        """Pass a signal on to the worker, if it lives."""
        if self._child is not None and self._child.returncode is None:
            with suppress(ProcessLookupError):
                self._child.send_signal(number)

    async def _once(self) -> int:
        ours, theirs = socket.socketpair()
        with theirs:
            order = json.dumps({**self._order, "control": theirs.fileno()})
            child = self._child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "proxy.server.worker", order,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                pass_fds=(theirs.fileno(), *self._order["sockets"]),
                limit=_LONGEST_LINE,
                start_new_session=True,  # a terminal's Ctrl-C reaches the supervisor, and through it the workers, once
            )  # fmt: skip
        reader, writer = await asyncio.open_connection(sock=ours, limit=_LONGEST_LINE)
        writer.write(orjson.dumps({"store": self._store}, option=orjson.OPT_APPEND_NEWLINE))
        reports = asyncio.create_task(self._reports(reader))
        try:
            assert child.stdout is not None
            async for line in child.stdout:
                if self._lines is not None:
                    self._lines.put(line)
            return await child.wait()
        finally:
            writer.close()
            await reports
            ended(self._order["metrics"], self._order["name"])

    async def _reports(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            async for line in reader:
                report = orjson.loads(line)
                if "failure" in report:
                    self.failure = report["failure"]
                else:
                    self.ready.set()


class _Front:
    """The supervisor's own metrics, and all the workers' behind them; and the house as they know it.

    ``path`` is where the workers keep their metrics.
    """

    def __init__(self, path: str, settings: Settings, house: House) -> None:
        self._path = path
        self.adopt(house)
        self._own = Meters(CollectorRegistry())
        self._sinks = SinkLevels(self._own, ["stdout"])
        self._workers = self._own.gauges("workers")[()]
        self._draining = self._own.gauges("draining")[()]
        show_build(self._own)
        records = settings.records
        self.lines = TimedLines(1, records.queue, self._sinks.flushed("stdout")) if records.stdout else None

    def adopt(self, house: House) -> None:
        """Show ``house`` from now on."""
        self.house = house
        self.loaded_at = time.time()

    def exposition(self, workers: Collection[Worker], state: State) -> Exposition:
        """Return the metrics of all processes."""
        shown = CollectorRegistry()
        Merged(shown, self._path)
        show_standard(shown)

        def take() -> None:
            self._workers.set(sum(worker.ready.is_set() for worker in workers))
            self._draining.set(state.draining)
            if self.lines is not None:
                self._sinks.take({"stdout": self.lines.sink})

        return Exposition(shown, take)


async def supervise(
    source: Source, loaded: Loaded, house: House, log_format: LogFormat, passed: Passed, notifier: Notifier
) -> None:
    """Serve with ``settings.workers`` processes; return when all of them have drained."""
    settings = loaded.settings
    async with AsyncExitStack() as stack:
        address = settings.listen
        if not passed.gateway:
            address, holder = _claim(address)
            stack.callback(holder.close)
        path = _place(stack)
        front = _Front(path, settings, house)
        store = await open_store(settings)
        if front.lines is not None:
            stack.push_async_callback(asyncio.to_thread, front.lines.stop)
        order: dict[str, Any] = {"path": source.path, "flags": source.flags, "address": str(address), "metrics": path}
        order |= {"log_format": log_format, "sockets": passed.gateway}
        workers = [Worker(number, order, store, front.lines) for number in range(settings.workers)]
        state = State()
        desk = Desk(
            state=state,
            exposition=front.exposition(workers, state),
            house=lambda: front.house,
            loaded_at=lambda: front.loaded_at,
            file=source.name,
            gateway=loopback_url(str(address), tls=settings.tls.cert is not None),
        )
        if store is not None:
            desk.reader = await reader_for(store)
            stack.push_async_callback(desk.reader.close)
        ops = Ops(desk)
        stack.push_async_callback(ops.close)
        reloader = Reloader(source, loaded, front.adopt, quiet=True)  # the workers, who do the same, tell of it
        reloader.notifier = notifier
        ops_where = await listen_ops(ops, settings.ops.listen, passed.ops)
        stop = Stop()
        _pass_signals_on(stop, state, workers, reloader, notifier)
        watching = asyncio.create_task(reloader.watch())
        running = [asyncio.create_task(worker.keep_alive(stop)) for worker in workers]
        ready = asyncio.create_task(_all_ready(workers))
        await asyncio.wait((ready, *running), return_when=asyncio.FIRST_COMPLETED)
        failure = next((worker.failure for worker in workers if worker.failure is not None), None)
        if failure is not None:
            stop.ask()
            for worker in workers:
                worker.signal(signal.SIGKILL)
        elif ready.done():
            state.loaded = True
            announce(str(address), ops_where, loaded, notifier)
        beating = asyncio.create_task(notifier.beat())
        await asyncio.gather(*running)
        beating.cancel()
        ready.cancel()
        watching.cancel()
        if failure is not None:
            raise CannotStartError(failure)


def _place(stack: AsyncExitStack) -> str:
    """Return a directory for the metrics of workers, which goes with ``stack``. Raises :class:`CannotStartError`."""
    try:
        path = stack.enter_context(directory())
    except OSError as error:
        raise CannotStartError(f"there is no place for the metrics of workers: {error.strerror}") from None
    stack.enter_context(sharing(path, "supervisor"))
    return path


def _pass_signals_on(stop: Stop, state: State, workers: list[Worker], reloader: Reloader, notifier: Notifier) -> None:
    loop = asyncio.get_running_loop()

    def end() -> None:
        state.draining = True
        notifier.stopping()
        stop.ask()
        for worker in workers:
            worker.signal(signal.SIGTERM)

    def reload() -> None:
        reloader.reload()
        for worker in workers:
            if worker.ready.is_set():  # one that starts would end by it, and reads the settings anyway
                worker.signal(signal.SIGHUP)

    loop.add_signal_handler(signal.SIGTERM, end)
    loop.add_signal_handler(signal.SIGINT, end)
    loop.add_signal_handler(signal.SIGHUP, reload)


async def _all_ready(workers: list[Worker]) -> None:
    for worker in workers:
        await worker.ready.wait()


def _claim(address: Address) -> tuple[Address, socket.socket]:
    """Bind ``address`` alone, to see that nobody has it, then hold it for the workers. A bound socket takes nothing."""
    family = socket.AF_INET6 if ":" in address.host or not address.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address.host, address.port))
            port = probe.getsockname()[1]
        holder = socket.socket(family, socket.SOCK_STREAM)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((address.host, port))
    except OSError as error:
        raise cannot_listen(address, error) from None
    return Address(address.host, port), holder


async def work(order: Mapping[str, Any], source: Source) -> None:
    """Be a worker: serve on the shared port and say so over the control socket; end when the supervisor is gone."""
    with sharing(order["metrics"], order["name"]):
        await _work(order, source)


async def _work(order: Mapping[str, Any], source: Source) -> None:
    loaded, house = source.load()
    control = socket.socket(fileno=order["control"])
    reader, writer = await asyncio.open_connection(sock=control)
    told = await reader.readline()
    if not told:  # the supervisor is gone already
        return
    process = Process(source, loaded, house, store=orjson.loads(told)["store"], worker=True)
    process.heed_signals()
    try:
        await process.listen(Address.parse(order["address"]), shared=True, passed=order["sockets"])
    except CannotStartError as error:
        writer.write(orjson.dumps({"failure": str(error)}, option=orjson.OPT_APPEND_NEWLINE))
        await writer.drain()
        return
    with suppress(ConnectionError):
        writer.write(_READY)
        await writer.drain()
    orphaned = asyncio.create_task(reader.read())
    orphaned.add_done_callback(lambda _done: process.stop.ask())
    await process.run()
    orphaned.cancel()
    await process.close()
    writer.close()
