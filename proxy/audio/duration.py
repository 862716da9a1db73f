"""How long audio is, learnt from its bytes as they pass: what every probe gives, and what all of them share.

A probe reads one container. It is pushed whatever has arrived and never asks for more, keeps nothing but what it
has not understood yet, within a bound, and never raises: a file that makes no sense has a duration that is unknown,
and its bytes cross all the same.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Source = Literal["header", "walked", "bytes", "unknown"]
"""``header``: the container says so. ``walked``: its frames, pages or blocks were counted. ``bytes``: the bytes that
arrived, over the byte rate of the header."""


class Duration(NamedTuple):
    """The length of some audio in seconds (None: unknown), how it was learnt, and whether the file was cut short.

    ``ended_early`` says that the file promised more than arrived; ``seconds`` is then what did arrive, as far as that
    can be told.
    """

    seconds: float | None
    source: Source
    ended_early: bool = False


UNKNOWN_DURATION: Final = Duration(None, "unknown")


class NonsenseError(Exception):
    """The bytes are not what their container should hold. Raised and caught within a probe, never seen outside."""


class Probe:
    """One container's reader. A subclass gives :meth:`_take` and :meth:`_result`, and may raise NonsenseError there.

    Feed it a file's bytes in order, cut anywhere, then ask for :meth:`finish`.
    """

    def __init__(self) -> None:
        self._lost = False

    @property
    def seconds(self) -> float:
        """The audio seen so far, in seconds: a lower bound while bytes still come, 0 when nothing can be told yet."""
        return 0.0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the file; an empty chunk is none."""
        if self._lost or not chunk:
            return
        try:
            self._take(chunk)
        except NonsenseError:
            self._lost = True

    def end(self) -> None:
        """Take note that no more bytes will come; what :meth:`finish` says is the same."""

    def finish(self) -> Duration:
        """Return what the bytes have shown by now. May be asked at any time: early, it tells of what has arrived."""
        if self._lost:
            return UNKNOWN_DURATION
        try:
            return self._result()
        except NonsenseError:
            return UNKNOWN_DURATION

    def _take(self, chunk: bytes) -> None:
        raise NotImplementedError

    def _result(self) -> Duration:
        raise NotImplementedError


class Unmeasured(Probe):
    """The probe of a container that nobody measures: it looks at nothing."""

    def feed(self, chunk: bytes) -> None:
        """Look at nothing."""

    def _result(self) -> Duration:
        return UNKNOWN_DURATION
