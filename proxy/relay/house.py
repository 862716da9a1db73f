"""What one request sees of the gateway: everything made from the settings, as one frozen value.

A reload makes a new house and swaps it; a request keeps the one it began in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from proxy.metering.book import PriceBook
from proxy.relay.tls import Tls

if TYPE_CHECKING:
    from proxy.access.callers import Keyring
    from proxy.form.scanner import FormLimits
    from proxy.providers.registry import Registry
    from proxy.relay.patience import Limits
    from proxy.routing.resolve import Directory
    from proxy.settings import Settings


@dataclass(frozen=True, slots=True)
class House:
    """Settings and what was assembled from them. ``secrets`` are all the operator's, longest first, for redaction;
    ``decisions`` remembers what heads of requests have decided (see :mod:`proxy.relay.decision`).
    """

    settings: Settings
    keyring: Keyring
    directory: Directory
    providers: Registry
    form_limits: FormLimits
    limits: Limits
    prices: PriceBook = field(default_factory=PriceBook, repr=False)
    decisions: dict[tuple[str, ...], Any] = field(default_factory=dict, repr=False, compare=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    tls: Tls = field(default_factory=Tls, repr=False)

    def __repr__(self) -> str:
        return f"<House {len(self.providers)} providers>"
