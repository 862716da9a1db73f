"""Records → metrics: the counters of one process, and how those of several become one exposition."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Counts:
    """What one process has counted. ``route``, ``method`` and ``code`` come from closed sets."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, str]] = Counter()
        self.rejected: Counter[str] = Counter()

    def add(self, record: Mapping[str, Any]) -> None:
        """Count a closed record."""
        method = record["method"] if record["method"] in _METHODS else "_other"
        self.requests[record["route"], method, str(record["status"])] += 1

    def document(self, *, in_flight: int, written: int, dropped: int, reloaded: bool, spooled: int) -> dict[str, Any]:
        """Return everything as JSON, for :func:`exposition`, in this process or in a supervisor."""
        return {
            "requests": [[*labels, count] for labels, count in self.requests.items()],
            "rejected": dict(self.rejected),
            "in_flight": in_flight,
            "lines": {"written": written, "dropped": dropped},
            "reloaded": reloaded,
            "spooled": spooled,
        }


class _Collector:
    def __init__(self, documents: Iterable[Mapping[str, Any]], facts: Mapping[str, Any]) -> None:
        self._documents = list(documents)
        self._facts = facts

    def collect(self) -> Iterator[Metric]:
        documents = self._documents
        requests = CounterMetricFamily(
            "audiogate_requests",
            "Client requests finished, by final status (499 = client went away).",
            labels=("route", "method", "code"),
        )
        counts: Counter[tuple[str, ...]] = Counter()
        for document in documents:
            for *labels, count in document["requests"]:
                counts[tuple(labels)] += count
        for found, count in sorted(counts.items()):
            requests.add_metric(found, count)
        yield requests
        rejected = CounterMetricFamily(
            "audiogate_requests_rejected", "Requests refused without a record.", labels=("reason",)
        )
        rejected.add_metric(("bad_request",), sum(d["rejected"].get("bad_request", 0) for d in documents))
        yield rejected
        lines = CounterMetricFamily(
            "audiogate_log_records", "Records handed to a sink, by what became of them.", labels=("sink", "result")
        )
        for result in ("written", "dropped"):
            lines.add_metric(("stdout", result), sum(d["lines"][result] for d in documents))
        yield lines
        yield _gauge("requests_in_flight", "Requests under way.", sum(d["in_flight"] for d in documents))
        yield _gauge("replay_bytes", "Upload bytes kept at the moment.", sum(d["spooled"] for d in documents))
        yield _gauge(
            "config_last_reload_successful",
            "Whether the last attempt to load the settings succeeded.",
            all(d["reloaded"] for d in documents),
        )
        yield _gauge("draining", "Whether this gateway is shutting down.", self._facts["draining"])
        yield _gauge("workers", "Worker processes that are ready.", len(documents))
        build = GaugeMetricFamily(
            "audiogate_build_info", "Version of the gateway and of Python.", labels=("version", "python")
        )
        build.add_metric((self._facts["version"], self._facts["python"]), 1)
        yield build


def exposition(documents: Iterable[Mapping[str, Any]], facts: Mapping[str, Any]) -> bytes:
    """Return Prometheus' text format for the sum of ``documents``; ``facts`` are draining, version and python."""
    registry = CollectorRegistry()
    registry.register(_Collector(documents, facts))
    return generate_latest(registry)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"audiogate_{name}", text, value=float(value))
