"""Answers of the ops listener: JSON, errors in the gateway's own shape, and the headers that all of them carry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORTH_IT: Final = 1024  # bytes: what is shorter fits into a packet anyway
_TYPES: Final = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

SAFE: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "media-src 'self' blob:; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every answer that does not have its own: nothing is kept, framed, sniffed or shown to another origin."""


class OpsError(Exception):
    """A request that ends with an answer of the ops listener's own.

    The message says what is wrong and what to do; ``param`` names the parameter at fault.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.headers = dict(headers or {})

    def answer(self) -> web.Response:
        """Return the JSON answer, in the shape of INTERFACE 4's errors."""
        kind = _TYPES.get(self.status) or ("server_error" if self.status >= 500 else "invalid_request_error")
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        document = {"status": "failure", "message": self.message, "error": error}
        answer = answer_json(None, document, self.status)
        answer.headers.update(self.headers)
        return answer


def answer_json(request: web.BaseRequest | None, document: Any, status: int = 200) -> web.Response:
    """Return ``document`` as JSON, compressed where that is worth it and ``request`` takes it."""
    body = as_json(document)
    answer = web.Response(status=status, body=body, content_type="application/json")
    if request is not None and len(body) > _WORTH_IT and takes_gzip(request):
        answer.headers["Vary"] = "Accept-Encoding"
        answer.enable_compression(web.ContentCoding.gzip)
    return answer


def as_json(document: Any) -> bytes:
    """Return ``document`` as JSON on one line."""
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:  # a client's metadata: a number beyond 64 bits, many levels
        return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")


def takes_gzip(request: web.BaseRequest) -> bool:
    """Whether the client understands gzip (RFC 9110, 12.5.3)."""
    for item in request.headers.get("Accept-Encoding", "").lower().split(","):
        coding, _, quality = (part.strip() for part in item.partition(";"))
        if coding == "gzip":
            return quality.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


async def add_safe_headers(_request: web.BaseRequest, answer: web.StreamResponse) -> None:
    """Give an answer the headers that it lacks."""
    for name, value in SAFE.items():
        answer.headers.setdefault(name, value)
