"""Who may look: token, cookie, Host and Origin, on a real gateway with one process and with workers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.flow.conftest import OPS_TOKEN
from tests.flow.desk import Desk

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.flow.stage import Stage


def test_log_in_look_and_log_out(watched: Stage) -> None:
    desk = Desk(watched.gateway)
    assert desk.ask("GET", "/api/config").status == 401
    assert desk.ask("GET", "/").status == 200, "the page to log in at"
    assert desk.ask("POST", "/api/session", b'{"token":"wrong"}').code == "invalid_api_key"
    answer = desk.ask("POST", "/api/session", f'{{"token":"{OPS_TOKEN}"}}'.encode())
    cookie = (answer.header("set-cookie") or "").partition(";")[0]
    assert (answer.status, cookie.startswith("audiogate_session_")) == (204, True)
    inside = Desk(watched.gateway, ("Cookie", cookie))
    assert inside.ask("GET", "/api/config").status == 200
    assert inside.ask("DELETE", "/api/session").status == 403, "a cookie alone changes nothing"
    assert inside.ask("DELETE", "/api/session", extra=[("Origin", "http://127.0.0.1")]).status == 204
    assert inside.ask("GET", "/api/config").status == 401


def test_health_and_metrics_are_for_everybody(watched: Stage) -> None:
    for path in ("/livez", "/readyz", "/healthz", "/metrics"):
        assert watched.gateway.ops(path)[0] == 200


def test_a_session_does_not_outlive_its_gateway(own_gateway: Callable[..., Stage]) -> None:
    first = own_gateway(ops={"token": OPS_TOKEN})
    answer = Desk(first.gateway).ask("POST", "/api/session", f'{{"token":"{OPS_TOKEN}"}}'.encode())
    name, _, value = (answer.header("set-cookie") or "").partition(";")[0].partition("=")
    second = own_gateway(ops={"token": OPS_TOKEN})
    moved = name.replace(str(first.gateway.ops_port), str(second.gateway.ops_port))
    assert Desk(second.gateway, ("Cookie", f"{moved}={value}")).ask("GET", "/api/config").status == 401
    first.gateway.stop()
    second.gateway.stop()


# What is said at the start


def serve(folder: Path, *flags: str, ops: str = "127.0.0.1:0") -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUDIOGATE")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "proxy", "serve", "--listen", "127.0.0.1:0", "--ops-listen", ops, *flags]
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("url", ["sqlite:absent/x.db", "postgresql://u:sk-flow-db@127.0.0.1:1/records"])
def test_a_store_that_was_asked_for_and_cannot_be_opened_ends_with_3(tmp_path: Path, workers: str, url: str) -> None:
    process = serve(tmp_path, "--workers", workers, "--store", url)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said.count("\n")) == (3, 1), said
    assert said.startswith("audiogate: records.store: ")
    assert "sk-flow-db" not in said


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_default_that_cannot_be_opened_is_done_without(tmp_path: Path, workers: str) -> None:
    (tmp_path / "audiogate.db").mkdir()
    process = serve(tmp_path, "--workers", workers)
    assert process.stderr is not None
    lines = [process.stderr.readline() for _ in range(3)]
    process.terminate()
    rest = process.communicate(timeout=30)[1]
    assert (process.returncode, rest) == (0, "")
    assert lines[0].startswith("audiogate: no store, so the console has no records: ")
    assert [line.partition(" on ")[0] for line in lines[1:]] == ["audiogate: gateway", "audiogate: ops"]


def test_a_listener_beyond_loopback_says_that_it_shows_little(tmp_path: Path) -> None:
    process = serve(tmp_path, "--store", "none", ops="0.0.0.0:0")
    assert process.stderr is not None
    lines = [process.stderr.readline() for _ in range(3)]
    process.terminate()
    process.communicate(timeout=30)
    assert lines[1].startswith("audiogate: ops on http://0.0.0.0:")
    assert lines[2].endswith("it serves health and metrics only\n")


def test_no_store_is_made_where_none_is_wanted(tmp_path: Path) -> None:
    process = serve(tmp_path, "--store", "none")
    assert process.stderr is not None
    process.stderr.readline()
    process.terminate()
    process.communicate(timeout=30)
    assert list(tmp_path.iterdir()) == []
