"""The proxies under test: how each is set up, started, known to be ready, and stopped.

Each is given what its own manual recommends for streaming and nothing else. Audiogate runs on its defaults,
records and metrics included; nginx and the bare proxy keep no log at all, which favours them.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import sys
import time
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.processes import cpu_seconds, listens, memory_mib, running
from benchmarks.programs import BenchError, Load, Outcome, run_load

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

READY_SECONDS = 20.0  # to start on a busy machine
POLL_SECONDS = 0.02
REPO = Path(__file__).parent.parent

NGINX_CONF = """
{user}
daemon off;
worker_processes {workers};
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    keepalive_requests 10000000;
    client_max_body_size 0;
    upstream speech {{
        server 127.0.0.1:{upstream};
        keepalive 256;
        keepalive_requests 10000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://speech;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_request_buffering off;
            proxy_buffering off;
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A started proxy: the port to send to, its first processes, and the folder that holds its output."""

    port: int
    pids: list[int]
    folder: Path
    headers: tuple[str, ...] = ()

    def load(self, load: Load) -> Outcome:
        """Send a load, with the headers that this proxy needs to find the upstream."""
        return run_load(self.port, replace(load, headers=(*self.headers, *load.headers)))

    def cpu_seconds(self) -> float:
        """Return user and system time of the whole proxy so far."""
        return cpu_seconds(self.pids)

    def memory_mib(self) -> float:
        """Return the memory of the whole proxy now."""
        return memory_mib(self.pids)


@dataclass(frozen=True, slots=True)
class Proxy:
    """One column of the table. ``missing`` says why it cannot run here, or None."""

    name: str
    start: Callable[[int, int, Path], AbstractContextManager[Running]]  # upstream's port, workers, folder
    missing: Callable[[], str | None] = lambda: None
    python: bool = False

    @contextmanager
    def serving(self, upstream: int, workers: int = 1) -> Iterator[Running]:
        """Run the proxy in front of ``upstream`` in a folder of its own; both are gone afterwards."""
        with (
            TemporaryDirectory(prefix="bench-") as folder,
            self.start(upstream, workers, Path(folder)) as running_proxy,
        ):
            yield running_proxy


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listening(port: int) -> bool:
    """Tell whether somebody accepts connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ready(ops_port: int) -> bool:
    """Tell whether the gateway's ``/readyz`` is 200."""
    connection = http.client.HTTPConnection("127.0.0.1", ops_port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def await_ready(is_ready: Callable[[], bool], process: subprocess.Popen[bytes], errors: Path) -> None:
    """Wait until the proxy serves; say what it printed when it does not."""
    deadline = time.monotonic() + READY_SECONDS
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            said = errors.read_text(errors="replace").strip()[-2000:]
            raise BenchError(f"{errors.stem} did not start: {said or 'it printed nothing'}")
        time.sleep(POLL_SECONDS)


@contextmanager
def start_direct(upstream: int, workers: int, folder: Path) -> Iterator[Running]:
    """No proxy: what the load generator and the fake upstream take by themselves."""
    yield Running(upstream, [], folder)


@contextmanager
def start_nginx(upstream: int, workers: int, folder: Path) -> Iterator[Running]:
    """Run nginx with request and reply buffering off and connections to the upstream kept."""
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""  # else its workers may not enter the folder
    text = NGINX_CONF.format(user=user, workers=workers, upstream=upstream, port=port)
    (folder / "nginx.conf").write_text(text)
    command = [nginx_program() or "nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
    with running(command, folder=folder, name="nginx", env=dict(os.environ)) as process:
        await_ready(lambda: listening(port), process, folder / "nginx.err")
        yield Running(port, [process.pid], folder)


@contextmanager
def start_bare(upstream: int, workers: int, folder: Path) -> Iterator[Running]:
    """Run the 40-line aiohttp proxy; its workers share the port (SO_REUSEPORT)."""
    port = free_port()
    command = [sys.executable, str(REPO / "benchmarks" / "bare.py"), str(port), str(upstream)]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(running(command, folder=folder, name=f"bare-{worker}", env=dict(os.environ)))
            for worker in range(workers)
        ]
        for worker, process in enumerate(processes):
            await_ready(partial(listens, process.pid, port), process, folder / f"bare-{worker}.err")
        yield Running(port, [process.pid for process in processes], folder)


@contextmanager
def start_audiogate(
    upstream: int, workers: int, folder: Path, program: tuple[str, ...] = ("-m", "proxy"), store: str | None = None
) -> Iterator[Running]:
    """Run the gateway on its defaults, with one provider: the fake upstream, at a price. ``store`` is its own else."""
    port, ops_port = free_port(), free_port()
    provider = {
        "slug": "bench",
        "dialect": "openai",
        "base_url": f"http://127.0.0.1:{upstream}/v1",
        "auth": "none",
        "formats": "any",
        "prices": {"*": {"usd_per_minute": "0.006", "round_seconds": "up"}},
    }
    settings = {
        "listen": f"127.0.0.1:{port}",
        "ops": {"listen": f"127.0.0.1:{ops_port}"},
        "providers": [provider],
        "workers": workers,
        "drain": {"delay": 0, "timeout": 1},
        **({} if store is None else {"records": {"store": store}}),
    }
    (folder / "settings.yaml").write_text(json.dumps(settings))
    env = {name: value for name, value in os.environ.items() if not name.startswith("AUDIOGATE_")}
    env["PYTHONPATH"] = str(REPO)  # its working folder is the temporary one: there its store is made
    command = [sys.executable, *program, "serve", "-c", "settings.yaml"]
    with running(command, folder=folder, name="audiogate", env=env) as process:
        await_ready(lambda: ready(ops_port), process, folder / "audiogate.err")
        yield Running(port, [process.pid], folder, headers=("x-portkey-provider: bench",))


def nginx_program() -> str | None:
    """Return the path of nginx, which is often outside a user's PATH, or None."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _nginx_missing() -> str | None:
    return None if nginx_program() else "nginx is not installed (Debian: apt-get install nginx-light)"


DIRECT = Proxy("direct", start_direct)
NGINX = Proxy("nginx", start_nginx, _nginx_missing)
BARE = Proxy("bare", start_bare, python=True)
AUDIOGATE = Proxy("audiogate", start_audiogate, python=True)
UNMETERED = Proxy("unmetered", partial(start_audiogate, program=("-m", "benchmarks.unmetered")), python=True)
UNKEPT = Proxy("unkept", start_audiogate, python=True)  # the same gateway, for uploads that need not be kept
UNSTORED = Proxy("unstored", partial(start_audiogate, store="none"), python=True)
PROXIES = (DIRECT, NGINX, BARE, UNMETERED, UNKEPT, UNSTORED, AUDIOGATE)
