"""What a provider counted, by the shape of its reply."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.metering.usage import MEMBERS, Usage, usage_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = sorted(MEMBERS | {"input_tokens", "prompt_tokens", "cost", "type", "input_token_details", "audio_tokens"})
NAMES += ["prompt_audio_seconds", "totalBilledDuration", "text"]


def seconds(value: str) -> Usage:
    return Usage(seconds=Decimal(value))


TOKENS = {
    "input_tokens": 14,
    "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
    "output_tokens": 45,
    "total_tokens": 59,
}
SHAPES: dict[str, tuple[str, Usage | None]] = {
    "whisper-1 json": (
        '{ "text": "The sun rises ...", "usage": { "type": "duration", "seconds": 7 } }',
        seconds("7"),
    ),
    "gpt-transcribe json": (
        '{"text":"x","languages":[{"code":"en"}],"usage":{"type":"duration","seconds":3}}',
        seconds("3"),
    ),
    "gpt-4o-transcribe json": (
        (
            '{"text":"x","logprobs":[{"token":"x","logprob":-0.1,"bytes":[120]}],"usage":{"type":"tokens",'
            '"input_tokens":14,"input_token_details":{"text_tokens":0,"audio_tokens":14},"output_tokens":45,'
            '"total_tokens":59}}'
        ),
        Usage(input_tokens=14, output_tokens=45, audio_tokens=14),
    ),
    "tokens without a type": (
        orjson.dumps({"type": "transcript.text.done", "text": "x", "usage": TOKENS}).decode(),
        Usage(input_tokens=14, output_tokens=45, audio_tokens=14),
    ),
    "verbose_json": (
        (
            '{"task":"transcribe","language":"english","duration":8.470000267028809,"text":"x","segments":[],'
            '"usage":{"type":"duration","seconds":9}}'
        ),
        seconds("9"),
    ),
    "verbose_json without usage, as translations answer": (
        '{"task":"translate","language":"english","duration":8.470000267028809,"text":"x","segments":[]}',
        seconds("8.470000267028809"),
    ),
    "diarized_json by duration": (
        '{"task":"transcribe","duration":27.4,"text":"x","segments":[],"usage":{"type":"duration","seconds":28}}',
        seconds("28"),
    ),
    "diarized_json by tokens": (
        orjson.dumps({"task": "transcribe", "duration": 27.4, "usage": {"type": "tokens", **TOKENS}}).decode(),
        Usage(input_tokens=14, output_tokens=45, audio_tokens=14, seconds=Decimal("27.4")),
    ),
    "translations json": ('{"text":"x"}', None),
    "413 with usage beside the error": (
        '{"error":{"message":"too large"},"usage":{"type":"duration","seconds":0}}',
        seconds("0"),
    ),
    "speech.audio.done": (
        '{"type":"speech.audio.done","usage":{"input_tokens":14,"output_tokens":101,"total_tokens":115}}',
        Usage(input_tokens=14, output_tokens=101),
    ),
    "vLLM json": ('{"text":"x","usage":{"type":"duration","seconds":7}}', seconds("7")),
    "vLLM verbose_json": ('{"duration":"6.96","language":"en","text":"x","words":null}', seconds("6.96")),
    "vLLM last chunk": (
        (
            '{"id":"trsc-1","object":"transcription.chunk","choices":[],'
            '"usage":{"prompt_tokens":8,"total_tokens":28,"completion_tokens":20,"prompt_tokens_details":null}}'
        ),
        Usage(input_tokens=8, output_tokens=20),
    ),
    "chat with audio": (
        (
            '{"object":"chat.completion","usage":{"prompt_tokens":30,"completion_tokens":4,'
            '"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":21}}}'
        ),
        Usage(input_tokens=30, output_tokens=4, audio_tokens=21),
    ),
    "Mistral": (
        (
            '{"model":"voxtral-mini-latest","text":"x","language":null,"segments":[],"usage":'
            '{"prompt_audio_seconds":7,"prompt_tokens":9,"completion_tokens":33,"total_tokens":42}}'
        ),
        Usage(input_tokens=9, output_tokens=33, seconds=Decimal(7)),
    ),
    "Mistral where nothing was audio": (
        '{"usage":{"prompt_audio_seconds":null,"prompt_tokens":9,"completion_tokens":33,"total_tokens":42}}',
        Usage(input_tokens=9, output_tokens=33),
    ),
    "OVHcloud": ('{"text":"x","seconds":7.5}', seconds("7.5")),
    "Deepgram": (
        '{"metadata":{"request_id":"a","duration":25.933313,"channels":1,"models":["m"]},"results":{"channels":[]}}',
        seconds("25.933313"),
    ),
    "ElevenLabs": (
        '{"language_code":"en","language_probability":0.98,"text":"x","words":[],"audio_duration_secs":6.96}',
        seconds("6.96"),
    ),
    "AssemblyAI, a job": ('{"status":"completed","text":"x","words":[],"audio_duration":12}', seconds("12")),
    "AssemblyAI, a job that waits": ('{"status":"queued","text":null,"audio_duration":null}', None),
    "AssemblyAI, at once": ('{"text":"x","confidence":0.9,"audio_duration_ms":6960,"session_id":"s"}', seconds("6.96")),
    "xAI": ('{"text":"x","language":"en","duration":3.45,"words":[]}', seconds("3.45")),
    "Google": ('{"results":[],"metadata":{"totalBilledDuration":"8s"}}', seconds("8")),
    "Google, in parts of a second": ('{"metadata":{"totalBilledDuration":"7.500s"}}', seconds("7.500")),
    "OpenRouter by seconds": (
        '{"text":"x","usage":{"seconds":9.2,"cost":0.000508}}',
        Usage(seconds=Decimal("9.2"), cost=Decimal("0.000508")),
    ),
    "OpenRouter by tokens": (
        '{"text":"x","usage":{"total_tokens":113,"input_tokens":83,"output_tokens":30,"cost":0.000508}}',
        Usage(input_tokens=83, output_tokens=30, cost=Decimal("0.000508")),
    ),
    "DeepInfra's own": (
        '{"text":"x","language":"en","input_length_ms":6960,"inference_status":{"status":"succeeded","cost":0.01}}',
        seconds("6.96"),
    ),
    "DeepInfra's own, length not filled in": ('{"text":"x","input_length_ms":0,"duration":6.96}', seconds("6.96")),
    "SiliconFlow": ('{"text":"x"}', None),
    "SiliconFlow's error": ('"Invalid token"', None),
    "Cloudflare": ('{"result":{"text":"x","word_count":1},"success":true,"errors":[]}', None),
    "an error": ('{"error":{"message":"no","type":"invalid_request_error","param":null,"code":null}}', None),
    "a list": ("[]", None),
}


@pytest.mark.parametrize(("reply", "usage"), SHAPES.values(), ids=SHAPES)
def test_each_providers_reply_is_known_by_its_shape(reply: str, usage: Usage | None) -> None:
    assert usage_of(orjson.loads(reply)) == usage


@pytest.mark.parametrize("name", ["whisper-1 json", "Mistral", "Deepgram", "Google", "vLLM verbose_json"])
def test_only_the_named_members_matter(name: str) -> None:
    document = orjson.loads(SHAPES[name][0])
    kept = {member: value for member, value in document.items() if member in MEMBERS}
    assert usage_of(kept) == SHAPES[name][1]


TRUST: list[tuple[str, dict[str, Any]]] = [
    ("1", {"usage": {"seconds": 1}}),
    ("2", {"usage": {"prompt_audio_seconds": 2}}),
    ("3", {"metadata": {"duration": 3.0}}),
    ("4", {"audio_duration_secs": 4}),
    ("5", {"audio_duration": 5}),
    ("6", {"audio_duration_ms": 6000}),
    ("7", {"input_length_ms": 7000}),
    ("8", {"duration": "8"}),
    ("9", {"seconds": 9}),
    ("10", {"metadata": {"totalBilledDuration": "10s"}}),
]


@pytest.mark.parametrize("first", range(len(TRUST)), ids=[str(list(document)) for _, document in TRUST])
def test_the_length_that_is_billed_goes_before_all_that_is_trusted_less(first: int) -> None:
    document: dict[str, Any] = {}
    for _, said in reversed(TRUST[first:]):
        for name, value in said.items():
            document[name] = {**document.get(name, {}), **value} if isinstance(value, dict) else value
    found = usage_of(document)
    assert found is not None
    assert found.seconds == Decimal(TRUST[first][0])


NOBODYS_WORD = [True, False, None, -1, -0.5, float("nan"), float("inf"), 1e300, 10**30, "7", "", [], {}, [7], {"a": 7}]


@pytest.mark.parametrize("value", NOBODYS_WORD, ids=repr)
@pytest.mark.parametrize(
    "shape",
    [
        {"usage": {"type": "duration", "seconds": ...}},
        {"usage": {"input_tokens": ...}},
        {"usage": {"completion_tokens": ...}},
        {"usage": {"input_token_details": {"audio_tokens": ...}}},
        {"usage": {"input_token_details": ...}},
        {"usage": {"prompt_audio_seconds": ...}},
        {"usage": {"cost": ...}},
        {"usage": ...},
        {"metadata": {"duration": ...}},
        {"metadata": {"totalBilledDuration": ...}},
        {"metadata": ...},
        {"audio_duration_secs": ...},
        {"audio_duration": ...},
        {"audio_duration_ms": ...},
        {"input_length_ms": ...},
    ],
    ids=str,
)
def test_a_number_that_no_reply_can_give_is_nobodys_word(shape: dict[str, Any], value: object) -> None:
    def filled(part: Any) -> Any:
        if part is ...:
            return value
        return {name: filled(inner) for name, inner in part.items()} if isinstance(part, dict) else part

    assert usage_of(filled(shape)) is None


@pytest.mark.parametrize(
    "value", ["", "-1", "nan", "inf", "1e5", "٣", "1_0", " 7", "7 ", "7s", "1.", ".5", "9" * 12, "1" * 99]
)
@pytest.mark.parametrize("name", ["duration", "seconds"])
def test_a_string_counts_only_when_it_is_a_plain_number(name: str, value: str) -> None:
    assert usage_of({name: value}) is None


def test_one_bad_number_does_not_spoil_the_others() -> None:
    document = {"usage": {"seconds": -1, "input_tokens": True, "output_tokens": 45, "cost": "free"}, "duration": 6.96}
    assert usage_of(document) == Usage(output_tokens=45, seconds=Decimal("6.96"))


def test_more_audio_tokens_than_tokens_is_nonsense() -> None:
    usage = {"input_tokens": 14, "input_token_details": {"audio_tokens": 15}, "output_tokens": 1}
    assert usage_of({"usage": usage}) == Usage(input_tokens=14, output_tokens=1)


def test_metadata_of_the_callers_own_is_no_duration() -> None:
    assert usage_of({"id": "file-1", "metadata": {"duration": "25"}}) is None


def test_zero_is_a_count_and_not_the_same_as_unknown() -> None:
    assert usage_of({"usage": {"seconds": 0, "cost": 0}}) == Usage(seconds=Decimal(0), cost=Decimal(0))


@pytest.mark.parametrize("written", ["0.1", "0.000508", "27.4", "8.470000267028809", "0.30000000000000004"])
def test_numbers_keep_the_digits_they_were_written_in(written: str) -> None:
    found = usage_of(orjson.loads(f'{{"usage":{{"seconds":{written}}}}}'))
    assert found is not None
    assert str(found.seconds) == written


@given(JSON | st.dictionaries(st.sampled_from(NAMES), JSON | st.dictionaries(st.sampled_from(NAMES), JSON)))
def test_no_json_makes_it_raise_or_give_a_count_that_cannot_be(document: object) -> None:
    found = usage_of(document)
    if found is not None:
        counts = [found.input_tokens, found.output_tokens, found.audio_tokens, found.seconds, found.cost]
        assert any(count is not None for count in counts)
        assert all(count is None or (count.is_finite() if isinstance(count, Decimal) else True) for count in counts)
        assert all(count is None or 0 <= count <= 1_000_000_000 for count in counts)
        assert found.characters is None
        orjson.dumps(found.document())
