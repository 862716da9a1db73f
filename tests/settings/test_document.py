"""From the file's text to a plain tree: YAML's rules, its limits, its mistakes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings.document import DocumentError, parse
from proxy.settings.mistakes import Ledger

VALUES = [
    ("", None),
    ("# nothing", None),
    ("null", None),
    ("~", None),
    ("true", True),
    ("False", False),
    ("7", 7),
    ("-12", -12),
    ("2.5", 2.5),
    ("1e3", 1000.0),
    (".5", 0.5),
    ("'7'", "7"),
    ("!!str 7", "7"),
    ("|\n  a\n  b\n", "a\nb\n"),
    # what YAML 1.1 would have turned into something else
    ("no", "no"),
    ("on", "on"),
    ("2025-04-01", "2025-04-01"),
    ("12:30", "12:30"),
    ("007", "007"),
    ("0x7f", "0x7f"),
    ("1_000", "1_000"),
    (".nan", ".nan"),
    (".inf", ".inf"),
    ("1e999", "1e999"),
    ("9999999999999999999", "9999999999999999999"),
    ("${N}", "${N}"),
    # collections
    ("[1, [2]]", [1, [2]]),
    ("{a: {b: c}}", {"a": {"b": "c"}}),
    ("1: a", {"1": "a"}),
    ("a:\nb:", {"a": None, "b": None}),
    ("a: &x {k: 1}\nb: *x", {"a": {"k": 1}, "b": {"k": 1}}),
    ("a: &x {k: 1, l: 1}\nb: {<<: *x, k: 2}", {"a": {"k": 1, "l": 1}, "b": {"k": 2, "l": 1}}),
    ("b: {<<: [{k: 1}, {k: 2, l: 2}]}", {"b": {"k": 1, "l": 2}}),
    ("'<<': 1", {"<<": 1}),
]

REFUSED = [
    ("a: [", "is not valid YAML at line 2, column 1: did not find expected node content"),
    ("a: 'x", "is not valid YAML at line 1, column 6: found unexpected end of stream"),
    ("a: !foo b", "has a tag at line 1 that settings do not use; remove it"),
    ("a: !!python/object:os.system {}", "has a tag at line 1 that settings do not use; remove it"),
    ("a: !!int 7", "has a tag at line 1 that settings do not use; remove it"),
    ("{a: 1}: b", "has a key at line 1 that is not plain text"),
    ("a: *x", "refers at line 1 to an anchor that is not complete before it"),
    ("&a [*a]", "refers at line 1 to an anchor that is not complete before it"),
    ("\nb: {<<: 5}", "has a '<<' at line 2 that does not name a mapping"),
    ("a: 1\n---\nb: 2", "holds more than one YAML document; keep one"),
    ("a: \x01", "is not valid YAML: it holds characters that YAML does not allow"),
    ("a: \ud800", "is not valid YAML: it holds characters that YAML does not allow"),
    ("[" * 100_000, "nests deeper than 40 levels at line 1"),
    ("- " * 100_000, "nests deeper than 40 levels at line 1"),
    (f"[{'1,' * 100_000}]", "holds more than 100000 values"),
]

BILLION_LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
)


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_text_becomes_plain_values(text: str, value: Any) -> None:
    ledger = Ledger()
    found = parse(text, ledger)
    assert (found, type(found)) == (value, type(value))
    assert ledger.mistakes == []


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_other_documents_are_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(DocumentError) as refused:
        parse(text, Ledger())
    assert str(refused.value) == message


def test_aliases_cannot_multiply_without_end() -> None:
    with pytest.raises(DocumentError, match="holds more than 100000 values"):
        parse(BILLION_LAUGHS, Ledger())


def test_a_key_given_twice_is_reported_with_both_lines_at_any_depth() -> None:
    ledger = Ledger()
    parse("a:\n  - b: 1\n    c: 2\n    b: 3\n", ledger)
    assert [str(found) for found in ledger.mistakes] == ["a[0].b: given twice, at lines 2 and 4; keep one"]


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!<'\"|>#,? \n\t%@`01.~$")))
def test_only_document_errors_escape(text: str) -> None:
    try:
        parse(text, Ledger())
    except DocumentError as error:
        assert "\n" not in str(error)  # noqa: PT017  (that it is raised is not the claim)
