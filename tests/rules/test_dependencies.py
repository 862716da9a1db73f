"""What the code imports is what ``setup.cfg`` asks for: no more, no less, and none without its reason."""

from __future__ import annotations

import re
import sys
from configparser import ConfigParser
from importlib.metadata import packages_distributions

from tests.rules.sources import ROOT, imports, python_files

CFG = ConfigParser()
CFG.read(ROOT / "setup.cfg", encoding="utf-8")

PARTS = {"pydantic-core": "pydantic"}
"""Packages that are part of another: pydantic documents names that only its core has."""


def listed(text: str) -> set[str]:
    """Return the normalised names of a requirements list (PEP 503)."""
    lines = (line.strip() for line in text.splitlines())
    return {re.sub(r"[-_.]+", "-", re.split(r"[<>=!;\[ ]", line)[0]).lower() for line in lines if line[:1].isalpha()}


REQUIRED = listed(CFG["options"]["install_requires"])
EXTRAS = {name for extra in ("local", "postgres") for name in listed(CFG["options.extras_require"][extra])}


def imported(folder: str) -> set[str]:
    """Return the distributions that the files of a folder import, named as in requirements."""
    names = {found.imported.partition(".")[0] for path in python_files(folder) for found in imports(path)}
    names -= {*sys.stdlib_module_names, "proxy", "tests", "benchmarks"}
    known = packages_distributions()
    normal = {re.sub(r"[-_.]+", "-", known.get(name, [name])[0]).lower() for name in names}
    return {PARTS.get(name, name) for name in normal}


def test_the_package_imports_what_it_asks_for_and_nothing_else() -> None:
    assert imported("proxy") == REQUIRED | EXTRAS


def test_the_tests_import_only_what_they_ask_for() -> None:
    assert imported("tests") - REQUIRED - EXTRAS - listed(CFG["options.extras_require"]["test"]) == set()


def test_requirements_are_floors_not_pins() -> None:
    lines = [line.strip() for section in ("options", "options.extras_require") for line in _lines(section)]
    assert [line for line in lines if not re.match(r"^[\w.-]+>=[\d.]+(?:; .+)?$", line)] == []


def _lines(section: str) -> list[str]:
    keys = ["install_requires"] if section == "options" else list(CFG[section])
    return [line for key in keys for line in CFG[section][key].splitlines() if line[:1].isalpha()]


def test_every_package_has_its_reason_on_a_page() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").lower()
    assert {package for package in REQUIRED | EXTRAS if package not in page} == set()
