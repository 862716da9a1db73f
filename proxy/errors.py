"""Every way a request can fail: code, status, type and whose fault it was.

The code is one word with one meaning everywhere: in the error body, in the record, in a label. Status, type and source
hang on the code alone and are never derived from data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

Source = Literal["client", "gateway", "upstream"]

Failure = Literal[
    "connect_failed",  # nothing was sent: another attempt is always safe
    "refused",  # the upstream answered with an error status
    "upstream_timed_out",  # it accepted no byte, or sent none, for too long: it may have acted
    "upstream_broke",  # the connection was lost or carried garbage: it may have acted
    "client_left",  # the client closed: never the upstream's fault
    "gateway_refused",  # our own decision: nothing was committed
]
"""How an attempt ended, named by what it permits."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a code means: its HTTP status, OpenAI's ``type`` word, who failed, and whether trying again may help."""

    status: int
    type: str
    source: Source
    retryable: bool = False


_BAD: Final = Kind(400, "invalid_request_error", "client")

KINDS: Final[dict[str, Kind]] = {
    "invalid_config": _BAD,
    "unknown_config": _BAD,
    "invalid_provider": _BAD,
    "missing_provider": _BAD,
    "invalid_custom_host": _BAD,
    "invalid_header": _BAD,
    "unsupported_endpoint": _BAD,
    "invalid_request": _BAD,
    "invalid_multipart": _BAD,
    "missing_file": _BAD,
    "missing_model": _BAD,
    "duplicate_field": _BAD,
    "field_too_large": _BAD,
    "unsupported_format": _BAD,
    "truncated_upload": _BAD,
    "invalid_api_key": Kind(401, "authentication_error", "client"),
    "missing_api_key": Kind(401, "authentication_error", "client"),
    "missing_provider_key": Kind(401, "authentication_error", "client"),
    "not_allowed": Kind(403, "permission_error", "client"),
    "unknown_route": Kind(404, "invalid_request_error", "client"),
    "method_not_allowed": Kind(405, "invalid_request_error", "client"),
    "request_timeout": Kind(408, "timeout_error", "gateway"),
    "upload_timeout": Kind(408, "timeout_error", "client"),
    "upload_too_large": Kind(413, "invalid_request_error", "client"),
    "unsupported_media_type": Kind(415, "invalid_request_error", "client"),
    "unsupported_encoding": Kind(415, "invalid_request_error", "client"),
    "expectation_failed": Kind(417, "invalid_request_error", "client"),
    "client_left": Kind(499, "client_closed_request", "client"),
    "internal_error": Kind(500, "server_error", "gateway"),
    "upstream_unreachable": Kind(502, "server_error", "upstream", retryable=True),
    "upstream_broke": Kind(502, "server_error", "upstream", retryable=True),
    "overloaded": Kind(503, "server_error", "gateway", retryable=True),
    "circuit_open": Kind(503, "server_error", "gateway", retryable=True),
    "draining": Kind(503, "server_error", "gateway", retryable=True),
    "upstream_timeout": Kind(504, "server_error", "upstream"),
}


class GatewayError(Exception):
    """A request that ends with an answer of the gateway's own.

    ``code`` is a key of :data:`KINDS`; ``message`` says what is wrong and what to do, and never holds a key, a path of
    the host or an internal address; ``param`` names the field or header at fault; ``retry_after`` is in seconds;
    ``failure`` says what became of the attempt that it ended, if there was one, and ``cause`` more of it: ``tls``.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
        failure: Failure = "gateway_refused",
        cause: Literal["tls"] | None = None,
    ) -> None:
        message = message.encode("utf-8", "backslashreplace").decode()  # a client's lone surrogate is no JSON
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.retry_after = retry_after
        self.failure = failure
        self.cause = cause

    @property
    def kind(self) -> Kind:
        """Status, type and source of this error's code."""
        return KINDS[self.code]

    @property
    def status(self) -> int:
        """HTTP status of the answer."""
        return KINDS[self.code].status

    def body(self) -> dict[str, Any]:
        """Return the JSON answer, in the shape that OpenAI's and Portkey's SDKs both read."""
        error = {"message": self.message, "type": self.kind.type, "param": self.param, "code": self.code}
        return {"status": "failure", "message": self.message, "error": error}
