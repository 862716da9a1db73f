"""Every command: its exit code, and what it says on which stream (INTERFACE 1)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy import __version__
from proxy.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator


ROOT = Path(__file__).parents[1]
LONG = 20.0  # seconds: a command that takes so long on a busy machine hangs


def audiogate(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user would, in an environment without settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AUDIOGATE")}
    return subprocess.run(
        [sys.executable, "-m", "proxy", *arguments],
        cwd=cwd,
        env={**clean, "PYTHONPATH": os.fspath(ROOT), **environ},
        capture_output=True,
        text=True,
        timeout=LONG,
    )


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        yield f"127.0.0.1:{somebody.getsockname()[1]}"


BAD_SHAPE = {"workers": 0, "listn": "127.0.0.1:1", "virtual_keys": [{"slug": "a"}], "timeouts": {"connect": "soon"}}
BAD_NAMES = {
    "default_config": "lost",
    "virtual_keys": [{"slug": "a", "provider": "lost"}],
    "configs": [{"slug": "c", "config": {"provder": "openai"}}],
}


def test_every_command_ends_with_its_code_and_one_line_an_error(tmp_path: Path, taken: str) -> None:
    """One table for all that fails; the processes share the machine's cores."""
    (tmp_path / "good.yaml").write_text("workers: 1\n")
    (tmp_path / "shape.yaml").write_text(json.dumps(BAD_SHAPE))
    (tmp_path / "names.yaml").write_text(json.dumps(BAD_NAMES))
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    free, ops = "127.0.0.1:0", "--ops-listen=127.0.0.1:0"
    table: list[tuple[list[str], int, list[str]]] = [
        (["check", "good.yaml"], 0, []),
        (
            ["check", "shape.yaml"],
            1,
            ["shape.yaml: listn: ", "shape.yaml: timeouts.connect: ",
             "shape.yaml: virtual_keys[0].provider: is required", "shape.yaml: workers: "],
        ),
        (
            ["check", "names.yaml"],
            1,
            ["names.yaml: configs[0].config.provder: unknown key; did you mean 'provider'?",
             "names.yaml: default_config: there is no config 'lost'",
             "names.yaml: virtual_keys[0].provider: There is no provider 'lost'."],
        ),
        (["check", "broken.yaml"], 1, ["broken.yaml: is not valid YAML at line "]),
        (["check", "absent.yaml"], 1, ["absent.yaml: "]),
        (["serve", "-c", "names.yaml"], 1, ["names.yaml: "] * 3),
        (["serve", "--listen", "nowhere"], 1, ["settings: listen: "]),
        (["serve", "--listen", taken, ops], 3, [f"audiogate: cannot listen on {taken}: address already in use"]),
        (
            ["serve", "--listen", taken, ops, "--workers=2"],
            3,
            [f"audiogate: cannot listen on {taken}: address already in use"],
        ),
        (
            ["serve", "--listen", free, f"--ops-listen={taken}"],
            3,
            [f"audiogate: cannot listen on {taken}: address already in use"],
        ),
        (["engine", "--listen", taken], 3, [f"audiogate: cannot listen on {taken}: "]),
        (["engine", "--listen", "nowhere"], 2, ["audiogate: --listen: 'nowhere' is not HOST:PORT"]),
        (["healthcheck", "--ops-listen", "127.0.0.1:1"], 1, ["audiogate: ops does not answer on 127.0.0.1:1: "]),
        (["healthcheck", "--ops-listen", "nowhere"], 2, ["audiogate: --ops-listen: 'nowhere' is not HOST:PORT"]),
        (["transcribe", "absent.wav"], 1, ["absent.wav: No such file or directory"]),
        (["transcribe", "a.wav", "--url", "http://127.0.0.1:1"], 1, ["cannot reach http://127.0.0.1:1: "]),
        (["transcribe", "a.wav", "--key-file", "absent"], 1, ["audiogate: --key-file: no such file or directory"]),
        (["transcribe", "a.wav", "--format", "docx"], 2, ["audiogate: --format: 'docx' is not one of "]),
        (["explain"], 1, ["audiogate: 400 missing_provider: "]),
        (["explain", "-c", "names.yaml"], 1, ["names.yaml: "] * 3),
        (["explain", "--config", "lost"], 1, ["audiogate: 400 unknown_config: There is no saved config 'lost'."]),
        (["explain", "--header", "a: b", "--header", "key"], 2, ["audiogate: --header: number 2 is not NAME: VALUE"]),
        (["explain", "--field", "model"], 2, ["audiogate: --field: 'model' is not NAME=VALUE"]),
    ]  # fmt: skip
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda row: audiogate(*row[0], cwd=tmp_path), table))
    for (arguments, code, lines), found in zip(table, ended, strict=True):
        said = sorted(found.stderr.splitlines())
        assert (found.returncode, found.stdout) == (code, ""), (arguments, found)
        assert len(said) == len(lines), (arguments, found.stderr)
        for line, beginning in zip(said, lines, strict=True):
            assert line.startswith(beginning), arguments


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["sing"],
        ["--wrong"],
        ["serve", "--wrong"],
        ["serve", "--workers", "many"],
        ["serve", "--log-format", "xml"],
        ["check"],
        ["check", "a", "b"],
        ["transcribe"],
        ["transcribe", "a.wav", "--url"],
        ["schema", "extra"],
        ["prices", "show"],
        ["prices", "list", "whisper-1"],
        ["prices", "--wrong"],
        ["explain", "--wrong"],
        ["explain", "a config"],
        ["explain", "--field"],
        ["healthcheck", "--wrong"],
        ["demo", "--twice"],
        ["engine", "--port", "1"],
    ],
)
def test_wrong_use_is_2_and_shows_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    shown = capsys.readouterr()
    assert (ended.value.code, shown.out) == (2, "")
    assert shown.err.startswith("usage: audiogate")
    assert "Traceback" not in shown.err


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["serve", "--help"], ["transcribe", "-h"]])
def test_help_and_version_are_fine(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    shown = capsys.readouterr()
    assert (ended.value.code, shown.err) == (0, "")
    assert shown.out == f"audiogate {__version__}\n" if arguments == ["--version"] else "usage: audiogate" in shown.out


def test_python_m_proxy_is_the_command(tmp_path: Path) -> None:
    assert audiogate("--version", cwd=tmp_path).stdout == f"audiogate {__version__}\n"


def test_the_schema_is_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"listen", "virtual_keys", "configs", "limits"} <= set(schema["properties"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["prices", "--provider", "own"],
        ["prices", "list", "--provider", "own"],
        ["prices", "--provider", "groq", "list", "--provider", "own"],
        ["prices", "show", "anything", "--provider", "own"],
        ["prices", "--provider", "own", "--json", "show", "anything"],
    ],
)
def test_prices_are_shown_by_provider_wherever_the_flag_stands(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "settings.yaml").write_text("providers: [{slug: own, prices: {'*': {usd_per_second: 0}}}]")
    monkeypatch.setenv("AUDIOGATE_CONFIG", str(tmp_path / "settings.yaml"))
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "own" in shown.out
    assert "groq" not in shown.out
    assert ("--json" in arguments) == shown.out.startswith("[")


