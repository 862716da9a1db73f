"""How long a FLAC file is (RFC 9639): STREAMINFO promises, the last frame in the file tells."""

from __future__ import annotations

from typing import Final

from proxy.audio.duration import Duration, NonsenseError
from proxy.audio.flac_frames import HEADER_READ, Blocking, last_sample, read_header
from proxy.audio.pieces import PieceProbe

_STREAMINFO_READ: Final = 18  # bytes of its 34: what stands before the MD5
_MAX_BLOCKS: Final = 512  # of metadata: files have a handful, and each costs a step
_MAX_TAIL: Final = 131_072  # bytes: two frames of 4608 samples, 2 channels of 24 bits, that do not compress, and room
_MIN_FRAME: Final = 10  # bytes: header 6, one constant subframe 2, footer 2
_LOOK_EVERY: Final = 1_048_576  # bytes of audio between two looks at the tail while bytes still come
_MAX_BLOCK: Final = 65_535  # samples
_MIN_RATE: Final = 1_000  # Hz; 0 means that it is no audio


class FlacProbe(PieceProbe):
    """Passes over the metadata, then keeps as much of the tail as two frames may take."""

    def __init__(self) -> None:
        super().__init__(first=4)
        self._state = "marker"
        self._blocks = 0
        self._last = False
        self._more_streaminfo = 0
        self._rate = 0
        self._total = 0
        self._longest = _MAX_BLOCK
        self._keep = _MAX_TAIL
        self._audio = 0
        self._head = b""
        self._tail = bytearray()
        self._looked = 0
        self._seen = 0

    @property
    def seconds(self) -> float:
        """The audio up to the last look at the tail, in seconds."""
        if self._lost or not self._rate:
            return 0.0
        if self._audio - self._looked >= _LOOK_EVERY:
            self._looked = self._audio
            found = self._measured()
            self._seen = max(self._seen, found[0] if found else 0)
        return self._seen / self._rate

    def _piece(self, piece: bytes) -> None:
        if self._state == "streaminfo":
            self._read_streaminfo(piece)
        elif self._state == "block":
            self._begin_block(piece)
            return
        elif piece != b"fLaC":
            raise NonsenseError
        self._end_block()

    def _end_block(self) -> None:
        self._state = "audio" if self._last else "block"
        if self._last:
            self._want_rest()
        else:
            self._want(4)

    def _begin_block(self, header: bytes) -> None:
        """Section 8.1. STREAMINFO comes first, and once."""
        self._blocks += 1
        kind, length = header[0] & 0x7F, int.from_bytes(header[1:], "big")
        self._last = header[0] >= 0x80
        if (kind == 0) != (self._blocks == 1) or self._blocks > _MAX_BLOCKS or kind == 127:
            raise NonsenseError
        if kind == 0:
            if length < _STREAMINFO_READ:
                raise NonsenseError
            self._state = "streaminfo"
            self._want(_STREAMINFO_READ)
            self._more_streaminfo = length - _STREAMINFO_READ
        else:
            self._pass_over(length)
            self._end_block()

    def _read_streaminfo(self, body: bytes) -> None:
        """Section 8.2."""
        packed = int.from_bytes(body[10:18], "big")
        self._rate = packed >> 44
        channels, depth = (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1
        self._total = packed & (1 << 36) - 1
        if self._rate < _MIN_RATE:
            raise NonsenseError
        self._longest = int.from_bytes(body[2:4], "big") or _MAX_BLOCK
        frame = self._longest * channels * (depth + 1) // 8 + 128  # stored as it is, a side channel one bit deeper
        self._keep = min(_MAX_TAIL, 2 * frame + 128)  # and an ID3v1 tag
        self._pass_over(self._more_streaminfo)

    def _rest(self, chunk: bytes, at: int) -> None:
        self._audio += len(chunk) - at
        if len(self._head) < HEADER_READ:
            self._head += chunk[at : at + HEADER_READ - len(self._head)]
        if len(chunk) - at >= self._keep:
            self._tail[:] = memoryview(chunk)[-self._keep :]
            return
        self._tail += memoryview(chunk)[at:]
        if len(self._tail) > 2 * self._keep:
            del self._tail[: -self._keep]

    def _measured(self) -> tuple[int, bool] | None:
        """Return the samples that have arrived whole, and whether nothing stands after them; None when not known."""
        first = read_header(self._head, 0)
        if first is None:
            return None
        fixed = 0 if self._head[1] & 1 else first.samples
        found = last_sample(bytes(self._tail[-self._keep :]), Blocking(fixed, self._longest))
        if found is None:
            return None
        samples = found[0] - first.start
        return (samples, found[1]) if 0 <= samples <= self._possible() else None

    def _possible(self) -> int:
        """The most samples that this many bytes can hold."""
        return self._audio // _MIN_FRAME * self._longest

    def _result(self) -> Duration:
        if self._state != "audio":
            return Duration(None, "unknown", ended_early=True)
        found = self._measured()
        if found is not None:
            samples, clean = found
            if samples == self._total:
                return Duration(samples / self._rate, "header")
            return Duration(samples / self._rate, "walked", ended_early=samples < self._total or not clean)
        if self._audio <= self._keep:
            return self._nothing_whole()
        if not self._total:
            return Duration(None, "unknown")
        return Duration(
            min(self._total, self._possible()) / self._rate, "header", ended_early=self._total > self._possible()
        )

    def _nothing_whole(self) -> Duration:
        """Every byte of audio was looked at: they hold less than a frame, or no FLAC."""
        if self._audio < HEADER_READ or read_header(self._head, 0) is not None:
            return Duration(0.0, "walked", ended_early=self._total > 0 or self._audio > 0)
        return Duration(None, "unknown")
