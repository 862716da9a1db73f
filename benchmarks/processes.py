"""Process trees by way of /proc: their CPU time, their memory, their end."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
SAMPLE_SECONDS = 0.05  # smaps_rollup walks the page tables of the whole tree: about 1 ms each time
STOP_SECONDS = 5.0  # to end by itself after SIGTERM, then it is killed


def tree(roots: list[int]) -> list[int]:
    """Return the roots and all their living descendants."""
    found = list(roots)
    for pid in found:  # grows while it is walked
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                continue
    return found


def cpu_seconds(roots: list[int]) -> float:
    """Return user and system time of the trees, waited-for children included (proc(5), stat 14 to 17)."""
    ticks = 0
    for pid in tree(roots):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_SECOND


def others_seconds() -> float:
    """Return the CPU time that this machine has spent so far on anything but us and our ended children."""
    user, nice, system, _idle, _iowait, *interrupts_and_stolen = (
        int(ticks) for ticks in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    )
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    busy = (user + nice + system + sum(interrupts_and_stolen)) / TICKS_PER_SECOND
    return busy - sum(usage.ru_utime + usage.ru_stime for usage in used)


def memory_mib(roots: list[int]) -> float:
    """Return the resident memory of the trees.

    A lone process counts in full. Processes that share pages count in proportion (Pss), which is right for
    the workers of one proxy; a lone Python would be credited with the libraries that this benchmark maps too.
    """
    pids = tree(roots)
    kind = "Rss:" if len(pids) == 1 else "Pss:"
    return sum(_rollup_kib(pid, kind) for pid in pids) / 1024


def _rollup_kib(pid: int, kind: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(kind)), 0)


def listens(pid: int, port: int) -> bool:
    """Tell whether this very process listens on the port, which workers may share (proc(5), net/tcp)."""
    sockets = set()
    for entry in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = entry.split()
        if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
            sockets.add(f"socket:[{fields[9]}]")
    return any(_target(fd) in sockets for fd in Path(f"/proc/{pid}/fd").iterdir())


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


class PeakMemory:
    """The highest memory of the trees, sampled while the context is open; 0 before the first sample."""

    def __init__(self, roots: list[int]) -> None:
        self.mib = 0.0
        self._roots = roots
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.mib = max(self.mib, memory_mib(self._roots))


@contextmanager
def running(command: list[str], *, folder: Path, name: str, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in ``folder``, its output in NAME.out and NAME.err there; it ends with the context."""
    with (folder / f"{name}.out").open("wb") as out, (folder / f"{name}.err").open("wb") as err:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder, env=env)
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and whatever it started: by SIGTERM, and what is left after a while by SIGKILL."""
    family = tree([process.pid])
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in family[1:]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
