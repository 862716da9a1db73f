"""End to end: an SDK, the gateway, and the local engine behind it, which hears a spoken sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest
from openai import OpenAI
from portkey_ai import Portkey

from proxy.engines import SAMPLE_TEXT
from tests.sdks.ways import Way

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.flow.stage import Stage
    from tests.sdks.driver import Node

pytestmark = pytest.mark.xdist_group("sdks")

LOCAL = Way({"x-portkey-provider": "local"})


@pytest.fixture
def local(connect: Callable[..., OpenAI]) -> OpenAI:
    """A client of the engine, which needs no key."""
    return connect(LOCAL)


def test_the_sentence_is_transcribed(stage: Stage, local: OpenAI, sentence: Path) -> None:
    assert local.audio.transcriptions.create(file=sentence, model="any").text == SAMPLE_TEXT
    record = stage.record()
    assert (record["outcome"], record["provider"], record["audio"]["container"]) == ("ok", "local", "wav")


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # OpenAI's for translations as a whole
def test_english_is_translated_into_english(local: OpenAI, sentence: Path) -> None:
    assert local.audio.translations.create(file=sentence, model="any").text == SAMPLE_TEXT


def test_words_have_their_times(local: OpenAI, sentence: Path) -> None:
    answer = local.audio.transcriptions.create(
        file=sentence, model="any", response_format="verbose_json", timestamp_granularities=["word"]
    )
    assert answer.words is not None
    assert [word.word for word in answer.words] == SAMPLE_TEXT.split()
    assert all(word.start < word.end <= answer.duration for word in answer.words)


@pytest.mark.parametrize(
    ("response_format", "start"), [("text", "go forward"), ("srt", "1\n00:00:0"), ("vtt", "WEBVTT\n\n00:0")]
)
def test_text_and_subtitles_are_plain_text(local: OpenAI, sentence: Path, response_format: Any, start: str) -> None:
    answer: Any = local.audio.transcriptions.create(file=sentence, model="any", response_format=response_format)
    assert isinstance(answer, str)
    assert answer.startswith(start)


def test_a_stream_adds_up_to_the_sentence(local: OpenAI, sentence: Path) -> None:
    with local.audio.transcriptions.create(file=sentence, model="any", stream=True) as stream:
        *deltas, done = stream
    assert "".join(event.delta for event in deltas if event.type == "transcript.text.delta") == SAMPLE_TEXT
    assert done.type == "transcript.text.done"
    assert done.text == SAMPLE_TEXT


def test_the_engines_model_is_listed(local: OpenAI) -> None:
    assert [model.id for model in local.models.list()] == ["pocketsphinx-en-us"]


def test_what_the_engine_refuses_is_a_bad_request(local: OpenAI, sentence: Path) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        local.audio.transcriptions.create(file=sentence, model="any", language="de")
    assert caught.value.param == "language"


def test_portkeys_python_sdk_hears_the_same(stage: Stage, sentence: Path) -> None:
    client = Portkey(base_url=f"http://127.0.0.1:{stage.gateway.port}/v1", provider="local", trace_id=stage.token)
    with client.openai_client, sentence.open("rb") as file:
        assert client.audio.transcriptions.create(file=file, model="any").text == SAMPLE_TEXT
    assert stage.record()["provider"] == "local"


@pytest.mark.parametrize("sdk", ["openai", "portkey"])
def test_nodes_sdks_hear_the_same(stage: Stage, node: Node, sentence: Path, sdk: str) -> None:
    base = f"http://127.0.0.1:{stage.gateway.port}/v1"
    client = (
        {"baseURL": base, "apiKey": "OPENAI_API_KEY", "defaultHeaders": LOCAL.headers}
        if sdk == "openai"
        else {"baseURL": base, "provider": "local"}
    )
    answer = node.call(
        sdk=sdk,
        client=client,
        call="transcribe",
        file={"path": str(sentence), "as": "stream", "place": "first"},
        fields={"model": "any"},
        headers={"x-portkey-trace-id": stage.token},
    )
    assert answer["value"]["text"] == SAMPLE_TEXT
    assert stage.record()["provider"] == "local"
