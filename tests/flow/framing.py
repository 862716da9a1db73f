"""The framing of a request as the scripted upstream reads it: header fields, Content-Length, chunks."""

from __future__ import annotations


class Body:
    """Takes the framing off a request body: Content-Length or chunked (RFC 9112 section 7.1)."""

    def __init__(self, head: bytes) -> None:
        fields = dict(header_lines(head))
        self.framing = "none"
        self._left = 0  # bytes left of the body, or of the chunk
        self._line = b""  # a chunk-size or trailer line that is not whole yet
        self._trailers = False
        self.ended = True
        if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
            self.framing, self.ended = "chunked", False
        elif b"content-length" in fields:
            self.framing, self._left = "length", int(fields[b"content-length"])
            self.ended = self._left == 0

    def feed(self, data: memoryview) -> tuple[list[memoryview], memoryview]:
        """Return the body's bytes in ``data`` and what lies behind its end."""
        if self.framing == "length":
            mine, rest = data[: self._left], data[self._left :]
            self._left -= len(mine)
            self.ended = self._left == 0
            return [mine] if mine else [], rest
        pieces: list[memoryview] = []
        while data and not self.ended:
            if self._left > 2:  # the chunk's payload; its CRLF counts as its last two bytes
                mine, data = data[: self._left - 2], data[self._left - 2 :]
                pieces.append(mine)
                self._left -= len(mine)
            elif self._left:
                skip = min(self._left, len(data))
                data, self._left = data[skip:], self._left - skip
            else:
                data = self._take_line(data)
        return pieces, data

    def _take_line(self, data: memoryview) -> memoryview:
        chunk = bytes(data)
        end = chunk.find(b"\n")
        self._line += chunk if end < 0 else chunk[: end + 1]
        if end < 0:
            return data[len(data) :]
        line, self._line = self._line.strip(), b""
        if self._trailers:
            self.ended = not line
        else:
            size = int(line.split(b";")[0], 16)
            self._trailers = size == 0
            self._left = size + 2 if size else 0
        return data[end + 1 :]


def header_lines(head: bytes) -> list[tuple[bytes, bytes]]:
    """Split a head into (lower-case name, value) pairs, without the request line."""
    lines = head.split(b"\r\n")[1:]
    return [
        (name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines) if name
    ]
