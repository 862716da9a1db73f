"""The catalogue's metrics as prometheus_client's objects, in a registry of the gateway's own."""

from __future__ import annotations

from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from proxy.records.catalogue import BY_NAME, MetricSpec

Child = TypeVar("Child", Counter, Gauge, Histogram)


class Children(dict[tuple[str, ...], Child], Generic[Child]):
    """The children of one metric by the values of its labels, in their order: each is bound once and kept.

    A metric without labels is its own only child, under ``()``. There are as many as the labels' sets allow.
    """

    __slots__ = ("_parent",)
    _parent: Child

    def __init__(self, parent: Child) -> None:
        super().__init__()
        self._parent = parent

    def __missing__(self, values: tuple[str, ...]) -> Child:
        child = self[values] = self._parent.labels(*values) if values else self._parent
        return child


class Meters:
    """Makes metrics by their name in the catalogue, without the prefix, each once.

    ``key_label`` adds the label ``key``, as the last one, where the catalogue allows it. What is never asked for is
    not there: a process shows only what it fills.
    """

    def __init__(self, registry: CollectorRegistry, *, key_label: bool = False) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each child, which nothing reads
        self.registry = registry
        self.key_label = key_label

    def counters(self, name: str) -> Children[Counter]:
        """Return the children of a counter."""
        spec = BY_NAME[f"audiogate_{name}"]
        return Children(Counter(spec.name, spec.help, self._labels(spec), registry=self.registry))

    def gauges(self, name: str) -> Children[Gauge]:
        """Return the children of a gauge."""
        spec = BY_NAME[f"audiogate_{name}"]
        labels = self._labels(spec)
        return Children(Gauge(spec.name, spec.help, labels, registry=self.registry, multiprocess_mode=spec.merge))

    def histograms(self, name: str) -> Children[Histogram]:
        """Return the children of a histogram."""
        spec = BY_NAME[f"audiogate_{name}"]
        return Children(
            Histogram(spec.name, spec.help, self._labels(spec), registry=self.registry, buckets=spec.buckets)
        )

    def _labels(self, spec: MetricSpec) -> tuple[str, ...]:
        return (*spec.labels, "key") if spec.key_label and self.key_label else spec.labels


def catch_up(
    children: Children[Counter], labels: tuple[str, ...], count: int, counted: dict[tuple[str, ...], int]
) -> None:
    """Bring a counter up to a ``count`` that somebody else keeps; ``counted`` remembers how far it was."""
    children[labels].inc(count - counted.get(labels, 0))
    counted[labels] = count
