"""``$regex`` reads JavaScript's patterns, refuses what it cannot, and never takes long."""

from __future__ import annotations

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.patterns import LONGEST_PATTERN, LONGEST_TEXT, check, matches


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("^gpt-4o", "gpt-4o-transcribe", True),
        ("4o", "gpt-4o-transcribe", True),
        ("^(en|de)(-[A-Z]{2})?$", "de-CH", True),
        ("^(en|de)(-[A-Z]{2})?$", "fr", False),
        ("GPT", "gpt-4o", False),
        ("(?i)GPT", "gpt-4o", True),
        ("(?<family>gpt|whisper)-", "whisper-1", True),
        (r"\/audio\/", "/v1/audio/speech", True),
        (r"\u00e9t\u00e9", "un été", True),
        (r"^\d+$", "42", True),
        (r"^\d+$", "٤٢", False),
        ("^a$", "a\n", False),
        ("a.b", "a\nb", False),
        ("a[^b]c", "a\nc", True),
        (r"\bwhisper\b", "use whisper!", True),
        (r"\w\-\w", "a-b", True),
        (r"\p{Greek}", "λ", True),
        ("", "anything", True),
        ("é", "é", True),
        ("x", "\udcff x", True),
    ],
)
def test_a_pattern_is_found_as_in_javascript(pattern: str, text: str, *, found: bool) -> None:
    assert check(pattern) is None
    assert matches(pattern, text) is found


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        (1, "must be a pattern as text"),
        (None, "must be a pattern as text"),
        ("a" * (LONGEST_PATTERN + 1), "must be a pattern of at most 256 characters"),
        ("(", "is no usable pattern: missing ): ("),
        ("a**", "is no usable pattern: bad repetition operator: **"),
        ("(?=gpt)", "is no usable pattern: invalid perl operator: (?="),
        (r"(a)\1", "is no usable pattern: invalid escape sequence: "),
        (r"\Agpt", r"is no usable pattern: unknown escape '\A'"),
        (r"\Q.\E", r"is no usable pattern: unknown escape '\Q'"),
        ("[^]", "is no usable pattern: missing ]: [^]"),
        ("a\\", "is no usable pattern: trailing "),
        ("(é\n", "is no usable pattern: missing ): (\\xe9\\n"),
        ("((((a{100}){100}){100}){100})", "is no usable pattern: "),
        (r"[\p{L}\p{N}]{1,300}x", "is no usable pattern: pattern too large"),
        ("\ud800", "must be a pattern without half characters"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused_with_the_reason(pattern: object, problem: str) -> None:
    told = check(pattern)
    assert told is not None
    assert told.startswith(problem)
    assert told.isascii()
    assert told.isprintable()


def test_a_text_longer_than_a_header_matches_nothing() -> None:
    assert matches("a$", "a" * LONGEST_TEXT)
    assert not matches("a$", "a" * (LONGEST_TEXT + 1))


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+$", "^(a|a)*$", "(a|aa)+$", ".*.*.*.*.*.*x", "(a?){100}(a){100}$", "([a-z]+)*\\d", "(?:a{1,100}){1,9}b"],
)
def test_a_pattern_that_keeps_other_engines_busy_for_years_is_answered_at_once(pattern: str) -> None:
    assert check(pattern) is None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    assert not matches(pattern, "a" * (LONGEST_TEXT - 1) + "!")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 1  # CPU seconds: backtracking would take years


@given(st.text(st.characters(), max_size=40), st.text(st.characters(), max_size=40))
def test_any_pattern_is_refused_in_words_or_can_be_asked(pattern: str, text: str) -> None:
    if check(pattern) is None:
        assert matches(pattern, text) in (True, False)
