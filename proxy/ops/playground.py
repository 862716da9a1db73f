"""The playground: a page's upload goes through the gateway's own listener, as any client's would.

So it has the same checks, the same record and the same worker processes as every other request, and the page needs no
other origin. Both directions are streamed; nothing of either is kept here.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from proxy.headers import HOP_BY_HOP
from proxy.metering.prices import ANY_MODEL
from proxy.ops.answers import OpsError, answer_json
from proxy.ops.api import asked
from proxy.ops.sessions import same

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.ops.desk import Desk
    from proxy.ops.guard import Guard

_FORMATS: Final = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
_PIECE: Final = 65_536  # bytes read at once from the page
_CONNECT: Final = 5.0  # seconds: the gateway is on this machine
_AT_ONCE: Final = 16  # uploads from pages at a time: the door for clients is the gateway
_OURS: Final = frozenset({"cookie", "expect", "host", "origin", "referer", "x-forwarded-host", "x-forwarded-proto"})
_CREDENTIALS: Final = frozenset({"authorization", "x-portkey-api-key"})
_NOT_BACK: Final = HOP_BY_HOP | {"date", "server"}


class Playground:
    """The handlers of ``/api/playground``."""

    def __init__(self, desk: Desk, guard: Guard) -> None:
        self._desk = desk
        self._guard = guard
        self._session: aiohttp.ClientSession | None = None
        self._under_way = 0

    async def options(self, request: web.Request) -> web.StreamResponse:
        """Answer what a page may choose from."""
        asked(request, ())
        house = self._desk.house()
        directory = house.directory
        targets = [
            {"kind": "config", "name": name, "note": "the default" if name == directory.default_config else ""}
            for name in directory.configs
        ]
        targets += [
            {"kind": "virtual_key", "name": key.slug, "note": key.provider} for key in directory.virtual_keys.values()
        ]
        targets += [
            {"kind": "provider", "name": slug, "note": "needs its key" if provider.needs_key else "needs no key"}
            for slug, provider in sorted(house.providers.items(), key=lambda item: (item[1].needs_key, item[0]))
        ]
        heard = [price for price in house.prices.in_force() if price.mode != "speech" and not price.realtime_only]
        models = dict.fromkeys((price.provider, price.model) for price in heard if price.model != ANY_MODEL)
        document = {
            "targets": targets,
            "keys_needed": house.settings.auth.mode == "keys",
            "formats": list(_FORMATS),
            "models": [{"provider": provider, "model": model} for provider, model in models],
        }
        return answer_json(request, document)

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """Hand an upload on to the gateway while it comes, and the reply back while that comes."""
        if not self._desk.gateway:
            raise OpsError(503, "starting", "The gateway does not listen yet. Try again.", headers={"Retry-After": "1"})
        if self._under_way >= _AT_ONCE:
            raise OpsError(
                503, "overloaded", "Too many uploads from the playground are under way.", headers={"Retry-After": "5"}
            )
        self._under_way += 1
        try:
            return await self._relay(request)
        finally:
            self._under_way -= 1

    async def close(self) -> None:
        """Close the connections to the gateway."""
        if self._session is not None:
            await self._session.close()

    async def _relay(self, request: web.Request) -> web.StreamResponse:
        url = URL(f"{self._desk.gateway}/v1/audio/{request.match_info['what']}", encoded=True)
        try:
            reply = await self._client().request(
                "POST", url, headers=self._onwards(request), data=_pieces(request), allow_redirects=False
            )
        except (aiohttp.ClientError, TimeoutError, ConnectionError):
            raise OpsError(
                502, "gateway_unreachable", "The gateway could not be reached, or broke off. Try again."
            ) from None
        async with reply:
            answer = web.StreamResponse(status=reply.status, headers=_back(reply))
            await answer.prepare(request)
            try:
                async for chunk in reply.content.iter_any():
                    await answer.write(chunk)
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                if request.transport is not None:
                    request.transport.abort()  # a reply that was cut must not look whole
                return answer
        with suppress(ConnectionError):
            await answer.write_eof()
        return answer

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT),  # all else is the gateway's to limit
                # Its certificate is for the names that clients use. This connection does not leave the machine.
                connector=aiohttp.TCPConnector(limit=_AT_ONCE, force_close=True, ssl=False),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                trust_env=False,
            )
        return self._session

    def _onwards(self, request: web.Request) -> CIMultiDict[str]:
        """Return the page's headers less those that are for us: cookie, origin, and the ops token wherever it is."""
        token = self._guard.token
        headers: CIMultiDict[str] = CIMultiDict()
        for name, value in request.headers.items():
            lower = name.lower()
            if lower in _OURS or lower in HOP_BY_HOP or lower.startswith("sec-"):
                continue
            if lower in _CREDENTIALS and token is not None and same(value.rpartition(" ")[2], token):
                continue
            headers.add(name, value)
        return headers


async def _pieces(request: web.Request) -> AsyncIterator[bytes]:
    yield b""  # the head goes at once: what it decides does not wait for the body
    while piece := await request.content.read(_PIECE):
        yield piece


def _back(reply: aiohttp.ClientResponse) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in reply.headers.items():
        if name.lower() not in _NOT_BACK:
            headers.add(name, value)
    return headers


def loopback_url(address: str, *, tls: bool = False) -> str:
    """Return the URL by which this machine reaches what listens on ``address``, ``HOST:PORT`` as it was bound."""
    host, _, port = address.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1"}.get(host, host)  # noqa: S104  (bound to all)
    return f"{'https' if tls else 'http'}://{host}:{port}"
