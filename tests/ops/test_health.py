"""Health by state, and metrics in the form that was asked for: both for everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.ops.conftest import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.ops.conftest import Desktop

    Start = Callable[..., AbstractAsyncContextManager[Desktop]]


@pytest.mark.parametrize(
    ("loaded", "draining", "status", "word"),
    [(False, False, 503, "starting"), (True, False, 200, "ready"), (True, True, 503, "draining")],
)
async def test_readiness_follows_the_state(
    desktop: Start, loaded: bool, draining: bool, status: int, word: str
) -> None:
    async with desktop(ops={"token": TOKEN}) as ops:
        ops.state.loaded, ops.state.draining = loaded, draining
        ready = await ops.get("/readyz")
        assert (ready.status, ready.headers["Content-Type"]) == (status, "application/json")
        assert ready.json() == {"status": word}
        for path in ("/livez", "/healthz"):
            assert (await ops.get(path)).json() == {"status": "ok"}


async def test_metrics_come_in_the_form_that_was_asked_for(desktop: Start) -> None:
    async with desktop(ops={"token": TOKEN}) as ops:
        ops.draining.set(1)
        plain = await ops.get("/metrics")
        assert plain.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert b"audiogate_draining 1.0\n" in plain.body
        open_metrics = await ops.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert open_metrics.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        families = list(text_string_to_metric_families(open_metrics.body.decode()))  # type: ignore[no-untyped-call]
        assert [family.name for family in families] == ["audiogate_draining"]
        assert {reply.headers["Vary"] for reply in (plain, open_metrics)} == {"Accept"}


@pytest.mark.parametrize("path", ["/metrics/", "/v1/audio/transcriptions", "/livez/"])
async def test_there_is_nothing_beside_them(desktop: Start, path: str) -> None:
    async with desktop() as ops:
        assert (await ops.get(path)).status == 404
