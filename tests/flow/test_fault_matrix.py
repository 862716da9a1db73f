"""The first target fails in every way at every point: the second gets every byte, the client one right answer.

And when what the second would need is not kept any more, the first one's failure is the answer, and nothing hangs.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.client import TIMEOUT, pieces
from tests.flow.faults import FAULTS
from tests.flow.forms import audio, field, file, form
from tests.flow.gateway import Gateway, free_port
from tests.flow.kept import wait_for_nothing_kept
from tests.flow.scripts import READ_ALL, reply, send
from tests.flow.trio import Trio, got_audio, targets, trio_settings, with_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from tests.flow.client import Connection, Reply
    from tests.flow.driver import Upstream
    from tests.flow.faults import Fault

AUDIO = audio(600_000, seed=11)
FIELDS = (field("model", "whisper-1"), field("language", "de"))
BODIES = {"file first": form(file(AUDIO), *FIELDS), "file last": form(*FIELDS, file(AUDIO))}
ANSWER = b'{"text":"from the second"}'
LITTLE = 100_000  # bytes: fewer than any gateway here keeps
MUCH = 360_000  # bytes: more than half a body, and more than is kept where it cannot be
DELIMITER = 64  # bytes that a closing delimiter may have, which is held back until the end

REPLAYS: dict[str, dict[str, Any]] = {
    "memory": {"memory": 4_000_000},
    "disk": {"memory": 1000},
    "exhausted": {"per_request": 200_000},
}
OTHERWISE_EXHAUSTED: dict[str, dict[str, Any]] = {
    "all budgets exhausted": {"total": 200_000},
    "full disk": {"memory": 1000},
}
SOME_FAULTS = ("refuses the connection", "resets at byte 1", "401 at 50 %", "500 at the end", "cuts its answer")


@dataclass(frozen=True)
class Case:
    """One cell of the matrix. ``slow``: the client is still sending when the first target fails."""

    fault: Fault
    body: bytes
    chunked: bool
    slow: bool
    replay: str

    @property
    def first(self) -> int:
        """How many bytes the client sends before it waits for what comes of them."""
        return LITTLE if self.fault.point == "byte 1" else MUCH

    @property
    def rescued(self) -> bool | None:
        """Whether the second target can be asked; None: a race between the client and the failure decides."""
        if self.replay in ("memory", "disk") or not self.fault.connects:
            return True
        if self.fault.point == "byte 1":
            return True if self.slow else None
        return False

    @property
    def word(self) -> str:
        """What the record of a rescued upload says of how it was kept: a first look needs no disk."""
        return "disk" if self.replay in ("disk", "full disk") and self.fault.connects else "memory"


def cases(faults: Mapping[str, Fault], replays: Iterable[str]) -> dict[str, Case]:
    """Return every combination, by its name."""
    return {
        f"{name}-{order}-{'chunked' if chunked else 'length'}-{'slow' if slow else 'fast'}-{replay}": Case(
            fault, body, chunked, slow, replay
        )
        for (name, fault), (order, body), chunked, slow, replay in product(
            faults.items(), BODIES.items(), (False, True), (False, True), replays
        )
    }


MATRIX = cases(FAULTS, REPLAYS) | cases({name: FAULTS[name] for name in SOME_FAULTS}, OTHERWISE_EXHAUSTED)


@pytest.fixture(scope="module")
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A file system of 128 KiB; None where it cannot be mounted."""
    path = folder / "small"
    path.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(path)], capture_output=True)
    yield path if mount.returncode == 0 else None
    if mount.returncode == 0:
        subprocess.run(["umount", str(path)], check=True)


@pytest.fixture(scope="module")
def gateways(
    three: Mapping[str, Upstream], folder: Path, small_disk: Path | None
) -> Iterator[Callable[[str], Gateway]]:
    """Gateways by their way to keep an upload; in the end none of them keeps anything."""
    started: dict[str, Gateway] = {}

    def start(name: str) -> Gateway:
        if name not in started:
            replay = (REPLAYS | OTHERWISE_EXHAUSTED)[name]
            if name == "full disk":
                if small_disk is None:
                    pytest.skip("mounting a small tmpfs needs root")
                replay = {**replay, "directory": str(small_disk)}
            started[name] = Gateway(folder, trio_settings(three, free_port(), replay=replay))
        return started[name]

    try:
        yield start
        for gateway in started.values():
            wait_for_nothing_kept(gateway)
            gateway.stop()
    finally:
        for gateway in started.values():
            gateway.kill()


