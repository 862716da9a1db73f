"""How long, how much: the record and the reply tell it, whatever the container, the format or the provider."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.conftest import base_settings
from tests.flow.forms import field, file, form
from tests.flow.gateway import Gateway, serving
from tests.flow.scripts import READ_ALL, chunk, chunked_head, event, head, reply, send
from tests.flow.stage import TRANSCRIPTIONS, TRANSLATIONS, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.flow.client import Reply
    from tests.flow.driver import Upstream

VECTORS = Path(__file__).parents[1] / "vectors"
SPEECH = "/v1/audio/speech"

# Each vector with how its length is learnt; what they hold is told in vectors/README.md.
LEARNT = {
    "speech.wav": "header",
    "mulaw.wav": "header",
    "rf64.wav": "header",
    "piped.wav": "bytes",
    "speech.flac": "header",
    "piped.flac": "walked",
    "cbr.mp3": "walked",
    "vbr.mp3": "walked",
    "cbr-noxing.mp3": "walked",
    "vbr-noxing.mp3": "walked",
    "faststart.m4a": "header",
    "moov-at-end.m4a": "header",
    "fragmented.mp4": "walked",
    "opus.ogg": "walked",
    "vorbis.ogg": "walked",
    "flac.ogg": "walked",
    "chained.ogg": "walked",
    "opus.webm": "header",
    "live.webm": "walked",
}
TRUE_SECONDS = 3.035
SUBTITLES = b"1\n00:00:00,000 --> 00:00:03,000\ngo forward ten meters\n"


@pytest.fixture(scope="module")
def metered_gateway(upstream: Upstream, folder: Path) -> Iterator[Gateway]:
    """Known providers at the scripted upstream's address: their own prices count."""
    at_upstream = [{"slug": slug, "base_url": upstream.url} for slug in ("openai", "groq", "mistral-ai", "scaleway")]
    own = {"slug": "own", "base_url": upstream.url, "auth": "none", "prices": {"*": {"usd_per_hour": "0.36"}}}
    free = {"slug": "local", "base_url": upstream.url, "auth": "none", "prices": {"*": {"usd_per_second": 0}}}
    nothing = {"slug": "up", "base_url": upstream.url, "auth": "none"}
    with serving(
        folder, base_settings(upstream, providers=[*at_upstream, own, free, nothing], virtual_keys=[], configs=[])
    ) as running:
        yield running


@pytest.fixture
def metered(metered_gateway: Gateway, upstream: Upstream) -> Iterator[Stage]:
    yield Stage(metered_gateway, upstream, provider="openai")
    metered_gateway.check()


def upload(name: str, model: str, response_format: str | None = None) -> bytes:
    fields = [field("model", model)] + ([field("response_format", response_format)] if response_format else [])
    return form(*fields, file((VECTORS / name).read_bytes(), name, "application/octet-stream"))


def answer(said: Any, content_type: str = "application/json") -> bytes:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return reply(200, body, content_type=content_type)


def seconds_of(name: str) -> float:
    return TRUE_SECONDS * (2 if name == "chained.ogg" else 1)


def tolerance(name: str) -> float:
    return 0.11 if name.endswith((".mp3", ".m4a", ".mp4")) else 0.02


def sent_audio(stage: Stage) -> bytes:
    (part,) = (part for part in stage.seen().parts if part.name == "file")
    return part.payload


def told(got: Reply) -> tuple[str | None, str | None]:
    return got.header("x-audiogate-cost-usd"), got.header("x-audiogate-audio-seconds")


def said_as(kind: str, name: str, *, usage: bool) -> bytes:
    """Return what whisper-1 answers in the format ``kind``, with its count of the seconds or without."""
    seconds = seconds_of(name)
    counted: dict[str, Any] = {"usage": {"type": "duration", "seconds": math.ceil(seconds)}} if usage else {}
    if kind in {"json", "translation"}:
        return answer({"text": "go forward", **counted})
    if kind == "verbose_json":
        return answer({"task": "transcribe", "language": "english", "duration": seconds, "text": "go", **counted})
    return answer(SUBTITLES, "text/plain; charset=utf-8")


