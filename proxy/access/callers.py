"""Turns a request's credentials into a caller: whose gateway key it is, and which provider key came along."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

from proxy.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from proxy.headers import Headers

PLACEHOLDERS: Final = frozenset({"", "OPENAI_API_KEY", "DUMMY-KEY"})
"""What Portkey's SDKs send as a bearer when they have none: no key at all."""


@dataclass(frozen=True, slots=True)
class GatewayKey:
    """A key that clients present to the gateway, and what it permits. ``digest`` is its SHA-256."""

    name: str
    digest: bytes = field(repr=False)
    config: str | None = None
    allow_config: bool = True
    virtual_keys: frozenset[str] | None = None  # None: all
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def locked_config(self) -> str | None:
        """The config that every request with this key uses, whatever it says; None when it is free to choose."""
        return None if self.allow_config else self.config


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. ``key`` is None in open mode. ``secret`` is the gateway key itself: it crosses to nobody."""

    key: GatewayKey | None = None
    provider_key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)

    def may_use_virtual_key(self, slug: str) -> bool:
        """Return whether this caller may use the virtual key called ``slug``."""
        return self.key is None or self.key.virtual_keys is None or slug in self.key.virtual_keys


class Keyring:
    """The gateway keys, looked up by hash. ``mode`` is the settings' ``auth.mode``."""

    def __init__(self, mode: Literal["open", "keys"], keys: Iterable[GatewayKey] = ()) -> None:
        self.mode = mode
        self._keys = {key.digest: key for key in keys}

    def identify(self, headers: Headers) -> Caller:
        """Return the caller, or raise ``missing_api_key`` or ``invalid_api_key``.

        Mode ``keys``: the gateway key is ``x-portkey-api-key``, else the bearer; a different bearer beside it is
        the provider's. Mode ``open``: the provider's key is the bearer, else ``x-portkey-api-key``.
        """
        bearer = _bearer(headers.get("Authorization", ""))
        portkey = _present(headers.get("x-portkey-api-key", ""))
        if self.mode == "open":
            return Caller(provider_key=bearer or portkey)
        secret = portkey or bearer
        if secret is None:
            raise GatewayError(
                "missing_api_key",
                "This gateway needs a key: send it as x-portkey-api-key or as Authorization: Bearer.",
            )
        digest = _digest(secret)
        key = self._keys.get(digest)
        # The look-up is by hash, so its timing tells nothing of any key; the comparison costs nothing and says so.
        if key is None or not hmac.compare_digest(key.digest, digest):
            raise GatewayError("invalid_api_key", "This is not a key of this gateway. Check x-portkey-api-key.")
        provider_key = bearer if portkey and bearer != portkey else None
        if provider_key is not None and _digest(provider_key) in self._keys:
            provider_key = None  # another of our own keys: no provider may ever see it
        return Caller(key=key, provider_key=provider_key, secret=secret)


def _digest(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _present(value: str) -> str | None:
    value = value.strip()
    return None if value in PLACEHOLDERS else value


def _bearer(value: str) -> str | None:
    """Return the bearer; a bare value without a scheme counts as one, as it does in Portkey."""
    scheme, _, rest = value.strip().partition(" ")
    if not rest:
        return None if scheme.lower() == "bearer" else _present(scheme)
    return _present(rest) if scheme.lower() == "bearer" else None
