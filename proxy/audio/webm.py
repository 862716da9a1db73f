"""The duration of WebM and Matroska (RFC 8794, RFC 9559), by its header, or walked block by block when that says none.

Elements are told by their identifiers alone and masters are entered without keeping count of where they end: the
identifiers are unique, and recorders that cannot go back leave the sizes of segment and clusters unknown anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.audio.duration import Duration, NonsenseError
from proxy.audio.ebml import NUMBER, floating, integer, signed, unsigned
from proxy.audio.matroska import AUDIO, HEAD, SECOND, Track
from proxy.audio.walker import Walker, plausible

if TYPE_CHECKING:
    from collections.abc import Callable

_NEVER: Final = 1 << 64  # past any file
_ANY: Final = frozenset(range(0x80, 0x100))  # the first byte of a block of any track with a number up to 127
_NONE: Final[frozenset[int]] = frozenset()
_MAX_TRACKS: Final = 64  # real films have about twenty, subtitles included; more are not followed
_MAX_CODEC: Final = 32  # bytes of a CodecID: the longest has 19
_CHEAP, _DEAR = 2, 20  # blocks that are walked in the time that another element takes: a small one, any other
_LONGEST_GUESS: Final = SECOND // 4  # a block's length, when only the pause before it shows: speech may have paused
_SHORT: Final = 1.0  # seconds that a header may be off: recorders take it from the clock. Beyond, blocks are right

_SIMPLE_BLOCK, _BLOCK, _GROUP, _BLOCK_DURATION, _TIMESTAMP = 0xA3, 0xA1, 0xA0, 0x9B, 0xE7
_BLOCKS: Final = frozenset((_SIMPLE_BLOCK, _BLOCK))
_CLUSTERED: Final = _BLOCKS | {_GROUP, _BLOCK_DURATION, _TIMESTAMP}  # of one byte, and looked at within a cluster
_LEAST: Final = 4  # bytes of a block: track, time and flags
_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
_AFTER_SEGMENT: Final = frozenset((0x1A, 0xEC))  # how a further document begins, or Void; anything else is not Matroska


class _Element(NamedTuple):
    """What is done about an element: ``read`` is given its first ``needed`` bytes and its size. A master is entered."""

    needed: int
    read: Callable[[WebmProbe, bytes, int], None] | None
    master: bool = False


class WebmProbe(Walker):
    """Walks the elements of a Matroska file. Held is at most one element's head and value (about 50 bytes)."""

    _DENSEST = 2_160  # blocks: one of digital silence in Opus has 9 bytes; other elements count for more

    def __init__(self) -> None:
        super().__init__()
        self._done = 0.0  # seconds of the documents before this one
        self._further = False  # whether this is not the first
        self._over = False  # whether what follows is not Matroska
        self._body = 0  # where in the file the payload of the element at hand begins
        self._begin()

    def _begin(self) -> None:
        self._segment_end: int | None = None  # None: none seen yet
        self._scale = 1_000_000  # nanoseconds per tick
        self._promised = 0.0  # ticks, as Info says
        self._tracks: dict[int, Track] = {}
        self._track = Track()  # the one that is being described
        self._heard = _ANY  # the first bytes of blocks that count
        self._in_cluster = False
        self._cluster = 0  # its time, ticks
        self._first: int | None = None  # time of the first block that counts, ticks
        self._time = 0  # and of the last
        self._length = 0  # of the last, nanoseconds
        self._furthest = 0  # the end of what was heard before this cluster, nanoseconds
        self._mine = False  # whether the last block counts
        self._arriving: tuple[int, int | None] | None = None  # time and length of a block that has not all come

    def _result(self) -> Duration:
        """Return the header's word, unless blocks say otherwise, or it may be the length of a picture's track."""
        cut, walked = self._cut(), self._so_far()
        told = (self._promised - (self._first or 0)) * self._scale / SECOND
        alone = all(track.kind == AUDIO for track in self._tracks.values())
        if self._promised and alone and not cut and not self._further:
            if abs(told - walked) <= _SHORT:
                return Duration(plausible(told), "header")
            cut = told > walked
        if self._first is None and not self._done:
            return Duration(None, "unknown", cut)
        return Duration(plausible(walked), "walked", cut)

    def _cut(self) -> bool:
        if self._segment_end is None:
            return True
        if self._segment_end < _NEVER:
            return self._size < self._segment_end
        return not self._over and (self._ahead > 0 or bool(self._held))

    def _so_far(self) -> float:
        self._arrive()
        return self._done + self._walked()

    def _walked(self) -> float:
        if self._first is None:
            return 0.0
        delay = max((track.delay for track in self._tracks.values() if track.kind == AUDIO), default=0)
        end = max(self._furthest, self._time * self._scale + self._length)
        return max(0, end - self._first * self._scale - delay) / SECOND

    def _walk(self, data: bytes, at: int) -> int:
        self._arrive()
        end = len(data)
        while at < end:
            if self._in_cluster:
                whole = min(end, (self._segment_end or _NEVER) - self._origin)
                at = self._blocks(data if whole == end else data[: max(at, whole)], at)
                if at >= end:
                    break
            after = self._any(data, at)
            if after < 0:
                break
            at = after
        return at

    def _blocks(self, data: bytes, at: int) -> int:
        """Walk whole blocks from ``at``, which make up nearly all of a file; return where something else begins.

        Of those that count only the last is looked at: within a cluster, sound is in the order of time.
        """
        end = len(data)
        heard, first = (_NONE, self._heard) if self._first is None else (self._heard, _NONE)
        older = before = last = other = span = -1  # where elements begin: of blocks that count, or not; BlockDuration
        left, counter = 0, iter(range(self._left, 0, -1))
        try:
            for left in counter:  # noqa: B007  (read after the loop)
                kind = data[at]
                size = data[at + 1]
                if 0x84 <= size < 0xFF:
                    body = at + 2
                    after = body + size - 0x80
                elif 0x40 <= size < 0x7F:
                    body = at + 3
                    after = body + (size - 0x40 << 8 | data[at + 2])
                    if after - body < _LEAST:
                        break
                elif 0x80 <= size < 0x84 and kind not in _BLOCKS:
                    body = at + 2
                    after = body + size - 0x80
                else:
                    break
                if kind == _SIMPLE_BLOCK or kind == _BLOCK:  # noqa: SIM109  (a tuple is slower)
                    track = data[body]
                    if track in heard:
                        older = before
                        before = last
                        last = at
                    elif track < 0x80 or track in first:
                        break
                    else:
                        other = at
                else:
                    if kind < 0x80 or kind == _TIMESTAMP:
                        break
                    if kind == _GROUP:
                        after = body
                    elif after > end:
                        break
                    elif kind == _BLOCK_DURATION and (last > other or (self._mine and other < 0)):
                        span = at
                    next(counter, 0)  # it counts twice
                at = after
            else:
                left = 0
        except IndexError:  # the data end within an element's head
            pass
        if at > end:  # the last block has not all come: it is for later
            at, left = max(last, other), left + 1
            if at == last:
                last, before = before, older
        elif not left:
            left = self._pace(at)
        self._left = left
        self._note(data, before, last, other, span)
        return at

    def _note(self, data: bytes, before: int, last: int, other: int, span: int) -> None:
        """Take note of whole elements that were walked, by where they begin, -1 for none: of the last two blocks that
        count, of the last that does not, and of the duration of the last that counts.
        """
        if before >= 0:
            self._time = self._cluster + signed(data, _payload(data, before)[0] + 1)
        if last >= 0:
            body, size = _payload(data, last)
            self._hear(*self._measure(data[body : body + min(size, HEAD)], size))
        if last >= 0 or other >= 0:
            self._mine = last > other
        if span > last:
            body, size = _payload(data, span)
            self._block_duration(data[body : body + min(size, NUMBER)])

    def _any(self, data: bytes, at: int) -> int:
        """Deal with the element at ``at``, whatever it is; return where to go on, -1 when more of it is needed."""
        end, first = len(data), data[at]
        if self._segment_end is not None and self._origin + at >= self._segment_end and first not in _AFTER_SEGMENT:
            self._over = True
            return _NEVER
        if first < 0x10:
            raise NonsenseError("no identifier")
        sized = at + 9 - first.bit_length()
        if sized >= end:
            return self._hold(sized + 1 - at)
        if not data[sized]:
            raise NonsenseError("no size")
        body = sized + 9 - data[sized].bit_length()
        if body > end:
            return self._hold(body - at)
        identity, size = unsigned(data[at:sized]), unsigned(data[sized:body])
        unknown = (1 << 7 * (body - sized)) - 1
        size &= unknown
        if size == unknown:
            if identity not in (_SEGMENT, _CLUSTER):
                raise NonsenseError("an element without an end")
            size = _NEVER
        strange = self._in_cluster and identity < 0x100 and identity not in _CLUSTERED
        needed, read, master = _SKIPPED if strange else _ELEMENTS.get(identity, _SKIPPED)
        needed = min(needed, size)
        if body + needed > end:
            return self._hold(body + needed - at)
        payload, after = data[body : body + needed], body if master else body + size
        short = sized == at + 1 and (body == sized + 1 or (body == sized + 2 and size >= _LEAST))
        short = short and self._in_cluster and identity != _TIMESTAMP  # what _blocks walks, cut or not, costs the same
        if identity not in _BLOCKS:
            self._left -= _CHEAP if short else _DEAR
        else:
            self._left -= 1 if short and payload >= b"\x80" else _DEAR
        if self._left <= 0:
            self._left = self._pace(after)
        if sized == at + 4:  # only what stands beside a cluster, or above it, has so long an identifier
            self._in_cluster = False
        self._body = self._origin + body
        if read is not None:
            read(self, payload, size)
            if after <= end:
                self._arrive()
        return after

    def _hold(self, wanted: int) -> int:
        self._wanted = wanted
        return -1

    def _arrive(self) -> None:
        if self._arriving is not None and not self._ahead:
            arrived, self._arriving = self._arriving, None
            self._hear(*arrived)

    def _hear(self, time: int, length: int | None) -> None:
        """Note a block that has arrived. Where its length does not show, it is as long as the one before it was."""
        if self._first is None:
            self._first = self._time = time
        if length is None:
            length = min(max(0, time - self._time) * self._scale, _LONGEST_GUESS)
        self._time, self._length = time, length

    def _measure(self, head: bytes, size: int) -> tuple[int, int | None]:
        """Return a block's time in ticks and its length in nanoseconds, None where it does not show."""
        at = 9 - head[0].bit_length()
        number = unsigned(head[:at]) & (1 << 7 * at) - 1
        time = self._cluster + signed(head, at)
        track = self._tracks.get(number)
        return time, None if track is None else track.sounds(head[at + 2], head[at + 3 :], size - at - 3)

    def _start_document(self, _payload: bytes, _size: int) -> None:
        """Begin anew when this is not the first: documents may follow each other (RFC 8794 section 3)."""
        if self._segment_end is not None:
            self._done += self._walked()
            self._further = True
            self._begin()

    def _start_segment(self, _payload: bytes, size: int) -> None:
        self._segment_end = self._body + size

    def _start_track(self, _payload: bytes, _size: int) -> None:
        self._track = Track()

    def _start_cluster(self, _payload: bytes, _size: int) -> None:
        if self._first is None and self._tracks:
            audio = (number for number, track in self._tracks.items() if track.kind == AUDIO)
            self._heard = frozenset(0x80 | number for number in audio if number < 0x80)
        self._furthest = max(self._furthest, self._time * self._scale + self._length)
        self._in_cluster = True

    def _block(self, head: bytes, size: int) -> None:
        at = 9 - head[0].bit_length() if head else 0
        if not 0 < at <= 4 or len(head) < at + 3:
            raise NonsenseError("a block without a head")
        if at == 1:
            self._mine = head[0] in self._heard
        else:
            track = self._tracks.get(unsigned(head[:at]) & (1 << 7 * at) - 1)
            self._mine = track is not None and track.kind == AUDIO
        if self._mine:
            self._arriving = self._measure(head, size)

    def _block_duration(self, payload: bytes, _size: int = 0) -> None:
        if self._mine and len(payload) <= 8:
            self._length = integer(payload) * self._scale

    def _discard_padding(self, payload: bytes, _size: int) -> None:
        if self._mine:
            self._length = max(0, self._length - int.from_bytes(payload[:8], "big", signed=True))

    def _timestamp(self, payload: bytes, _size: int) -> None:
        self._cluster = integer(payload)

    def _timestamp_scale(self, payload: bytes, _size: int) -> None:
        self._scale = integer(payload)
        if not self._scale:
            raise NonsenseError("time that does not pass")

    def _duration(self, payload: bytes, _size: int) -> None:
        self._promised = floating(payload)

    def _track_number(self, payload: bytes, _size: int) -> None:
        if len(self._tracks) < _MAX_TRACKS:
            self._tracks[integer(payload)] = self._track

    def _track_type(self, payload: bytes, _size: int) -> None:
        self._track.kind = integer(payload)

    def _codec(self, payload: bytes, _size: int) -> None:
        self._track.codec = payload.rstrip(b"\0")

    def _default_duration(self, payload: bytes, _size: int) -> None:
        self._track.frame = integer(payload)

    def _codec_delay(self, payload: bytes, _size: int) -> None:
        self._track.delay = integer(payload)

    def _sampling_frequency(self, payload: bytes, _size: int) -> None:
        rate = floating(payload)
        self._track.rate = rate if rate >= 1 else 0.0

    def _channels(self, payload: bytes, _size: int) -> None:
        self._track.channels = integer(payload)

    def _bit_depth(self, payload: bytes, _size: int) -> None:
        self._track.bits = integer(payload)


