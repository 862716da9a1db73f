"""What a target wants changed in the client's form."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

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
