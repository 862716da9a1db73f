"""What a provider changes in a body: its own quirks laid over the target's ``override_params``."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from proxy.form.edits import Edits, edits_of
from proxy.providers.base import FieldNeeded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.providers.base import Asked
    from proxy.routing.target import Target

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


def merge(first: Edits, then: Edits) -> Edits:
    """Return both edits as one; where they touch the same field, ``then`` wins."""
    replace = {name: values for name, values in first.replace.items() if name not in then.names}
    return Edits(replace={**replace, **then.replace}, drop=(first.drop - then.names) | then.drop)


def form_edits(target: Target, quirks: Edits) -> Edits:
    """Return what changes in a form. Quirks win: without them the provider would do something else."""
    return merge(edits_of(target.override_params), quirks) if target.override_params else quirks


def json_params(target: Target, quirks: Edits) -> Mapping[str, Any]:
    """Return what changes in a JSON body, with the route document's own types; None removes a key."""
    if not target.override_params and not quirks:
        return _NOTHING
    replaced = {name: values[0] if len(values) == 1 else list(values) for name, values in quirks.replace.items()}
    return {**target.override_params, **replaced, **dict.fromkeys(quirks.drop)}


def field_of(name: str, target: Target, asked: Asked) -> str | None:
    """Return the value that field ``name`` will have upstream before quirks, or None when it will have none.

    Raises FieldNeeded while the client may still send it.
    """
    overrides = edits_of(target.override_params)
    if name in overrides.names:
        return next(iter(overrides.replace.get(name, ())), None)
    if name not in asked.fields and not asked.complete:
        raise FieldNeeded(name)
    return asked.fields.get(name)
