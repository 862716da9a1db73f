"""Several processes behind one address, and starts that must fail in one line."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.bootstrap import in_ci, missing
from tests.flow.client import BrokenReplyError
from tests.flow.conftest import base_settings
from tests.flow.forms import usual
from tests.flow.gateway import Gateway
from tests.flow.scripts import READ_ALL, hold
from tests.records.shown import parsed

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
    count = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            count += str(entry.readlink()).startswith("socket:")
    return count


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


def metrics(stage: Stage) -> dict[str, float]:
    return parsed(stage.gateway.ops("/metrics")[1])


def totals(found: dict[str, float]) -> dict[str, float]:
    """Return what may never go back."""
    return {name: value for name, value in found.items() if re.match(r"\w+_(?:total|count|sum)\b", name)}


SERVED = 'requests_total{code="200",method="POST",route="transcriptions"}'


def test_metrics_are_those_of_all_workers_and_survive_a_killed_one(pair: Stage) -> None:
    for _ in range(20):
        assert pair.post().status == 200
    pair.records(20)
    before = metrics(pair)
    assert before[SERVED] == before["request_body_bytes_count" + '{route="transcriptions"}'] == 20
    assert (before["workers"], before["config_last_reload_successful"], before["draining"]) == (2, 1, 0)
    for victim in pair.gateway.pids()[1:]:
        os.kill(victim, signal.SIGKILL)
        pair.gateway.wait_for(lambda gone=victim: gone not in pair.gateway.pids(), "the worker to be gone")
        shown = metrics(pair)
        lost = {name: value for name, value in totals(before).items() if shown.get(name, 0) < value}
        assert not lost, "counts went back"
        pair.gateway.wait_for(lambda: metrics(pair)["workers"] == 2, "a new worker", 15)
    assert pair.post().status == 200
    pair.records(21)
    pair.gateway.wait_for(lambda: metrics(pair)[SERVED] == 21, "the new request to be counted")
    assert metrics(pair)['log_records_total{result="written",sink="stdout"}'] == 21
    pair.gateway.stop()


def test_what_was_going_on_in_a_killed_worker_is_over(pair: Stage) -> None:
    pair.script(READ_ALL, hold("never"))
    in_flight = 'requests_in_flight{route="transcriptions"}'
    with pair.connect() as connection:
        pair.begin(connection, len(usual()))
        connection.send(usual())
        pair.seen()
        pair.gateway.wait_for(lambda: metrics(pair)[in_flight] == 1, "the request to show")
        for victim in pair.gateway.pids()[1:]:
            os.kill(victim, signal.SIGKILL)
        pair.gateway.wait_for(lambda: metrics(pair).get(in_flight, 0) == 0, "the request to be gone", 15)
        pair.gateway.wait_for(lambda: metrics(pair)["workers"] == 2, "new workers", 15)
    pair.gateway.stop()


def test_the_workers_folder_goes_with_the_supervisor(pair: Stage) -> None:
    def mapped() -> set[Path]:
        lines = Path(f"/proc/{pair.gateway.process.pid}/maps").read_text().splitlines()
        return {Path(line.split(maxsplit=5)[5]).parent for line in lines if line.endswith("_supervisor.db")}

    (folder,) = mapped()
    assert {file.name.rpartition("_")[2] for file in folder.iterdir()} == {"lock", "w0.db", "w1.db", "supervisor.db"}
    pair.gateway.stop()
    assert not folder.exists()


@pytest.mark.skipif(missing("promtool") is not None and not in_ci(), reason=str(missing("promtool")))
def test_promtool_has_nothing_to_say_of_many_workers(pair: Stage) -> None:
    assert pair.post().status == 200
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=pair.gateway.ops("/metrics")[1], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
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
    stage.gateway.wait_stderr("audiogate: ops on ")  # the last of them; readiness does not wait for their reader
    lines = stage.gateway.stderr().splitlines()
    for port in (stage.gateway.port, stage.gateway.ops_port):
        assert len([line for line in lines if f"127.0.0.1:{port}" in line]) == 1
    assert stage.gateway.lines() == []
    stage.gateway.stop()
