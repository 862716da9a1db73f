"""Which container a file is, by its first bytes; its name and its declared type prove nothing.

A false refusal is worse than a false pass: the provider looks again. So only what is certain gets a name, and
everything else is ``unknown`` and crosses.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable

NEEDED: Final = 64
"""Bytes of a file after which :func:`sniff` never changes its mind."""

OPENAI_FORMATS: Final = frozenset({"flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "wav", "webm"})
"""What OpenAI takes, in its own words (API reference and the text of its refusal)."""


@dataclass(frozen=True, slots=True)
class Container:
    """What a file's first bytes show.

    ``name`` goes into records; ``looks_like`` ends the sentence "The file looks like ..."; ``words`` are the
    file formats, in the words that providers use in their lists, which this container may go by.
    """

    name: str
    looks_like: str
    words: frozenset[str] = frozenset()

    @property
    def known(self) -> bool:
        """Whether the bytes showed anything at all."""
        return self.name != "unknown"

    @property
    def openai(self) -> bool:
        """Whether OpenAI's list covers this container."""
        return bool(self.words & OPENAI_FORMATS)


UNKNOWN: Final = Container("unknown", "nothing known")
WAV: Final = Container("wav", "a WAV file", frozenset({"wav"}))
FLAC: Final = Container("flac", "a FLAC file", frozenset({"flac"}))
MP3: Final = Container("mp3", "an MP3 file", frozenset({"mp3", "mpeg", "mpga"}))
MP4: Final = Container("mp4", "an MP4 file", frozenset({"mp4", "m4a"}))
OGG: Final = Container("ogg", "an Ogg file", frozenset({"ogg", "oga", "opus"}))
WEBM: Final = Container("webm", "a WebM file", frozenset({"webm"}))  # Matroska too: DocType may lie past the head
AAC: Final = Container("aac", "raw AAC (ADTS)", frozenset({"aac"}))
TEXT: Final = Container("text", "plain text")
HTML: Final = Container("html", "an HTML page")
XML: Final = Container("xml", "an XML document")
JSON: Final = Container("json", "a JSON document")
_WEBP: Final = Container("webp", "a WebP picture")
_HEIF: Final = Container("heif", "a HEIF picture")
_AVI: Final = Container("avi", "an AVI file", frozenset({"avi"}))
_AIFF: Final = Container("aiff", "an AIFF file", frozenset({"aiff"}))
_AMR: Final = Container("amr", "an AMR file", frozenset({"amr"}))
_CAF: Final = Container("caf", "a CAF file", frozenset({"caf"}))
_ASF: Final = Container("asf", "a Windows Media file", frozenset({"wma"}))
_AU: Final = Container("au", "a Sun AU file", frozenset({"au"}))
_GIF: Final = Container("gif", "a GIF picture")
_ZIP: Final = Container("zip", "a ZIP archive")
_EXE: Final = Container("exe", "a program")

# A format that begins with fixed bytes is one row here; anything else is one probe below.
_MAGIC: Final = (
    (b"ID3", MP3),  # FLAC may follow the tag, past the head: still a file that every list covers
    (b"fLaC", FLAC),
    (b"OggS", OGG),
    (b"\x1aE\xdf\xa3", WEBM),  # EBML, RFC 8794
    (b"#!AMR", _AMR),  # RFC 4867 section 5
    (b"caff\x00\x01", _CAF),
    (b"0&\xb2u\x8ef\xcf\x11", _ASF),
    (b".snd", _AU),
    (b"\x89PNG\r\n\x1a\n", Container("png", "a PNG picture")),
    (b"\xff\xd8\xff", Container("jpeg", "a JPEG picture")),
    (b"GIF87a", _GIF),
    (b"GIF89a", _GIF),
    (b"PK\x03\x04", _ZIP),
    (b"PK\x05\x06", _ZIP),
    (b"\x1f\x8b\x08", Container("gzip", "a gzip archive")),
    (b"7z\xbc\xaf\x27\x1c", Container("7z", "a 7-Zip archive")),
    (b"Rar!\x1a\x07", Container("rar", "a RAR archive")),
    (b"\x28\xb5\x2f\xfd", Container("zstd", "a Zstandard archive")),
    (b"\xfd7zXZ\x00", Container("xz", "an XZ archive")),
    (b"%PDF-", Container("pdf", "a PDF document")),
    (b"\x7fELF", Container("elf", "a program")),
    (b"MZ\x90\x00", _EXE),
    (b"MZ\x50\x00", _EXE),
)

