"""Which target a request gets: by weight, by its fields, or by who has least to do."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.balance import by_key, by_load, by_weight, load, sticky_key
from proxy.routing.tree import Branch, Leaf

PATHS = [f"config.targets[{index}]" for index in range(4)]
WEIGHTS = st.lists(st.floats(0, 1e6), min_size=1, max_size=8).filter(any)


@pytest.mark.parametrize(
    ("weights", "chance", "index"),
    [
        ([0.7, 0.3], 0.5, 0),
        ([0.7, 0.3], 0.7000001, 1),
        ([1, 1], 0.0, 0),
        ([1, 1], 0.5, 1),
        ([1, 1], 0.6, 1),
        ([0, 1], 0.0, 1),
        ([1, 0], math.nextafter(1, 0), 0),
        ([5], 0.9, 0),
        ([5e-324, 1e6], 0.0, 1),
    ],
)
def test_the_chance_falls_on_a_weight(weights: list[float], chance: float, index: int) -> None:
    assert by_weight(weights, chance)[0] == index


@given(WEIGHTS, st.floats(0, 1, exclude_max=True))
def test_a_weight_of_zero_is_never_chosen_and_what_is_left_is_a_chance(weights: list[float], chance: float) -> None:
    index, rest = by_weight(weights, chance)
    assert weights[index] > 0
    assert 0 <= rest < 1


def test_what_is_left_of_a_chance_is_as_even_as_the_chance_was() -> None:
    chances = [(number + 0.5) / 1200 for number in range(1200)]
    pairs: Counter[tuple[int, int]] = Counter()
    for chance in chances:
        first, rest = by_weight([1, 3], chance)
        pairs[first, by_weight([2, 1], rest)[0]] += 1
    assert pairs == {(0, 0): 200, (0, 1): 100, (1, 0): 600, (1, 1): 300}


KEYS = [key for number in range(4000) if (key := sticky_key([f"user-{number}"], 300, 0)) is not None]


def test_the_same_key_gets_the_same_target_and_the_shares_are_those_of_the_weights() -> None:
    weights = [1, 2, 0, 5]
    chosen = [by_key(key, PATHS, weights) for key in KEYS]
    assert chosen == [by_key(key, PATHS, weights) for key in KEYS]
    shares = Counter(chosen)
    assert [shares[index] / len(KEYS) for index in range(4)] == pytest.approx([1 / 8, 2 / 8, 0, 5 / 8], abs=0.03)


def test_a_target_that_is_away_moves_only_its_own_keys() -> None:
    away, weights = 1, [1, 2, 3, 4]
    rest = [0, 2, 3]
    for key in KEYS:
        before = by_key(key, PATHS, weights)
        after = rest[by_key(key, [PATHS[index] for index in rest], [weights[index] for index in rest])]
        assert before in (after, away)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (["ada"], ["ada"], True),
        (["ada"], ["bob"], False),
        (["ab", "c"], ["a", "bc"], False),
        (["a", None], [None, "a"], False),
        (["a\0001:b"], ["a", "b"], False),
        ([None, "a"], ["", "a"], True),  # an empty value is as good as none
        ([7], ["7"], True),  # metadata may hold numbers; headers and forms hold text
    ],
)
def test_keys_are_the_same_when_all_the_values_are(one: list[object], other: list[object], same: bool) -> None:
    assert (sticky_key(one, 300, 0) == sticky_key(other, 300, 0)) is same


def test_a_request_that_has_none_of_the_values_has_no_key() -> None:
    assert sticky_key([None, ""], 300, 0) is None


def test_a_key_lasts_for_one_window_of_its_own() -> None:
    ends = set()
    for number in range(50):
        moments = {now: sticky_key([number], 300, now) for now in range(0, 900, 10)}
        assert len(set(moments.values())) in (3, 4)
        ends.add(next(now for now in moments if moments[now] != moments[0]))
        runs = Counter(moments.values())
        assert max(runs.values()) == 30
    assert len(ends) > 15, "they do not all move in the same second"


@pytest.mark.parametrize(
    ("loads", "weights", "index"),
    [
        ([30, 10, 20], [1, 1, 1], 1),
        ([10, 10, 20], [1, 2, 1], 1),
        ([10, 10, 10], [1, 1, 1], 0),
        ([0, 10], [0, 1], 1),
        ([0.0, 0.0], [0, 1], 1),
    ],
)
def test_the_least_load_wins_then_the_largest_weight_then_the_first(
    loads: list[float], weights: list[float], index: int
) -> None:
    assert by_load(loads, weights) == index


def test_the_load_of_a_branch_is_that_of_all_its_targets() -> None:
    inner = Branch("config.targets[1]", "fallback", (Leaf("config.targets[1].targets[0]"), Leaf("b")))
    outstanding = {"config.targets[1].targets[0]": 1.5, "b": 2.0, "elsewhere": 9.0}
    assert load(inner, outstanding) == 3.5
    assert load(Leaf("unknown"), outstanding) == 0