@pytest.mark.parametrize(
    ("arguments", "prices", "lines"),
    [
        (["list", "-c", "absent.yaml"], "{}", ["absent.yaml: cannot be read: no such file or directory"]),
        (
            ["show", "whsper-1"],
            "{}",
            ["audiogate: there is no price for a model 'whsper-1'; did you mean 'whisper-1'?"],
        ),
        (["--provider", "opnai"], "{}", ["audiogate: there is no provider 'opnai'; did you mean 'openai'?"]),
        (
            ["list", "-c", "s.yaml"],
            "{opnai: {m: {usd_per_hour: 1}}}",
            ["s.yaml: prices: own.yaml: there is no provider 'opnai'; did you mean 'openai'?"],
        ),
        (
            ["show", "whisper-1", "-c", "s.yaml"],
            "{x-ai: {m: {usd_per_hour: 1, usd_per_minute: 1}, n: 3}}",
            [
                "s.yaml: prices: own.yaml: x-ai.m.usd_per_hour: usd_per_minute is given too; keep one of the two",
                "s.yaml: prices: own.yaml: x-ai.n: must be a mapping of keys",
            ],
        ),
    ],
)
def test_prices_that_are_not_there_or_wrong_are_1_and_a_line_each(
    arguments: list[str],
    prices: str,
    lines: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "s.yaml").write_text("prices: own.yaml")
    (tmp_path / "own.yaml").write_text(prices)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUDIOGATE_CONFIG", raising=False)
    assert main(["prices", *arguments]) == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err.splitlines()) == ("", lines)


def test_explain_asks_a_file_or_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["--config", '{"retry": {"attempts": 1}}', "--header", "x-portkey-provider: own", "--field", "model=m=1"]
    assert main(["explain", *wanted]) == 1
    assert capsys.readouterr().err.startswith("audiogate: 400 invalid_provider: ")
    wanted[3] = "x-portkey-provider: openai"
    assert main(["explain", *wanted]) == 0
    assert "openai at https://api.openai.com/v1/audio/transcriptions" in capsys.readouterr().out
    own = '{slug: own, dialect: openai, base_url: "http://10.0.0.7:9000/v1", auth: none}'
    (tmp_path / "s.yaml").write_text(f"providers: [{own}]")
    wanted[3] = "x-portkey-provider: own"
    assert main(["explain", "-c", str(tmp_path / "s.yaml"), *wanted, "--path", "/v1/audio/translations"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1] == "config: own at http://10.0.0.7:9000/v1/audio/translations, no key needed, model m=1"
    assert shown[3].strip().startswith("tried again once after 429, 500, 502, 503, 504")


def test_whoever_stops_reading_the_schema_has_seen_enough(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        ended = subprocess.run(
            [sys.executable, "-m", "proxy", "schema"], cwd=ROOT, stdout=closed, stderr=subprocess.PIPE, timeout=LONG
        )
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0, ""),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", 1, "audiogate: the gateway is not ready\n"),
    ],
)
def test_healthcheck_asks_readyz(answer: bytes, code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ops, ThreadPoolExecutor(1) as thread:

        def serve() -> bytes:
            with ops.accept()[0] as connection:
                asked = connection.recv(1_000)
                connection.sendall(answer)
                return asked

        asked = thread.submit(serve)
        assert main(["healthcheck", "--ops-listen", f"127.0.0.1:{ops.getsockname()[1]}"]) == code
        assert asked.result().startswith(b"GET /readyz HTTP/1.1\r\n")
    assert capsys.readouterr().err == said


def test_healthcheck_of_somebody_who_hangs_up_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ops, ThreadPoolExecutor(1) as thread:

        def hang_up() -> None:
            with ops.accept()[0] as connection:
                connection.recv(1_000)

        served = thread.submit(hang_up)
        assert main(["healthcheck", "--ops-listen", f"127.0.0.1:{ops.getsockname()[1]}"]) == 1
        served.result()
    assert len(capsys.readouterr().err.splitlines()) == 1
