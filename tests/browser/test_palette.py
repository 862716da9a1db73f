"""The palette's contrasts, computed: text is read by everybody, in light and in dark (WCAG 2.2, 1.4.3 and 1.4.11)."""

from __future__ import annotations

import re

import pytest

from tests.rules.sources import ROOT

TOKENS = (ROOT / "proxy" / "console" / "assets" / "tokens.css").read_text(encoding="utf-8")
PAIR = re.compile(r"--([\w-]+): light-dark\(#([0-9a-f]{6})([0-9a-f]{2})?, #([0-9a-f]{6})([0-9a-f]{2})?\);")
LIGHT, DARK = 0, 1
THEMES = pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])

TEXT = 4.5
"""What text needs; what it stands on, by the names of the tokens."""
READ = {
    **dict.fromkeys(("text", "text-2", "accent"), ("ground", "surface", "sunken", "hover", "chosen")),
    "ok": ("surface", "ok-soft"),
    "warn": ("surface", "warn-soft"),
    "bad": ("surface", "bad-soft", "ground"),
    "on-accent": ("accent-fill",),
}
MUTED = {"text": ("mute-soft",), "text-2": ("mute-soft",)}

SHAPE = 3.0
"""What a line, a bar or the edge of a field needs."""
DRAWN = (
    "series-1",
    "series-2",
    "series-3",
    "series-4",
    "series-5",
    "series-6",
    "bad-fill",
    "line-strong",
    "accent-fill",
)
PHASES = ("phase-upload", "phase-connect", "phase-sending", "phase-waiting", "phase-reply")


def colours(theme: int) -> dict[str, str]:
    """Return every opaque colour by its token."""
    return {found[0]: found[1 + 2 * theme] for found in PAIR.findall(TOKENS) if not found[2 + 2 * theme]}


def luminance(colour: str) -> float:
    """Return the relative luminance of ``rrggbb`` (WCAG 2.2)."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_measure_is_right() -> None:
    assert contrast("ffffff", "000000") == pytest.approx(21)
    assert contrast("767676", "ffffff") == pytest.approx(4.54, abs=0.01)


def test_every_colour_has_both_themes() -> None:
    assert len(PAIR.findall(TOKENS)) == TOKENS.count("light-dark(")


@THEMES
def test_text_can_be_read(theme: int) -> None:
    palette = colours(theme)
    pairs = [(ink, ground) for given in (READ, MUTED) for ink, grounds in given.items() for ground in grounds]
    poor = {pair: round(contrast(palette[pair[0]], palette[pair[1]]), 2) for pair in pairs}
    assert {pair: ratio for pair, ratio in poor.items() if ratio < TEXT} == {}


@THEMES
def test_shapes_can_be_seen(theme: int) -> None:
    palette = colours(theme)
    poor = {name: round(contrast(palette[name], palette["surface"]), 2) for name in (*DRAWN, *PHASES)}
    assert {name: ratio for name, ratio in poor.items() if ratio < SHAPE} == {}
