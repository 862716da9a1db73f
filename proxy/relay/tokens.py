"""Bearers that must be fetched: client-credentials grants, cached until shortly before they expire."""

from __future__ import annotations

import asyncio
import math
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
        self._fetching: dict[TokenRequest, asyncio.Task[str]] = {}  # at most one for each request under way

    async def bearer(self, asked: TokenRequest, session: aiohttp.ClientSession) -> str:
        """Return a token for ``asked``; raises GatewayError ``upstream_unreachable`` or ``missing_provider_key``."""
        known = self._known.get(asked)
        if known is not None and asyncio.get_running_loop().time() < known[1]:
            return known[0]
        fetching = self._fetching.get(asked)
        if fetching is None:
            fetching = self._fetching[asked] = asyncio.create_task(self._renew(asked, session))
            fetching.add_done_callback(lambda done: self._fetched(asked, done))
        return await asyncio.shield(fetching)  # one request that gives up ends nobody else's wait

    async def _renew(self, asked: TokenRequest, session: aiohttp.ClientSession) -> str:
        token, until = await _fetch(asked, session, asyncio.get_running_loop().time())
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[asked] = token, until
        return token

    def _fetched(self, asked: TokenRequest, done: asyncio.Task[str]) -> None:
        del self._fetching[asked]
        if not done.cancelled():
            done.exception()  # whoever waited has it; asyncio would log it when all of them have given up


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
        raise _unreachable() from None
    return _read(status, raw, now)


def _read(status: int, raw: bytes, now: float) -> tuple[str, float]:
    if status >= 500:
        raise _unreachable()
    try:
        answer = orjson.loads(raw)
    except orjson.JSONDecodeError:
        answer = None
    answer = answer if isinstance(answer, dict) else {}
    token = answer.get("access_token")
    if status == 200 and isinstance(token, str) and token:
        lifetime = _seconds(answer.get("expires_in"))
        return token, now + max(lifetime - _MARGIN, lifetime / 2)
    word = answer.get("error")
    raise GatewayError(
        "missing_provider_key",
        f"The authority refused the provider's client credentials ({str(word or status)[:64]}). "
        "Check tenant, client id and secret.",
    )


def _seconds(value: object) -> float:
    """Return a lifetime: some authorities send it as text; one that cannot be understood is no lifetime at all."""
    try:
        seconds = float(value) if isinstance(value, str | int | float) else 0.0
    except ValueError:
        return 0.0
    return seconds if 0.0 < seconds < math.inf else 0.0


def _unreachable() -> GatewayError:
    return GatewayError(
        "upstream_unreachable",
        "The authority that issues the provider's tokens cannot be reached. Try again.",
        failure="connect_failed",
    )