@pytest.mark.parametrize("case", MATRIX.values(), ids=MATRIX.keys())
def test_a_failure_costs_the_client_nothing_that_was_kept(
    gateways: Callable[[str], Gateway], three: Mapping[str, Upstream], case: Case
) -> None:
    trio = Trio(gateways(case.replay), three)
    trio.a.script(*case.fault.script(len(case.body)))
    trio.b.script(READ_ALL, send(reply(200, ANSWER)))
    with trio.a.connect() as connection:
        config = targets("fallback", case.fault.target, {"virtual_key": "key-b"})
        trio.a.begin(connection, None if case.chunked else len(case.body), with_config(config))
        answer = upload(trio, connection, case)
        record = trio.record()
        assert not connection.readable() or connection.at_end()  # one answer, and no other after it
    rescued = case.rescued if case.rescued is not None else answer.status == 200
    check_first(trio, case)
    if rescued:
        check_rescue(trio, case, answer, record)
    else:
        check_failure(trio, case, answer, record)
    trio.gateway.check()


def upload(trio: Trio, connection: Connection, case: Case) -> Reply:
    """Send the body, all at once or with a pause until its first part has come to something."""
    first = case.first if case.slow else 0
    if first:
        connection.upload([case.body[:first]], chunked=case.chunked)
        if case.fault.point in ("the last byte", "the end") and case.fault.failure != "upstream_timed_out":
            trio.a.seen("length", first - DELIMITER)
        elif case.rescued:
            trio.b.seen("length", first - DELIMITER)
        else:
            assert connection.readable(TIMEOUT), "no answer, although nothing more can be done"
    if connection.upload(pieces(case.body[first:]), chunked=case.chunked) == len(case.body) - first and case.chunked:
        connection.push(b"0\r\n\r\n")
    return connection.read_reply()


def check_first(trio: Trio, case: Case) -> None:
    """The first target got the beginning of the client's bytes, and nobody but the two was asked."""
    asked = trio.asked()
    assert (asked["a"], asked["c"]) == (int(case.fault.connects), 0)
    if case.fault.connects:
        trio.a.release("never")  # it may learn that it was left only from what it reads
        seen = trio.a.seen("done")
        assert case.body.startswith(seen.body)
        if case.fault.point == "50 %":
            assert seen.length >= len(case.body) // 2


def check_story(case: Case, attempt: Mapping[str, Any], *, whole: bool) -> None:
    """What the record says of the first attempt. ``whole``: its target had the whole body."""
    fault = case.fault
    assert (attempt["target"], attempt["status"], attempt["failure"], attempt["replayed"]) == (
        "config.targets[0]",
        fault.status,
        fault.failure,
        False,
    )
    assert attempt["total_ms"] is not None
    assert attempt["possibly_billed"] == (fault.acted and attempt["upload_ms"] is not None)
    if whole and fault.acted:
        assert attempt["possibly_billed"]
    if not fault.connects:
        assert (attempt["sent_bytes"], attempt["upload_ms"]) == (0, None)


def check_rescue(trio: Trio, case: Case, answer: Reply, record: Mapping[str, Any]) -> None:
    """The second target got all of it, the client its answer, and the record tells why."""
    assert (answer.status, answer.clean, answer.body) == (200, True, ANSWER)
    assert answer.header("x-portkey-last-used-option-index") == "config.targets[1]"
    assert (answer.header("x-portkey-provider"), answer.header("x-portkey-retry-attempt-count")) == ("b", "0")
    seen = trio.b.seen()
    got_audio(seen, AUDIO)
    assert (seen.fields("model"), seen.fields("language")) == (["whisper-1"], ["de"])
    assert seen.framing == ("chunked" if case.chunked else "length")
    assert (record["status"], record["outcome"], record["error_code"]) == (200, "ok", None)
    assert (record["provider"], record["retry_count"], record["audio"]["bytes"]) == ("b", 1, len(AUDIO))
    check_story(case, record["attempts"][0], whole=case.fault.connects and trio.a.seen("done").complete)
    second = record["attempts"][1]
    assert (second["target"], second["status"], second["failure"]) == ("config.targets[1]", 200, None)
    assert (second["replayed"], second["sent_bytes"], second["possibly_billed"]) == (True, len(case.body), False)
    assert record["replay"] == case.word


def check_failure(trio: Trio, case: Case, answer: Reply, record: Mapping[str, Any]) -> None:
    """The client got the first target's failure, and nobody else was asked."""
    status, code = case.fault.answer
    assert (answer.status, answer.clean, answer.code) == (status, True, code)
    assert answer.header("x-portkey-last-used-option-index") == "config.targets[0]"
    assert trio.asked()["b"] == 0
    whose = "client_error" if code == "request_timeout" else "upstream_error"  # the limit was the request's own
    assert (record["status"], record["outcome"]) == (status, whose)
    (attempt,) = record["attempts"]
    check_story(case, attempt, whole=trio.a.seen("done").complete)
    assert record["replay"] == "exhausted"
