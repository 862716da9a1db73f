"""JSON overrides become form fields in the spelling that OpenAI's API reads."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import GatewayError
from proxy.form.edits import Edits, edits_of, values_of

SPELLINGS: list[tuple[Any, tuple[str, ...]]] = [
    ("whisper-1", ("whisper-1",)),
    ("", ("",)),
    (True, ("true",)),
    (False, ("false",)),
    (0, ("0",)),
    (-3, ("-3",)),
    (0.5, ("0.5",)),
    (1.0, ("1.0",)),
    (["word", "segment"], ("word", "segment")),
    (("word",), ("word",)),
    ([1, True, None, "x"], ("1", "true", "x")),
    ([], ()),
    (None, ()),
    ({"type": "server_vad"}, ('{"type": "server_vad"}',)),
    ({"ü": [None]}, ('{"ü": [null]}',)),
    ([[1, 2]], ("[1, 2]",)),
]

EDITS: list[tuple[dict[str, Any], Edits]] = [
    ({}, Edits()),
    ({"model": "big"}, Edits({"model": ("big",)})),
    ({"temperature": 0, "stream": True}, Edits({"temperature": ("0",), "stream": ("true",)})),
    ({"include": ["logprobs"]}, Edits({"include[]": ("logprobs",)}, frozenset({"include"}))),
    ({"include[]": ["logprobs"]}, Edits({"include[]": ("logprobs",)}, frozenset({"include"}))),
    ({"include[]": "logprobs"}, Edits({"include[]": ("logprobs",)}, frozenset({"include"}))),
    ({"include": []}, Edits(drop=frozenset({"include", "include[]"}))),
    ({"language": None}, Edits(drop=frozenset({"language", "language[]"}))),
    ({"chunking_strategy": {"type": "auto"}}, Edits({"chunking_strategy": ('{"type": "auto"}',)})),
]


@pytest.mark.parametrize(("override", "values"), SPELLINGS)
def test_a_json_value_is_spelled_as_a_form_spells_it(override: Any, values: tuple[str, ...]) -> None:
    assert values_of(override) == values


@pytest.mark.parametrize(("params", "expected"), EDITS)
def test_overrides_become_edits(params: dict[str, Any], expected: Edits) -> None:
    edits = edits_of(params)
    assert edits == expected
    assert bool(edits) == bool(params)


@pytest.mark.parametrize(
    "params",
    [
        {"file": "x"},
        {"file": None},
        {"prompt": math.nan},
        {"prompt": object()},
        {"prompt": "\ud800"},
        {"\ud800": "x"},
    ],
    ids=["file", "file dropped", "NaN", "an object", "half a character", "half a character in a name"],
)
def test_what_no_form_can_carry_is_an_invalid_config(params: dict[str, Any]) -> None:
    with pytest.raises(GatewayError) as refusal:
        edits_of(params)
    assert (refusal.value.code, refusal.value.param) == ("invalid_config", "config")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.text(), JSON, max_size=3))
def test_any_json_makes_edits_or_a_declared_error(params: dict[str, Any]) -> None:
    try:
        edits = edits_of(params)
    except GatewayError:
        return
    assert "file" not in edits.names
    assert not edits.drop & edits.replace.keys()
    assert {name.removesuffix("[]") for name in params} == {name.removesuffix("[]") for name in edits.names}
