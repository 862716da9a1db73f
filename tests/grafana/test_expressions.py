"""Every query of the dashboards asks for what the catalogue has; the checker itself is checked first."""

from __future__ import annotations

import re

import pytest

from proxy.records.catalogue import BY_NAME
from tests.grafana.dashboards import NAMES, Asked, asked, dashboard, filled
from tests.grafana.expressions import MistakeError, check, metrics

QUERIES = [pytest.param(query, id=f"{name}: {query.where}") for name in NAMES for query in asked(name)]
LATENCIES = {name for name, spec in BY_NAME.items() if spec.exemplars}


@pytest.mark.parametrize(
    ("expr", "labels"),
    [
        ("sum(rate(audiogate_requests_total[1m]))", set()),
        ("sum by (route) (rate(audiogate_requests_total[1m]))", {"route"}),
        ("max by (instance) (audiogate_draining)", {"instance"}),
        (
            "histogram_quantile(0.9, sum by (le, route) (rate(audiogate_request_duration_seconds_bucket[1m])))",
            {"route"},
        ),
        ('sum(rate(audiogate_gateway_overhead_seconds_bucket{le="0.05"}[1m]))', set()),
        ("route:audiogate_requests:rate5m > 1", {"route"}),
        ("time() - process_start_time_seconds < 30", {"job", "instance"}),
    ],
)
def test_the_labels_of_a_result_are_known(expr: str, labels: set[str]) -> None:
    assert check(expr) == labels


@pytest.mark.parametrize(
    ("expr", "why"),
    [
        ("sum(rate(audiogate_request_total[1m]))", "not in the catalogue"),
        ("sum(rate(audiogate_request_duration_seconds[1m]))", "not in the catalogue"),
        ('sum(rate(audiogate_requests_total{provider="openai"}[1m]))', "no label provider"),
        ("sum by (model) (rate(audiogate_requests_total[1m]))", "nothing to sum by"),
        ("sum without (code) (rate(audiogate_requests_total[1m]))", "say by"),
        ("sum(audiogate_requests_total)", "outside of rate"),
        ("sum(rate(audiogate_requests_in_flight[1m]))", "is a gauge"),
        ("sum(quantile_over_time(0.9, audiogate_requests_in_flight[1m]))", "nobody said"),
        (
            "histogram_quantile(0.9, sum by (route) (rate(audiogate_request_duration_seconds_bucket[1m])))",
            "needs le",
        ),
        ('sum(rate(audiogate_gateway_overhead_seconds_bucket{le="0.06"}[1m]))', "never 0.06"),
        ('sum(rate(audiogate_upstream_attempts_total{code=~"5..|timed_out"}[1m]))', "never timed_out"),
        ('sum(rate(audiogate_upstream_connections_total{reused="yes"}[1m]))', "never yes"),
        (
            "sum by (provider) (audiogate_upstream_in_flight) / sum by (route) (audiogate_requests_in_flight)",
            "never match",
        ),
    ],
)
def test_a_mistake_is_found_and_named(expr: str, why: str) -> None:
    with pytest.raises(MistakeError, match=why):
        check(expr)


def test_what_is_not_promql_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unexpected|invalid|missing|unclosed"):
        check("sum(rate(audiogate_requests_total[1m])")


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_asks_for_what_the_catalogue_has(query: Asked) -> None:
    labels = check(filled(query.expr))
    assert set(re.findall(r"\{\{(\w+)\}\}", query.legend)) <= labels


@pytest.mark.parametrize("query", QUERIES)
def test_rates_adapt_to_the_view(query: Asked) -> None:
    windows = set(re.findall(r"\[([^\]]+)\]", query.expr))
    assert windows <= {"$__rate_interval", "$__range", "1d"}
    assert query.instant or "$__range" not in query.expr, "a total over the range is one number, not a line"


@pytest.mark.parametrize("query", QUERIES)
def test_exemplars_are_asked_of_metrics_that_carry_them(query: Asked) -> None:
    has = any(name.removesuffix("_bucket") in LATENCIES for name in metrics(filled(query.expr)))
    assert has or not query.exemplar


@pytest.mark.parametrize("name", ["audiogate.json"])
def test_graphs_of_latency_show_exemplars(name: str) -> None:
    graphs = [query for query in asked(name) if query.kind in {"timeseries", "heatmap"}]
    shown = {metric for query in graphs if query.exemplar for metric in metrics(filled(query.expr))}
    assert {metric.removesuffix("_bucket") for metric in shown} == LATENCIES


@pytest.mark.parametrize("name", NAMES)
def test_the_choices_of_a_variable_come_from_the_catalogue(name: str) -> None:
    for variable in dashboard(name)["templating"]["list"]:
        if variable["type"] != "query":
            continue
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        assert found is not None
        expr = filled(found[1])
        (metric,) = metrics(expr)
        assert set(re.findall(r"(\w+)=", expr)) | {found[2]} <= {"job", "instance", *BY_NAME[metric].labels}


def test_every_metric_of_the_catalogue_is_on_a_panel_or_has_a_reason_not_to_be() -> None:
    shown = {metric for name in NAMES for query in asked(name) for metric in metrics(filled(query.expr))}
    families = shown | {re.sub(r"_(?:bucket|sum|count)$", "", name) for name in shown}
    unseen = {
        "process_virtual_memory_bytes": "says nothing about memory in use",
        "python_gc_objects_collected_total": "how often is shown; how many is for a profiler",
        "python_gc_objects_uncollectable_total": "never moves in Python 3.4 and later",
        "python_info": "audiogate_build_info has the version",
    }
    assert set(BY_NAME) - families == set(unseen)
