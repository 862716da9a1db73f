"""Hosts that a request may name for itself, and addresses that such a request may never reach."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from proxy.errors import GatewayError

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_MAX_URL: Final = 2048  # as in Portkey: longer is no address anybody meant

_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")  # RFC 4291, 2.4: all that is handed out; the rest is not
_TRANSLATED: Final = (  # IPv4 in IPv6 clothes within it, which ipaddress.is_global lets through
    ipaddress.IPv6Network("2001::/32"),  # Teredo, RFC 4380
    ipaddress.IPv6Network("2002::/16"),  # 6to4, RFC 3056
)


@dataclass(frozen=True, slots=True)
class CustomHosts:
    """The origins a request may name; ``loopback`` adds every loopback address and ``localhost``."""

    allow: frozenset[str] = frozenset()
    loopback: bool = False

    def check(self, url: str, param: str) -> str:
        """Return ``url`` as a base URL; raises ``invalid_custom_host`` or, if it is not listed, ``not_allowed``."""
        scheme, host, port = _parsed(url, param)
        shown = f"[{host}]" if ":" in host else host
        origin = f"{scheme}://{shown}" + ("" if port == _DEFAULT_PORTS[scheme] else f":{port}")
        if origin in self.allow or (self.loopback and is_loopback_name(host)):
            return url.rstrip("/")
        raise GatewayError(
            "not_allowed",
            "This host may not be named in a request. The operator can list its origin under custom_hosts.allow.",
            param=param,
        )


def is_loopback_name(host: str) -> bool:
    """Return whether ``host`` is written as a loopback address or as ``localhost``."""
    if host == "localhost":
        return True
    address = _written(host)
    return address is not None and address.is_loopback


def reachable(address: str, host: str) -> bool:
    """Return whether a request that named ``host`` may connect to ``address``, the socket's final one.

    A host written as an address was allowed as such: it reaches itself. ``localhost`` reaches loopback. Any other
    name must lead to a public address, whatever its DNS says today.
    """
    found, written = _written(address.partition("%")[0]), _written(host)
    if found is None or written is not None:
        return found is not None and found == written
    if host.lower() == "localhost":
        return found.is_loopback
    if isinstance(found, ipaddress.IPv6Address) and (
        found not in _GLOBAL_UNICAST or any(found in network for network in _TRANSLATED)
    ):
        return False
    return found.is_global and not found.is_multicast


def _written(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that ``text`` spells, or None; one mapped into IPv6 is the IPv4 address it means."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def _parsed(url: str, param: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _invalid(param) from None
    host = (parts.hostname or "").lower()
    odd = len(url) > _MAX_URL or any(not 0x20 < ord(c) < 0x7F for c in url) or "\\" in url
    if parts.scheme not in _DEFAULT_PORTS or not host or odd or host.endswith("."):
        raise _invalid(param)
    if "@" in parts.netloc or parts.query or parts.fragment or "?" in url or "#" in url:
        raise _invalid(param)
    if port == 0 or ("[" in parts.netloc) != (":" in host) or "%" in host:
        raise _invalid(param)
    if ":" not in host and not all(c.isalnum() or c in "-." for c in host):
        raise _invalid(param)
    return parts.scheme, host, _DEFAULT_PORTS[parts.scheme] if port is None else port


def _invalid(param: str) -> GatewayError:
    return GatewayError(
        "invalid_custom_host",
        "A custom host is an http or https URL with its version path, such as https://stt.example.com/v1, "
        "without user name, query or fragment.",
        param=param,
    )
