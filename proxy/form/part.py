"""The header block of one part: its field name, its file name, its type."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from multipart import content_disposition_unquote

from proxy.errors import GatewayError

_FORM_DATA: Final = re.compile(r"[ \t]*form-data[ \t]*", re.IGNORECASE)

# What browsers, curl and the SDKs write (WHATWG HTML, "Multipart form data"). A backslash
# in a file name is then a plain character, even before the closing quote.
_COMMON: Final = re.compile(r'form-data; name="([^"\\]*)"(?:; filename="([^"]*)")?')

# The older spelling: any order, tokens without quotes, backslash escapes (RFC 2183).
_PARAMETER: Final = re.compile(
    r';[ \t]*([\w!#$%&\'*+.^`|~-]+)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^\s";]+)[ \t]*', re.ASCII
)

_HEADER: Final = re.compile(r"([\w!#$%&'*+.^`|~-]+)[ \t]*:([^\r\n\0]*)", re.ASCII)
_IDENTITY: Final = ("7bit", "8bit", "binary")  # encodings that change nothing; some servers undo the others
_EXTENDED_PREFIX: Final = "utf-8''"  # RFC 5987: the one charset that clients write


@dataclass(frozen=True, slots=True)
class PartHead:
    """What a part says of itself. ``content_type`` is in lower case and without parameters."""

    name: str
    filename: str | None = None
    content_type: str | None = None


def decoded(raw: bytes) -> str:
    """Return ``raw`` as UTF-8, which RFC 7578 section 5.1 asks for, or as Latin-1 when it is not UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


@lru_cache(maxsize=256)  # clients write the same few header blocks again and again; each is bounded
def parse_head(block: bytes) -> PartHead:
    r"""Return what ``block``, header lines joined by CRLF without the blank line after them, says of a part.

    Raises :class:`GatewayError` ``invalid_multipart`` for whatever two servers could read in two ways: folded
    lines, bare CR or LF, a header or a parameter given twice, leftovers in Content-Disposition.
    """
    headers: dict[str, str] = {}
    for line in decoded(block).split("\r\n"):
        match = _HEADER.fullmatch(line)
        if match is None:
            raise _unreadable("a line in the headers of a part is not 'Name: value'")
        name = match[1].lower()
        if name in headers:
            raise _unreadable(f"a part has the header {match[1][:40]} twice")
        headers[name] = match[2].strip(" \t")
    if "content-disposition" not in headers:
        raise _unreadable("a part has no Content-Disposition header")
    if headers.get("content-transfer-encoding", "binary").lower() not in _IDENTITY:
        raise _unreadable("a part has a Content-Transfer-Encoding, which RFC 7578 deprecates")
    field, filename = _disposition(headers["content-disposition"])
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return PartHead(field, filename, content_type or None)


def _disposition(value: str) -> tuple[str, str | None]:
    """Return the field name and the file name of a Content-Disposition value."""
    if common := _COMMON.fullmatch(value):
        name, filename = common.groups()
    else:
        parameters = _parameters(value)
        name = parameters.get("name")
        filename = parameters.get("filename")
        extended = parameters.get("filename*", "")
        if extended[: len(_EXTENDED_PREFIX)].lower() == _EXTENDED_PREFIX:
            filename = unquote(extended[len(_EXTENDED_PREFIX) :])
    if name is None:
        raise _unreadable("a part's Content-Disposition has no name")
    return (
        content_disposition_unquote(name),
        None if filename is None else content_disposition_unquote(filename, filename=True),
    )


def _parameters(value: str) -> dict[str, str]:
    """Return the parameters of ``value``, quotes kept, names in lower case."""
    kind = _FORM_DATA.match(value)
    if kind is None:
        raise _unreadable("a part's Content-Disposition is not form-data")
    found: dict[str, str] = {}
    at = kind.end()
    while at < len(value):
        match = _PARAMETER.match(value, at)
        if match is None:
            raise _unreadable("a part's Content-Disposition cannot be read")
        name = match[1].lower()
        if name in found:
            raise _unreadable(f"a part's Content-Disposition has {name[:40]} twice")
        found[name] = match[2]
        at = match.end()
    return found


def _unreadable(what: str) -> GatewayError:
    return GatewayError(
        "invalid_multipart", f"The form cannot be read: {what}. Let an HTTP library write the multipart body."
    )
