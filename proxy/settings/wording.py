"""Pydantic's errors in our own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_SHOWN_VALUE: Final = 24  # characters of a wrong value in a message: longer than words, shorter than keys
_WORDS: Final = {
    "missing": "is required",
    "model_type": "must be a mapping of keys",
    "mapping_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "tuple_type": "must be a list",
    "string_type": "must be text; put it in quotes",
}


def message(detail: ErrorDetails, origin: str | None) -> str:
    """Put pydantic's error into our words; a value is repeated only where it cannot be a secret."""
    context = detail.get("ctx", {})
    if detail["type"] == "must" and context["echo"] and not origin:
        return f"must be {context['phrase']}, not {_shown(detail['input'])}"
    if detail["type"] == "must":
        return f"must be {context['phrase']}"
    return _WORDS.get(detail["type"], detail["msg"])


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = ascii(value)
    return text if len(text) <= _SHOWN_VALUE else "this text"
