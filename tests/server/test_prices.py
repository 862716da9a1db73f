"""``audiogate prices``: what is in force, readable, and what a model costs with an example."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from proxy.metering.prices import built_in
from proxy.server.assemble import assemble
from proxy.server.prices import NotFoundError, report
from proxy.settings import load

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.relay.house import House

REAL_TIME = "example     none: it is for real-time sessions only, and no request for a file pays it"
NOT_KNOWN = "example     none: what it costs is not known; set a price of your own"
TODAY = date(2026, 11, 20)
SETTINGS = {
    "providers": [
        {"slug": "own", "prices": {"*": {"usd_per_second": 0}, "tiny": {"usd_per_character": 1e-8}}},
        {"slug": "openai", "prices": {"whisper-1": {"usd_per_hour": "0.3", "minimum_seconds": 5}}},
    ]
}


@pytest.fixture
def house(tmp_path: Path) -> House:
    (tmp_path / "settings.json").write_text(json.dumps(SETTINGS))
    return assemble(load(str(tmp_path / "settings.json"), environ={}, flags={}).settings)[0]


def shown(house: House, model: str | None = None, provider: str | None = None, today: date = TODAY) -> str:
    return report(house, model=model, provider=provider, today=today, as_json=False)


def documents(house: House, model: str | None = None, provider: str | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(report(house, model=model, provider=provider, today=TODAY, as_json=True))
    return found


def cells(line: str) -> list[str]:
    return re.split(r" {2,}", line)


@pytest.mark.parametrize(
    ("provider", "row"),
    [
        ("own", ["own", "*", "every mode", "free", "settings"]),
        ("own", ["own", "tiny", "every mode", "$0.01 /1M characters", "settings"]),
        ("openai", ["openai", "whisper-1", "every mode", "$0.005 /minute", "5 s", "2027-02-26", "settings"]),
        (
            "openai",
            [
                "openai",
                "gpt-transcribe",
                "transcription",
                "$0.0045 /minute",
                "up to 1 s",
                "built-in",
                "high",
                "2026-11-20",
            ],
        ),
        (
            "openai",
            [
                "openai",
                "gpt-live-transcribe",
                "transcription (real-time)",
                "$0.017 /minute",
                "built-in",
                "high",
                "2026-11-20",
            ],
        ),
        (
            "azure-openai",
            [
                "azure-openai",
                "gpt-4o-transcribe",
                "transcription",
                "$2.5 text in, $6 audio in, $10 out /1M tokens",
                "2026-10-15 (past)",
                "built-in",
                "medium",
                "2026-11-20",
            ],
        ),
        (
            "groq",
            [
                "groq",
                "whisper-large-v3-turbo",
                "transcription",
                "$0.000667 /minute",
                "10 s",
                "built-in",
                "high",
                "2026-05-05",
            ],
        ),
        ("scaleway", ["scaleway", "whisper-large-v3", "transcription", "unknown", "built-in", "none"]),
    ],
)
def test_the_list_says_of_each_price_what_there_is_to_say(house: House, provider: str, row: list[str]) -> None:
    assert row in [cells(line) for line in shown(house, provider=provider).splitlines()]


def test_the_list_holds_every_price_in_force_and_none_that_is_not(house: House) -> None:
    lines = shown(house).splitlines()
    assert len(lines) == 1 + len(built_in()) + 3 - 2  # the settings' three, less what whisper-1 had before
    starts = {line.index(word) for line, word in ((lines[0], "PRICE"), (lines[1], "free"))}
    assert len(starts) == 1
    assert all(line == line.rstrip() for line in lines)


def test_a_provider_without_prices_has_an_empty_list(house: House) -> None:
    assert len(shown(house, provider="vllm").splitlines()) == 1
    assert documents(house, provider="vllm") == []


@pytest.mark.parametrize(
    ("model", "provider", "lines"),
    [
        (
            "whisper-1",
            "openai",
            ["price       $0.3 per hour ($0.005 /minute)", "example     60 s cost $0.005, 1 s $0.000416666667"],
        ),
        (
            "gpt-transcribe",
            "openai",
            ["rounded     up to whole seconds", "example     60 s cost $0.0045, 1 s $0.000075"],
        ),
        (
            "openai/gpt-4o-transcribe-2027-01-01",
            "openai",
            [
                "estimate    $0.006 per minute",
                "example     1000 tokens in and 100 out cost $0.0035; 60 s that nobody counted, about $0.006",
            ],
        ),
        ("tts-1", "openai", ["price       $15 /1M characters", "example     1000 characters cost $0.015"]),
        ("gpt-live-transcribe", "openai", [REAL_TIME]),
        ("whisper-large-v3", "scaleway", ["price       unknown", NOT_KNOWN]),
        ("anything", "own", ["own  *  every mode", "price       free", "example     60 s cost $0, 1 s $0"]),
        ("whisper-1", "lemonfox-ai", ["price       $0.5 per 3 hours ($0.002778 /minute)"]),
    ],
)
def test_a_model_is_shown_with_an_example(house: House, model: str, provider: str, lines: list[str]) -> None:
    said = [line.strip() for line in shown(house, model, provider).splitlines()]
    assert [line for line in lines if line not in said] == []


def test_a_model_is_shown_for_every_provider_that_has_it(house: House) -> None:
    assert {(found["provider"], found["mode"]) for found in documents(house, "tts-1")} == {
        ("openai", "speech"), ("azure-openai", "speech"),
    }  # fmt: skip


def test_json_has_dollars_as_plain_digits_and_null_for_what_is_not_known(house: House) -> None:
    (tiny,) = [found for found in documents(house, provider="own") if found["model"] == "tiny"]
    assert (tiny["usd"], tiny["per"], tiny["unit"], tiny["mode"]) == ("0.00000001", "1", "character", None)
    (unknown,) = documents(house, provider="scaleway")
    assert (unknown["usd"], unknown["unit"], unknown["confidence"]) == (None, None, "none")
    gone = {found["model"] for found in documents(house, provider="azure-openai") if found["shut_down"]}
    assert gone == {"gpt-4o-transcribe"}


@pytest.mark.parametrize(
    ("model", "provider", "said"),
    [
        ("whsper-1", None, "there is no price for a model 'whsper-1'; did you mean 'whisper-1'?"),
        ("qwertz", None, "there is no price for a model 'qwertz'; see audiogate prices list"),
        ("qwertz", "groq", "there is no price for a model 'qwertz' of groq; see audiogate prices list"),
        ("whisper-1", "opnai", "there is no provider 'opnai'; did you mean 'openai'?"),
        (None, "opnai", "there is no provider 'opnai'; did you mean 'openai'?"),
    ],
)
def test_what_is_not_there_is_said_with_a_hint(
    house: House, model: str | None, provider: str | None, said: str
) -> None:
    with pytest.raises(NotFoundError, match=re.escape(said)):
        shown(house, model, provider)
