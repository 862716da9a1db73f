"""Sockets that a service manager has opened and passes on (sd_listen_fds(3)): systemd's, or whoever does as it does."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.server.process import CannotStartError
from proxy.settings import Address

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

_FIRST: Final = 3  # SD_LISTEN_FDS_START: behind stdin, stdout and stderr
_MOST: Final = 16  # sockets: two listeners, each on a few addresses
_ROLES: Final = ("gateway", "ops")


@dataclass(frozen=True, slots=True)
class Passed:
    """The listening sockets that were passed, by listener; none where there is nothing."""

    gateway: tuple[socket.socket, ...] = ()
    ops: tuple[socket.socket, ...] = ()

    @property
    def flags(self) -> dict[str, str]:
        """Where the sockets listen, as settings: what the settings guard by address, they guard by the real one."""
        found = {"listen": _address(self.gateway), "ops.listen": _address(self.ops)}
        return {name: str(address) for name, address in found.items() if address is not None}


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
    return _by_role([_socket(_FIRST + number) for number in range(int(count))], names)


def adopted(descriptors: Sequence[int]) -> tuple[socket.socket, ...]:
    """Return the sockets that a worker's supervisor passes on."""
    return tuple(socket.socket(fileno=descriptor) for descriptor in descriptors)


def _by_role(sockets: list[socket.socket], names: list[str]) -> Passed:
    if not set(names) & set(_ROLES):
        if len(sockets) > len(_ROLES):
            raise CannotStartError("more than two sockets were passed: give them the names gateway and ops")
        names = list(_ROLES)
    names += [""] * (len(sockets) - len(names))
    found: dict[str, list[socket.socket]] = {role: [] for role in _ROLES}
    for passed, name in zip(sockets, names, strict=False):
        if name not in found:
            raise CannotStartError(f"a socket named {name[:64]!r} was passed; the names are gateway and ops")
        found[name].append(passed)
    return Passed(tuple(found["gateway"]), tuple(found["ops"]))


def _socket(descriptor: int) -> socket.socket:
    """Return a passed socket; raises :class:`CannotStartError` when it is not a TCP socket that listens."""
    try:
        passed = socket.socket(fileno=descriptor)
        listens = passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        raise CannotStartError(f"descriptor {descriptor} was passed and is not a socket") from None
    if not listens or passed.type != socket.SOCK_STREAM or passed.family not in {socket.AF_INET, socket.AF_INET6}:
        raise CannotStartError(f"descriptor {descriptor} was passed and is not a TCP socket that listens")
    passed.set_inheritable(False)
    return passed


def _address(sockets: Sequence[socket.socket]) -> Address | None:
    """Return where sockets listen: of several, the one that most can reach."""
    addresses = [Address(*passed.getsockname()[:2]) for passed in sockets]
    return min(addresses, key=lambda address: address.is_loopback, default=None)
