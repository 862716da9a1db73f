"""The settings for people to look at: everything but the secrets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, SecretStr

from proxy.settings.store import StoreUrl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.settings.model import Settings

HIDDEN: Final = "***"
_SECRET_WORD: Final = re.compile(
    r"(?:^|(?<!virtual)[_.-])(?:key|apikey|token|secret|password|passwd|authorization|credentials?|signature|sig|cookie)$|access_key",
    re.IGNORECASE,
)
_USERINFO: Final = re.compile(r"(?<=://)[^/?#\s]*@")
_QUERY: Final = re.compile(r"([?&])([^=&#\s]{1,64})=([^&#\s]*)")


def redacted(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON values with every secret as ``***``.

    Secrets of the models hide themselves; inside config documents they are known by their names, and in any
    text by their place in a URL (user and password, query parameters with a secret's name).
    """
    view: dict[str, Any] = _scrub(settings.model_dump(mode="json"))
    for config in view["configs"]:
        config["config"] = _scrub_document(config["config"])
    return view


def secrets_in(settings: Settings) -> tuple[str, ...]:
    """Return every secret that the settings hold, longest first, for redaction by value.

    Longest first, since a secret may be part of another. A gateway key known by its digest only is not among them.
    """
    found = {*_declared(settings), *(secret for entry in settings.configs for secret in _named(entry.config))}
    return tuple(sorted(found, key=lambda secret: (-len(secret), secret)))


def _declared(value: Any) -> Iterator[str]:
    """Yield what the models declare to be secret."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, StoreUrl):
        yield from value.passwords
    elif isinstance(value, BaseModel):
        for _, inner in value:
            yield from _declared(inner)
    elif isinstance(value, tuple):
        for inner in value:
            yield from _declared(inner)


def _named(value: Any) -> Iterator[str]:
    """Yield what a config document's key names call secret."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, str) and inner and _SECRET_WORD.search(key):
                yield inner
            yield from _named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner)


def _scrub(value: Any) -> Any:
    """Hide what URLs in any text carry."""
    if isinstance(value, dict):
        return {key: _scrub(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_scrub(inner) for inner in value]
    if isinstance(value, str):
        return _QUERY.sub(_scrub_parameter, _USERINFO.sub(f"{HIDDEN}@", value))
    return value


def _scrub_parameter(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}={HIDDEN}" if _SECRET_WORD.search(found[2]) else found[0]


def _scrub_document(value: Any) -> Any:
    """Hide the values of keys that name a secret, at any depth."""
    if isinstance(value, dict):
        return {
            key: HIDDEN if inner is not None and _SECRET_WORD.search(key) else _scrub_document(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_scrub_document(inner) for inner in value]
    return value
