"""Records for a store: as a gateway closes them, with what a test wants to tell them apart by."""

from __future__ import annotations

import random
from typing import Any, Final

from proxy.records.record import Record

NOON: Final = 1_790_000_040  # seconds since the epoch: a whole minute and no whole hour, in September 2026
ROUTES: Final = ("transcriptions", "translations", "speech", "passthrough")
FAILURES: Final = {"client_error": 400, "upstream_error": 502, "gateway_error": 503, "client_left": 499}


def id_at(seconds: float, number: int) -> str:
    """Return a UUID version 7 of this time; two numbers that differ by 32768 have keys that clash."""
    stamp = f"{int(seconds * 1000):012x}"
    return f"{stamp[:8]}-{stamp[8:]}-7000-8000-{number:012x}"


def made(
    number: int = 0,
    *,
    at: float = NOON,
    trace_id: str | None = None,
    route: str = "transcriptions",
    status: int | None = 200,
    outcome: Any = "ok",
    provider: str | None = "openai",
    requested: str | None = "whisper-1",
    used: str | None = None,
    key: str | None = None,
    filename: str | None = None,
    transcript: str | None = None,
    cost: str | None = "0.0006",
    seconds: float | None = 6.0,
    took: float = 250.0,
    metadata: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a record whose transcript has been told; ``took`` is in milliseconds."""
    record = Record(route, "POST", 100.0, trace_id or f"trace-{number}", id=id_at(at, number), time=at)
    if provider is not None:
        attempt = record.attempt("config", provider, requested, 100.0)
        attempt.status, attempt.head_at = status, 100.0 + took / 2000
    record.status, record.outcome, record.provider = status, outcome, provider
    record.model_requested, record.model_used, record.key_name = requested, used, key
    record.filename, record.cost_usd, record.audio_seconds = filename, cost, seconds
    record.metadata = metadata or {}
    record.bytes_in, record.bytes_out = 1000 + number, 10
    told = record.close(100.0 + took / 1000)
    return {**told, "transcript": transcript, "segments": None, "transcript_cut": False}


def some(count: int, *, seed: int = 1, at: float = NOON, span: float = 7200.0) -> list[dict[str, Any]]:
    """Return ``count`` records of all kinds, the same every time, that began within ``span`` seconds from ``at``."""
    chance = random.Random(seed)
    return [_one(chance, number, at + chance.random() * span) for number in range(count)]


def _one(chance: random.Random, number: int, at: float) -> dict[str, Any]:
    outcome = chance.choice(["ok"] * 5 + list(FAILURES))
    refused = outcome == "client_error"
    return made(
        number,
        at=at,
        route=chance.choice(ROUTES),
        status=FAILURES.get(outcome, 200),
        outcome=outcome,
        provider=None if refused else chance.choice(["openai", "groq", "whisper-local"]),
        requested=chance.choice([None, "whisper-1", "gpt-4o-transcribe"]),
        used=chance.choice([None, "whisper-1-2026"]),
        key=chance.choice([None, "mobile-app", "batch"]),
        cost=None if refused else chance.choice([None, "0", "0.000001", "0.0173"]),
        seconds=chance.choice([None, 0.25, 61.5]),
        took=chance.lognormvariate(6, 1.5),
    )
