"""Files and functions are small enough to be read in one sitting. Exceptions have a reason, and their list shrinks."""

from __future__ import annotations

import ast

from tests.rules.sources import name, python_files, tree

LONGEST_FILE = 400  # lines
LONGEST_FUNCTION = 60  # lines, from ``def`` to its end

EXCEPTIONS: dict[str, str] = {}
"""Name of a file, or ``file:function`` → why it may be longer. One that has become short must go."""


def too_long() -> dict[str, int]:
    """Return everything that is too long, with its lines."""
    found = {}
    for path in python_files("proxy", "tests", "benchmarks", "grafana"):
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > LONGEST_FILE:
            found[name(path)] = lines
        if path.parent.name == "grafana":
            continue  # what is long there are rows of panels: data, which happens to be written as calls
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    found[f"{name(path)}:{node.name}"] = lines
    return found


def test_nothing_is_too_long_without_a_reason() -> None:
    assert {what: lines for what, lines in too_long().items() if what not in EXCEPTIONS} == {}


def test_no_exception_has_outlived_its_reason() -> None:
    assert set(EXCEPTIONS) - set(too_long()) == set()
