"""``audiogate logs`` beside a gateway that is at work, and on a pipe that closes early."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.flow.conftest import OPS_TOKEN
from tests.flow.desk import Desk

if TYPE_CHECKING:
    from tests.flow.stage import Stage

ROOT = Path(__file__).parents[2]


def logs(stage: Stage, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUDIOGATE")}
    command = [sys.executable, "-W", "error", "-m", "proxy", "logs", *arguments, "-c", str(stage.gateway.path)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30)


def test_records_can_be_read_while_they_are_written(watched: Stage) -> None:
    for _ in range(3):
        assert watched.post().status == 200
    desk = Desk(watched.gateway, ("Authorization", f"Bearer {OPS_TOKEN}"))
    items = desk.wait_items(f"trace={watched.token}", 3)
    done = logs(watched, "export", "--trace", watched.token)
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line) for line in done.stdout.splitlines()] == items
    shown = logs(watched, "show", items[0]["id"])
    assert "\nhello\n" in shown.stdout
    assert logs(watched, "prune", "--older-than", "1d").stdout == "0 records deleted\n"
    assert watched.post().status == 200
    desk.wait_items(f"trace={watched.token}", 4)
    watched.records(4)


def test_a_reader_that_has_seen_enough_may_close_the_pipe(watched: Stage) -> None:
    for _ in range(30):
        watched.post(extra=[("User-Agent", "u" * 6000)])
    Desk(watched.gateway, ("Authorization", f"Bearer {OPS_TOKEN}")).wait_items(f"trace={watched.token}", 30)
    command = [sys.executable, "-m", "proxy", "logs", "export", "-c", str(watched.gateway.path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0
    watched.records(30)
