"""The ops listener: health by state, metrics in the form that was asked for, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from proxy.records.exposition import Exposition
from proxy.server.ops import Ops
from proxy.server.state import State
from proxy.settings import Address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Listening:
    """An ops server on a port of its own, and what it shows."""

    def __init__(self) -> None:
        self.state = State()
        registry = CollectorRegistry()
        self.gauge = Gauge("audiogate_draining", "1 while shutting down.", registry=registry)
        self.ops = Ops(self.state, Exposition(registry, lambda: None))
        self.url = ""


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    made = Listening()
    made.url = "http://" + await made.ops.start(Address("127.0.0.1", 0))
    yield made
    await made.ops.close()


async def ask(url: str, **headers: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as reply:
        return reply.status, reply.headers["Content-Type"], await reply.text()


@pytest.mark.parametrize(
    ("loaded", "draining", "status", "word"),
    [(False, False, 503, "starting"), (True, False, 200, "ready"), (True, True, 503, "draining")],
)
async def test_readiness_follows_the_state(
    listening: Listening, loaded: bool, draining: bool, status: int, word: str
) -> None:
    listening.state.loaded, listening.state.draining = loaded, draining
    assert await ask(f"{listening.url}/readyz") == (status, "application/json", f'{{"status":"{word}"}}')
    for path in ("/livez", "/healthz"):
        assert (await ask(listening.url + path))[0] == 200


async def test_metrics_come_in_the_form_that_was_asked_for(listening: Listening) -> None:
    listening.gauge.set(1)
    status, kind, text = await ask(f"{listening.url}/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "audiogate_draining 1.0\n" in text
    status, kind, text = await ask(f"{listening.url}/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert (status, kind) == (200, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    families = list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]
    assert [family.name for family in families] == ["audiogate_draining"]


@pytest.mark.parametrize("path", ["/", "/metrics/", "/v1/audio/transcriptions"])
async def test_there_is_nothing_else(listening: Listening, path: str) -> None:
    assert (await ask(listening.url + path))[0] == 404
