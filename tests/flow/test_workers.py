"""Several processes behind one address, and starts that must fail in one line."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.flow.client import BrokenReplyError
from tests.flow.conftest import base_settings
from tests.flow.forms import usual
from tests.flow.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.flow.driver import Upstream
    from tests.flow.stage import Stage


@pytest.fixture
def pair(own_gateway: Callable[..., Stage]) -> Stage:
    """A gateway of two workers."""
    return own_gateway(workers=2)


def sockets_of(pid: int) -> int:
    """How many sockets a process holds."""
    entries = Path(f"/proc/{pid}/fd").iterdir()
    return sum(str(entry.readlink()).startswith("socket:") for entry in entries)


def held(pids: list[int]) -> dict[int, int]:
    return {pid: sockets_of(pid) for pid in pids}


def test_both_workers_serve(pair: Stage) -> None:
    pids = pair.gateway.pids()
    before = held(pids)
    connections = [pair.connect() for _ in range(40)]
    for connection in connections:
        connection.head("GET", "/v1/models", pair.headers())
        assert connection.read_reply(method="GET").status == 200
    after = held(pids)
    serving = [pid for pid in pids if after[pid] >= before[pid] + 5]
    assert len(serving) == 2, f"{before} became {after}"
    for connection in connections:
        connection.close()
    pair.records(40)
    assert pair.gateway.ops("/readyz")[0] == 200
    pair.gateway.stop()


def test_a_worker_that_dies_is_replaced_and_the_other_serves_on(pair: Stage) -> None:
    first = pair.gateway.pids()
    victim = first[-1]
    os.kill(victim, signal.SIGKILL)
    pair.gateway.wait_for(
        lambda: victim not in pair.gateway.pids() and len(pair.gateway.pids()) == len(first),
        "a new worker",
        15,
    )
    pair.gateway.wait_ready()
    served = 0

    def serves() -> bool:
        nonlocal served
        try:
            served += pair.post().status == 200
        except (BrokenReplyError, OSError):
            served = 0
        return served >= 20

    pair.gateway.wait_for(serves, "twenty answers in a row")
    pair.gateway.stop()


def test_records_of_many_workers_are_whole_lines(pair: Stage) -> None:
    def ask() -> None:
        with pair.connect() as connection:
            for _ in range(20):
                pair.begin(connection, len(usual()), [("User-Agent", "u" * 6000)])
                connection.send(usual())
                assert connection.read_reply().status == 200

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = pair.records(160)
    assert {len(record["user_agent"]) for record in records} == {len(records[0]["user_agent"])}
    pair.gateway.stop()


def test_two_workers_drain_together(pair: Stage) -> None:
    assert pair.post().status == 200
    pair.gateway.signal(signal.SIGTERM)
    assert pair.gateway.wait_exit() == 0
    pair.record()
    pair.gateway.check_remains()


def test_two_workers_reload_together(pair: Stage) -> None:
    settings = base_settings(pair.upstream, workers=2)
    settings["providers"][0]["slug"] = "renewed"
    settings["virtual_keys"][0]["provider"] = "renewed"
    settings = {**pair.gateway.settings, **settings}
    pair.gateway.write_settings(settings)
    pair.gateway.signal(signal.SIGHUP)
    in_a_row = 0

    def everywhere() -> bool:
        nonlocal in_a_row
        found = pair.post(extra=[("x-portkey-provider", "renewed")]).status == 200
        in_a_row = in_a_row + 1 if found else 0
        return in_a_row >= 20

    pair.gateway.wait_for(everywhere, "both workers to know the new provider")
    pair.gateway.stop()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("which", ["listen", "ops"])
def test_an_address_in_use_is_exit_3_and_one_line(
    upstream: Upstream, folder: Path, taken: int, which: str, workers: int
) -> None:
    address = f"127.0.0.1:{taken}"
    changes = {"listen": address} if which == "listen" else {"ops": {"listen": address}}
    gateway = Gateway(folder, base_settings(upstream, workers=workers, **changes), wait=False)
    assert gateway.wait_exit(20) == 3
    lines = gateway.stderr().splitlines()
    complaints = [line for line in lines if str(taken) in line]
    assert len(complaints) == 1, lines
    assert "in use" in complaints[0]
    gateway.check_remains()
    assert gateway.lines() == []


def test_bad_settings_are_exit_1_with_every_mistake(upstream: Upstream, folder: Path) -> None:
    settings = base_settings(upstream, timeouts={"connct": 1}, workers="many", default_config="nobody")
    gateway = Gateway(folder, settings, wait=False)
    assert gateway.wait_exit(20) == 1
    errors = gateway.stderr()
    for place in ("timeouts.connct", "workers"):
        assert f"{gateway.path}: {place}: " in errors
    gateway.check_remains()


def test_ready_lines_go_to_stderr_and_name_both_addresses(own_gateway: Callable[..., Stage]) -> None:
    stage = own_gateway()
    lines = stage.gateway.stderr().splitlines()
    for port in (stage.gateway.port, stage.gateway.ops_port):
        assert len([line for line in lines if f"127.0.0.1:{port}" in line]) == 1
    assert stage.gateway.lines() == []
    stage.gateway.stop()
