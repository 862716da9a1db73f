"""Why a gateway does not start, in one line for whoever started it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.settings import Address


class CannotStartError(Exception):
    """The gateway could not start for a reason outside its settings; the message is one line for the user."""


def cannot_listen(address: Address, error: OSError) -> CannotStartError:
    """Say that an address cannot be had, in the words of the system's error and without its numbers."""
    reason = (error.strerror or str(error)).rpartition(": ")[2].rstrip(")")
    return CannotStartError(f"cannot listen on {address}: {reason.lower()}")
