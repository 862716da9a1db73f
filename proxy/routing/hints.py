"""What a request's headers say of its own routing: Portkey's headers, read once and checked."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from proxy.errors import GatewayError
from proxy.headers import is_token, parent_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.headers import Headers

_TRACE_ID: Final = re.compile(r"[ -~]{1,100}")


@dataclass(frozen=True, slots=True)
class Hints:
    """The routing headers of one request; None and empty mean: not given."""

    provider: str | None = None
    virtual_key: str | None = None
    config: str | None = None
    custom_host: str | None = None
    forward_headers: tuple[str, ...] = ()
    request_timeout: float | None = None  # milliseconds
    keep_transcript: bool = True
    azure_resource_name: str | None = None
    azure_deployment_id: str | None = None
    azure_api_version: str | None = None
    azure_ad_token: str | None = field(default=None, repr=False)
    openai_organization: str | None = None
    openai_project: str | None = None

    @property
    def azure(self) -> bool:
        """Whether any header is about Azure."""
        return bool(
            self.azure_resource_name or self.azure_deployment_id or self.azure_api_version or self.azure_ad_token
        )


_NO_HINTS: Final = Hints()

_TEXTS: Final = {
    "x-portkey-provider": "provider",
    "x-portkey-virtual-key": "virtual_key",
    "x-portkey-config": "config",
    "x-portkey-custom-host": "custom_host",
    "x-portkey-azure-resource-name": "azure_resource_name",
    "x-portkey-azure-deployment-id": "azure_deployment_id",
    "x-portkey-azure-api-version": "azure_api_version",
    "x-portkey-azure-ad-token": "azure_ad_token",
    "x-portkey-openai-organization": "openai_organization",
    "x-portkey-openai-project": "openai_project",
}


def trace_id(headers: Headers) -> str | None:
    """Return the caller's trace id: ``x-portkey-trace-id``, else that of W3C ``traceparent``; None to make one.

    Raises ``invalid_header`` unless it is 1 to 100 printable ASCII characters.
    """
    given = headers.get("x-portkey-trace-id")
    if given is not None:
        if not _TRACE_ID.fullmatch(given):
            raise _invalid("x-portkey-trace-id", "must be 1 to 100 printable ASCII characters")
        return given
    parent = parent_in(headers)
    return None if parent is None else parent.trace_id


def hints_of(headers: Headers) -> Hints:
    """Return the routing headers; raises ``invalid_header`` for one that cannot be understood."""
    found: dict[str, Any] = {}
    for name, value in headers.items():
        lower = name.lower()
        if not lower.startswith("x-portkey-"):
            continue
        if lower in _TEXTS:
            if value.strip():
                found[_TEXTS[lower]] = value.strip()
        elif lower == "x-portkey-forward-headers":
            found["forward_headers"] = _forward_headers(value)
        elif lower == "x-portkey-request-timeout":
            found["request_timeout"] = _milliseconds(value)
        elif lower == "x-portkey-debug":
            found["keep_transcript"] = value.strip().lower() != "false"
    return Hints(**found) if found else _NO_HINTS


def metadata_of(headers: Headers) -> Mapping[str, Any]:
    """Return the JSON object in ``x-portkey-metadata``, empty when there is none; raises ``invalid_header``."""
    value = headers.get("x-portkey-metadata", "")
    try:
        metadata = json.loads(value) if value.strip() else {}
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict):
        raise _invalid("x-portkey-metadata", 'must be a JSON object such as {"_user": "ada"}')
    return metadata


def _forward_headers(value: str) -> tuple[str, ...]:
    """Read ``a, b`` and, as in Portkey's curl samples, ``['a', 'b']``."""
    names = tuple(name.strip().strip("'\"") for name in value.strip().strip("[]").split(",") if name.strip())
    if not all(is_token(name) for name in names):
        raise _invalid("x-portkey-forward-headers", "must be header names separated by commas")
    if any(name.lower() == "x-portkey-forward-headers" for name in names):
        raise _invalid("x-portkey-forward-headers", "must not name itself")
    return names


def _milliseconds(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise _invalid("x-portkey-request-timeout", "must be a number of milliseconds")
    return number


def _invalid(name: str, what: str) -> GatewayError:
    return GatewayError("invalid_header", f"{name} {what}.", param=name)
