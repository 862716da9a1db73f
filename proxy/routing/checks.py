"""Whether a value of a config document is what its key needs: each check returns what is wrong, or None."""

from __future__ import annotations

import math
from typing import Any, Final

from proxy.headers import is_token

MAX_ATTEMPTS: Final = 5  # Portkey's documented maximum
MAX_WEIGHT: Final = 1_000_000  # so that the sum of all weights stays an exact number
_LONGEST_NAME: Final = 64  # characters: names are read in messages
_LONGEST: Final = 86_400_000  # milliseconds: a day is longer than any wait that was meant


def text(value: Any) -> str | None:
    """Text that can be part of a header."""
    if not isinstance(value, str) or not value.strip():
        return "must be text"
    if any(ord(c) < 0x20 or ord(c) > 0x7E for c in value):
        return "must be printable ASCII"
    return None


def name(value: Any) -> str | None:
    """Text that people read and conditions name."""
    right = isinstance(value, str) and value.strip() and value.isprintable() and len(value) <= _LONGEST_NAME
    return None if right else f"must be text on one line, at most {_LONGEST_NAME} characters"


def milliseconds(value: Any) -> str | None:
    """A length of time."""
    return None if is_number(value) and 0 <= value <= _LONGEST else "must be a number of milliseconds"


def header_names(value: Any) -> str | None:
    """Names of the client's headers."""
    if not isinstance(value, list) or not all(isinstance(each, str) and is_token(each) for each in value):
        return "must be a list of header names"
    if any(each.lower() == "x-portkey-forward-headers" for each in value):
        return "must not contain x-portkey-forward-headers"
    return None


def params(value: Any) -> str | None:
    """Fields to set in the form."""
    if not isinstance(value, dict):
        return "must be an object"
    return "cannot replace the file" if "file" in value else None


def attempts(value: Any) -> str | None:
    """How often to try again."""
    return None if _whole(value, 0, MAX_ATTEMPTS) else f"must be a whole number from 0 to {MAX_ATTEMPTS}"


def flag(value: Any) -> str | None:
    """Yes or no."""
    return None if isinstance(value, bool) else "must be true or false"


def status_codes(value: Any) -> str | None:
    """A list of HTTP statuses, which may be empty."""
    right = isinstance(value, list) and all(_whole(each, 100, 599) for each in value)
    return None if right else "must be a list of HTTP statuses such as [429, 503]"


def weight(value: Any) -> str | None:
    """A share of the requests."""
    return None if is_number(value) and 0 <= value <= MAX_WEIGHT else f"must be a number from 0 to {MAX_WEIGHT}"


def count(value: Any) -> str | None:
    """A number of requests."""
    return None if _whole(value, 1, MAX_WEIGHT) else "must be a whole number, 1 or more"


def percentage(value: Any) -> str | None:
    """A share of something, which cannot be nothing."""
    return None if is_number(value) and 0 < value <= 100 else "must be a number above 0, up to 100"


def seconds(value: Any) -> str | None:
    """A length of time that is not nothing."""
    return None if is_number(value) and 0 < value <= _LONGEST / 1000 else "must be a number of seconds above 0"


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number that can be reckoned with: true and false are none, NaN is none."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and (isinstance(value, int) or math.isfinite(value))
    )


def _whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
