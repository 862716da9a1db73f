"""Notices clients that leave while nobody reads from them.

When an upstream is slow, back-pressure stops reading the client's socket, and a loop that does not read does not see a
FIN. ``EPOLLRDHUP`` does, even with unread bytes before it. One epoll of our own, itself watched by the loop, holds the
sockets of uploads under way; a client that closes (or half-closes, which no proxy can tell apart) is dropped at once.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    Ticket = tuple[int, asyncio.Transport]


class Departures:
    """Aborts the transport of every watched client that has closed its side."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._watched: dict[int, asyncio.Transport] = {}
        loop.add_reader(self._epoll.fileno(), self._look)

    def watch(self, transport: asyncio.Transport) -> Ticket | None:
        """Watch a client's transport; return a ticket for :meth:`forget`, or None when it cannot be watched."""
        socket = transport.get_extra_info("socket")
        if socket is None or (descriptor := socket.fileno()) < 0:
            return None
        try:
            # Never EPOLLIN: bytes that wait are none of our business.
            self._epoll.register(descriptor, select.EPOLLRDHUP | select.EPOLLONESHOT)
        except OSError:
            return None
        self._watched[descriptor] = transport
        return int(descriptor), transport

    def forget(self, ticket: Ticket | None) -> None:
        """Stop watching; the kernel has forgotten a socket that was closed, and may have given its number away."""
        if ticket is None or self._watched.get(ticket[0]) is not ticket[1]:
            return
        del self._watched[ticket[0]]
        try:
            self._epoll.unregister(ticket[0])
        except OSError:
            return

    def close(self) -> None:
        """Stop watching anybody."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._watched.clear()

    def _look(self) -> None:
        for descriptor, _events in self._epoll.poll(0):
            transport = self._watched.get(descriptor)
            if transport is not None:
                transport.abort()
