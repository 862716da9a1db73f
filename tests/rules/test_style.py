"""What linter, formatter and type checker say, and the few rules that none of them knows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rules.sources import ROOT, name, python_files, tracked, tree

EVERYWHERE = ("proxy", "tests", "benchmarks", "grafana")
SPEAKERS = {"cli", "transcribe", "server/process", "server/demo"}  # they talk to people; all others log or answer
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")


@pytest.mark.parametrize(
    "command",
    [["ruff", "check", "--quiet"], ["ruff", "format", "--check", "--quiet"], ["mypy", "--no-error-summary"]],
    ids=["lint", "format", "types"],
)
def test_the_tools_have_nothing_to_say(command: list[str]) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[:4000]


def test_every_module_says_what_it_is_for() -> None:
    wrong = [
        name(path)
        for path in python_files(*EVERYWHERE)
        if not re.match(r"\S[^\n]*[.:;]", ast.get_docstring(tree(path)) or "")
    ]
    assert not wrong, "\n".join(wrong)


def test_annotations_are_never_evaluated() -> None:
    wrong = [
        name(path)
        for path in python_files(*EVERYWHERE)
        if len(tree(path).body) > 1 and "from __future__ import annotations\n" not in path.read_text(encoding="utf-8")
    ]
    assert wrong in ([], ["proxy/__init__.py"])  # the map annotates nothing


def test_only_commands_print() -> None:
    wrong = [
        f"{name(path)}:{node.lineno}"
        for path in python_files("proxy")
        if str(path.relative_to(ROOT / "proxy").with_suffix("")) not in SPEAKERS
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_is_left_for_later_in_a_comment() -> None:
    wrong = [
        f"{name(path)}:{number}"
        for path in tracked()
        if path.suffix in {".py", ".mjs", ".js", ".c", ".h", ".md", ".yaml", ".toml", ".cfg"}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert not wrong, "\n".join(wrong)


MACHINE = re.compile(r"(?<![\w.~})-])/(?:work|root|tmp)/[\w.]")
"""A path of somebody's machine: no reader has it, and temporary folders come from ``tempfile``."""
REGISTRY = re.compile(r"https?://[\w.-]*(?:registry|pypi|pythonhosted|npmjs|artifactory|nexus|mirror)[\w.-]*")
"""A package registry's address: where packages come from is the business of whoever installs them."""


def test_no_file_names_a_machines_paths_or_a_package_registry() -> None:
    wrong = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # sound
            continue
        wrong += [f"{name(path)}: {found[0]}" for rule in (MACHINE, REGISTRY) for found in rule.finditer(text)]
    assert not wrong, "\n".join(wrong)
