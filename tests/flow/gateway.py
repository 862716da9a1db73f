"""The gateway as its users meet it: a process with a settings file, two ports, records on stdout."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

START = 20.0  # seconds a start may take on a machine whose cores are all busy
STOP = 15.0  # seconds a stop may take after the signal
WAIT = 8.0  # seconds before a test gives up on a record

SECRET = "sk-flow-"  # every credential of these tests begins so: it may never show up in what the gateway writes
ALARMS = ("Traceback", "Unclosed", "never retrieved", "was never awaited", "Task was destroyed", "Warning:")

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_FIRST = 20000 + _WORKER % 4 * 3000 + os.getpid() % 200 * 10  # apart for each worker and each run
_ports = iter(range(_FIRST, _FIRST + 1000))  # below the ephemeral ports; more than a run opens


def free_port() -> int:
    """Return a port that nobody listens on."""
    for port in _ports:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError("no free port left")


def _port_in(section: dict[str, Any]) -> int | None:
    """Return the port that settings say, if they say one."""
    return int(section["listen"].rpartition(":")[2]) if "listen" in section else None


class Gateway:
    """A running gateway. ``settings`` is the file's content; the addresses are filled in."""

    def __init__(
        self, folder: Path, settings: dict[str, Any], *, wait: bool = True, paused_stdout: bool = False
    ) -> None:
        self.port = _port_in(settings) or free_port()
        self.ops_port = _port_in(settings.get("ops", {})) or free_port()
        self.settings = {
            "listen": f"127.0.0.1:{self.port}",
            **settings,
            "ops": {"listen": f"127.0.0.1:{self.ops_port}", **settings.get("ops", {})},
            # Most tests are of the way through: what is kept has its own.
            "records": {"store": "none", **settings.get("records", {})},
        }
        self.path = folder / f"audiogate-{self.port}.yaml"
        self.write_settings(self.settings)
        self._lines: list[str] = []
        self._errors: list[str] = []
        self._changed = threading.Condition()
        self._claims: Counter[str] = Counter()
        self._looked_at = 0  # characters of stderr: each complaint fails one test, not all that follow
        self._read_stdout = threading.Event()
        if not paused_stdout:
            self._read_stdout.set()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AUDIOGATE")}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "default", "-m", "proxy", "serve", "-c", str(self.path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            env=environment,
        )
        self._readers = [
            threading.Thread(target=self._collect, args=(self.process.stdout, self._lines, self._read_stdout)),
            threading.Thread(target=self._collect, args=(self.process.stderr, self._errors, None)),
        ]
        for reader in self._readers:
            reader.start()
        if wait:
            self.wait_ready()

    def _collect(self, stream: Any, lines: list[str], may_read: threading.Event | None) -> None:
        if may_read:
            may_read.wait()
        if stream.closed:  # by a test that plays a reader who goes away
            return
        for line in stream:
            with self._changed:
                lines.append(line.decode())
                self._changed.notify_all()
        stream.close()
        with self._changed:
            self._changed.notify_all()

    # Settings and signals

    def write_settings(self, settings: dict[str, Any] | str) -> None:
        """Replace the settings file at once, as editors and Kubernetes do. JSON is YAML."""
        text = settings if isinstance(settings, str) else json.dumps(settings, indent=1)
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.path)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the gateway's first process."""
        self.process.send_signal(number)

    # Health

    def ops(self, path: str) -> tuple[int, str]:
        """GET a path of the ops listener."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ops_port, timeout=5)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()

    def ready(self) -> bool:
        """Whether ``/readyz`` says so."""
        try:
            return self.ops("/readyz")[0] == 200
        except OSError:
            return False

    def wait_ready(self) -> None:
        """Wait until the gateway is ready to serve."""
        self.wait_for(self.ready, "the gateway to be ready", START)

    def wait_for(self, what: Any, name: str, timeout: float = WAIT) -> None:
        """Look again and again until ``what()`` is true."""
        end = time.monotonic() + timeout
        while not what():
            assert self.process.poll() is None, f"the gateway ended with {self.process.poll()}: {self.stderr()}"
            assert time.monotonic() < end, f"waited {timeout} s in vain for {name}: {self.stderr()[-2000:]}"
            time.sleep(0.01)

    # What it writes

    def stderr(self) -> str:
        """All that was written to stderr so far."""
        with self._changed:
            return "".join(self._errors)

    def wait_stderr(self, text: str, timeout: float = WAIT) -> None:
        """Wait until stderr holds ``text``."""
        with self._changed:
            found = self._changed.wait_for(lambda: text in "".join(self._errors), timeout)
        assert found, f"{text!r} never came: {self.stderr()}"

    def resume_stdout(self) -> None:
        """Begin to read a stdout that was left unread from the start."""
        self._read_stdout.set()

    def lines(self) -> list[str]:
        """Every line of stdout so far."""
        with self._changed:
            return list(self._lines)

    def records(self, trace_id: str | None = None) -> list[dict[str, Any]]:
        """Every record so far, or those of one trace."""
        return list(self._matching(trace_id))

    def _matching(self, trace_id: str | None) -> Iterator[dict[str, Any]]:
        for line in self.lines():
            if trace_id is None or trace_id in line:
                record = json.loads(line)
                if trace_id is None or record["trace_id"] == trace_id:
                    yield record

    def wait_records(self, trace_id: str, count: int = 1, timeout: float = WAIT) -> list[dict[str, Any]]:
        """Wait for a trace's records. How many there are is checked again when the gateway has stopped."""
        self._claims[trace_id] = count
        with self._changed:
            self._changed.wait_for(lambda: len(self.records(trace_id)) >= count, timeout)
        found = self.records(trace_id)
        assert len(found) == count, f"{len(found)} records where {count} were expected: {found}"
        return found

    # Resources

    def pids(self) -> list[int]:
        """Process ids of the gateway and its workers."""
        found = [self.process.pid]
        for pid in found:
            children = Path(f"/proc/{pid}/task/{pid}/children")
            if children.exists():
                found += [int(child) for child in children.read_text().split()]
        return found

    def fds(self) -> int:
        """How many file descriptors the gateway's processes hold."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids())  # noqa: PTH208  (half as slow)

    def unread(self, client_port: int) -> int:
        """How many bytes of a client wait in the kernel because the gateway does not read (proc_net_tcp)."""
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, _, queues, *_ = line.split()
            if (local[-4:], remote[-4:]) == (f"{self.port:04X}", f"{client_port:04X}"):
                return int(queues.partition(":")[2], 16)
        return 0

    def reads_all(self, client_port: int, within: float = 0.1) -> bool:
        """Whether the gateway reads what a client has sent, or leaves it lying."""
        end = time.monotonic() + within
        while self.unread(client_port):
            if time.monotonic() > end:
                return False
            time.sleep(0.001)
        return True

    def rss(self) -> int:
        """Resident bytes now."""
        return self._memory("VmRSS")

    def peak_rss(self) -> int:
        """Highest resident bytes since ``forget_peak``."""
        return self._memory("VmHWM")

    def forget_peak(self) -> None:
        """Begin to look for the peak anew (proc(5), clear_refs)."""
        for pid in self.pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def _memory(self, name: str) -> int:
        total = 0
        for pid in self.pids():
            text = Path(f"/proc/{pid}/status").read_text()
            total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith(name)) * 1024
        return total

    # The end

    def check(self) -> None:
        """What must hold at any time: it runs, and it has not complained."""
        assert self.process.poll() is None, f"the gateway ended with {self.process.poll()}: {self.stderr()}"
        self._check_output()

    def _check_output(self) -> None:
        errors, self._looked_at = self.stderr()[self._looked_at :], len(self.stderr())
        for alarm in ALARMS:
            assert alarm not in errors, errors[-4000:]
        assert SECRET not in errors, "a credential on stderr"

    def wait_idle(self) -> None:
        """Wait until nothing is under way, nothing is kept, and nothing counts as either."""
        self.wait_for(lambda: not self._levels(), f"the levels to be 0: {self._levels()}")

    def _levels(self) -> list[str]:
        names = ("audiogate_requests_in_flight", "audiogate_upstream_in_flight", "audiogate_replay_bytes")
        lines = self.ops("/metrics")[1].splitlines()
        return [line for line in lines if line.startswith(names) and float(line.rpartition(" ")[2])]

    def wait_exit(self, timeout: float = STOP) -> int:
        """Wait for the process to end; return its exit code."""
        code = self.process.wait(timeout)
        for reader in self._readers:
            reader.join(timeout)
        return code

    def stop(self) -> None:
        """Stop it as Kubernetes does, and check all that it leaves behind."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            code = self.wait_exit()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not stop within {STOP} s of SIGTERM: {self.stderr()[-2000:]}") from None
        assert code == 0, f"exit code {code}: {self.stderr()[-4000:]}"
        self.check_remains()

    def kill(self) -> None:
        """End it whatever it does: for the clean-up of a failed test."""
        self._read_stdout.set()
        if self.process.poll() is None:
            self.process.kill()
        self.wait_exit()

    def check_remains(self) -> None:
        """Check the output of a gateway that has ended: only whole records, each once, and no secret."""
        self._check_output()
        lines = self.lines()
        assert not any(SECRET in line for line in lines), "a credential in a record"
        records = [json.loads(line) for line in lines]
        assert max(Counter(record["id"] for record in records).values(), default=1) == 1, "a record id twice"
        traces = Counter(record["trace_id"] for record in records)
        wrong = [trace for trace, count in self._claims.items() if traces[trace] != count]
        assert not wrong, f"too many or too few: {[line for line in lines if any(t in line for t in wrong)]}"


@contextmanager
def serving(folder: Path, settings: dict[str, Any]) -> Iterator[Gateway]:
    """Run a gateway for many tests; at its end it is idle, it stops as it should, and nothing wrong remains."""
    running = Gateway(folder, settings)
    try:
        yield running
        running.wait_idle()
        running.stop()
    finally:
        running.kill()
