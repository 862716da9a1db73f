"""What the probes of boxed containers share: payload is skipped by arithmetic, and only a header that was cut is held.

MP4, Ogg and Matroska are all headers that say how long the payload after them is. A walker goes from header to header
within the chunk that has come; what lies between costs nothing, however much it is.
"""

from __future__ import annotations

from typing import ClassVar, Final

from proxy.audio.duration import NonsenseError, Probe

LONGEST: Final = 31 * 86_400.0  # seconds: a gigabyte of speech at 4 kbit/s lasts 23 days; beyond, a length is damage

_STRETCH: Final = 16_384  # bytes that a run of headers must cover: long enough to even out, far shorter than a chunk


class Walker(Probe):
    """A probe that goes from header to header. A subclass gives :meth:`_walk` and :meth:`_so_far`.

    Held is at most what :attr:`_wanted` was ever set to, and less than a chunk more: each probe bounds it.
    """

    _DENSEST: ClassVar[int]
    """Headers that 16 KiB may hold: no real file has more, and what a chunk costs is bounded by it."""

    def __init__(self) -> None:
        super().__init__()
        self._size = 0  # bytes of the file that have come
        self._origin = 0  # where in the file the data begin that are being walked
        self._ahead = 0  # bytes yet to come that nobody needs to look at
        self._held = bytearray()  # a header that was cut, with nothing ahead of it
        self._wanted = 0  # bytes that are needed to go on from there
        self._left = self._DENSEST
        self._paced = -_STRETCH  # where headers were counted last: a file's first ones lie close together

    @property
    def seconds(self) -> float:
        """The audio that has arrived, in seconds, as far as it can be told while bytes still come."""
        seconds = 0.0 if self._lost else self._so_far()
        return seconds if 0 < seconds <= LONGEST else 0.0

    def _take(self, chunk: bytes) -> None:
        size = len(chunk)
        self._size += size
        if self._ahead >= size:
            self._ahead -= size
            return
        at, self._ahead = self._ahead, 0
        if self._held:
            self._held += chunk
            if len(self._held) < self._wanted:
                return
            chunk = bytes(self._held)
            self._held = bytearray()
        self._origin = self._size - len(chunk)
        at = self._walk(chunk, at)
        if at < len(chunk):
            self._held += chunk[at:]
        else:
            self._ahead = at - len(chunk)

    def _walk(self, data: bytes, at: int) -> int:
        """Walk ``data`` from ``at``, where a header begins; return where the first that is not understood begins.

        That is past the end of ``data`` when payload is still to come. If it is before the end, :attr:`_wanted` must
        say how many bytes from there are needed: more than there are.
        """
        raise NotImplementedError

    def _so_far(self) -> float:
        """Return the seconds that have arrived, whatever the bytes claim; 0 when nothing can be told."""
        raise NotImplementedError

    def _pace(self, at: int) -> int:
        """Return how many headers may come before this is asked again.

        Raises NonsenseError when the last :attr:`_DENSEST` of them, up to ``at``, lie closer together than they may.
        """
        position = self._origin + at
        if position - self._paced < _STRETCH:
            raise NonsenseError("headers without payload")
        self._paced = position
        return self._DENSEST


def plausible(seconds: float) -> float:
    """Return ``seconds``, not below 0. Raises NonsenseError when no recording lasts so long."""
    if not seconds <= LONGEST:
        raise NonsenseError("longer than any recording")
    return max(seconds, 0.0)
