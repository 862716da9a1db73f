"""Overrides written as JSON, as the edits of a form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from proxy.errors import GatewayError
from proxy.form.edits import Edits

if TYPE_CHECKING:
    from collections.abc import Mapping


def edits_of(params: Mapping[str, Any]) -> Edits:
    """Return the edits that give a form the values of ``params`` (a config's ``override_params``).

    A list makes a repeated field whose name ends in ``[]``, as OpenAI spells them, and takes the place of the
    client's ``name`` and ``name[]``; ``None`` and an empty list drop both. Raises :class:`GatewayError`
    ``invalid_config`` for ``file`` and for values that are not JSON.
    """
    replace: dict[str, tuple[str, ...]] = {}
    drop: set[str] = set()
    for name, override in params.items():
        if name == "file":
            raise GatewayError(
                "invalid_config",
                "override_params cannot replace 'file'. Remove it from the config.",
                param="config",
            )
        values = _values(name, override)
        bare = name.removesuffix("[]")
        if name != bare or override is None or isinstance(override, list | tuple):
            drop |= {bare, f"{bare}[]"}
            name = f"{bare}[]"  # noqa: PLW2901  (whatever may repeat goes under the spelling that may)
        if values:
            replace[name] = values
    return Edits(replace=replace, drop=frozenset(drop - replace.keys()))


def values_of(override: Any) -> tuple[str, ...]:
    """Return the form values that spell ``override``, a JSON value; none at all for ``None``.

    Strings go as they are, everything else in its JSON spelling; a list gives one value per item. Raises
    ``TypeError`` or ``ValueError`` for what JSON cannot hold.
    """
    if override is None:
        return ()
    if isinstance(override, list | tuple):
        return tuple(_spelled(item) for item in override if item is not None)
    return (_spelled(override),)


def _spelled(value: Any) -> str:
    if isinstance(value, str):
        value.encode("utf-8")  # JSON's \ud800 escapes make strings that no form can carry
        return value
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _values(name: str, override: Any) -> tuple[str, ...]:
    try:
        name.encode("utf-8")
        return values_of(override)
    except (TypeError, ValueError):
        raise GatewayError(
            "invalid_config",
            "override_params holds a value that no form can carry. Use strings, numbers, true, false or lists.",
            param="config",
        ) from None
