"""What a request's head decides of its route, and a memory of it: most requests say what another said before.

A decision hangs on the target, ``Authorization`` and Portkey's headers, and on nothing else of a request; so these
together are the key under which it is kept. What belongs to one request alone (its trace id, its metadata,
how its body is framed) is left out here and read each time.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.errors import GatewayError
from proxy.providers.base import Asked, FieldNeeded
from proxy.providers.registry import lookup
from proxy.routing.breaker import rules_by_path
from proxy.routing.conditions import fields_of
from proxy.routing.hints import hints_of
from proxy.routing.plan import Plan
from proxy.routing.resolve import choose, targets_of
from proxy.routing.tree import Branch, Leaf

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aiohttp.web import BaseRequest

    from proxy.access.callers import Caller
    from proxy.providers.base import Outbound
    from proxy.providers.provider import Provider
    from proxy.relay.door import Visit
    from proxy.relay.house import House
    from proxy.routing.hints import Hints
    from proxy.routing.resolve import Choice
    from proxy.routing.target import Target
    from proxy.routing.tree import BreakerRules, Node

_MOST: Final = 1024  # decisions remembered: callers times what they ask for; beyond, the memory begins anew
_OF_ONE_REQUEST: Final = frozenset({"x-portkey-trace-id", "x-portkey-metadata", "x-portkey-audio-file-duration"})

Key = tuple[str, ...]


class Prepared(NamedTuple):
    """A target and its provider; ``outbound`` is set when nothing in the body can still change it."""

    target: Target
    provider: Provider
    outbound: Outbound | None


@dataclass(frozen=True, slots=True)
class Targets:
    """The targets of a request as a tree, each looked up by its path.

    ``breakers`` are the rules of those that have a circuit; ``fields`` the form fields that the tree asks about.
    ``plan`` is the plan of a lone target, which is the same for every request.
    """

    node: Node
    prepared: Mapping[str, Prepared]
    breakers: Mapping[str, BreakerRules]
    fields: frozenset[str]
    weighs_load: bool
    plan: Plan | None

    @property
    def several(self) -> bool:
        """Whether there is more than one target."""
        return self.plan is None


class Decision(NamedTuple):
    """Where a request goes, as far as its head can tell; ``targets`` is None while only the body can name it."""

    caller: Caller
    hints: Hints
    choice: Choice
    targets: Targets | None


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


def targets_for(choice: Choice, hints: Hints, caller: Caller, visit: Visit, house: House) -> Targets:
    """Return every target of a complete choice, looked up; raises what can be told of any without the body."""
    node = choice.node
    prepared = {}
    for path, target in targets_of(choice, hints, caller, house.directory).items():
        try:
            prepared[path] = _prepared(target, visit, house)
        except GatewayError as refused:
            if isinstance(node, Leaf):
                raise
            raise GatewayError(refused.code, f"{path}: {refused.message}", param=refused.param) from None
    return Targets(
        node,
        prepared,
        {path: rules for path, (_leaf, rules) in rules_by_path(node).items()} if choice.config is not None else {},
        frozenset(name.removeprefix("params.") for name in _asked_about(node) if name.startswith("params.")),
        any(branch.policy == "least_outstanding" for branch in _branches(node)),
        Plan.lone(node) if isinstance(node, Leaf) else None,
    )


def _branches(node: Node) -> Iterator[Branch]:
    if isinstance(node, Branch):
        yield node
        for target in node.targets:
            yield from _branches(target)


def _asked_about(node: Node) -> Iterator[str]:
    """Yield what the conditions and sticky targets below ``node`` ask of a request: ``params.model``."""
    for branch in _branches(node):
        for condition in branch.conditions:
            yield from fields_of(condition.query)
        if branch.sticky is not None:
            yield from branch.sticky.hash_fields


def _prepared(target: Target, visit: Visit, house: House) -> Prepared:
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
    return Prepared(target, provider, outbound if final else None)


def _decide(request: BaseRequest, visit: Visit, house: House) -> Decision:
    caller = house.keyring.identify(request.headers)
    hints = hints_of(request.headers)
    choice = choose(hints, caller, house.directory)
    targets = targets_for(choice, hints, caller, visit, house) if choice.complete else None
    return Decision(caller, hints, choice, targets)


def _key(request: BaseRequest) -> Key:
    """Return everything that :func:`_decide` reads, repeated headers in their order."""
    key = [request.raw_path]  # which says the route, too: only pass-through has more than one method
    for name, value in request.headers.items():
        lower = name.lower()
        if lower == "authorization" or (lower.startswith("x-portkey-") and lower not in _OF_ONE_REQUEST):
            key += (lower, value)
    return tuple(key)
