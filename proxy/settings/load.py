"""Loads the settings: file, environment and flags in, one frozen `Settings` or every mistake at once out.

Flags beat environment, environment beats file, file beats defaults. The steps, each with a module of its own:
the file's text becomes a plain tree (``document``), variables are filled in and laid over it
(``environment``), secrets are fetched and text is read (``resolve``), the models validate (``model``,
``values``), and the rules between keys are checked (``rules``).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from proxy.settings.document import DocumentError, parse
from proxy.settings.environment import CONFIG_VARIABLE, from_flags, interpolate, merge, overlay
from proxy.settings.files import Files, Unreadable
from proxy.settings.mistakes import Ledger, SettingsError
from proxy.settings.model import Settings
from proxy.settings.resolve import Resolver
from proxy.settings.rules import broken_rules
from proxy.settings.store import place_store
from proxy.settings.wording import message

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from proxy.settings.mistakes import Where


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and what they were read from.

    ``files`` are the settings file and every secret's file, absolute; ``fingerprint`` is a digest of their
    contents: when :func:`~proxy.settings.files.fingerprint` of ``files`` no longer equals it, load anew.
    """

    settings: Settings
    files: tuple[Path, ...]
    fingerprint: str


def load(path: str | None, *, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Loaded:
    """Load the settings from the file at ``path``, else the one ``AUDIOGATE_CONFIG`` names, else from none.

    ``flags`` maps dotted paths to values (``{"ops.listen": ":9000"}``); None stands for a flag that was not
    given. Raises :class:`SettingsError` with all mistakes.
    """
    ledger, files = Ledger(), Files()
    path = path or environ.get(CONFIG_VARIABLE) or None
    tree = interpolate(_read_file(path, ledger, files), environ, ledger)
    for layer, origins in (overlay(environ, ledger), from_flags(flags, ledger)):
        tree = merge(tree, layer)
        ledger.replace_origins(origins)
    folder = Path(path).absolute().parent if path else Path.cwd()
    tree = place_store(Resolver(ledger, files, folder).resolve(tree), ledger, folder)
    settings = _validate(tree, ledger)
    for where, problem in broken_rules(tree):
        if not ledger.echoes(where):
            ledger.add(where, problem)
    if ledger.mistakes or settings is None:
        raise SettingsError(
            tuple(ledger.mistakes),
            files=files.watched,
            fingerprint=files.fingerprint,
            partial=_without(tree, ledger.places),
        )
    return Loaded(settings, files.watched, files.fingerprint)


def _without(tree: dict[str, Any], places: Iterable[Where]) -> Settings | None:
    """Return the settings without the keys at ``places``, or None when that is not enough to make them valid."""
    pruned = copy.deepcopy(tree)
    for where in places:
        inner: Any = pruned
        try:
            for step in where[:-1]:
                inner = inner[step]
            inner.pop(where[-1], None)
        except (AttributeError, IndexError, KeyError, TypeError):
            continue
    try:
        return Settings.model_validate(pruned)
    except ValidationError:
        return None


def _read_file(path: str | None, ledger: Ledger, files: Files) -> Any:
    if path is None:
        return None
    try:
        return parse(files.read(Path(path)), ledger)
    except (Unreadable, DocumentError) as problem:
        ledger.spoil((), str(problem))
        return None


def _validate(tree: dict[str, Any], ledger: Ledger) -> Settings | None:
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            where = tuple(step for step in detail["loc"] if step != "[key]")
            if not ledger.echoes(where):
                ledger.add(where, message(detail, ledger.origin(where)))
        return None
