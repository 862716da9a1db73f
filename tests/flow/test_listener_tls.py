"""Listeners with TLS: certificates that change under open connections, and clients that have to show one."""

from __future__ import annotations

import http.client
import os
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.certificates import Authority, Pair
from tests.flow.forms import CONTENT_TYPE, audio, usual

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.flow.client import Connection
    from tests.flow.stage import Stage

ROOT = Path(__file__).parents[2]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def secured(stage: Stage, context: ssl.SSLContext) -> Connection:
    """Open a connection and shake hands. Raises SSLError."""
    connection = stage.connect()
    try:
        connection.sock = context.wrap_socket(connection.sock, server_hostname="localhost")
    except OSError:
        connection.sock.close()
        raise
    return connection


def asks(stage: Stage, connection: Connection) -> int:
    """Upload on a connection that is open; return the status."""
    stage.begin(connection, len(usual()))
    connection.send(usual())
    return connection.read_reply().status


def serial(connection: Connection) -> str:
    assert isinstance(connection.sock, ssl.SSLSocket)
    certificate = connection.sock.getpeercert()
    assert certificate is not None
    return str(certificate["serialNumber"])


def shown(stage: Stage, context: ssl.SSLContext) -> str:
    """Return the serial number of the certificate that a new connection is shown."""
    with secured(stage, context) as connection:
        return serial(connection)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_certificate_changes_without_a_connection_dropped(
    own_gateway: Callable[..., Stage], authority: Authority, workers: int
) -> None:
    stage = own_gateway(tls=authority.issue().settings, workers=workers)
    assert f"gateway on https://127.0.0.1:{stage.gateway.port}" in stage.gateway.stderr()
    client, body = authority.client(), usual(audio(300_000))
    with secured(stage, client) as connection:
        old = serial(connection)
        stage.begin(connection, len(body))
        connection.send(body[:200_000])
        stage.seen("length", 100_000)
        authority.issue()
        stage.gateway.wait_for(
            lambda: all(shown(stage, client) != old for _ in range(4 * workers)), "every new connection to see it"
        )
        connection.send(body[200_000:])
        assert connection.read_reply().status == 200, "an upload goes on through the change"
        assert asks(stage, connection) == 200, "a connection outlives its certificate"
    stage.gateway.stop()


def test_a_key_that_does_not_fit_changes_nothing_and_is_told(
    own_gateway: Callable[..., Stage], authority: Authority
) -> None:
    pair = authority.issue()
    stage = own_gateway(tls=pair.settings)
    client = authority.client()
    old, good = shown(stage, client), pair.key.read_bytes()
    pair.key.write_bytes(authority.issue("other").key.read_bytes())
    stage.gateway.wait_stderr("settings refused, the old ones stay: tls.key: is not the key of the certificate")
    assert "audiogate_config_last_reload_successful 0" in stage.gateway.ops("/metrics")[1]
    assert shown(stage, client) == old
    pair.key.write_bytes(good)
    stage.gateway.wait_stderr("settings loaded anew")
    stage.gateway.stop()


def test_files_that_kubelet_swaps_are_taken_over(
    own_gateway: Callable[..., Stage], authority: Authority, tmp_path: Path
) -> None:
    """A mounted secret is a link to a folder that is replaced as a whole."""
    names = ("tls.crt", "tls.key")

    def mount(name: str) -> None:
        (tmp_path / name).mkdir()
        for file, target in zip(authority.issue(), names, strict=True):
            file.rename(tmp_path / name / target)
        (tmp_path / "fresh").symlink_to(name)
        (tmp_path / "fresh").replace(tmp_path / "data")

    mount("first")
    volume = tmp_path / "volume"
    volume.mkdir()
    for name in names:
        (volume / name).symlink_to(tmp_path / "data" / name)
    stage = own_gateway(tls=Pair(volume / "tls.crt", volume / "tls.key").settings)
    client = authority.client()
    old = shown(stage, client)
    mount("second")
    stage.gateway.wait_for(lambda: shown(stage, client) != old, "the new certificate")
    stage.gateway.stop()
    assert "refused" not in stage.gateway.stderr()


