"""Several processes on one port: a supervisor that owns ops and stdout, and workers that serve.

The kernel spreads connections over the workers' sockets (SO_REUSEPORT). The supervisor first binds the port for itself
alone: with SO_REUSEPORT a second gateway would start without a word and take half of the connections.
A worker writes its records into a pipe; the supervisor writes them out, whole line by whole line, through one queue.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Final

import orjson

from proxy.records.lines import Lines
from proxy.server.drain import Stop
from proxy.server.logs import log
from proxy.server.ops import Ops
from proxy.server.process import CannotStartError, Process, announce, cannot_listen, listen_ops
from proxy.server.state import State
from proxy.settings import Address

if TYPE_CHECKING:
    from asyncio.subprocess import Process as Child
    from collections.abc import Mapping

    from proxy.server.logs import LogFormat
    from proxy.server.reload import Source
    from proxy.settings import Loaded

_LONGEST_LINE: Final = 1_048_576  # bytes of one record or report: a record is bounded by its headers
_REPORT_EVERY: Final = 0.5  # seconds: well under any scrape interval
_RESTART: Final = (0.1, 5.0)  # seconds before a dead worker is replaced: the first time, and at most
_HEALTHY: Final = 10.0  # seconds after which a worker's end is an accident and no longer a habit


class Worker:
    """The supervisor's side of one worker: started, watched, started again."""

    def __init__(self, number: int, order: Mapping[str, Any], lines: Lines | None) -> None:
        self.number = number
        self.ready = asyncio.Event()
        self.failure: str | None = None
        self.counts: dict[str, Any] | None = None
        self._order = order
        self._lines = lines
        self._child: Child | None = None
        self._past: list[dict[str, Any]] = []

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

    def documents(self) -> list[dict[str, Any]]:
        """Return this worker's counts and those of its dead predecessors: counters never go back."""
        return [*self._past, *([self.counts] if self.counts is not None else [])]

    async def _once(self) -> int:
        ours, theirs = socket.socketpair()
        with theirs:
            order = json.dumps({**self._order, "control": theirs.fileno()})
            child = self._child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "proxy.server.worker", order,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                limit=_LONGEST_LINE,
                start_new_session=True,  # a terminal's Ctrl-C reaches the supervisor, and through it the workers, once
            )  # fmt: skip
        reader, writer = await asyncio.open_connection(sock=ours, limit=_LONGEST_LINE)
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
            if self.counts is not None:
                # What is going on in a dead process is nothing; what it has counted stays counted.
                self._past = [_merged([*self._past, {**self.counts, "in_flight": 0, "spooled": 0, "reloaded": True}])]
                self.counts = None

    async def _reports(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            async for line in reader:
                report = orjson.loads(line)
                if "failure" in report:
                    self.failure = report["failure"]
                else:
                    self.counts = report
                    self.ready.set()


async def supervise(source: Source, loaded: Loaded, log_format: LogFormat) -> None:
    """Serve with ``settings.workers`` processes; return when all of them have drained."""
    settings = loaded.settings
    async with AsyncExitStack() as stack:
        address, holder = _claim(settings.listen)
        stack.callback(holder.close)
        lines = Lines(1, settings.records.queue) if settings.records.stdout else None
        if lines is not None:
            stack.push_async_callback(asyncio.to_thread, lines.stop)
        order = {"path": source.path, "flags": source.flags, "address": str(address), "log_format": log_format}
        workers = [Worker(number, order, lines) for number in range(settings.workers)]
        state = State(lambda: _documents(workers, lines))
        ops = Ops(state)
        stack.push_async_callback(ops.close)
        ops_where = await listen_ops(ops, settings.ops.listen)
        stop = Stop()
        _pass_signals_on(stop, state, workers)
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
            announce(str(address), ops_where, loaded)
        await asyncio.gather(*running)
        ready.cancel()
        if failure is not None:
            raise CannotStartError(failure)


def _pass_signals_on(stop: Stop, state: State, workers: list[Worker]) -> None:
    loop = asyncio.get_running_loop()

    def end() -> None:
        state.draining = True
        stop.ask()
        for worker in workers:
            worker.signal(signal.SIGTERM)

    def reload() -> None:
        for worker in workers:
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


def _documents(workers: list[Worker], lines: Lines | None) -> list[dict[str, Any]]:
    """Return the workers' counts, with what became of their lines at the supervisor's end of the pipe."""
    documents = [document for worker in workers for document in worker.documents()]
    if documents and lines is not None:
        dropped = sum(document["lines"]["dropped"] for document in documents)
        documents = [{**document, "lines": {"written": 0, "dropped": 0}} for document in documents]
        documents[0]["lines"] = {"written": lines.written, "dropped": lines.dropped + dropped}
    return documents


def _merged(documents: list[dict[str, Any]]) -> dict[str, Any]:
    requests: dict[tuple[str, ...], int] = {}
    for document in documents:
        for *labels, count in document["requests"]:
            requests[tuple(labels)] = requests.get(tuple(labels), 0) + count
    rejected = sum(document["rejected"].get("bad_request", 0) for document in documents)
    return {
        "requests": [[*labels, count] for labels, count in requests.items()],
        "rejected": {"bad_request": rejected},
        "in_flight": 0,
        "lines": {word: sum(document["lines"][word] for document in documents) for word in ("written", "dropped")},
        "reloaded": True,
        "spooled": 0,
    }


async def work(order: Mapping[str, Any], source: Source) -> None:
    """Be a worker: serve on the shared port and report over the control socket; end when the supervisor is gone."""
    loaded, house = source.load()
    control = socket.socket(fileno=order["control"])
    reader, writer = await asyncio.open_connection(sock=control)
    process = Process(source, loaded, house)
    process.stop.listen()
    try:
        await process.listen(Address.parse(order["address"]), shared=True)
    except CannotStartError as error:
        writer.write(orjson.dumps({"failure": str(error)}, option=orjson.OPT_APPEND_NEWLINE))
        await writer.drain()
        return
    reporting = asyncio.create_task(_report(process, writer))
    orphaned = asyncio.create_task(reader.read())
    orphaned.add_done_callback(lambda _done: process.stop.ask())
    await process.run()
    reporting.cancel()
    orphaned.cancel()
    await process.close()
    with suppress(ConnectionError):
        writer.write(orjson.dumps(process.document(), option=orjson.OPT_APPEND_NEWLINE))
        await writer.drain()
    writer.close()


async def _report(process: Process, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while True:
            writer.write(orjson.dumps(process.document(), option=orjson.OPT_APPEND_NEWLINE))
            await writer.drain()
            await asyncio.sleep(_REPORT_EVERY)
