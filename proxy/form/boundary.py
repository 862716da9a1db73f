"""The boundary of a multipart/form-data body, out of its Content-Type."""

from __future__ import annotations

import re
from typing import Final

from proxy.errors import GatewayError

# RFC 2046 section 5.1.1: 1 to 70 characters of bchars, the last one not a space.
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")

# What clients send: one parameter, without quotes or spaces. It needs no second look.
_USUAL: Final = re.compile(r"multipart/form-data; boundary=([0-9A-Za-z'()+_,./:=?-]{1,70})")

# RFC 9110 section 5.6.6. Unquoted values may hold any bchar: real clients do not quote "/" and "=". A lone
# ";" is allowed.
_PARAMETER: Final = re.compile(r""";[ \t]*(?:([\w!#$%&'*+.^`|~-]+)=("(?:[^"\\]|\\.)*"|[^\s";]*))?[ \t]*""", re.ASCII)
_ESCAPED: Final = re.compile(r"\\(.)")


def boundary_of(content_type: str | None) -> bytes:
    """Return the boundary that ``content_type``, a request's Content-Type, declares.

    Raises :class:`GatewayError` ``unsupported_media_type`` for anything but multipart/form-data,
    ``invalid_multipart`` for a boundary that is missing, given twice or outside RFC 2046 section 5.1.1:
    servers disagree on how to read those, and the upstream must see the parts that we see.
    """
    if content_type is not None and (usual := _USUAL.fullmatch(content_type)):
        return usual[1].encode("ascii")
    media_type, _, _ = (content_type or "").partition(";")
    if media_type.strip().lower() != "multipart/form-data":
        given = f"not {media_type.strip()[:100]!r}" if media_type.strip() else "and no Content-Type was given"
        raise GatewayError(
            "unsupported_media_type",
            f"The body must be multipart/form-data, {given}. Send the audio as the form field 'file'.",
        )
    assert content_type is not None
    boundaries = [_unquoted(value) for name, value in _parameters(content_type) if name.lower() == "boundary"]
    if not boundaries:
        raise GatewayError(
            "invalid_multipart",
            "Content-Type has no boundary. Let the HTTP client write this header, not your code.",
        )
    if len(boundaries) > 1:
        raise GatewayError("invalid_multipart", "Content-Type has more than one boundary. Send exactly one.")
    if not _BOUNDARY.fullmatch(boundaries[0]):
        raise GatewayError(
            "invalid_multipart",
            "The boundary in Content-Type may hold 1 to 70 letters, digits and '()+_,-./:=? only.",
        )
    return boundaries[0].encode("ascii")


def _parameters(content_type: str) -> list[tuple[str, str]]:
    """Return the parameters as (name, raw value), refusing what the grammar does not cover in full."""
    found: list[tuple[str, str]] = []
    at = content_type.index(";") if ";" in content_type else len(content_type)
    while at < len(content_type):
        match = _PARAMETER.match(content_type, at)
        if match is None:
            raise GatewayError(
                "invalid_multipart",
                "Content-Type cannot be read. Write it as: multipart/form-data; boundary=VALUE",
            )
        if match[1] is not None:
            found.append((match[1], match[2]))
        at = match.end()
    return found


def _unquoted(value: str) -> str:
    return _ESCAPED.sub(r"\1", value[1:-1]) if value.startswith('"') else value
