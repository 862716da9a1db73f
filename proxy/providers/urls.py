"""Where a request goes: parts that a caller may choose are checked, then joined by plain concatenation.

Concatenation keeps the host that was configured. Resolving a reference against a base (RFC 3986, 5.2) does
not: ``//evil/x`` replaces the host and ``/../x`` leaves the base path. So whatever could be read as more
than a path is refused.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import unquote, unquote_plus

from proxy.errors import GatewayError

_NOT_A_PATH: Final = re.compile(r"[^!-~]|[\\#?]|//|%(?:2f|5c|00)", re.IGNORECASE)
_NOT_A_QUERY: Final = re.compile(r"[^!-~]|#")
_BASE: Final = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+(?:/[!-~]*)?")  # no userinfo: credentials travel in headers
_NOT_IN_BASE: Final = re.compile(r"[\\#?]")


def safe_path(raw_path: str) -> None:
    """Refuse a raw path that an upstream, or a server before it, could read as another one.

    Raises GatewayError ``unknown_route`` unless it starts with ``/`` and holds no ``//``, backslash,
    fragment, query, encoded slash, backslash or NUL, and no dot segment even after decoding.
    """
    dotted = any(unquote(segment) in {".", ".."} for segment in raw_path.split("/"))
    if not raw_path.startswith("/") or dotted or _NOT_A_PATH.search(raw_path):
        raise GatewayError(
            "unknown_route",
            "This path cannot be passed on: it may hold no dot segment, double or encoded slash or fragment.",
        )


@lru_cache(maxsize=256)  # one for each upstream in use; a request may name only what the operator lists
def checked_base(url: str) -> str:
    """Return an absolute http or https URL without its trailing slashes.

    Raises GatewayError ``invalid_custom_host`` when it carries user information, a query or a fragment.
    """
    if not _BASE.fullmatch(url) or _NOT_IN_BASE.search(url):
        raise GatewayError(
            "invalid_custom_host",
            "The upstream's base URL must be http:// or https://, a host and a path: no user or query.",
        )
    return url.rstrip("/")


def join(base: str, path: str, query: str = "") -> str:
    """Concatenate a checked base, a path and a raw query (``invalid_request`` if that holds a fragment)."""
    if query and _NOT_A_QUERY.search(query):
        raise GatewayError("invalid_request", "The query string must be percent-encoded ASCII without a fragment.")
    return f"{base}{path}?{query}" if query else base + path


def with_parameter(query: str, name: str, value: str | None) -> str:
    """Return a raw query where ``name`` has only ``value`` (None: is absent); the rest stays as it came."""
    kept = [pair for pair in query.split("&") if pair and _name_of(pair) != name]
    return "&".join(kept if value is None else [*kept, f"{name}={value}"])


def _name_of(pair: str) -> str:
    # Azure reads names without regard to case, so a client's Api-Version would compete with ours.
    return unquote_plus(pair.partition("=")[0]).lower()
