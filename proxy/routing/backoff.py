"""How long to wait before the next attempt, and how many more an upstream can bear."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_BACKOFF: Final = 30.0  # seconds: half of what a target's waits may take together, so that one retry still fits
LONGEST_WAIT: Final = 60.0  # seconds that the waits before one target's retries may take together (Portkey's limit)

_YEAR: Final = 366 * 86_400.0  # seconds; more is no wait but a mistake, such as a Unix time
_NUMBER: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?", re.ASCII)
_DOUBLINGS: Final = 16  # already far beyond the longest backoff


def backoff(retries: int, jitter: float) -> float:
    """Return the seconds to wait before the next retry after ``retries``: 1, 2, 4, 8, 16, 30, less a random part.

    ``jitter`` is a random number from 0 to 1. Half of the wait is fixed and half is random ("equal jitter"): clients
    that failed together do not come back together, and yet a sick upstream always gets the better part of the pause.
    """
    longest = min(2.0 ** min(retries, _DOUBLINGS), LONGEST_BACKOFF)
    return longest * (1 + jitter) / 2


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds a reply asks to be left alone, or None when it says nothing that can be understood.

    ``retry-after-ms`` and ``x-ms-retry-after-ms`` (Azure) are milliseconds; ``retry-after`` is seconds, also with a
    decimal point, or an HTTP date (RFC 9110, 10.2.3). ``now`` is the Unix time. A date that has passed says nothing:
    one of the two clocks is wrong. ``headers`` has case-insensitive names.
    """
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        milliseconds = _number(headers.get(name, ""))
        if milliseconds is not None and milliseconds / 1000 <= _YEAR:
            return milliseconds / 1000
    given = headers.get("retry-after", "")
    seconds = _number(given)
    if seconds is None and (date := _date(given)) is not None and date > now:
        seconds = date - now
    return seconds if seconds is not None and seconds <= _YEAR else None


def _number(text: str) -> float | None:
    text = text.strip()
    return float(text) if _NUMBER.fullmatch(text) else None


def _date(text: str) -> float | None:
    """Return the Unix time of an HTTP date in any of its three forms, all of which mean GMT."""
    try:
        parts = parsedate_tz(text)
        return None if parts is None else float(mktime_tz((*parts[:9], parts[9] or 0)))
    except (ValueError, OverflowError, IndexError, TypeError):  # what the standard library says to odd dates
        return None


SHARE: Final = 0.2  # retries per request: 20 % more load is what an upstream near its limit survives
FLOOR: Final = 10.0  # retries at once without any requests to show for them: a quiet service may retry too
REFILL: Final = 3.0  # of them again per second
_MEMORY: Final = 10.0  # seconds after which a request hardly earns anything any more: a good hour pays for no storm


@dataclass(slots=True)
class RetryBudget:
    """How many retries one upstream can bear now, so that retries never turn a sick upstream into a dead one.

    Every first attempt earns a fifth of a retry, which fades within seconds; beside that there is a floor. Only retries
    of the same target take from it: a fallback goes to another upstream, which has a budget of its own. ``now`` is any
    clock in seconds that does not go back.
    """

    earned: float = 0.0
    floor: float = FLOOR
    seen: float = -math.inf

    def request(self, now: float) -> None:
        """Count a first attempt."""
        self._pass(now)
        self.earned += SHARE

    def is_spent(self, now: float) -> bool:
        """Return whether :meth:`try_take` would refuse."""
        self._pass(now)
        return self.earned < 1.0 and self.floor < 1.0

    def try_take(self, now: float) -> bool:
        """Take one retry; False when there is none left."""
        if self.is_spent(now):
            return False
        if self.earned >= 1.0:
            self.earned -= 1.0
        else:
            self.floor -= 1.0
        return True

    def _pass(self, now: float) -> None:
        elapsed = now - self.seen
        if elapsed > 0:
            self.earned *= math.exp(-elapsed / _MEMORY)
            self.floor = min(FLOOR, self.floor + elapsed * REFILL)
            self.seen = now
