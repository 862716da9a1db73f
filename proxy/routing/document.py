"""Config documents in Portkey's format: JSON in, a checked tree out, every mistake named with its path.

A document is a target, or a ``strategy`` with ``targets``, each of which is a document again. A target inherits from
those above it what it does not say itself: ``retry``, ``request_timeout``, ``custom_host``, ``forward_headers`` and
the strategy's ``cb_config`` as a whole, ``override_params`` key by key. Provider, credentials and Azure's words are
its own.

What Portkey passes over in silence, or never answers, is a mistake here: an unknown key, a key that nothing reads,
targets without a strategy or a strategy without targets.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from proxy.errors import GatewayError
from proxy.routing import checks, conditions
from proxy.routing.spelling import MAX_SHOWN, Entry, Mistakes, entries_of, shown
from proxy.routing.strategy import strategy_of
from proxy.routing.tree import Branch, BreakerRules, Leaf, Node, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_DEPTH: Final = 8  # strategies in each other: deeper is no routing that anybody can follow
MAX_TARGETS: Final = 64  # targets in all: each may be tried checks.MAX_ATTEMPTS + 1 times for one upload
MAX_HEDGED: Final = 4  # targets of one hedge: each gets a copy, and may bill it
MAX_COMPARISONS: Final = 256  # in all conditions together: while they are made, every other request waits
_MAX_DOCUMENT: Final = 65_536  # characters of an inline config: a header is shorter, a saved one is written by hand

_SPELLINGS: Final = MappingProxyType(
    {
        "azure_resource_name": "resource_name",
        "azure_deployment_id": "deployment_id",
        "azure_deployment_name": "deployment_id",
        "azure_api_version": "api_version",
    }
)
"""Portkey's documentation spells some keys otherwise than its code; both are understood."""

_RETRY_SPELLINGS: Final = MappingProxyType({"use_retry_after_headers": "use_retry_after_header"})

_IN_STRATEGY: Final = "has no effect here: it belongs in 'strategy'"
_REFUSED: Final = MappingProxyType(
    {
        "on_status_codes": "has no effect outside 'strategy' or 'retry': move it there",
        "cb_config": _IN_STRATEGY,
        "conditions": _IN_STRATEGY,
        "default": _IN_STRATEGY,
        "mode": _IN_STRATEGY,
        "sticky": _IN_STRATEGY,
        "options": "this old form of config is not supported: use provider, virtual_key or targets",
        "drop_params": "not supported: null in override_params drops a field",
        "passthrough": "not supported: a target without a provider takes it from the request",
    }
)

_IGNORED: Final = ("id", "cache", "strict_open_ai_compliance")
"""Keys that mean nothing for audio in Portkey either."""

_TEXTS: Final = tuple(
    each.name
    for each in fields(Leaf)
    if each.name not in {"path", "name", "retry", "override_params", "request_timeout", "forward_headers"}
)
_INHERITED: Final[dict[str, Callable[[Any], str | None]]] = {
    "request_timeout": checks.milliseconds,
    "custom_host": checks.text,
    "forward_headers": checks.header_names,
    "override_params": checks.params,
}
_CHECKS: Final = {
    **dict.fromkeys(_TEXTS, checks.text),
    **_INHERITED,
    "name": checks.name,
    "weight": checks.weight,
}
_ANYWHERE: Final = ("retry", "name", "weight", *_INHERITED, *_IGNORED)
_KNOWN: Final = (*_CHECKS, "retry", "strategy", "targets", "azure_auth_mode", "azure_model_name", *_IGNORED)

_RETRY: Final[dict[str, Callable[[Any], str | None]]] = {
    "attempts": checks.attempts,
    "on_status_codes": checks.status_codes,
    "use_retry_after_header": checks.flag,
    "after_commit": checks.flag,
}


@lru_cache(maxsize=256)  # distinct configs in use at once: one per application that sends its own
def parse_text(text: str) -> Node:
    """Return the tree of an inline config, parsed once per distinct text; raises ``invalid_config``."""
    if len(text) > _MAX_DOCUMENT:
        raise _invalid(f"it is longer than {_MAX_DOCUMENT} characters")
    try:
        document = json.loads(text)
    except ValueError:
        raise _invalid("it is neither JSON nor the slug of a saved config") from None
    except RecursionError:
        raise _invalid("it is nested too deeply") from None
    return parse(document)


