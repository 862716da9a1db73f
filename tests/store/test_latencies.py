"""Counts of latencies are small as bytes, and add up without being taken apart."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.store.latencies import LatencySum, merged, packed, unpacked
from proxy.store.rollup import LAST_SLOT

COUNTS = st.dictionaries(st.integers(0, LAST_SLOT), st.integers(1, 10**9), max_size=30)


@given(COUNTS)
def test_what_was_packed_comes_back(counts: dict[int, int]) -> None:
    assert unpacked(packed(counts)) == Counter(counts)


@given(st.lists(COUNTS, max_size=5))
def test_the_sum_of_packed_counts_is_the_packed_sum(given_counts: list[dict[int, int]]) -> None:
    total, one_by_one, together = Counter[int](), packed({}), LatencySum()
    for counts in given_counts:
        total.update(counts)
        one_by_one = merged(one_by_one, packed(counts))
        together.step(packed(counts))
    assert one_by_one == together.finalize() == packed(total)
    assert unpacked(one_by_one) == total


@pytest.mark.parametrize(("counts", "size"), [({}, 1), ({60: 1}, 6), ({60: 1, 62: 10**12}, 16), ({LAST_SLOT: 5}, 6)])
def test_a_quiet_minute_takes_a_few_bytes(counts: dict[int, int], size: int) -> None:
    assert len(packed(counts)) == size
