"""``audiogate logs``: a table that fits the terminal, a record in full, files, and the end of what is old."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from proxy.cli import main
from proxy.server.history import shown, table
from proxy.store.open import writer_at
from tests.ops.records import record

if TYPE_CHECKING:
    from pathlib import Path

ESCAPE = "\x1b[31mred\x1b[0m\x07\u202e"

KEPT = [
    record("first", said="go forward ten meters", minutes=0),
    record("second", minutes=1, status=503, outcome="upstream_error", error_code="circuit_open", cost_usd=None),
    record("third", minutes=2, said=f"an {ESCAPE} escape\nand another line", model_used=ESCAPE),
]


@pytest.fixture
def store(tmp_path: Path) -> str:
    """The address of a store with three records."""
    url = f"sqlite:{tmp_path / 'kept.db'}"
    writer = writer_at(url)
    writer.open()
    writer.write(KEPT)
    writer.close()
    return url


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what a command that is fine prints."""
    code = main(["logs", *arguments])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return out


def traces(text: str) -> list[str]:
    return [json.loads(line)["trace_id"] for line in text.splitlines()]


def test_a_list_is_a_table_of_the_newest_first(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    header, *rows = said(capsys, "--store", store).splitlines()
    assert header.split() == ["TIME", "STATUS", "ROUTE", "PROVIDER", "MODEL", "AUDIO", "LATENCY", "COST", "ID", "TEXT"]
    assert [row.split()[1] for row in rows] == ["200", "503", "200"]
    assert rows[1].split()[2] == "circuit_open"
    assert rows[2].endswith("go forward ten meters") or rows[2].endswith("…")
    for column in (" ROUTE", " PROVIDER", " ID"):
        place = header.index(column) + 1
        assert {row[place - 1] for row in rows} == {" "}
        assert " " not in {row[place] for row in rows}


def test_a_list_without_its_word_takes_filters_before_or_after(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    alone = said(capsys, "--store", store, "--status", "5xx")
    named = said(capsys, "list", "--store", store, "--status", "5xx")
    before = said(capsys, "--store", store, "--status", "5xx", "list")
    assert alone == named == before
    assert len(alone.splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], ["third", "second", "first"]),
        (["--limit", "2"], ["third", "second"]),
        (["--status", "200"], ["third", "first"]),
        (["--outcome", "upstream_error"], ["second"]),
        (["--q", "forward meters"], ["first"]),
        (["--trace", "second"], ["second"]),
        (["--provider", "up", "--route", "transcriptions", "--model", "whisper-1"], ["second", "first"]),
        (["--since", "2026-11-21T12:00:30Z", "--until", "2026-11-21T12:01:30Z"], ["second"]),
        (["--key", "nobody"], []),
    ],
)
def test_filters_are_those_of_the_api(
    store: str, capsys: pytest.CaptureFixture[str], options: list[str], found: list[str]
) -> None:
    assert traces(said(capsys, "list", "--json", "--store", store, *options)) == found


def test_an_export_is_the_whole_records(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "export", "--store", store).splitlines()
    assert [json.loads(line) for line in lines] == KEPT[::-1]
    rows = said(capsys, "export", "--format", "csv", "--status", "503", "--store", store).splitlines()
    assert len(rows) == 2
    assert rows[1].startswith(KEPT[1]["id"])


def test_a_record_is_shown_in_full_or_as_json(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "show", KEPT[0]["id"], "--store", store)
    for part in ("go forward ten meters", "first.wav", "2.5 s", "$0.001", "200 ok", "whisper-1", KEPT[0]["time"]):
        assert part in text, part
    assert json.loads(said(capsys, "show", KEPT[0]["id"], "--json", "--store", store)) == KEPT[0]


def test_prune_deletes_what_is_old_and_says_how_much(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "prune", "--older-than", "2026-11-21T12:00:30Z", "--store", store) == "1 record deleted\n"
    assert traces(said(capsys, "list", "--json", "--store", store)) == ["third", "second"]
    assert said(capsys, "prune", "--store", store) in {"0 records deleted\n", "2 records deleted\n"}


