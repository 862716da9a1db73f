"""Records leave as whole lines, in order, and nothing ever waits for whoever reads them."""

from __future__ import annotations

import fcntl
import gc
import json
import os
import select
import threading
import time
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from proxy.records.heard import Heard, heard_from
from proxy.records.lines import Lines

if TYPE_CHECKING:
    from collections.abc import Iterator

PIPE = 65_536  # bytes a pipe holds
LONG = "x" * 4_000
PATIENCE = 5.0  # seconds


class Pipe:
    """A real pipe with a :class:`Lines` at its writing end."""

    def __init__(self, limit: int, *, transcripts: bool = False) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE)
        self.lines = Lines(self.writer, limit, transcripts=transcripts)

    def read(self, enough: int) -> list[dict[str, Any]]:
        """Return the lines read until there are ``enough`` of them."""
        data = b""
        while data.count(b"\n") < enough:
            assert select.select((self.reader,), (), (), PIPE)[0], f"only {data.count(10)} lines came"
            data += os.read(self.reader, PIPE)
        return [json.loads(line) for line in data.splitlines()]

    def drain(self) -> threading.Thread:
        """Read everything from now on, and forget it."""

        def run() -> None:
            with suppress(OSError):
                while os.read(self.reader, PIPE):
                    pass

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread


@contextmanager
def pipe(limit: int = 1_000, *, transcripts: bool = False) -> Iterator[Pipe]:
    made = Pipe(limit, transcripts=transcripts)
    try:
        yield made
    finally:
        made.drain()
        made.lines.stop()
        os.close(made.writer)


def until(condition: Any) -> None:
    """Wait for ``condition()``, for a bounded time."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_each_record_is_one_line_of_json_in_the_order_they_came() -> None:
    with pipe() as end:
        for number in range(600):
            end.lines.put({"n": number, "text": "a\nb\u2028c\x00"})
        found = end.read(600)
        assert [each["n"] for each in found] == list(range(600))
        assert {each["text"] for each in found} == {"a\nb\u2028c\x00"}
        until(lambda: end.lines.written == 600)
        assert end.lines.dropped == 0


def test_a_line_that_is_written_already_passes_as_it_is() -> None:
    with pipe() as end:
        end.lines.put(b'{"a":  1}\n')
        end.lines.put({"b": 2})
        assert end.read(2) == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("\udcff\udcfe", "??"),  # bytes of a header that are no UTF-8
        ("\ud800", "?"),
        (1 << 70, 1 << 70),
        (float("nan"), None),
        ({"deep": json.loads("[" * 300 + "]" * 300)}, {"deep": json.loads("[" * 300 + "]" * 300)}),
        ({"odd": {1: 2}}, {"odd": {"1": 2}}),
        (frozenset({1}), "frozenset({1})"),
    ],
)
def test_what_a_client_managed_to_put_into_a_record_stops_no_later_one(value: Any, told: Any) -> None:
    with pipe() as end:
        end.lines.put({"value": value})
        end.lines.put({"value": "next"})
        assert [each["value"] for each in end.read(2)] == [told, "next"]


def test_a_stalled_reader_costs_the_oldest_records_and_no_time() -> None:
    with pipe(limit=10) as end:
        began = time.monotonic()
        for number in range(3_000):
            end.lines.put({"n": number, "text": LONG})
        assert time.monotonic() - began < 1.0
        dropped = end.lines.dropped
        assert dropped > 0
        found = end.read(3_000 - dropped)
        numbers = [each["n"] for each in found]
        assert numbers == sorted(numbers)
        assert numbers[-10:] == list(range(2_990, 3_000))  # the newest are kept
        until(lambda: end.lines.written + end.lines.dropped == 3_000)


def test_a_stop_writes_what_waits() -> None:
    end = Pipe(1_000)
    for number in range(100):
        end.lines.put({"n": number})
    end.lines.stop()
    assert (end.lines.written, end.lines.dropped) == (100, 0)
    assert len(end.read(100)) == 100
    os.close(end.reader)
    os.close(end.writer)


def test_a_stop_does_not_wait_for_ever_and_counts_what_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.records.lines._LAST_WORDS", 0.2)
    with pipe() as end:
        for number in range(100):
            end.lines.put({"n": number, "text": LONG})
        end.lines.stop()
        assert end.lines.written + end.lines.dropped == 100
        assert end.lines.dropped > 0
        end.lines.dropped = 0


def test_a_reader_that_has_gone_drops_records_and_disturbs_nobody() -> None:
    end = Pipe(1_000)
    os.close(end.reader)
    end.lines.put({"n": 1})
    until(lambda: end.lines.dropped == 1)
    end.lines.put({"n": 2})
    until(lambda: end.lines.dropped == 2)
    end.lines.stop()
    assert (end.lines.written, end.lines.dropped) == (0, 2)
    os.close(end.writer)


def test_a_descriptor_that_somebody_made_non_blocking_still_carries_whole_lines() -> None:
    with pipe() as end:
        os.set_blocking(end.writer, False)
        for number in range(100):
            end.lines.put({"n": number, "text": LONG})
        until(lambda: not end.lines._waiting)  # the thread holds them all and the pipe is full
        found = end.read(100)
        assert [each["n"] for each in found] == list(range(100))
        assert {each["text"] for each in found} == {LONG}
        assert end.lines.dropped == 0


# What was said


def heard(text: str) -> Heard:
    found = heard_from("text/plain", None, redact=False)
    assert found is not None
    found.feed(text.encode())
    return found


def test_what_was_said_is_in_a_line_only_if_that_is_wanted() -> None:
    record = {"n": 1, "outcome": "ok", "transcript": heard("hello"), "segments": None, "transcript_cut": False}
    silent = {"n": 1, "outcome": "ok", "transcript": None, "segments": None, "transcript_cut": False}
    with pipe() as end:
        end.lines.put(record)
        assert end.read(1) == [silent]
        end.lines.transcripts = True
        end.lines.put(record)
        assert end.read(1) == [silent | {"transcript": "hello"}]
    assert isinstance(record["transcript"], Heard)


def test_lines_without_what_was_said_hold_no_reply() -> None:
    with pipe() as end:
        end.lines.put({"text": "x" * PIPE * 2})  # the thread is busy with it until somebody reads
        until(lambda: not end.lines._waiting)
        reply = weakref.ref(kept := heard("hello"))
        end.lines.put({"n": 1, "transcript": kept})
        del kept
        gc.collect()
        assert len(end.lines._waiting) == 1
        assert reply() is None


@pytest.mark.parametrize("written", [False, True], ids=["replies", "lines"])
def test_what_waits_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch, *, written: bool) -> None:
    size, most = 40_000, 640_000
    monkeypatch.setattr("proxy.records.lines._MOST_BYTES", most)
    with pipe(transcripts=True) as end:
        end.lines.put({"text": "x" * PIPE * 2})
        until(lambda: not end.lines._waiting)
        for number in range(40):
            line = json.dumps({"n": number, "text": "y" * size}).encode() + b"\n"
            end.lines.put(line if written else {"n": number, "transcript": heard("y" * size)})
        assert 40 - most // size <= end.lines.dropped <= 40 - most // size + 1
        kept = len(end.lines._waiting)
        assert kept == 40 - end.lines.dropped
        found = end.read(1 + kept)[1:]
        assert [each["n"] for each in found] == list(range(40 - kept, 40))
