"""One serving process: relay, listener, reload and drain, from start to exit. The only one, or a worker of several."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from proxy.records.lines import Lines
from proxy.records.metrics import Counts
from proxy.relay.internals import require_c_parser
from proxy.relay.relay import Relay
from proxy.server.drain import Stop, drain
from proxy.server.gateway import Listener
from proxy.server.ops import Ops
from proxy.server.reload import Reloader, Source
from proxy.server.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from proxy.relay.house import House
    from proxy.settings import Address, Loaded

_STDOUT = 1


class CannotStartError(Exception):
    """The gateway could not start for a reason outside its settings; the message is one line for the user."""


class Process:
    """Everything one process needs to serve requests, without a listener for ops."""

    def __init__(self, source: Source, loaded: Loaded, house: House) -> None:
        require_c_parser()
        records = loaded.settings.records
        self.stop = Stop()
        self.counts = Counts()
        self.lines = Lines(_STDOUT, records.queue) if records.stdout else None
        self.relay = Relay(house, self._take)
        self.reloader = Reloader(source, loaded, self.relay.adopt)
        self.listener = Listener(self.relay, self.counts.rejected)
        self._watchers: list[Callable[[dict[str, Any]], None]] = []

    def watch(self, watcher: Callable[[dict[str, Any]], None]) -> None:
        """Show every closed record to ``watcher``, which must not wait."""
        self._watchers.append(watcher)

    def _take(self, record: dict[str, Any]) -> None:
        self.counts.add(record)
        if self.lines is not None:
            self.lines.put(record)
        for watcher in self._watchers:
            watcher(record)

    def document(self) -> dict[str, Any]:
        """Return this process' counts."""
        lines = self.lines
        return self.counts.document(
            in_flight=self.relay.shared.in_flight,
            written=lines.written if lines is not None else 0,
            dropped=lines.dropped if lines is not None else 0,
            reloaded=self.reloader.succeeded,
            spooled=self.relay.shared.budget.used,
        )

    async def listen(self, address: Address, *, shared: bool) -> str:
        """Open the gateway's listener; raises :class:`CannotStartError`."""
        try:
            return await self.listener.start(address, shared=shared)
        except OSError as error:
            raise cannot_listen(address, error) from None

    async def run(self) -> None:
        """Serve until asked to stop, and drain."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.reloader.reload)
        settle()
        watching = asyncio.create_task(self.reloader.watch())
        await self.stop.asked.wait()
        watching.cancel()
        await drain(self.relay, self.stop, self.relay.house.settings.drain)

    async def close(self) -> None:
        """Close listener, upstreams and, last, the records' queue."""
        await self.listener.close()
        await self.relay.close()
        if self.lines is not None:
            await asyncio.to_thread(self.lines.stop)


async def serve_alone(source: Source, loaded: Loaded, house: House) -> None:
    """Serve with one process and its own ops listener; return when drained."""
    async with AsyncExitStack() as stack:
        process = Process(source, loaded, house)
        stack.push_async_callback(process.close)
        process.stop.listen()
        state = State(lambda: [process.document()])
        ops = Ops(state)
        stack.push_async_callback(ops.close)
        settings = loaded.settings
        where = await process.listen(settings.listen, shared=False)
        ops_where = await listen_ops(ops, settings.ops.listen)
        state.loaded = True
        announce(where, ops_where, loaded)
        waiting = asyncio.create_task(_mark(process.stop, state))
        await process.run()
        waiting.cancel()


async def _mark(stop: Stop, state: State) -> None:
    await stop.asked.wait()
    state.draining = True


async def listen_ops(ops: Ops, address: Address) -> str:
    """Open the ops listener; raises :class:`CannotStartError`."""
    try:
        return await ops.start(address)
    except OSError as error:
        raise cannot_listen(address, error) from None


def cannot_listen(address: Address, error: OSError) -> CannotStartError:
    """Say that an address cannot be had, in the words of the system's error and without its numbers."""
    reason = (error.strerror or str(error)).rpartition(": ")[2].rstrip(")")
    return CannotStartError(f"cannot listen on {address}: {reason.lower()}")


def announce(gateway: str, ops: str, loaded: Loaded) -> None:
    """Tell on stderr where the listeners are, once they serve."""
    settings = loaded.settings
    print(f"audiogate: gateway on http://{gateway}", file=sys.stderr)
    print(f"audiogate: ops on http://{ops}", file=sys.stderr, flush=True)
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