def test_the_settings_say_where_the_store_is_and_how_long_it_keeps(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"records": {"store": "sqlite:kept.db", "retention_days": None}}))
    assert traces(said(capsys, "list", "--json", "-c", str(settings))) == ["third", "second", "first"]
    assert main(["logs", "prune", "-c", str(settings)]) == 2
    assert "--older-than: is needed" in capsys.readouterr().err
    del store


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["list", "--status", "7000"], 2, "--status: '7000' is no status"),
        (["export", "--since", "yesterday"], 2, "--since: since is no time"),
        (["list", "--limit", "0"], 2, "--limit: must be a number from 1 to 100000"),
        (["prune", "--older-than", "old"], 2, "--older-than: must be a span like 30d"),
        (["prune", "--older-than", ""], 2, "--older-than: must be a span like 30d"),
        (["show", "none"], 1, "there is no record 'none'"),
        (["show", "\x1b[31m"], 1, "there is no record '[31m'"),
        (["list", "--store", "sqlite:absent.db"], 3, "there is no store at absent.db"),
        (["list", "--store", "none"], 1, "records.store is none"),
        (["list", "--store", "mysql:x"], 1, "records.store: must be sqlite:PATH"),
        (["list", "-c", "absent.yaml"], 1, "cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    store: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [] if "--store" in arguments or "-c" in arguments else ["--store", store]
    assert main(["logs", *arguments, *given]) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert not (tmp_path / "absent.db").exists()


@pytest.mark.parametrize("command", [["list"], ["show", KEPT[2]["id"]]])
def test_no_word_of_a_stranger_reaches_the_terminal_as_an_order(
    store: str, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    text = said(capsys, *command, "--store", store)
    assert "red" in text
    assert not re.search(r"[^\n -~\xa1-\u2026]", text)


@pytest.mark.parametrize("width", [20, 120, 160, 400])
def test_a_table_is_as_wide_as_the_terminal_and_only_text_is_cut(width: int) -> None:
    long = record("long", said="word " * 100)
    lines = table([*KEPT, long], width).splitlines()
    assert all(long["id"] in line for line in lines if "word" in line)
    assert max(map(len, lines)) <= max(width, 200)
    assert lines[-1].endswith("…")


def full(**facts: Any) -> str:
    return shown(record("a", said="eins zwei", **facts))


def test_segments_come_with_their_times_and_speakers() -> None:
    segments = [
        {"start": 0.0, "end": 1.25, "text": "eins", "speaker": "A"},
        {"start": None, "end": None, "text": "zwei", "speaker": None},
    ]
    assert full(segments=segments).splitlines()[-2:] == ["[0.00 - 1.25] A: eins", "[- - -] zwei"]
    assert "more was said" in full(transcript_cut=True)


def test_what_is_unknown_is_left_out_or_a_dash() -> None:
    bare = record("a", provider=None, model_used=None, cost_usd=None, key_name=None)
    text = shown(bare)
    assert "cost        - (unknown)" in text
    assert "none is kept" in text
    assert not re.search(r"^(?:key|config|metadata)\b", text, re.MULTILINE)


def test_attempts_are_told_one_by_one() -> None:
    attempt = {
        "target": "config.targets[0]", "provider": "up", "status": None, "failure": "upstream_timed_out",
        "started_ms": 0.0, "total_ms": 1200.4, "replayed": False, "possibly_billed": True, "hedged": False,
    }  # fmt: skip
    second = {**attempt, "target": "config.targets[1]", "status": 200, "failure": None, "replayed": True}
    lines = full(attempts=[attempt, second]).splitlines()
    assert "attempt 1   config.targets[0]: up, upstream_timed_out, at 0 ms, took 1200 ms, possibly billed" in lines
    assert "attempt 2   config.targets[1]: up, 200, at 0 ms, took 1200 ms, replayed, possibly billed" in lines
