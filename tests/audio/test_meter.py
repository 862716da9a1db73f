"""The meter finds the container and the duration of any file, cut anywhere, and never gets in the way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.audio import meter as room
from proxy.audio.container import NEEDED, sniff
from proxy.audio.duration import UNKNOWN_DURATION, Duration, Probe
from proxy.audio.meter import Meter
from tests.cuts import random_cuts

if TYPE_CHECKING:
    from proxy.audio.container import Container

VECTORS = Path(__file__).parents[1] / "vectors"
NAMES = sorted(path.name for path in VECTORS.iterdir() if path.suffix != ".md")


def metered(chunks: list[bytes]) -> tuple[Container | None, int, Duration]:
    meter = Meter()
    for chunk in chunks:
        meter.feed(chunk)
    meter.end()
    assert meter.fault is None
    return meter.container, meter.size, meter.duration


@pytest.mark.parametrize("name", NAMES)
def test_a_file_has_its_container_and_its_length_however_it_is_cut(name: str) -> None:
    data = (VECTORS / name).read_bytes()
    container, size, duration = metered([data])
    assert (container, size) == (sniff(data), len(data))
    if name == "raw.aac":  # to be recognised, and refused
        assert duration == UNKNOWN_DURATION
    else:
        true = 6.07 if name == "chained.ogg" else 3.035
        assert duration.seconds == pytest.approx(true, abs=0.11)
        assert not duration.ended_early
    for chunks in random_cuts(data, 10):
        assert metered(chunks) == (container, size, duration)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "raw.aac"])
def test_the_seconds_grow_while_the_file_comes_and_never_pass_its_length(name: str) -> None:
    data = (VECTORS / name).read_bytes()
    meter = Meter()
    seen = []
    for start in range(0, len(data), 1000):
        meter.feed(data[start : start + 1000])
        seen.append(meter.seconds)
    assert seen == sorted(seen)
    assert meter.duration.seconds is not None
    assert seen[-1] <= meter.duration.seconds + 0.06  # an mp3's padding is known to be padding only at the end


@pytest.mark.parametrize("size", [0, 1, NEEDED - 1, NEEDED])
def test_a_short_file_shows_its_container_when_it_ends(size: int) -> None:
    meter = Meter()
    meter.feed((b"fLaC" + bytes(NEEDED))[:size])
    assert (meter.container is not None) == (size == NEEDED)
    meter.end()
    assert (meter.container is not None) == (size > 0)
    assert meter.size == size


@given(st.sampled_from(NAMES), st.data())
def test_a_damaged_file_breaks_nothing(name: str, data: st.DataObject) -> None:
    whole = bytearray((VECTORS / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at : at + data.draw(st.integers(0, 200))] = data.draw(st.binary(max_size=64))
    container, size, duration = metered([bytes(whole)])
    assert size == len(whole)
    assert duration.seconds is None or duration.seconds >= 0
    assert metered([bytes(whole[:777]), bytes(whole[777:])]) == (container, size, duration)


class Broken(Probe):
    def _take(self, chunk: bytes) -> None:
        raise ZeroDivisionError(len(chunk))


def test_a_probe_that_fails_costs_the_duration_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "probe_for", lambda _container: Broken())
    meter = Meter()
    for _ in range(3):
        meter.feed(bytes(NEEDED))
    assert isinstance(meter.fault, ZeroDivisionError)
    assert (meter.size, meter.seconds, meter.duration) == (3 * NEEDED, 0.0, UNKNOWN_DURATION)
