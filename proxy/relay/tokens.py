"""Bearers that must be fetched: client-credentials grants, cached until shortly before they expire."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp
import orjson

from proxy.errors import GatewayError

if TYPE_CHECKING:
    from proxy.providers.base import TokenRequest

_MARGIN: Final = 120.0  # seconds before its end that a token is renewed: clocks differ, uploads take a while
_PATIENCE: Final = 10.0  # seconds for the authority to answer
_MOST: Final = 256  # tokens kept: one for each application, of which settings hold few
_MAX_ANSWER: Final = 65_536  # bytes of an answer: tokens have about 2,000


class Tokens:
    """Fetches each distinct grant once, however many requests ask for it at the same time."""

    def __init__(self) -> None:
        self._known: dict[TokenRequest, tuple[str, float]] = {}
        self._locks: dict[TokenRequest, asyncio.Lock] = {}

    async def bearer(self, asked: TokenRequest, session: aiohttp.ClientSession) -> str:
        """Return a token for ``asked``; raises GatewayError ``upstream_unreachable`` or ``missing_provider_key``."""
        loop = asyncio.get_running_loop()
        known = self._known.get(asked)
        if known is not None and loop.time() < known[1]:
            return known[0]
        async with self._locks.setdefault(asked, asyncio.Lock()):
            known = self._known.get(asked)
            if known is None or loop.time() >= known[1]:
                if len(self._known) >= _MOST:
                    self._known.clear()
                    self._locks = {asked: self._locks[asked]}
                known = self._known[asked] = await _fetch(asked, session, loop.time())
            return known[0]


async def _fetch(asked: TokenRequest, session: aiohttp.ClientSession, now: float) -> tuple[str, float]:
    """Ask the authority (RFC 6749, 4.4.2); return the token and when to renew it."""
    grant = {
        "grant_type": "client_credentials",
        "client_id": asked.client_id,
        "client_secret": asked.client_secret,
        "scope": asked.scope,
    }
    try:
        async with session.post(
            asked.url,
            data=grant,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=_PATIENCE),
        ) as answer:
            status = answer.status
            answer.content.set_read_chunk_size(_MAX_ANSWER)
            raw = await answer.content.read(_MAX_ANSWER)
            while not answer.content.at_eof() and len(raw) < _MAX_ANSWER:
                raw += await answer.content.read(_MAX_ANSWER - len(raw))
    except (aiohttp.ClientError, TimeoutError, OSError):
        raise GatewayError(
            "upstream_unreachable",
            "The authority that issues the provider's tokens cannot be reached. Try again.",
            failure="connect_failed",
        ) from None
    return _read(status, raw, now)


def _read(status: int, raw: bytes, now: float) -> tuple[str, float]:

    try:
        answer = orjson.loads(raw)
        token = answer["access_token"]
        lifetime = float(answer.get("expires_in", 0))
    except (ValueError, KeyError, TypeError, AttributeError):
        answer, token, lifetime = None, None, 0.0
    if status == 200 and isinstance(token, str) and token:
        return token, now + max(lifetime - _MARGIN, 0.0)
    word = answer.get("error") if isinstance(answer, dict) else None
    raise GatewayError(
        "missing_provider_key",
        f"The authority refused the provider's client credentials ({str(word or status)[:64]}). "
        "Check tenant, client id and secret.",
    )
