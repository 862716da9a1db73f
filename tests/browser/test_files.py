"""The console's files: nothing inline, nothing that reads text as markup, and others' code as it was published."""

from __future__ import annotations

import hashlib
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.bootstrap import in_ci, missing
from tests.rules.sources import ROOT, tracked

if TYPE_CHECKING:
    from pathlib import Path

CONSOLE = ROOT / "proxy" / "console"
VENDOR = CONSOLE / "assets" / "vendor"
FILES = [path for path in tracked() if path.is_relative_to(CONSOLE)]
OWN = [path for path in FILES if not path.is_relative_to(VENDOR)]
SCRIPTS = [path for path in OWN if path.suffix == ".js"]
LONGEST_FILE = 400  # lines
LONGEST_LINE = 120  # characters

MARKUP = re.compile(
    r"\b(?:innerHTML|outerHTML|insertAdjacentHTML|document\.write\w*|DOMParser|createContextualFragment|srcdoc|setHTML\w*)\b"
)
CODE = re.compile(r"\beval\(|\bnew Function\b|setTimeout\(\s*[\"'`]|javascript:")
INLINE = re.compile(r"<style|\sstyle\s*=|\son\w+\s*=|<script(?![^>]*\ssrc=)", re.IGNORECASE)
FAR = re.compile(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[\w.-]+\.\w{2,}", re.IGNORECASE)

PUBLISHED = {
    "uPlot.LICENSE.txt": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}
"""Files of uPlot 1.6.32 (MIT), as they are in its package, and their SHA-256."""


def found(rule: re.Pattern[str], *suffixes: str) -> list[str]:
    """Return where a rule is broken."""
    return [
        f"{path.name}:{number}: {line.strip()[:80]}"
        for path in OWN
        if path.suffix in suffixes
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if rule.search(line)
    ]


def test_text_is_never_read_as_markup() -> None:
    assert found(MARKUP, ".js") == []


def test_text_is_never_run() -> None:
    assert found(CODE, ".js", ".html") == []


def test_pages_have_neither_script_nor_style_of_their_own() -> None:
    assert found(INLINE, ".html") == []


def test_nothing_is_asked_of_another_host() -> None:
    assert found(FAR, ".js", ".html", ".css", ".svg") == []


def test_what_others_wrote_is_as_it_was_published_with_its_licence() -> None:
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir()}
    listed = dict(line.split()[::-1] for line in (VENDOR / "SHA256SUMS").read_text().splitlines())
    assert listed == PUBLISHED
    assert {name: value for name, value in sums.items() if name != "SHA256SUMS"} == PUBLISHED
    assert "The MIT License (MIT)" in (VENDOR / "uPlot.LICENSE.txt").read_text()
    assert "v1.6.32" in (VENDOR / "uPlot.iife.min.js").read_text(encoding="utf-8")[:400]


def test_scripts_are_small_and_say_what_they_are_for() -> None:
    wrong = []
    for path in SCRIPTS:
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        wrong += [f"{path.name}:{at}: too long" for at, line in enumerate(lines, 1) if len(line) > LONGEST_LINE]
        wrong += [
            f"{path.name}:{at}: space" for at, line in enumerate(lines, 1) if line != line.rstrip() or "\t" in line
        ]
        if len(lines) > LONGEST_FILE:
            wrong.append(f"{path.name}: {len(lines)} lines")
        if not re.match(r"/\*\*|//", text):
            wrong.append(f"{path.name}: no word on what it is for")
    assert wrong == []


def test_every_script_is_used_and_every_import_is_there() -> None:
    imports = re.compile(r'from "\./([\w.-]+)"|import\("\./([\w.-]+)"\)')
    used = {"app.js", "early.js"}
    for path in SCRIPTS:
        used |= {a or b for a, b in imports.findall(path.read_text(encoding="utf-8"))}
    assert used == {path.name for path in SCRIPTS}


def test_scripts_parse(tmp_path: Path) -> None:
    if (reason := missing("node")) is not None:
        assert not in_ci(), reason
        pytest.skip(reason)
    for path in SCRIPTS:
        module = tmp_path / path.with_suffix(".mjs" if path.name != "early.js" else ".cjs").name
        module.write_text(path.read_text(encoding="utf-8"))
    checks = [
        subprocess.Popen(["node", "--check", str(path)], stderr=subprocess.PIPE, text=True)
        for path in sorted(tmp_path.iterdir())
    ]
    assert "".join(check.communicate()[1] for check in checks) == ""
