"""What a request costs, and what that was learnt from."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.metering.book import PriceBook
from proxy.metering.cost import Cost, billed_seconds, cost_of
from proxy.metering.prices import Mode, Price, built_in
from proxy.metering.usage import Usage

BOOK = PriceBook()
UNKNOWN = (None, "unknown")


def price(provider: str, model: str, mode: Mode = "transcription") -> Price:
    found = BOOK.lookup(provider, model, mode)
    assert found is not None
    return found


def cost(
    given: Price | None, usage: Usage | None = None, measured: Decimal | float | None = None
) -> tuple[str | None, str]:
    charged = cost_of(given, usage, measured)
    return charged.text, charged.basis


def seconds(text: str) -> Usage:
    return Usage(seconds=Decimal(text))


WHISPER, GPT_TRANSCRIBE = price("openai", "whisper-1"), price("openai", "gpt-transcribe")
GPT_4O, AZURE_4O = price("openai", "gpt-4o-transcribe"), price("azure-openai", "gpt-4o-transcribe")
GROQ, DEEPGRAM = price("groq", "whisper-large-v3-turbo"), price("deepgram", "nova-3")
TTS, TTS_TOKENS = price("openai", "tts-1", "speech"), price("openai", "gpt-4o-mini-tts", "speech")
VERTEX = price("vertex-ai", "gemini-3.5-transcribe")
REV, FREE = price("rev-ai", "reverb"), Price(provider="own", model="*", unit="second", usd=Decimal(0))
NOT_FOUND = price("scaleway", "whisper-large-v3")


# The same file, however it is asked for


@pytest.mark.parametrize("model", ["whisper-1", "gpt-transcribe"])
@pytest.mark.parametrize("length", ["6.960", "8.470000267028809", "2.11", "7", "7.0000004", "0.5", "1499.999"])
def test_every_format_of_the_same_file_costs_the_same(model: str, length: str) -> None:
    whole = Usage(seconds=Decimal(math.ceil(Decimal(length).quantize(Decimal("0.001")))))
    asked = price("openai", model)
    ways = {
        "json": cost(asked, whole, float(length)),
        "json, its file not measured": cost(asked, whole, None),
        "verbose_json": cost(asked, Usage(seconds=Decimal(length)), float(length)),
        "text": cost(asked, None, float(length)),
        "srt": cost(asked, Usage(), float(length)),
        "vtt, measured exactly": cost(asked, None, Decimal(length)),
        "translation": cost(price("openai", model, "translation"), None, float(length)),
    }
    assert len(set(ways.values())) == 1, ways
    assert ways["json"][1] == "seconds"


def test_6_96_seconds_of_whisper_are_billed_as_7() -> None:
    assert cost(WHISPER, None, 6.96) == cost(WHISPER, seconds("7")) == ("0.0007", "seconds")


# Order of trust


@pytest.mark.parametrize(
    ("given", "usage", "measured", "expected"),
    [
        # the provider's own figure beats all, even where no price is known
        (WHISPER, Usage(cost=Decimal("0.0123"), seconds=Decimal(7)), 6.96, ("0.0123", "reported")),
        (None, Usage(cost=Decimal("0.0123")), None, ("0.0123", "reported")),
        (FREE, Usage(cost=Decimal(0)), None, ("0", "reported")),
        # the provider's seconds beat the gateway's
        (WHISPER, seconds("7"), 600.0, ("0.0007", "seconds")),
        (WHISPER, Usage(input_tokens=100), 6.96, ("0.0007", "seconds")),
        # free is known
        (FREE, None, None, ("0", "free")),
        (FREE, seconds("7"), 6.96, ("0", "free")),
        # and unknown is not free
        (None, seconds("7"), 6.96, UNKNOWN),
        (NOT_FOUND, seconds("7"), 6.96, UNKNOWN),
        (WHISPER, None, None, UNKNOWN),
        (WHISPER, Usage(), None, UNKNOWN),
        (TTS, None, None, UNKNOWN),
        (TTS, Usage(seconds=Decimal(7)), 7.0, UNKNOWN),
        (TTS, Usage(characters=4096), None, ("0.06144", "characters")),
        (TTS, Usage(characters=0), None, ("0", "characters")),
    ],
)
def test_what_is_trusted_most_counts(
    given: Price | None, usage: Usage | None, measured: float | None, expected: tuple[str | None, str]
) -> None:
    assert cost(given, usage, measured) == expected


# Minimum and rounding


@pytest.mark.parametrize(
    ("given", "measured", "billed"),
    [
        (GROQ, "0.2", "10"),
        (GROQ, "9.999", "10"),
        (GROQ, "10.001", "10.001"),
        (REV, "3.2", "15"),
        (REV, "15.2", "16"),
        (DEEPGRAM, "0.2", "0.2"),
        (WHISPER, "0.2", "1"),
        (WHISPER, "0", "0"),
    ],
)
def test_seconds_are_billed_by_the_vendors_rule(given: Price, measured: str, billed: str) -> None:
    assert billed_seconds(given, Decimal(measured)) == Decimal(billed)


def test_groq_bills_ten_seconds_at_least() -> None:
    # $0.04 an hour: ten seconds are 0.4/3600
    assert cost(GROQ, None, 2.5) == cost(GROQ, None, 10) == ("0.000111111111", "seconds")
    assert cost(GROQ, None, 3600) == ("0.04", "seconds")


# By token


@pytest.mark.parametrize(
    ("given", "usage", "dollars"),
    [
        # 14 x 2.5 + 45 x 10 = 485 per million
        (GPT_4O, Usage(input_tokens=14, audio_tokens=14, output_tokens=45), "0.000485"),
        # 10 text x 2.5 + 100 audio x 6 + 20 x 10 = 825 per million
        (AZURE_4O, Usage(input_tokens=110, audio_tokens=100, output_tokens=20), "0.000825"),
        # 14 x 0.6 + 101 x 12 = 1220.4 per million
        (TTS_TOKENS, Usage(input_tokens=14, output_tokens=101), "0.0012204"),
        # no split: all of it is taken for audio, 110 x 6 + 20 x 10 = 860 per million
        (AZURE_4O, Usage(input_tokens=110, output_tokens=20), "0.00086"),
        (AZURE_4O, Usage(audio_tokens=110, output_tokens=20), "0.00086"),
        # more audio than there is input: the text is none, not less than none
        (AZURE_4O, Usage(input_tokens=5, audio_tokens=110, output_tokens=20), "0.00086"),
        # a rate for audio alone stands for the prompt's text, too: 110 x 2 + 20 x 12
        (VERTEX, Usage(input_tokens=110, audio_tokens=100, output_tokens=20), "0.00046"),
    ],
)  # fmt: skip
def test_tokens_are_charged_by_their_kind(given: Price, usage: Usage, dollars: str) -> None:
    assert cost(given, usage, 9.0) == (dollars, "tokens")


@pytest.mark.parametrize(
    ("given", "usage", "measured", "expected"),
    [
        # srt, vtt and text replies say nothing: the vendor's figure per minute
        (GPT_4O, None, 60, ("0.006", "seconds")),
        (GPT_4O, Usage(), 6.96, ("0.000696", "seconds")),
        # diarized replies may say seconds
        (GPT_4O, seconds("27.4"), 60, ("0.00274", "seconds")),
        # half a count is none
        (GPT_4O, Usage(input_tokens=14), 60, ("0.006", "seconds")),
        (GPT_4O, Usage(output_tokens=14), 60, ("0.006", "seconds")),
        (GPT_4O, Usage(output_tokens=14), None, UNKNOWN),
        (TTS_TOKENS, Usage(output_tokens=14), None, UNKNOWN),
        # no such figure
        (AZURE_4O, None, 60, UNKNOWN),
        (AZURE_4O, seconds("27.4"), 60, UNKNOWN),
    ],
)
def test_tokens_that_nobody_counted_are_estimated_or_not_known(
    given: Price, usage: Usage | None, measured: float | None, expected: tuple[str | None, str]
) -> None:
    assert cost(given, usage, measured) == expected


def test_a_reply_that_is_free_need_not_be_counted() -> None:
    given = Price(provider="a", model="b", unit="token", per=Decimal(100), text_input=Decimal(1), output=Decimal(0))
    assert cost(given, Usage(input_tokens=7)) == ("0.07", "tokens")


# Whatever a provider says


@pytest.mark.parametrize(
    "wrong", [-1, -0.001, math.nan, math.inf, 1e10, Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity")]
)
def test_a_number_that_no_request_can_have_is_not_said(wrong: float | Decimal) -> None:
    assert cost(WHISPER, None, wrong) == UNKNOWN
    assert cost(WHISPER, Usage(seconds=Decimal(wrong)), 6.96) == ("0.0007", "seconds")
    assert cost(None, Usage(cost=Decimal(wrong))) == UNKNOWN


def test_costs_are_plain_digits() -> None:
    tiny = Price(provider="a", model="b", unit="second", usd=Decimal("0.00000012"))
    assert cost(tiny, None, 1) == ("0.00000012", "seconds")
    assert cost(Price(provider="a", model="b", unit="second", usd=Decimal(1)), None, 1000) == ("1000", "seconds")
    assert Cost(None, "unknown").text is None
    assert cost(tiny, None, -0.0) == ("0", "seconds")


counts = st.one_of(st.none(), st.integers(), st.integers(0, 10**9))
decimals = st.one_of(st.none(), st.decimals(), st.decimals(0, 10**9, allow_nan=False))
usages = st.one_of(st.none(), st.builds(Usage, counts, counts, counts, decimals, counts, decimals))
rates = st.one_of(st.none(), st.decimals(0, 1000, allow_nan=False))
by_unit = st.builds(
    Price, provider=st.just("a"), model=st.just("b"), unit=st.sampled_from(["second", "character"]),
    per=st.sampled_from([Decimal(1), Decimal(60), Decimal(3600), Decimal(10**6)]),
    usd=st.decimals(0, 1000, allow_nan=False), minimum_seconds=rates, round_up=st.booleans(),
)  # fmt: skip
by_token = st.builds(
    Price, provider=st.just("a"), model=st.just("b"), unit=st.just("token"), per=st.just(Decimal(10**6)),
    text_input=rates, audio_input=rates, output=rates, minute_estimate=rates,
)  # fmt: skip
prices = st.one_of(st.none(), st.sampled_from(built_in()), by_unit, by_token)


@given(prices, usages, st.one_of(decimals, st.none(), st.floats()))
@example(TTS, Usage(characters=10**9), None)
def test_any_usage_at_any_price_has_a_cost_or_none(
    given: Price | None, usage: Usage | None, measured: Decimal | float | None
) -> None:
    charged = cost_of(given, usage, measured)
    assert (charged.usd is None) == (charged.basis == "unknown")
    if charged.usd is not None:
        assert charged.text is not None
        assert charged.usd >= 0
        assert Decimal(charged.text) == charged.usd
        assert set(charged.text) <= set("0123456789.")
        assert len(charged.text.partition(".")[2]) <= 12
        assert not charged.text.startswith("-")


@given(st.sampled_from([p for p in built_in() if p.unit == "second" and not p.realtime_only]), st.integers(0, 10**8))
def test_longer_audio_never_costs_less(given: Price, milliseconds: int) -> None:
    shorter, longer = (cost_of(given, None, Decimal(ms) / 1000).usd for ms in (milliseconds, milliseconds + 1))
    assert shorter is not None
    assert longer is not None
    assert shorter <= longer
