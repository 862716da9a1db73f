"""From what was written to what is meant: unknown keys refused, secrets fetched, text read as values.

Works on the plain tree, guided by the models, before pydantic sees it. Afterwards a tree holds only declared
keys.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from proxy.settings.environment import read
from proxy.settings.fields import (
    is_container,
    is_flag,
    is_nullable,
    items_of,
    keys_of,
    rows_of,
    secrets_of,
    section_of,
    takes_text,
    watched_of,
)
from proxy.settings.files import Files, Unreadable
from proxy.settings.mistakes import Ledger, Where, did_you_mean
from proxy.settings.model import Config, Settings
from proxy.settings.pricing import read_prices
from proxy.settings.values import HEADER_SAFE, is_header_safe

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from proxy.settings.section import Section

# What YAML 1.1 taught people to write.
_FLAG_WORDS: Final = {"yes": True, "on": True, "no": False, "off": False}

# Secrets inside a config document; each may be given as NAME_file there too.
_DOCUMENT_SECRETS: Final = frozenset({"api_key", "azure_ad_token", "azure_entra_client_secret"})
_DOCUMENT_TWINS: Final = frozenset(f"{name}_file" for name in _DOCUMENT_SECRETS)
_FORM_FIELDS: Final = "override_params"  # the client's own names: nothing in there is ours to read


class Resolver:
    """Resolves one tree. ``folder`` is where relative paths of the settings file start."""

    def __init__(self, ledger: Ledger, files: Files, folder: Path) -> None:
        self._ledger = ledger
        self._files = files
        self._folder = folder

    def resolve(self, tree: Any) -> dict[str, Any]:
        """Return the tree that the models are to validate; what is wrong with it is in the ledger."""
        if tree is not None and not isinstance(tree, dict):
            self._ledger.spoil((), "must be a mapping of settings, like 'listen: 127.0.0.1:8787'")
            return {}
        resolved: dict[str, Any] = self._section(Settings, tree or {}, ())
        return resolved

    def _section(self, model: type[Section], tree: Any, at: Where) -> Any:
        if not isinstance(tree, dict):
            return tree
        known = keys_of(model)
        resolved: dict[str, Any] = {}
        for key, value in tree.items():
            where = (*at, key)
            if key not in known:
                self._ledger.add(where, f"unknown key{did_you_mean(key, known)}")
            elif (field := model.model_fields.get(key)) and not self._ledger.is_spoiled(where):
                if value is None and is_container(field) and not is_nullable(field):
                    continue  # "limits:" with every line below it commented out
                resolved[key] = self._value(field, value, where)
        if model is Config:
            return self._document(resolved, at)
        if model is Settings:
            self._read_prices(resolved)
        for name in secrets_of(model):
            self._fetch(name, tree, resolved, at)
        for name in watched_of(model):
            self._watch(name, resolved, at)
        return resolved

    def _value(self, field: FieldInfo, value: Any, at: Where) -> Any:
        if isinstance(value, str):
            value = self._from_text(field, value, at)
        if section := section_of(field):
            return self._section(section, value, at)
        if (item := items_of(field)) and isinstance(value, list):
            return [self._section(item, entry, (*at, n)) for n, entry in enumerate(value)]
        if (row := rows_of(field)) and isinstance(value, dict):
            return {name: self._section(row, entry, (*at, name)) for name, entry in value.items()}
        return value

    def _from_text(self, field: FieldInfo, text: str, at: Where) -> Any:
        origin = self._ledger.origin(at)
        if takes_text(field):
            return None if origin and text == "null" and is_nullable(field) else text
        value = read(text, field, at, self._ledger, origin or "the text given")
        return _FLAG_WORDS.get(str(value).lower(), value) if is_flag(field) else value

    def _fetch(self, name: str, tree: dict[str, Any], resolved: dict[str, Any], at: Where) -> None:
        """Put the text of ``NAME_file`` at ``NAME``."""
        where = (*at, f"{name}_file")
        named = tree.get(f"{name}_file")
        if named is None:
            return
        resolved.pop(name, None)
        if tree.get(name) is not None:
            self._ledger.spoil(where, f"{name} is given too; keep one of the two")
        elif not isinstance(named, str) or not named:
            self._ledger.spoil(where, "must be the path of a file")
        else:
            try:
                text = self._files.read(self._path(named, where)).rstrip("\r\n")
            except Unreadable as problem:
                self._ledger.spoil(where, f"the file {problem}")
                return
            if not text:
                self._ledger.spoil(where, "the file is empty")
            elif not is_header_safe(text):
                self._ledger.spoil(where, f"the file must hold {HEADER_SAFE}")
            else:
                resolved[name] = text

    def _read_prices(self, resolved: dict[str, Any]) -> None:
        """Put the prices in place of their file's path."""
        named, where = resolved.get("prices"), ("prices",)
        if not isinstance(named, str) or not named:
            return
        del resolved["prices"]
        try:
            text = self._files.read(self._path(named, where))
        except Unreadable as problem:
            self._ledger.spoil(where, f"the file {problem}")
            return
        prices, mistakes = read_prices(named, text)
        for mistake in mistakes:
            self._ledger.spoil(where, mistake)
        if not mistakes:
            resolved["prices"] = prices

    def _watch(self, name: str, resolved: dict[str, Any], at: Where) -> None:
        """Complete the path of a file that others read, and see that they can."""
        named, where = resolved.get(name), (*at, name)
        if not isinstance(named, str) or not named:
            return
        if "-----BEGIN" in named:
            self._ledger.spoil(where, "must be the path of a file, not what is in it")
            return
        path = self._path(named, where)
        try:
            self._files.watch(path)
        except Unreadable as problem:
            self._ledger.spoil(where, f"the file {problem}")
        else:
            resolved[name] = str(path)

    def _path(self, named: str, at: Where) -> Path:
        """Start a relative path at the settings file's folder, or from a variable or flag, where we run."""
        return Path(named) if self._ledger.is_outside(at) else self._folder / named

    def _document(self, value: Any, at: Where) -> Any:
        """Return a config document with its secrets fetched and checked."""
        if isinstance(value, list):
            return [self._document(entry, (*at, n)) for n, entry in enumerate(value)]
        if not isinstance(value, dict):
            return value
        resolved = {
            key: inner if key == _FORM_FIELDS else self._document(inner, (*at, key))
            for key, inner in value.items()
            if key not in _DOCUMENT_TWINS
        }
        for name in sorted(_DOCUMENT_SECRETS):
            self._fetch(name, value, resolved, at)
            secret = resolved.get(name)
            if isinstance(secret, str) and secret and not is_header_safe(secret):
                self._ledger.add((*at, name), f"must be {HEADER_SAFE}")
        return resolved
