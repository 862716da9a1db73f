"""Where records are kept, as the settings say it: a file of SQLite's, a PostgreSQL server, or nowhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import unquote

from pydantic_core import core_schema

from proxy.settings.values import rule

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler

    from proxy.settings.mistakes import Ledger, Where

StoreKind = Literal["sqlite", "postgresql", "none"]

PLACE: Final[Where] = ("records", "store")
_FILE: Final = "sqlite:"
_SERVER: Final = re.compile(r"postgres(?:ql)?://")
_MUST: Final = "must be sqlite:PATH, postgresql://USER:PASSWORD@HOST/DATABASE or none"
_LONGEST: Final = 4096  # characters: the longest path that Linux opens
_PARAMETER: Final = re.compile(r"(?<=[?&])([a-z_]*pass(?:word|wd)?)=([^&#\s]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """A store's address. As text, it shows no password.

    ``text`` is as it was written, ``path`` where a file is once relative paths have their start; ``named``: somebody
    asked for this store, so that a gateway that cannot open it must not run without.
    """

    text: str = field(repr=False)
    path: Path | None = field(default=None, compare=False)
    named: bool = field(default=False, compare=False)

    @classmethod
    def parse(cls, given: object) -> StoreUrl:
        """Return the address that ``given`` is or means. Raises pydantic's error, which repeats nothing of it."""
        if isinstance(given, cls):
            return given
        if not isinstance(given, str) or len(given) > _LONGEST or not given.isprintable():
            raise rule(_MUST)
        if given == "none":
            return cls(given)
        if given.startswith(_FILE):
            return cls(given, _path(given.removeprefix(_FILE)))
        if _SERVER.match(given) and " " not in given:
            return cls(given)
        raise rule(_MUST)

    def starting_at(self, folder: Path) -> StoreUrl:
        """Return the same address with a relative path starting at ``folder``."""
        return self if self.path is None else replace(self, path=folder / self.path)

    def as_named(self) -> StoreUrl:
        """Return the same address as one that somebody asked for."""
        return replace(self, named=True)

    @property
    def kind(self) -> StoreKind:
        """Which kind of store it is."""
        return "none" if self.text == "none" else "sqlite" if self.path is not None else "postgresql"

    @property
    def url(self) -> str:
        """The address to open, secrets included; ``none`` for none."""
        return self.text if self.path is None else f"{_FILE}{self.path}"

    @property
    def passwords(self) -> tuple[str, ...]:
        """Every password in it, as written and as meant."""
        if self.kind != "postgresql":
            return ()
        written = [_user(self.text).partition(":")[2], *(found[2] for found in _PARAMETER.finditer(self.text))]
        return tuple(dict.fromkeys(word for text in written for word in (text, unquote(text)) if word))

    def __str__(self) -> str:
        if self.kind != "postgresql":
            return self.text
        scheme, _, rest = self.text.partition("://")
        user = _user(self.text)
        shown = f"{scheme}://***{rest.removeprefix(user)}" if user else self.text
        return _PARAMETER.sub(r"\1=***", shown)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema(when_used="json")
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "pattern": rf"^(?:{_FILE}.+|{_SERVER.pattern}.+|none)$"}


DEFAULT: Final = StoreUrl("sqlite:audiogate.db", Path("audiogate.db"))


def place_store(tree: dict[str, Any], ledger: Ledger, folder: Path) -> dict[str, Any]:
    """Return a resolved tree whose store knows where its file is, and whether somebody named it.

    A relative path starts at ``folder``, the settings file's, or from a variable or flag, where we run. What is wrong
    with the address is left to the models to say.
    """
    records = tree.get("records", {})
    if not isinstance(records, dict) or ledger.echoes(PLACE):
        return tree
    store: Any = DEFAULT.starting_at(folder)
    if "store" in records:
        try:
            store = StoreUrl.parse(records["store"]).as_named()
        except ValueError:
            return tree
        if not ledger.is_outside(PLACE):
            store = store.starting_at(folder)
    return {**tree, "records": {**records, "store": store}}


def _path(text: str) -> Path:
    if not text or text == ":memory:":
        raise rule("must name a file after sqlite:, like sqlite:audiogate.db")
    if text.startswith("//"):
        raise rule("must be sqlite:PATH, without slashes before the path; an absolute one has its own")
    return Path(text)


def _user(text: str) -> str:
    """Return user and password of a server's address, whatever characters they left unescaped."""
    rest = text.partition("://")[2]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return (authority if "@" in authority else rest).rpartition("@")[0]
