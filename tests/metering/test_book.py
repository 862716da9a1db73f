"""Which price a request pays: the model's names, the layers, and nobody else's price."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.metering.book import PriceBook
from proxy.metering.prices import Mode, Price, built_in
from proxy.providers.table import TABLE

BOOK = PriceBook()


def found(book: PriceBook, provider: str, model: str | None, mode: Mode = "transcription") -> str | None:
    price = book.lookup(provider, model, mode)
    return None if price is None else price.model


def priced(model: str, usd: str = "1", *, provider: str = "openai", mode: Mode | None = None) -> Price:
    return Price(provider=provider, model=model, mode=mode, unit="second", usd=Decimal(usd), origin="settings")


@pytest.mark.parametrize(
    ("provider", "asked", "row"),
    [
        ("openai", "whisper-1", "whisper-1"),
        ("openai", "Whisper-1", "whisper-1"),
        ("openai", "openai/whisper-1", "whisper-1"),
        ("openai", "OpenAI/WHISPER-1", "whisper-1"),
        ("groq", "openai/whisper-large-v3", "whisper-large-v3"),
        ("deepinfra", "openai/whisper-large-v3", "openai/whisper-large-v3"),
        ("deepinfra", "whisper-large-v3", "openai/whisper-large-v3"),
        ("deepinfra", "voxtral-mini-3b-2507", "mistralai/Voxtral-Mini-3B-2507"),
        ("deepinfra", "acme/whisper-large-v3", None),
        ("sambanova", "whisper-large-v3", "Whisper-Large-v3"),
        ("workers-ai", "whisper-large-v3-turbo", "@cf/openai/whisper-large-v3-turbo"),
        # snapshots: their own row, else their base's
        ("openai", "gpt-4o-mini-transcribe-2025-03-20", "gpt-4o-mini-transcribe-2025-03-20"),
        ("openai", "gpt-4o-mini-transcribe-2027-01-01", "gpt-4o-mini-transcribe"),
        ("openai", "gpt-4o-transcribe-20270101", "gpt-4o-transcribe"),
        ("openai", "gpt-4o-transcribe@2027-01-01", "gpt-4o-transcribe"),
        ("openai", "gpt-4o-transcribe@001", "gpt-4o-transcribe"),
        ("openai", "openai/gpt-4o-transcribe-2027-01-01", "gpt-4o-transcribe"),
        ("deepinfra", "whisper-large-v3-1106", "openai/whisper-large-v3"),
        ("mistral-ai", "voxtral-mini-2602", "voxtral-mini-2602"),
        ("mistral-ai", "voxtral-mini-2707", None),
        # an alias only where a row says so
        ("mistral-ai", "voxtral-mini-latest", "voxtral-mini-latest"),
        ("openai", "gpt-transcribe-latest", None),
        ("openai", "gpt-4o-transcribe@latest", None),
        # one price for whatever is asked for
        ("lemonfox-ai", "whisper-1", "*"),
        ("lemonfox-ai", None, "*"),
        # none
        ("openai", None, None),
        ("openai", "", None),
        ("openai", "whisper", None),
        ("openai", "whisper-2", None),
        ("nobody", "whisper-1", None),
    ],
)
def test_a_model_is_found_under_its_names(provider: str, asked: str | None, row: str | None) -> None:
    assert found(BOOK, provider, asked) == row


@pytest.mark.parametrize(
    ("asked", "mode", "row"),
    [
        ("tts-1-1106", "speech", "tts-1-1106"),
        ("tts-1-0613", "speech", "tts-1"),
        ("tts-1", "transcription", None),
        ("whisper-1", "speech", None),
    ],
)
def test_a_mode_has_its_own_prices(asked: str, mode: Mode, row: str | None) -> None:
    assert found(BOOK, "openai", asked, mode) == row


def test_a_translation_without_a_price_of_its_own_costs_what_a_transcription_does() -> None:
    own = BOOK.lookup("openai", "whisper-1", "translation")
    assert own is not None
    assert own.mode == "translation"
    assert BOOK.lookup("azure-ai", "whisper", "translation") is BOOK.lookup("azure-ai", "whisper", "transcription")


@pytest.mark.parametrize("price", [price for price in built_in() if price.realtime_only], ids=lambda price: price.model)
def test_a_model_for_real_time_sessions_is_listed_but_no_request_pays_it(price: Price) -> None:
    assert price in BOOK.in_force()
    assert BOOK.lookup(price.provider, price.model, "transcription") is None


@pytest.mark.parametrize("slug", ["whisper-local", "vllm", "speaches", "whisper-cpp", "localai", "nvidia-nim"])
def test_an_upstream_of_ones_own_has_no_price_whatever_it_speaks(slug: str) -> None:
    assert BOOK.lookup(slug, "whisper-1", "transcription") is None


def test_the_settings_beat_the_file_and_the_file_beats_the_table() -> None:
    settings, file = priced("whisper-1", "3"), replace(priced("*", "2"), origin="file")
    book = PriceBook([[settings], [file]])
    asked = [("openai", "whisper-1"), ("openai", "gpt-transcribe"), ("openai", "new"), ("groq", "whisper-large-v3")]
    paid = [book.lookup(provider, model, "transcription") for provider, model in asked]
    assert [price and price.origin for price in paid] == ["settings", "file", "file", "built-in"]


def test_what_is_hidden_is_not_in_force() -> None:
    book = PriceBook([[priced("*", "0")]])
    openai = [price for price in book.in_force() if price.provider == "openai"]
    assert [price.model for price in openai if not price.realtime_only] == ["*"]
    assert len(BOOK.in_force()) == len(built_in())


def test_a_price_of_ones_own_holds_for_every_mode() -> None:
    book = PriceBook([[priced("m")]])
    assert [found(book, "openai", "m", mode) for mode in ("transcription", "translation", "speech")] == ["m"] * 3


@pytest.mark.parametrize(
    ("model", "given", "expected"),
    [
        ("whisper-1", None, "2027-02-26"),
        ("openai/whisper-1", None, "2027-02-26"),
        ("tts-1", None, "2027-01-06"),
        ("whisper-1", "2030-01-01", "2030-01-01"),
        ("gpt-transcribe", None, None),
        ("*", None, None),
    ],
)
def test_a_price_of_ones_own_does_not_hide_that_a_model_ends(
    model: str, given: str | None, expected: str | None
) -> None:
    book = PriceBook([[replace(priced(model), shutdown_date=given)]])
    modes: tuple[Mode, ...] = ("speech",) if model == "tts-1" else ("transcription",)
    (price,) = [book.lookup("openai", model, mode) for mode in modes]
    assert price is not None
    assert (price.origin, price.shutdown_date) == ("settings", expected)


def test_what_two_organisations_call_the_same_is_neithers() -> None:
    book = PriceBook([[priced("a/whisper"), priced("b/whisper", "2")]], table=())
    assert [found(book, "openai", name) for name in ("a/whisper", "b/whisper", "whisper")] == [
        "a/whisper", "b/whisper", None,
    ]  # fmt: skip


def test_the_very_name_comes_before_one_that_resembles_it() -> None:
    book = PriceBook([[priced("Whisper"), priced("whisper"), priced("a/whisper")]], table=())
    assert [found(book, "openai", name) for name in ("Whisper", "whisper", "WHISPER")] == [
        "Whisper", "whisper", "whisper",
    ]  # fmt: skip


def test_a_name_beyond_all_measure_is_no_model() -> None:
    book = PriceBook([[priced("x" * 201), priced("*", "2")]])
    assert found(book, "openai", "x" * 201) == "*"
    assert found(book, "openai", "x" * 1_000_000) == "*"


@given(
    st.sampled_from(sorted(provider.slug for provider in TABLE)),
    st.one_of(st.none(), st.text(max_size=300), st.sampled_from([price.model for price in built_in()])),
    st.sampled_from(["transcription", "translation", "speech"]),
)
def test_any_request_finds_a_price_of_its_provider_or_none(provider: str, model: str | None, mode: Mode) -> None:
    price = BOOK.lookup(provider, model, mode)
    assert price is BOOK.lookup(provider, model, mode)
    assert price is None or (price.provider == provider and not price.realtime_only)
