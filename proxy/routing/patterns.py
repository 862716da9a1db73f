"""The patterns of ``$regex``: JavaScript's, as Portkey has them, matched in time linear in the text.

Any caller may send a pattern in a config, and a backtracking engine can be kept busy for hours with twenty characters.
So they run on RE2, which has no look-around and no back-references; everything else of JavaScript's means the
same here, ``$`` being the very end and ``\\d``, ``\\w``, ``\\s`` ASCII.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

import re2

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_PATTERN: Final = 256  # characters: enough for a list of models or languages
LONGEST_TEXT: Final = 1024  # characters: more than any name; the worst pattern takes 7 ms for them, and others wait
_MEMORY: Final = 1 << 18  # bytes a compiled pattern may use, most of them states met while matching
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_LETTERS: Final = frozenset("bBdDfnpPrsStvwWx")
"""Letters that mean the same after a backslash in both: RE2 has others (``\\A``), plain letters to JavaScript."""


class InvalidPatternError(ValueError):
    """A pattern that cannot be used; the message says why, and is safe to show."""


def check(pattern: Any) -> str | None:
    """Return what is wrong with a pattern, or None."""
    if not isinstance(pattern, str):
        return "must be a pattern as text"
    try:
        _search(pattern)
    except InvalidPatternError as problem:
        return str(problem)
    return None


def matches(pattern: str, text: str) -> bool:
    """Return whether ``pattern``, a checked one, is found anywhere in ``text``; too long a text matches nothing."""
    return len(text) <= LONGEST_TEXT and _search(pattern)(text.encode("utf-8", "replace").decode()) is not None


@lru_cache(maxsize=128)  # patterns in use at once; with _MEMORY each, 32 MiB at most
def _search(pattern: str) -> Callable[[str], object]:
    if len(pattern) > LONGEST_PATTERN:
        raise InvalidPatternError(f"must be a pattern of at most {LONGEST_PATTERN} characters")
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    try:
        return cast("Callable[[str], object]", re2.compile(_ESCAPE.sub(_escape, pattern), options).search)
    except UnicodeEncodeError:
        raise InvalidPatternError("must be a pattern without half characters") from None
    except re2.error as problem:
        reason = ascii(problem.args[0].decode("utf-8", "replace"))[1:-1]
        raise InvalidPatternError(
            f"is no usable pattern: {reason}. Look-around and back-references are not supported"
        ) from None


def _escape(found: re.Match[str]) -> str:
    if found[1] is not None:
        return rf"\x{{{found[1]}}}"
    if found[2].isascii() and found[2].isalpha() and found[2] not in _LETTERS:
        raise InvalidPatternError(f"is no usable pattern: unknown escape '\\{found[2]}'")
    return found[0]
