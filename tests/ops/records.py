"""Records as a store gets them: what a request's record says, with its transcript told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from proxy.records.record import Record

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def record(name: str, *, said: str | None = None, minutes: float = 0.0, **facts: Any) -> dict[str, Any]:
    """Return a record of a transcription that began ``minutes`` after noon; ``name`` is its trace id, ``facts`` win."""
    made = Record("transcriptions", "POST", 0.0, trace_id=name, status=200, provider="up", model_used="whisper-1")
    made.filename, made.audio_seconds, made.cost_usd = f"{name}.wav", 2.5, "0.001"
    began = NOON + timedelta(minutes=minutes)
    document = made.close(0.5)
    told = {"transcript": said, "segments": None, "transcript_cut": False}
    return document | {"time": f"{began:%Y-%m-%dT%H:%M:%S}.{began.microsecond // 1000:03}Z"} | told | facts
