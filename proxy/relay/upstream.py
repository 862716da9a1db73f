"""Talks to upstreams: sessions, the one call that sends an attempt, and what its failures mean.

Errors are translated here, at the call: whatever aiohttp's client raises between sending and the reply's head becomes
a :class:`GatewayError` that names the upstream. Client faults never pass through this module (see ``outgoing``).
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from yarl import URL

from proxy.access.hosts import reachable
from proxy.errors import GatewayError
from proxy.relay.internals import Connector, UpstreamRequest, never_resend, on_connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiohttp.client_reqrep import ClientResponse
    from multidict import CIMultiDict

    from proxy.relay.tls import UpstreamTls
    from proxy.settings import Timeouts

_SKIPPED: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")  # the client's own, or none
_READ: Final = 131_072  # bytes: half of what waits unread of a reply; the other half comes on top
_FOR_EVER: Final = 86_400.0  # seconds: what null means for an idle connection
_MAX_HEAD: Final = 65_536  # bytes of one header of a reply: generous, and still bounded


class Upstreams:
    """The connections to upstreams of one generation of settings.

    Two pools that never meet: one for upstreams that the operator named, one for hosts that requests name, whose
    sockets are checked against the address they really connect to.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self.keepalive = timeouts.upstream_keepalive
        self._trusted = _session(self.keepalive, None)
        self._guarded: dict[str, aiohttp.ClientSession] = {}
        self._users = 0
        self._retired = False

    def enter(self) -> None:
        """Take note of a request that uses these connections."""
        self._users += 1

    def leave(self) -> None:
        """Take note that it does no more; the last one closes a retired generation."""
        self._users -= 1
        if self._retired and not self._users:
            asyncio.get_running_loop().create_task(self.close())

    def retire(self) -> None:
        """Close when the last user has left."""
        self._retired = True
        self._users += 1
        self.leave()

    async def close(self) -> None:
        """Close every connection."""
        for session in (self._trusted, *self._guarded.values()):
            await session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session for upstreams that the operator named."""
        return self._trusted

    async def send(
        self,
        method: str,
        url: str,
        headers: CIMultiDict[str],
        body: AsyncIterator[bytes] | bytes | None,
        *,
        connect: float | None,
        named_by_request: bool,
        opened: Callable[[float], None],
        tls: UpstreamTls | None = None,
    ) -> ClientResponse:
        """Send one attempt and return the reply, its head read. Raises GatewayError, with ``failure`` set.

        ``opened`` is told how many seconds it took to open a connection, if none was open. ``tls`` is for a host that
        the settings name, and keeps its connections apart; None trusts whom the system trusts.
        """
        target = URL(url, encoded=True)
        session = self._guard(target.raw_host or "") if named_by_request else self._trusted
        on_connect.set(opened)
        timeout = aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=connect, sock_read=None)
        options: dict[str, Any] = {"allow_redirects": False, "timeout": timeout}
        if tls is not None and not named_by_request:
            options |= {"ssl": tls.context, "server_hostname": tls.server_name}
        try:
            return await session.request(method, target, headers=headers, data=body, **options)
        except aiohttp.ConnectionTimeoutError:
            raise GatewayError(
                "upstream_timeout", "The upstream did not accept a connection in time.", failure="connect_failed"
            ) from None
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
            if _FORBIDDEN in str(error):  # wrapped, or one of several, by whatever tried the addresses
                raise GatewayError(
                    "not_allowed", "This host may not be named in a request.", param="x-portkey-custom-host"
                ) from None
            if isinstance(error, aiohttp.ClientSSLError):
                raise GatewayError(
                    "upstream_unreachable",
                    "The upstream's certificate or TLS is not acceptable. Check its address and its certificate.",
                    failure="connect_failed",
                    cause="tls",
                ) from None
            raise GatewayError(
                "upstream_unreachable",
                "The upstream cannot be reached. Check its address and that it is up.",
                failure="connect_failed",
            ) from None
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            raise broke("before it answered") from None
        except ValueError:
            raise GatewayError(
                "invalid_header", "A header for the upstream holds characters that no header can carry."
            ) from None

    def _guard(self, host: str) -> aiohttp.ClientSession:
        session = self._guarded.get(host)
        if session is None:
            if len(self._guarded) >= _MAX_GUARDED:
                raise GatewayError("overloaded", "Too many custom hosts are in use.", retry_after=60)
            session = self._guarded[host] = _session(self.keepalive, host)
        return session


_MAX_GUARDED: Final = 64  # hosts that requests name: each is on the operator's list, or a spelling of loopback


_FORBIDDEN: Final = "this address may not be reached by a host that a request names"


def broke(when: str) -> GatewayError:
    """Return the failure of an upstream that closed, reset or talked nonsense."""
    return GatewayError(
        "upstream_broke", f"The upstream's connection failed {when}. Try again.", failure="upstream_broke"
    )


def _session(keepalive: float | None, guarded_host: str | None) -> aiohttp.ClientSession:
    def guarded(info: Any) -> socket.socket:
        family, kind, protocol, _name, address = info
        # The final address, after every spelling and every answer of DNS: there is no gap between check and use.
        if guarded_host is not None and not reachable(str(address[0]), guarded_host.strip("[]")):
            raise OSError(_FORBIDDEN)
        return socket.socket(family, kind, protocol)

    connector = Connector(
        limit=0,  # requests are bounded at the door; a bound here would be a second queue
        keepalive_timeout=_FOR_EVER if keepalive is None else keepalive or None,
        force_close=keepalive == 0,
        socket_factory=guarded if guarded_host is not None else None,
    )
    session = aiohttp.ClientSession(
        connector=connector,
        request_class=UpstreamRequest,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        skip_auto_headers=_SKIPPED,
        read_bufsize=_READ,
        max_line_size=_MAX_HEAD,
        max_field_size=_MAX_HEAD,
    )
    never_resend(session)
    return session
