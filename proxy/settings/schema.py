"""The JSON Schema of the settings file as users write it, for editors (draft 2020-12)."""

from __future__ import annotations

from typing import Any, Final

from proxy.settings.fields import items_of, secrets_of, section_of
from proxy.settings.model import GatewayKey, Section, Settings

_VARIABLE: Final = r"\$\{"  # text with a variable stands for any value


def json_schema() -> dict[str, Any]:
    """Return the schema: each key with description and default, ``*_file`` twins too, variables allowed.

    Shape only: what is between keys (a slug given twice, an open gateway on the network) is beyond a schema.
    """
    schema = Settings.model_json_schema()
    for model in _sections(Settings):
        section = schema if model is Settings else schema["$defs"][model.__name__]
        properties = section["properties"]
        for name, entry in properties.items():
            properties[name] = _with_variables({key: entry[key] for key in entry if key != "title"})
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
        if inner := section_of(field) or items_of(field):
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
    if "pattern" in entry:
        return entry | {"pattern": f"{_VARIABLE}|{entry['pattern']}"}
    if entry.get("type") in ("integer", "number", "boolean") or "enum" in entry:
        outside = {key: value for key, value in entry.items() if key in ("description", "default")}
        inside = {key: value for key, value in entry.items() if key not in outside}
        return {"anyOf": [inside, {"type": "string", "pattern": _VARIABLE}], **outside}
    if "anyOf" in entry:
        kinds = [_with_variables(kind) if "pattern" in kind else kind for kind in entry["anyOf"]]
        if not any(kind.get("type") == "string" for kind in kinds):
            kinds.append({"type": "string", "pattern": _VARIABLE})
        return entry | {"anyOf": kinds}
    if "items" in entry and "pattern" in entry["items"]:
        return entry | {"items": _with_variables(entry["items"])}
    return entry
