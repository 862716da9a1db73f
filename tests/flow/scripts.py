"""The words of an upstream's script: steps, replies and server-sent events."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

Step = list[Any]
Headers = list[tuple[str, str]]

REASONS = {
    200: "OK",
    201: "Created",
    204: "No Content",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    413: "Content Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

CLOSE: Step = ["close"]
RESET: Step = ["reset"]
LINGER: Step = ["linger"]
ECHO: Step = ["echo"]
PEEK: Step = ["peek"]
READ_ALL: Step = ["read", None]


def read(count: int) -> Step:
    """Read until ``count`` bytes of the body have come."""
    return ["read", count]


def send(data: bytes) -> Step:
    """Send bytes as they are."""
    return ["send", base64.b64encode(data).decode()]


def fill(count: int) -> Step:
    """Send so many bytes of no meaning."""
    return ["fill", count]


def sleep(seconds: float) -> Step:
    """Do nothing for a while."""
    return ["sleep", seconds]


def hold(gate: str = "gate") -> Step:
    """Do nothing until the gate is released or the peer leaves."""
    return ["hold", gate]


def head(status: int, headers: Headers, *, version: str = "1.1") -> bytes:
    """Return a reply's head."""
    lines = [
        f"HTTP/{version} {status} {REASONS.get(status, 'Status')}",
        *(f"{n}: {v}" for n, v in headers),
        "",
        "",
    ]
    return "\r\n".join(lines).encode("latin-1")


def reply(
    status: int = 200,
    body: bytes = b'{"text":"hello"}',
    headers: Headers | None = None,
    *,
    content_type: str = "application/json",
) -> bytes:
    """Return a whole reply with a Content-Length."""
    first = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
    return head(status, first + (headers or [])) + body


def chunk(data: bytes) -> bytes:
    """Return one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunked_head(status: int = 200, content_type: str = "text/event-stream", headers: Headers | None = None) -> bytes:
    """Return the head of a chunked reply."""
    return head(status, [("Content-Type", content_type), ("Transfer-Encoding", "chunked"), *(headers or [])])


def event(data: dict[str, Any] | str) -> bytes:
    """Return one server-sent event (WHATWG HTML, section 9.2)."""
    return b"data: " + (data if isinstance(data, str) else json.dumps(data)).encode() + b"\n\n"


def stepwise(events: Iterable[bytes]) -> list[Step]:
    """Send a chunked event stream, each event behind its own gate: ``event-0``, ``event-1``, then ``end``."""
    steps: list[Step] = [send(chunked_head())]
    for index, data in enumerate(events):
        steps += [hold(f"event-{index}"), send(chunk(data))]
    return [*steps, hold("end"), send(b"0\r\n\r\n")]


def error(status: int, code: str = "upstream_says_no", headers: Headers | None = None) -> bytes:
    """Return an error answer as OpenAI writes them."""
    body = {
        "error": {
            "message": "the upstream says no",
            "type": "invalid_request_error",
            "param": None,
            "code": code,
        }
    }
    return reply(status, json.dumps(body).encode(), headers)
