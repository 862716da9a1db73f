"""A part's headers: every spelling that clients use, and none that two servers read in two ways."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import GatewayError
from proxy.form.part import PartHead, decoded, parse_head

READ = {
    'Content-Disposition: form-data; name="model"': PartHead("model"),
    'content-disposition:form-data;name="model"': PartHead("model"),
    "Content-Disposition: form-data; name=model": PartHead("model"),
    "Content-Disposition: Form-Data; NAME=model": PartHead("model"),
    'Content-Disposition: form-data; name=""': PartHead(""),
    'Content-Disposition: form-data; name="a%22b%0D%0Ac"': PartHead('a"b\r\nc'),
    'Content-Disposition: form-data; name="a\\"b"': PartHead('a"b'),
    'Content-Disposition: form-data; name="file"; filename="a.wav"': PartHead("file", "a.wav"),
    'Content-Disposition: form-data; filename="a.wav"; name="file"': PartHead("file", "a.wav"),
    'Content-Disposition: form-data; name="file"; filename=""': PartHead("file", ""),
    'Content-Disposition: form-data; name="file"; filename="a; name=b.wav"': PartHead("file", "a; name=b.wav"),
    'Content-Disposition: form-data; name="file"; filename="a%22b.wav"': PartHead("file", 'a"b.wav'),
    'Content-Disposition: form-data; name="file"; filename="a\\"b.wav"': PartHead("file", 'a"b.wav'),
    'Content-Disposition: form-data; name="file"; filename="a\\"': PartHead("file", "a\\"),
    'Content-Disposition: form-data; name="file"; filename="größe.wav"': PartHead("file", "größe.wav"),
    "Content-Disposition: form-data; name=file; filename=a.wav; filename*=utf-8''%E2%82%AC.wav": PartHead(
        "file", "€.wav"
    ),
    "Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''a%20b.wav": PartHead("file", "a b.wav"),
    "X-Own: 1\r\nContent-Disposition: form-data; name=a\r\nContent-Type: Audio/WAV; rate=16000": PartHead(
        "a", None, "audio/wav"
    ),
    "Content-Disposition: form-data; name=a\r\nContent-Type:": PartHead("a"),
    "Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: 8bit": PartHead("a"),
}

REFUSED = {
    "no Content-Disposition": "Content-Type: text/plain",
    "not form-data": "Content-Disposition: attachment; name=a",
    "no name": 'Content-Disposition: form-data; filename="a.wav"',
    "nothing but form-data": "Content-Disposition: form-data",
    "a name twice": 'Content-Disposition: form-data; name="x"; name="model"',
    "a file name twice": 'Content-Disposition: form-data; name="x"; filename="a"; filename="b"',
    "the header twice": "Content-Disposition: form-data; name=a\r\ncontent-disposition: form-data; name=b",
    "an open quote": 'Content-Disposition: form-data; name="model',
    "an escape that hides the closing quote": 'Content-Disposition: form-data; name="a\\"; filename="b"',
    "leftovers": 'Content-Disposition: form-data; name="a" b',
    "a folded line": 'Content-Disposition: form-data;\r\n name="model"',
    "a bare LF": 'X: 1\nContent-Disposition: form-data; name="a"',
    "a bare CR": 'X: 1\rContent-Disposition: form-data; name="a"',
    "a NUL": 'Content-Disposition: form-data; name="a\0"',
    "a line without a colon": "Content-Disposition",
    "a space in a header's name": "Content Disposition: form-data; name=a",
    "an encoding": "Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64",
    "nothing": "",
}


@pytest.mark.parametrize(("block", "head"), READ.items())
def test_every_spelling_of_a_header_is_read(block: str, head: PartHead) -> None:
    assert parse_head(block.encode()) == head


def test_a_file_name_that_is_a_whole_windows_path_loses_its_folders() -> None:
    block = b'Content-Disposition: form-data; name="file"; filename="C:\\x\\a.wav"'
    assert parse_head(block).filename == "a.wav"


@pytest.mark.parametrize("block", REFUSED.values(), ids=REFUSED.keys())
def test_a_header_that_servers_read_differently_is_refused(block: str) -> None:
    with pytest.raises(GatewayError) as refusal:
        parse_head(block.encode())
    assert refusal.value.code == "invalid_multipart"


def test_bytes_that_are_not_utf_8_are_read_as_latin_1() -> None:
    assert decoded(b"gr\xf6\xdfe") == decoded("größe".encode()) == "größe"


@given(st.binary(max_size=200) | st.binary(max_size=60).map(b'Content-Disposition: form-data; name="'.__add__))
def test_only_declared_errors_escape(block: bytes) -> None:
    with contextlib.suppress(GatewayError):
        assert parse_head(block).name is not None
