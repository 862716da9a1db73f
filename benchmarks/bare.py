"""The least an aiohttp streaming proxy can be, to see what Audiogate adds: ``bare.py PORT UPSTREAM``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import uvloop
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OWN_TO_A_HOP = {"connection", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
UPSTREAM = web.AppKey("upstream", str)
SESSION = web.AppKey("session", ClientSession)


async def relay(request: web.Request) -> web.StreamResponse:
    headers = {name: value for name, value in request.headers.items() if name.lower() not in OWN_TO_A_HOP}
    body = request.content.iter_any() if request.body_exists else None
    url = request.app[UPSTREAM] + request.path_qs
    async with request.app[SESSION].request(request.method, url, headers=headers, data=body) as reply:
        kept = {name: value for name, value in reply.headers.items() if name.lower() not in OWN_TO_A_HOP}
        response = web.StreamResponse(status=reply.status, headers=kept)
        await response.prepare(request)
        async for chunk in reply.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response


async def session(app: web.Application) -> AsyncIterator[None]:
    connector = TCPConnector(limit=0)
    timeout = ClientTimeout(total=None)
    async with ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as app[SESSION]:
        yield


if __name__ == "__main__":
    port, upstream_port = map(int, sys.argv[1:])
    application = web.Application()
    application[UPSTREAM] = f"http://127.0.0.1:{upstream_port}"
    application.cleanup_ctx.append(session)
    application.router.add_route("*", "/{path:.*}", relay)
    loop = uvloop.new_event_loop()
    web.run_app(application, host="127.0.0.1", port=port, reuse_port=True, access_log=None, print=None, loop=loop)
