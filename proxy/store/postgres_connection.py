"""How a store reaches PostgreSQL, and what is said when it cannot: one line, and never a password."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import asyncpg

from proxy.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTING: Final = 5.0  # seconds: a server in the same region answers in a hundredth of that
LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    ConnectionError,
)
"""What becomes of a question whose connection was cut: asked again, another may answer it."""

_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, ValueError)
_ADDRESS: Final = re.compile(r"[\w.,:\[\]%-]*(?:/[\w.%-]*)?", re.ASCII)
_LONGEST: Final = 300  # characters of a reason


def place_of(url: str) -> str:
    """Return what messages call the database at ``url``: host, port and name, or less when that may hold a secret."""
    before, _, behind = url.partition("://")[2].rpartition("@")
    address = behind.partition("?")[0]
    # A sign that should have been escaped makes a password look like a host, or a parameter like a name.
    return f"postgresql://{address}" if "?" not in before and _ADDRESS.fullmatch(address) else "postgresql"


@contextmanager
def failures(place: str) -> Iterator[None]:
    """Turn whatever goes wrong with the database at ``place`` into StoreError."""
    try:
        yield
    except StoreError:
        raise
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        raise StoreError(f"store {place}: no Audiogate has written there yet") from None
    except (asyncpg.QueryCanceledError, TimeoutError):
        raise StoreError(f"store {place}: no answer in time") from None
    except _ERRORS as error:
        # Not "from error": what a driver tells of a URL, or of a row, is not for a log.
        raise StoreError(f"store {place}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    # What errors about values quote may be a part of a record, or of the address.
    if isinstance(error, asyncpg.DataError) or _is_of_a_value(error):
        return "there is a value that PostgreSQL cannot hold"
    if isinstance(error, ValueError):
        return "the address cannot be read: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, other signs as %XX"
    lines = str(error.args[0] if isinstance(error, asyncpg.PostgresError) and error.args else error).splitlines()
    return (lines[0] if lines else type(error).__name__)[:_LONGEST]


def _is_of_a_value(error: Exception) -> bool:
    """Whether the driver itself refused a value: that error has no public name."""
    ours = isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
    return ours and not isinstance(error, asyncpg.ClientConfigurationError)
