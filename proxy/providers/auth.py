"""How a credential travels: which header it goes into, and what may stand in a header at all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from proxy.errors import GatewayError

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VALUE: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")  # RFC 9110, 5.5, less obs-text: no provider's key holds any


@dataclass(frozen=True, slots=True)
class Auth:
    """A key goes into ``header`` as ``prefix`` + key; without a header, no key is ever sent."""

    header: str | None
    prefix: str = ""

    def headers(self, key: str | None) -> dict[str, str]:
        """Return the header that carries ``key``: empty without a key, or where none is taken.

        Raises GatewayError ``invalid_header`` for a key that cannot stand in a header.
        """
        if not key or self.header is None:
            return {}
        return {self.header: self.prefix + header_value(key, "the provider key")}


BEARER: Final = Auth("Authorization", "Bearer ")
NO_AUTH: Final = Auth(None)


def auth_of(word: str) -> Auth:
    """Read the settings' word: ``bearer``, ``none`` or ``header:NAME``; ValueError for anything else."""
    match word.partition(":"):
        case ("bearer", "", ""):
            return BEARER
        case ("none", "", ""):
            return NO_AUTH
        case ("header", ":", name) if _TOKEN.fullmatch(name):
            return Auth(name)
        case _:
            raise ValueError(f"auth must be bearer, none or header:NAME, not {word[:64]!r}")


def header_value(value: str, what: str) -> str:
    """Return ``value`` when it is printable ASCII with no space around it: nothing that starts another
    header.

    Raises GatewayError ``invalid_header`` that names ``what`` it is and never repeats the value.
    """
    if not _VALUE.fullmatch(value):
        raise GatewayError(
            "invalid_header",
            f"A header cannot carry {what}: it must be printable ASCII with no space around it. "
            "Check how it was copied.",
        )
    return value
