"""Reads a file as short pieces, long stretches to pass over, and at last a stream: what headed containers share."""

from __future__ import annotations

from typing import Final

from proxy.audio.duration import Probe

_LONGEST_PIECE: Final = 64  # bytes: no field of a header that matters here is longer; pieces are joined by copying


class PieceProbe(Probe):
    """A probe that says how many bytes it wants next, whatever the network makes of them.

    A subclass calls :meth:`_want` (a piece to be given to :meth:`_piece`), :meth:`_pass_over` and :meth:`_want_rest`
    (all that follows goes to :meth:`_rest`). It begins by wanting a piece.
    """

    def __init__(self, first: int) -> None:
        super().__init__()
        self._held = b""
        self._skip = 0
        self._wanted = first

    def _want(self, size: int) -> None:
        """Ask for a piece of ``size`` bytes."""
        assert 0 < size <= _LONGEST_PIECE
        self._wanted = size

    def _pass_over(self, size: int) -> None:
        """Drop ``size`` bytes before whatever is wanted next. They are never held, so it may be any number."""
        self._skip += size

    def _want_rest(self) -> None:
        """Ask for every byte that follows, as it comes."""
        self._wanted = 0

    def _take(self, chunk: bytes) -> None:
        if not self._wanted and not self._skip:
            self._rest(chunk, 0)
            return
        at = 0
        while True:
            passed = min(self._skip, len(chunk) - at)
            self._skip -= passed
            at += passed
            if at == len(chunk):
                return
            if not self._wanted:
                self._rest(chunk, at)
                return
            taken = chunk[at : at + self._wanted - len(self._held)]
            at += len(taken)
            self._held += taken
            if len(self._held) == self._wanted:
                piece, self._held = self._held, b""
                self._piece(piece)

    def _piece(self, piece: bytes) -> None:
        """Take the piece that was wanted, and say what is wanted next (the same size again when nothing is said)."""
        raise NotImplementedError

    def _rest(self, chunk: bytes, at: int) -> None:
        """Take the bytes of ``chunk`` from ``at`` on."""
        raise NotImplementedError
