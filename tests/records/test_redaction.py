"""What is personal or secret goes, all else stays, and no text takes long: addresses, keys, accounts, segments."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.records.redaction import redacted, redacted_segments, spans_in

CAP = 262_144  # characters of a transcript

GONE = [
    # addresses
    ("Write to jane.doe@example.com.", "Write to [e-mail]."),
    ("<Jane+list@mail.example.co.uk>, then", "<[e-mail]>, then"),
    ("jürgen@müller.example or a_b%c@x-y.example", "[e-mail] or [e-mail]"),
    ("It is jane dot doe at example dot com, yes", "It is [e-mail], yes"),
    ("jane underscore doe at mail dot example dot co dot uk", "[e-mail]"),
    ("so jane.doe at example.com it is", "so [e-mail] it is"),
    # keys
    ("the key is sk-proj-abcDEF1234567890", "the key is [key]"),
    ("gsk_a1b2c3d4e5f6 and hf_AbCdEfGhIj1, ghp_0123456789ab", "[key] and [key], [key]"),
    ("sk-abcdefghijklmnopqrstuvwxyz", "[key]"),
    ("Authorization: Bearer abc.def-123", "Authorization: Bearer [key]"),
    ("AKIAIOSFODNN7EXAMPLE", "[key]"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig_na-ture", "[key]"),
    ("-----BEGIN PRIVATE KEY-----\nMIIE\nabc\n-----END PRIVATE KEY-----\nand on", "[key]\nand on"),
    ("a -----BEGIN RSA PRIVATE KEY-----\nMIIE", "a [key]"),
    ("id 123e4567-e89b-12d3-a456-426614174000", "id [key]"),
    ("d41d8cd98f00b204e9800998ecf8427e", "[key]"),
    ("Zx8Kq2Lm9Pw4Rt6Yv1Bn is it", "[key] is it"),
    # accounts by their checksum
    ("DE89 3704 0044 0532 0130 00", "[account]"),
    ("to de89370400440532013000 please", "to [account] please"),
    ("GB29 NWBK 6016 1331 9268 19 and so on", "[account] and so on"),
    ("NO93 8601 1117 947", "[account]"),
]

STAYS = [
    "Meet me at example.com, or look at the dot com bubble.",
    "She tweeted @jane and left at 5.30.",
    "A bearer of documentation, a bearer certificate",
    "sk-learn is a library, pk-zip a program",
    "Donaudampfschifffahrtsgesellschaft2024",
    "recording20241121T103000Z.wav",
    "this-is-a-long-slug-of-a-page-from-2024",
    "antidisestablishmentarianism",
    "DE89 3704 0044 or so",
    "",
    " ",
]


@pytest.mark.parametrize(("text", "left"), GONE)
def test_what_is_personal_or_secret_goes(text: str, left: str) -> None:
    assert redacted(text) == left


@pytest.mark.parametrize("text", STAYS)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(("text", "left"), GONE)
def test_what_is_left_has_nothing_more_to_take_out(text: str, left: str) -> None:
    assert redacted(redacted(text)) == left


def segments(*texts: str) -> list[dict[str, Any]]:
    return [{"start": 1.0, "end": 2.0, "text": text, "speaker": None} for text in texts]


def left_of(*texts: str, torn: bool = False) -> list[str]:
    return [segment["text"] for segment in redacted_segments(segments(*texts), torn=torn)]


@pytest.mark.parametrize(
    ("texts", "left"),
    [
        (["my card is 4242 4242", " 4242 4242 thanks"], ["my card is [card]", "[card] thanks"]),
        (["my card is 4242 4242", "4242 4242 thanks"], ["my card is [card]", "[card] thanks"]),
        (["4242", " 4242", " 4242", " 4242"], ["[card]"] * 4),
        (["4242 42", "42 4242 4242"], ["[card]", "[card]"]),
        (["write jane.d", "oe@example.com ok"], ["write [e-mail]", "[e-mail] ok"]),
        (["call +1 415", "555 0132 now"], ["call [phone]", "[phone] now"]),
        (["sk-abc", "def123456789"], ["[key]", "[key]"]),
        (["a@example.com", "b@example.com"], ["[e-mail]", "[e-mail]"]),
        (["a number 020", "", " 7946 0018 "], ["a number [phone]", "", "[phone] "]),
        (["in 2020", "2021 and 2022"], ["in 2020", "2021 and 2022"]),
        (["nothing", "to see"], ["nothing", "to see"]),
        ([], []),
    ],
)
def test_a_number_that_is_cut_in_two_survives_in_no_piece(texts: list[str], left: list[str]) -> None:
    assert left_of(*texts) == left


def test_all_else_of_a_segment_stays_and_a_speaker_is_a_text_like_any_other() -> None:
    given_ = [{"start": 0.5, "end": 1.5, "text": "hello", "speaker": "jane@example.com"}]
    assert redacted_segments(given_) == [{"start": 0.5, "end": 1.5, "text": "hello", "speaker": "[e-mail]"}]
    assert given_[0]["speaker"] == "jane@example.com"


@pytest.mark.parametrize("kept", [1, 4, 5, 7, 9, 10, 13, 15, 19])
def test_of_a_card_that_the_reply_broke_off_in_nothing_is_left(kept: int) -> None:
    text = f"my card is {'4242 4242 4242 4242'[:kept]}"
    assert not any(c.isdigit() for c in redacted(text, torn=True))
    assert not any(c.isdigit() for c in "".join(left_of(text[:15], text[15:], torn=True)))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("write to jane.doe@exa", "write to [account]"),
        ("the key is sk-ab1", "the key is [account]"),
        ("in 2024 we went", "in 2024 we went"),
        ("and so", "and so"),
        ("4242 4242 4242 4242", "[card]"),
        ("", ""),
    ],
)
def test_only_the_end_of_a_reply_that_broke_off_is_suspect(text: str, left: str) -> None:
    assert redacted(text, torn=True) == left


@given(st.text(alphabet="0123456789 -.,@abcAEk/+()\n\u0664\uff14é", max_size=60), st.data())
def test_a_text_and_its_pieces_never_raise_and_hold_no_card(text: str, data: st.DataObject) -> None:
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    pieces = [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]
    spans = spans_in(text)
    assert all(before.end <= after.start for before, after in pairwise(spans))
    assert redacted(text, torn=True) is not None
    assert len(redacted_segments(segments(*pieces), torn=True)) == len(pieces)
    card = text + " 4242 4242 4242 4242 "
    assert "4242 4242 4242 4242" not in redacted(card)


UNITS = (
    "1", "1 ", "12 ", "123 ", "4242 ", "1 000 ", "123,", "1.", "0.", "1(", "+1", "a", "A9", "a@", "@", "a.", "a dot ",
    "a at ", "at a.", "-----BEGIN ", "-----BEGIN A-----END ", "AB12 ", "DE89 ", "de12", "bearer ", "bearer 1 ", "sk-",
    "sk-a ", "eyJ", "eyJ-", "eyJaaaaaaaa.", "SG.aaaaaaaa", "xoxb-a", "aaaaaaaa-aaaa-", "$1", "$ ", "call ", "call 1 ",
    "four ", "\u0664 ", "é", "-", "(", "_a", "2024-11-", "10:30:", "4242424242424242 ", "\n", "1\n\n", "'",
)  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_a_text_twice_as_long_takes_about_twice_as_long(unit: str) -> None:
    def seconds(length: int) -> float:
        text = unit * (length // len(unit))
        began = time.thread_time()
        redacted(text, torn=True)
        return time.thread_time() - began

    # What is quadratic takes 64 times as long for a text eight times as long; noise does not.
    short = max(min(seconds(CAP // 32) for _ in range(3)), 0.002)
    assert seconds(CAP // 4) < 24 * short
