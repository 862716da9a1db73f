"""Multipart bodies for the tests: built byte by byte, and read by a parser that is not the gateway's."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from email.message import Message

BOUNDARY = "----flow7MA4YWxkTrZu0gW"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
CLOSING = f"\r\n--{BOUNDARY}--\r\n".encode()


def audio(size: int = 4000, seed: int = 1) -> bytes:
    """Return ``size`` bytes that begin as a WAV file and go on like nothing that compresses."""
    header = (
        b"RIFF" + struct.pack("<I", size - 8) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16)
    )
    header += b"data" + struct.pack("<I", size - 44)
    return header + random.Random(seed).randbytes(size - len(header))


WAV = audio()


def field(name: str, value: str | bytes) -> bytes:
    """Return a text part without its delimiters: header block, blank line, value."""
    value = value.encode() if isinstance(value, str) else value
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value


def file(data: bytes = WAV, filename: str = "speech.wav", content_type: str | None = "audio/wav") -> bytes:
    """Return the file part without its delimiters."""
    lines = [f'Content-Disposition: form-data; name="file"; filename="{filename}"']
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def form(*parts: bytes, boundary: str = BOUNDARY) -> bytes:
    """Join parts into a whole body."""
    delimiter = f"--{boundary}".encode()
    return b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts) + delimiter + b"--\r\n"


def usual(data: bytes = WAV, model: str = "whisper-1") -> bytes:
    """Return what OpenAI's Python client sends: fields first, the file last."""
    return form(field("model", model), file(data))


@dataclass(frozen=True)
class Part:
    """One part as it was on the wire."""

    header: bytes
    payload: bytes

    def _message(self) -> Message:
        message = Message()
        for line in self.header.decode("latin-1").split("\r\n"):
            name, _, value = line.partition(":")
            message[name] = value.strip()
        return message

    @property
    def name(self) -> str | None:
        value = self._message().get_param("name", header="content-disposition")
        return value if isinstance(value, str) else None

    @property
    def filename(self) -> str | None:
        value = self._message().get_param("filename", header="content-disposition")
        return value if isinstance(value, str) else None


def parts_of(body: bytes, content_type: str) -> list[Part]:
    """Split a whole form. Delimiters are looked for as bytes: nothing is forgiven, nothing repaired."""
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_param("boundary")
    assert isinstance(boundary, str), f"no boundary in {content_type!r}"
    delimiter = f"\r\n--{boundary}".encode()
    preamble, *pieces, last = (b"\r\n" + body).split(delimiter)
    assert preamble == b"", f"a preamble: {preamble!r}"
    assert last.startswith(b"--"), f"no closing delimiter: {last!r}"
    parts = []
    for piece in pieces:
        assert piece.startswith(b"\r\n"), f"a delimiter is followed by {piece[:20]!r}"
        header, blank, payload = piece[2:].partition(b"\r\n\r\n")
        assert blank, f"a part without a blank line: {piece[:80]!r}"
        parts.append(Part(header, payload))
    return parts
