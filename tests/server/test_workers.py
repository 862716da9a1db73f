"""The supervisor's sums: no count is lost with a worker, and a port is claimed by one gateway only."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from typing import Any

import pytest

from proxy.records.lines import Lines
from proxy.server.process import CannotStartError
from proxy.server.workers import Worker, _claim, _documents, _merged
from proxy.settings import Address


def report(**changes: Any) -> dict[str, Any]:
    return {
        "requests": [["transcriptions", "POST", "200", 3]],
        "rejected": {"bad_request": 1},
        "in_flight": 2,
        "lines": {"written": 5, "dropped": 1},
        "reloaded": True,
        "spooled": 100,
    } | changes


def test_past_workers_count_on_as_one_that_does_nothing_any_more() -> None:
    other = report(
        requests=[["transcriptions", "POST", "200", 4], ["speech", "POST", "502", 1]], rejected={}, reloaded=False
    )
    assert _merged([report(), other]) == {
        "requests": [["transcriptions", "POST", "200", 7], ["speech", "POST", "502", 1]],
        "rejected": {"bad_request": 1},
        "in_flight": 0,
        "lines": {"written": 10, "dropped": 2},
        "reloaded": True,
        "spooled": 0,
    }


def test_merging_what_was_merged_changes_nothing() -> None:
    once = _merged([report(), report()])
    assert _merged([once]) == once


@pytest.fixture
def lines() -> Any:
    reader, writer = socket.socketpair()
    threading.Thread(target=lambda: [None for _ in iter(lambda: reader.recv(1_000), b"")], daemon=True).start()
    with reader, writer:
        made = Lines(writer.fileno(), 10)
        yield made
        made.stop()
        writer.shutdown(socket.SHUT_RDWR)


def worker(counts: dict[str, Any] | None) -> Worker:
    made = Worker(0, {}, None)
    made.counts = counts
    return made


def test_lines_are_counted_where_they_leave(lines: Lines) -> None:
    lines.written, lines.dropped = 7, 2
    shown = _documents([worker(report()), worker(None), worker(report())], lines)
    assert len(shown) == 2
    assert sum(document["lines"]["written"] for document in shown) == 7  # not once more at the worker's end of the pipe
    assert sum(document["lines"]["dropped"] for document in shown) == 2 + 1 + 1
    assert sum(document["in_flight"] for document in shown) == 4


def test_before_any_report_there_is_nothing_to_show(lines: Lines) -> None:
    assert _documents([worker(None)], lines) == []
    assert _documents([worker(report())], None) == [report()]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_claimed_port_is_known_held_and_shared_with_workers_only(host: str) -> None:
    address, holder = _claim(Address(host, 0))
    with closing(holder):
        assert address.port == holder.getsockname()[1] > 0
        with socket.socket(holder.family) as of_a_worker:
            of_a_worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            of_a_worker.bind((host, address.port))
            of_a_worker.listen()
            with pytest.raises(CannotStartError, match=f"cannot listen on .*:{address.port}: address already in use"):
                _claim(address)


def test_a_host_of_somebody_else_cannot_be_claimed() -> None:
    with pytest.raises(CannotStartError, match=r"^cannot listen on 192\.0\.2\.1:1: "):
        _claim(Address("192.0.2.1", 1))
