"""The JSON Schema says what the models say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from proxy.settings import json_schema
from proxy.settings.document import parse
from proxy.settings.fields import paths
from proxy.settings.mistakes import Ledger
from tests.settings.test_docs import BLOCKS

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = json_schema()
KINDS: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int,
    "number": (int, float),
}  # fmt: skip


def valid(value: Any, schema: dict[str, Any]) -> bool:
    """Tell whether ``value`` is what ``schema`` describes: the part of draft 2020-12 that our schema uses."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    kind = KINDS[schema["type"]] if "type" in schema else object
    if not isinstance(value, kind) or (isinstance(value, bool) and schema.get("type") in ("integer", "number")):
        return False
    return all(_KEYWORDS[word](value, schema) for word in schema if word in _KEYWORDS)


def _object(value: dict[str, Any], schema: dict[str, Any]) -> bool:
    """Properties, and what may be besides them (pydantic writes ``patternProperties`` with one pattern or none)."""
    (others,) = schema.get("patternProperties", {}).values() or (schema.get("additionalProperties", True),)
    return all(
        valid(inner, schema["properties"][key])
        if key in schema.get("properties", {})
        else (others if isinstance(others, bool) else valid(inner, others))
        for key, inner in value.items()
    )


_KEYWORDS: dict[str, Any] = {
    "additionalProperties": _object,
    "patternProperties": _object,
    "anyOf": lambda value, schema: any(valid(value, one) for one in schema["anyOf"]),
    "oneOf": lambda value, schema: sum(valid(value, one) for one in schema["oneOf"]) == 1,
    "not": lambda value, schema: not valid(value, schema["not"]),
    "const": lambda value, schema: value == schema["const"],
    "enum": lambda value, schema: value in schema["enum"],
    "required": lambda value, schema: all(key in value for key in schema["required"]),
    "items": lambda value, schema: all(valid(item, schema["items"]) for item in value),
    "minItems": lambda value, schema: len(value) >= schema["minItems"],
    "pattern": lambda value, schema: re.search(schema["pattern"], value) is not None,
    "minLength": lambda value, schema: len(value) >= schema["minLength"],
    "maxLength": lambda value, schema: len(value) <= schema["maxLength"],
    "minimum": lambda value, schema: value >= schema["minimum"],
    "exclusiveMinimum": lambda value, schema: value > schema["exclusiveMinimum"],
    "maximum": lambda value, schema: value <= schema["maximum"],
}
_NOTES = {"$ref", "type", "properties", "description", "default", "format", "writeOnly", "propertyNames"}


def subschemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    children = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    children += [*schema.get("anyOf", []), *schema.get("patternProperties", {}).values(), schema.get("items")]
    for child in children:
        if isinstance(child, dict):
            yield from subschemas(child)


def described(schema: dict[str, Any], above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    for key, entry in schema.get("properties", {}).items():
        yield f"{above}{key}", entry
        yield from described(entry, f"{above}{key}.")
        for kind in entry.get("anyOf", []):
            yield from described(kind, f"{above}{key}.")
        if "$ref" in entry.get("items", {}):
            yield from described(entry["items"], f"{above}{key}[].")


def test_the_schema_knows_every_key_and_no_other() -> None:
    assert {path for path, _ in described(SCHEMA)} == set(paths())


DESCRIBED = list(described(SCHEMA))


@pytest.mark.parametrize(("path", "entry"), DESCRIBED, ids=[path for path, _ in DESCRIBED])
def test_every_key_has_a_description_and_every_optional_one_a_default(path: str, entry: dict[str, Any]) -> None:
    assert entry["description"].endswith(".")
    required = path.rsplit(".", 1)[-1] in ("slug", "provider", "name", "config")
    assert "default" in entry or required or path.endswith(("_file", ".metadata"))


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_documented_example_is_valid(block: str) -> None:
    assert valid(parse(block, Ledger()), SCHEMA)


ACCEPTED = [
    "workers: ${N:-2}",
    "timeouts: {connect: '${C}', total: null}",
    "virtual_keys: [{slug: '${S}', provider: openai, key_file: '${F}'}]",
    "virtual_keys: [{slug: a, provider: b, deployments: {m: '${D}'}}]",
    "providers: [{slug: a, base_url: '${U}/v1', formats: '${F}'}]",
    "auth: {mode: '${M}', keys: [{name: a, key_sha256: '${H}'}]}",
]
REFUSED = [
    "workers: many",
    "worker: 1",
    "ops: {token: a, token_file: b}",
    "auth: {keys: [{name: a}]}",
    "auth: {keys: [{name: a, key: b, key_file: c}]}",
    "virtual_keys: [{slug: a}]",
    "providers: [{slug: 'a b'}]",
    "providers: [{slug: a, base_url: 'ftp://x'}]",
    "limits: {formats: []}",
    "timeouts: {connect: 0}",
    "records: {store: mysql://host/db}",
    "records: {retention_days: 0}",
    "records: {transcripts: none}",
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_variables_are_valid_wherever_they_may_stand(text: str) -> None:
    assert valid(parse(text, Ledger()), SCHEMA)


@pytest.mark.parametrize("text", REFUSED)
def test_what_the_loader_refuses_by_shape_the_schema_refuses(text: str) -> None:
    assert not valid(parse(text, Ledger()), SCHEMA)


def test_these_tests_understand_every_word_of_the_schema() -> None:
    words = {word for one in subschemas(SCHEMA) for word in one}
    assert words - _KEYWORDS.keys() - _NOTES - {"$schema", "$defs", "title"} == set()
