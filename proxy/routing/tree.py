"""A config document as a checked tree: what to try, in what order, and when to stop.

Everything a target inherits from its parents is laid into its leaf when the document is read, so that nobody has to
look up again. ``path`` is a node's place as Portkey reports it: ``config``, ``config.targets[1].targets[0]``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

RETRIED: frozenset[int] = frozenset({429, 500, 502, 503, 504})
"""Statuses that are retried when a config asks for retries and names none (Portkey's own default)."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often the same target is tried again, and when."""

    attempts: int = 0
    on_status_codes: frozenset[int] = RETRIED
    use_retry_after: bool = False
    after_commit: bool = True
    """Whether another attempt, also at another target, may follow one that may have been billed already."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One target with everything it inherited. None and empty mean: not given."""

    path: str = "config"
    name: str | None = None
    provider: str | None = None
    virtual_key: str | None = None
    api_key: str | None = field(default=None, repr=False)
    custom_host: str | None = None
    override_params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    request_timeout: float | None = None  # milliseconds, as in the document
    forward_headers: tuple[str, ...] = ()
    retry: Retry = Retry()
    resource_name: str | None = None
    deployment_id: str | None = None
    api_version: str | None = None
    azure_ad_token: str | None = field(default=None, repr=False)
    azure_entra_tenant_id: str | None = None
    azure_entra_client_id: str | None = None
    azure_entra_client_secret: str | None = field(default=None, repr=False)
    azure_entra_scope: str | None = None
    azure_foundry_url: str | None = None
    openai_organization: str | None = None
    openai_project: str | None = None
    openai_beta: str | None = None


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a target is left alone for a while (Portkey's ``cb_config``)."""

    failure_threshold: int | None = None
    failure_threshold_percentage: float | None = None
    cooldown: float = 30.0  # seconds; less is raised to this
    failure_status_codes: frozenset[int] | None = None  # None: 500 and above
    minimum_requests: int = 5  # before the percentage counts


@dataclass(frozen=True, slots=True)
class Sticky:
    """Sends requests with the same fields to the same target of a loadbalance."""

    hash_fields: tuple[str, ...]  # metadata.x, params.x, headers.x
    ttl: float = 300.0  # seconds


@dataclass(frozen=True, slots=True)
class Condition:
    """One row of a conditional: ``query`` as in the document, checked, and the index of the target it leads to."""

    query: Mapping[str, Any]
    then: int


@dataclass(frozen=True, slots=True)
class Branch:
    """Several targets and the strategy that chooses among them. Weights are those of the targets, in their order."""

    path: str
    mode: Literal["single", "fallback", "loadbalance", "conditional", "hedge"]
    targets: tuple[Node, ...]
    name: str | None = None
    on_status_codes: frozenset[int] | None = None  # fallback: None is any status that is no success
    weights: tuple[float, ...] = ()
    policy: Literal["weight", "least_outstanding"] = "weight"
    sticky: Sticky | None = None
    conditions: tuple[Condition, ...] = ()
    default: int | None = None
    breaker: BreakerRules | None = None  # its own, or inherited from the branch above, but never from a conditional
    delay: float = 0.0  # hedge: seconds until the next target gets a copy


Node: TypeAlias = Leaf | Branch


def leaves(node: Node) -> Iterator[Leaf]:
    """Yield every leaf below ``node``, in the document's order."""
    if isinstance(node, Leaf):
        yield node
    else:
        for target in node.targets:
            yield from leaves(target)


def with_leaves(node: Node, change: Callable[[Leaf], Leaf]) -> Node:
    """Return ``node`` with ``change`` made to every leaf."""
    if isinstance(node, Leaf):
        return change(node)
    return replace(node, targets=tuple(with_leaves(target, change) for target in node.targets))
