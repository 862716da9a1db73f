"""What the gateway is made of, for people to look at: its settings, and its upstreams with how they do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from proxy.ops.answers import answer_json
from proxy.ops.api import asked
from proxy.routing.tree import leaves
from proxy.settings import redacted
from proxy.store.questions import stats_from
from proxy.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from proxy.ops.desk import Desk
    from proxy.providers.provider import Provider
    from proxy.relay.house import House
    from proxy.store.rollup import Measures

_WINDOW: Final = 900  # seconds that "recent" means: long enough to judge, short enough to be of now
_RECENT: Final = {"since": f"{_WINDOW}s", "bucket": "1m", "group_by": "provider"}
_CIRCUITS: Final = ("closed", "half_open", "open")
_IN_FLIGHT: Final = "audiogate_upstream_in_flight"
_CIRCUIT: Final = "audiogate_circuit_breaker_state"


class Views:
    """The handlers of ``/api/config`` and ``/api/upstreams``."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def config(self, request: web.Request) -> web.StreamResponse:
        """Answer the settings in force; every secret is ``***``."""
        asked(request, ())
        loaded_at = datetime.fromtimestamp(self._desk.loaded_at(), UTC).isoformat(timespec="milliseconds")
        document = {
            "settings": redacted(self._desk.settings),
            "file": self._desk.file,
            "loaded_at": loaded_at.replace("+00:00", "Z"),
        }
        return answer_json(request, document)

    async def upstreams(self, request: web.Request) -> web.StreamResponse:
        """Answer every provider: its circuit and attempts now, and its requests of the last quarter of an hour."""
        asked(request, ())
        house = self._desk.house()
        now = await self._desk.exposition.values("provider", _IN_FLIGHT, _CIRCUIT)
        recent = await self._recent()
        items = [
            _item(provider, house, now, None if recent is None else recent.get(slug))
            | ({"recent": None} if recent is None else {})
            for slug, provider in house.providers.items()
        ]
        items.sort(key=lambda item: (not item["used"], item["provider"]))
        return answer_json(request, {"items": items})

    async def _recent(self) -> dict[str, tuple[Measures, int]] | None:
        """Return each provider's sums, and how many of the requests the upstream failed; None without a store."""
        reader = self._desk.reader
        if reader is None:
            return None
        now = self._desk.now()
        try:
            every = await reader.stats(stats_from(_RECENT, now))
            failed = await reader.stats(stats_from({**_RECENT, "outcome": "upstream_error"}, now))
        except StoreError:  # what is going on now shows all the same
            return None
        failures = {slug: measures.requests for slug, measures in failed.groups}
        return {slug: (measures, failures.get(slug, 0)) for slug, measures in every.groups}


def _item(
    provider: Provider, house: House, now: Mapping[str, Mapping[str, float]], recent: tuple[Measures, int] | None
) -> dict[str, Any]:
    slug, directory = provider.slug, house.directory
    virtual_keys = [key.slug for key in directory.virtual_keys.values() if key.provider == slug]
    configs = [
        name
        for name, node in directory.configs.items()
        if any(leaf.provider == slug or leaf.virtual_key in virtual_keys for leaf in leaves(node))
    ]
    own = any(given.slug == slug for given in house.settings.providers)
    in_flight = int(now.get(_IN_FLIGHT, {}).get(slug, 0))
    circuit = int(now.get(_CIRCUIT, {}).get(slug, 0))
    return {
        "provider": slug,
        "base_url": provider.base_url,
        "kind": "own" if own else "builtin",
        "used": bool(own or virtual_keys or configs or in_flight or circuit or recent),
        "circuit": _CIRCUITS[circuit],
        "in_flight": in_flight,
        "recent": _shown(recent),
        "virtual_keys": virtual_keys,
        "configs": configs,
    }


def _shown(recent: tuple[Measures, int] | None) -> dict[str, Any]:
    if recent is None or not recent[0].requests:
        latency = {"p50": None, "p95": None, "p99": None}
        return {"window_seconds": _WINDOW, "requests": 0, "errors": 0, "error_rate": None, "latency_ms": latency}
    measures, errors = recent
    return {
        "window_seconds": _WINDOW,
        "requests": measures.requests,
        "errors": errors,
        "error_rate": errors / measures.requests,
        "latency_ms": measures.document()["latency_ms"],
    }
