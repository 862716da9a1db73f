"""Where records go, as metrics: what became of them, how many wait, and how long it takes to write them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from proxy.records.lines import Lines
from proxy.records.meters import catch_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from proxy.records.meters import Meters

_RESULTS: Final = ("written", "dropped")


@dataclass(frozen=True, slots=True)
class Sink:
    """What became of the records handed to a sink since its start, and how many wait."""

    written: int
    dropped: int
    waiting: int


class SinkLevels:
    """The metrics of where records go."""

    def __init__(self, meters: Meters, sinks: Iterable[str]) -> None:
        self._records = meters.counters("log_records_total")
        self._queues = meters.gauges("log_queue_records")
        self._flushes = meters.histograms("log_flush_seconds")
        self._counted: dict[tuple[str, ...], int] = {}
        for sink in sinks:
            self.take({sink: Sink(0, 0, 0)})
            self._flushes[sink,]

    def flushed(self, sink: str) -> Callable[[float], None]:
        """Return what takes the seconds of each batch that ``sink`` has written, from any thread."""
        return self._flushes[sink,].observe

    def take(self, sinks: Mapping[str, Sink]) -> None:
        """Show ``sinks`` as they are now."""
        for name, sink in sinks.items():
            self._queues[name,].set(sink.waiting)
            for result in _RESULTS:
                catch_up(self._records, (name, result), getattr(sink, result), self._counted)


class TimedLines(Lines):
    """Lines that say how long each batch took to write, from their own thread, and how many records wait."""

    def __init__(
        self, descriptor: int, limit: int, flushed: Callable[[float], None], *, transcripts: bool = False
    ) -> None:
        self._flushed = flushed
        super().__init__(descriptor, limit, transcripts=transcripts)

    @property
    def sink(self) -> Sink:
        """What has become of the records so far."""
        return Sink(self.written, self.dropped, len(self._waiting) + self._writing)

    def _write(self, batch: list[Mapping[str, Any] | bytes]) -> None:
        began = time.perf_counter()
        super()._write(batch)
        self._flushed(time.perf_counter() - began)