@pytest.mark.parametrize("usage", [True, False], ids=["counted", "not counted"])
@pytest.mark.parametrize("kind", ["json", "verbose_json", "text", "srt", "vtt", "translation"])
@pytest.mark.parametrize("name", LEARNT)
def test_a_file_costs_the_same_in_every_format_and_the_record_tells_how_long_it_is(
    metered: Stage, name: str, kind: str, *, usage: bool
) -> None:
    metered.script(READ_ALL, send(said_as(kind, name, usage=usage)))
    body = upload(name, "whisper-1", None if kind == "translation" else kind)
    got = metered.post(body, target=TRANSLATIONS if kind == "translation" else TRANSCRIPTIONS)
    assert got.status == 200
    assert sent_audio(metered) == (VECTORS / name).read_bytes()
    record = metered.record()
    audio = record["audio"]
    assert audio["seconds"] == pytest.approx(seconds_of(name), abs=tolerance(name))
    assert (audio["seconds_source"], audio["ended_early"]) == (LEARNT[name], False)
    assert record["cost_usd"] == ("0.0007" if name == "chained.ogg" else "0.0004")
    assert record["cost_basis"] == "seconds"
    assert told(got) == (record["cost_usd"], f"{audio['seconds']:g}")
    counted = usage and kind in {"json", "verbose_json", "translation"}
    if counted:
        assert record["usage"]["seconds"] == math.ceil(seconds_of(name))


TOKENS = {
    "type": "tokens",
    "input_tokens": 40,
    "input_token_details": {"text_tokens": 10, "audio_tokens": 30},
    "output_tokens": 12,
    "total_tokens": 52,
}
# 10 text and 30 audio tokens at $2.50 a million, 12 tokens of output at $10 a million
TOKENS_COST = Decimal(40) * Decimal("0.0000025") + Decimal(12) * Decimal("0.00001")


def delta(text: str) -> bytes:
    return event({"type": "transcript.text.delta", "delta": text})


def streamed(*events: bytes) -> bytes:
    return chunked_head() + b"".join(chunk(each) for each in events) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("model", "said", "cost", "basis"),
    [
        ("gpt-4o-transcribe", answer({"text": "go", "usage": TOKENS}), TOKENS_COST, "tokens"),
        ("gpt-4o-transcribe-2025-03-20", answer({"text": "go", "usage": TOKENS}), TOKENS_COST, "tokens"),
        (
            "gpt-4o-transcribe",
            streamed(delta("go"), event({"type": "transcript.text.done", "text": "go", "usage": TOKENS})),
            TOKENS_COST,
            "tokens",
        ),
        # Nobody counted tokens: OpenAI's own estimate, 0.6 cents a minute.
        ("gpt-4o-transcribe", answer(b"go", "text/plain"), Decimal("3.035") * Decimal("0.0001"), "seconds"),
        (
            "gpt-transcribe",
            answer({"text": "go", "usage": {"type": "duration", "seconds": 4}}),
            Decimal("0.0003"),
            "seconds",
        ),
        ("nobody-knows-1", answer({"text": "go"}), None, "unknown"),
    ],
)
def test_a_cost_stands_on_the_best_count_there_is(
    metered: Stage, model: str, said: bytes, cost: Decimal | None, basis: str
) -> None:
    metered.script(READ_ALL, send(said))
    assert metered.post(upload("speech.wav", model, "json")).status == 200
    record = metered.record()
    assert (record["cost_usd"] and Decimal(record["cost_usd"])) == cost
    assert (record["cost_basis"], record["model_used"]) == (basis, model)
    if basis == "tokens":
        assert record["usage"] == {
            "input_tokens": 40, "output_tokens": 12, "audio_tokens": 30, "seconds": None, "characters": None,
        }  # fmt: skip


