"""A boundary is what RFC 2046 says, or the request is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import GatewayError
from proxy.form.boundary import boundary_of

ACCEPTED = {
    "multipart/form-data; boundary=abc": b"abc",
    "multipart/form-data;boundary=abc": b"abc",
    "Multipart/Form-Data; Boundary=aBc": b"aBc",
    " multipart/form-data ; charset=utf-8; boundary=abc ": b"abc",
    "multipart/form-data; boundary=abc;": b"abc",
    "multipart/form-data; boundary=abc; charset=utf-8": b"abc",
    'multipart/form-data; boundary="abc"': b"abc",
    'multipart/form-data; boundary="two words (1)"': b"two words (1)",
    'multipart/form-data; boundary="a\\-b"': b"a-b",
    'multipart/form-data; boundary="\'()+_,-./:=?"': b"'()+_,-./:=?",
    "multipart/form-data; boundary=a=b/c": b"a=b/c",
    'multipart/form-data; note="; boundary=no"; boundary=yes': b"yes",
    "multipart/form-data; boundary=----------------d74496d66958873e": b"----------------d74496d66958873e",
    "multipart/form-data; boundary=" + "a" * 70: b"a" * 70,
}

INVALID = {
    "no parameters": "multipart/form-data",
    "another parameter": "multipart/form-data; charset=utf-8",
    "empty": "multipart/form-data; boundary=",
    "empty, quoted": 'multipart/form-data; boundary=""',
    "71 characters": "multipart/form-data; boundary=" + "a" * 71,
    "a space at the end": 'multipart/form-data; boundary="a "',
    "a character outside bchars": "multipart/form-data; boundary=a*b",
    "an escaped quote": 'multipart/form-data; boundary="a\\"b"',
    "not ASCII": "multipart/form-data; boundary=ä",
    "a digit outside ASCII": "multipart/form-data; boundary=٣",
    "a line break": 'multipart/form-data; boundary="a\r\nb"',
    "twice": "multipart/form-data; boundary=a; boundary=b",
    "twice the same": "multipart/form-data; boundary=a; BOUNDARY=a",
    "two headers joined": "multipart/form-data; boundary=a, multipart/form-data; boundary=b",
    "an open quote": 'multipart/form-data; boundary="a',
    "text after a quote": 'multipart/form-data; boundary="a"b',
    "space before the equals sign": "multipart/form-data; boundary =a",
}

NOT_A_FORM = [
    None,
    "",
    "application/json",
    "audio/wav",
    "multipart/mixed; boundary=a",
    "multipart/form-data-x; boundary=a",
    "; boundary=a",
]


@pytest.mark.parametrize(("content_type", "boundary"), ACCEPTED.items())
def test_a_boundary_is_read_as_the_rfc_writes_it(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize("content_type", INVALID.values(), ids=INVALID.keys())
def test_a_boundary_that_servers_read_differently_is_refused(content_type: str) -> None:
    with pytest.raises(GatewayError) as refusal:
        boundary_of(content_type)
    assert refusal.value.code == "invalid_multipart"


@pytest.mark.parametrize("content_type", NOT_A_FORM)
def test_anything_but_a_form_is_an_unsupported_media_type(content_type: str | None) -> None:
    with pytest.raises(GatewayError) as refusal:
        boundary_of(content_type)
    assert (refusal.value.code, refusal.value.status) == ("unsupported_media_type", 415)
    assert "'file'" in refusal.value.message


@given(st.text().map("multipart/form-data".__add__) | st.text())
def test_only_declared_errors_escape(content_type: str) -> None:
    try:
        boundary = boundary_of(content_type)
    except GatewayError:
        return
    assert 1 <= len(boundary) <= 70
