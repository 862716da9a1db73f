"""The catalogue keeps Prometheus' rules, and its page says what it says."""

from __future__ import annotations

import re

import pytest
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from proxy.errors import KINDS
from proxy.records.catalogue import BY_NAME, CATALOGUE, CLOSED, REJECTIONS, STANDARD, MetricSpec
from proxy.records.words import REJECTIONS_BY_CODE
from tests.rules.pages import page, rows

UNITS = {"_seconds", "_bytes"}
EVERY = [pytest.param(spec, id=spec.name) for spec in CATALOGUE]


def test_no_name_is_given_twice() -> None:
    assert len(BY_NAME) == len(CATALOGUE) + len(STANDARD)


@pytest.mark.parametrize("spec", EVERY)
def test_names_and_labels_are_plain_words(spec: MetricSpec) -> None:
    assert re.fullmatch(r"audiogate_[a-z][a-z0-9_]*", spec.name)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", label) for label in spec.labels)
    assert not {"le", "quantile", "job", "instance"} & set(spec.labels)


@pytest.mark.parametrize("spec", EVERY)
def test_a_name_tells_type_and_unit(spec: MetricSpec) -> None:
    assert spec.name.endswith("_total") == (spec.type == "counter")
    assert bool(spec.buckets) == (spec.type == "histogram")
    assert list(spec.buckets) == sorted(set(spec.buckets))
    assert not re.search(r"_(?:ms|millis\w*|kb|mb|minutes|hours|percent)(?:_|$)", spec.name)
    if spec.type == "histogram" and spec.name != "audiogate_realtime_factor":
        assert any(spec.name.endswith(unit) for unit in UNITS)


@pytest.mark.parametrize("spec", EVERY)
def test_every_metric_has_a_help_text_of_one_sentence(spec: MetricSpec) -> None:
    assert spec.help.endswith(".")
    assert "\n" not in spec.help


def test_every_closed_set_is_that_of_a_label() -> None:
    used = {name for spec in CATALOGUE for label in spec.labels for name in (label, f"{spec.name} {label}")}
    assert set(CLOSED) - used == set()
    assert all(len(values) == len(set(values)) for values in CLOSED.values())


OPEN = {"provider", "from_provider", "to_provider", "model", "sink", "version", "python"}
"""Labels that are filled from the settings, pass the guard, or have one value in a process."""


def test_every_label_is_closed_or_bounded_otherwise() -> None:
    assert {label for spec in CATALOGUE for label in spec.labels if spec.values(label) is None} == OPEN


def test_every_error_has_a_reason_or_is_no_refusal() -> None:
    assert set(REJECTIONS_BY_CODE) == set(KINDS)
    assert set(filter(None, REJECTIONS_BY_CODE.values())) <= set(REJECTIONS)


def test_every_refusal_of_the_gateways_own_has_a_reason() -> None:
    silent = {code for code, reason in REJECTIONS_BY_CODE.items() if reason is None}
    assert silent == {
        "request_timeout", "upload_timeout", "client_left", "internal_error", "upstream_unreachable", "upstream_broke",
        "upstream_timeout",
    }  # fmt: skip


def test_the_standard_metrics_are_those_of_the_library() -> None:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry)
    PlatformCollector(registry)
    found = {
        sample.name: (family.type, tuple(sample.labels), family.documentation)
        for family in registry.collect()
        for sample in family.samples
    }
    assert {spec.name: (spec.type, spec.labels, spec.help) for spec in STANDARD} == found


# The page

PAGE = "docs/metrics.md"


def quoted(words: tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def test_the_page_has_the_catalogue() -> None:
    expected = [[f"`{spec.name}`", spec.type, quoted(spec.labels), spec.help] for spec in CATALOGUE]
    assert [row for row in rows(page(PAGE)) if len(row) == 4 and row[0].startswith("`audiogate_")] == expected


def test_the_page_has_the_buckets() -> None:
    groups: dict[tuple[float, ...], tuple[str, ...]] = {}
    for spec in CATALOGUE:
        if spec.buckets:
            groups[spec.buckets] = (*groups.get(spec.buckets, ()), spec.name)
    expected = [[quoted(names), ", ".join(map(plain, bounds))] for bounds, names in groups.items()]
    assert [row for row in rows(page(PAGE)) if len(row) == 2 and row[0].startswith("`audiogate_")] == expected


def plain(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)


def test_the_page_has_the_closed_sets() -> None:
    expected = []
    for name, values in CLOSED.items():
        metric, _, label = name.rpartition(" ")
        words = quoted(tuple(value for value in values if not value.isdecimal()))
        statuses = "an HTTP status, " if any(value.isdecimal() for value in values) else ""
        expected.append([f"`{label}`" + (f" of `{metric}`" if metric else ""), statuses + words])
    shown = rows(page(PAGE))
    assert [row for row in expected if row not in shown] == []
