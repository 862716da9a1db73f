"""The queries of a conditional strategy: checked when the document is read, asked of each request.

As in Portkey: a bare value means ``$eq``; several keys must all hold; the orderings compare numbers; a missing value
(or null, or a list) equals nothing, so that ``$ne`` and ``$nin`` hold for it and everything else does not.

Otherwise than in Portkey, where these do nothing or surprise: all operators of one object count, also after
``$regex``, and so do keys beside ``$and`` and ``$or``; text that is no number orders with none (there ``"12abc"`` is
12); a pattern finds nothing in a missing value (there it searches the word "undefined"). Form fields are text, so
text equals a number that it spells and a boolean that it names: ``"0.20"`` is 0.2 and ``"true"`` is true, while of two
texts each character counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from operator import ge, gt, le, lt
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from proxy.routing import patterns
from proxy.routing.checks import is_number
from proxy.routing.spelling import Mistakes, below, shown, suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

MAX_DEPTH: Final = 8  # of $and and $or in each other: nobody reads more
PATTERN_COST: Final = 8  # comparisons that a pattern counts for: it can take milliseconds
PATHNAME: Final = "url.pathname"

_NUMBER: Final = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*", re.ASCII)
_LONGEST_NUMBER: Final = 64  # characters: more digits than a number can hold
_KEYS: Final = "metadata.NAME, params.NAME, headers.NAME or url.pathname"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a request. ``headers`` takes any case or has its names in lower case.

    ``params`` are the form's fields (the first of each name) or the keys of a JSON body, as far as they have been seen;
    ``complete`` says that no other will come.
    """

    metadata: Mapping[str, Any]
    headers: Mapping[str, str] = field(repr=False)
    pathname: str
    params: Mapping[str, Any]
    complete: bool


NOTHING_KNOWN: Final = Facts({}, {}, "", {}, complete=True)
"""For plans that ask nothing."""


class ParamNeeded(Exception):  # noqa: N818  (no error: more of the upload will tell)
    """The answer hangs on a field that has not been seen yet. Ask again when it is, or when the form has ended."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the field {name!r} is needed")
        self.name = name


Verdict: TypeAlias = bool | ParamNeeded


def holds(query: Mapping[str, Any], facts: Facts) -> bool:
    """Return whether a checked query holds; raises :class:`ParamNeeded` when only a field to come can tell."""
    verdict = _query(query, facts)
    if isinstance(verdict, ParamNeeded):
        raise verdict
    return verdict


def value_of(key: str, facts: Facts) -> Any:
    """Return what a request has under ``key`` (``params.model``), None if nothing; raises :class:`ParamNeeded`."""
    kind, _, name = key.partition(".")
    if kind == "params":
        if name not in facts.params and not facts.complete:
            raise ParamNeeded(name)
        return facts.params.get(name)
    if kind == "metadata":
        return facts.metadata.get(name)
    return facts.headers.get(name.lower()) if kind == "headers" else facts.pathname


def fields_of(query: Mapping[str, Any]) -> Iterator[str]:
    """Yield every key that a checked query asks about, such as ``params.model``."""
    for key, value in query.items():
        if key in _LOGICAL:
            for inner in value:
                yield from fields_of(inner)
        else:
            yield key


def check_key(key: Any) -> str | None:
    """Return what is wrong with the name of a request's value, or None."""
    kind, dot, name = key.partition(".") if isinstance(key, str) else ("", "", "")
    if key == "params.file":
        return "the file is no field: it cannot be asked about"
    if key != PATHNAME and not (kind in ("metadata", "params", "headers") and dot and name):
        return f"must be {_KEYS}"
    return None


def cost(query: Mapping[str, Any]) -> int:
    """Return how many comparisons a checked query makes at most, a pattern counting for :data:`PATTERN_COST`."""
    total = 0
    for key, value in query.items():
        if key in _LOGICAL:
            total += sum(map(cost, value))
        else:
            operators = value if isinstance(value, dict) else ("$eq",)
            total += sum(PATTERN_COST if operator == "$regex" else 1 for operator in operators)
    return total


def check(query: Any, place: str, mistakes: Mistakes, depth: int = 1) -> None:
    """Note what is wrong with a query that stands at ``place``."""
    if not isinstance(query, dict):
        mistakes.append((place, 'must be an object such as {"metadata.plan": "paid"}'))
        return
    for key, value in query.items():
        path = below(place, shown(key))
        if key in _LOGICAL:
            _check_all(value, path, mistakes, depth)
        elif key.startswith("$"):
            mistakes.append((path, f"only $and and $or may stand here: an operator belongs below {_KEYS}"))
        elif problem := check_key(key):
            mistakes.append((path, problem))
        else:
            _check_value(value, path, mistakes)


