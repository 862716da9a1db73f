"""What a store keeps of a record beside its text: keys in the order of time, cursors, words."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.records.record import Record
from proxy.store.questions import BadQuestionError
from proxy.store.rollup import Series
from proxy.store.row import cursor_of, document_of, first_key, key_at, key_of, row_of, text_of
from proxy.store.words import phrases, spread, words
from tests.store.made import NOON, id_at, made


def test_a_row_has_what_a_record_is_found_by() -> None:
    record = made(5, filename="Ä.mp3", transcript="hello", key="k")
    row = row_of(record)
    assert row.key == first_key(NOON) + 5
    assert row[1:5] == (
        id_at(NOON, 5), "trace-5", Series("transcriptions", "openai", "whisper-1", "k", 200, "ok"), "a.mp3\nhello",
    )  # fmt: skip
    assert document_of(row.document) == record


def test_the_gateways_own_records_have_keys_in_the_order_of_their_time() -> None:
    records = [Record("speech", "POST", 1.0, time=NOON + number / 8).close(2.0) for number in range(100)]
    keys = [key_of(record["time"], record["id"]) for record in records]
    assert keys == sorted(keys)
    assert all(first_key(NOON + n / 8) <= key < first_key(NOON + n / 8 + 0.001) for n, key in enumerate(keys))


@given(st.integers(0, 2**60 - 1))
def test_a_cursor_stands_for_its_key(key: int) -> None:
    assert key_at(cursor_of(key)) == key


@given(st.text())
def test_any_other_word_is_no_cursor(word: str) -> None:
    with suppress(BadQuestionError):
        assert key_at(word) == int(word, 16)


@given(st.text())
def test_any_text_survives_what_a_database_takes(text: str) -> None:
    record = {**made(), "transcript": text, "metadata": {text: [text, 1 << 80, None, True, 0.5]}}
    kept = document_of(text_of(record))
    assert kept["transcript"] == text.encode("utf-8", "replace").decode()
    row_of(record).searched.encode()


@given(st.text())
def test_words_are_the_same_whoever_takes_them_apart(text: str) -> None:
    assert [word for phrase in phrases(text) for word in phrase] == [w for term in text.split() for w in words(term)]
    assert words(spread(text)) == words(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("Hello, World!", [["hello"], ["world"]]),
        ("e-mail it's", [["e", "mail"], ["it", "s"]]),
        ("Ångström ﬁle Straße", [["angstrom"], ["file"], ["strasse"]]),
        ("東京タワー tower", [["東", "京", "タ", "ワ", "ー"], ["tower"]]),
        ("हिन्दी", [["हिन्दी"]]),
        ('"*" ^ () -', []),
    ],
)
def test_a_search_is_for_sequences_of_words(text: str, found: list[list[str]]) -> None:
    assert phrases(text) == found
