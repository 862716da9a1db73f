"""A few members of one large JSON object, picked out as it passes; nothing else of it is kept.

A transcript with the time of every word runs to many megabytes, of which the usage is a hundred bytes, near the
beginning or at the very end. Parsing it whole would hold it in memory several times over and stop the loop for as long
as that takes. What is not wanted is skipped by patterns in C: some hundred megabytes a second.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable

_SPACE: Final = re.compile(rb"[ \t\n\r]*+")
_SCALAR: Final = re.compile(rb"[^,}\]\"{\[]*+")

# No pattern gives back what it has taken, so each is linear in what it reads. A string, or an object or array that
# holds no other, is passed in one go where it ends within the chunk; else the pattern stops in front of it.
_REST_OF_STRING: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_STRING: Final = b'"' + _REST_OF_STRING.pattern + b'"'
_PLAIN: Final = rb'[^"{}\[\]]*+'
_LEAF: Final = rb"[{\[]" + _PLAIN + b"(?:" + _STRING + _PLAIN + rb")*+[}\]]"
_NESTED: Final = re.compile(_PLAIN + b"(?:(?:" + _STRING + b"|" + _LEAF + b")" + _PLAIN + b")*+", re.DOTALL)

_MAX_NAME: Final = 256  # bytes: no wanted name is longer, even with every letter escaped
_MAX_MEMBER: Final = 16_384  # bytes of one wanted member: the longest known is Deepgram's metadata, of some hundred
_MAX_DEPTH: Final = 1_024  # the depth that orjson allows

# A chunk may cost this many steps of Python and one more for every so many bytes: replies take one in 20 bytes at the
# most, and a document of nothing but brackets would stop the loop for tens of milliseconds.
_FREE_STEPS: Final = 1_000
_BYTES_A_STEP: Final = 8

_QUOTE, _BACKSLASH, _COMMA, _COLON = b'"\\,:'
_OPEN, _CLOSE = b"{}"
_OPENING: Final = b"{["


class _NonsenseError(Exception):
    """This is no JSON object, or none that a provider would send. Never seen outside."""


class TopLevel:
    """Push parser: chunks of one JSON object (RFC 8259) in, cut anywhere; its ``wanted`` members out, parsed.

    Never raises. Of what it skips only strings and brackets are looked at; a document that orjson would take gives the
    same members here, but for one that is all brackets, and for a wanted member over 16 KiB, which is left out.
    """

    def __init__(self, wanted: frozenset[str]) -> None:
        self._wanted = wanted
        self._members: dict[str, Any] = {}
        self._state: Callable[[TopLevel, bytes, int], int] = TopLevel._before
        self._lost = False
        self._name = bytearray()
        self._member: str | None = None  # the wanted one that is being read
        self._kept = bytearray()
        self._depth = 0  # brackets open within the value
        self._in_string = False
        self._escaped = False  # the last chunk ended right behind a string's backslash
        self._steps = 0  # that this chunk may still take

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the document; an empty chunk is none."""
        if self._lost:
            return
        self._steps = _FREE_STEPS + len(chunk) // _BYTES_A_STEP
        at, end = 0, len(chunk)
        try:
            while at < end:
                self._step()
                at = self._state(self, chunk, at)
        except _NonsenseError:
            self._lost = True
            self._members.clear()
            self._kept.clear()

    def finish(self) -> dict[str, Any] | None:
        """Return the wanted members; None when the bytes were not one whole JSON object."""
        return self._members if self._state is TopLevel._after and not self._lost else None

    def _step(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise _NonsenseError

    def _before(self, data: bytes, at: int) -> int:
        return self._punctuation(data, at, {_OPEN: TopLevel._before_first})

    def _before_first(self, data: bytes, at: int) -> int:
        return self._punctuation(data, at, {_QUOTE: TopLevel._in_name, _CLOSE: TopLevel._after})

    def _before_name(self, data: bytes, at: int) -> int:
        return self._punctuation(data, at, {_QUOTE: TopLevel._in_name})

    def _in_name(self, data: bytes, at: int) -> int:
        self._in_string = True
        end, closed = self._string(data, at)
        if len(self._name) <= _MAX_NAME:
            self._name += data[at:end]
        if closed:
            self._state = TopLevel._behind_name
            name = _parsed(b'"' + self._name) if len(self._name) <= _MAX_NAME else None
            self._member = name if name in self._wanted else None
            self._name.clear()
        return end

    def _behind_name(self, data: bytes, at: int) -> int:
        return self._punctuation(data, at, {_COLON: TopLevel._before_value})

    def _before_value(self, data: bytes, at: int) -> int:
        start = _end(_SPACE, data, at)
        if start < len(data):
            first = data[start]
            self._in_string = first == _QUOTE
            self._depth = 1 if first in _OPENING else 0
            self._state = TopLevel._in_value
            if self._in_string or self._depth:
                self._keep(data[start : start + 1])
                start += 1
        return start

    def _in_value(self, data: bytes, at: int) -> int:
        end = self._through_value(data, at)
        self._keep(data[at:end])
        if self._state is TopLevel._behind_value and self._member is not None:
            self._members[self._member] = _parsed(self._kept)
            self._kept.clear()
        return end

    def _through_value(self, data: bytes, at: int) -> int:
        """Return where the value ends, or the data does; the state says which."""
        end = len(data)
        while at < end:
            self._step()
            if self._in_string:
                at, closed = self._string(data, at)
                if closed and self._depth == 0:
                    self._state = TopLevel._behind_value
                    return at
            elif self._depth == 0:
                at = _end(_SCALAR, data, at)
                if at < end:
                    self._state = TopLevel._behind_value
                return at
            else:
                at = _end(_NESTED, data, at)
                if at < end:
                    self._mark(data[at])
                    at += 1
                    if self._depth == 0:
                        self._state = TopLevel._behind_value
                        return at
        return at

    def _mark(self, byte: int) -> None:
        """Take a quote or a bracket within a nested value."""
        if byte == _QUOTE:
            self._in_string = True
        elif byte in _OPENING:
            self._depth += 1
            if self._depth >= _MAX_DEPTH:
                raise _NonsenseError
        else:
            self._depth -= 1

    def _behind_value(self, data: bytes, at: int) -> int:
        return self._punctuation(data, at, {_COMMA: TopLevel._before_name, _CLOSE: TopLevel._after})

    def _after(self, data: bytes, at: int) -> int:
        return self._punctuation(data, at, {})

    def _punctuation(self, data: bytes, at: int, leads_to: dict[int, Callable[[TopLevel, bytes, int], int]]) -> int:
        """Pass white space and one of the bytes that may follow it."""
        at = _end(_SPACE, data, at)
        if at < len(data):
            state = leads_to.get(data[at])
            if state is None:
                raise _NonsenseError
            self._state = state
            at += 1
        return at

    def _string(self, data: bytes, at: int) -> tuple[int, bool]:
        """Return where the string ends, behind its quote, or the data does; and whether the string does."""
        if self._escaped:
            self._escaped = False
            at += 1
        at = _end(_REST_OF_STRING, data, at)
        if at == len(data):
            return at, False
        self._escaped = data[at] == _BACKSLASH  # the last byte there is, or the pattern had passed it
        self._in_string = self._escaped
        return at + 1, not self._escaped

    def _keep(self, piece: bytes) -> None:
        if self._member is None:
            return
        self._kept += piece
        if len(self._kept) > _MAX_MEMBER:
            self._members.pop(self._member, None)
            self._member = None
            self._kept.clear()


def _end(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    """Return where a pattern that also matches nothing ends."""
    match = pattern.match(data, at)
    return match.end() if match is not None else at


def _parsed(text: bytes | bytearray) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        raise _NonsenseError from None
