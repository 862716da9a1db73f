"""Who may see what on the ops listener: token, session, ``Host``, ``Origin``.

Health and metrics are for everybody. All else needs the token when there is one; without one it is served on loopback
alone, and only under a name that no stranger's DNS can point here.
"""

from __future__ import annotations

import ipaddress
import math
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web

from proxy.ops.answers import OpsError
from proxy.ops.sessions import LIFETIME, Guesses, Sessions, same

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from proxy.settings import Ops

FREE: Final = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
"""Paths that need no token, no name and no loopback."""

_READS: Final = frozenset({"GET", "HEAD"})
_STRANGERS: Final = frozenset({"cross-site", "same-site"})  # Sec-Fetch-Site of what another page has loaded


class Guard:
    """Decides by the settings in force, which ``settings`` returns. ``loopback``: nobody else reaches the listener."""

    def __init__(self, settings: Callable[[], Ops], *, loopback: bool) -> None:
        self._settings = settings
        self._loopback = loopback
        self._sessions = Sessions()
        self._guesses = Guesses()

    @property
    def token(self) -> str | None:
        """The token in force."""
        token = self._settings().token
        return None if token is None else token.get_secret_value()

    def check_way(self, request: web.BaseRequest) -> None:
        """Refuse whoever came by a way that a page of another site could have used, whoever they are."""
        settings = self._settings()
        if settings.token is None:
            if not self._loopback:
                raise OpsError(
                    403,
                    "not_allowed",
                    "Ops listens beyond loopback and has no token, so it serves health and metrics only. Set "
                    "ops.token, or let ops.listen be 127.0.0.1.",
                )
            _check_host(request, settings.hosts)
        _check_origin(request)

    def check_token(self, request: web.BaseRequest) -> None:
        """Refuse whoever does not know the token, when there is one."""
        token = self.token
        if token is None or self.has_session(request):
            return
        given = _given(request)
        if not given:
            raise _unknown(request, "missing_api_key", "This needs the ops token: as a bearer token, or log in at /.")
        self._compare(request, given, token)

    def is_in(self, request: web.BaseRequest) -> bool:
        """Whether the request may see everything: there is no token, or it brings one, or a session."""
        token = self.token
        if token is None or self.has_session(request):
            return True
        return any(same(given, token) for given in _given(request))

    def has_session(self, request: web.BaseRequest) -> bool:
        """Whether the request's cookie is that of an open session."""
        token, session_id = self.token, request.cookies.get(_cookie(request))
        return token is not None and session_id is not None and self._sessions.knows(session_id, token, _now())

    def log_in(self, request: web.BaseRequest, given: str) -> web.Response:
        """Return the answer to who gives a token: a session's cookie. Raises OpsError when it is wrong."""
        answer = web.Response(status=204)
        token = self.token
        if token is not None:
            self._compare(request, [given], token)
            session_id = self._sessions.open(token, _now())
            answer.set_cookie(_cookie(request), session_id, max_age=LIFETIME, **_attributes(request))  # type: ignore[arg-type]
        return answer

    def log_out(self, request: web.BaseRequest) -> web.Response:
        """Return the answer to who leaves; the session is no more, whoever kept its cookie."""
        name = _cookie(request)
        self._sessions.close(request.cookies.get(name, ""))
        answer = web.Response(status=204)
        answer.del_cookie(name, **_attributes(request))  # type: ignore[arg-type]
        return answer

    def _compare(self, request: web.BaseRequest, given: Sequence[str], token: str) -> None:
        wait = self._guesses.wait(request.remote, _now())
        if wait:
            raise OpsError(
                429,
                "rate_limited",
                "Too many wrong tokens came from your address. Wait a moment.",
                headers={"Retry-After": str(math.ceil(wait))},
            )
        if not any(same(word, token) for word in given):
            self._guesses.wrong(request.remote, _now())
            raise _unknown(request, "invalid_api_key", "This is not the ops token.")


def own_cookie(request: web.BaseRequest, name: str) -> bool:
    """Whether ``name`` is that of this listener's session cookie."""
    return name == _cookie(request)


def _given(request: web.BaseRequest) -> list[str]:
    """Return what a request brings that may be the token: in the playground, the other is a key for the gateway."""
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    words = [bearer.strip() if scheme.lower() == "bearer" else "", request.headers.get("x-portkey-api-key", "")]
    return [word for word in words if word]


def _unknown(request: web.BaseRequest, code: str, message: str) -> OpsError:
    # A browser that is asked with WWW-Authenticate shows a window of its own in place of the console's page.
    headers = {} if "Sec-Fetch-Mode" in request.headers else {"WWW-Authenticate": 'Bearer realm="audiogate"'}
    return OpsError(401, code, message, headers=headers)


def _check_host(request: web.BaseRequest, hosts: Collection[str]) -> None:
    """Let no name in that a stranger's DNS could point at us."""
    host = _name_of(request.headers.get("Host", ""))
    if host != "localhost" and host not in hosts and not _is_address(host):
        raise OpsError(
            403,
            "not_allowed",
            "Ops does not answer under this host name without a token. Use an IP address or localhost, list the name "
            "in ops.hosts, or set ops.token.",
        )


def _check_origin(request: web.BaseRequest) -> None:
    """Let no page of another origin in, and no change by a cookie that did not come from a page of ours."""
    origin = request.headers.get("Origin")
    if origin is not None:
        if not _is_ours(origin, request):
            raise OpsError(403, "not_allowed", "Ops takes requests of its own pages only.")
        return
    if request.headers.get("Sec-Fetch-Site") in _STRANGERS and (
        request.method not in _READS or request.headers.get("Sec-Fetch-Mode") != "navigate"
    ):
        raise OpsError(403, "not_allowed", "Ops takes requests of its own pages only.")
    if request.method not in _READS and _cookie(request) in request.cookies:
        raise OpsError(403, "not_allowed", "A change that is made with a cookie needs the Origin header.")


def _is_ours(origin: str, request: web.BaseRequest) -> bool:
    # A proxy may ask us by another name than the page has. No page can make a browser send X-Forwarded-Host elsewhere
    # without asking first, which is never answered.
    names = (request.headers.get("Host", ""), request.headers.get("X-Forwarded-Host", ""))
    try:
        scheme, where = urlsplit(origin)[:2]
    except ValueError:
        return False
    return scheme in {"http", "https"} and where.lower() in {name.lower() for name in names if name}


def _name_of(host: str) -> str:
    """Return a ``Host`` header's name or address, without its port and in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().removesuffix(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _cookie(request: web.BaseRequest) -> str:
    """Return the session cookie's name: cookies know no ports, and a machine may run several gateways."""
    where = request.transport.get_extra_info("sockname") if request.transport is not None else None
    return f"audiogate_session_{where[1]}" if where else "audiogate_session"


def _attributes(request: web.BaseRequest) -> dict[str, object]:
    secure = request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
    return {"path": "/", "httponly": True, "samesite": "Strict", "secure": secure}


def _now() -> float:
    return time.monotonic()
