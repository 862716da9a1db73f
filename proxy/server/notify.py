"""What systemd is told (sd_notify(3)): ready, reloading, stopping, alive. Nothing at all where nobody listens."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import TYPE_CHECKING, Final

from proxy.server.logs import log

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_LONGEST_STATUS: Final = 500  # characters: a line for people


class Notifier:
    """Sends datagrams to ``address``: a path, or an abstract name after ``@``. None: says nothing.

    ``interval`` is how often the service manager wants a sign of life, in seconds; None for never.
    """

    def __init__(self, address: str | None = None, interval: float | None = None) -> None:
        self._address = None if address is None else "\0" + address[1:] if address[0] == "@" else address
        self.interval = interval
        self._status = ""

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Notifier:
        """Return the notifier that the environment asks for, and leave none of it to child processes."""
        address = environ.pop("NOTIFY_SOCKET", "")
        every, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", str(os.getpid()))
        if not address.startswith(("/", "@")):  # sd_notify(3) knows no other, but for virtual machines' own
            return cls()
        ours = every.isdecimal() and int(every) > 0 and pid == str(os.getpid())
        return cls(
            address, int(every) / 2_000_000 if ours else None
        )  # half the time, as sd_watchdog_enabled(3) advises

    def ready(self, status: str) -> None:
        """Tell that requests are served; ``status`` is shown by ``systemctl status``."""
        self._status = status
        self._send("READY=1", f"STATUS={_line(status)}")

    def reloading(self) -> None:
        """Tell that settings are being loaded; :meth:`reloaded` has to follow."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self, problem: str = "") -> None:
        """Tell that this is over, and what is wrong with the new settings."""
        self._send("READY=1", f"STATUS={_line(problem or self._status)}")

    def stopping(self) -> None:
        """Tell that the end has begun."""
        self._send("STOPPING=1", "STATUS=draining")

    async def beat(self) -> None:
        """Give signs of life for as long as the event loop turns, if they are wanted."""
        while self.interval is not None:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self.interval)

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.setblocking(False)  # a service manager that does not read holds up no request
                channel.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.warning("the service manager cannot be told %s: %s", lines[0], error.strerror)


def _line(status: str) -> str:
    return " ".join(status.split())[:_LONGEST_STATUS]
