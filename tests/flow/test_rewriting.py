"""Forms that a route changes: overrides, models naming a virtual key, URLs that hang on a late field."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.flow.conftest import AZURE_KEY, VIRTUAL_KEY
from tests.flow.forms import WAV, audio, field, file, form, usual
from tests.flow.scripts import hold, read
from tests.flow.stage import TRANSLATIONS

if TYPE_CHECKING:
    from tests.flow.driver import Seen
    from tests.flow.stage import Stage

MODEL = field("model", "whisper-1")
LANGUAGE = field("language", "de")
PROMPT = field("prompt", "Ähm")
WORD, SEGMENT = (field("timestamp_granularities[]", value) for value in ("word", "segment"))
BIG = audio(300_000, seed=7)

ORDERS = {
    "before the file": (form(MODEL, LANGUAGE, WORD, PROMPT, SEGMENT, file(BIG)), "length"),
    "after the file": (form(WORD, file(BIG), PROMPT, MODEL, SEGMENT, LANGUAGE), "chunked"),
    "one before, one after": (form(WORD, MODEL, file(BIG), PROMPT, LANGUAGE, SEGMENT), "chunked"),
    "one not sent at all": (form(MODEL, WORD, PROMPT, SEGMENT, file(BIG)), "chunked"),
    "twice before": (form(MODEL, LANGUAGE, LANGUAGE, WORD, PROMPT, SEGMENT, file(BIG)), "length"),
}


def check_audio(seen: Seen, data: bytes) -> None:
    audio_parts = [part for part in seen.parts if part.name == "file"]
    assert [part.payload for part in audio_parts] == [data]
    assert audio_parts[0].header == file(data).partition(b"\r\n\r\n")[0]


def check_length(seen: Seen, framing: str) -> None:
    assert seen.framing == framing
    assert seen.header("content-length") == (str(seen.length) if framing == "length" else None)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize(("body", "framing"), ORDERS.values(), ids=ORDERS.keys())
def test_an_override_wins_wherever_the_field_is(stage: Stage, body: bytes, framing: str, chunked: bool) -> None:
    answer = stage.post(body, [("x-portkey-config", "renamed")], chunked=chunked)
    assert answer.status == 200
    seen = stage.seen()
    assert (seen.fields("model"), seen.fields("language")) == (["big"], ["en"])
    others = [part.payload for part in seen.parts if part.name not in {"model", "language", "file"}]
    assert others == [b"word", "Ähm".encode(), b"segment"]
    check_audio(seen, BIG)
    check_length(seen, "chunked" if chunked else framing)
    assert seen.header("authorization") == f"Bearer {VIRTUAL_KEY}"
    record = stage.record()
    assert (record["model_requested"], record["model_used"]) == ("whisper-1", "big")
    assert (record["config"], record["provider"]) == ("renamed", "up")


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("body", [form(MODEL, file(BIG)), form(file(BIG), MODEL)], ids=["fields first", "file first"])
def test_an_upstream_that_needs_a_length_gets_an_exact_one(stage: Stage, body: bytes, chunked: bool) -> None:
    config = {"provider": "exact", "api_key": "sk-flow-config", "override_params": {"temperature": 0.5}}
    assert stage.post(body, [("x-portkey-config", json.dumps(config))], chunked=chunked).status == 200
    seen = stage.seen()
    assert seen.fields("temperature") == ["0.5"]
    check_audio(seen, BIG)
    check_length(seen, "length")


def test_an_upstream_that_needs_a_length_gets_the_clients_when_nothing_changes(stage: Stage) -> None:
    body = usual(BIG)
    with stage.connect() as connection:
        stage.begin(connection, len(body), [("x-portkey-provider", "exact")])
        connection.send(body[:200_000])
        assert not stage.seen("length", 100_000).complete, "an upload of known length is not held back"
        connection.send(body[200_000:])
        assert connection.read_reply().status == 200
    check_length(stage.seen(), "length")


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("late", [False, True], ids=["model first", "model last"])
def test_a_model_may_name_its_virtual_key(stage: Stage, late: bool, chunked: bool) -> None:
    named = field("model", "@vk/openai/whisper-9")
    body = form(file(BIG), named) if late else form(named, file(BIG))
    assert stage.post(body, chunked=chunked, without=("x-portkey-provider",)).status == 200
    seen = stage.seen()
    assert seen.fields("model") == ["openai/whisper-9"]
    assert seen.header("authorization") == f"Bearer {VIRTUAL_KEY}"
    check_audio(seen, BIG)
    record = stage.record()
    assert (record["provider"], record["model_used"]) == ("up", "openai/whisper-9")


@pytest.mark.parametrize("header", ["x-portkey-virtual-key", "x-portkey-provider"])
def test_a_header_may_name_a_virtual_key(stage: Stage, header: str) -> None:
    value = "vk" if header == "x-portkey-virtual-key" else "@vk"
    answer = stage.post(extra=[(header, value)], without=("x-portkey-provider",))
    assert (answer.status, answer.header("x-portkey-provider")) == (200, "up")
    seen = stage.seen()
    assert seen.body == usual()
    assert seen.header_values("authorization") == [f"Bearer {VIRTUAL_KEY}"]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("late", [False, True], ids=["model first", "model last"])
@pytest.mark.parametrize(("model", "deployment"), [("whisper-1", "hear"), ("gpt-transcribe", "gptt")])
def test_azure_deployments_are_chosen_by_a_model_however_late(
    stage: Stage, model: str, deployment: str, late: bool, chunked: bool
) -> None:
    body = form(file(BIG), field("model", model)) if late else form(field("model", model), file(BIG))
    answer = stage.post(body, [("x-portkey-provider", "@azure")], chunked=chunked)
    assert (answer.status, answer.header("x-portkey-provider")) == (200, "azure-openai")
    seen = stage.seen()
    assert seen.target == f"/openai/deployments/{deployment}/audio/transcriptions?api-version=2025-04-01-preview"
    assert (seen.header("api-key"), seen.header("authorization")) == (AZURE_KEY, None)
    check_audio(seen, BIG)


def test_a_late_model_holds_the_upload_back_and_an_early_one_does_not(stage: Stage) -> None:
    """The URL hangs on ``model``: nothing can flow before it is seen, and everything can from then on."""
    body = form(MODEL, file(BIG))
    stage.script(read(len(body)), hold())
    with stage.connect() as connection:
        stage.begin(connection, len(body), [("x-portkey-provider", "@azure")], target=TRANSLATIONS)
        connection.send(body[:1000])
        assert stage.seen("length", 500).target.startswith("/openai/deployments/hear/audio/translations?")
        connection.send(body[1000:])
        stage.seen()
        stage.release()


def test_azure_without_a_model_is_refused_when_the_form_ends(stage: Stage) -> None:
    answer = stage.post(form(file(WAV)), [("x-portkey-provider", "@azure")])
    assert (answer.status, answer.code) == (400, "missing_model")
    stage.unseen()
    stage.record()


def test_azure_with_an_unknown_model_is_told_the_known_ones(stage: Stage) -> None:
    answer = stage.post(form(file(WAV), field("model", "nope")), [("x-portkey-provider", "@azure")])
    assert answer.status == 400
    assert "gpt-transcribe" in answer.json()["message"]
    stage.unseen()
    stage.record()
