"""A real PostgreSQL server: on a free port of 127.0.0.1, in a folder of its own, with a fresh database for each test.

It trusts everybody but the role ``stranger``, which needs a password. When root runs the tests, it runs as the user
``postgres``, as it must.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg

from tests.bootstrap import found, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD: Final = "a/b@c:d#e"  # of the role ``stranger``: whatever breaks a URL
_PATIENCE: Final = 60.0  # seconds for one command: a slow machine, not a hanging server

_SETTINGS: Final = """
listen_addresses = '127.0.0.1'
fsync = off
full_page_writes = off
autovacuum_naptime = 1s
max_connections = 60
shared_buffers = 64MB
max_locks_per_transaction = 256
log_min_messages = fatal
"""

_TRUST: Final = """
host all stranger all scram-sha-256
host all all all trust
local all all trust
"""


class Server:
    """One server, from its first start to its last stop; in between it can be stopped, paused, and started again."""

    def __init__(self, folder: Path) -> None:
        initdb = found("initdb")
        assert initdb is not None, missing("initdb")
        self._programs = Path(initdb).resolve().parent
        self._folder = folder
        self._data = folder / "data"
        self._databases = 0
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def make(self) -> None:
        """Make the server's folder, and start it."""
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
        self._run(
            "initdb", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", f"--pgdata={self._data}"
        )
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(f"{_SETTINGS}port = {self.port}\nunix_socket_directories = '{self._folder}'\n")
        (self._data / "pg_hba.conf").write_text(_TRUST, encoding="utf-8")
        self.start()
        self.ask("postgres", f"CREATE ROLE stranger LOGIN PASSWORD '{PASSWORD}'")

    def start(self) -> None:
        """Start the server, and wait until it takes connections."""
        self._run("pg_ctl", "start", "-w", "-D", str(self._data), "-l", str(self._folder / "log"))

    def stop(self) -> None:
        """Stop the server at once: connections are cut, transactions lost."""
        if self.running:
            self.resume()
            self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(self._data))

    def pause(self) -> None:
        """Let the server and everyone it serves stand still: connections stay, and nothing is answered."""
        for pid in self._processes():
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let the server go on."""
        for pid in self._processes():
            os.kill(pid, signal.SIGCONT)

    @property
    def running(self) -> bool:
        """Whether the server has been started and not been stopped."""
        return (self._data / "postmaster.pid").exists()

    def database(self) -> str:
        """Make an empty database; return its name."""
        self._databases += 1
        name = f"records_{self._databases}"
        self.ask("postgres", f"CREATE DATABASE {name}")
        return name

    def url(self, database: str, *, user: str = "postgres", password: str = "") -> str:
        """Return where ``database`` is, for a store."""
        return f"postgresql://{user}{password and ':' + password}@127.0.0.1:{self.port}/{database}"

    def ask(self, database: str, *statements: str) -> list[tuple[object, ...]]:
        """Carry out ``statements``, each on its own, as the superuser; return the rows of the last."""
        return ask(self.url(database), *statements)

    def _processes(self) -> list[int]:
        postmaster = int((self._data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        return [postmaster, *map(int, children)]

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        if os.geteuid() == 0:
            who = pwd.getpwnam("postgres")
            command = ["setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups", *command]
        # A server inherits what pg_ctl has: not the pipes of a test, which would wait for their end.
        with (self._folder / "said").open("w+", encoding="utf-8") as said:
            done = subprocess.run(
                command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=_PATIENCE
            )
            said.seek(0)
            assert done.returncode == 0, f"{program} ended with {done.returncode}: {said.read()[-2000:]}"


def ask(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Carry out ``statements`` at ``url``, each on its own; return the rows of the last."""

    async def carry_out() -> list[tuple[object, ...]]:
        connection = await asyncpg.connect(url)
        try:
            rows: list[asyncpg.Record] = []
            for statement in statements:
                rows = await connection.fetch(statement)
            return [tuple(row) for row in rows]
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as aside:  # the test may have an event loop of its own
        return aside.submit(asyncio.run, carry_out()).result(_PATIENCE)


@contextmanager
def server() -> Iterator[Server]:
    """Start a server; stop it in the end, and leave nothing behind."""
    with tempfile.TemporaryDirectory(prefix="audiogate-pg-", ignore_cleanup_errors=True) as folder:
        made = Server(Path(folder))
        try:
            made.make()
            yield made
        finally:
            made.stop()