def _payload(data: bytes, at: int) -> tuple[int, int]:
    """Return where the payload of an element begins, and its size, which is one or two bytes long."""
    if (size := data[at + 1]) >= 0x80:
        return at + 2, size - 0x80
    return at + 3, size - 0x40 << 8 | data[at + 2]


_SKIPPED: Final = _Element(0, None)
_ELEMENTS: Final = {
    0x1A45DFA3: _Element(0, WebmProbe._start_document),
    _SEGMENT: _Element(0, WebmProbe._start_segment, master=True),
    0x1549A966: _Element(0, None, master=True),  # Info
    0x2AD7B1: _Element(NUMBER, WebmProbe._timestamp_scale),
    0x4489: _Element(NUMBER, WebmProbe._duration),
    0x1654AE6B: _Element(0, None, master=True),  # Tracks
    0xAE: _Element(0, WebmProbe._start_track, master=True),
    0xD7: _Element(NUMBER, WebmProbe._track_number),
    0x83: _Element(NUMBER, WebmProbe._track_type),
    0x86: _Element(_MAX_CODEC, WebmProbe._codec),
    0x23E383: _Element(NUMBER, WebmProbe._default_duration),
    0x56AA: _Element(NUMBER, WebmProbe._codec_delay),
    0xE1: _Element(0, None, master=True),  # Audio
    0xB5: _Element(NUMBER, WebmProbe._sampling_frequency),
    0x9F: _Element(NUMBER, WebmProbe._channels),
    0x6264: _Element(NUMBER, WebmProbe._bit_depth),
    _CLUSTER: _Element(0, WebmProbe._start_cluster, master=True),
    _TIMESTAMP: _Element(NUMBER, WebmProbe._timestamp),
    _GROUP: _Element(0, None, master=True),
    _BLOCK: _Element(HEAD, WebmProbe._block),
    _SIMPLE_BLOCK: _Element(HEAD, WebmProbe._block),
    _BLOCK_DURATION: _Element(NUMBER, WebmProbe._block_duration),
    0x75A2: _Element(NUMBER, WebmProbe._discard_padding),
}
