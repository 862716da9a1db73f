"""What is kept of an upload for another attempt: where, in which form, how much, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.client import pieces
from tests.flow.forms import audio, field, file, form, usual
from tests.flow.gateway import Gateway, free_port, serving
from tests.flow.kept import kept_bytes, unnamed_files, wait_for_nothing_kept
from tests.flow.scripts import CLOSE, READ_ALL, RESET, error, hold, read, reply, send
from tests.flow.trio import Trio, got_audio, targets, told, trio_settings, with_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.flow.driver import Upstream

AUDIO = audio(300_000, seed=15)
BODY = usual(AUDIO)
HALF = len(BODY) // 2
FEW = 1000  # bytes in memory: the rest goes to disk
A, B = {"virtual_key": "key-a"}, {"virtual_key": "key-b"}
A_THEN_B = targets("fallback", A, B)
GOOD = (READ_ALL, send(reply(200, b'{"text":"good"}')))
MARKS = [AUDIO[start : start + 16] for start in range(1_000, HALF - 1_000, 10_000)]


@pytest.fixture(scope="module")
def on_disk(three: Mapping[str, Upstream], folder: Path) -> Iterator[Gateway]:
    """A gateway that keeps all but the first bytes on disk and no connection to an upstream open."""
    timeouts = {"connect": 0.6, "upload_idle": 20, "first_byte": 20, "idle": 20, "upstream_keepalive": 0}
    with serving(folder, trio_settings(three, free_port(), replay={"memory": FEW}, timeouts=timeouts)) as running:
        yield running


@pytest.fixture
def trio(on_disk: Gateway, three: Mapping[str, Upstream]) -> Iterator[Trio]:
    yield Trio(on_disk, three)
    on_disk.check()


# On disk


@pytest.mark.parametrize("encrypt", [True, False], ids=["encrypted", "plain"])
def test_the_file_has_no_name_and_its_bytes_mean_nothing(
    own_trio: Callable[..., Trio], tmp_path: Path, encrypt: bool
) -> None:
    trio = own_trio(replay={"memory": FEW, "directory": str(tmp_path), "encrypt": encrypt})
    trio.a.script(read(HALF - 1000), hold(), RESET)
    trio.b.script(*GOOD)
    with trio.a.connect() as connection:
        trio.a.begin(connection, len(BODY), with_config(A_THEN_B))
        connection.upload(pieces(BODY[:HALF], 10_000))
        trio.a.seen("length", HALF - 1000)
        (kept,) = unnamed_files(trio.gateway)
        assert list(tmp_path.iterdir()) == []
        state = kept.stat()
        assert (state.st_nlink, state.st_mode & 0o777) == (0, 0o600)
        data = kept.read_bytes()
        assert len(data) > HALF - 20_000
        assert sum(mark in data for mark in MARKS) == (0 if encrypt else len(MARKS))
        trio.a.release()
        connection.upload(pieces(BODY[HALF:]))
        assert connection.read_reply().status == 200
    got_audio(trio.b.seen(), AUDIO)
    wait_for_nothing_kept(trio.gateway)


def test_what_is_kept_is_on_the_meter_and_ends_with_the_request(trio: Trio) -> None:
    trio.a.script(read(HALF - 1000), hold(), *GOOD)
    with trio.a.connect() as connection:
        trio.a.begin(connection, len(BODY), with_config(A_THEN_B))
        connection.upload(pieces(BODY[:HALF]))
        trio.a.seen("length", HALF - 1000)
        assert HALF - 1000 <= kept_bytes(trio.gateway) <= HALF
        trio.a.release()
        connection.upload(pieces(BODY[HALF:]))
        assert connection.read_reply().status == 200
        wait_for_nothing_kept(trio.gateway)
    assert trio.record()["replay"] == "disk"


def test_the_last_target_reads_what_was_kept_and_then_nothing_is_kept_for_nobody(trio: Trio) -> None:
    """Its reader lets go of the file once it has caught up with the client."""
    trio.a.script(read(HALF - 1000), RESET)
    trio.b.script(read(HALF - 1000), hold(), *GOOD)
    with trio.a.connect() as connection:
        trio.a.begin(connection, len(BODY), with_config(A_THEN_B))
        connection.upload(pieces(BODY[:HALF]))
        trio.b.seen("length", HALF - 1000)
        wait_for_nothing_kept(trio.gateway)
        trio.b.release()
        connection.upload(pieces(BODY[HALF:]))
        assert connection.read_reply().status == 200
    got_audio(trio.b.seen(), AUDIO)


ENDINGS = ("good", "rescued", "refused", "broken", "aborted", "reset", "gone in the replay", "truncated", "no model")


def end(trio: Trio, ending: str, *, chunked: bool) -> None:
    """Make one upload that ends so."""
    first = {"good": GOOD, "aborted": GOOD, "reset": GOOD}.get(ending, (read(50_000), send(error(500)), CLOSE))
    second = {"refused": (READ_ALL, send(error(401))), "broken": (read(100_000), RESET)}.get(ending, GOOD)
    trio.a.script(*first)
    trio.b.script(*second)
    body = {"truncated": BODY[:-8], "no model": form(file(AUDIO))}.get(ending, BODY)
    with trio.a.connect() as connection:
        trio.a.begin(connection, None if chunked else len(body), with_config(A_THEN_B))
        if ending in ("aborted", "reset", "gone in the replay"):
            connection.upload(pieces(body[:HALF]), chunked=chunked)
            (trio.b if ending == "gone in the replay" else trio.a).seen("length", HALF // 2)
            if ending == "reset":
                connection.reset()
        elif connection.upload(pieces(body), chunked=chunked) == len(body) and chunked:
            connection.push(b"0\r\n\r\n")
        if ending not in ("aborted", "reset", "gone in the replay"):
            answers = {"good": 200, "rescued": 200, "refused": 401, "broken": 502}
            assert connection.read_reply().status == answers.get(ending, 400)
    trio.record()


@pytest.mark.slow
def test_any_mix_of_endings_leaves_neither_bytes_nor_files_nor_descriptors(on_disk: Gateway, trio: Trio) -> None:
    end(trio, "rescued", chunked=False)
    wait_for_nothing_kept(on_disk)
    before = on_disk.fds()
    for _ in range(7):
        for ending in ENDINGS:
            for chunked in (False, True):
                end(Trio(on_disk, trio.upstreams), ending, chunked=chunked)
    wait_for_nothing_kept(on_disk)
    on_disk.wait_for(lambda: on_disk.fds() <= before, "all descriptors to be closed")


# When nothing can be sent twice


ONE_WAY: dict[str, dict[str, Any]] = {
    "one target": A,
    "one target of a strategy": targets("single", A, B),
    "no retries": {**A, "retry": {"attempts": 0}},
    "a fallback after nothing": targets("fallback", A, B, on_status_codes=[]),
}


@pytest.mark.parametrize("config", ONE_WAY.values(), ids=ONE_WAY.keys())
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_when_nothing_can_be_sent_twice_nothing_is_kept(trio: Trio, config: dict[str, Any], chunked: bool) -> None:
    trio.a.script(read(HALF - 1000), hold(), *GOOD)
    with trio.a.connect() as connection:
        trio.a.begin(connection, None if chunked else len(BODY), with_config(config))
        connection.upload(pieces(BODY[:HALF]), chunked=chunked)
        trio.a.seen("length", HALF - 1000)
        assert (kept_bytes(trio.gateway), unnamed_files(trio.gateway)) == (0, [])
        trio.a.release()
        connection.upload(pieces(BODY[HALF:]), chunked=chunked)
        if chunked:
            connection.end_chunks()
        assert connection.read_reply().status == 200
    got_audio(trio.a.seen(), AUDIO)
    assert trio.record()["replay"] == "off"


def test_a_limit_of_nothing_turns_replay_off(own_trio: Callable[..., Trio]) -> None:
    """What has not been sent yet can still be sent to the next target, and fields may still come before the file."""
    trio = own_trio(replay={"per_request": 0, "memory": FEW})
    trio.a.script(read(HALF), send(error(503)), READ_ALL)
    assert trio.post(A_THEN_B, BODY).status == 503
    assert trio.record()["replay"] == "off"

    unreached = Trio(trio.gateway, trio.upstreams)
    unreached.b.script(*GOOD)
    dead = {"provider": "dead", "api_key": "sk-flow-dead"}
    assert unreached.post(targets("fallback", dead, B), BODY).status == 200
    got_audio(unreached.b.seen(), AUDIO)
    assert unreached.record()["replay"] == "off"

    late = Trio(trio.gateway, trio.upstreams)
    answer = late.post({"virtual_key": "azure"}, form(file(AUDIO), field("model", "whisper-1")))
    assert (answer.status, answer.code) == (413, "upload_too_large")
    assert "before the file" in answer.json()["error"]["message"]
    assert late.post({"virtual_key": "azure"}, BODY).status == 200
    assert (kept_bytes(trio.gateway), unnamed_files(trio.gateway)) == (0, [])


# When there is no room


def test_an_upload_that_cannot_be_kept_is_dropped_at_once_and_counted(own_trio: Callable[..., Trio]) -> None:
    """What is kept of it is of no use without the rest: it makes room for others."""
    trio = own_trio(replay={"total": 200_000, "memory": FEW})
    body = usual(audio(600_000, seed=16))
    trio.a.script(read(300_000), hold(), READ_ALL, send(error(500)))
    with trio.a.connect() as connection:
        trio.a.begin(connection, len(body), with_config(A_THEN_B))
        connection.upload(pieces(body[:400_000], 10_000))
        trio.a.seen("length", 300_000)
        assert (kept_bytes(trio.gateway), unnamed_files(trio.gateway)) == (0, [])

        other, data = Trio(trio.gateway, trio.upstreams), audio(150_000, seed=17)
        other.a.script(read(100_000), RESET)
        other.b.script(*GOOD)
        assert other.post(A_THEN_B, usual(data)).status == 200
        got_audio(other.b.seen(), data)
        assert other.record()["replay"] == "disk"

        trio.a.release()
        connection.upload(pieces(body[400_000:]))
        assert connection.read_reply().status == 500
    assert (trio.record()["replay"], trio.asked()["b"]) == ("exhausted", 0)
    assert "audiogate_replay_exhausted_total 1.0" in trio.gateway.ops("/metrics")[1]


@pytest.mark.parametrize("config", [A, A_THEN_B, targets("fallback", {**A, "override_params": {"model": "m"}}, B)])
@pytest.mark.parametrize("size", [1_000, 600_000])
def test_a_request_goes_through_while_others_fill_all_there_is(
    own_trio: Callable[..., Trio], config: dict[str, Any], size: int
) -> None:
    full = own_trio(replay={"total": 200_000})
    full.a.script(read(190_000), hold(), *GOOD)
    with full.a.connect() as connection:
        full.a.begin(connection, 600_000, with_config(A_THEN_B))
        connection.upload(pieces(usual(audio(600_000))[:199_900], 10_000))
        full.a.seen("length", 190_000)
        assert kept_bytes(full.gateway) > 190_000
        for chunked in (False, True):
            for last in (False, True):
                trio, data = Trio(full.gateway, full.upstreams), audio(size, seed=18)
                fields = [field("model", "whisper-1")]
                body = form(*fields, file(data)) if last else form(file(data), *fields)
                assert trio.post(config, body, chunked=chunked).status == 200
                got_audio(trio.a.seen(), data)


# A loadbalance keeps nothing, and yet may have to pass over a target that does not take what turns up in the form


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_target_that_is_passed_over_late_never_costs_the_next_one_its_beginning(trio: Trio, chunked: bool) -> None:
    config = targets("loadbalance", {"provider": "mp3", "api_key": "sk-flow-x"}, {**B, "weight": 1e-12})
    start = BODY.index(b"RIFF")
    trio.a.script(READ_ALL, send(reply()))
    trio.b.script(*GOOD)
    with trio.a.connect() as connection:
        trio.a.begin(connection, None if chunked else len(BODY), with_config(config))
        connection.upload([BODY[:start]], chunked=chunked)
        trio.a.seen("length", start - 100)
        connection.upload(pieces(BODY[start:]), chunked=chunked)
        if chunked:
            connection.push(b"0\r\n\r\n")
        answer = connection.read_reply()
    assert not trio.a.seen("done").complete
    if answer.status == 200:
        got_audio(trio.b.seen(), AUDIO)
    else:
        assert (answer.status, answer.code, trio.asked()["b"]) == (400, "unsupported_format", 0)
    assert told(trio.record(), "failure")[0] == ("config.targets[0]", "gateway_refused")
