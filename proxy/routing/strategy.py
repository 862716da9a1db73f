"""The ``strategy`` of a config document: how one of several targets is chosen.

What has no effect in Portkey, or would leave a request without an answer, is a mistake here, with the reason.
``policy`` and ``hedge`` are additions of our own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxy.routing import checks, conditions
from proxy.routing.spelling import Entry, Mistakes, entries_of, shown, suggestion
from proxy.routing.tree import BreakerRules, Condition, Sticky

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_OF_MODE: Final[dict[str, frozenset[str]]] = {
    "single": frozenset(),
    "fallback": frozenset({"on_status_codes"}),
    "loadbalance": frozenset({"policy", "sticky"}),
    "conditional": frozenset({"conditions", "default"}),
    "hedge": frozenset({"delay"}),
}
"""The modes, and the keys that only they read."""

MODES: Final = tuple(_OF_MODE)
_KEYS: Final = ("mode", "cb_config", *(key for keys in _OF_MODE.values() for key in sorted(keys)))
_POLICIES: Final = ("weight", "least_outstanding")
_STICKY_FOR: Final = 300  # seconds, as in Portkey
_LEAST_COOLDOWN: Final = 30.0  # seconds, as in Portkey: an upstream that is ill is not well sooner
_MAX_HASHED: Final = 8  # values that make a request sticky: more say no more of who sent it

_BREAKER_KEYS: Final[dict[str, Callable[[Any], str | None]]] = {
    "failure_threshold": checks.count,
    "failure_threshold_percentage": checks.percentage,
    "cooldown_interval": checks.milliseconds,
    "failure_status_codes": checks.status_codes,
    "minimum_requests": checks.count,
}


def strategy_of(path: str, value: Any, names: Sequence[str | None], mistakes: Mistakes) -> dict[str, Any]:
    """Return what a strategy says as keywords of a ``Branch``; ``names`` are its targets', None for one without."""
    if not isinstance(value, dict):
        mistakes.append((path, 'must be an object such as {"mode": "fallback"}'))
        return {"mode": "single"}
    given = entries_of(value, path, _KEYS, mistakes)
    mode = _mode(given.pop("mode", None), path, mistakes)
    found: dict[str, Any] = {"mode": mode or "single"}
    for key in [key for key in given if mode is not None and key not in ("cb_config", *_OF_MODE[mode])]:
        owner = next(each for each in MODES if key in _OF_MODE[each])
        mistakes.append((given.pop(key).path, f"has no effect with mode '{mode}': only {owner} reads it"))
    if "cb_config" in given:
        found["breaker"] = _breaker(given["cb_config"], mistakes)
    if "on_status_codes" in given and _checked(given["on_status_codes"], checks.status_codes, mistakes):
        found["on_status_codes"] = frozenset(given["on_status_codes"].value)
    if "delay" in given and _checked(given["delay"], checks.milliseconds, mistakes):
        found["delay"] = given["delay"].value / 1000
    if mode == "loadbalance":
        found |= _balance(given, mistakes)
    elif mode == "conditional":
        found |= _conditional(given, path, names, mistakes)
    return found


def _mode(entry: Entry | None, path: str, mistakes: Mistakes) -> str | None:
    if entry is None:
        mistakes.append((path, f"needs a mode: {', '.join(MODES)}"))
    elif isinstance(entry.value, str) and entry.value in _OF_MODE:
        return entry.value
    else:
        near = suggestion(entry.value, MODES, mistakes) if isinstance(entry.value, str) else ""
        mistakes.append((entry.path, f"must be one of {', '.join(MODES)}{near}"))
    return None