def _check_all(queries: Any, path: str, mistakes: Mistakes, depth: int) -> None:
    if not isinstance(queries, list) or not queries:
        mistakes.append((path, "must be a list of queries, not empty"))
    elif depth >= MAX_DEPTH:
        mistakes.append((path, f"is nested more than {MAX_DEPTH} deep"))
    else:
        for index, inner in enumerate(queries):
            check(inner, f"{path}[{index}]", mistakes, depth + 1)


def _check_value(value: Any, path: str, mistakes: Mistakes) -> None:
    if not isinstance(value, dict):
        problem = 'use {"$in": […]} to compare with a list' if isinstance(value, list) else _check_scalar(value)
        if problem is not None:
            mistakes.append((path, problem))
        return
    if not value:
        mistakes.append((path, "must name an operator: it would always hold"))
    for operator, operand in value.items():
        if operator not in _OPERATORS:
            near = suggestion(operator, _OPERATORS, mistakes) or f"; known are {', '.join(_OPERATORS)}"
            problem = f"unknown operator{near}"
        else:
            problem = _OPERATORS[operator][0](operand)
        if problem is not None:
            mistakes.append((below(path, shown(operator)), problem))


def _check_scalar(value: Any) -> str | None:
    if value is None:
        return "null equals nothing: a missing value is one for which $ne or $nin holds"
    return None if isinstance(value, str | bool) or is_number(value) else "must be text, a number, true or false"


def _check_number(value: Any) -> str | None:
    return None if not isinstance(value, bool) and _number(value) is not None else "must be a number"


def _check_list(value: Any) -> str | None:
    if not isinstance(value, list) or not value:
        return "must be a list of values, not empty"
    return next(filter(None, map(_check_scalar, value)), None)


def _query(query: Mapping[str, Any], facts: Facts) -> Verdict:
    return _every(_entry(key, value, facts) for key, value in query.items())


def _entry(key: str, value: Any, facts: Facts) -> Verdict:
    if key in _LOGICAL:
        return _LOGICAL[key](_query(inner, facts) for inner in value)
    try:
        found = value_of(key, facts)
    except ParamNeeded as needed:
        return needed
    tests = value.items() if isinstance(value, dict) else (("$eq", value),)
    return all(_OPERATORS[operator][1](found, operand) for operator, operand in tests)


def _every(verdicts: Iterable[Verdict]) -> Verdict:
    """Whether all hold: one that does not settles it."""
    return _settled(verdicts, by=False)


def _either(verdicts: Iterable[Verdict]) -> Verdict:
    """Whether one holds: one that does settles it."""
    return _settled(verdicts, by=True)


def _settled(verdicts: Iterable[Verdict], *, by: bool) -> Verdict:
    """Return ``by`` if one of the verdicts is that, whatever is still to come; else what is needed, if anything is."""
    needed: ParamNeeded | None = None
    for verdict in verdicts:
        if verdict is by:
            return by
        if isinstance(verdict, ParamNeeded):
            needed = needed or verdict
    return not by if needed is None else needed


def _equal(found: Any, wanted: Any) -> bool:
    if isinstance(found, str) and isinstance(wanted, str):
        return found == wanted
    if isinstance(found, bool) or isinstance(wanted, bool):
        return (truth := _truth(found)) is not None and truth == _truth(wanted)
    return (number := _number(found)) is not None and number == _number(wanted)


def _in(found: Any, wanted: list[Any]) -> bool:
    return any(_equal(found, each) for each in wanted)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(found: Any, wanted: Any) -> bool:
        left, right = _number(found), _number(wanted)
        return left is not None and right is not None and compare(left, right)

    return test


def _matches(found: Any, pattern: str) -> bool:
    if isinstance(found, bool):
        found = "true" if found else "false"
    elif is_number(found):
        found = str(found)
    return isinstance(found, str) and patterns.matches(pattern, found)


def _number(value: Any) -> float | None:
    if is_number(value):
        return value  # type: ignore[no-any-return]  # an int stays one: it may be larger than any float
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER and _NUMBER.fullmatch(value):
        return float(value)
    return None


def _truth(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return value if isinstance(value, bool) else None


_LOGICAL: Final[dict[str, Callable[[Iterable[Verdict]], Verdict]]] = {"$and": _every, "$or": _either}

_OPERATORS: Final[dict[str, tuple[Callable[[Any], str | None], Callable[[Any, Any], bool]]]] = {
    "$eq": (_check_scalar, _equal),
    "$ne": (_check_scalar, lambda found, wanted: not _equal(found, wanted)),
    "$gt": (_check_number, _ordered(gt)),
    "$gte": (_check_number, _ordered(ge)),
    "$lt": (_check_number, _ordered(lt)),
    "$lte": (_check_number, _ordered(le)),
    "$in": (_check_list, _in),
    "$nin": (_check_list, lambda found, wanted: not _in(found, wanted)),
    "$regex": (patterns.check, _matches),
}
"""Each operator with the check of its operand and its meaning."""
