"""How long an MP3 file is: its frames, counted one by one, for no header can be trusted to tell (VBR, joined, cut)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.audio.duration import Duration, NonsenseError
from proxy.audio.flac import FlacProbe
from proxy.audio.id3 import ID3_HEADER, id3_length
from proxy.audio.mp3_walk import FrameWalker
from proxy.audio.pieces import PieceProbe

if TYPE_CHECKING:
    from proxy.audio.duration import Probe

_MAX_TAGS: Final = 64  # at the start; files have one or two, and each costs a step
_NO_FRAMES: Final = (b"ID3", b"fLaC")
_CLEARLY: Final = 2  # frames: encoders count one more or less


class Mp3Probe(PieceProbe):
    """Passes over ID3v2 tags and walks what follows; a FLAC file after such a tag is read as one."""

    def __init__(self) -> None:
        super().__init__(first=ID3_HEADER)
        self._new = True
        self._tags = 0
        self._size = 0
        self._walker = FrameWalker()
        self._flac: Probe | None = None

    @property
    def seconds(self) -> float:
        """The frames that have passed, in seconds."""
        if self._lost:
            return 0.0
        return max(0.0, self._walker.seconds - self._walker.gap) if self._flac is None else self._flac.seconds

    def end(self) -> None:
        """Look at the last bytes for good: :meth:`finish` need not take them for what may still go on."""
        if self._flac is None:
            self._walker.end()

    def _take(self, chunk: bytes) -> None:
        if self._new:
            self._new = False
            if len(chunk) >= ID3_HEADER and not chunk.startswith(_NO_FRAMES):
                self._want_rest()  # as most files without a tag come: there is nothing to take apart
        super()._take(chunk)

    def _piece(self, piece: bytes) -> None:
        length = id3_length(piece)
        if not length:
            if piece.startswith(b"fLaC"):
                self._flac = FlacProbe()
            self._want_rest()
            self._rest(piece, 0)
            return
        self._tags += 1
        if self._tags > _MAX_TAGS:
            raise NonsenseError
        self._pass_over(length - ID3_HEADER)

    def _rest(self, chunk: bytes, at: int) -> None:
        chunk = chunk[at:]  # all of it, as a rule: CPython hands back ``chunk`` itself
        if self._flac is not None:
            self._flac.feed(chunk)
            return
        self._size += len(chunk)
        self._walker.feed(chunk)

    def _result(self) -> Duration:
        if self._flac is not None:
            return self._flac.finish()
        end = self._walker.ended()
        unexplained = self._size - end.walked - end.passed_over
        if not end.walked or unexplained > end.walked:
            return Duration(None, "unknown")  # more junk than frames: what was found may be chance
        short = end.promised - end.frames > _CLEARLY
        # What encoders add is left out, as players and OpenAI's decoder do; a file cut short has lost its end's share.
        seconds = end.seconds - (end.lead if short else end.gap)
        return Duration(max(0.0, seconds), "walked", ended_early=end.cut or short)
