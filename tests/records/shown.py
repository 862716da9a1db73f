"""What a registry shows, as a dict from ``name{label="value"}`` to its value; and records to fill it with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest

from proxy.records.meters import Meters
from proxy.records.metrics import Metrics
from proxy.records.names import Names
from proxy.records.record import Attempt, Record

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = Names(known=("openai", "groq", "local", "spare"), providers=("openai", "groq"), models=("whisper-1",))


def parsed(text: str) -> dict[str, float]:
    """Return the samples of an exposition, without the gateway's prefix and without buckets."""
    lines = (line.removeprefix("audiogate_") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if "_bucket{" not in name}


def shown(registry: CollectorRegistry) -> dict[str, float]:
    """Return the samples of a registry."""
    return parsed(generate_latest(registry).decode())


def attempt(**changes: Any) -> dict[str, Any]:
    """Return one attempt of a record: on a connection that was open, answered 200, 0.5 s after its upload."""
    usual = Attempt("config", "openai", 0.0, "whisper-1", 200, None, None, 1000, 0.1, 0.5, 1.0, 1.5).document(0.0)
    assert changes.keys() <= usual.keys() | {"cause"}
    return usual | changes


def record(**changes: Any) -> dict[str, Any]:
    """Return a closed record: a transcription of ten seconds that went well. Mappings in ``changes`` add up."""
    usual = Record("transcriptions", "POST", 0.0, trace_id="t-1", status=200).close(2.0)
    usual |= {"provider": "openai", "model_requested": "whisper-1", "model_used": "whisper-1"}
    usual |= {"bytes_in": 1000, "bytes_out": 50, "attempts": [attempt()], "cost_usd": "0.25", "cost_basis": "seconds"}
    usual["audio"] |= {"seconds": 10.0, "seconds_source": "header"}
    usual["timing_ms"] |= {"upload": 500.0, "overhead": 2.0, "overlap_saved": 400.0}
    assert changes.keys() <= usual.keys()
    for name, value in changes.items():
        usual[name] = {**usual[name], **value} if isinstance(usual[name], dict) else value
    return usual


def refused(code: str, status: int = 400, **changes: Any) -> dict[str, Any]:
    """Return the record of a request that never reached an upstream."""
    nothing: dict[str, Any] = {"provider": None, "attempts": [], "cost_usd": None, "cost_basis": "unknown"}
    nothing["timing_ms"] = {"overhead": None, "overlap_saved": None}
    nothing["audio"] = {"seconds": None, "seconds_source": "unknown"}
    return record(**nothing | {"outcome": "client_error", "status": status, "error_code": code} | changes)


class Bench:
    """Metrics of their own, and what records add to them."""

    def __init__(self, names: Names = NAMES, *, models: int = 50, key_label: bool = False) -> None:
        self.meters = Meters(CollectorRegistry(), key_label=key_label)
        self.metrics = Metrics(self.meters, models=models)
        self.metrics.admit(names)

    def added(self, *records: Mapping[str, Any]) -> dict[str, float]:
        """Observe ``records``; return every sample that has changed, and by how much."""
        before = shown(self.meters.registry)
        for each in records:
            self.metrics.observe(each)
        after = shown(self.meters.registry)
        assert before.keys() <= after.keys()
        return {
            name: round(value - before.get(name, 0.0), 9) for name, value in after.items() if value != before.get(name)
        }
