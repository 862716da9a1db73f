"""The one reader of multipart/form-data (RFC 7578; RFC 2046 section 5.1), under observer and rewriter alike.

Every byte of the body belongs to exactly one event, so that joining the events' ``raw`` gives the body back.
Two readers with two ideas of where a part begins would let a client show us one form and the upstream
another; hence one, and it refuses what servers are known to read in different ways.

It does not stand on ``multipart.PushMultipartParser``, which gives no raw header bytes, and whose verdict on
a bare LF, on a preamble and on a header line of the greatest length hangs on where the network cut the body.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from proxy.errors import GatewayError
from proxy.form.part import PartHead, parse_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, slots=True)
class FormLimits:
    """How much of a form that is not the file may be held or skipped. Sizes in bytes."""

    max_field_bytes: int = 262_144  # known_speaker_references[] are data URLs of 10 s of audio
    max_fields_bytes: int = 4 * 262_144  # OpenAI allows four such references
    max_parts: int = 64  # OpenAI's own form has fewer than 20 names
    max_header_bytes: int = 8_192  # of one part: a file name of 255 characters, percent-encoded, and room
    max_margin_bytes: int = 4_096  # preamble and epilogue, each: nobody reads them, some write a line


# The events are made by the thousand; a frozen dataclass takes three times as long to make.


@dataclass(slots=True)
class Margin:
    """Bytes before the first delimiter (preamble) or after the closing one (epilogue)."""

    raw: bytes


@dataclass(slots=True)
class PartStarted:
    """A part's delimiter and its whole header block, blank line included."""

    raw: bytes
    head: PartHead


@dataclass(slots=True)
class Payload:
    """A piece of the current part's payload: the very chunk that was fed, when all of it is payload."""

    raw: bytes


@dataclass(slots=True)
class PartEnded:
    """The CRLF that ends a payload; it belongs to the delimiter after it, but goes where the part goes."""

    raw: bytes = b"\r\n"


@dataclass(slots=True)
class FormEnded:
    """The closing delimiter."""

    raw: bytes


Event: TypeAlias = Margin | PartStarted | Payload | PartEnded | FormEnded
# Events and how many bytes were taken; None when more bytes are needed.
_Step: TypeAlias = "tuple[tuple[Event, ...], int] | None"

_NEAR: Final = 256  # bytes: longer than a model's name, a language or a temperature


