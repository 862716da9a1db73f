"""Changes to the body: quirks over overrides, in a form and in JSON."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from proxy.form.edits import Edits
from proxy.providers.base import Asked, FieldNeeded, Route
from proxy.providers.body import field_of, form_edits, json_params, merge
from proxy.routing.target import Target


def replacing(**fields: str) -> Edits:
    return Edits(replace={name: (value,) for name, value in fields.items()})


@pytest.mark.parametrize(
    ("first", "then", "both"),
    [
        (Edits(), Edits(), Edits()),
        (replacing(a="1"), replacing(b="2"), replacing(a="1", b="2")),
        (replacing(a="1"), replacing(a="2"), replacing(a="2")),
        (replacing(a="1"), Edits(drop=frozenset("a")), Edits(drop=frozenset("a"))),
        (Edits(drop=frozenset("a")), replacing(a="2"), replacing(a="2")),
        (Edits(drop=frozenset("ab")), Edits(drop=frozenset("c")), Edits(drop=frozenset("abc"))),
    ],
)
def test_where_two_edits_touch_the_same_field_the_later_wins(first: Edits, then: Edits, both: Edits) -> None:
    assert merge(first, then) == both


def test_a_form_gets_overrides_as_text_and_quirks_over_them() -> None:
    target = Target("x", override_params={"temperature": 0, "language": "de", "prompt": None, "translate": False})
    edits = form_edits(target, replacing(translate="true"))
    assert edits.replace == {"temperature": ("0",), "language": ("de",), "translate": ("true",)}
    assert "prompt" in edits.drop


def test_json_keeps_the_types_of_the_overrides() -> None:
    target = Target("x", override_params={"speed": 1.5, "voice": {"id": "v"}, "model": "a", "user": None})
    quirks = Edits(replace={"model": ("b",), "include": ("c", "d")}, drop=frozenset({"stream"}))
    assert json_params(target, quirks) == {
        "speed": 1.5,
        "voice": {"id": "v"},
        "model": "b",
        "include": ["c", "d"],
        "user": None,
        "stream": None,
    }


def test_without_overrides_the_quirks_are_all_there_is() -> None:
    assert not form_edits(Target("x"), Edits())
    assert json_params(Target("x"), Edits()) == {}


@pytest.mark.parametrize(
    ("overrides", "fields", "complete", "value"),
    [
        ({}, {"model": "seen"}, False, "seen"),
        ({}, {"model": "seen"}, True, "seen"),
        ({}, {}, True, None),
        ({"model": "forced"}, {}, False, "forced"),
        ({"model": "forced"}, {"model": "seen"}, True, "forced"),
        ({"model": None}, {"model": "seen"}, False, None),
    ],
)
def test_a_fields_value_is_the_one_that_goes_upstream(
    overrides: dict[str, str | None], fields: dict[str, str], complete: bool, value: str | None
) -> None:
    asked = Asked(Route.TRANSCRIPTIONS, "", fields=fields, complete=complete)
    assert field_of("model", Target("x", override_params=MappingProxyType(overrides)), asked) == value


def test_a_field_that_may_still_come_is_asked_for() -> None:
    with pytest.raises(FieldNeeded) as needed:
        field_of("model", Target("x"), Asked(Route.TRANSCRIPTIONS, "", fields={"language": "en"}))
    assert needed.value.name == "model"
