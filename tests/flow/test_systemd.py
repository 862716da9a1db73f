"""Under a service manager: sockets that it passes on, and what it is told, as sd_listen_fds(3) and sd_notify(3) say."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests.flow.gateway import ALARMS, START, STOP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]


class Manager:
    """A service manager: listens for the service, starts it, and hears what it says."""

    def __init__(self, folder: Path, address: str) -> None:
        self.address = address
        self._file = folder / "audiogate.yaml"
        self.settings: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "ops": {"listen": "127.0.0.1:0"},
            "records": {"store": "none", "stdout": False},
            "drain": {"delay": 0, "timeout": 5},
        }
        self._heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._heard.bind("\0" + address[1:] if address.startswith("@") else address)
        self._heard.settimeout(START)
        self._began: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._began:
            process.kill()
            process.communicate()
        self._heard.close()

    def write(self, **settings: Any) -> None:
        self._file.write_text(json.dumps({**self.settings, **settings}))

    def start(self, sockets: Sequence[socket.socket] = (), **environ: str) -> subprocess.Popen[str]:
        """Start the gateway with these sockets."""
        numbers = [one.fileno() for one in sockets]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AUDIOGATE")}
        launch = [sys.executable, "-m", "tests.flow.activate", ",".join(map(str, numbers))] if numbers else []
        process = subprocess.Popen(
            [*launch, sys.executable, "-W", "default", "-m", "proxy", "serve", "-c", str(self._file)],
            cwd=ROOT,
            env={**clean, "NOTIFY_SOCKET": self.address, **environ},
            pass_fds=numbers,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._began.append(process)
        return process

    def hear(self) -> dict[str, str]:
        """Wait for the next message."""
        return dict(line.split("=", 1) for line in self._heard.recv(4096).decode().splitlines())

    def stop(self, process: subprocess.Popen[str]) -> str:
        """End a gateway; return what it wrote to stderr."""
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=STOP)
        assert process.returncode == 0, errors
        assert not any(alarm in errors for alarm in ALARMS), errors
        return errors


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """A manager that listens on a short path: those of Unix sockets have 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="sd-") as folder, Manager(tmp_path, f"{folder}/notify") as running:
        running.write()
        yield running


def listening(host: str = "127.0.0.1") -> socket.socket:
    return socket.create_server((host, 0), backlog=64)


def greeting(port: int) -> str:
    return got(port, "/")