@pytest.mark.parametrize(
    ("provider", "model", "said", "cost", "basis"),
    [
        ("groq", "whisper-large-v3", {"text": "go"}, Decimal("0.00185") / 6, "seconds"),  # ten seconds at least
        (
            "mistral-ai",
            "voxtral-mini-2602",
            {"text": "go", "usage": {"prompt_audio_seconds": 5, "prompt_tokens": 4, "completion_tokens": 9}},
            Decimal("0.00025"),
            "seconds",
        ),
        ("scaleway", "whisper-large-v3", {"text": "go"}, None, "unknown"),
        ("own", "anything", {"text": "go"}, Decimal("0.0003035"), "seconds"),
        ("local", "anything", {"text": "go"}, Decimal(0), "free"),
        ("up", "whisper-1", {"text": "go"}, None, "unknown"),
        ("up", "x", {"text": "go", "usage": {"cost": 0.00123, "seconds": 3}}, Decimal("0.00123"), "reported"),
    ],
)
def test_each_provider_has_its_own_prices(
    metered: Stage, provider: str, model: str, said: dict[str, Any], cost: Decimal | None, basis: str
) -> None:
    metered.provider = provider
    metered.script(READ_ALL, send(answer(said)))
    got = metered.post(upload("speech.wav", model))
    record = metered.record()
    assert (record["cost_basis"], record["provider"]) == (basis, provider)
    found = record["cost_usd"]
    assert (found is None) == (cost is None)
    if cost is not None:
        assert Decimal(found) == pytest.approx(cost, abs=Decimal("1e-12"))
    assert told(got) == (found, "3.035")


def test_a_reply_of_unknown_length_tells_its_cost_in_the_record_alone(metered: Stage) -> None:
    metered.script(READ_ALL, send(chunked_head(200, "application/json") + chunk(b'{"text":"go"}') + b"0\r\n\r\n"))
    got = metered.post(upload("speech.wav", "whisper-1"))
    assert (got.status, told(got)) == (200, (None, None))
    assert metered.record()["cost_usd"] == "0.0004"


def test_what_was_refused_costs_nothing_that_is_known(metered: Stage) -> None:
    metered.script(
        READ_ALL, send(reply(429, b'{"error":{"message":"slow down"},"usage":{"type":"duration","seconds":0}}'))
    )
    got = metered.post(upload("speech.wav", "whisper-1"))
    record = metered.record()
    assert (got.status, told(got)) == (429, (None, None))
    assert (record["cost_usd"], record["cost_basis"], record["audio"]["seconds"]) == (None, "unknown", 3.035)


def test_a_reply_that_is_cut_was_paid_for_all_the_same(metered: Stage) -> None:
    metered.script(READ_ALL, send(chunked_head() + chunk(delta("go"))), ["close"])
    with metered.connect() as connection:
        body = upload("speech.wav", "whisper-1")
        metered.begin(connection, len(body))
        connection.send(body)
        connection.read_head()
        connection.read_chunk()
        assert connection.at_end()
    record = metered.record()
    assert (record["outcome"], record["cost_usd"], record["cost_basis"]) == ("upstream_error", "0.0004", "seconds")


