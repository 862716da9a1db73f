"""The rules between keys: what no single value shows.

They read the resolved tree rather than the models, so that they are checked however wrong the rest of it is.
A value of the wrong kind breaks no rule here: the models report it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from proxy.settings.model import Settings
from proxy.settings.pricing import broken_price
from proxy.settings.values import Address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.settings.mistakes import Where

_DEFAULTS: Final = Settings()
GUARD: Final = (
    "open lets anyone who reaches the listener spend the virtual keys; set auth.mode to keys, listen on "
    "127.0.0.1, or set auth.trust_network to true if the network keeps strangers out"
)
_ENTRA: Final = ("entra_tenant_id", "entra_client_id", "entra_client_secret")
_NAMED: Final = (
    (("virtual_keys",), "slug"),
    (("providers",), "slug"),
    (("configs",), "slug"),
    (("auth", "keys"), "name"),
)


def broken_rules(tree: dict[str, Any]) -> Iterator[tuple[Where, str]]:
    """Yield each place where a rule is broken, and the message."""
    yield from _open_to_all(tree)
    yield from _same_listener(tree)
    for place, key in _NAMED:
        yield from _unique(tree, place, key)
    yield from _gateway_keys(tree)
    yield from _listener_tls(("tls",), tree)
    yield from _listener_tls(("ops", "tls"), _mapping(tree.get("ops")))
    for where, entry in _entries(tree, ("virtual_keys",)):
        yield from _virtual_key(where, entry)
    for where, entry in _entries(tree, ("providers",)):
        yield from _upstream_tls((*where, "tls"), entry)
        for model, row in _mapping(entry.get("prices")).items():
            for steps, problem in broken_price(row) if isinstance(row, dict) else ():
                yield (*where, "prices", model, *steps), problem


def _open_to_all(tree: dict[str, Any]) -> Iterator[tuple[Where, str]]:
    """In open mode whoever reaches the gateway may spend the virtual keys: the way there must be guarded."""
    auth = tree.get("auth", {})
    listen = _address(tree.get("listen"), _DEFAULTS.listen)
    if (
        isinstance(auth, dict)
        and auth.get("mode", "open") == "open"
        and auth.get("trust_network", False) is False
        and tree.get("virtual_keys")
        and listen
        and not listen.is_loopback
    ):
        yield ("auth", "mode"), GUARD


def _same_listener(tree: dict[str, Any]) -> Iterator[tuple[Where, str]]:
    listen = _address(tree.get("listen"), _DEFAULTS.listen)
    ops = _address(_mapping(tree.get("ops")).get("listen"), _DEFAULTS.ops.listen)
    if listen and listen == ops and listen.port:
        yield ("ops", "listen"), "must not be the same address as listen; choose another port"


def _unique(tree: dict[str, Any], place: Where, key: str) -> Iterator[tuple[Where, str]]:
    seen: dict[str, Where] = {}
    for where, entry in _entries(tree, place):
        value = entry.get(key)
        if isinstance(value, str) and (first := seen.setdefault(value, where)) != where:
            yield (*where, key), f"the same {key} as entry {first[-1]}; give each its own"


def _gateway_keys(tree: dict[str, Any]) -> Iterator[tuple[Where, str]]:
    seen: dict[str, Where] = {}
    for where, entry in _entries(tree, ("auth", "keys")):
        key, digest = entry.get("key"), entry.get("key_sha256")
        if (key is None) == (digest is None):
            yield where, "needs exactly one of key, key_file and key_sha256"
        elif isinstance(key, str):
            digest = hashlib.sha256(key.encode(errors="replace")).hexdigest()
        if isinstance(digest, str) and (first := seen.setdefault(digest.lower(), where)) != where:
            yield where, f"the same key as entry {first[-1]}; give each its own"


def _virtual_key(where: Where, entry: dict[str, Any]) -> Iterator[tuple[Where, str]]:
    if entry.get("deployment_id") is not None and entry.get("deployments") is not None:
        yield (*where, "deployments"), "deployment_id is given too; keep one of the two"
    missing = [name for name in _ENTRA if entry.get(name) is None]
    if missing and len(missing) < len(_ENTRA):
        yield where, f"needs {' and '.join(missing)} beside the other entra_ keys"


def _listener_tls(where: Where, section: dict[str, Any]) -> Iterator[tuple[Where, str]]:
    tls = _mapping(section.get("tls"))
    yield from _pair(where, tls)
    if tls.get("client_ca") is not None and tls.get("cert") is None:
        yield (*where, "client_ca"), "needs cert and key beside it"
    if tls.get("client_auth") is not None and tls.get("client_ca") is None:
        yield (*where, "client_auth"), "needs client_ca beside it: the authorities whose certificates are accepted"


def _upstream_tls(where: Where, provider: dict[str, Any]) -> Iterator[tuple[Where, str]]:
    tls, base_url = _mapping(provider.get("tls")), provider.get("base_url")
    yield from _pair(where, tls)
    if tls.get("ca") is not None and tls.get("verify") is False:
        yield (*where, "ca"), "has no effect when verify is false; leave one of the two out"
    if tls and isinstance(base_url, str) and base_url.lower().startswith("http://"):
        yield where, "has no effect on an http:// address; base_url must begin with https://"


def _pair(where: Where, tls: dict[str, Any]) -> Iterator[tuple[Where, str]]:
    for given, other in (("cert", "key"), ("key", "cert")):
        if tls.get(given) is not None and tls.get(other) is None:
            yield (*where, given), f"needs {other} beside it"


def _entries(tree: dict[str, Any], place: Where) -> Iterator[tuple[Where, dict[str, Any]]]:
    """Yield the entries of a list that are mappings, with their places."""
    found: Any = tree
    for step in place:
        found = _mapping(found).get(str(step))
    for n, entry in enumerate(found if isinstance(found, list) else ()):
        if isinstance(entry, dict):
            yield (*place, n), entry


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _address(value: Any, default: Address) -> Address | None:
    if value is None:
        return default
    try:
        return Address.parse(value)
    except (ValueError, TypeError, AttributeError):
        return None