class Scanner:
    """Push parser: chunks of a body in, events out, in order.

    ``feed`` is a generator that must be run to its end before the next chunk; it raises :class:`GatewayError`
    (``invalid_multipart``, ``field_too_large``) after the events that precede the fault. The verdict never
    hangs on where the body was cut. Held back are: the preamble, a part's headers, and a payload's tail that
    may be a delimiter's head.
    """

    def __init__(self, boundary: bytes, limits: FormLimits) -> None:
        self._dashed = b"--" + boundary
        self._delimiter = b"\r\n--" + boundary
        self._limits = limits
        self._held = b""
        self._parts = 0
        self._epilogue = 0
        self._state: Callable[[Scanner, bytes, int], _Step] = Scanner._in_preamble

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield the events that ``chunk`` completes."""
        data = self._held + chunk  # nothing held, as is usual: CPython hands back ``chunk`` itself, no copy
        at = 0
        while at < len(data):
            step = self._state(self, data, at)
            if step is None:
                break
            events, taken = step
            at += taken
            yield from events
        self._held = data[at:]

    def finish(self) -> None:
        """Take note that the body has ended.

        Raises ``truncated_upload`` when the closing delimiter has not come, ``invalid_multipart`` when none
        ever did.
        """
        if self._state is Scanner._in_epilogue:
            return
        if self._state is Scanner._in_preamble and not self._dashed.startswith(self._held):
            raise GatewayError(
                "invalid_multipart",
                "The boundary that Content-Type declares does not begin any part of the body. "
                "Let the HTTP client write both.",
            )
        raise GatewayError(
            "truncated_upload",
            "The upload ended before the form's closing boundary. Send it again, in full.",
        )

    def _in_preamble(self, data: bytes, at: int) -> _Step:
        index = data.find(self._dashed, at)
        earliest = index if index >= 0 else len(data) - len(self._dashed) + 1
        if earliest - at > self._limits.max_margin_bytes:
            raise GatewayError(
                "invalid_multipart",
                f"No part begins within the first {self._limits.max_margin_bytes} bytes. "
                "Is the boundary in Content-Type the one in the body?",
            )
        if index < 0:
            return None
        if index > at and not data.endswith(b"\r\n", at, index):
            raise GatewayError("invalid_multipart", "The first boundary does not stand at the start of a line.")
        self._state = Scanner._at_delimiter
        return ((Margin(data[at:index]),) if index > at else ()), index - at

    def _at_delimiter(self, data: bytes, at: int) -> _Step:
        end = at + len(self._dashed) + 2
        if len(data) < end:
            return None
        tail = data[end - 2 : end]
        if tail == b"--":
            self._state = Scanner._in_epilogue
            return (FormEnded(data[at:end]),), end - at
        if tail != b"\r\n":
            raise GatewayError(
                "invalid_multipart",
                "A boundary is not followed by CRLF or '--'. Choose one that does not occur in the file.",
            )
        self._parts += 1
        if self._parts > self._limits.max_parts:
            raise GatewayError(
                "field_too_large",
                f"The form has more than {self._limits.max_parts} parts. Send fewer fields.",
            )
        self._state = Scanner._in_headers
        return (), 0

    def _in_headers(self, data: bytes, at: int) -> _Step:
        begin = at + len(self._dashed) + 2
        if data.startswith(b"\r\n", begin):
            raise GatewayError("invalid_multipart", "A part of the form has no headers. Name every field.")
        end = data.find(b"\r\n\r\n", begin)
        size = (end if end >= 0 else len(data) - 3) - begin
        if size > self._limits.max_header_bytes:
            raise GatewayError(
                "field_too_large",
                f"A part has more than {self._limits.max_header_bytes} bytes of headers. Shorten the name.",
            )
        if end < 0:
            return None
        head = parse_head(data[begin:end])
        self._state = Scanner._at_payload
        return (PartStarted(data[at : end + 4], head),), end + 4 - at

    def _at_payload(self, data: bytes, at: int) -> _Step:
        # RFC 2046 lets a part end right at its blank line; some servers take that for payload, some for an
        # empty part.
        begin = data[at : at + len(self._dashed)]
        if begin == self._dashed:
            raise GatewayError(
                "invalid_multipart",
                "A boundary follows a part's headers at once. Write an empty line between.",
            )
        if self._dashed.startswith(begin):
            return None
        self._state = Scanner._in_payload
        return (), 0

    def _in_payload(self, data: bytes, at: int) -> _Step:
        # Most parts are short fields: their end is near. For the file, rfind answers "none in here" up to three times
        # faster than find does in CPython, so find is left for a chunk with two delimiters ahead.
        index = data.find(self._delimiter, at, at + _NEAR)
        if index < 0:
            index = data.rfind(self._delimiter, at)
            if index >= 0 and data.rfind(self._delimiter, at, index) >= 0:
                index = data.find(self._delimiter, at)
        if index >= 0:
            self._state = Scanner._at_delimiter
            payload = (Payload(data[at:index]),) if index > at else ()
            return (*payload, PartEnded()), index + 2 - at
        end = len(data)
        tail = data.rfind(b"\r", max(at, end - len(self._delimiter) + 1))
        if tail >= 0 and self._delimiter.startswith(data[tail:]):
            end = tail
        return ((Payload(data[at:end]),), end - at) if end > at else None

    def _in_epilogue(self, data: bytes, at: int) -> _Step:
        self._epilogue += len(data) - at
        if self._epilogue > self._limits.max_margin_bytes:
            raise GatewayError(
                "invalid_multipart",
                f"More than {self._limits.max_margin_bytes} bytes follow the closing boundary. End there.",
            )
        return (Margin(data[at:]),), len(data) - at