def _balance(given: dict[str, Entry], mistakes: Mistakes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    policy, sticky = given.get("policy"), given.get("sticky")
    if policy is not None:
        if policy.value in _POLICIES:
            found["policy"] = policy.value
        else:
            mistakes.append((policy.path, f"must be one of {', '.join(_POLICIES)}"))
    if sticky is not None:
        found["sticky"] = _sticky(sticky, mistakes)
        if found["sticky"] is not None and found.get("policy") == "least_outstanding":
            mistakes.append((sticky.path, "contradicts policy 'least_outstanding': keep one of the two"))
    return found


def _sticky(entry: Entry, mistakes: Mistakes) -> Sticky | None:
    if not isinstance(entry.value, dict):
        mistakes.append((entry.path, 'must be an object such as {"enabled": true, "hash_fields": ["metadata._user"]}'))
        return None
    given = entries_of(entry.value, entry.path, ("enabled", "hash_fields", "ttl"), mistakes)
    if "enabled" not in given:
        mistakes.append((entry.path, "needs enabled: true or false"))
        return None
    ttl = given.get("ttl", Entry(entry.path, _STICKY_FOR))
    fields = given.get("hash_fields", Entry(f"{entry.path}.hash_fields", None))
    if not given["enabled"].value and "hash_fields" not in given:
        fields = fields._replace(value=["metadata._user"])  # switched off: it needs none
    right = [
        _checked(given["enabled"], checks.flag, mistakes),
        _checked(ttl, checks.seconds, mistakes),
        _checked(fields, _hash_fields, mistakes),
    ]
    return Sticky(tuple(fields.value), float(ttl.value)) if all(right) and given["enabled"].value else None


def _hash_fields(value: Any) -> str | None:
    if not isinstance(value, list) or not 0 < len(value) <= _MAX_HASHED:
        return f"must be a list of 1 to {_MAX_HASHED} names such as metadata._user"
    if conditions.PATHNAME in value or any(conditions.check_key(each) for each in value):
        return "must hold metadata.NAME, params.NAME or headers.NAME"
    return None


def _conditional(given: dict[str, Entry], path: str, names: Sequence[str | None], mistakes: Mistakes) -> dict[str, Any]:
    _check_names(path, names, mistakes)
    found: dict[str, Any] = {}
    if "default" in given:
        found["default"] = _named(given["default"], names, mistakes)
    rows = given.get("conditions")
    if rows is None:
        mistakes.append((path, "needs conditions: without any, no target is chosen by what a request says"))
        return found
    if not isinstance(rows.value, list) or not rows.value:
        example = '[{"query": {"metadata.plan": "paid"}, "then": "name of a target"}]'
        mistakes.append((rows.path, f"must be a list such as {example}, not empty"))
        return found
    read = []
    for index, row in enumerate(rows.value):
        place = f"{rows.path}[{index}]"
        if not isinstance(row, dict):
            mistakes.append((place, 'must be an object such as {"query": {…}, "then": "name of a target"}'))
            continue
        entries = entries_of(row, place, ("query", "then"), mistakes)
        query = entries.get("query", Entry(f"{place}.query", None))
        conditions.check(query.value, query.path, mistakes)
        then = _named(entries.get("then", Entry(f"{place}.then", None)), names, mistakes)
        read.append(Condition(query.value, -1 if then is None else then))
    return found | {"conditions": tuple(read)}


def _named(entry: Entry, names: Sequence[str | None], mistakes: Mistakes) -> int | None:
    """Return the index of the target that an entry names."""
    if isinstance(entry.value, str) and entry.value in names:
        return names.index(entry.value)
    known = [name for name in names if name is not None]
    if isinstance(entry.value, str):
        what = f"no target is named {shown(entry.value)}{suggestion(entry.value, known, mistakes)}"
    else:
        what = "must be the name of a target"
    mistakes.append((entry.path, what))
    return None


def _check_names(path: str, names: Sequence[str | None], mistakes: Mistakes) -> None:
    targets = path.removesuffix("strategy") + "targets"
    for index, name in enumerate(names):
        if name is not None and names.index(name) < index:
            mistakes.append((f"{targets}[{index}].name", f"is the name of targets[{names.index(name)}] already"))


def _breaker(entry: Entry, mistakes: Mistakes) -> BreakerRules | None:
    if not isinstance(entry.value, dict):
        mistakes.append((entry.path, 'must be an object such as {"failure_threshold": 5}'))
        return None
    given = entries_of(entry.value, entry.path, _BREAKER_KEYS, mistakes)
    read = {key: each.value for key, each in given.items() if _checked(each, _BREAKER_KEYS[key], mistakes)}
    if not {"failure_threshold", "failure_threshold_percentage"} & given.keys():
        mistakes.append((entry.path, "never opens: give failure_threshold or failure_threshold_percentage"))
    cooldown = read.pop("cooldown_interval", 0) / 1000
    codes = read.pop("failure_status_codes", None)
    return BreakerRules(
        **read,
        cooldown=max(cooldown, _LEAST_COOLDOWN),
        failure_status_codes=None if codes is None else frozenset(codes),
    )


def _checked(entry: Entry, check: Callable[[Any], str | None], mistakes: Mistakes) -> bool:
    problem = check(entry.value)
    if problem is not None:
        mistakes.append((entry.path, problem))
    return problem is None
