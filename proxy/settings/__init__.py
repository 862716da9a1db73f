"""The settings: a YAML file, the environment and flags → one frozen `Settings`, or all mistakes at once.

Shape only: whether a slug, a provider or a config exists is for the house to say, in ``server``.
"""

from __future__ import annotations

from proxy.settings.files import fingerprint
from proxy.settings.load import Loaded, load
from proxy.settings.mistakes import Mistake, SettingsError
from proxy.settings.model import (
    Auth,
    Config,
    CustomHosts,
    Drain,
    GatewayKey,
    Limits,
    Metrics,
    Ops,
    PriceFile,
    PriceRow,
    Provider,
    Records,
    Replay,
    Settings,
    Timeouts,
    VirtualKey,
)
from proxy.settings.redact import redacted, secrets_in
from proxy.settings.schema import json_schema
from proxy.settings.store import StoreUrl
from proxy.settings.tls import ListenerTls, UpstreamTls
from proxy.settings.values import Address

__all__ = [
    "Address",
    "Auth",
    "Config",
    "CustomHosts",
    "Drain",
    "GatewayKey",
    "Limits",
    "ListenerTls",
    "Loaded",
    "Metrics",
    "Mistake",
    "Ops",
    "PriceFile",
    "PriceRow",
    "Provider",
    "Records",
    "Replay",
    "Settings",
    "SettingsError",
    "StoreUrl",
    "Timeouts",
    "UpstreamTls",
    "VirtualKey",
    "fingerprint",
    "json_schema",
    "load",
    "redacted",
    "secrets_in",
]
