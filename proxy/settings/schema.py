"""The JSON Schema of the settings file as users write it, for editors (draft 2020-12)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxy.settings.fields import items_of, rows_of, secrets_of, section_of
from proxy.settings.model import GatewayKey, Settings

if TYPE_CHECKING:
    from proxy.settings.section import Section

_VARIABLE: Final = r"\$\{"  # text with a variable stands for any value
_A_VARIABLE: Final = {"type": "string", "pattern": _VARIABLE}


def json_schema() -> dict[str, Any]:
    """Return the schema: each key with description and default, ``*_file`` twins too, variables allowed.

    Shape only: what is between keys (a slug given twice, an open gateway on the network) is beyond a schema.
    """
    schema = Settings.model_json_schema()
    for model in _sections(Settings):
        section = schema if model is Settings else schema["$defs"][model.__name__]
        properties = section["properties"]
        for name, field in model.model_fields.items():
            entry = {word: value for word, value in properties[name].items() if word != "title"}
            properties[name] = _with_variables(entry | {"description": field.description})
        for name in secrets_of(model):
            properties[f"{name}_file"] = _file_twin(name)
        section.pop("title", None)
        both = [{"required": [name, f"{name}_file"]} for name in secrets_of(model)]
        if model is GatewayKey:
            section["oneOf"] = [{"required": [name]} for name in ("key", "key_file", "key_sha256")]
        elif both:
            section["not"] = {"anyOf": both}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Audiogate settings",
        **schema,
    }


def _sections(model: type[Section]) -> set[type[Section]]:
    found = {model}
    for field in model.model_fields.values():
        if inner := section_of(field) or items_of(field) or rows_of(field):
            found |= _sections(inner)
    return found


def _file_twin(name: str) -> dict[str, Any]:
    return {
        "type": "string",
        "minLength": 1,
        "description": f"Path of a file that holds {name}; read again when it changes.",
    }


def _with_variables(entry: dict[str, Any]) -> dict[str, Any]:
    """Let ``${NAME}`` stand where a number, a flag or text of a certain form is expected."""
    if "anyOf" in entry:
        kinds = [
            _with_variables(kind) if kind.get("type") in ("string", "array", "object") else kind
            for kind in entry["anyOf"]
        ]
        return entry | {"anyOf": kinds if any(map(_takes_variables, kinds)) else [*kinds, _A_VARIABLE]}
    if "pattern" in entry:
        return entry | {"pattern": f"{_VARIABLE}|{entry['pattern']}"}
    if entry.get("type") in ("integer", "number", "boolean") or "enum" in entry:
        outside = {word: value for word, value in entry.items() if word in ("description", "default")}
        inside = {word: value for word, value in entry.items() if word not in outside}
        return {"anyOf": [inside, _A_VARIABLE], **outside}
    if "items" in entry:
        return entry | {"items": _with_variables(entry["items"])}
    if "patternProperties" in entry:
        free = {key: _with_variables(inner) for key, inner in entry["patternProperties"].items()}
        return entry | {"patternProperties": free}
    return entry


def _takes_variables(kind: dict[str, Any]) -> bool:
    """Tell whether a kind of text lets a variable through: any text, or a form that was widened."""
    return kind.get("type") == "string" and not {"const", "enum"} & kind.keys()
