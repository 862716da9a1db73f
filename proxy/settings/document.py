"""YAML text to plain values: strict, bounded, and without YAML 1.1's surprises.

Values are built from libyaml's events, never from tags: nothing but null, booleans, numbers, text, lists and
mappings with text keys can come out. Plain scalars follow the core schema of YAML 1.2 (section 10.3.2), a
little narrower: ``no`` and ``on`` are text, ``2025-04-01`` is text and not a date, ``1:30`` is text and not
ninety, ``007`` is text and not seven. JSON is a subset.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.settings.mistakes import Ledger, Where

MAX_BYTES: Final = 1024 * 1024  # the largest ConfigMap Kubernetes stores; larger is not a settings file
_MAX_DEPTH: Final = 40  # config documents nest about ten levels; keeps recursion far from Python's own limit
_MAX_VALUES: Final = 100_000  # aliases multiply: nine lines of YAML can mean a billion values

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")  # fits 64 bits
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?")


class DocumentError(Exception):
    """Text that is no YAML document as we read it; the message is one line and repeats none of the text."""


def parse(text: str, ledger: Ledger, at: Where = ()) -> Any:
    """Return the one document in ``text`` as plain values; an empty document is None.

    Duplicate keys are reported to ``ledger`` as places below ``at``. Raises :class:`DocumentError`.
    """
    try:
        return _Builder(text, ledger).document(at)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = _one_line(error.problem or "the text cannot be read")
        raise DocumentError(f"is not valid YAML{place}: {problem}") from None
    except (yaml.YAMLError, ValueError):  # unprintable characters; lone surrogates from the environment
        raise DocumentError("is not valid YAML: it holds characters that YAML does not allow") from None


class _Builder:
    """Builds values from one text's events."""

    def __init__(self, text: str, ledger: Ledger) -> None:
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=yaml.CSafeLoader))
        self._ledger = ledger
        self._anchors: dict[str, tuple[Any, int]] = {}  # name → value, and how many values it holds
        self._count = 0

    def document(self, at: Where) -> Any:
        next(self._events)  # the stream's start
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return None
        value = self._value(next(self._events), at, 0)
        next(self._events)  # the document's end
        if not isinstance(next(self._events), yaml.StreamEndEvent):
            raise DocumentError("holds more than one YAML document; keep one")
        return value

    def _value(self, event: Any, at: Where, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise DocumentError(f"nests deeper than {_MAX_DEPTH} levels at line {_line(event)}")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        before = self._count
        self._grow(1)
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            _refuse_tag(event, "seq")
            value = self._sequence(at, depth + 1)
        else:
            _refuse_tag(event, "map")
            value = self._mapping(at, depth + 1)
        if event.anchor:
            self._anchors[event.anchor] = (value, self._count - before)
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise DocumentError(f"refers at line {_line(event)} to an anchor that is not complete before it")
        value, size = self._anchors[event.anchor]
        self._grow(size)
        return value

    def _sequence(self, at: Where, depth: int) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            values.append(self._value(event, (*at, len(values)), depth))
        return values

    def _mapping(self, at: Where, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise DocumentError(f"has a key at line {_line(event)} that is not plain text")
            key, line = event.value, _line(event)
            value = self._value(next(self._events), (*at, key), depth)
            if key == "<<" and event.implicit[0]:
                merged = _merge(value, line) | merged
                continue
            if key in values:
                self._ledger.add((*at, key), f"given twice, at lines {lines[key]} and {line}; keep one")
            values[key] = value
            lines[key] = line
        return merged | values

    def _grow(self, by: int) -> None:
        self._count += by
        if self._count > _MAX_VALUES:
            raise DocumentError(f"holds more than {_MAX_VALUES} values")


def _scalar(event: Any) -> Any:
    text: str = event.value
    if not event.implicit[0]:  # quoted, a block of text, or tagged
        if not event.implicit[1]:
            _refuse_tag(event, "str")
        return text
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


def _refuse_tag(event: Any, allowed: str) -> None:
    if event.tag not in (None, "!", f"tag:yaml.org,2002:{allowed}"):
        raise DocumentError(f"has a tag at line {_line(event)} that settings do not use; remove it")


def _merge(value: Any, line: int) -> dict[str, Any]:
    """Return what ``<<`` brings in (yaml.org/type/merge): one mapping or several, the first one strongest."""
    sources = value if isinstance(value, list) else [value]
    if not all(isinstance(source, dict) for source in sources):
        raise DocumentError(f"has a '<<' at line {line} that does not name a mapping")
    merged: dict[str, Any] = {}
    for source in sources:
        merged = source | merged
    return merged


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _one_line(problem: str) -> str:
    """Bound libyaml's problem text; it is a fixed string that quotes nothing of the file."""
    return " ".join(problem.split())[:100]
