"""What the ops listener shows: readiness, and the counts of every process behind it."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any, Final

from proxy import __version__
from proxy.records.metrics import exposition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_PYTHON: Final = platform.python_version()


class State:
    """``loaded``: somebody can serve. ``draining``: no longer for long. ``counts`` yields a document a process."""

    def __init__(self, counts: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        self.loaded = False
        self.draining = False
        self._counts = counts

    @property
    def ready(self) -> bool:
        """Whether balancers should send requests."""
        return self.loaded and not self.draining

    @property
    def readiness(self) -> str:
        """The same in a word."""
        return "draining" if self.draining else "ready" if self.loaded else "starting"

    def metrics(self) -> bytes:
        """Return the metrics of all processes in Prometheus' text format."""
        facts = {"draining": self.draining, "version": __version__, "python": _PYTHON}
        return exposition(self._counts(), facts)
