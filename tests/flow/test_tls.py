"""An upstream whose TLS is not acceptable gets nothing, and is told apart from one that is not there."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.flow.stage import Stage


@pytest.fixture
def plain_server() -> Iterator[int]:
    """A server that answers every connection in plain HTTP, whatever it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            try:
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            except OSError:
                return

        serving = threading.Thread(target=serve)
        serving.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    serving.join()


def test_a_server_without_tls_is_no_upstream_for_https(own_gateway: Callable[..., Stage], plain_server: int) -> None:
    provider = {"slug": "up", "base_url": f"https://127.0.0.1:{plain_server}/v1", "auth": "none"}
    stage = own_gateway(providers=[provider], virtual_keys=[], configs=[])
    got = stage.post()
    assert (got.status, got.code) == (502, "upstream_unreachable")
    assert "TLS" in got.json()["message"]
    (attempt,) = stage.record()["attempts"]
    assert (attempt["failure"], attempt["cause"], attempt["sent_bytes"]) == ("connect_failed", "tls", 0)
    assert 'code="tls_error"' in stage.gateway.ops("/metrics")[1]