def test_clients_that_have_to_show_a_certificate(
    own_gateway: Callable[..., Stage], authority: Authority, tmp_path: Path
) -> None:
    stage = own_gateway(tls={**authority.issue().settings, "client_ca": str(authority.file)})
    ours = authority.client(authority.issue("client", "somebody"))
    with secured(stage, ours) as connection:
        assert asks(stage, connection) == 200
    others = Authority(tmp_path, "others")
    strangers = authority.client(others.issue("stranger", "somebody"))

    def refused(client: ssl.SSLContext) -> bool:
        try:
            with secured(stage, client) as connection:
                connection.head("GET", "/", [])
                return not connection.sock.recv(1)  # TLS 1.3: the client's handshake ends before it is refused
        except (ssl.SSLError, ConnectionError):
            return True

    assert refused(strangers)
    assert refused(authority.client())
    authority.file.write_bytes(others.file.read_bytes())
    stage.gateway.wait_for(lambda: refused(ours), "the old authority to be trusted no more")
    with secured(stage, strangers) as connection:
        assert asks(stage, connection) == 200
    stage.gateway.stop()


def test_plain_http_on_a_tls_port_gets_no_answer_and_does_no_harm(
    own_gateway: Callable[..., Stage], authority: Authority
) -> None:
    stage = own_gateway(tls=authority.issue().settings)
    with stage.connect() as connection:
        connection.head("GET", "/", [])
        assert not connection.sock.recv(100).startswith(b"HTTP")
    with secured(stage, authority.client()) as connection:
        assert asks(stage, connection) == 200
    stage.gateway.stop()


def test_tls_is_turned_on_by_a_restart_only(own_gateway: Callable[..., Stage], authority: Authority) -> None:
    stage = own_gateway()
    stage.gateway.write_settings({**stage.gateway.settings, "tls": authority.issue().settings})
    stage.gateway.wait_stderr("tls has changed: a restart is needed for that")
    assert stage.post().status == 200
    stage.gateway.stop()


def test_an_expired_certificate_is_told_and_served(own_gateway: Callable[..., Stage], authority: Authority) -> None:
    """Refusing it would make an outage of what some clients never notice."""
    pair = authority.issue(not_after=datetime.now(UTC) - timedelta(days=1))
    stage = own_gateway(tls=pair.settings)
    stage.gateway.wait_stderr("tls.cert: the certificate expired on 2")
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        secured(stage, authority.client())
    done = command("check", str(stage.gateway.path))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith(f"{stage.gateway.path}: warning: tls.cert: the certificate expired on ")
    stage.gateway.stop()


def command(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AUDIOGATE")}
    return subprocess.run(
        [sys.executable, "-m", "proxy", *arguments],
        cwd=ROOT,
        env={**clean, **environ},
        capture_output=True,
        text=True,
        timeout=20,
    )


def test_the_client_of_ours_trusts_what_the_environment_says(
    own_gateway: Callable[..., Stage], authority: Authority, tmp_path: Path
) -> None:
    stage = own_gateway(tls=authority.issue().settings)
    file = tmp_path / "a.wav"
    file.write_bytes(audio(4000))
    call = ["transcribe", str(file), "--url", f"https://localhost:{stage.gateway.port}", "--provider", "free"]
    done = command(*call, SSL_CERT_FILE=str(authority.file))
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
    done = command(*call)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    stage.gateway.stop()


def test_ops_has_tls_of_its_own_and_is_still_checked_for_health(
    own_gateway: Callable[..., Stage], authority: Authority
) -> None:
    stage = own_gateway()
    plain = stage.gateway
    settings: dict[str, Any] = {**plain.settings, "tls": authority.issue().settings}
    settings["ops"] = {**settings["ops"], "tls": authority.issue("ops").settings}
    plain.stop()
    plain.write_settings(settings)
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", "serve", "-c", str(plain.path)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        lines = [process.stderr.readline(), process.stderr.readline()]
        assert lines[1] == f"audiogate: ops on https://127.0.0.1:{plain.ops_port}\n"
        connection = http.client.HTTPSConnection("localhost", plain.ops_port, timeout=5, context=authority.client())
        connection.request("GET", "/readyz")
        reply = connection.getresponse()
        assert (reply.status, reply.read()) == (200, b'{"status":"ready"}')
        headers = {"Content-Type": CONTENT_TYPE, "x-portkey-provider": "free"}
        connection.request("POST", "/api/playground/transcriptions", usual(), headers)
        reply = connection.getresponse()
        assert (reply.status, reply.read()) == (200, b'{"text":"hello"}'), "the playground reaches a gateway with TLS"
        connection.close()
        assert command("healthcheck", AUDIOGATE_CONFIG=str(plain.path)).returncode == 0
    finally:
        process.terminate()
        assert process.wait(15) == 0
        process.stderr.close()
