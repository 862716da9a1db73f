"""A pod of the edge goes, as Kubernetes does it: preStop, SIGTERM, and SIGKILL when the grace period is over.

The times are those of the rendered overlay, divided by ``SCALE``.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.deploy import manifests
from tests.deploy.manifests import KUBERNETES, read
from tests.flow.forms import audio, usual
from tests.flow.scripts import READ_ALL, reply, send
from tests.rules.sources import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.flow.client import Connection
    from tests.flow.stage import Stage

SCALE = 10
BODY = usual(audio(300_000))
PART = 10_000  # bytes of the long upload at a time


@dataclass(frozen=True)
class Times:
    """Seconds of the overlay, scaled down."""

    pre_stop: float
    delay: float
    timeout: float
    grace: float

    def drain(self) -> dict[str, float]:
        return {"delay": self.delay, "timeout": self.timeout}


@pytest.fixture
def times(tmp_path: Path) -> Times:
    found = read(KUBERNETES / "rendered" / "edge.yaml")
    settings = manifests.settings_in(found, tmp_path)
    (pod,) = manifests.pods(found)
    pre_stop = manifests.gateway(pod)["lifecycle"]["preStop"]["sleep"]["seconds"]
    real = (pre_stop, settings.drain.delay, settings.drain.timeout, pod["terminationGracePeriodSeconds"])
    return Times(*(seconds / SCALE for seconds in real))


class LongUpload:
    """An upload that goes on, a little at a time, while other things happen."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sent = 0

    def go_on(self) -> None:
        if self._sent + PART < len(BODY):  # the end is kept for the end
            self._connection.send(BODY[self._sent : self._sent + PART])
            self._sent += PART

    def finish(self) -> None:
        self._connection.send(BODY[self._sent :])


def unready(stage: Stage) -> bool:
    return stage.gateway.ops("/readyz")[0] == 503


def kept(store: Path) -> set[str]:
    """Return the ids of the records in a store, as ``audiogate logs export`` sees them."""
    command = [sys.executable, "-m", "proxy", "logs", "export", "--store", f"sqlite:{store}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {json.loads(line)["id"] for line in done.stdout.splitlines()}


def test_a_pod_that_goes_finishes_its_upload_and_refuses_only_when_it_is_out_of_the_balancer(
    own_gateway: Callable[..., Stage], times: Times, tmp_path: Path
) -> None:
    store = tmp_path / "records.db"
    stage = own_gateway(drain=times.drain(), records={"store": f"sqlite:{store}"})
    statuses = []
    with stage.connect() as connection:
        stage.begin(connection, len(BODY))
        upload = LongUpload(connection)
        upload.go_on()
        stage.seen("length", PART // 2)
        deleted = time.monotonic()

        while time.monotonic() < deleted + times.pre_stop:  # balancers learn of it; the gateway knows nothing yet
            assert not unready(stage)
            statuses.append(stage.post().status)
            upload.go_on()
        assert set(statuses) == {200}

        told = time.monotonic()
        stage.gateway.signal(signal.SIGTERM)
        stage.gateway.wait_for(lambda: unready(stage), "readyz to say 503")
        while 503 not in statuses:
            assert unready(stage), "once unready, always unready"
            statuses.append(stage.post().status)
            upload.go_on()
            assert time.monotonic() < told + times.grace
        assert time.monotonic() >= told + times.delay, "refused before the balancer had its time"
        assert set(statuses) == {200, 503}
        assert statuses.index(503) == len(statuses) - 1

        upload.finish()
        answer = connection.read_reply()
        assert (answer.status, answer.clean, answer.closes) == (200, True, True)
    assert stage.gateway.wait_exit() == 0
    assert time.monotonic() < deleted + times.grace, "SIGKILL would have come first"
    stage.gateway.check_remains()
    records = stage.gateway.records()
    assert len(records) == len(statuses) + 1, "one for each request, the long upload's among them"
    assert sorted(record["status"] for record in records) == sorted([*statuses, 200])
    assert kept(store) == {record["id"] for record in records}


def test_an_upload_that_never_ends_is_cut_and_recorded_before_the_pod_is_killed(
    own_gateway: Callable[..., Stage], times: Times, tmp_path: Path
) -> None:
    """The margin is not scaled: ending costs what it costs."""
    scale = times.timeout / 1.5
    drain = {name: seconds / scale for name, seconds in times.drain().items()}
    store = tmp_path / "records.db"
    stage = own_gateway(drain=drain, records={"store": f"sqlite:{store}"})
    stage.script(READ_ALL, send(reply(200, b"never")))
    with stage.connect() as connection:
        stage.begin(connection, len(BODY))
        connection.send(BODY[:PART])
        stage.seen("length", PART // 2)
        told = time.monotonic()
        stage.gateway.signal(signal.SIGTERM)
        assert stage.gateway.wait_exit() == 0
        took = time.monotonic() - told
    assert drain["timeout"] <= took < sum(drain.values()) + manifests.CLOSING
    record = stage.record()
    assert (record["outcome"], record["error_code"]) == ("gateway_error", "draining")
    assert kept(store) == {record["id"]}
    stage.gateway.check_remains()
