"""The guard of the labels that a client can fill: as many values as somebody reads, and ``_other`` for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.records.catalogue import NONE, OTHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_LONGEST: Final = 100  # characters of a value that a client makes up: models have shorter names
_PAIRS: Final = 4  # providers to a model, on average: a pair has some sixty series


class Guard:
    """Lets values of one label pass: ``known`` ones, then the first ``most`` others.

    Everything else becomes ``_other``, and ``folded`` is told. Nothing at all is ``_none``.
    """

    def __init__(self, known: Iterable[str], most: int, folded: Callable[[], None]) -> None:
        self._passed: dict[str | None, str] = {None: NONE, "": NONE, NONE: NONE, OTHER: OTHER} | {
            value: value for value in known
        }
        self._left = most
        self._folded = folded

    def admit(self, known: Iterable[str]) -> None:
        """Let ``known`` values pass too."""
        self._passed.update((value, value) for value in known)

    def __call__(self, value: str | None) -> str:
        """Return what the label shows for ``value``."""
        found = self._passed.get(value)
        return found if found is not None else self._look(value)

    def _look(self, value: str | None) -> str:
        if value is None or not self._left or len(value) > _LONGEST:
            self._folded()
            return OTHER
        self._left -= 1
        self._passed[value] = value
        return value


class Pairs:
    """Lets pairs of provider and model pass, each of them past its guard first.

    Without this a caller who may name any provider could fill the product of both sets. Of a pair too many the model
    becomes ``_other``.
    """

    def __init__(self, providers: Guard, models: Guard, most_models: int, folded: Callable[[], None]) -> None:
        self.provider = providers
        self._model = models
        self._passed: dict[tuple[str, str], tuple[str, str]] = {}
        self._left = most_models * _PAIRS
        self._folded = folded

    def admit(self, providers: Iterable[str], models: Iterable[str]) -> None:
        """Let every one of ``providers`` pass with every one of ``models``."""
        known = tuple(models)
        self._passed.update(((provider, model), (provider, model)) for provider in providers for model in known)

    def __call__(self, provider: str | None, model: str | None) -> tuple[str, str]:
        """Return what the labels ``provider`` and ``model`` show."""
        pair = self.provider(provider), self._model(model)
        found = self._passed.get(pair)
        return found if found is not None else self._look(pair)

    def _look(self, pair: tuple[str, str]) -> tuple[str, str]:
        if pair[1] in {OTHER, NONE}:  # at most two for each provider
            self._passed[pair] = pair
        elif self._left:
            self._left -= 1
            self._passed[pair] = pair
        else:
            self._folded()
            return pair[0], OTHER
        return pair
