"""Walks the frames of an MPEG audio stream: counts those that have passed, whatever stands between them.

What is counted depends on the bytes alone, never on where they were cut, and the work for a chunk is bounded by its
length: see :class:`_Patience`.
"""

from __future__ import annotations

from typing import Final

from proxy.audio.id3 import ID3_HEADER, id3_length
from proxy.audio.mp3_frames import ANY_HEADER, HEADER, STRIDE, Kind, Stride, kind_of, stride_of
from proxy.audio.mp3_info import Info, read_info

_STEADY_AFTER: Final = 2  # frames of one bitrate: a file that begins so is tried as having one; a misfit costs little
_MISFITS: Final = 16  # strides that do not fit, as with odd padding; more, and striding costs more than it saves

_JUNK: Final = 131_072  # bytes that are no frames, searched in 2 ms at worst
_DETOUR: Final = 512  # as many bytes of junk as it costs to look at a header that proves none, or to find the way back
_EARNED: Final = 8  # bytes of frames that make up for one byte of junk

_APE_HEADER: Final = 32
_ID3V1: Final = 128
_TAGS_BEGIN: Final = b"IAT"


class _Patience:
    """How much junk is searched: a bucket that frames fill again. When it is empty, nothing more is looked at."""

    def __init__(self) -> None:
        self.left = _JUNK
        self._walked = 0

    def spend(self, cost: int, walked: int) -> None:
        """Take ``cost`` bytes' worth, after frames of ``walked`` bytes in all."""
        self.left = min(_JUNK, self.left + (walked - self._walked) // _EARNED) - cost
        self._walked = walked


class FrameWalker:
    """Push parser for frames: ``feed`` it what follows the tags at the start; :meth:`ended` tells of the end.

    Holds at most one stride (8 frames), or one frame and the header after it.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.promised = 0  # by Info frames
        self.gap = 0.0  # seconds that encoders added before and after the sound
        self.lead = 0.0  # of it, those before
        self.walked = 0  # bytes of frames
        self.passed_over = 0  # bytes of tags
        self.cut = False  # whether the bytes that were fed end within a frame; told by ``ended`` only
        self._kind: Kind | None = None
        self._kind_frames = 0
        self._before = 0.0  # seconds of kinds that came before this one
        self._astray = True
        self._maybe_tag = True
        self._patience = _Patience()
        self._steady = True
        self._singles = _STEADY_AFTER
        self._third = -1
        self._stride: Stride | None = None
        self._misfits = 0
        self._held = b""
        self._need = HEADER
        self._striding = False  # whether the bytes held begin a stride
        self._skip = 0
        self._in_frame = False

    @property
    def seconds(self) -> float:
        """The length of all frames counted."""
        return self._before + (self._kind_frames * self._kind.samples / self._kind.rate if self._kind else 0.0)

    @property
    def given_up(self) -> bool:
        """Whether there was too much that is no frame; the rest is not looked at."""
        return self._patience.left < 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        at, self._skip = self._skip, 0
        if self._held and self._striding:
            at = self._stride_across(chunk)
        while self._held:
            held = len(self._held)
            if held + len(chunk) < self._need:
                self._held += chunk
                return
            joined = self._held + chunk[: self._need]
            passed = self._walk(joined, 0)
            if passed >= held:
                at = passed - held
                self._held = b""
            else:
                self._held = self._held[passed:]
        if at < len(chunk):
            at = self._walk(chunk, at)
        if at < len(chunk):
            self._held = chunk[at:]
        else:
            self._skip = at - len(chunk)

    def end(self) -> None:
        """Look at every byte, for no more will come."""
        held, skip = self._held, self._skip
        if not held and not skip:
            return  # the end of the last frame
        self._held, self._skip = b"", 0
        end = self._walk(held, 0, final=True) + (0 if held else skip)
        if end > len(held) and self._in_frame:
            self.cut = True
            self.frames -= 1
            self._kind_frames -= 1

    def ended(self) -> FrameWalker:
        """Return a walker that has seen the end here, while this one may go on."""
        if not self._held and not self._skip:
            return self
        last, patience = FrameWalker.__new__(FrameWalker), _Patience.__new__(_Patience)  # a tenth of copy.copy's time
        last.__dict__.update(self.__dict__)
        patience.__dict__.update(self._patience.__dict__)
        last._patience = patience
        last.end()
        return last

    def _walk(self, data: bytes, at: int, *, final: bool = False) -> int:
        """Walk on from ``at``; return where to go on: beyond the end of ``data`` to pass over what is to come."""
        while at < len(data):
            if self.given_up:
                return len(data)
            at = self._search(data, at, final) if self._astray else self._follow(data, at, final)
            if at < 0:
                return ~at
        return at

    def _wait(self, at: int, need: int, data: bytes, *, final: bool) -> int:
        """Return what a step returns when it cannot go on from ``at`` before ``need`` bytes are there: ``~at``."""
        if final:
            return len(data)
        self._need = need
        self._striding = False
        return ~at

    def _follow(self, data: bytes, at: int, final: bool) -> int:
        """Where a header is to be expected."""
        if not self._steady:
            return self._take_singles(data, self._take_runs(data, at), final)
        return self._take_singles(data, at, final) if self._singles else self._take_strides(data, at, final)

    def _take_strides(self, data: bytes, at: int, final: bool) -> int:
        """Take as many strides as fit. When none does, single frames are next."""
        kind, stride = self._kind, self._stride
        assert kind is not None
        if stride is None:
            stride = self._stride = stride_of(kind.second, self._third & 0xFC)
        if found := stride.pattern.match(data, at):
            size = found.end() - at
            self._count(size // stride.low * STRIDE, size)
            at += size
        if not final and len(data) - at < stride.need:
            self._need = stride.need
            self._striding = True
            return ~at
        if found:
            return at
        self._singles = STRIDE
        self._misfits += 1
        self._steady = self._misfits <= _MISFITS
        return at

    def _stride_across(self, chunk: bytes) -> int:
        """Take the stride that began in the bytes held when it plainly fits; return where in ``chunk`` it ends.

        The usual case at the start of a chunk: it saves the joining.
        """
        stride, held = self._stride, len(self._held)
        assert stride is not None
        if held <= stride.low and len(chunk) >= stride.need - held and stride.header.match(self._held):
            for size in (stride.low, stride.high):
                if stride.header.match(chunk, size - held):
                    self._count(STRIDE, size)
                    self._held = b""
                    return size - held
        return 0

    def _take_runs(self, data: bytes, at: int) -> int:
        """Take frames of any bitrate, many at a time, as far as whole runs reach."""
        assert self._kind is not None
        for count, pattern in self._kind.runs:
            begin, times, match = at, 0, pattern.match
            while found := match(data, at):
                at = found.end()
                times += 1
            self._count(count * times, at - begin)
        return at

    def _take_singles(self, data: bytes, at: int, final: bool) -> int:
        """Take frame after frame, until none is there or enough have shown their bitrate."""
        kind = self._kind
        assert kind is not None
        lengths, second = kind.lengths, kind.second
        begin, last, frames = at, len(data) - HEADER, 0
        while at <= last:
            third = data[at + 2]
            length = lengths[third] if data[at] == 0xFF and data[at + 1] | 1 == second else 0
            if not length:
                self._count(frames, at - begin)
                return self._lose(at)
            frames += 1
            at += length
            if self._steady:
                self._singles -= 1
                self._steady = self._third < 0 or not (third ^ self._third) & 0xFC
                self._third = third
                if self._steady and not self._singles:
                    break
        self._count(frames, at - begin)
        return self._wait(at, HEADER, data, final=final) if last < at < len(data) else at

    def _count(self, frames: int, size: int) -> None:
        if frames:
            self.frames += frames
            self._kind_frames += frames
            self.walked += size
            self._in_frame = True

    def _lose(self, at: int) -> int:
        """A tag, or junk, stands where a header should."""
        self._astray = self._maybe_tag = True
        self._patience.spend(_DETOUR, self.walked)
        return at

    def _search(self, data: bytes, at: int, final: bool) -> int:
        """Look for a frame that another of its kind follows (or the end of the file)."""
        if self._maybe_tag:
            return self._pass_tag(data, at, final)
        reach = max(self._patience.left, 0)
        found = ANY_HEADER.search(data, at, at + reach + HEADER)
        begin = found.start() if found else min(max(at, len(data) - HEADER + 1), at + reach + 1)
        if begin > at:
            self._patience.spend(begin - at, self.walked)
            return begin
        if not found:
            return self._wait(at, HEADER, data, final=final)
        kind = kind_of(data[at + 1], data[at + 2])
        assert kind is not None
        length = kind.length(data, at)
        if len(data) - at < length + HEADER and not final:
            return self._wait(at, length + HEADER, data, final=final)
        if followed(data, at + length, kind):
            return self._found(kind, data, at, length)
        self._patience.spend(_DETOUR, self.walked)
        return at + 1

    def _pass_tag(self, data: bytes, at: int, final: bool) -> int:
        """Pass over the tag that may stand where frames begin or end."""
        if data[at] in _TAGS_BEGIN and len(data) - at < _APE_HEADER and not final:
            return self._wait(at, _APE_HEADER, data, final=final)
        length = tag_length(data[at : at + _APE_HEADER])
        if not length:
            self._maybe_tag = False
            return at
        self._in_frame = False
        self.passed_over += length
        self._patience.spend(_DETOUR, self.walked)
        return at + length

    def _found(self, kind: Kind, data: bytes, at: int, length: int) -> int:
        """The stream's frames begin, or go on, here."""
        self._astray = False
        if kind is not self._kind:
            self._before = self.seconds
            self._kind, self._kind_frames = kind, 0
            self._steady, self._singles, self._third, self._stride = True, _STEADY_AFTER, -1, None
        info = read_info(data[at : at + length], kind.layer)
        if info is None:
            return at
        self._read(info, kind)
        self.passed_over += length
        return at + length

    def _read(self, info: Info, kind: Kind) -> None:
        self.promised += info.frames
        self.lead += info.delay / kind.rate
        self.gap += (info.delay + info.padding) / kind.rate
        self._steady = self._steady and info.constant


def followed(data: bytes, at: int, kind: Kind) -> bool:
    """Return whether a header of ``kind`` is at ``at``, as far as there are bytes, and no less than none."""
    after = data[at : at + HEADER]
    return kind.length(after, 0) > 0 if len(after) == HEADER else at <= len(data) and after[:1] in b"\xff"


def tag_length(head: bytes) -> int:
    """Return the length in bytes of the tag that ``head`` begins: ID3v2, ID3v1 or APE; 0 when it is none of these."""
    if head.startswith(b"ID3"):
        return id3_length(head[:ID3_HEADER])
    if head.startswith(b"TAG"):
        return _ID3V1
    if head.startswith(b"APETAGEX") and len(head) == _APE_HEADER:
        return _APE_HEADER + int.from_bytes(head[12:16], "little")  # the size is less the header, with the footer
    return 0
