"""From a closed record to the words of its labels: every one of a closed set, whatever the record holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxy.records.catalogue import METHODS, OTHER, STATUSES

if TYPE_CHECKING:
    from collections.abc import Mapping

REJECTIONS_BY_CODE: Final[dict[str, str | None]] = {
    "invalid_config": "bad_request",
    "unknown_config": "bad_request",
    "invalid_provider": "bad_request",
    "missing_provider": "bad_request",
    "invalid_custom_host": "bad_request",
    "invalid_header": "bad_request",
    "unsupported_endpoint": "no_route",
    "invalid_request": "bad_request",
    "invalid_multipart": "bad_request",
    "missing_file": "bad_request",
    "missing_model": "bad_request",
    "duplicate_field": "bad_request",
    "field_too_large": "too_large",
    "unsupported_format": "unsupported_media",
    "truncated_upload": "bad_request",
    "invalid_api_key": "auth",
    "missing_api_key": "auth",
    "missing_provider_key": "auth",
    "not_allowed": "auth",
    "unknown_route": "no_route",
    "method_not_allowed": "no_route",
    "request_timeout": None,
    "upload_timeout": None,
    "upload_too_large": "too_large",
    "unsupported_media_type": "unsupported_media",
    "unsupported_encoding": "unsupported_media",
    "expectation_failed": "bad_request",
    "client_left": None,
    "internal_error": None,
    "upstream_unreachable": None,
    "upstream_broke": None,
    "overloaded": "overload",
    "circuit_open": "overload",
    "draining": "draining",
    "upstream_timeout": None,
}
"""``error_code`` → ``reason`` of a request that the gateway refused; None: it failed in another way."""

_METHODS: Final = {method: method for method in METHODS}
_STATUSES: Final = {int(status): status for status in STATUSES}

_BROKEN: Final = {"connect_failed": "connect_error", "upstream_timed_out": "timeout", "upstream_broke": "reset"}
_MOVED_ON: Final = {"connect_failed": "connect", "upstream_timed_out": "timeout", "upstream_broke": "reset"}


def method_of(method: str) -> str:
    """Return the ``method`` of a request."""
    return _METHODS.get(method, OTHER)


def code_of(status: int | None) -> str:
    """Return the ``code`` of a status."""
    return _STATUSES.get(status, OTHER) if status is not None else OTHER


def attempt_code(attempt: Mapping[str, Any]) -> str:
    """Return the ``code`` of an attempt: what broke it, else its status, else who gave it up."""
    failure = attempt["failure"]
    broken = _BROKEN.get(failure)
    if broken is not None:
        return "tls_error" if attempt.get("cause") == "tls" else broken
    status = attempt["status"]
    if status is not None:
        return code_of(status)
    return "499" if failure == "client_left" else "aborted"


def reason_of(attempt: Mapping[str, Any]) -> str:
    """Return the ``reason`` why another attempt followed this one."""
    moved_on = _MOVED_ON.get(attempt["failure"])
    status = attempt["status"]
    if moved_on is not None or status is None:
        return moved_on or "other"
    if status == 429:
        return "status_429"
    return "status_5xx" if status >= 500 else "status_4xx" if status >= 400 else "other"


def phase_of(record: Mapping[str, Any]) -> str:
    """Return the ``phase`` in which a client left: while it uploaded, while it waited, or while it was answered."""
    last = record["attempts"][-1] if record["attempts"] else None
    if record["timing_ms"]["upload"] is None and (last is None or last["upload_ms"] is None):
        return "upload"
    return "wait" if last is None or last["ttfb_ms"] is None else "download"
