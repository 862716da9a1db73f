"""Config documents in Portkey's format: JSON in, a checked leaf out, every mistake named with its path.

A document with ``strategy`` and ``targets`` is refused with a message that says so: several targets come with
routing. ``retry`` applies to connections that could not be opened, where nothing has been sent.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from proxy.errors import GatewayError
from proxy.headers import is_token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_ATTEMPTS: Final = 5  # Portkey's documented maximum
_SHOWN_KEY: Final = 64  # characters: longer than every known key
_MAX_DOCUMENT: Final = 65_536  # characters of an inline config: a header is shorter, a saved one is written by hand


@dataclass(frozen=True, slots=True)
class Leaf:
    """One checked config document without ``targets``. None and empty mean: not given."""

    provider: str | None = None
    virtual_key: str | None = None
    api_key: str | None = field(default=None, repr=False)
    custom_host: str | None = None
    override_params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    request_timeout: float | None = None  # milliseconds, as in the document
    forward_headers: tuple[str, ...] = ()
    attempts: int = 0
    resource_name: str | None = None
    deployment_id: str | None = None
    api_version: str | None = None
    azure_ad_token: str | None = field(default=None, repr=False)
    azure_entra_tenant_id: str | None = None
    azure_entra_client_id: str | None = None
    azure_entra_client_secret: str | None = field(default=None, repr=False)
    azure_entra_scope: str | None = None
    azure_foundry_url: str | None = None
    openai_organization: str | None = None
    openai_project: str | None = None
    openai_beta: str | None = None


_SPELLINGS: Final = {
    "azure_resource_name": "resource_name",
    "azure_deployment_id": "deployment_id",
    "azure_deployment_name": "deployment_id",
    "azure_api_version": "api_version",
}
"""Portkey's documentation spells some keys otherwise than its code; both are understood."""

_LATER: Final = {
    "strategy": "several targets are not supported yet: give the one target's keys at the top of the config",
    "targets": "several targets are not supported yet: give the one target's keys at the top of the config",
    "on_status_codes": "has no effect outside 'strategy' or 'retry': remove it",
    "options": "this old form of config is not supported: use provider, virtual_key or targets",
}

_IGNORED: Final = frozenset({"name", "id", "weight", "cache", "strict_open_ai_compliance", "azure_model_name"})
"""Keys that mean nothing for a single audio target in Portkey either."""

_AUTH_MODES: Final = (None, "entra")  # the azure_entra_ keys say it already; the other modes need Azure's own machines

_RETRY_KEYS: Final = ("attempts", "on_status_codes", "use_retry_after_header", "use_retry_after_headers")


@lru_cache(maxsize=256)  # distinct configs in use at once: one per application that sends its own
def parse_text(text: str) -> Leaf:
    """Return the leaf of an inline config, parsed once per distinct text; raises ``invalid_config``."""
    if len(text) > _MAX_DOCUMENT:
        raise _invalid(f"it is longer than {_MAX_DOCUMENT} characters")
    try:
        document = json.loads(text)
    except ValueError:
        raise _invalid("it is neither JSON nor the slug of a saved config") from None
    except RecursionError:
        raise _invalid("it is nested too deeply") from None
    return parse(document)


def parse(document: Any) -> Leaf:
    """Return the leaf that ``document`` describes, or raise ``invalid_config`` with every mistake and its path."""
    found, mistakes = examine(document)
    if mistakes:
        raise _invalid("; ".join(f"{path}: {what}" for path, what in mistakes))
    return found


def examine(document: Any) -> tuple[Leaf, tuple[tuple[str, str], ...]]:
    """Return the leaf and the mistakes as ``(path, what is wrong)``: for those who report several documents at once."""
    if not isinstance(document, dict):
        return Leaf(), (("config", "must be a JSON object"),)
    values: dict[str, Any] = {}
    mistakes: list[tuple[str, str]] = []
    for given, value in document.items():
        key = _canonical(given)
        if key in _LATER:
            mistakes.append((_shown(given), _LATER[key]))
        elif key == "retry":
            _retry(value, values, mistakes)
        elif key == "azure_auth_mode":
            if value not in _AUTH_MODES:
                mistakes.append((_shown(given), "only 'entra' is supported: give tenant, client id and client secret"))
        elif key not in _CHECKS:
            if key not in _IGNORED:
                mistakes.append((_shown(given), _unknown(key)))
        elif value is not None:
            problem = _CHECKS[key](value)
            if problem is None:
                values[key] = tuple(value) if isinstance(value, list) else value
            else:
                mistakes.append((_shown(given), problem))
    provider = values.get("provider")
    if provider is not None and provider.startswith("@"):  # Portkey's newer spelling of a virtual key
        values["virtual_key"] = values.pop("provider")[1:].partition("/")[0]
    return Leaf(**values), tuple(mistakes)


def _retry(value: Any, values: dict[str, Any], mistakes: list[tuple[str, str]]) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        mistakes.append(("retry", 'must be an object such as {"attempts": 3}'))
        return
    for key in value:
        if _snake(key) not in _RETRY_KEYS:
            mistakes.append((f"retry.{_shown(key)}", f"unknown key; known are {', '.join(_RETRY_KEYS[:3])}"))
    attempts = value.get("attempts", 0)
    if isinstance(attempts, bool) or not isinstance(attempts, int) or not 0 <= attempts <= MAX_ATTEMPTS:
        mistakes.append(("retry.attempts", f"must be a whole number from 0 to {MAX_ATTEMPTS}"))
    else:
        values["attempts"] = attempts


def _text(value: Any) -> str | None:
    if not isinstance(value, str) or not value.strip():
        return "must be text"
    if any(ord(c) < 0x20 or ord(c) > 0x7E for c in value):
        return "must be printable ASCII"
    return None


def _milliseconds(value: Any) -> str | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return None if number and math.isfinite(value) and value >= 0 else "must be a number of milliseconds"


def _names(value: Any) -> str | None:
    if not isinstance(value, list) or not all(isinstance(name, str) and is_token(name) for name in value):
        return "must be a list of header names"
    if any(name.lower() == "x-portkey-forward-headers" for name in value):
        return "must not contain x-portkey-forward-headers"
    return None


def _object(value: Any) -> str | None:
    if not isinstance(value, dict):
        return "must be an object"
    return "cannot replace the file" if "file" in value else None


_OTHERWISE: Final[dict[str, Callable[[Any], str | None]]] = {
    "request_timeout": _milliseconds,
    "forward_headers": _names,
    "override_params": _object,
}
_CHECKS: Final = {each.name: _OTHERWISE.get(each.name, _text) for each in fields(Leaf) if each.name != "attempts"}
_KNOWN: Final = (*_CHECKS, "retry", *_SPELLINGS)


def _canonical(key: str) -> str:
    snake = _snake(key)
    return _SPELLINGS.get(snake, snake)


def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: "_" + match[1].lower(), key)


def _shown(key: str) -> str:
    """Return a key as a message may repeat it: on one line, in ASCII, cut."""
    return key if len(key) <= _SHOWN_KEY and is_token(key) else ascii(key[:_SHOWN_KEY])


def _unknown(key: str) -> str:
    near = get_close_matches(key[:64], _KNOWN, n=1)
    return f"unknown key; did you mean '{near[0]}'?" if near else "unknown key"


def _invalid(what: str) -> GatewayError:
    return GatewayError("invalid_config", f"Invalid config: {what}.", param="x-portkey-config")
