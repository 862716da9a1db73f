"""What a target wants changed in the client's form, and how overrides written as JSON become that."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from proxy.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NONE: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Edits:
    """Fields to replace and to drop.

    ``replace`` maps a field's name to the values that take the place of all of the client's parts of that
    name (added when there were none); ``drop`` names fields that do not cross. The file part is never edited.
    """

    replace: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NONE)
    drop: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.replace or self.drop)

    @property
    def names(self) -> frozenset[str]:
        """Every field name that these edits touch."""
        return self.drop | self.replace.keys()


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
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)
    text.encode("utf-8")  # JSON's \ud800 escapes make strings that no form can carry
    return text


def _values(name: str, override: Any) -> tuple[str, ...]:
    try:
        name.encode("utf-8")
        return values_of(override)
    except (TypeError, ValueError):
        raise GatewayError(
            "invalid_config",
            "override_params holds what no form can carry. Use strings, numbers, true, false or lists.",
            param="config",
        ) from None
