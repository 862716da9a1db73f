"""The events of a stream that can tell what was used (WHATWG HTML, 9.2: server-sent events).

All others, the pieces of text and of base64 audio, are passed over unparsed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from proxy.metering.usage import usage_of

if TYPE_CHECKING:
    from proxy.metering.usage import Usage

_MAX_EVENT: Final = 524_288  # bytes: a last event with log probabilities for 2,000 tokens takes half of it
_MARK: Final = b'"usage"'  # within a string it would read \"usage\"
_BOM: Final = b"\xef\xbb\xbf"


class EventStream:
    """Push parser: chunks of an event stream in, cut anywhere; out comes the last usage that one told of.

    Never raises. Only an event's own ``usage`` counts: ``duration`` in an event may be that of one segment. An event
    over 512 KiB is passed over. The last one counts even without its blank line, if its JSON is whole.
    """

    def __init__(self) -> None:
        self._usage: Usage | None = None
        self._held = bytearray()  # of the event that has not ended, its lines ended by LF
        self._begun = False
        self._skipping = False
        self._after_return = False

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the stream; an empty chunk is none."""
        if not chunk:
            return
        if self._after_return and chunk[0] == 0x0A:
            chunk = chunk[1:]
        self._after_return = chunk.endswith(b"\r") if chunk else False
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        held = self._held
        seen = max(len(held) - 1, 0)
        held += chunk
        end = held.rfind(b"\n\n", seen)
        if end >= 0:
            self._events(held[:end])
            del held[: end + 2]
        if len(held) > _MAX_EVENT + 1:  # one more: it may be the line feed of a blank line
            self._skipping = True
            del held[:-1]

    def finish(self) -> Usage | None:
        """Return the last usage that the stream told of, None when there was none."""
        self._events(self._held)
        self._held.clear()
        return self._usage

    def _events(self, text: bytearray) -> None:
        """Read events that have ended."""
        if not self._begun:
            self._begun = True
            if text.startswith(_BOM):
                del text[: len(_BOM)]
        if self._skipping:
            self._skipping = False
            text = text.partition(b"\n\n")[2]
        if _MARK not in text:
            return
        for event in text.split(b"\n\n"):
            if _MARK in event and len(event) <= _MAX_EVENT:
                self._event(event)

    def _event(self, event: bytearray) -> None:
        try:
            document = orjson.loads(data_of(event))
        except ValueError:
            return
        if isinstance(document, dict):
            self._usage = usage_of({"usage": document.get("usage")}) or self._usage


def events_in(stream: bytes) -> list[bytes]:
    """Return the events of a whole stream, their lines ended by LF; the last one also without its blank line."""
    return stream.removeprefix(_BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n")


def data_of(event: bytes | bytearray) -> bytes:
    """Return the data of an event whose lines are ended by LF; the space before it, which JSON does not mind, stays."""
    return b"\n".join(line[5:] for line in event.split(b"\n") if line.startswith(b"data:"))