def got(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def port_of(one: socket.socket) -> int:
    port: int = one.getsockname()[1]
    return port


# Passed sockets


@pytest.mark.parametrize("workers", [1, 2])
def test_a_passed_socket_is_served_and_outlives_the_gateway(manager: Manager, workers: int) -> None:
    manager.write(listen="10.255.255.1:9", workers=workers)  # nobody could listen there: the socket says where
    with listening() as gateway:
        process = manager.start([gateway])
        status = manager.hear()["STATUS"]
        assert status.startswith(f"gateway on http://127.0.0.1:{port_of(gateway)}, ops on http://127.0.0.1:")
        assert all(greeting(port_of(gateway)).startswith("Audiogate") for _ in range(8 * workers))
        manager.stop(process)
        with socket.create_connection(("127.0.0.1", port_of(gateway))) as waiting:
            waiting.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            process = manager.start([gateway])
            waiting.settimeout(START)
            assert waiting.recv(100).startswith(b"HTTP/1.1 200"), "who comes between two gateways waits"
        manager.stop(process)


NAMES = [
    ("ops:gateway", ("ops", "gateway")),
    ("gateway:gateway:ops", ("gateway", "gateway", "ops")),
    ("audiogate.socket:audiogate.socket", ("gateway", "ops")),
    (None, ("gateway", "ops")),
]


@pytest.mark.parametrize(("names", "roles"), NAMES, ids=[str(names) for names, _ in NAMES])
def test_sockets_go_by_their_names_or_by_their_order(
    manager: Manager, names: str | None, roles: tuple[str, ...]
) -> None:
    sockets = [listening() for _ in roles]
    process = manager.start(sockets, **({} if names is None else {"LISTEN_FDNAMES": names}))
    manager.hear()
    for one, role in zip(sockets, roles, strict=True):
        if role == "gateway":
            assert greeting(port_of(one)).startswith("Audiogate")
        else:
            assert got(port_of(one), "/readyz") == '{"status":"ready"}'
        one.close()
    manager.stop(process)


WRONG = [
    (["gateway", "unknown"], "a socket named 'unknown' was passed; the names are gateway and ops"),
    (["gateway", ""], "a socket named '' was passed; the names are gateway and ops"),
    (["a", "b", "c"], "more than two sockets were passed: give them the names gateway and ops"),
]


@pytest.mark.parametrize(("names", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_socket_that_nobody_expects_stops_the_start(manager: Manager, names: list[str], said: str) -> None:
    sockets = [listening() for _ in names]
    process = manager.start(sockets, LISTEN_FDNAMES=":".join(names))
    _, errors = process.communicate(timeout=START)
    assert (process.returncode, errors) == (3, f"audiogate: {said}\n")
    for one in sockets:
        one.close()


def test_what_is_not_a_listening_socket_stops_the_start(manager: Manager) -> None:
    with socket.socket() as deaf, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        for one in (deaf, datagrams):
            process = manager.start([one])
            _, errors = process.communicate(timeout=START)
            said = "audiogate: descriptor 3 was passed and is not a TCP socket that listens\n"
            assert (process.returncode, errors) == (3, said)


def test_sockets_for_another_process_are_left_alone(manager: Manager) -> None:
    with listening() as gateway:
        process = manager.start([gateway], LISTEN_PID="1")
        assert f":{port_of(gateway)}," not in manager.hear()["STATUS"]
        manager.stop(process)


def test_what_guards_an_address_guards_the_one_that_is_passed(manager: Manager) -> None:
    """In open mode virtual keys are for loopback, and the socket is not on it, whatever ``listen`` says."""
    key = {"slug": "vk", "provider": "openai", "key": "sk-flow-virtual"}
    manager.write(virtual_keys=[key])
    with listening("0.0.0.0") as everywhere:
        process = manager.start([everywhere])
        _, errors = process.communicate(timeout=START)
        assert (process.returncode, errors.count("\n")) == (1, 1)
        assert "auth.mode: open lets anyone who reaches the listener spend the virtual keys" in errors


# What the manager is told


@pytest.mark.parametrize("workers", [1, 2])
def test_the_manager_hears_of_ready_reloading_and_stopping(manager: Manager, workers: int) -> None:
    manager.write(workers=workers)
    process = manager.start()
    ready = manager.hear()
    assert (ready.pop("READY"), list(ready)) == ("1", ["STATUS"])
    found = re.fullmatch(r"gateway on http://127\.0\.0\.1:\d+, ops on http://127\.0\.0\.1:(\d+)", ready["STATUS"])
    assert found is not None
    assert got(int(found[1]), "/readyz") == '{"status":"ready"}', "ready is said when it is so"

    before = time.monotonic_ns() // 1000
    process.send_signal(signal.SIGHUP)
    began = manager.hear()
    assert began.pop("RELOADING") == "1"
    assert before <= int(began["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert manager.hear() == {"READY": "1", "STATUS": ready["STATUS"]}

    manager.write(workers=workers, listn=1)
    assert "RELOADING" in manager.hear()
    refused = manager.hear()
    assert (refused["READY"], refused["STATUS"]) == (
        "1",
        "settings refused, the old ones stay: listn: unknown key; did you mean 'listen'?",
    )
    manager.write(workers=workers)
    assert "RELOADING" in manager.hear()
    assert manager.hear() == {"READY": "1", "STATUS": ready["STATUS"]}

    process.send_signal(signal.SIGTERM)
    assert manager.hear() == {"STOPPING": "1", "STATUS": "draining"}
    process.communicate(timeout=STOP)
    assert process.returncode == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_signs_of_life_come_as_often_as_they_are_wanted(manager: Manager, workers: int) -> None:
    manager.write(workers=workers)
    process = manager.start(WATCHDOG_USEC="200000")
    assert "READY" in manager.hear()
    assert manager.hear() == {"WATCHDOG": "1"}
    began = time.monotonic()
    assert [manager.hear() for _ in range(5)] == [{"WATCHDOG": "1"}] * 5
    assert 0.3 < time.monotonic() - began < 5, "every 0.1 s, and later on a machine that is busy"
    manager.stop(process)


def test_a_watchdog_for_another_process_is_left_alone(manager: Manager) -> None:
    process = manager.start(WATCHDOG_USEC="20000", WATCHDOG_PID="1")
    assert "READY" in manager.hear()
    process.send_signal(signal.SIGTERM)
    assert "STOPPING" in manager.hear(), "and nothing before it"
    process.communicate(timeout=STOP)


def test_an_abstract_address_is_one(tmp_path: Path) -> None:
    with Manager(tmp_path, f"@audiogate-{uuid.uuid4().hex}") as manager:
        manager.write()
        process = manager.start()
        assert "READY" in manager.hear()
        manager.stop(process)


def test_a_manager_that_is_gone_holds_up_nothing(manager: Manager) -> None:
    process = manager.start(NOTIFY_SOCKET="/nobody/listens")
    assert process.stderr is not None
    lines = [process.stderr.readline() for _ in range(3)]
    assert "the service manager cannot be told READY=1: No such file or directory" in "".join(lines)
    manager.stop(process)


def test_workers_are_told_nothing_of_the_manager(manager: Manager) -> None:
    manager.write(workers=2)
    with listening() as gateway:
        process = manager.start([gateway], WATCHDOG_USEC="60000000")
        manager.hear()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 2
        for child in children:
            names = {line.partition("=")[0] for line in Path(f"/proc/{child}/environ").read_text().split("\0")}
            assert not names & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}
        manager.stop(process)
