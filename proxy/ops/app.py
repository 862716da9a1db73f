"""The ops listener's application: every path it serves, and who may."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import web

from proxy import __version__
from proxy.ops.answers import OpsError, add_safe_headers, answer_json
from proxy.ops.api import Api, asked
from proxy.ops.guard import FREE, Guard
from proxy.ops.pages import PAGES, Pages
from proxy.ops.playground import Playground
from proxy.ops.tail import Tail
from proxy.ops.views import Views
from proxy.settings import redacted
from proxy.store.questions import BadQuestionError
from proxy.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.ops.desk import Desk

_QUIET: Final = 60.0  # seconds between two complaints about the store
_LARGEST_BODY: Final = 16_384  # bytes of what is read whole: a token
_OPEN: Final = frozenset({"/api/session", *PAGES, "/assets/{path}"})
"""Resources that show nothing without a token but the way to give one."""

_log = logging.getLogger("audiogate")

_NOTHING: Final = (
    "There is nothing here. The console is at /, its API under /api/; health is at /livez and /readyz, metrics at "
    "/metrics. The API for audio is on the gateway."
)


class OpsApp:
    """The application for ``desk``; ``loopback`` says that only this machine reaches its listener."""

    def __init__(self, desk: Desk, *, loopback: bool) -> None:
        self._desk = desk
        self._quiet_until = 0.0
        self._guard = Guard(lambda: desk.settings.ops, loopback=loopback)
        self._tail = Tail(desk, self._guard.is_in)
        self._playground = Playground(desk, self._guard)
        self.app = web.Application(middlewares=[self._answer], client_max_size=_LARGEST_BODY)
        self.app.on_response_prepare.append(add_safe_headers)
        self.app.on_shutdown.append(self._shut_down)
        self._route()

    def _route(self) -> None:
        add, api, views = self.app.router.add_get, Api(self._desk), Views(self._desk)
        pages = Pages(self._guard.is_in)
        add("/livez", self._live)
        add("/healthz", self._live)
        add("/readyz", self._ready)
        add("/metrics", self._metrics)
        add("/api/session", self._session)
        self.app.router.add_post("/api/session", self._log_in)
        self.app.router.add_delete("/api/session", self._log_out)
        add("/api/requests", api.page)
        add("/api/requests/stream", self._tail.stream)
        add("/api/requests/export", api.export)
        add("/api/requests/{id}", api.one)
        add("/api/stats", api.stats)
        add("/api/config", views.config)
        add("/api/upstreams", views.upstreams)
        add("/api/playground", self._playground.options)
        self.app.router.add_post("/api/playground/{what:transcriptions|translations}", self._playground.upload)
        for path in PAGES:
            add(path, pages.page)
        add("/assets/{path:.+}", pages.asset)

    async def _shut_down(self, _app: web.Application) -> None:
        await self._tail.close()
        await self._playground.close()

    @web.middleware
    async def _answer(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Let in who may come in, and answer what goes wrong as JSON."""
        try:
            if request.path not in FREE:
                self._guard.check_way(request)
                resource = request.match_info.route.resource
                if resource is None or resource.canonical not in _OPEN:
                    self._guard.check_token(request)
            return await handler(request)
        except OpsError as error:
            return error.answer()
        except BadQuestionError as error:
            return OpsError(400, "invalid_request", str(error), param=error.param).answer()
        except StoreError as error:
            self._complain(error)
            return OpsError(503, "store_unavailable", "The store does not answer. The gateway's log says why.").answer()
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            message = f"{request.path[:100]} does not take {request.method[:16]}. It takes {allowed}."
            return OpsError(405, "method_not_allowed", message, headers={"Allow": allowed}).answer()
        except web.HTTPNotFound:
            return OpsError(404, "unknown_route", _NOTHING).answer()
        except web.HTTPRequestEntityTooLarge:
            return OpsError(413, "upload_too_large", "The body is too large for what this takes.").answer()

    def _complain(self, error: StoreError) -> None:
        """Tell the log, which may name files and hosts, but not again for every question of an open page."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            _log.warning("the store cannot be read: %s", error)

    # Health and metrics

    async def _live(self, _request: web.Request) -> web.Response:
        return answer_json(None, {"status": "ok"})

    async def _ready(self, _request: web.Request) -> web.Response:
        state = self._desk.state
        return answer_json(None, {"status": state.readiness}, 200 if state.ready else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        kind, body = await self._desk.exposition.answer(",".join(request.headers.getall("Accept", ())))
        return web.Response(body=body, headers={"Content-Type": kind, "Vary": "Accept"})

    # Log-in

    async def _session(self, request: web.Request) -> web.Response:
        asked(request, ())
        desk, is_in = self._desk, self._guard.is_in(request)
        document: dict[str, Any] = {"token_needed": self._guard.token is not None, "logged_in": is_in}
        shown = {
            "version": __version__,
            "store": desk.store_kind,
            "transcripts": redacted(desk.settings)["records"].get("transcripts"),
            "gateway": desk.gateway,
        }
        return answer_json(request, document | (shown if is_in else dict.fromkeys(shown)))

    async def _log_in(self, request: web.Request) -> web.Response:
        try:
            given = orjson.loads(await request.read())["token"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            given = None
        if not isinstance(given, str):
            raise OpsError(400, "invalid_request", 'Send the token as JSON: {"token": "…"}.', param="token")
        return self._guard.log_in(request, given.strip())

    async def _log_out(self, request: web.Request) -> web.Response:
        return self._guard.log_out(request)
