"""Forms for the tests: written byte by byte, drawn by hypothesis, and read by a parser not the gateway's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hypothesis import strategies as st
from multipart import MultipartSegment, PushMultipartParser

BOUNDARY: Final = b"------------------------d74496d66958873e"


@dataclass(frozen=True)
class Part:
    name: str
    payload: bytes
    filename: str | None = None
    headers: str = ""  # more header lines, each with its CRLF

    def encode(self) -> bytes:
        disposition = f'Content-Disposition: form-data; name="{self.name}"'
        if self.filename is not None:
            disposition += f'; filename="{self.filename}"'
        return f"{disposition}\r\n{self.headers}\r\n".encode() + self.payload


MODEL: Final = Part("model", b"whisper-1")
FILE: Final = Part("file", b"RIFF\x24\x00\x00\x00WAVEfmt \r\n--\r\n", "a.wav", "Content-Type: audio/wav\r\n")


def field(name: str, value: str = "x") -> Part:
    return Part(name, value.encode())


def form(*parts: Part | bytes, boundary: bytes = BOUNDARY) -> bytes:
    """Return a whole body. A part given as bytes stands as it is between its delimiters."""
    encoded = [part.encode() if isinstance(part, Part) else part for part in parts]
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in encoded) + closing(boundary)


def closing(boundary: bytes = BOUNDARY) -> bytes:
    return b"--" + boundary + b"--"


def parsed(body: bytes, boundary: bytes = BOUNDARY) -> list[Part]:
    """Return the parts of ``body`` as an independent parser reads them."""
    found: list[Part] = []
    with PushMultipartParser(boundary, strict=True) as parser:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                found.append(Part(event.name, b"", event.filename))
            elif event is not None:
                last = found[-1]
                found[-1] = Part(last.name, last.payload + event, last.filename)
    return found


def boundaries() -> st.SearchStrategy[bytes]:
    alphabet = st.sampled_from("aB7'()+_,-./:=?")
    return st.text(alphabet, min_size=1, max_size=70).map(str.encode)


def payloads(boundary: bytes) -> st.SearchStrategy[bytes]:
    """Payloads full of what looks like a delimiter and is none."""
    bait = [
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n--",
        b"--",
        b"\r\n--" + boundary[:-1],
        b"\r\n-" + boundary,
        boundary,
        b"\0",
    ]
    piece = st.sampled_from(bait) | st.binary(max_size=20)
    joined = st.lists(piece, max_size=8).map(b"".join)
    return joined.filter(lambda payload: b"\r\n--" + boundary not in b"\r\n" + payload)


NAMES: Final = ["model", "language", "prompt", "include[]", "include", "x-unknown", "ünï", "a b", ""]


@st.composite
def forms(draw: st.DrawFn) -> tuple[bytes, list[Part]]:
    """A boundary and parts, one of them the file, in any order; names repeat."""
    boundary = draw(boundaries())
    fields = draw(st.lists(st.builds(Part, st.sampled_from(NAMES), payloads(boundary)), max_size=5))
    audio = Part("file", draw(payloads(boundary)), draw(st.sampled_from([None, "a.wav", "größe.mp3", "a%22b"])))
    at = draw(st.integers(0, len(fields)))
    return boundary, [*fields[:at], audio, *fields[at:]]