def parse(document: Any) -> Node:
    """Return the tree that ``document`` describes, or raise ``invalid_config`` with every mistake and its path."""
    found, mistakes = examine(document)
    if mistakes:
        more = f"; and {len(mistakes) - MAX_SHOWN} more" if len(mistakes) > MAX_SHOWN else ""
        raise _invalid("; ".join(f"{path}: {what}" for path, what in mistakes[:MAX_SHOWN]) + more)
    return found


def examine(document: Any) -> tuple[Node, tuple[tuple[str, str], ...]]:
    """Return the tree and the mistakes as ``(path, what is wrong)``: for those who report several documents at once.

    A path is the place below the document (``targets[1].api_key``), and ``config`` for the document itself.
    """
    reader = _Reader()
    found = reader.node(document, "", _Inherited(), 1)
    comparisons = 0 if reader.mistakes else _comparisons(found)
    if comparisons > MAX_COMPARISONS:
        what = f"its conditions make {comparisons} comparisons, more than {MAX_COMPARISONS}"
        reader.mistakes.append(("", f"{what}: $in takes a list, and a pattern counts for {conditions.PATTERN_COST}"))
    return found, tuple((path or "config", what) for path, what in reader.mistakes)


@dataclass(frozen=True, slots=True)
class _Inherited:
    """What a node has from those above it. Its own ``retry`` replaces theirs, but for an ``after_commit`` unsaid."""

    values: Mapping[str, Any] = field(default_factory=dict)
    retry: Retry = Retry()
    breaker: BreakerRules | None = None


