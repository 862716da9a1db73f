"""JSON bodies: read whole where a field of theirs decides or changes, and then only within a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from proxy.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.web import BaseRequest

MAX_JSON: Final = 8_388_608  # bytes: such a body is held in memory, once as it came and once as it goes


def is_json(request: BaseRequest) -> bool:
    """Return whether the request says that its body is JSON."""
    return request.content_type == "application/json" and "Content-Type" in request.headers


def parsed(body: bytes, *, lenient: bool = False) -> dict[str, Any]:
    """Return a JSON object; for anything else raise ``invalid_request`` or, if ``lenient``, return nothing."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if isinstance(document, dict):
        return document
    if lenient:
        return {}
    raise GatewayError("invalid_request", "The body must be a JSON object.")


def changed(body: bytes, params: Mapping[str, Any]) -> bytes:
    """Return ``body`` with ``params`` laid over it (None removes a key); as it came when there are none."""
    if not params:
        return body
    document = parsed(body)
    document.update({name: value for name, value in params.items() if value is not None})
    for name in (name for name, value in params.items() if value is None):
        document.pop(name, None)
    return orjson.dumps(document)