def test_a_cut_upload_tells_what_had_come(metered: Stage) -> None:
    body = upload("speech.wav", "whisper-1")
    with metered.connect() as connection:
        metered.begin(connection, len(body))
        connection.send(body[: len(body) // 2])
        metered.seen("length", 20_000)
    record = metered.record()
    assert record["outcome"] == "client_left"
    assert record["audio"]["ended_early"] is True
    assert 0 < record["audio"]["seconds"] < TRUE_SECONDS
    assert record["cost_usd"] is None


def test_the_clients_own_word_counts_when_there_is_no_other(metered: Stage) -> None:
    body = form(field("model", "whisper-1"), file(b"\0" * 500, "mystery.bin"))
    for claim, seconds in ("61500", 61.5), ("nonsense", None), ("-3", None), ("", None):
        metered.token = f"{metered.token}x"
        metered.script(READ_ALL, send(answer(b"go", "text/plain")))
        metered.post(body, [("x-portkey-audio-file-duration", claim)])
        record = metered.record()
        expected = (seconds, "reported", "0.0062") if seconds else (None, "unknown", None)
        assert (record["audio"]["seconds"], record["audio"]["seconds_source"], record["cost_usd"]) == expected


def test_the_providers_word_comes_before_the_clients(metered: Stage) -> None:
    body = form(field("model", "whisper-1"), file(b"\0" * 500, "mystery.bin"))
    metered.script(READ_ALL, send(answer({"text": "go", "usage": {"type": "duration", "seconds": 9}})))
    got = metered.post(body, [("x-portkey-audio-file-duration", "61500")])
    record = metered.record()
    assert (record["audio"]["seconds"], record["audio"]["seconds_source"], record["cost_usd"]) == (
        9.0,
        "reported",
        "0.0009",
    )
    assert told(got) == ("0.0009", "9")


@pytest.mark.parametrize(
    ("asked", "said", "usage", "cost", "basis"),
    [
        (
            {"model": "tts-1", "input": "größer 🎧"},
            head(200, [("Content-Type", "audio/mpeg"), ("Content-Length", "4")]) + b"\xff\xfb\x90\x00",
            {"characters": 8},
            Decimal("0.00012"),
            "characters",
        ),
        (
            {"model": "gpt-4o-mini-tts", "input": "hello", "stream_format": "sse"},
            streamed(
                event({"type": "speech.audio.delta", "audio": "QUJD" * 1000}),
                event(
                    {
                        "type": "speech.audio.done",
                        "usage": {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115},
                    }
                ),
            ),
            {"characters": 5, "input_tokens": 14, "output_tokens": 101},
            14 * Decimal("0.0000006") + 101 * Decimal("0.000012"),
            "tokens",
        ),
    ],
)
def test_speech_is_counted_by_characters_or_by_its_providers_tokens(
    metered: Stage, asked: dict[str, str], said: bytes, usage: dict[str, int], cost: Decimal, basis: str
) -> None:
    metered.script(READ_ALL, send(said))
    got = metered.request("POST", SPEECH, json.dumps(asked).encode(), [("Content-Type", "application/json")])
    assert got.status == 200
    record = metered.record()
    assert {name: value for name, value in record["usage"].items() if value is not None} == usage
    assert record["cost_basis"] == basis, record
    assert Decimal(record["cost_usd"]) == cost
    assert record["audio"]["seconds"] is None


def test_a_body_that_is_passed_through_is_not_metered(metered: Stage) -> None:
    metered.script(READ_ALL, send(answer({"usage": {"input_tokens": 5, "output_tokens": 2}})))
    metered.request("POST", "/v1/chat/completions", b'{"model":"gpt-4o"}', [("Content-Type", "application/json")])
    record = metered.record()
    assert (record["usage"], record["cost_usd"], record["cost_basis"]) == (None, None, "unknown")


def test_a_model_past_its_end_is_told_of_once(own_gateway: Callable[..., Stage], upstream: Upstream) -> None:
    prices = {"old-1": {"usd_per_minute": "0.006", "shutdown_date": "2020-01-31"}}
    provider = {"slug": "up", "base_url": upstream.url, "auth": "none", "prices": prices}
    stage = own_gateway(providers=[provider], virtual_keys=[], configs=[])
    for _ in range(3):
        stage.script(READ_ALL, send(answer({"text": "go", "usage": {"type": "duration", "seconds": 4}})))
        assert stage.post(upload("speech.wav", "old-1")).status == 200
    assert {record["cost_usd"] for record in stage.records(3)} == {"0.0004"}
    stage.gateway.stop()
    assert stage.gateway.stderr().count("2020-01-31") == 1


def test_what_a_host_charges_that_a_request_names_is_not_known(metered: Stage, upstream: Upstream) -> None:
    metered.script(READ_ALL, send(answer({"text": "go", "usage": {"type": "duration", "seconds": 4}})))
    got = metered.post(upload("speech.wav", "whisper-1"), [("x-portkey-custom-host", upstream.url)])
    assert (got.status, metered.record()["cost_usd"]) == (200, None)


@pytest.mark.parametrize("name", [*LEARNT])
def test_bytes_cross_as_they_came_whatever_a_file_says_of_itself(metered: Stage, name: str) -> None:
    """A file whose middle is overwritten and whose end is missing makes a probe's life hard, and nobody else's."""
    data = bytearray((VECTORS / name).read_bytes())
    data[len(data) // 3 : len(data) // 2] = sha256(data).digest() * ((len(data) // 2 - len(data) // 3) // 32)
    damaged = bytes(data[: len(data) * 9 // 10])
    metered.script(READ_ALL, send(answer({"text": "go"})))
    got = metered.post(form(field("model", "whisper-1"), file(damaged, name)), chunked=True)
    assert got.status == 200
    assert sent_audio(metered) == damaged
