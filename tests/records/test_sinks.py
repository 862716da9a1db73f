"""Lines tell how long each batch took and how many records wait."""

from __future__ import annotations

import os
import threading

from prometheus_client import CollectorRegistry

from proxy.records.meters import Meters
from proxy.records.sinks import Sink, SinkLevels, TimedLines
from tests.records.shown import shown

SOON = 5.0  # seconds


def test_a_sink_is_there_and_zero_before_its_first_record() -> None:
    meters = Meters(CollectorRegistry())
    SinkLevels(meters, ["stdout"])
    assert shown(meters.registry) == {
        'log_records_total{result="written",sink="stdout"}': 0,
        'log_records_total{result="dropped",sink="stdout"}': 0,
        'log_queue_records{sink="stdout"}': 0,
        'log_flush_seconds_count{sink="stdout"}': 0,
        'log_flush_seconds_sum{sink="stdout"}': 0,
    }


def test_every_batch_is_timed_and_every_record_counted() -> None:
    meters = Meters(CollectorRegistry())
    levels = SinkLevels(meters, ["stdout"])
    reader, writer = os.pipe()
    lines = TimedLines(writer, 10, levels.flushed("stdout"))
    for number in range(3):
        lines.put({"number": number})
    lines.stop()
    levels.take({"stdout": lines.sink})
    found = shown(meters.registry)
    assert lines.sink == Sink(3, 0, 0)
    assert found['log_records_total{result="written",sink="stdout"}'] == 3
    assert 1 <= found['log_flush_seconds_count{sink="stdout"}'] <= 3
    assert found['log_flush_seconds_sum{sink="stdout"}'] > 0
    os.close(reader)
    os.close(writer)


def test_records_that_nobody_reads_wait_and_then_the_oldest_are_dropped() -> None:
    reader, writer = os.pipe()
    written = threading.Event()
    lines = TimedLines(writer, 4, lambda _seconds: written.set())
    lines.put(b"x" * 200_000 + b"\n")  # more than a pipe holds: the thread now waits for a reader
    assert os.read(reader, 1) == b"x"
    for _ in range(6):
        lines.put(b"y\n")
    assert lines.sink == Sink(0, 2, 4 + 1)
    while not written.wait(0):
        os.read(reader, 65536)
    lines.stop()
    assert lines.sink == Sink(5, 2, 0)
    os.close(reader)
    os.close(writer)
