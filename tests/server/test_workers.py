"""The supervisor's port is claimed by one gateway only."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from proxy.server.failing import CannotStartError
from proxy.server.workers import _claim
from proxy.settings import Address


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_claimed_port_is_known_held_and_shared_with_workers_only(host: str) -> None:
    address, holder = _claim(Address(host, 0))
    with closing(holder):
        assert address.port == holder.getsockname()[1] > 0
        with socket.socket(holder.family) as of_a_worker:
            of_a_worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            of_a_worker.bind((host, address.port))
            of_a_worker.listen()
            with pytest.raises(CannotStartError, match=f"cannot listen on .*:{address.port}: address already in use"):
                _claim(address)


def test_a_host_of_somebody_else_cannot_be_claimed() -> None:
    with pytest.raises(CannotStartError, match=r"^cannot listen on 192\.0\.2\.1:1: "):
        _claim(Address("192.0.2.1", 1))
