"""Sockets that a service manager has opened and passes on (sd_listen_fds(3)): systemd's, or whoever does as it does."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from proxy.server.failing import CannotStartError
from proxy.settings import Address

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_FIRST: Final = 3  # SD_LISTEN_FDS_START: behind stdin, stdout and stderr
_MOST: Final = 16  # sockets: two listeners, each on a few addresses
_ROLES: Final = ("gateway", "ops")

_Found = tuple[int, Address]


@dataclass(frozen=True, slots=True)
class Passed:
    """Descriptors of the listening sockets that were passed, by listener; none where there is nothing.

    ``flags`` says where they listen, as settings: what the settings guard by address, they guard by the real one.
    """

    gateway: tuple[int, ...] = ()
    ops: tuple[int, ...] = ()
    flags: dict[str, str] = field(default_factory=dict)


def take(environ: MutableMapping[str, str]) -> Passed:
    """Return the sockets meant for this process, and leave none of it to child processes.

    Sockets go by their names, ``gateway`` and ``ops``, of which each may have several; where no socket has one of
    these, the first is the gateway's and the second is that of ops. Raises :class:`CannotStartError`.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdecimal():
        return Passed()
    if int(count) > _MOST:
        raise CannotStartError(f"{count} sockets were passed; {_MOST} are the most")
    passed = range(_FIRST, _FIRST + int(count))
    found = _by_role([(descriptor, _address(descriptor)) for descriptor in passed], names)
    flags = {
        setting: str(min((address for _, address in found[role]), key=lambda address: address.is_loopback))
        for setting, role in (("listen", "gateway"), ("ops.listen", "ops"))
        if found[role]  # of several addresses, the one that most can reach
    }
    gateway, ops = (tuple(descriptor for descriptor, _ in found[role]) for role in _ROLES)
    return Passed(gateway, ops, flags)


def _by_role(sockets: list[_Found], names: list[str]) -> dict[str, list[_Found]]:
    if not set(names) & set(_ROLES):
        if len(sockets) > len(_ROLES):
            raise CannotStartError("more than two sockets were passed: give them the names gateway and ops")
        names = list(_ROLES)
    names += [""] * (len(sockets) - len(names))
    found: dict[str, list[_Found]] = {role: [] for role in _ROLES}
    for passed, name in zip(sockets, names, strict=False):
        if name not in found:
            raise CannotStartError(f"a socket named {name[:64]!r} was passed; the names are gateway and ops")
        found[name].append(passed)
    return found


def _address(descriptor: int) -> Address:
    """Return where a passed socket listens; raises :class:`CannotStartError` when it is not a TCP socket that does."""
    try:
        passed = socket.socket(fileno=descriptor)
    except OSError:
        raise CannotStartError(f"descriptor {descriptor} was passed and is not a socket") from None
    try:
        passed.set_inheritable(False)
        listens = passed.type == socket.SOCK_STREAM and passed.family in {socket.AF_INET, socket.AF_INET6}
        if not listens or not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise CannotStartError(f"descriptor {descriptor} was passed and is not a TCP socket that listens")
        return Address(*passed.getsockname()[:2])
    finally:
        passed.detach()
