"""The second attempt: when it begins, what it is sent, and that it never looks whole when the upload is not."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.client import pieces
from tests.flow.forms import CLOSING, audio, field, file, form, usual
from tests.flow.gateway import Gateway, free_port, serving
from tests.flow.kept import wait_for_nothing_kept
from tests.flow.scripts import CLOSE, READ_ALL, RESET, error, hold, read, reply, send
from tests.flow.trio import Trio, got_audio, targets, told, trio_settings, with_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.flow.client import Connection
    from tests.flow.driver import Seen, Upstream
    from tests.flow.scripts import Step

AUDIO = audio(600_000, seed=12)
MODEL = field("model", "whisper-1")
LANGUAGE = field("language", "de")
ORDERS = {"file first": form(file(AUDIO), MODEL, LANGUAGE), "file last": form(MODEL, LANGUAGE, file(AUDIO))}
FRAMINGS = pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
A_THEN_B = with_config(targets("fallback", {"virtual_key": "key-a"}, {"virtual_key": "key-b"}))
GOOD = (READ_ALL, send(reply(200, b'{"text":"good"}')))


@pytest.fixture(scope="module")
def on_disk(three: Mapping[str, Upstream], folder: Path) -> Iterator[Gateway]:
    """A gateway that keeps all but the first bytes on disk. At the provider ``narrow``, buffers are small; ``exact``
    needs a Content-Length. Both are the third upstream.
    """
    settings = trio_settings(three, free_port(), replay={"memory": 1000})
    third = {"dialect": "openai", "auth": "none", "formats": "any"}
    narrow = f"http://127.0.0.1:{three['c'].listen(receive_buffer=1 << 16)}/v1"
    settings["providers"] += [
        {**third, "slug": "narrow", "base_url": narrow},
        {**third, "slug": "exact", "base_url": three["c"].url, "needs_content_length": True},
    ]
    with serving(folder, settings) as running:
        yield running
        wait_for_nothing_kept(running)


@pytest.fixture
def trio(on_disk: Gateway, three: Mapping[str, Upstream]) -> Iterator[Trio]:
    yield Trio(on_disk, three)
    on_disk.check()


def send_body(connection: Connection, body: bytes, *, chunked: bool) -> None:
    assert connection.upload(pieces(body), chunked=chunked) == len(body), "answered before all was sent"


# When it begins


@FRAMINGS
@pytest.mark.parametrize("body", ORDERS.values(), ids=ORDERS.keys())
def test_a_retry_does_not_wait_for_the_end_of_the_upload(trio: Trio, body: bytes, chunked: bool) -> None:
    half = len(body) // 2
    trio.a.script(read(half // 2), send(error(503)), CLOSE)
    trio.b.script(*GOOD)
    with trio.a.connect() as connection:
        trio.a.begin(connection, None if chunked else len(body), A_THEN_B)
        send_body(connection, body[:half], chunked=chunked)
        seen = trio.b.seen("length", half - len(CLOSING))  # and only now the client goes on
        assert body.startswith(seen.kept)
        send_body(connection, body[half:], chunked=chunked)
        if chunked:
            connection.end_chunks()
        assert connection.read_reply().json() == {"text": "good"}
    got_audio(trio.b.seen(), AUDIO)
    record = trio.record()
    assert record["attempts"][1]["started_ms"] < record["timing_ms"]["upload"]
    assert record["timing_ms"]["overlap_saved"] > 0


def test_a_third_attempt_begins_at_the_first_byte_too_and_follows_the_client(trio: Trio) -> None:
    body = ORDERS["file first"]
    steps = [len(body) // 4, len(body) // 2, len(body) * 3 // 4]
    trio.a.script(read(1), RESET)
    trio.b.script(read(steps[1] - 100), RESET)
    trio.c.script(*GOOD)
    config = targets("fallback", *({"virtual_key": f"key-{name}"} for name in "abc"))
    with trio.a.connect() as connection:
        trio.a.begin(connection, len(body), with_config(config))
        send_body(connection, body[: steps[0]], chunked=False)
        trio.b.seen("length", steps[0])
        send_body(connection, body[steps[0] : steps[1]], chunked=False)
        trio.c.seen("length", steps[1])
        send_body(connection, body[steps[1] :], chunked=False)
        assert connection.read_reply().status == 200
    got_audio(trio.c.seen(), AUDIO)
    record = trio.record()
    assert told(record, "failure", "replayed") == [
        ("config.targets[0]", "upstream_broke", False),
        ("config.targets[1]", "upstream_broke", True),
        ("config.targets[2]", None, True),
    ]
    assert record["replay"] == "disk"


# What it is sent


OVERRIDES: dict[str, dict[str, Any]] = {
    "another model": {"model": "second"},
    "a field more": {"temperature": 0.5, "model": "second"},
    "a field less": {"language": None},
    "nothing": {},
}


def check_form(seen: Seen, overrides: Mapping[str, Any]) -> None:
    """Check the fields that a target got, and the audio."""
    fields: dict[str, Any] = {"model": "whisper-1", "language": "de", **overrides}
    got_audio(seen, AUDIO)
    for name, value in fields.items():
        assert seen.fields(name) == ([] if value is None else [str(value)])
    assert len(seen.parts) == sum(value is not None for value in fields.values()) + 1


@FRAMINGS
@pytest.mark.parametrize("body", ORDERS.values(), ids=ORDERS.keys())
@pytest.mark.parametrize("second", OVERRIDES.values(), ids=OVERRIDES.keys())
@pytest.mark.parametrize("first", [{"model": "first"}, {}], ids=["rewritten first", "verbatim first"])
def test_each_target_gets_its_own_rewriting_of_the_same_upload(
    trio: Trio, first: dict[str, Any], second: dict[str, Any], body: bytes, chunked: bool
) -> None:
    trio.a.script(READ_ALL, send(error(500)))
    trio.b.script(*GOOD)
    config = targets(
        "fallback",
        {"virtual_key": "key-a", "override_params": first},
        {"virtual_key": "key-b", "override_params": second},
    )
    assert trio.post(config, body, chunked=chunked).status == 200
    check_form(trio.a.seen(), first)
    seen = trio.b.seen()
    check_form(seen, second)
    if not second:
        assert hashlib.sha256(body).hexdigest() == seen.sha256
    promised = not chunked and (not second or (body is ORDERS["file last"] and "temperature" not in second))
    assert seen.framing == ("length" if promised else "chunked")
    assert seen.header("content-length") == (str(seen.length) if promised else None)
    assert trio.record()["model_used"] == second.get("model", "whisper-1")


@FRAMINGS
@pytest.mark.parametrize("body", ORDERS.values(), ids=ORDERS.keys())
@pytest.mark.parametrize("overrides", [{}, {"model": "second"}], ids=["verbatim", "rewritten"])
def test_a_target_that_needs_the_length_gets_it_when_the_upload_has_ended(
    trio: Trio, overrides: dict[str, Any], body: bytes, chunked: bool
) -> None:
    half = len(body) // 2
    trio.a.script(read(half // 2), send(error(429)), READ_ALL)
    trio.c.script(*GOOD)
    config = targets("fallback", {"virtual_key": "key-a"}, {"provider": "exact", "override_params": overrides})
    with trio.a.connect() as connection:
        trio.a.begin(connection, None if chunked else len(body), with_config(config))
        send_body(connection, body[:half], chunked=chunked)
        trio.a.seen("done")
        send_body(connection, body[half:], chunked=chunked)
        if chunked:
            connection.end_chunks()
        assert connection.read_reply().status == 200
    seen = trio.c.seen()
    check_form(seen, overrides)
    assert seen.header("content-length") == str(seen.length)


@FRAMINGS
def test_an_address_that_hangs_on_a_late_field_waits_for_it_and_for_nothing_else(trio: Trio, chunked: bool) -> None:
    body = form(file(AUDIO), MODEL, LANGUAGE)
    known = body.index(LANGUAGE) + len(LANGUAGE)  # by then, the model's part has ended
    trio.a.script(read(1), send(error(500)), CLOSE)
    config = targets("fallback", {"virtual_key": "key-a"}, {"virtual_key": "azure"})
    with trio.a.connect() as connection:
        trio.a.begin(connection, None if chunked else len(body), with_config(config))
        send_body(connection, body[:-1000], chunked=chunked)
        trio.a.seen("done")
        assert trio.gateway.reads_all(connection.port)
        assert trio.asked()["b"] == 0
        send_body(connection, body[-1000:known], chunked=chunked)
        trio.b.seen("length", known - len(CLOSING))
        send_body(connection, body[known:], chunked=chunked)
        if chunked:
            connection.end_chunks()
        assert connection.read_reply().status == 200
    seen = trio.b.seen()
    assert seen.target.startswith("/openai/deployments/hear/audio/transcriptions?")
    got_audio(seen, AUDIO)
    assert told(trio.record(), "failure", "replayed")[1] == ("config.targets[1]", None, True)


# That it never looks whole when the upload is not


def leave(connection: Connection) -> None:
    connection.close()


def reset(connection: Connection) -> None:
    connection.reset()


def half_close(connection: Connection) -> None:
    connection.half_close()
    assert connection.at_end()


@FRAMINGS
@pytest.mark.parametrize("ending", [leave, reset, half_close])
@pytest.mark.parametrize("pause", [0, 1], ids=["at once", "with the replay under way"])
def test_a_client_that_leaves_ends_the_replay_at_once(
    trio: Trio, pause: bool, ending: Callable[[Connection], None], chunked: bool
) -> None:
    body = usual(AUDIO)
    trio.a.script(read(100_000), send(error(500)), CLOSE)
    trio.b.script(READ_ALL, send(reply()))
    with trio.a.connect() as connection:
        trio.a.begin(connection, None if chunked else len(body), A_THEN_B)
        send_body(connection, body[:-50], chunked=chunked)
        if pause:
            trio.b.seen("length", len(body) - 50 - len(CLOSING))
        ending(connection)
        record = trio.record()
    assert (record["status"], record["outcome"], record["error_code"]) == (499, "client_left", "client_left")
    trio.b.uncommitted()
    if pause:
        assert trio.b.seen("cut").length >= len(body) - 50 - len(CLOSING)
        assert record["attempts"][1]["failure"] == "client_left"
    assert not any(attempt["possibly_billed"] for attempt in record["attempts"])


NOT_WHOLE = {
    "no closing delimiter": (usual(AUDIO)[:-8], "truncated_upload"),
    "no model": (form(file(AUDIO)), "missing_model"),
    "the model twice": (form(MODEL, file(AUDIO), MODEL), "duplicate_field"),
}


@FRAMINGS
@pytest.mark.parametrize(("body", "code"), NOT_WHOLE.values(), ids=NOT_WHOLE.keys())
def test_what_is_wrong_with_an_upload_is_refused_before_the_second_target_has_it_whole(
    trio: Trio, body: bytes, code: str, chunked: bool
) -> None:
    trio.a.script(read(100_000), send(error(500)), CLOSE)
    with trio.a.connect() as connection:
        trio.a.begin(connection, None if chunked else len(body), A_THEN_B)
        send_body(connection, body[:200_000], chunked=chunked)
        trio.b.seen("length", 200_000 - len(CLOSING))
        send_body(connection, body[200_000:], chunked=chunked)
        if chunked:
            connection.end_chunks()
        answer = connection.read_reply()
    assert (answer.status, answer.code) == (400, code)
    assert not trio.a.seen("done").complete
    trio.b.uncommitted()
    record = trio.record()
    assert (record["outcome"], record["attempts"][1]["failure"]) == ("client_error", "gateway_refused")


# A second target slower than the client


def test_back_pressure_holds_for_a_replay_from_disk(trio: Trio) -> None:
    body = usual(audio(50 << 20, seed=13))
    half = len(body) // 2
    trio.a.script(read(half), send(error(500)), RESET)
    trio.c.script(read(1000), hold(), *GOOD)
    config = with_config(targets("fallback", {"virtual_key": "key-a"}, {"provider": "narrow"}))
    with trio.a.connect(send_buffer=1 << 16) as connection:
        trio.gateway.forget_peak()
        before = trio.gateway.peak_rss()
        trio.a.begin(connection, len(body), config)
        send_body(connection, body[:half], chunked=False)
        sent = half + connection.send_until_blocked(body[half:])
        assert sent < len(body), "nobody reads, and yet all of it was taken"
        trio.c.seen("length", 1000)
        trio.c.release()
        connection.send(body[sent:])
        assert connection.read_reply().status == 200
    assert trio.gateway.peak_rss() - before < 8 << 20
    assert trio.c.seen().sha256 == hashlib.sha256(body).hexdigest()
    assert trio.record()["replay"] == "disk"


# The gateway's own limits of time


SILENT: dict[str, tuple[Step, ...]] = {
    "takes no more bytes": (read(1000), hold("never")),
    "never answers": (READ_ALL, hold("never")),
    "falls silent in its answer": (READ_ALL, send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), hold("never")),
}


@pytest.fixture(scope="module")
def hasty_gateway(three: Mapping[str, Upstream], folder: Path) -> Iterator[Gateway]:
    timeouts = {"connect": 0.6, "upload_idle": 0.4, "first_byte": 0.4, "idle": 0.4}
    settings = trio_settings(three, free_port(), replay={"memory": 1000}, timeouts=timeouts)
    narrow = f"http://127.0.0.1:{three['a'].listen(receive_buffer=1 << 16)}/v1"
    settings["providers"] += [
        {"dialect": "openai", "auth": "none", "formats": "any", "slug": "narrow", "base_url": narrow}
    ]
    with serving(folder, settings) as running:
        yield running
        wait_for_nothing_kept(running)


@pytest.mark.parametrize("steps", SILENT.values(), ids=SILENT.keys())
def test_a_target_that_falls_silent_is_left_for_the_next(
    hasty_gateway: Gateway, three: Mapping[str, Upstream], steps: tuple[Step, ...]
) -> None:
    trio, data = Trio(hasty_gateway, three), audio(12 << 20, seed=14)
    body = usual(data)
    trio.a.script(*steps)
    trio.b.script(*GOOD)
    answer = trio.post(targets("fallback", {"provider": "narrow"}, {"virtual_key": "key-b"}), body)
    assert (answer.status, answer.json()) == (200, {"text": "good"})
    assert trio.b.seen().sha256 == hashlib.sha256(body).hexdigest()
    first = trio.record()["attempts"][0]
    assert (first["failure"], first["possibly_billed"]) == ("upstream_timed_out", steps[0] == READ_ALL)
    hasty_gateway.check()


def test_a_client_that_falls_silent_is_not_the_targets_fault(
    hasty_gateway: Gateway, three: Mapping[str, Upstream]
) -> None:
    trio, body = Trio(hasty_gateway, three), usual(AUDIO)
    with trio.a.connect() as connection:
        trio.a.begin(connection, len(body), A_THEN_B)
        connection.send(body[:100_000])
        answer = connection.read_reply()
    assert (answer.status, answer.code) == (408, "upload_timeout")
    trio.a.uncommitted()
    assert trio.asked()["b"] == 0
    record = trio.record()
    assert (record["outcome"], told(record, "failure")) == ("client_error", [("config.targets[0]", "client_left")])
    hasty_gateway.check()
