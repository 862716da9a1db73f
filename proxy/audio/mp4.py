"""The duration of MP4 and M4A (ISO 14496-12) and QuickTime, from their boxes; sample tables and media are skipped.

A file whose ``moov`` box describes its samples says its length there, wherever ``moov`` stands. In a fragmented file
the durations of each fragment's samples are added up. An edit list tells which part of the media is played: encoders
note there how much of the first frame is silence of their own making.
"""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError  # noqa: N812  (it is a class)
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.audio.duration import Duration, NonsenseError
from proxy.audio.walker import Walker, plausible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_HEAD: Final = Struct(">I4s").unpack_from
_LARGE: Final = Struct(">Q").unpack_from
_WORDS: Final[Callable[[bytes], tuple[int, int]]] = Struct(">II").unpack_from
_EDIT, _LONG_EDIT = Struct(">Ii4x"), Struct(">Qq4x")  # by version: what is played, from where; and how fast
_NEVER: Final = 1 << 64  # past any file: the end of what has none but the file's own
_MAX_TRACKS: Final = 32  # real films have about ten, one per language; more are not followed
_EDITS: Final = 1_008  # bytes of an edit list: a recorder writes one or two, an editor some; a longer one is not used
_BATCH: Final = 4_096  # sample durations added at once: bounds the memory that takes

_BESIDE: Final = frozenset(
    b"ftyp styp free skip wide uuid meta mfra sidx ssix prft emsg pdin udta pnot meco imda".split()
)
"""Boxes that stand between those that count. After the media, anything else is a tag or a stray line, not a box."""


class _Box(NamedTuple):
    """What is done about a box: ``read`` is given the first ``needed`` bytes in it; then its children are walked."""

    needed: int = 0
    read: Callable[[Mp4Probe, bytes], None] | None = None
    children: Mapping[bytes, _Box] | None = None


@dataclass(slots=True)
class _Track:
    """One track. Times are in units of its own clock, ``scale`` per second, unless said otherwise."""

    scale: int = 0
    audio: bool = False
    length: int = 0  # as its header says
    presented: int = 0  # what the edit list plays, on the movie's clock; 0: there is none, or it does not say
    primed: int = 0  # where in the media the edit list begins
    decoded: int | None = None  # when the first fragment begins
    walked: int = 0  # the samples of fragments of which the media have arrived
    arriving: int = 0  # and of the latest, which may be on its way

    def told(self, movie: int) -> float:
        """Return the seconds that the headers tell; ``movie`` is the scale of the movie's clock."""
        media = self.length / self.scale
        return min(media, self.presented / movie) if self.presented and movie else media

    def counted(self, share: float) -> float:
        """Return the seconds of the fragments' samples; ``share`` of the latest fragment's media has come."""
        units = self.walked + self.arriving * share - self.primed
        if self.length and self.decoded is not None and abs(self.decoded - self.length) < self.scale:
            units += self.length  # the first samples are described by moov, and the fragments go on from there
        return max(0.0, units / self.scale)


