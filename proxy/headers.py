"""What crosses and what never does: hop-by-hop headers, credentials, Portkey's own.

Everything here is a pure function over header multidicts; repeated headers keep their order and number.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from multidict import CIMultiDict, CIMultiDictProxy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Headers = CIMultiDict[str] | CIMultiDictProxy[str]

HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",  # not in any RFC, but sent
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""RFC 9110, 7.6.1; what ``Connection`` itself names comes on top."""

CREDENTIALS: Final = frozenset(
    {
        "authorization",
        "api-key",
        "ocp-apim-subscription-key",
        "x-api-key",
        "x-gladia-key",
        "x-goog-api-key",
        "xi-api-key",
    }
)
"""Headers by which some provider knows its customer: a client's copy crosses only when it is asked for by name."""

_NEVER: Final = (
    HOP_BY_HOP
    | CREDENTIALS
    | frozenset(
        {
            "content-length",  # the attempt knows what it will send
            "cookie",
            "expect",  # answered by the gateway; an upstream might never answer it
            "forwarded",
            "host",
            "origin",
            "x-real-ip",
        }
    )
)
_NEVER_PREFIXES: Final = ("x-portkey-", "x-forwarded-")
_NEVER_FORWARDED: Final = HOP_BY_HOP | frozenset({"host", "expect", "cookie"})
_OURS: Final = frozenset({"x-portkey-api-key", "x-portkey-azure-ad-token"})  # carry a provider's credential to us

_NEVER_BACK: Final = HOP_BY_HOP | frozenset(
    {"content-length", "set-cookie", "set-cookie2", "strict-transport-security"}
)
_NEVER_BACK_PREFIXES: Final = ("access-control-", "x-portkey-")


_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-[!-~]*)?"
)
_LONGEST_STATE: Final = 512  # characters: what the specification asks everybody to take, and no more (3.3.1.5)


class TraceParent(NamedTuple):
    """The span of a caller's that a request belongs to (W3C Trace Context, 3.2): ids in lower-case hex, one octet of
    flags, and what its systems say of it to each other (``tracestate``).
    """

    trace_id: str
    span_id: str
    flags: int
    state: str = ""

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


def parent_in(headers: Headers) -> TraceParent | None:
    """Return the caller's span; None when there is none, or none that can be understood."""
    values = headers.getall("traceparent", ())
    found = _TRACEPARENT.fullmatch(values[0]) if len(values) == 1 else None
    if found is None or (found[1] == "00" and len(found[0]) != 55):  # only later versions may have more to say
        return None
    state = ",".join(headers.getall("tracestate", ()))
    return TraceParent(found[2], found[3], int(found[4], 16), state if len(state) <= _LONGEST_STATE else "")


def to_upstream(
    client: Headers,
    provider: Mapping[str, str],
    *,
    forward: Iterable[str] = (),
    own_credential: bool,
    gateway_key: str | None = None,
    identity: bool = False,
) -> CIMultiDict[str]:
    """Return the headers of one attempt: the client's less what never crosses, then the provider's own.

    ``forward`` names client headers that cross all the same, except those that no request may choose;
    ``own_credential`` says that the target brings its own, so that no credential of the client's may cross;
    ``gateway_key`` crosses in no header, whatever its name. ``identity`` asks for an uncompressed reply.
    """
    dropped = _named_by_connection(client)
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in client.items():
        lower = name.lower()
        if lower in _NEVER or lower in dropped or "_" in name or lower.startswith(_NEVER_PREFIXES):
            continue
        if gateway_key is not None and gateway_key in value:
            continue
        headers.add(name, value)
    for name in forward:
        if name.lower() not in dropped:
            _forward(client, headers, name.lower(), own_credential=own_credential, gateway_key=gateway_key)
    if identity:
        headers["Accept-Encoding"] = "identity"
    for name, value in provider.items():
        headers[name] = value
    return headers


def to_client(upstream: Headers) -> CIMultiDict[str]:
    """Return an upstream reply's headers less hop-by-hop, cookies, CORS and HSTS; the length is for the relay."""
    dropped = _named_by_connection(upstream)
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in upstream.items():
        lower = name.lower()
        if lower not in _NEVER_BACK and lower not in dropped and not lower.startswith(_NEVER_BACK_PREFIXES):
            headers.add(name, value)
    return headers


def is_token(text: str) -> bool:
    """Return whether ``text`` can be a header's name (RFC 9110, 5.6.2)."""
    return bool(text) and all(c.isascii() and (c.isalnum() or c in "!#$%&'*+-.^_`|~") for c in text)


def _forward(
    client: Headers, headers: CIMultiDict[str], name: str, *, own_credential: bool, gateway_key: str | None
) -> None:
    if name in _NEVER_FORWARDED or name.startswith("content-"):
        return
    if own_credential and (name in CREDENTIALS or name in _OURS):
        return
    values = [v for v in client.getall(name, ()) if gateway_key is None or gateway_key not in v]
    headers.popall(name, None)
    for value in values:
        headers.add(name, value)


def _named_by_connection(headers: Headers) -> frozenset[str]:
    values = headers.getall("Connection", None)
    if values is None:
        return frozenset()
    return frozenset(word.strip().lower() for value in values for word in value.split(","))
