"""The ID3v2 tag (id3.org, ID3v2.4.0 section 3.1), which stands before MP3 frames and, wrongly, before FLAC."""

from __future__ import annotations

from typing import Final

ID3_HEADER: Final = 10
"""Bytes of a tag's header: what :func:`id3_length` needs."""


def id3_length(head: bytes) -> int:
    """Return the whole length in bytes of the tag that ``head`` begins, header and footer included; 0: no tag."""
    if len(head) < ID3_HEADER or head[:3] != b"ID3" or 0xFF in head[3:5] or max(head[6:10]) > 0x7F:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    footer = ID3_HEADER if head[5] & 0x10 else 0
    return ID3_HEADER + size + footer