class Mp4Probe(Walker):
    """Walks the boxes of an MP4 file. Held is at most an edit list (about 1 KiB)."""

    _DENSEST = 900  # boxes, those that are read twice: one frame per fragment, 16 kbit/s speech, has up to 860

    def __init__(self) -> None:
        super().__init__()
        self._open: list[tuple[int, Mapping[bytes, _Box]]] = []  # around this one; as deep as _TOP, which is 3
        self._close = _NEVER  # where the container ends that is being walked
        self._known = _TOP
        self._promised = 0  # where the file ends at the earliest
        self._body = self._after = 0  # where the payload of the box at hand begins, and where it ends
        self._clock = 0  # the movie's
        self._tracks: list[_Track] = []
        self._defaults: dict[int, int] = {}  # a sample's duration, by track; as many as tracks
        self._track = _Track()  # the one that is being described
        self._numbered: dict[int, _Track] = {}
        self._touched: dict[int, _Track] = {}  # by the latest moof
        self._moov = self._fragments = self._promises_fragments = False
        self._fragment: _Track | None = None  # the track that the fragment at hand belongs to
        self._default = 0
        self._samples = self._stride = self._at_samples = 0  # left to be read, the size of each, where they begin
        self._media: int | None = None  # bytes of media promised, since the latest moof if there are any
        self._media_end = 0

    def _result(self) -> Duration:
        cut = self._size < self._promised < _NEVER or bool(self._held)
        heard = [track for track in self._tracks if track.audio and track.scale]
        if not heard:
            return Duration(None, "unknown", cut or not self._moov)
        cut = cut or self._media is None
        if not self._fragments and not any(track.length for track in heard):
            return Duration(None, "unknown", cut or self._promises_fragments)
        return Duration(plausible(self._so_far()), "walked" if self._fragments else "header", cut)

    def _so_far(self) -> float:
        share = self._share()
        heard = [track for track in self._tracks if track.audio and track.scale]
        if self._fragments:
            return max((track.counted(share) for track in heard), default=0.0)
        return share * max((track.told(self._clock) for track in heard), default=0.0)

    def _share(self) -> float:
        """Return how much of the media promised has arrived, 0 to 1. Of sound, that much can be heard."""
        if not self._media:
            return 0.0 if self._media is None else 1.0
        return 1 - min(max(0, self._media_end - self._size) / self._media, 1.0)

    def _take(self, chunk: bytes) -> None:
        try:
            super()._take(chunk)
        except StructError as short:
            raise NonsenseError("a box too short for its fields") from short

    def _walk(self, data: bytes, at: int) -> int:
        end, origin, known, left = len(data), self._origin, self._known, self._left
        close, rows = self._close - origin, self._samples
        while rows or at <= end:
            if rows:
                at = self._add_durations(data)
                rows = self._samples
                if rows:
                    break
                continue
            if at + 8 > close:  # its end, or QuickTime's four zeros before it
                at = close
                close, known = self._open.pop()
                close -= origin
                continue
            if end - at < 8:
                self._wanted = 8
                break
            size, kind = _HEAD(data, at)
            body = at + 8
            if size < 2:
                if size and end - at < 16:
                    self._wanted = 16
                    break
                size, body = (_LARGE(data, body)[0], at + 16) if size else (close - at, body)
            after = at + size
            needed, read, children = known.get(kind, _SKIPPED)
            if after < body or after > close or (read is None and known is _TOP):
                after = self._check(kind, body, after, close)
            if needed > end - body and after > end:
                needed = min(needed, after - body)
                if needed > end - body:
                    self._wanted = body + needed - at
                    break
            if known is _TOP:
                self._promised = origin + after
            left -= 1
            if read is not None:
                left -= 1
                self._body, self._after = origin + body, origin + after
                read(self, data[body : min(body + needed, after)] if needed else b"")
                rows = self._samples
                if rows:
                    left -= 4
            if left <= 0:
                left = self._pace(at)
            at = after
            if children is not None:
                self._open.append((origin + close, known))
                close, known, at = after, children, body
        self._close, self._known, self._left = origin + close, known, left
        return at

    def _check(self, kind: bytes, body: int, after: int, close: int) -> int:
        """Return where a box ends that is not known. What follows the media and is none goes on to the file's end.

        Raises NonsenseError for a box that is smaller than its head, or larger than what it stands in.
        """
        if not self._open and kind not in _BESIDE and self._moov and self._media is not None:
            return _NEVER - self._origin
        if after < body or after > close:
            raise NonsenseError("a box of an impossible size")
        return after

    def _add_durations(self, data: bytes) -> int:
        """Add up the durations that a ``trun`` has for each sample, first in its row; return where to go on."""
        at, stride = self._at_samples - self._origin, self._stride
        end = at + stride * min(self._samples, (len(data) - at) // stride)
        for start in range(at, end, stride * _BATCH):
            values = array("I", data[start : min(end, start + stride * _BATCH)])
            if sys.byteorder == "little":
                values.byteswap()
            if self._fragment is not None:
                self._fragment.arriving += sum(values[:: stride // 4])
        self._samples -= (end - at) // stride
        self._wanted, self._at_samples = stride, self._origin + end
        return end if self._samples else self._after - self._origin

    def _start_moov(self, _payload: bytes) -> None:
        self._moov = True

    def _start_track(self, _payload: bytes) -> None:
        self._track = _Track()
        if len(self._tracks) < _MAX_TRACKS:
            self._tracks.append(self._track)

    def _start_fragment(self, _payload: bytes) -> None:
        self._fragments = True
        self._media = None
        for track in self._touched.values():
            track.walked += track.arriving
            track.arriving = 0
        self._touched.clear()

    def _start_media(self, _payload: bytes) -> None:
        if self._after < _NEVER:
            self._media = (self._media or 0) + self._after - self._body
            self._media_end = self._after
        else:  # it goes on to the file's end: nothing is promised
            self._media = self._media_end = 0

    def _movie_header(self, payload: bytes) -> None:
        self._clock = _number(payload, 20 if payload[:1] == b"\1" else 12, 4)

    def _track_header(self, payload: bytes) -> None:
        identity = _number(payload, 20 if payload[:1] == b"\1" else 12, 4)
        if len(self._numbered) < _MAX_TRACKS:
            self._numbered[identity] = self._track

    def _media_header(self, payload: bytes) -> None:
        at, size = (20, 8) if payload[:1] == b"\1" else (12, 4)
        length = _number(payload, at + 4, size)
        self._track.scale = _number(payload, at, 4)
        self._track.length = 0 if length == (1 << 8 * size) - 1 else length  # all ones: not known

    def _handler(self, payload: bytes) -> None:
        self._track.audio = payload[8:12] == b"soun"

    def _edit_list(self, payload: bytes) -> None:
        edit = _LONG_EDIT if payload[:1] == b"\1" else _EDIT
        count, here = _number(payload, 4, 4), (len(payload) - 8) // edit.size
        rows = edit.iter_unpack(payload[8 : 8 + min(count, here) * edit.size])
        played = [(length, start) for length, start in rows if start >= 0]  # -1: nothing is played for a while
        self._track.presented = sum(length for length, _ in played) if count <= here else 0
        self._track.primed = played[0][1] if played else 0

    def _fragment_defaults(self, payload: bytes) -> None:
        self._promises_fragments = True
        if len(self._defaults) < _MAX_TRACKS:
            self._defaults[_number(payload, 4, 4)] = _number(payload, 12, 4)

    def _fragment_header(self, payload: bytes) -> None:
        flags, identity = _WORDS(payload)
        track = self._numbered.get(identity)
        if track is not None and track.audio:
            self._fragment = self._touched[identity] = track
        else:
            self._fragment = None
        if flags & 8:
            at = 8 + 8 * (flags & 1) + 4 * (flags >> 1 & 1)  # a data offset, a sample description
            self._default = _number(payload, at, 4)
        else:
            self._default = self._defaults.get(identity, 0)

    def _fragment_time(self, payload: bytes) -> None:
        if self._fragment is not None and self._fragment.decoded is None:
            self._fragment.decoded = _number(payload, 4, 8 if payload[:1] == b"\1" else 4)

    def _run(self, payload: bytes) -> None:
        flags, count = _WORDS(payload)
        if self._fragment is None:
            return
        if not flags & 0x100:
            self._fragment.arriving += count * self._default
            return
        self._at_samples = self._body + 8 + 4 * (flags & 1) + 4 * (flags >> 2 & 1)  # a data offset, the first's flags
        self._samples, self._stride = count, 4 * (flags >> 8 & 0xF).bit_count()
        if self._at_samples + self._samples * self._stride > self._after:
            raise NonsenseError("more samples than their box holds")


def _number(payload: bytes, at: int, size: int) -> int:
    if at + size > len(payload):
        raise NonsenseError("a box too short for its fields")
    return int.from_bytes(payload[at : at + size], "big")


_SKIPPED: Final = _Box()
_TOP: Final[Mapping[bytes, _Box]] = {
    b"mdat": _Box(0, Mp4Probe._start_media),
    b"moov": _Box(
        0,
        Mp4Probe._start_moov,
        {
            b"mvhd": _Box(24, Mp4Probe._movie_header),
            b"trak": _Box(
                0,
                Mp4Probe._start_track,
                {
                    b"tkhd": _Box(24, Mp4Probe._track_header),
                    b"edts": _Box(0, None, {b"elst": _Box(_EDITS, Mp4Probe._edit_list)}),
                    b"mdia": _Box(
                        0,
                        None,
                        {b"mdhd": _Box(32, Mp4Probe._media_header), b"hdlr": _Box(12, Mp4Probe._handler)},
                    ),
                },
            ),
            b"mvex": _Box(0, None, {b"trex": _Box(16, Mp4Probe._fragment_defaults)}),
        },
    ),
    b"moof": _Box(
        0,
        Mp4Probe._start_fragment,
        {
            b"traf": _Box(
                0,
                None,
                {
                    b"tfhd": _Box(24, Mp4Probe._fragment_header),
                    b"tfdt": _Box(12, Mp4Probe._fragment_time),
                    b"trun": _Box(16, Mp4Probe._run),
                },
            )
        },
    ),
}
