"""What is wrong with the settings, and where: all mistakes of a load are collected and reported at once."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from proxy.settings.model import Settings

Where = tuple[str | int, ...]
"""A place in the settings as steps: keys and list indices. Empty: the file as a whole."""

VARIABLES: Final = "AUDIOGATE_"
"""How variables of the environment begin that are settings."""

_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHOWN_KEY: Final = 40  # characters of an odd key in a message: enough to find it, still one line
_NEAR: Final = 0.75  # a slip of the finger scores higher; two different words of the domain score lower
_NEAR_SHORT: Final = 0.66  # up to four letters: two of them swapped score 0.67


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake: ``path`` like ``virtual_keys[0].key_file`` (empty: the file), and one plain line."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class SettingsError(Exception):
    """Settings that cannot be used.

    ``mistakes`` is never empty. ``files`` and ``fingerprint`` are as in :class:`~proxy.settings.load.Loaded`,
    so that a reload that was refused can be tried again when one of the files changes, and only then.
    ``partial`` are the settings without the keys at fault, if that leaves any: good for looking up the names in
    them, so that those mistakes can be told at the same time, and for nothing else.
    """

    def __init__(
        self,
        mistakes: tuple[Mistake, ...],
        *,
        files: tuple[Path, ...] = (),
        fingerprint: str = "",
        partial: Settings | None = None,
    ) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes
        self.files = files
        self.fingerprint = fingerprint
        self.partial = partial


class Ledger:
    """Collects mistakes, each consequence of an earlier one left out.

    A place is *spoiled* when its value could not even be learnt (an unset variable, an unreadable file).
    Whatever the models and rules say about a spoiled place, or about the section it should have completed, is
    only an echo.

    ``origins`` says which variable or flag gave the value at a place, where it was not the file's own text.
    Such values are never repeated in a message: a variable may hold a secret that landed in the wrong key.
    """

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []
        self.places: list[Where] = []
        self.origins: dict[Where, str] = {}
        self._spoiled: set[Where] = set()
        self._above_spoiled: set[Where] = set()

    def add(self, where: Where, message: str) -> None:
        """Report a mistake, naming the variable or flag it came from."""
        origin = self.origin(where)
        self.places.append(where)
        self.mistakes.append(Mistake(dotted(where), f"{message} (in {origin})" if origin else message))

    def spoil(self, where: Where, message: str) -> None:
        """Report a mistake that leaves no value at ``where``."""
        self.places.append(where)
        self.mistakes.append(Mistake(dotted(where), message))
        self._spoiled.add(where)
        self._above_spoiled |= {where[:n] for n in range(len(where))}

    def is_spoiled(self, where: Where) -> bool:
        """Tell whether no value could be learnt at exactly this place."""
        return where in self._spoiled

    def echoes(self, where: Where) -> bool:
        """Tell whether a mistake at ``where`` would only follow from a spoiled value."""
        return where in self._above_spoiled or any(where[:n] in self._spoiled for n in range(len(where) + 1))

    def origin(self, where: Where) -> str | None:
        """Return the variable or flag that gave the value at ``where`` or the list around it."""
        return next((self.origins[where[:n]] for n in range(len(where), 0, -1) if where[:n] in self.origins), None)

    def is_outside(self, where: Where) -> bool:
        """Tell whether a variable of the environment or a flag, not the file, gave the value at ``where``."""
        return (self.origin(where) or "").startswith((VARIABLES, "--"))

    def replace_origins(self, layer: Mapping[Where, str]) -> None:
        """Let a stronger layer's values take the place of what lay at and below them."""
        self.origins = {
            place: origin
            for place, origin in self.origins.items()
            if not any(place[: len(over)] == over for over in layer)
        } | dict(layer)


def dotted(where: Where) -> str:
    """Write a place as users read it: ``auth.keys[1].name``; a key that is no plain word is quoted, cut."""
    path = ""
    for step in where:
        if isinstance(step, int):
            path += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            path += f".{step}" if path else step
        else:
            path += f"[{step[:_SHOWN_KEY]!a}]"
    return path


def did_you_mean(word: str, known: Iterable[str], *, near: float | None = None) -> str:
    """Return ``; did you mean 'connect'?`` for the nearest known word, or nothing when none is near.

    ``near`` is the least likeness to be suggested, from 0 to 1 (``difflib``'s ratio).
    """
    cutoff = near or (_NEAR if len(word) > 4 else _NEAR_SHORT)
    nearest = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f"; did you mean '{nearest[0]}'?" if nearest else ""
