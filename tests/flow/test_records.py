"""Exactly one record for every request, with the facts of INTERFACE section 6 and nothing made up."""

from __future__ import annotations

import json
import re
import time
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.forms import WAV, audio, field, file, form, usual
from tests.flow.scripts import READ_ALL, hold, reply, send
from tests.flow.stage import TRANSLATIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.flow.stage import Stage

# fmt: off
NAMES = {
    "id", "trace_id", "time", "route", "method", "status", "outcome", "error_code", "key_name", "config",
    "provider", "model_requested", "model_used", "metadata", "attempts", "retry_count", "cache_status", "audio",
    "usage",
    "cost_usd", "cost_basis", "bytes_in", "bytes_out", "timing_ms", "response_format", "language", "stream",
    "transcript", "client", "user_agent", "replay",
}
ATTEMPT = {
    "target", "provider", "model", "status", "failure", "started_ms", "sent_bytes", "upload_ms",
    "ttfb_ms", "total_ms", "replayed",
}
# fmt: on
TIMING = {"total", "upload", "overhead", "ttfb_upstream", "overlap_saved"}
AUDIO = {"container", "filename", "bytes", "seconds", "seconds_source"}


def test_a_record_has_every_field_and_each_its_meaning(stage: Stage) -> None:
    said = json.dumps({"text": "hello"}).encode()
    stage.script(READ_ALL, send(reply(200, said)))
    body = form(
        field("model", "whisper-1"),
        field("response_format", "json"),
        field("language", "de"),
        file(filename="a.wav"),
    )
    started = time.time()
    answer = stage.post(body, [("User-Agent", "flow/1.0"), ("x-portkey-metadata", '{"user":"u1"}')])
    assert answer.status == 200
    record = stage.record()
    assert set(record) >= NAMES
    assert uuid.UUID(record["id"]).version == 7
    at = datetime.fromisoformat(record["time"])
    assert at.tzinfo is not None
    assert started - 1 < at.timestamp() < time.time() + 1
    expected = {
        "trace_id": stage.token,
        "route": "transcriptions",
        "method": "POST",
        "status": 200,
        "outcome": "ok",
        "error_code": None,
        "key_name": None,
        "config": None,
        "provider": "up",
        "model_requested": "whisper-1",
        "model_used": "whisper-1",
        "metadata": {"user": "u1"},
        "retry_count": 0,
        "bytes_in": len(body),
        "bytes_out": len(said),
        "response_format": "json",
        "language": "de",
        "stream": False,
        "transcript": None,
        "client": "127.0.0.1",
        "user_agent": "flow/1.0",
    }
    assert {name: record[name] for name in expected} == expected
    assert set(record["audio"]) >= AUDIO
    sound = {name: record["audio"][name] for name in ("container", "filename", "bytes")}
    assert sound == {"container": "wav", "filename": "a.wav", "bytes": len(WAV)}


def test_an_attempt_tells_what_was_sent_and_how_long_it_took(stage: Stage) -> None:
    body = usual(audio(300_000))
    stage.script(READ_ALL, hold(), send(reply()))
    with stage.connect() as connection:
        stage.begin(connection, len(body))
        connection.send(body[:200_000])
        stage.seen("length", 150_000)
        time.sleep(0.12)  # an upload that lasts, so that its time can be told from none
        connection.send(body[200_000:])
        stage.seen()
        time.sleep(0.12)
        stage.release()
        assert connection.read_reply().status == 200
    record = stage.record()
    (attempt,) = record["attempts"]
    assert set(attempt) >= ATTEMPT
    assert (attempt["target"], attempt["provider"], attempt["status"]) == ("config", "up", 200)
    assert (attempt["failure"], attempt["sent_bytes"], attempt["replayed"]) == (None, len(body), False)
    timing = record["timing_ms"]
    assert set(timing) >= TIMING
    assert timing["total"] >= attempt["total_ms"] >= 240
    assert timing["upload"] >= 120
    assert timing["ttfb_upstream"] >= 120
    assert timing["overlap_saved"] >= 100, "the upstream had its first byte while the upload went on"
    assert 0 <= timing["overhead"] < 120


def test_what_is_unknown_is_null(stage: Stage) -> None:
    stage.post()
    record = stage.record()
    assert record["cost_usd"] is None
    assert record["cost_basis"] in {None, "unknown"}
    assert record["transcript"] is None


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_that_passes_through_has_no_audio(stage: Stage, method: str) -> None:
    stage.request(method, "/v1/things", b"{}" if method == "POST" else None)
    record = stage.record()
    assert record["audio"] is None or record["audio"]["bytes"] is None
    assert (record["route"], record["model_requested"]) == ("passthrough", None)


