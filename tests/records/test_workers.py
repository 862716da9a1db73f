"""Processes that count in files of their own are shown as one, also after they have died, and after others follow."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, Gauge, values

from proxy.records import workers
from proxy.records.meters import Meters
from proxy.records.workers import Merged, directory, ended, sharing
from tests.records.shown import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = """
import sys
from prometheus_client import CollectorRegistry
from proxy.records.meters import Meters
from proxy.records.workers import sharing

path, name, count = sys.argv[1:]
with sharing(path, name):
    meters = Meters(CollectorRegistry())
    requests = meters.counters("requests_total")["speech", "POST", "200"]
    lag = meters.histograms("event_loop_lag_seconds")[()]
    meters.gauges("requests_in_flight")["speech",].set(2)
    meters.gauges("draining")[()].set(name == "w1")
    meters.gauges("config_last_reload_successful")[()].set(name == "w0")
    for _ in range(int(count)):
        requests.inc()
        lag.observe(0.004)
    print("counted", flush=True)
    sys.stdin.read()
"""

REQUESTS = 'requests_total{code="200",method="POST",route="speech"}'


@pytest.fixture
def path() -> Iterator[str]:
    with directory() as made:
        yield made


class Processes:
    """Processes that count, and what they are shown as."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.running: dict[str, subprocess.Popen[str]] = {}
        self.registry = CollectorRegistry()
        Merged(self.registry, path)

    def start(self, name: str, count: int) -> None:
        command = [sys.executable, "-c", PROGRAM, self.path, name, str(count)]
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
        )
        self.running[name] = child
        assert child.stdout is not None
        assert child.stdout.readline() == "counted\n"

    def kill(self, name: str) -> None:
        child = self.running.pop(name)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        ended(self.path, name)

    def shown(self) -> dict[str, float]:
        return shown(self.registry)


@pytest.fixture
def processes(path: str) -> Iterator[Processes]:
    made = Processes(path)
    yield made
    for name in list(made.running):
        made.kill(name)


def test_processes_are_shown_as_one(processes: Processes) -> None:
    processes.start("w0", 3)
    processes.start("w1", 4)
    assert processes.shown() == {
        REQUESTS: 7,
        "event_loop_lag_seconds_count": 7,
        "event_loop_lag_seconds_sum": pytest.approx(0.028),
        'requests_in_flight{route="speech"}': 4,
        "draining": 1,
        "config_last_reload_successful": 0,
    }


def test_what_a_killed_process_has_counted_stays_and_its_successor_goes_on(processes: Processes) -> None:
    processes.start("w0", 3)
    processes.start("w1", 4)
    files = set(Path(processes.path).iterdir())
    processes.kill("w1")
    after = processes.shown()
    assert after[REQUESTS] == 7
    assert after['requests_in_flight{route="speech"}'] == 2
    assert (after["draining"], after["config_last_reload_successful"]) == (0, 1)
    processes.start("w1", 10)
    assert processes.shown()[REQUESTS] == 17
    assert set(Path(processes.path).iterdir()) == files  # a successor adds none, however many there were before it


def test_the_directory_is_private_and_gone_at_the_end() -> None:
    with directory() as path:
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o700
        Path(path, "counter_w0.db").write_bytes(b"")
    assert not Path(path).exists()


def test_directories_of_the_killed_are_swept_and_those_of_the_living_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_MEMORY", str(tmp_path))
    left = tmp_path / "audiogate-metrics-left"
    left.mkdir()
    (left / "lock").touch()
    (left / "counter_w0.db").touch()
    unlike = tmp_path / "audiogate-metrics-fresh"  # one that is just being made has no lock yet
    unlike.mkdir()
    with directory() as first, directory() as second:
        assert set(tmp_path.iterdir()) == {Path(first), Path(second), unlike}


@pytest.mark.parametrize("place", ["nowhere", "full"])
def test_without_room_in_memory_the_directory_is_among_temporary_files(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if place == "nowhere":
        monkeypatch.setattr(workers, "_MEMORY", str(tmp_path / "missing"))
    else:
        monkeypatch.setattr(workers, "_ROOM", 1 << 62)
    with directory() as path:
        assert Path(path).parent == tmp_path


def test_sharing_leaves_no_trace_in_the_process(path: str) -> None:
    before = values.ValueClass, os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    with sharing(path, "w0"):
        Meters(CollectorRegistry()).counters("replay_exhausted_total")[()].inc()
    assert (values.ValueClass, os.environ.get("PROMETHEUS_MULTIPROC_DIR")) == before
    own = Gauge("audiogate_draining", "1 while shutting down.", registry=None)
    own.set(1)
    assert {file.name for file in Path(path).iterdir()} == {"lock", "counter_w0.db"}


def test_a_file_that_is_just_being_made_is_waited_for(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CollectorRegistry()
    Merged(registry, path)
    file = Path(path, "counter_w0.db")
    file.touch()

    def finish(_seconds: float) -> None:
        file.unlink()
        with sharing(path, "w0"):
            Meters(CollectorRegistry()).counters("replay_exhausted_total")[()].inc()

    monkeypatch.setattr("proxy.records.workers.time.sleep", finish)
    assert shown(registry) == {"replay_exhausted_total": 1}