_BY_FIRST_BYTE: Final = {
    magic[:1]: tuple(row for row in _MAGIC if row[0][:1] == magic[:1]) for magic, _container in _MAGIC
}


def sniff(head: bytes) -> Container:
    """Return the container of a file that begins with ``head`` (:data:`NEEDED` bytes, or the whole file)."""
    head = head[:NEEDED]
    for magic, container in _BY_FIRST_BYTE.get(head[:1], ()):
        if head.startswith(magic):
            return container
    for probe in _PROBES:
        if (found := probe(head)) is not None:
            return found
    return UNKNOWN


def accepts(container: Container, formats: frozenset[str] | None) -> bool:
    """Return whether a provider that takes ``formats`` may be sent ``container``. None takes anything."""
    return formats is None or not container.known or bool(container.words & formats)


def unsupported_format(formats: frozenset[str], container: Container) -> GatewayError:
    """Return the refusal of ``container``, in OpenAI's wording (recorded: its 400 for such files)."""
    return GatewayError(
        "unsupported_format",
        f"Invalid file format. Supported formats: {sorted(formats)} "
        f"The file looks like {container.looks_like}: convert it to one of these.",
        param="file",
    )


_RIFF_KINDS: Final = {
    b"RIFFWAVE": WAV,
    b"RF64WAVE": WAV,
    b"BW64WAVE": WAV,
    b"RIFFWEBP": _WEBP,
    b"RIFFAVI ": _AVI,
    b"FORMAIFF": _AIFF,
    b"FORMAIFC": _AIFF,
}


def _riff(head: bytes) -> Container | None:
    """Files that carry their kind in bytes 8 to 11 (RIFF; RF64 and BW64: ITU-R BS.2088; AIFF)."""
    return _RIFF_KINDS.get(head[:4] + head[8:12])


def _iso_media(head: bytes) -> Container | None:
    """ISO base media (ISO 14496-12): a box type in bytes 4 to 7; QuickTime's oldest have no ``ftyp``."""
    if head[4:8] == b"ftyp":
        return _HEIF if head[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"avif") else MP4
    return MP4 if head[4:8] in (b"moov", b"mdat", b"wide") else None


def _mpeg(head: bytes) -> Container | None:
    """An MPEG audio frame header (ISO 11172-3), or ADTS (ISO 13818-7) in what is its reserved layer 0."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    if layer == 0:
        sampling_index = head[2] >> 2 & 0xF  # 13 to 15 are reserved
        return AAC if head[1] & 0xF0 == 0xF0 and sampling_index < 13 else None
    bitrate, sampling_rate, emphasis = head[2] >> 4, head[2] >> 2 & 3, head[3] & 3
    return None if version == 1 or bitrate == 15 or sampling_rate == 3 or emphasis == 2 else MP3


_TEXT_MINIMUM: Final = 16  # fewer printable bytes can be chance
_PASSED_ON: Final = (
    "http://",
    "https://",
    "data:",
)  # Groq, Together and Lemonfox take an address in place of a file


def _text(head: bytes) -> Container | None:
    """Nothing but printable UTF-8."""
    if len(head) < _TEXT_MINIMUM:
        return None
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return None
    text = text.removeprefix("\ufeff")
    if not all(letter.isprintable() or letter in "\t\n\f\r" for letter in text):
        return None
    start = text.lstrip().lower()
    if start.startswith(_PASSED_ON):
        return UNKNOWN
    if start.startswith(("<!doctype html", "<html")):
        return HTML
    if start.startswith(("<?xml", "<svg")):
        return XML
    return JSON if start.startswith(("{", "[")) else TEXT


_PROBES: Final[tuple[Callable[[bytes], Container | None], ...]] = (_riff, _iso_media, _mpeg, _text)