def test_routes_have_their_own_names(stage: Stage) -> None:
    stage.post(target=TRANSLATIONS)
    stage.request("GET", "/nowhere")
    assert [record["route"] for record in stage.records(2)] == ["translations", "_unmatched"]


def test_a_keys_name_and_metadata_are_in_the_record_and_the_key_is_not(keyed: Stage) -> None:
    keyed.post(extra=[("x-portkey-provider", "free"), ("x-portkey-metadata", '{"user":"u1"}')])
    record = keyed.record()
    assert record["key_name"] == "mobile"
    assert record["metadata"] == {"team": "mobile", "user": "u1"}
    assert "sk-flow" not in json.dumps(record)


def test_a_refused_key_leaves_no_trace_of_itself(keyed: Stage) -> None:
    answer = keyed.post(extra=[("Authorization", "Bearer sk-flow-wrong"), ("x-portkey-provider", "free")])
    assert answer.status == 401
    record = keyed.record()
    assert (record["key_name"], record["status"]) == (None, 401)
    assert "sk-flow" not in json.dumps(record)


@pytest.mark.parametrize(
    ("filename", "recorded"),
    [("speech.wav", "speech.wav"), ("Ähm.wav", "Ähm.wav"), ("a\\\\b.wav", None)],
    ids=["plain", "UTF-8", "escaped"],
)
def test_a_file_name_is_recorded_as_text(stage: Stage, filename: str, recorded: str | None) -> None:
    assert stage.post(form(field("model", "m"), file(filename=filename))).status == 200
    got = stage.record()["audio"]["filename"]
    assert isinstance(got, str)
    assert recorded in {None, got}


def test_a_line_of_stdout_is_one_json_object(stage: Stage) -> None:
    odd = "line\u2028break \u0000 \x1b[31m"
    stage.post(form(field("model", "m"), field("language", odd), file(filename="a\tb.wav")))
    stage.record()
    for line in stage.gateway.lines():
        assert line.endswith("\n")
        assert isinstance(json.loads(line), dict)
        assert not re.search(r"[\x00-\x08\x0b-\x1f]", line.rstrip("\n"))


def test_the_clients_address_can_be_left_out(own_gateway: Callable[..., Stage]) -> None:
    stage = own_gateway(records={"client": False})
    stage.post()
    assert stage.record()["client"] is None
    stage.gateway.stop()


def test_records_can_be_left_out_of_stdout(own_gateway: Callable[..., Stage]) -> None:
    stage = own_gateway(records={"stdout": False})
    assert stage.post().status == 200
    stage.gateway.stop()
    assert stage.gateway.lines() == []


def test_a_stdout_that_nobody_reads_never_stalls_a_request(own_gateway: Callable[..., Stage]) -> None:
    """A pipe holds 64 KiB; what does not fit waits in a bounded queue, then the oldest are dropped."""
    stage = own_gateway(paused_stdout=True, records={"queue": 20})
    padded: list[Any] = [("User-Agent", "u" * 4000)]
    with stage.connect() as connection:
        for _ in range(120):
            stage.begin(connection, len(usual()), padded)
            connection.send(usual())
            assert connection.read_reply().status == 200
    assert stage.gateway.ready()
    stage.gateway.resume_stdout()
    assert stage.post().status == 200
    stage.gateway.wait_for(lambda: len(stage.gateway.lines()) > 10, "the records to flow again")
    stage.gateway.stop()
    assert 10 < len(stage.gateway.lines()) < 121


def test_a_stdout_that_nobody_reads_does_not_keep_the_gateway_alive(
    own_gateway: Callable[..., Stage],
) -> None:
    stage = own_gateway(paused_stdout=True, drain={"delay": 0, "timeout": 1})
    for _ in range(20):
        assert stage.post(extra=[("User-Agent", "u" * 6000)]).status == 200
    stage.gateway.process.terminate()
    assert stage.gateway.process.wait(10) == 0


def test_a_stdout_that_goes_away_does_not_take_the_gateway_along(own_gateway: Callable[..., Stage]) -> None:
    stage = own_gateway(paused_stdout=True)
    assert stage.gateway.process.stdout is not None
    stage.gateway.process.stdout.close()
    for _ in range(3):
        assert stage.post().status == 200
    stage.gateway.process.terminate()
    assert stage.gateway.process.wait(10) == 0
