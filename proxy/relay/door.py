"""Everything that a request's head can decide, decided before the first byte of its body is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import HttpVersion10, HttpVersion11

from proxy.errors import GatewayError
from proxy.form.boundary import boundary_of
from proxy.providers.base import Route
from proxy.providers.urls import safe_path
from proxy.relay.jsonbody import is_json

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest

    from proxy.settings import Settings

_AUDIO: Final = {
    "/v1/audio/transcriptions": Route.TRANSCRIPTIONS,
    "/v1/audio/translations": Route.TRANSLATIONS,
    "/v1/audio/speech": Route.SPEECH,
}
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_NOT_A_HOST: Final = re.compile(r"[\s/\\@?#,]")

FORMS: Final = frozenset({Route.TRANSCRIPTIONS, Route.TRANSLATIONS})


@dataclass(frozen=True, slots=True)
class Visit:
    """A request that may come in: its route, its path after ``/v1``, its raw query and its Content-Length."""

    route: Route
    path: str
    query: str
    length: int | None = None


def label(raw_path: str) -> str:
    """Return the ``route`` under which any request, admitted or not, is recorded."""
    path = raw_path.partition("?")[0]
    return _AUDIO.get(path) or ("passthrough" if path.startswith("/v1/") else "_unmatched")


def admit(request: BaseRequest, settings: Settings) -> Visit:
    """Return the visit, or raise the refusal that the request line and the framing headers earn."""
    _check_framing(request)
    raw_path, _, query = request.raw_path.partition("?")
    if not raw_path.startswith("/v1/"):
        raise GatewayError("unknown_route", "There is nothing here. The API is under /v1/, health on the ops listener.")
    route = _AUDIO.get(raw_path, Route.PASSTHROUGH)
    if route is Route.PASSTHROUGH:
        safe_path(raw_path)
    if request.method not in _METHODS or (route is not Route.PASSTHROUGH and request.method != "POST"):
        raise GatewayError("method_not_allowed", f"{raw_path[:100]} does not take {request.method[:16]}. Use POST.")
    expectation = request.headers.get("Expect")
    if expectation is not None and request.version >= HttpVersion11 and expectation.lower() != "100-continue":
        raise GatewayError("expectation_failed", "The only expectation that can be met is 100-continue.")
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if route is not Route.PASSTHROUGH and encoding not in {"", "identity"}:
        raise GatewayError("unsupported_encoding", "Send the body uncompressed: audio does not get smaller by it.")
    length = request.content_length
    most = largest(settings)
    if length is not None and length > most:
        raise GatewayError(
            "upload_too_large",
            f"Maximum content size limit ({most}) exceeded ({length} bytes announced). Compress or split the audio.",
        )
    return Visit(route, raw_path.removeprefix("/v1"), query, length)


def boundary(request: BaseRequest, route: Route) -> bytes | None:
    """Return the boundary of the form that ``route`` takes, or None when it takes something else."""
    if route is Route.SPEECH and not is_json(request):
        raise GatewayError("unsupported_media_type", "Speech takes a JSON body: Content-Type: application/json.")
    return boundary_of(request.headers.get("Content-Type")) if route in FORMS else None


def check_origin(request: BaseRequest, settings: Settings) -> dict[str, str]:
    """Return the CORS headers for a web page that may call, nothing for everybody else; raises ``not_allowed``."""
    origin = request.headers.get("Origin")
    if origin is None:
        return {}
    if origin.lower() not in settings.auth.allow_origins:
        raise GatewayError(
            "not_allowed", "Web pages may not call this gateway. auth.allow_origins lists those that may."
        )
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "*",
        "Vary": "Origin",
    }


def preflight(request: BaseRequest) -> dict[str, str] | None:
    """Return the answer to a CORS preflight of an allowed origin, or None for any other request."""
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
        return None
    return {
        "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
        "Access-Control-Allow-Headers": request.headers.get("Access-Control-Request-Headers", "*"),
        "Access-Control-Max-Age": "600",
    }


def largest(settings: Settings) -> int:
    """Return the most that any target may take: which one it is shows later."""
    most = settings.limits.max_upload_bytes
    for row in settings.providers:
        if row.max_upload_bytes is not None and row.max_upload_bytes > most:
            most = row.max_upload_bytes
    return most


def is_ambiguous(request: BaseRequest) -> bool:
    """Return whether servers could disagree on where the body ends: nothing after it may be read as a request."""
    coding = request.headers.get("Transfer-Encoding")
    return coding is not None and (request.version == HttpVersion10 or coding.strip().lower() != "chunked")


def _check_framing(request: BaseRequest) -> None:
    """Refuse what the parser lets through and two servers could read in two ways."""
    if request.version != HttpVersion11 and request.version != HttpVersion10:
        raise GatewayError("invalid_request", "This gateway speaks HTTP/1.1.")
    if is_ambiguous(request):
        raise GatewayError("unsupported_encoding", "The only transfer encoding is chunked, with HTTP/1.1.")
    if _NOT_A_HOST.search(request.headers.get("Host", "")):
        raise GatewayError("invalid_header", "The Host header holds more than a host.", param="Host")
