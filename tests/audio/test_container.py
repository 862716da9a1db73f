"""What a file is, its first bytes say; what they do not say crosses."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.audio.container import (
    AAC,
    MP3,
    NEEDED,
    OPENAI_FORMATS,
    TEXT,
    UNKNOWN,
    WAV,
    accepts,
    sniff,
    unsupported_format,
)

VECTORS = Path(__file__).parents[1] / "vectors"
CONTAINERS = {".wav": "wav", ".flac": "flac", ".mp3": "mp3", ".m4a": "mp4", ".mp4": "mp4", ".ogg": "ogg"}
CONTAINERS |= {".webm": "webm", ".aac": "aac"}

TAKEN = {
    "RIFF WAVE": (b"RIFF\x24\x00\x00\x00WAVEfmt ", "wav"),
    "RF64": (b"RF64\xff\xff\xff\xffWAVEds64", "wav"),
    "BW64": (b"BW64\xff\xff\xff\xffWAVEds64", "wav"),
    "FLAC": (b"fLaC\x00\x00\x00\x22", "flac"),
    "MP3 with a tag": (b"ID3\x04\x00\x00", "mp3"),
    "MPEG 1 layer III": (b"\xff\xfb\x90\x64", "mp3"),
    "MPEG 1 layer III with CRC": (b"\xff\xfa\x90\x64", "mp3"),
    "MPEG 2 layer III": (b"\xff\xf3\x88\xc4", "mp3"),
    "MPEG 2.5 layer III": (b"\xff\xe3\x18\xc4", "mp3"),
    "MPEG 1 layer II": (b"\xff\xfd\x90\x04", "mp3"),
    "MPEG 1 layer I": (b"\xff\xff\x90\x04", "mp3"),
    "M4A": (b"\x00\x00\x00\x1cftypM4A \x00\x00", "mp4"),
    "QuickTime": (b"\x00\x00\x00\x14ftypqt  \x00\x00", "mp4"),
    "QuickTime without ftyp": (b"\x00\x00\x6e\x00moov\x00\x00\x00\x6cmvhd", "mp4"),
    "3GP": (b"\x00\x00\x00\x18ftyp3gp4", "mp4"),
    "Ogg": (b"OggS\x00\x02", "ogg"),
    "EBML": (b"\x1aE\xdf\xa3\x9f", "webm"),
    "Matroska": (
        b"\x1aE\xdf\xa3\xa3B\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x88matroska",
        "webm",
    ),
}

REFUSED = {
    "ADTS, MPEG 4": (b"\xff\xf1\x60\x40", "aac"),
    "ADTS, MPEG 2": (b"\xff\xf9\x50\x80", "aac"),
    "ADTS with CRC": (b"\xff\xf0\x50\x80", "aac"),
    "AMR": (b"#!AMR\n", "amr"),
    "AMR wide band": (b"#!AMR-WB\n", "amr"),
    "AIFF": (b"FORM\x00\x01\x7b\x92AIFFCOMM", "aiff"),
    "AIFF-C": (b"FORM\x00\x01\x7b\x92AIFCFVER", "aiff"),
    "CAF": (b"caff\x00\x01\x00\x00desc", "caf"),
    "WMA": (b"0&\xb2u\x8ef\xcf\x11\xa6\xd9\x00\xaa", "asf"),
    "AU": (b".snd\x00\x00\x00\x18", "au"),
    "AVI": (b"RIFF\x24\x00\x00\x00AVI LIST", "avi"),
    "PNG": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "png"),
    "JPEG": (b"\xff\xd8\xff\xe0\x00\x10JFIF", "jpeg"),
    "GIF": (b"GIF89a\x01\x00", "gif"),
    "WebP": (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "webp"),
    "HEIF": (b"\x00\x00\x00\x18ftypheic\x00\x00", "heif"),
    "ZIP": (b"PK\x03\x04\x14\x00", "zip"),
    "empty ZIP": (b"PK\x05\x06" + bytes(18), "zip"),
    "gzip": (b"\x1f\x8b\x08\x00", "gzip"),
    "7-Zip": (b"7z\xbc\xaf\x27\x1c\x00\x04", "7z"),
    "RAR": (b"Rar!\x1a\x07\x01\x00", "rar"),
    "Zstandard": (b"\x28\xb5\x2f\xfd\x04", "zstd"),
    "XZ": (b"\xfd7zXZ\x00\x00\x04", "xz"),
    "PDF": (b"%PDF-1.7\n", "pdf"),
    "ELF": (b"\x7fELF\x02\x01\x01", "elf"),
    "Windows program": (b"MZ\x90\x00\x03\x00\x00\x00", "exe"),
    "HTML": (b"<!DOCTYPE html>\n<html><head>", "html"),
    "HTML after spaces": (b"\n\n  <html lang='en'><head>", "html"),
    "XML": (b'<?xml version="1.0" encoding="UTF-8"?>', "xml"),
    "JSON": (b'{"error": "no such recording"}', "json"),
    "text": (b"this is not audio", "text"),
    "text in UTF-8": ("Größenänderung der Übung".encode(), "text"),
    "text in UTF-8, cut in a character": (("a" + "ä" * 40).encode(), "text"),
    "text after a byte-order mark": ("\ufeffthis is not audio".encode(), "text"),
}

PASSED = {
    "nothing": b"",
    "one byte": b"\xff",
    "few letters": b"not audio",
    "zeros": bytes(64),
    "raw PCM": bytes(range(128, 192)),
    "an address": b"https://example.org/recordings/1.wav",
    "an address, plain": b"HTTP://example.org/recordings/1.wav",
    "a data URL": b"data:audio/wav;base64,UklGRiQAAABXQVZF",
    "RIFF of another kind": b"RIFF\x24\x00\x00\x00RMIDdata",
    "RIFF, cut": b"RIFF\x24\x00",
    "a frame header with a reserved version": b"\xff\xeb\x90\x64",
    "a frame header with a reserved bit rate": b"\xff\xfb\xf0\x64",
    "a frame header with a reserved sampling rate": b"\xff\xfb\x9c\x64",
    "a frame header with a reserved emphasis": b"\xff\xfb\x90\x66",
    "ADTS with a reserved sampling rate": b"\xff\xf1\x7c\x40",
    "text in UTF-16": "this is not audio".encode("utf-16-be"),
    "text in Latin-1": "Größenänderung der Übung".encode("latin-1"),
    "text with a NUL": b"this is not audio\0",
    "the two letters that programs begin with": b"MZ\x01\x02",
}


@pytest.mark.parametrize(
    "path", sorted(VECTORS.glob("*.[!m]*")) + sorted(VECTORS.glob("*.m[!d]*")), ids=lambda p: p.name
)
def test_every_real_file_is_known_by_its_first_bytes(path: Path) -> None:
    head = path.read_bytes()[:NEEDED]
    assert sniff(head).name == CONTAINERS[path.suffix]
    assert accepts(sniff(head), OPENAI_FORMATS) == (path.suffix != ".aac")


@pytest.mark.parametrize(("head", "name"), TAKEN.values(), ids=TAKEN.keys())
def test_what_openai_takes_is_taken(head: bytes, name: str) -> None:
    container = sniff(head)
    assert (container.name, container.openai, container.known) == (name, True, True)
    assert accepts(container, OPENAI_FORMATS)


@pytest.mark.parametrize(("head", "name"), REFUSED.values(), ids=REFUSED.keys())
def test_what_openai_does_not_take_is_known_and_refused(head: bytes, name: str) -> None:
    container = sniff(head)
    assert (container.name, container.openai, container.known) == (name, False, True)
    assert not accepts(container, OPENAI_FORMATS)
    assert accepts(container, None)


@pytest.mark.parametrize("head", PASSED.values(), ids=PASSED.keys())
def test_what_shows_nothing_known_crosses(head: bytes) -> None:
    assert sniff(head) is UNKNOWN
    assert not UNKNOWN.known
    assert accepts(UNKNOWN, frozenset())


@pytest.mark.parametrize(
    ("formats", "container", "accepted"),
    [
        ({"wav"}, WAV, True),
        ({"flac"}, WAV, False),
        ({"mpga"}, MP3, True),
        ({"mpeg"}, MP3, True),
        ({"wav", "aac"}, AAC, True),
        ({"wav"}, TEXT, False),
        ((), TEXT, False),
    ],
)
def test_a_providers_own_list_decides(formats: set[str], container: object, accepted: bool) -> None:
    assert accepts(container, frozenset(formats)) is accepted  # type: ignore[arg-type]


def test_the_refusal_speaks_openais_words() -> None:
    refusal = unsupported_format(OPENAI_FORMATS, AAC)
    assert refusal.message.startswith(
        "Invalid file format. Supported formats: "
        "['flac', 'm4a', 'mp3', 'mp4', 'mpeg', 'mpga', 'oga', 'ogg', 'wav', 'webm']"
    )
    assert "raw AAC (ADTS)" in refusal.message
    assert (refusal.code, refusal.status, refusal.param) == ("unsupported_format", 400, "file")


@given(st.binary(min_size=NEEDED, max_size=NEEDED), st.binary())
def test_bytes_past_the_head_never_change_the_verdict(head: bytes, more: bytes) -> None:
    assert sniff(head + more) is sniff(head)


@given(st.sampled_from([case[0] for case in (*TAKEN.values(), *REFUSED.values())]), st.binary(max_size=NEEDED))
def test_any_tail_is_read_without_error(magic: bytes, tail: bytes) -> None:
    for end in range(len(magic) + 1):
        sniff(magic[:end] + tail)