class _Reader:
    """Reads one document: its mistakes, and how many targets it has."""

    def __init__(self) -> None:
        self.mistakes: Mistakes = []
        self._targets = 0

    def node(self, document: Any, place: str, above: _Inherited, depth: int) -> Node:
        """Return the tree of the document at ``place``, or something harmless beside a mistake."""
        path = f"config.{place}" if place else "config"
        if not isinstance(document, dict):
            self.mistakes.append((place, "must be a JSON object"))
            return Leaf(path)
        given = entries_of(document, place, _KNOWN, self.mistakes, spellings=_SPELLINGS, refused=_REFUSED)
        own = {key: entry.value for key, entry in given.items() if key in _CHECKS and self._right(entry, _CHECKS[key])}
        own.pop("weight", None)
        name = own.pop("name", None)
        here = self._inherit(above, own, given.get("retry"))
        strategy, targets = given.get("strategy"), given.get("targets")
        if targets is not None:
            self._check_branch(given)
            if strategy is None:
                example = '{"mode": "fallback"}'
                self.mistakes.append((targets.path, f"have no effect without a strategy such as {example}"))
            return self._branch(path, name, strategy, targets, here, depth)
        if strategy is not None:
            self.mistakes.append((strategy.path, "has no effect without 'targets': list the upstreams there"))
        return self._leaf(path, name, own, given, here)

    def _leaf(
        self, path: str, name: str | None, own: dict[str, Any], given: dict[str, Entry], here: _Inherited
    ) -> Leaf:
        mode = given.get("azure_auth_mode")
        if mode is not None and mode.value != "entra":  # the other modes need Azure's own machines
            self.mistakes.append((mode.path, "only 'entra' is supported: give tenant, client id and client secret"))
        values = {**own, **here.values}
        if values.get("provider", "").startswith("@"):  # Portkey's newer spelling of a virtual key
            slug = values.pop("provider")[1:].partition("/")[0]
            if values.setdefault("virtual_key", slug) != slug:
                what = f"names another virtual key than provider {shown(slug)}"
                self.mistakes.append((given["virtual_key"].path, what))
        return Leaf(path, name, retry=here.retry, **values)

    def _branch(
        self, path: str, name: str | None, strategy: Entry | None, targets: Entry, here: _Inherited, depth: int
    ) -> Node:
        documents = targets.value
        if not isinstance(documents, list) or not documents:
            what = "must be a list of targets, not empty: a request would have nowhere to go"
            self.mistakes.append((targets.path, what))
            return Leaf(path)
        self._targets += len(documents)
        if depth > MAX_DEPTH or self._targets > MAX_TARGETS:
            limit = f"{MAX_DEPTH} strategies deep" if depth > MAX_DEPTH else f"{MAX_TARGETS} targets"
            self.mistakes.append((targets.path, f"are more than {limit}"))
            return Leaf(path)
        said: dict[str, Any] = {"mode": "single"}
        if strategy is not None:
            said = strategy_of(strategy.path, strategy.value, [_name(each) for each in documents], self.mistakes)
        breaker = said.pop("breaker", None) or here.breaker
        below = replace(here, breaker=breaker if said["mode"] != "conditional" else None)
        nodes = tuple(
            self.node(each, f"{targets.path}[{index}]", below, depth + 1) for index, each in enumerate(documents)
        )
        if said["mode"] == "loadbalance":
            said["weights"] = self._weights(documents, targets.path)
        elif said["mode"] == "hedge":
            self._check_hedge(nodes, targets.path)
        return Branch(path, targets=nodes, name=name, breaker=breaker, **said)

    def _inherit(self, above: _Inherited, own: dict[str, Any], retry: Entry | None) -> _Inherited:
        """Return what holds from here on down; the inherited keys leave ``own``."""
        values = dict(above.values)
        for key in _INHERITED.keys() & own.keys():
            value = own.pop(key)
            if key == "override_params":
                value = MappingProxyType({**values.get(key, {}), **value})
            values[key] = tuple(value) if isinstance(value, list) else value
        return replace(above, values=values, retry=self._retry(retry, above.retry) if retry else above.retry)

    def _retry(self, entry: Entry, above: Retry) -> Retry:
        if not isinstance(entry.value, dict):
            self.mistakes.append((entry.path, 'must be an object such as {"attempts": 3}'))
            return above
        given = entries_of(entry.value, entry.path, _RETRY, self.mistakes, spellings=_RETRY_SPELLINGS)
        own = {key: each.value for key, each in given.items() if self._right(each, _RETRY[key])}
        if "on_status_codes" in own:
            own["on_status_codes"] = frozenset(own["on_status_codes"])
        if "use_retry_after_header" in own:
            own["use_retry_after"] = own.pop("use_retry_after_header")
        return Retry(**{"after_commit": above.after_commit} | own)

    def _weights(self, documents: list[Any], path: str) -> tuple[float, ...]:
        given = [each.get("weight") if isinstance(each, dict) else None for each in documents]
        values = [1 if each is None else each for each in given]
        if any(checks.weight(each) for each in values):
            return ()  # noted where it stands
        weights = tuple(float(each) for each in values)
        if not any(weights):
            self.mistakes.append((path, "have no weight above 0: none would ever be chosen"))
        return weights

    def _check_branch(self, given: dict[str, Entry]) -> None:
        for key, entry in given.items():
            if key not in (*_ANYWHERE, "strategy", "targets"):
                what = "has no effect beside 'targets', which do not inherit it: give it in each of them"
                self.mistakes.append((entry.path, what))

    def _check_hedge(self, nodes: tuple[Node, ...], path: str) -> None:
        if not 2 <= len(nodes) <= MAX_HEDGED:
            self.mistakes.append((path, f"of a hedge must be 2 to {MAX_HEDGED}: each gets a copy of the upload"))
        for index, node in enumerate(nodes):
            if isinstance(node, Branch):
                self.mistakes.append(
                    (f"{path}[{index}].targets", "cannot stand in a hedge: it sends to single targets")
                )

    def _right(self, entry: Entry, check: Callable[[Any], str | None]) -> bool:
        problem = check(entry.value)
        if problem is not None:
            self.mistakes.append((entry.path, problem))
        return problem is None


def _comparisons(node: Node) -> int:
    if isinstance(node, Leaf):
        return 0
    return sum(conditions.cost(row.query) for row in node.conditions) + sum(map(_comparisons, node.targets))


def _name(document: Any) -> str | None:
    """Return the name that a target goes by, None without a proper one."""
    name = document.get("name") if isinstance(document, dict) else None
    return name if checks.name(name) is None else None


def _invalid(what: str) -> GatewayError:
    return GatewayError("invalid_config", f"Invalid config: {what}.", param="x-portkey-config")
