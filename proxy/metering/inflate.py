"""Decompresses a reply beside its stream, bounded: what is damaged, or grows beyond all measure, is given up."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

# What one chunk of a compressed reply may grow to. JSON with a time for every word shrinks to a tenth; deflate can give
# a thousandfold, and does so only for what is meant to.
_GROWTH: Final = 32  # times its own size
_FREE_GROWTH: Final = 65_536  # bytes: small chunks may grow more, and a byte or two always does
_PIECE: Final = 65_536  # bytes that are inflated at a time

_GZIP, _ZLIB, _RAW = 31, 15, -15  # zlib's window sizes, which also say what is around the deflated data
_WINDOWS: Final = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}


class DamagedError(Exception):
    """Compressed data is no such thing, or grows to more than any honest reply would."""


class Inflater:
    """Takes the chunks of one compressed reply in their order, cut anywhere, and gives what they hold."""

    __slots__ = ("_begun", "_inflate", "_window")

    def __init__(self, window: int) -> None:
        self._window = window
        self._inflate = zlib.decompressobj(window)
        self._begun = False

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what ``chunk`` grows to, at most 64 KiB at a time. Raises DamagedError; nothing follows then."""
        if not chunk:
            return
        if not self._begun:
            self._begun = True
            # RFC 9110 8.4.1.2: some send deflate without the zlib format around it, whose first byte ends in 8.
            if self._window == _ZLIB and chunk[0] & 0x0F != 8:
                self._inflate = zlib.decompressobj(_RAW)
        inflate, allowed = self._inflate, _FREE_GROWTH + _GROWTH * len(chunk)
        while not inflate.eof:
            try:
                plain = inflate.decompress(chunk, _PIECE)
            except zlib.error as error:
                raise DamagedError from error
            yield plain
            allowed -= len(plain)
            if allowed < 0:
                raise DamagedError
            chunk = inflate.unconsumed_tail
            if not chunk and len(plain) < _PIECE:  # a full piece may have left some behind inside the decompressor
                return


def is_plain(content_encoding: str | None) -> bool:
    """Return whether a reply with this Content-Encoding is not compressed at all."""
    return not content_encoding or content_encoding.strip().lower() in {"identity", ""}


def inflater_for(content_encoding: str) -> Inflater | None:
    """Return what decompresses a reply with this Content-Encoding; None for br, zstd, and several at once.

    Audio routes ask upstreams for none at all.
    """
    window = _WINDOWS.get(content_encoding.strip().lower())
    return None if window is None else Inflater(window)
