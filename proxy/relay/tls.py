"""What the gateway needs for TLS, made from the settings: one value, part of the house."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """How one provider is spoken to: whom to trust, what to show, and by which name to ask (None: the address's)."""

    context: ssl.SSLContext
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class Tls:
    """Contexts of the two listeners, None for plain HTTP, and those of the providers that have one of their own."""

    gateway: ssl.SSLContext | None = None
    ops: ssl.SSLContext | None = None
    upstreams: Mapping[str, UpstreamTls] = field(default_factory=lambda: MappingProxyType({}))
