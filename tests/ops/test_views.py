"""Settings without their secrets, and upstreams with how they do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import Gauge

from proxy.settings import secrets_in
from tests.ops.records import record

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.ops.conftest import Desktop

    Start = Callable[..., AbstractAsyncContextManager[Desktop]]

SETTINGS: dict[str, Any] = {
    "auth": {"mode": "keys", "keys": [{"name": "app", "key": "sk-ops-key"}]},
    "virtual_keys": [
        {"slug": "vk", "provider": "up", "key": "sk-ops-vk"},
        {"slug": "az", "provider": "azure-openai", "key": "sk-ops-az", "resource_name": "r", "azure_ad_token": "sk-ad"},
    ],
    "providers": [{"slug": "up", "dialect": "openai", "base_url": "http://127.0.0.1:9/v1", "auth": "none"}],
    "configs": [
        {"slug": "both", "config": {"strategy": {"mode": "fallback"}, "targets": [{"virtual_key": "vk"}, GROQ]}}
        for GROQ in [{"provider": "groq", "api_key": "sk-ops-groq"}]
    ],
    "records": {"store": "postgresql://gate:sk-ops-db@db.example.com/records"},
}


async def test_the_settings_are_shown_without_a_secret(desktop: Start) -> None:
    async with desktop(**SETTINGS) as ops:
        shown = (await ops.get("/api/config")).json()
        assert (shown["file"], shown["loaded_at"]) == ("audiogate.yaml", "2020-09-13T12:26:40.000Z")
        assert shown["settings"]["records"]["store"] == "postgresql://***@db.example.com/records"
        assert shown["settings"]["virtual_keys"][0] | {"key": "***"} == shown["settings"]["virtual_keys"][0]
        secrets = secrets_in(ops.house.settings)
        assert len(secrets) == 6
        for secret in secrets:
            assert secret not in json.dumps(shown), "a secret is shown"


async def test_every_provider_is_there_and_those_in_use_come_first(desktop: Start) -> None:
    async with desktop(**SETTINGS) as ops:
        items = (await ops.get("/api/upstreams")).json()["items"]
        assert {item["provider"] for item in items} == set(ops.house.providers)
        assert [item["provider"] for item in items if item["used"]] == ["azure-openai", "groq", "up"]
        assert all(item["used"] for item in items[:3])
        found = {item["provider"]: item for item in items}
        assert found["up"]["kind"] == "own"
        assert found["groq"]["kind"] == "builtin"
        assert (found["up"]["virtual_keys"], found["up"]["configs"]) == (["vk"], ["both"])
        assert (found["groq"]["virtual_keys"], found["groq"]["configs"]) == ([], ["both"])
        assert found["up"]["base_url"] == "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(("state", "word"), [(0, "closed"), (1, "half_open"), (2, "open")])
async def test_circuit_and_flights_are_those_of_now(desktop: Start, state: int, word: str) -> None:
    async with desktop(**SETTINGS) as ops:
        circuits = Gauge("audiogate_circuit_breaker_state", "x", ["provider"], registry=ops.registry)
        flights = Gauge("audiogate_upstream_in_flight", "x", ["provider"], registry=ops.registry)
        circuits.labels("groq").set(state)
        flights.labels("openai").set(3)
        found = {item["provider"]: item for item in (await ops.get("/api/upstreams")).json()["items"]}
        assert (found["groq"]["circuit"], found["openai"]["in_flight"], found["openai"]["used"]) == (word, 3, True)


async def test_the_last_quarter_of_an_hour_is_told_by_the_store(
    desktop: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.ops.desk.Desk.now", lambda _self: 1_795_262_700.0)  # 2026-11-21T12:05:00Z
    async with desktop(**SETTINGS) as ops:
        ops.keep(
            record("a", minutes=1),
            record("b", minutes=2, status=502, outcome="upstream_error"),
            record("c", minutes=3, status=400, outcome="client_error"),
            record("long ago", minutes=-60),
        )
        found = {item["provider"]: item["recent"] for item in (await ops.get("/api/upstreams")).json()["items"]}
        assert (found["up"]["requests"], found["up"]["errors"], found["up"]["error_rate"]) == (4, 1, 0.25)
        assert 400 < found["up"]["latency_ms"]["p50"] < 600
        assert found["groq"] == {
            "window_seconds": 900,
            "requests": 0,
            "errors": 0,
            "error_rate": None,
            "latency_ms": {"p50": None, "p95": None, "p99": None},
        }


async def test_without_a_store_nobody_knows_what_was_recent(desktop: Start) -> None:
    async with desktop(store=False, **SETTINGS) as ops:
        items = (await ops.get("/api/upstreams")).json()["items"]
        assert {item["recent"] for item in items} == {None}
