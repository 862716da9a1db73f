"""The guard lets a bounded number of values pass, and says of every other that it was folded."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.records.guard import Guard, Pairs


class Folded(Counter[str]):
    def told(self) -> None:
        self["times"] += 1


def test_known_values_always_pass_and_take_no_ones_place() -> None:
    folded = Folded()
    guard = Guard(["known"], 1, folded.told)
    assert [guard(value) for value in ("known", "first", "second", "known", "first")] == [
        "known", "first", "_other", "known", "first",
    ]  # fmt: skip
    assert folded["times"] == 1


@pytest.mark.parametrize(("value", "label"), [(None, "_none"), ("_other", "_other"), ("_none", "_none"), ("", "_none")])
def test_nothing_has_a_word_of_its_own(value: str | None, label: str) -> None:
    folded = Folded()
    assert Guard([], 0, folded.told)(value) == label
    assert not folded


@pytest.mark.parametrize(("length", "passes"), [(100, True), (101, False)])
def test_a_value_that_is_too_long_never_passes(length: int, passes: bool) -> None:
    value = "m" * length
    assert (Guard([], 5, Folded().told)(value) == value) == passes


def test_values_admitted_later_pass_from_then_on() -> None:
    guard = Guard([], 0, Folded().told)
    assert guard("late") == "_other"
    guard.admit(["late"])
    assert guard("late") == "late"


@given(st.lists(st.text(max_size=120)), st.integers(0, 5))
def test_no_list_of_values_makes_more_labels_than_allowed(values: list[str], most: int) -> None:
    folded = Folded()
    guard = Guard(["known"], most, folded.told)
    labels = [guard(value) for value in values]
    assert len(set(labels) - {"known", "_other", "_none"}) <= most
    assert folded["times"] == sum(
        label == "_other" and value != "_other" for label, value in zip(labels, values, strict=True)
    )


@given(st.lists(st.tuples(st.sampled_from("abcdefghij"), st.text(max_size=3))), st.integers(0, 3))
def test_no_list_of_pairs_makes_more_than_four_times_as_many(pairs: list[tuple[str, str]], most: int) -> None:
    told = Folded().told
    guard = Pairs(Guard("abcdefghij", 0, told), Guard([], most, told), most, told)
    found = {guard(*pair) for pair in pairs}
    assert len({pair for pair in found if pair[1] not in {"_other", "_none"}}) <= 4 * most
    assert len(found) <= 4 * most + 2 * 10
