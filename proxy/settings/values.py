"""The kinds of values that settings hold, each with the words for what it must be.

A kind is an ``Annotated`` type. Its error says ``must be …``; kinds that may hold a secret never repeat what
was given.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SecretStr,
    Strict,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError, core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler

_WEEK: Final = 7 * 24 * 3600.0  # seconds: longer than this is meant as "none", which null says
_PEBIBYTE: Final = 2**50  # bytes: no body, file or disk share is larger; keeps sums inside 64 bits
_SECRET_LENGTH: Final = 8000  # characters: a header line that common servers still accept (nginx: 8 KiB)

_HEADER_TEXT: Final = re.compile(r"[!-~\xa1-\xff](?:[ -~\xa0-\xff]*[!-~\xa1-\xff])?")
_HOST: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]{2,45}\]"
_URL: Final = re.compile(
    rf"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{{0,31}})://(?P<host>{_HOST})(?::(?P<port>\d{{1,5}}))?(?P<path>/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?"
)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Must:
    """Words for every way a value can be wrong: ``must be {phrase}``.

    ``echo`` lets the message repeat the value that was given; off wherever that could be a secret.
    """

    phrase: str
    echo: bool = True

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.custom_error_schema(
            handler(source),
            custom_error_type="must",
            custom_error_message="must be {phrase}",
            custom_error_context={"phrase": self.phrase, "echo": int(self.echo)},
        )


def rule(message: str) -> PydanticCustomError:
    """Return the error for a value that is wrong in a way that deserves its own words."""
    return PydanticCustomError("rule", "{message}", {"message": message})


# --- addresses and URLs ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener binds: ``HOST:PORT``, ``[IPv6]:PORT`` or ``:PORT``.

    ``host`` is empty for all interfaces; port 0 lets the system choose.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``text``; raises ValueError."""
        host, colon, port = text.rpartition(":")
        if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
            raise ValueError(text)
        if host.startswith("[") and host.endswith("]"):
            ipaddress.IPv6Address(host[1:-1])
            return cls(host[1:-1].lower(), int(port))
        if host and not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", host):
            raise ValueError(text)
        return cls(host.lower(), int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it: ``localhost``, 127.0.0.0/8 or ::1. No other name counts."""
        if self.host == "localhost":
            return True
        try:
            ip = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        from_text = core_schema.no_info_after_validator_function(cls.parse, core_schema.str_schema(strict=True))
        return core_schema.custom_error_schema(
            from_text,
            custom_error_type="must",
            custom_error_message="must be {phrase}",
            custom_error_context={"phrase": "HOST:PORT, [IPv6]:PORT or :PORT", "echo": 1},
            serialization=core_schema.to_string_ser_schema(),
        )


def split_url(text: str) -> re.Match[str] | None:
    """Split an absolute URL into ``scheme``, ``host``, ``port``, ``path``; None for what is not plainly one.

    Stricter than RFC 3986 on purpose: ASCII only, and a host that ends in a number must be a real IPv4
    address, since resolvers read ``127.1`` and ``0x7f.1`` as one.
    """
    found = _URL.fullmatch(text)
    if not found or not 0 < int(found["port"] or 1) <= 65535:
        return None
    host = found["host"]
    try:
        if host.startswith("["):
            ipaddress.IPv6Address(host[1:-1])
        elif re.fullmatch(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)", host):
            ipaddress.IPv4Address(host)
    except ValueError:
        return None
    return found


def _authority(found: re.Match[str]) -> str:
    """Return ``scheme://host[:port]`` in lower case, without the scheme's default port."""
    scheme, host, port = found["scheme"].lower(), found["host"].lower(), found["port"]
    if host.startswith("["):
        host = f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
    return (
        f"{scheme}://{host}"
        if not port or int(port) == _DEFAULT_PORTS.get(scheme)
        else f"{scheme}://{host}:{int(port)}"
    )


def _base_url(text: str) -> str:
    if "@" in text.partition("://")[2].partition("/")[0]:
        raise rule("must not hold a user name or password; put the credential into a virtual key")
    if "?" in text or "#" in text:
        raise rule("must not have a query or a fragment")
    found = split_url(text)
    if not found or found["scheme"].lower() not in _DEFAULT_PORTS:
        raise rule("must be an http:// or https:// URL, like https://stt.example.com/v1")
    return (_authority(found) + (found["path"] or "")).rstrip("/")


def _origin(text: str) -> str:
    found = split_url(text)
    if not found or found["path"] not in (None, "/"):
        raise rule("must be an origin without a path, like https://app.example.com or http://10.0.3.7:9000")
    return _authority(found)


def _http_origin(text: str) -> str:
    origin = _origin(text)
    if not origin.startswith(("http://", "https://")):
        raise rule("must be an http:// or https:// origin, like https://stt.example.com")
    return origin


def _host_name(text: str) -> str:
    name = text.lower().rstrip(".")
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", name):
        raise rule("must be a host name alone, without scheme, port or path, like gateway.example.com")
    return name


def _label(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError
    return text


def _not_empty(value: Any) -> Any:
    if value == "":  # pathlib takes it for the working directory
        raise ValueError
    return value


def _some(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise rule("must not be empty")
    return values


READ_AGAIN: Final = object()
"""Marks the path of a file that is looked at with the settings: it has to be readable, and its changes are theirs."""


def _for_editors(pattern: str) -> WithJsonSchema:
    """Return a coarse pattern for the schema; the validator beside it is exact and explains itself."""
    return WithJsonSchema({"type": "string", "pattern": pattern})


BaseUrl = Annotated[str, Strict(), AfterValidator(_base_url), _for_editors(r"^[Hh][Tt][Tt][Pp][Ss]?://[^@?#\s]+$")]
HttpOrigin = Annotated[
    str, Strict(), AfterValidator(_http_origin), _for_editors(r"^[Hh][Tt][Tt][Pp][Ss]?://[^@/?#\s]+/?$")
]
# Any scheme: browser extensions and app shells have their own.
BrowserOrigin = Annotated[
    str, Strict(), AfterValidator(_origin), _for_editors(r"^[A-Za-z][A-Za-z0-9+.-]*://[^@/?#\s]+/?$")
]
HostName = Annotated[str, Strict(), AfterValidator(_host_name), _for_editors(r"^[A-Za-z0-9.-]+$")]

# --- names and words ------------------------------------------------------------------------------

Slug = Annotated[
    str,
    Strict(),
    Field(pattern=r"^[A-Za-z0-9._-]{1,64}$"),
    Must("1 to 64 letters, digits, '.', '_' or '-'", echo=False),
]
Label = Annotated[
    str,
    Strict(),
    Field(min_length=1, max_length=100),
    AfterValidator(_label),
    Must("text of 1 to 100 printable characters", echo=False),
]
Text = Annotated[
    str,
    Strict(),
    Field(pattern=r"^[!-~]{1,512}$"),
    Must("text of 1 to 512 ASCII characters without spaces", echo=False),
]
AuthScheme = Annotated[
    str,
    Strict(),
    Field(pattern=r"^(bearer|none|header:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64})$"),
    Must("bearer, none or header:NAME", echo=False),
]
_FORMAT: Final = r"^[a-z0-9]{1,16}$"
Format = Annotated[
    str,
    Strict(),
    Field(pattern=_FORMAT),
    Must("a file format like mp3: 1 to 16 lower-case letters or digits", echo=False),
]
Formats = Annotated[
    tuple[Format, ...],
    AfterValidator(_some),
    WithJsonSchema({"type": "array", "minItems": 1, "items": {"type": "string", "pattern": _FORMAT}}),
]
FormatsOrAny = Annotated[Literal["any"] | Formats, Must("any, or a list of file formats like [mp3, wav]", echo=False)]
Directory = Annotated[Path, BeforeValidator(_not_empty), Must("the path of a directory", echo=False)]
PemPath = Annotated[Path, BeforeValidator(_not_empty), Must("the path of a PEM file", echo=False), READ_AGAIN]
Scalar = Annotated[str | int | float | bool, Must("text, a number, true or false", echo=False)]

# --- numbers --------------------------------------------------------------------------------------

Flag = Annotated[bool, Strict(), Must("true or false")]


def whole(low: int, high: int) -> tuple[Any, ...]:
    """Return the constraints of a whole number from ``low`` to ``high``; unpack them into ``Annotated``."""
    return (Strict(), Field(ge=low, le=high), Must(f"a whole number from {low} to {high}"))


Count = Annotated[int, *whole(1, 1_000_000)]  # things held in memory at once: a million is beyond one process
Bytes = Annotated[int, Strict(), Field(ge=1, le=_PEBIBYTE), Must("a whole number of bytes, 1 or more")]
BytesOrNone = Annotated[Bytes | None, Must("a whole number of bytes, 1 or more, or null")]
BytesOrZero = Annotated[int, Strict(), Field(ge=0, le=_PEBIBYTE), Must("a whole number of bytes, 0 or more")]
Seconds = Annotated[
    float, Strict(), Field(ge=0, le=_WEEK, allow_inf_nan=False), Must("a number of seconds from 0 to 604800")
]
Days = Annotated[
    Annotated[int, Strict(), Field(ge=1, le=36_500)] | None,
    Must("a whole number of days from 1 to 36500, or null to keep all"),
]
# Zero would mean "at once" to one library and "never" to another: null says "none", and zero is refused.
Timeout = Annotated[
    Annotated[float, Strict(), Field(gt=0, le=_WEEK, allow_inf_nan=False)] | None,
    Must("a number of seconds above 0, up to 604800, or null for none"),
]
KeepAlive = Annotated[
    Annotated[float, Strict(), Field(ge=0, le=_WEEK, allow_inf_nan=False)] | None,
    Must("a number of seconds from 0 to 604800, or null for none"),
]

# --- prices ---------------------------------------------------------------------------------------

_DECIMAL: Final = r"^[0-9]{1,12}(?:\.[0-9]{1,18})?(?:[eE]-?[0-9]{1,2})?$"  # 30 digits: a price has not half as many


def _exact(value: Any) -> Decimal:
    """Return the number as it was written; the shortest text that means a float is that, to fifteen digits."""
    if isinstance(value, str) and re.fullmatch(_DECIMAL, value):
        return Decimal(value)
    if isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    return Decimal(repr(value))


def _decimals(most: int) -> tuple[Any, ...]:
    """Return the constraints of an exact number from 0 to ``most``; unpack them into ``Annotated``."""
    number = {"type": "number", "minimum": 0, "maximum": most}
    return (
        BeforeValidator(_exact),
        Field(ge=0, le=most, allow_inf_nan=False),
        PlainSerializer(lambda number: f"{number:f}", return_type=str, when_used="json-unless-none"),
        WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": _DECIMAL}]}),
    )


def _iso_date(text: str) -> str:
    date.fromisoformat(text)
    return text


# More than a thousand dollars, or a day, is a unit mistaken for another.
Money = Annotated[Decimal, *_decimals(1000), Must("a number of US dollars from 0 to 1000")]
Duration = Annotated[Decimal, *_decimals(86_400), Must("a number of seconds from 0 to 86400")]
IsoDate = Annotated[
    str,
    Strict(),
    Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
    AfterValidator(_iso_date),
    Must("a date like 2027-02-26"),
]
ModelName = Annotated[
    str,
    Strict(),
    Field(min_length=1, max_length=200),
    AfterValidator(_label),
    Must("a model's name of 1 to 200 printable characters, or '*' for every other"),
]

# --- secrets --------------------------------------------------------------------------------------

HEADER_SAFE: Final = "text that a header can carry: Latin-1, one line, no spaces around it, up to 8000 characters"


def is_header_safe(text: str) -> bool:
    """Tell whether ``text`` can be a header's value (RFC 9110 section 5.5) and arrive unchanged."""
    return len(text) <= _SECRET_LENGTH and _HEADER_TEXT.fullmatch(text) is not None


def _secret(value: SecretStr) -> SecretStr:
    if not is_header_safe(value.get_secret_value()):
        raise ValueError
    return value


Secret = Annotated[
    SecretStr,
    AfterValidator(_secret),
    Must(HEADER_SAFE, echo=False),
    PlainSerializer(lambda _: "***", return_type=str, when_used="json"),
]
Sha256 = Annotated[
    str,
    Strict(),
    Field(pattern=r"^[0-9A-Fa-f]{64}$"),
    AfterValidator(str.lower),
    Must("the key's SHA-256 as 64 hexadecimal digits", echo=False),
    PlainSerializer(lambda _: "***", return_type=str, when_used="json"),
]
Document = Annotated[Mapping[str, Any], Must("a config document: a mapping", echo=False)]
