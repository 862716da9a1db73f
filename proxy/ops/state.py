"""Whether the gateway is ready for requests, as the ops listener shows it."""

from __future__ import annotations


class State:
    """``loaded``: somebody can serve. ``draining``: no longer for long."""

    def __init__(self) -> None:
        self.loaded = False
        self.draining = False

    @property
    def ready(self) -> bool:
        """Whether balancers should send requests."""
        return self.loaded and not self.draining

    @property
    def readiness(self) -> str:
        """The same in a word."""
        return "draining" if self.draining else "ready" if self.loaded else "starting"
