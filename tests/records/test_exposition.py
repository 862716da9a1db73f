"""Scrapes are rendered in the form that was asked for, off the event loop, once for all who ask, and not too often."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily

from proxy.records.exposition import Exposition, takes_openmetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOON = 5.0  # seconds: a test that waits so long has waited for nothing

# As Prometheus 2.42 and 3 send it, and a browser
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        (PROMETHEUS_2, True),
        (PROMETHEUS_3, True),
        (BROWSER, False),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; Version=1.0.0", True),
        ("application/openmetrics-text; version=0.0.1", False),
        ("application/openmetrics-text; version=2.0.0", False),
        ("text/plain;version=0.0.4,application/openmetrics-text;q=0.5", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=nonsense", False),
        (";;,=,;q", False),
    ],
)
def test_the_form_is_the_one_that_is_liked_best_of_the_two_there_are(accept: str, openmetrics: bool) -> None:
    assert takes_openmetrics(accept) == openmetrics


class Source:
    """A collector that counts how often it is read, and says in which thread; ``during`` runs while it is read."""

    def __init__(self, during: Callable[[], Any] = lambda: None) -> None:
        self.threads: list[int] = []
        self.during = during
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        self.threads.append(threading.get_ident())
        self.during()
        yield GaugeMetricFamily("times", "How often this was read.", value=len(self.threads))


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def go(self, seconds: float) -> None:
        self.now += seconds


async def times(exposition: Exposition, accept: str = "") -> float:
    _, body = await exposition.answer(accept)
    return next(float(line.split()[1]) for line in body.decode().splitlines() if line.startswith("times "))


async def test_rendering_leaves_the_event_loop_to_others_and_preparing_does_not() -> None:
    source, prepared = Source(), list[int]()
    exposition = Exposition(source.registry, lambda: prepared.append(threading.get_ident()))
    await exposition.answer("")
    assert prepared == [threading.get_ident()]
    assert len(source.threads) == 1
    assert source.threads != prepared


async def test_the_loop_runs_on_while_a_scrape_is_rendered() -> None:
    served = threading.Event()
    source = Source(lambda: served.wait(SOON))
    asking = asyncio.create_task(times(Exposition(source.registry, lambda: None)))
    while not source.threads:
        await asyncio.sleep(0)
    assert not asking.done()
    served.set()
    assert await asking == 1


async def test_all_who_ask_at_the_same_time_get_the_same_rendering() -> None:
    go_on = threading.Event()
    source = Source(lambda: go_on.wait(SOON))
    exposition = Exposition(source.registry, lambda: None)
    asking = [asyncio.create_task(times(exposition)) for _ in range(5)]
    while not source.threads:
        await asyncio.sleep(0)
    asking.append(asyncio.create_task(times(exposition)))
    await asyncio.sleep(0)
    asking[0].cancel()  # whoever gives up does not end it for the others
    go_on.set()
    assert await asyncio.gather(*asking[1:]) == [1, 1, 1, 1, 1]
    assert await times(exposition) == 2


async def test_each_form_is_rendered_for_itself() -> None:
    exposition = Exposition(Source().registry, lambda: None)
    plain, openmetrics = await asyncio.gather(exposition.answer(""), exposition.answer(PROMETHEUS_3))
    assert plain[0] == "text/plain; version=0.0.4; charset=utf-8"
    assert openmetrics[0] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert openmetrics[1].endswith(b"# EOF\n")
    assert not plain[1].endswith(b"# EOF\n")


async def test_answers_are_fresh_until_rendering_has_had_its_share_of_the_time() -> None:
    clock = Clock()
    source = Source(lambda: clock.go(0.25))
    exposition = Exposition(source.registry, lambda: None, clock=clock)
    assert [await times(exposition) for _ in range(2)] == [1, 2]
    fresh = int(await times(exposition))  # what the clock went on meanwhile gives little
    assert [await times(exposition) for _ in range(5)] == [fresh] * 5
    clock.go(10)
    assert await times(exposition) == fresh + 1


async def test_an_answer_is_repeated_for_ten_times_as_long_as_it_took() -> None:
    clock = Clock()
    source = Source(lambda: clock.go(0.8))
    exposition = Exposition(source.registry, lambda: None, clock=clock)
    assert await times(exposition) == 1
    source.during = lambda: clock.go(0.02)
    clock.go(0.5)
    assert await times(exposition) == 2
    clock.go(0.1)
    assert await times(exposition) == 2
    clock.go(0.1)
    assert await times(exposition) == 3


async def test_no_answer_is_older_than_a_second() -> None:
    clock = Clock()
    source = Source(lambda: clock.go(5.0))
    exposition = Exposition(source.registry, lambda: None, clock=clock)
    assert await times(exposition) == 1
    source.during = lambda: clock.go(0.5)
    assert await times(exposition) == 2  # the first took five seconds: it was old when it was done
    clock.go(0.4)
    assert await times(exposition) == 2
    clock.go(0.2)
    assert await times(exposition) == 3


async def test_a_rendering_that_failed_is_tried_again_by_the_next() -> None:
    failures = iter([ValueError("broken")])

    def fail() -> None:
        if error := next(failures, None):
            raise error

    exposition = Exposition(Source(fail).registry, lambda: None)
    with pytest.raises(ValueError, match="broken"):
        await exposition.answer("")
    assert await times(exposition) == 2


async def test_gauges_can_be_had_by_one_of_their_labels_as_they_are_now() -> None:
    registry = CollectorRegistry()
    flights = Gauge("audiogate_upstream_in_flight", "x", ["provider"], registry=registry)
    Gauge("audiogate_draining", "x", registry=registry)
    exposition = Exposition(registry, lambda: flights.labels("up").set(3))
    found = await exposition.values("provider", "audiogate_upstream_in_flight", "audiogate_absent")
    assert found == {"audiogate_upstream_in_flight": {"up": 3.0}}
