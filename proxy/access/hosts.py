"""Hosts that a request may name for itself, and addresses that such a request may never reach."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from proxy.errors import GatewayError

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_MAX_URL: Final = 2048  # as in Portkey: longer is no address anybody meant

_TRANSLATED: Final = tuple(  # IPv4 in IPv6 clothes: ipaddress.is_global lets these through
    ipaddress.ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")
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
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def reachable(address: str, host: str) -> bool:
    """Return whether a request that named ``host`` may connect to ``address``, the socket's final one.

    A host written as an address was allowed as such: it reaches itself. ``localhost`` reaches loopback. Any other
    name must lead to a public address, whatever its DNS says today.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    try:
        return found == ipaddress.ip_address(host)
    except ValueError:
        pass
    if host == "localhost":
        return found.is_loopback
    return (
        found.is_global
        and not found.is_multicast
        and not any(found in network for network in _TRANSLATED if network.version == found.version)
    )


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
