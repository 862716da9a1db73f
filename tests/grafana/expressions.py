"""PromQL against the catalogue: which labels an expression has, and what is wrong with how it asks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import promql_parser as promql

from proxy.records.catalogue import BY_NAME

if TYPE_CHECKING:
    from proxy.records.catalogue import MetricSpec

TARGET = frozenset({"job", "instance"})  # labels that every scrape adds
SUFFIXES = ("_bucket", "_sum", "_count")
OVER_COUNTERS = {"rate", "increase", "irate", "resets"}
OVER_GAUGES = {"changes", "delta", "deriv", "max_over_time", "min_over_time", "avg_over_time", "last_over_time"}


class MistakeError(Exception):
    """An expression that cannot give what it is meant to; the message says why."""


@dataclass(frozen=True)
class Series:
    """A metric as Prometheus stores it: of a histogram, one of its three parts."""

    name: str
    labels: frozenset[str]
    counts: bool
    spec: MetricSpec | None = None


def series(name: str) -> Series:
    """Return what is known of a stored metric; raises when nobody writes it."""
    if name == "up":
        return Series(name, TARGET, counts=False)
    if ":" in name:  # level:metric:operation, made by our own rules, whose level is their labels
        level = name.partition(":")[0]
        labels = frozenset() if level.startswith("audiogate") else frozenset(level.split("_"))
        return Series(name, labels, counts=False)
    if (spec := BY_NAME.get(name)) is not None and spec.type != "histogram":
        return Series(name, TARGET.union(spec.labels), spec.type == "counter", spec)
    for suffix in SUFFIXES:
        spec = BY_NAME.get(name.removesuffix(suffix)) if name.endswith(suffix) else None
        if spec is not None and spec.type == "histogram":
            extra = {"le"} if suffix == "_bucket" else set()
            return Series(name, TARGET.union(spec.labels, extra), counts=True, spec=spec)
    raise MistakeError(f"{name} is not in the catalogue")


def check(expr: str) -> frozenset[str]:
    """Return the labels of an expression's result; raises MistakeError, or ValueError for what is not PromQL."""
    return _labels(promql.parse(expr), None)


def metrics(expr: str) -> set[str]:
    """Return the names of all metrics that an expression reads."""
    found: set[str] = set()
    _walk(promql.parse(expr), found)
    return found


def _walk(node: Any, found: set[str]) -> None:
    if isinstance(node, promql.VectorSelector):
        found.add(str(node.name))
    for inner in _children(node):
        _walk(inner, found)


def _children(node: Any) -> list[Any]:
    if isinstance(node, promql.Call):
        return list(node.args)
    if isinstance(node, promql.BinaryExpr):
        return [node.lhs, node.rhs]
    if isinstance(node, promql.MatrixSelector):
        return [node.vector_selector]
    if isinstance(node, promql.AggregateExpr | promql.ParenExpr | promql.UnaryExpr | promql.SubqueryExpr):
        return [node.expr]
    return []


def _labels(node: Any, function: str | None) -> frozenset[str]:
    """Return the labels of a node's result; ``function`` is the call that it stands in directly."""
    match node:
        case promql.NumberLiteral() | promql.StringLiteral():
            return frozenset()
        case promql.ParenExpr() | promql.UnaryExpr():
            return _labels(node.expr, function)
        case promql.MatrixSelector():
            return _selected(node.vector_selector, function)
        case promql.VectorSelector():
            return _selected(node, None)
        case promql.Call():
            return _called(node)
        case promql.AggregateExpr():
            return _aggregated(node)
        case promql.BinaryExpr():
            return _combined(node)
    raise MistakeError(f"nothing is known of {type(node).__name__}")


def _selected(node: Any, function: str | None) -> frozenset[str]:
    found = series(node.name)
    if found.counts and function not in OVER_COUNTERS:
        raise MistakeError(f"{found.name} counts: it means nothing outside of rate or increase")
    if not found.counts and function in OVER_COUNTERS:
        raise MistakeError(f"{found.name} is a gauge: {function} takes its falls for restarts")
    for matcher in node.matchers.matchers:
        if matcher.name not in found.labels:
            raise MistakeError(f"{found.name} has no label {matcher.name}")
        _check_value(found, matcher.name, matcher.value, pattern="Re" in str(matcher.op))
    return found.labels


def _check_value(found: Series, label: str, value: str, *, pattern: bool) -> None:
    """A filter that no value can pass hides everything: each value and each alternative must be possible."""
    if found.spec is None or value == ".*":
        return
    possible = found.spec.values(label)
    if label == "le":
        possible = (*(f"{bound:g}" for bound in found.spec.buckets), "+Inf")
    if possible is None:
        return
    for alternative in value.split("|") if pattern else [value]:
        if not any(re.fullmatch(alternative if pattern else re.escape(alternative), text) for text in possible):
            raise MistakeError(f"{label} of {found.name} is never {alternative}")


def _called(node: Any) -> frozenset[str]:
    name, arguments = node.func.name, node.args
    if name not in OVER_COUNTERS | OVER_GAUGES and any(isinstance(a, promql.MatrixSelector) for a in arguments):
        raise MistakeError(f"nobody said whether {name} is for counters or gauges")
    if name == "histogram_quantile":
        labels = _labels(arguments[1], name)
        if "le" not in labels:
            raise MistakeError("histogram_quantile needs le, which the sum has lost")
        return labels - {"le"}
    if name == "label_replace":
        _, target, _, source, _ = (getattr(argument, "val", None) for argument in arguments)
        labels = _labels(arguments[0], name)
        if source not in labels:
            raise MistakeError(f"label_replace reads {source}, which is not there")
        return labels | {str(target)}
    found: frozenset[str] = frozenset()
    for argument in arguments:
        found |= _labels(argument, name)
    return frozenset() if name == "absent" else found


def _aggregated(node: Any) -> frozenset[str]:
    inner = _labels(node.expr, None)
    if node.modifier is None:
        return frozenset()
    if "By" not in str(node.modifier.type):
        raise MistakeError("without keeps whatever labels a scrape adds: say by")
    kept = frozenset(node.modifier.labels)
    if not kept <= inner:
        raise MistakeError(f"there is nothing to sum by: {', '.join(sorted(kept - inner))}")
    return kept


def _combined(node: Any) -> frozenset[str]:
    left, right = _labels(node.lhs, None), _labels(node.rhs, None)
    numbers = [isinstance(side, promql.NumberLiteral) for side in (node.lhs, node.rhs)]
    matching = node.modifier.matching if node.modifier is not None else None
    if matching is not None:
        on = frozenset(matching.labels)
        if not on <= left & right:
            raise MistakeError(f"one side has no {', '.join(sorted(on - (left & right)))} to match on")
    elif left and right and left != right and not any(numbers):
        raise MistakeError(f"two sides that never match: {sorted(left)} and {sorted(right)}")
    return left or right
