"""The words that all panels' queries are made of: filters by variable, rates, ratios and percentiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

JOB: Final = 'job=~"$job"'
ROUTE: Final = f'{JOB}, route=~"$route"'
PROVIDER: Final = f'{JOB}, provider=~"$provider"'
MODEL: Final = f'{PROVIDER}, model=~"$model"'
"""Filters. Each names only labels that its metrics have: a filter on a missing label hides everything."""

RATE: Final = "$__rate_interval"
RANGE: Final = "$__range"
SERVER_ERRORS: Final = 'code=~"5.."'
"""What counts against the service's objective: not 4xx, which are the callers', and not 499, who left."""
UPSTREAM_ERRORS: Final = 'code=~"5..|connect_error|timeout|reset|tls_error"'


@dataclass(frozen=True)
class Query:
    """One target of a panel. ``instant`` asks for the last value only, as stats and tables do."""

    expr: str
    legend: str = ""
    instant: bool = False
    exemplar: bool = False


def by(*labels: str) -> str:
    """Return ``sum``, by these labels."""
    return f"sum by ({', '.join(labels)}) " if labels else "sum"


def rate(metric: str, filters: str, *labels: str, over: str = RATE) -> str:
    """Return the per-second rate of a counter."""
    return f"{by(*labels)}(rate({metric}{{{filters}}}[{over}]))"


def increase(metric: str, filters: str, *labels: str, over: str = RANGE) -> str:
    """Return how much a counter grew."""
    return f"{by(*labels)}(increase({metric}{{{filters}}}[{over}]))"


def share(part: str, whole: str) -> str:
    """Return part ÷ whole: 0, not nothing, as long as the part has no series yet."""
    return f"({part} or {whole} * 0) / {whole}"


def quantile(q: float, histogram: str, filters: str, *labels: str, over: str = RATE) -> str:
    """Return a percentile of a histogram (named without its ``_bucket``)."""
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', filters, 'le', *labels, over=over)})"


def mean(histogram: str, filters: str, *labels: str, over: str = RATE) -> str:
    """Return the mean of a histogram."""
    total, count = (rate(f"{histogram}_{part}", filters, *labels, over=over) for part in ("sum", "count"))
    return f"{total} / {count}"


def percentiles(histogram: str, filters: str, *, exemplar: bool = False) -> tuple[Query, ...]:
    """Return the three percentiles that people ask for, highest first: so do their lines lie in the graph.

    One line of the three asks for exemplars: all three would fetch the same ones.
    """
    return tuple(
        Query(quantile(q, histogram, filters), name, exemplar=exemplar and name == "p99")
        for q, name in ((0.99, "p99"), (0.95, "p95"), (0.5, "p50"))
    )
