"""Who is logged in, and who has guessed too often: both in memory, both bounded."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections import OrderedDict
from typing import Final, NamedTuple

LIFETIME: Final = 12 * 3600  # seconds: a working day; no session outlives the process
_MOST_SESSIONS: Final = 1000  # browsers logged in at once; then the oldest has to log in again

_GUESSES: Final = 10.0  # wrong tokens that a network may try at once
_REGAINED: Final = 0.5  # of a guess per second: half a million a fortnight is no way to find a token
_MOST_NETWORKS: Final = 4096  # remembered at once: about a megabyte


def same(given: str, token: str) -> bool:
    """Whether two tokens are the same, in a time that does not tell where they differ."""
    return hmac.compare_digest(_digest(given), _digest(token))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()


class _Session(NamedTuple):
    ends: float
    opened_with: bytes  # the digest of a token: another token ends it


class Sessions:
    """The open sessions of one process. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._open: OrderedDict[bytes, _Session] = OrderedDict()

    def open(self, token: str, now: float) -> str:
        """Open a session for whoever knew ``token``; return its id, which nobody can guess."""
        while len(self._open) >= _MOST_SESSIONS:
            self._open.popitem(last=False)
        session_id = secrets.token_urlsafe(32)
        self._open[_digest(session_id)] = _Session(now + LIFETIME, _digest(token))
        return session_id

    def knows(self, session_id: str, token: str, now: float) -> bool:
        """Whether a session is open, and was opened with the token of today."""
        session = self._open.get(_digest(session_id))
        return session is not None and now < session.ends and hmac.compare_digest(session.opened_with, _digest(token))

    def close(self, session_id: str) -> None:
        """End a session, if there is one."""
        self._open.pop(_digest(session_id), None)


class Guesses:
    """Counts wrong tokens by the network that they come from: an IPv4 address, or 64 bits of an IPv6 one."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str | None, now: float) -> float:
        """Return the seconds until ``address`` may try again; 0 when it may now."""
        left = self._of(_network(address), now)
        return 0.0 if left >= 1 else (1 - left) / _REGAINED

    def wrong(self, address: str | None, now: float) -> None:
        """Take note of a wrong token."""
        network = _network(address)
        self._left[network] = max(self._of(network, now) - 1, 0.0), now
        self._left.move_to_end(network)
        while len(self._left) > _MOST_NETWORKS:
            self._left.popitem(last=False)

    def _of(self, network: str, now: float) -> float:
        left, at = self._left.get(network, (_GUESSES, now))
        return min(left + (now - at) * _REGAINED, _GUESSES)


def _network(address: str | None) -> str:
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return ""
    if ip.version == 4:
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
