"""A registry → the text that Prometheus reads: off the event loop, once for all who ask, and not too often."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.exposition import generate_latest as plain
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE_OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

_SHARE: Final = 0.1  # of the time may go into rendering before it repeats itself: requests want the interpreter too
_AHEAD: Final = 0.5  # seconds of rendering that may come at once: a few who look twice are no storm
_STALE: Final = 1.0  # seconds: no answer is older, which is well under any scrape interval


@dataclass(frozen=True, slots=True)
class _Page:
    body: bytes
    made: float
    took: float


class Exposition:
    """What ``/metrics`` shows of ``registry``. ``prepare`` is called on the event loop before each rendering.

    An answer is fresh unless those before have used up rendering's share of the time; then it is the last one again
    for as long as its own rendering takes to make up for, and for a second at most.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        prepare: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._prepare = prepare
        self._clock = clock
        self._ahead = _AHEAD
        self._looked = clock()
        self._pages: dict[str, _Page] = {}  # by format: two
        self._rendering: dict[str, asyncio.Task[bytes]] = {}

    async def answer(self, accept: str) -> tuple[str, bytes]:
        """Return content type and body for an ``Accept`` header: OpenMetrics 1.0, else the text format 0.0.4."""
        form = CONTENT_TYPE_OPENMETRICS if takes_openmetrics(accept) else CONTENT_TYPE_PLAIN_0_0_4
        now = self._clock()
        self._ahead = min(self._ahead + (now - self._looked) * _SHARE, _AHEAD)
        self._looked = now
        page = self._pages.get(form)
        if page is not None and self._ahead <= 0 and now - page.made < min(page.took / _SHARE, _STALE):
            return form, page.body
        task = self._rendering.get(form)
        if task is None:
            task = self._rendering[form] = asyncio.create_task(self._render(form))
        return form, await asyncio.shield(task)  # whoever leaves does not end it for the others

    async def values(self, label: str, *names: str) -> dict[str, dict[str, float]]:
        """Return the gauges of these full names by the value of one of their labels, as they are now."""
        self._prepare()
        return await asyncio.to_thread(_values, self._registry, label, frozenset(names))

    async def _render(self, form: str) -> bytes:
        began = self._clock()
        try:
            self._prepare()
            body = await asyncio.to_thread(_text, self._registry, form)
        finally:
            took = self._clock() - began
            del self._rendering[form]
            self._ahead -= took
        self._pages[form] = _Page(body, began, took)
        return body


def _text(registry: CollectorRegistry, form: str) -> bytes:
    text: bytes = openmetrics(registry) if form == CONTENT_TYPE_OPENMETRICS else plain(registry)  # type: ignore[no-untyped-call]
    return text


def _values(registry: CollectorRegistry, label: str, names: frozenset[str]) -> dict[str, dict[str, float]]:
    return {
        metric.name: {sample.labels[label]: sample.value for sample in metric.samples}
        for metric in registry.collect()
        if metric.name in names
    }


def takes_openmetrics(accept: str) -> bool:
    """Whether an ``Accept`` header (RFC 9110, 12.5.1) likes OpenMetrics 1 better than the text format."""
    best = {True: 0.0, False: 0.0}
    for item in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in item.split(";"))
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        if kind == "application/openmetrics-text" and given.get("version", "1.0.0") == "1.0.0":
            better = True
        elif kind in {"text/plain", "text/*", "*/*"}:
            better = False
        else:
            continue
        best[better] = max(best[better], _quality(given.get("q", "1")))
    return best[True] > 0 and best[True] >= best[False]


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
