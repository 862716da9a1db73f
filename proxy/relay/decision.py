"""What a request's head decides of its route, and a memory of it: most requests say what another said before.

A decision hangs on the target, ``Authorization`` and Portkey's headers, and on nothing else of a request; so these
together are the key under which it is kept. What belongs to one request alone (its trace id, its metadata,
how its body is framed) is left out here and read each time.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.errors import GatewayError
from proxy.providers.base import Asked, FieldNeeded
from proxy.providers.registry import lookup
from proxy.routing.hints import hints_of
from proxy.routing.resolve import choose, target_of

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest

    from proxy.access.callers import Caller
    from proxy.providers.base import Outbound
    from proxy.providers.provider import Provider
    from proxy.relay.door import Visit
    from proxy.relay.house import House
    from proxy.routing.hints import Hints
    from proxy.routing.resolve import Choice
    from proxy.routing.target import Target

_MOST: Final = 1024  # decisions remembered: callers times what they ask for; beyond, the memory begins anew
_OF_ONE_REQUEST: Final = frozenset({"x-portkey-trace-id", "x-portkey-metadata", "x-portkey-audio-file-duration"})

Key = tuple[str, ...]


class Plan(NamedTuple):
    """A target and its provider; ``outbound`` is set when nothing in the body can still change it."""

    target: Target
    provider: Provider
    outbound: Outbound | None


class Decision(NamedTuple):
    """Where a request goes, as far as its head can tell. ``plan`` is None while only the body can name the provider."""

    caller: Caller
    hints: Hints
    choice: Choice
    plan: Plan | None


def decide(request: BaseRequest, visit: Visit, house: House) -> Decision:
    """Return the decision on a request; raises what its head earns. Refusals are not remembered."""
    key = _key(request)
    found: Decision | None = house.decisions.get(key)
    if found is None:
        found = _decide(request, visit, house)
        if len(house.decisions) >= _MOST:
            house.decisions.clear()
        house.decisions[key] = found
    return found


def plan_for(target: Target, visit: Visit, house: House) -> Plan:
    """Return how to send what was asked for to ``target``; raises what can be told without the body."""
    provider = lookup(house.providers, target.provider)
    if provider.needs_key and not provider.has_credential(target):
        raise GatewayError(
            "missing_provider_key",
            f"{provider.slug} needs a key: send it as Authorization: Bearer, or use a virtual key.",
        )
    outbound = None
    with suppress(FieldNeeded):
        outbound = provider.prepare(target, Asked(visit.route, visit.path, visit.query))
    final = outbound is not None and not outbound.edits and not outbound.params
    return Plan(target, provider, outbound if final else None)


def _decide(request: BaseRequest, visit: Visit, house: House) -> Decision:
    caller = house.keyring.identify(request.headers)
    hints = hints_of(request.headers)
    choice = choose(hints, caller, house.directory)
    plan = None
    if choice.source is not None:
        plan = plan_for(target_of(choice, hints, caller, house.directory), visit, house)
    return Decision(caller, hints, choice, plan)


def _key(request: BaseRequest) -> Key:
    """Return everything that :func:`_decide` reads, repeated headers in their order."""
    key = [request.raw_path]  # which says the route, too: only pass-through has more than one method
    for name, value in request.headers.items():
        lower = name.lower()
        if lower == "authorization" or (lower.startswith("x-portkey-") and lower not in _OF_ONE_REQUEST):
            key += (lower, value)
    return tuple(key)
