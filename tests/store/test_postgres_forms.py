"""How PostgreSQL holds what a store keeps: nothing is lost in it, and nothing in it can be refused."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.store.postgres_connection import place_of
from proxy.store.postgres_forms import (
    cursor_of,
    latencies_of,
    number_of,
    number_of_latencies,
    place_at,
    plain,
    query_of,
    searched_words,
    stored,
)
from proxy.store.questions import BadQuestionError
from proxy.store.rollup import LAST_SLOT, Series
from proxy.store.words import phrases, spread, words

if TYPE_CHECKING:
    from uuid import UUID

SERIES = Series("transcriptions", "openai", "whisper-1", "mobile-app", 200, "ok")
LATENCIES = st.dictionaries(st.integers(0, LAST_SLOT), st.integers(1, 10**9)).map(Counter)


@given(st.lists(LATENCIES, min_size=1, max_size=5))
def test_a_sum_of_numbers_is_the_sum_of_the_counts(counts: list[Counter[int]]) -> None:
    summed = sum(int(number_of_latencies(one)) for one in counts)
    assert latencies_of(str(summed)) == sum(counts, Counter())


@given(st.integers(0, 2**59), st.uuids())
def test_a_cursor_is_the_place_behind_a_record(key: int, record_id: UUID) -> None:
    assert place_at(cursor_of(key, record_id)) == (key, record_id)


@pytest.mark.parametrize("cursor", ["", "1", "x.y", "1." + "g" * 32, "f" * 16 + "." + "0" * 32, "1." + "0" * 31])
def test_what_no_page_gave_is_no_cursor(cursor: str) -> None:
    with pytest.raises(BadQuestionError):
        place_at(cursor)


@given(st.text())
def test_words_are_those_that_a_search_means(text: str) -> None:
    assert searched_words(spread(plain(text))).split() == words(plain(text))


@pytest.mark.parametrize("text", ["Hello, World_wide", "naïve Ёлка ẞ", "नमस्ते दुनिया", "会議は東京", "a\ue000b", "don't"])
def test_words_are_the_same_however_they_are_found(text: str) -> None:
    assert searched_words(spread(text)).split() == words(text)


def test_words_and_texts_are_cut_where_postgresql_would_refuse_them() -> None:
    assert searched_words("x" * 3000) == f" {'x' * 255} "
    long = searched_words(spread(" ".join(f"слово{number}" for number in range(200_000))))
    assert 890_000 < len(long.encode()) <= 900_001
    assert (long[0], long[-1], long.count("  ")) == (" ", " ", 0)


@pytest.mark.parametrize(
    ("text", "query", "patterns"),
    [
        ("hello", "'hello':*", []),
        ("hello wor", "'hello' & 'wor':*", []),
        ("self-driving car", "'self' & 'driving' & 'car':*", ["% self driving %"]),
        ("car self-driv", "'car' & 'self' & 'driv':*", ["% self driv%"]),
        ("京都", "'京' & '都':*", ["% 京 都%"]),
        ("a' | b:* & !c", "'a' & 'b' & 'c':*", []),
        ("100% _x\\", "'100' & 'x':*", []),
    ],
)
def test_a_search_is_words_that_an_index_finds_and_sequences_that_are_looked_at(
    text: str, query: str, patterns: list[str]
) -> None:
    assert query_of(phrases(text)) == (query, patterns)


def test_a_series_has_the_same_number_everywhere() -> None:
    assert number_of(SERIES) == number_of(Series(*SERIES)) == 4731553502944592692
    others = [SERIES._replace(status=201), SERIES._replace(provider="", model="openaiwhisper-1")]
    assert len({number_of(SERIES), *map(number_of, others)}) == 3


def test_a_series_is_stored_without_what_cannot_be() -> None:
    assert stored(SERIES._replace(model="a\0b\ud800")).model == "a b?"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://db.internal/records", "postgresql://db.internal/records"),
        ("postgres://me:secret@db:5433/records?sslmode=require", "postgresql://db:5433/records"),
        ("postgresql://me:secret@a:1,b:2/records", "postgresql://a:1,b:2/records"),
        ("postgresql://me:secret@[::1]:5432/records", "postgresql://[::1]:5432/records"),
        ("postgresql://me:sec@ret@db/records", "postgresql://db/records"),
        ("postgresql://me:sec/ret@db/records", "postgresql://db/records"),
        ("postgresql://me:sec?ret@db/records", "postgresql"),
        ("postgresql://me:sec#ret/ or so", "postgresql"),
        ("postgresql://db/records?password=sec@ret", "postgresql"),
        ("postgresql://db/records?password=secret", "postgresql://db/records"),
    ],
)
def test_messages_name_the_database_and_never_a_password(url: str, place: str) -> None:
    assert place_of(url) == place
