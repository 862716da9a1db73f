"""What the tests need is installed where it can be; where it cannot, that is said once and fails only in CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bootstrap import PROGRAMS, missing_for_node
from tests.rules.sources import ROOT


def bootstrap(**environment: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, "CI": "", **environment}
    command = [sys.executable, "-m", "tests.bootstrap"]
    return subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_a_machine_without_programs_and_installers_is_told_what_will_be_skipped(
    tmp_path: Path, ci: str, code: int
) -> None:
    done = bootstrap(PATH=str(tmp_path), CI=ci)
    assert done.returncode == code
    kept_elsewhere = {"initdb"} if Path("/usr/lib/postgresql").is_dir() else set[str]()
    kept_elsewhere |= {"nginx"} if Path("/usr/sbin/nginx").exists() else set[str]()
    names = ", ".join(program for program in PROGRAMS if program not in kept_elsewhere)
    assert f"tests: missing: {names}; the tests that need them will be skipped\n" in done.stderr


def test_with_everything_there_it_says_nothing() -> None:
    if reason := missing_for_node():
        pytest.skip(reason)
    done = bootstrap()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_reason_for_skipping_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "python -m tests.bootstrap" in (missing_for_node() or "")
