"""Upstreams with TLS: whom a provider trusts, what it shows, and that no host of a request's choice gets either."""

from __future__ import annotations

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests.certificates import Authority, Pair

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.flow.stage import Stage

ANSWER = b'{"text":"hello"}'


class Server(ThreadingHTTPServer):
    """An upstream with TLS. ``seen`` has, for each request, the client's port and whom it said it was, and by what name
    it asked.
    """

    daemon_threads = True

    def __init__(self, shown: Pair, trusted: Authority) -> None:
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=trusted.file)
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self.context.load_cert_chain(*shown)
        self.context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self.names: list[str | None] = []
        self.seen: list[tuple[int, str | None]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def who(self) -> list[str | None]:
        """Whom the clients said they were."""
        return [name for _, name in self.seen]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet of handshakes that the gateway broke off."""


class Handler(BaseHTTPRequestHandler):
    """Answers every upload."""

    protocol_version = "HTTP/1.1"
    server: Server
    request: socket.socket

    def setup(self) -> None:
        self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.request, ssl.SSLSocket)
        certificate: Any = self.request.getpeercert() or {}
        names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
        self.server.seen.append((self.client_address[1], names[0] if names else None))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def serve(authority: Authority) -> Iterator[Callable[..., Server]]:
    """Start upstreams whose certificate is for ``hosts``."""
    running: list[Server] = []

    def start(*hosts: str) -> Server:
        server = Server(authority.issue(f"server-{len(running)}", *hosts), authority)
        threading.Thread(target=server.serve_forever).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def provider(slug: str, server: Server, **tls: Any) -> dict[str, Any]:
    url = f"https://127.0.0.1:{server.server_port}/v1"
    shown = {"tls": {name: str(value) if name != "verify" else value for name, value in tls.items()}} if tls else {}
    return {"slug": slug, "dialect": "openai", "base_url": url, "auth": "none", "formats": "any", **shown}


def gateway(own_gateway: Callable[..., Stage], *providers: dict[str, Any]) -> Stage:
    timeouts = {"connect": 5, "upstream_keepalive": 60}
    return own_gateway(providers=list(providers), virtual_keys=[], configs=[], timeouts=timeouts)


def asks(stage: Stage, slug: str) -> int:
    return stage.post(extra=[("x-portkey-provider", slug)]).status


def test_each_provider_trusts_and_shows_its_own(
    own_gateway: Callable[..., Stage], serve: Callable[..., Server], authority: Authority, tmp_path: Path
) -> None:
    server = serve()
    one, two = authority.issue("one", "one.example"), authority.issue("two", "two.example")
    stage = gateway(
        own_gateway,
        provider("one", server, ca=authority.file, **one.settings),
        provider("two", server, ca=authority.file, **two.settings),
        provider("nobody", server, ca=authority.file),
        provider("system", server),
        provider("wrong", server, ca=Authority(tmp_path, "others").file),
    )
    order = ["one", "two", "nobody", "one", "two", "nobody"]
    assert [asks(stage, slug) for slug in order] == [200] * 6
    assert server.who == ["one.example", "two.example", None] * 2
    ports = [port for port, _ in server.seen]
    assert ports[:3] == ports[3:], "connections are kept"
    assert len(set(ports)) == 3, "and kept apart"
    for slug in ("system", "wrong"):
        got = stage.post(extra=[("x-portkey-provider", slug)])
        assert (got.status, got.code) == (502, "upstream_unreachable")
    assert len(server.seen) == 6
    causes = [record["attempts"][0].get("cause") for record in stage.records(8)]
    assert causes[6:] == ["tls", "tls"]
    stage.gateway.stop()


def test_a_name_may_be_asked_for_that_is_not_in_the_address(
    own_gateway: Callable[..., Stage], serve: Callable[..., Server], authority: Authority
) -> None:
    server = serve("stt.internal")
    stage = gateway(
        own_gateway,
        provider("named", server, ca=authority.file, server_name="stt.internal"),
        provider("unnamed", server, ca=authority.file),
    )
    assert (asks(stage, "named"), asks(stage, "unnamed")) == (200, 502)
    assert server.names == ["stt.internal", None]
    stage.gateway.stop()


def test_an_upstream_that_is_not_checked_is_told_of(
    own_gateway: Callable[..., Stage], serve: Callable[..., Server]
) -> None:
    server = serve("elsewhere.example")
    stage = gateway(own_gateway, provider("blind", server, verify=False))
    assert asks(stage, "blind") == 200
    stage.gateway.wait_stderr("providers[0].tls.verify: the certificate of blind is not checked")
    stage.gateway.stop()


def test_a_client_certificate_changes_with_its_files(
    own_gateway: Callable[..., Stage], serve: Callable[..., Server], authority: Authority
) -> None:
    server = serve()
    shown = authority.issue("client", "first.example")
    stage = gateway(own_gateway, provider("up", server, ca=authority.file, **shown.settings))
    assert asks(stage, "up") == 200
    authority.issue("client", "second.example")
    stage.gateway.wait_stderr("settings loaded anew")
    assert asks(stage, "up") == 200
    assert server.who == ["first.example", "second.example"]
    stage.gateway.stop()


def test_a_host_that_a_request_names_gets_nothing_of_it(
    own_gateway: Callable[..., Stage],
    serve: Callable[..., Server],
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither the client certificate, nor the trust: the system's stands, which here knows the authority, too."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    known, unknown = serve(), serve("elsewhere.example")
    shown = authority.issue("client", "secret.example")
    stage = gateway(
        own_gateway,
        provider("up", known, ca=authority.file, **shown.settings),
        provider("blind", unknown, verify=False),
    )

    def named(slug: str, server: Server) -> int:
        url = f"https://127.0.0.1:{server.server_port}/v1"
        return stage.post(extra=[("x-portkey-provider", slug), ("x-portkey-custom-host", url)]).status

    assert (named("up", known), named("blind", unknown)) == (200, 502)
    assert (known.who, unknown.who) == ([None], [])
    assert (asks(stage, "up"), asks(stage, "blind")) == (200, 200)
    assert known.who == [None, "secret.example"]
    stage.gateway.stop()
