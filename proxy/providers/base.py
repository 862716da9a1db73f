"""The words that every provider module speaks."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from proxy.form.edits import Edits

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Route(StrEnum):
    """What a client asked for; also the ``route`` of records and metrics."""

    TRANSCRIPTIONS = "transcriptions"
    TRANSLATIONS = "translations"
    SPEECH = "speech"
    PASSTHROUGH = "passthrough"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a provider may know of a request.

    ``path`` is the raw path after ``/v1``, without the query (``/audio/transcriptions``); ``query`` the raw
    query string without ``?``. ``fields`` holds the form's (or JSON body's) fields seen so far, first value
    of each; ``complete`` says that no more can come.
    """

    route: Route
    path: str
    query: str = ""
    fields: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    complete: bool = False


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A client-credentials grant (RFC 6749, 4.4) whose token becomes the bearer; the relay fetches it."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str


@dataclass(frozen=True, slots=True)
class Outbound:
    """One request as the provider wants it: absolute URL, the provider's own headers, changes to the body.

    ``edits`` apply to a form; ``params`` are the same changes for a JSON body, with their JSON types (None
    removes a key). ``token`` asks for a bearer that must be fetched first.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=lambda: _NOTHING, repr=False)
    edits: Edits = field(default_factory=Edits)
    params: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    token: TokenRequest | None = None


class FieldNeeded(Exception):  # noqa: N818  (not an error: a request for more of the form)
    """The URL or the host hangs on a form field that has not been seen yet and may still come."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name
