"""The duration of Ogg (RFC 3533) with Opus (RFC 7845), Vorbis, FLAC or Speex in it, walked page by page.

A page's granule position counts the samples up to its end, so the last page of a stream says how long it is. Streams
side by side (multiplexed) last as long as the longest that is audio; streams one after the other (chained) add up.

A last page without the end-of-stream flag is not a file cut short: recorders that are stopped never write it, and
what arrived is whole. A page of which bytes are missing is.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final
from zlib import adler32

from proxy.audio import opus
from proxy.audio.duration import Duration, NonsenseError
from proxy.audio.walker import Walker, plausible

if TYPE_CHECKING:
    from collections.abc import Callable

_CAPTURE: Final = b"OggS"
_PAGE: Final = Struct("<4sBBqI8xB")  # capture, version, flags, granule, serial, (sequence, CRC), segments
_CONTINUED, _FIRST, _LAST = 1, 2, 4  # flags of a page
_IDENTIFIED: Final = 68  # bytes of a first packet that are read: Speex says its frames per packet last
_DEAR: Final = 6  # pages that are walked in the time that the first of a stream takes, or its first with audio
_MAX_STREAMS: Final = 16  # side by side: real files have sound, picture, subtitles, a skeleton; more are not followed
_MAX_JUNK: Final = 262_144  # bytes between pages in all: damage or a tag at the end; beyond, it is not Ogg


@dataclass(slots=True)
class _Stream:
    """One logical audio stream. Positions are granules: samples at ``rate``."""

    rate: int
    preroll: int = 0  # samples that are decoded and thrown away: Opus' pre-skip
    longest: int | None = None  # samples that a packet holds at most; None: an Opus packet says so itself
    start: int | None = None  # where it begins: not at 0 when a broadcast was joined
    end: int = 0

    @property
    def seconds(self) -> float:
        return max(0, self.end - (self.start or 0) - self.preroll) / self.rate


class OggProbe(Walker):
    """Walks the pages of an Ogg file. Held is at most one page (65307 bytes): the first of each stream with audio."""

    _DENSEST = 560  # pages: one for each Opus packet of digital silence has 31 bytes

    def __init__(self) -> None:
        super().__init__()
        self._done = 0.0  # seconds of the links before this one
        self._heard = False  # whether any audio stream has been seen
        self._streams: dict[int, _Stream] = {}  # of this link, by serial number
        self._opened = 0  # streams of this link, the unknown ones too
        self._begun = False  # whether this link has got past its first pages
        self._arriving: tuple[_Stream, int] | None = None  # the page whose payload has not all come, and its granule
        self._junk = 0

    def _so_far(self) -> float:
        self._arrive()
        return self._done + self._link()

    def _result(self) -> Duration:
        cut = self._ahead > 0 or (bool(self._held) and (_CAPTURE in self._held or _CAPTURE.startswith(self._held[-3:])))
        if not self._heard:
            return Duration(None, "unknown", cut)
        return Duration(plausible(self._so_far()), "walked", cut)

    def _walk(self, data: bytes, at: int) -> int:
        self._arrive()
        end, left, read = len(data), self._left, _PAGE.unpack_from
        while end - at >= _PAGE.size:
            capture, version, flags, granule, serial, segments = read(data, at)
            if capture != _CAPTURE or version or flags > 7:
                self._left = left
                at = self._resync(data, at)
                left = self._left
                continue
            body = at + 27 + segments
            if body > end:
                self._wanted = 27 + segments
                break
            # The low half of Adler-32 is 1 and the sum of the bytes, modulo 65521: more than 255 segments of 255 bytes.
            after = body + (adler32(data[at + 27 : body]) & 0xFFFF) - 1
            stream = self._streams.get(serial)
            if flags & _FIRST:
                needed = min(after, body + _IDENTIFIED)
                if needed > end:
                    self._wanted = needed - at
                    break
                self._open(serial, data[body:needed])
                stream = None
                left -= _DEAR
            elif stream is not None and stream.start is None and granule > 0:
                if after > end:
                    self._wanted = after - at
                    break
                stream.start = _start(stream.longest, granule, flags, data[at + 27 : body], data[body:after])
                self._begun = True
                left -= _DEAR + segments // 4
            elif not self._begun:
                self._begun = True
            left -= 1
            if left <= 0:
                left = self._pace(at)
            at = after
            if stream is not None and granule > stream.end:
                if after > end:
                    self._arriving = (stream, granule)
                else:
                    stream.end = granule
        else:
            self._wanted = _PAGE.size
        self._left = left
        return at

    def _arrive(self) -> None:
        if self._arriving is not None and not self._ahead:
            stream, granule = self._arriving
            stream.end = granule
            self._arriving = None

    def _link(self) -> float:
        return max((stream.seconds for stream in self._streams.values()), default=0.0)

    def _open(self, serial: int, packet: bytes) -> None:
        """Note a stream's first page. All of a link's come before any other: one that does not begins a new link."""
        if self._begun:
            self._done += self._link()
            self._streams, self._opened, self._begun = {}, 0, False
        self._opened += 1
        self._streams.pop(serial, None)
        stream = _identify(packet)
        if stream is not None and self._opened <= _MAX_STREAMS:
            self._streams[serial] = stream
            self._heard = True

    def _resync(self, data: bytes, at: int) -> int:
        """Return where the next page may begin; its first bytes may be the last three of ``data``."""
        found = data.find(_CAPTURE, at + 1)
        if found >= 0:
            self._left -= 1
            if self._left <= 0:
                self._left = self._pace(found)
        else:
            found = len(data) - len(_CAPTURE) + 1
        self._junk += found - at
        if self._junk > _MAX_JUNK:
            raise NonsenseError("no pages")
        return found


def _start(longest: int | None, granule: int, flags: int, lacing: bytes, payload: bytes) -> int:
    """Return the granule at which a stream begins whose first page with audio ends at ``granule``.

    That is 0, unless the page's packets cannot hold as much (RFC 7845 section 4.3: a broadcast that was joined). The
    last page may hold more than it counts: its end is trimmed.
    """
    if flags & _LAST:
        return 0
    if longest is None:
        held = _opus_samples(lacing, payload, skip_first=bool(flags & _CONTINUED))
    else:
        held = longest * (len(lacing) - lacing.count(255))
    return max(0, granule - held)


def _opus_samples(lacing: bytes, payload: bytes, *, skip_first: bool) -> int:
    """Return the samples of the packets that end on a page, but for a first one that began on the page before."""
    samples = at = length = 0
    for segment in lacing:
        length += segment
        if segment < 255:
            if not skip_first:
                samples += opus.packet_samples(payload, at)
            skip_first = False
            at += length
            length = 0
    return samples


def _identify(packet: bytes) -> _Stream | None:
    """Return the audio stream that begins with ``packet``; None when it is not audio, or of no known kind."""
    for magic, needed, read in _KINDS:
        if packet.startswith(magic) and len(packet) >= needed:
            stream = read(packet)
            return stream if stream.rate else None
    return None


def _opus(packet: bytes) -> _Stream:
    """RFC 7845 section 5.1. The rate it names is that of the original: granules always count 48 kHz."""
    return _Stream(opus.RATE, preroll=_little(packet, 10, 2))


def _vorbis(packet: bytes) -> _Stream:
    """Vorbis I section 4.2.2. A packet gives at most half of its longer block, overlapped with its neighbour's."""
    return _Stream(_little(packet, 12, 4), longest=1 << (packet[28] >> 4) >> 1)


def _flac(packet: bytes) -> _Stream:
    """FLAC's Ogg mapping (RFC 9639 section 10.1): STREAMINFO follows a head of 17 bytes."""
    return _Stream(int.from_bytes(packet[27:30], "big") >> 4, longest=int.from_bytes(packet[19:21], "big"))


def _speex(packet: bytes) -> _Stream:
    """The Speex manual, section 7.2."""
    return _Stream(_little(packet, 36, 4), longest=_little(packet, 56, 4) * max(1, _little(packet, 64, 4)))


def _little(packet: bytes, at: int, size: int) -> int:
    return int.from_bytes(packet[at : at + size], "little")


# A codec of which the first packet begins with fixed bytes is one more row: they, the bytes needed, the reader.
_KINDS: Final[tuple[tuple[bytes, int, Callable[[bytes], _Stream]], ...]] = (
    (b"OpusHead", 19, _opus),
    (b"\x01vorbis", 29, _vorbis),
    (b"\x7fFLAC", 30, _flac),
    (b"Speex   ", 68, _speex),
)
