"""What Matroska says of a track, and how long one of its blocks sounds (RFC 9559; codec mappings at matroska.org)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from proxy.audio import opus

SECOND: Final = 1_000_000_000  # nanoseconds, in which Matroska counts

AUDIO: Final = 2  # a TrackType

HEAD: Final = 24  # bytes of a block that are read: track and time, flags, lacing, and the longest head of a FLAC frame


@dataclass(slots=True)
class Track:
    """One TrackEntry. ``frame`` is DefaultDuration and ``delay`` CodecDelay, both in nanoseconds, 0 when not given."""

    kind: int = 0
    codec: bytes = b""
    frame: int = 0
    delay: int = 0
    rate: float = 8_000.0  # RFC 9559 section 5.1.4.1.29: the defaults of Audio
    channels: int = 1
    bits: int = 0

    def sounds(self, flags: int, payload: bytes, size: int) -> int | None:
        """Return how long a block is in nanoseconds, None when it does not show.

        ``payload`` begins with what follows the block's ``flags``, of which there are ``size`` bytes in the block.
        """
        if self.codec.startswith(b"A_PCM") and self.rate > 0:
            return int(SECOND * size / (max(1, self.channels * self.bits // 8) * self.rate))
        if flags & 6:  # laced: a count less one comes first, then sizes
            return self.frame * (payload[0] + 1) if self.frame and payload else None
        if self.codec == b"A_OPUS":
            return opus.packet_samples(payload) * SECOND // opus.RATE
        if self.codec == b"A_FLAC" and self.rate > 0:
            return int(SECOND * _flac_samples(payload) / self.rate) or None
        return self.frame or None


def _flac_samples(head: bytes) -> int:
    """Return the samples of a FLAC frame by its ``head`` (RFC 9639 section 9.1), 0 when it does not show."""
    if len(head) < 5 or head[0] != 0xFF:
        return 0
    code = head[2] >> 4
    if code in (6, 7):  # the size less one stands behind a number of one to seven bytes, coded as UTF-8 does
        at = 4 + max(1, 8 - (head[4] ^ 0xFF).bit_length())
        size = code - 5
        return int.from_bytes(head[at : at + size], "big") + 1 if at + size <= len(head) else 0
    if code >= 8:
        return 256 << code - 8
    return 192 if code == 1 else 576 << code - 2 if code else 0
