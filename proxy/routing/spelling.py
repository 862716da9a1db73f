"""How a config document's keys are spelt, and what a message says of one that nobody knows."""

from __future__ import annotations

import re
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from proxy.headers import is_token

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Mistakes: TypeAlias = list[tuple[str, str]]
"""What is wrong with a document, as ``(path, what is wrong)``."""

MAX_SHOWN: Final = 20  # mistakes in one answer: whoever has more reads them in turn
_SHOWN: Final = 64  # characters of a key in a message: longer than every known key
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Entry(NamedTuple):
    """A key's value and its place in the document, in the caller's own spelling."""

    path: str
    value: Any


def entries_of(
    document: Mapping[Any, Any],
    place: str,
    known: Collection[str],
    mistakes: Mistakes,
    *,
    spellings: Mapping[str, str] = _NONE,
    refused: Mapping[str, str] = _NONE,
) -> dict[str, Entry]:
    """Return the entries of one object by their keys' own names; what is null counts as not given.

    A key may be written in camelCase or as one of ``spellings``. One that is not ``known`` is a mistake; ``refused``
    says why some are.
    """
    found: dict[str, Entry] = {}
    first: dict[str, str] = {}
    for given, value in document.items():
        snake = in_snake_case(str(given))
        key = spellings.get(snake, snake)
        path = below(place, shown(str(given)))
        if key in refused:
            if value is not None:
                mistakes.append((path, refused[key]))
        elif key not in known:
            mistakes.append((path, f"unknown key{suggestion(key, (*known, *spellings), mistakes)}"))
        elif key in first:
            mistakes.append((path, f"is given twice: also as '{first[key]}'"))
        else:
            first[key] = shown(str(given))
            if value is not None:
                found[key] = Entry(path, value)
    return found


def below(place: str, name: str) -> str:
    """Return the path of what is called ``name`` in the object at ``place``; the root's place is empty."""
    return f"{place}.{name}" if place else name


def in_snake_case(key: str) -> str:
    """Return a camelCase key in the spelling of the documentation."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: "_" + match[1].lower(), key)


def shown(text: str) -> str:
    """Return a key or a word as a message may repeat it: on one line, in ASCII, cut."""
    return text if len(text) <= _SHOWN and is_token(text) else ascii(text[:_SHOWN])


def suggestion(word: str, known: Collection[str], mistakes: Mistakes) -> str:
    """Return the question that names the nearest of ``known``, or nothing; nothing, too, where nobody will read it."""
    if len(mistakes) >= MAX_SHOWN:  # a look takes a millisecond, and a config can hold thousands of wrong words
        return ""
    near = get_close_matches(word[:_SHOWN], known, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""
