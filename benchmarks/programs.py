"""The two C programs of the benchmark: built on first use, started, read.

``load`` is the load generator, ``upstream`` the fake provider. Each is one thread, and several times faster
than any proxy under test: what is measured is the proxy.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HERE = Path(__file__).parent
BUILD = HERE / "build"
FLAGS = ("-O2", "-std=c11", "-Wall", "-Wextra")
LOAD_SECONDS = 60  # a load that takes longer is stuck; the longest of ours takes 6 s


class BenchError(Exception):
    """A measurement that could not be made; the message says why."""


class UnsupportedError(BenchError):
    """The proxy does not do what was to be measured; the message is a word or two, for the table."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the connections send; ``pace`` is bytes per second of each, ``chunk`` 0 means Content-Length.

    The file is a WAV, or an MP3 whose frames hold noise.
    """

    connections: int = 1
    seconds: float | None = None
    requests: int | None = None
    file_bytes: int = 100_000
    pace: int = 0
    pause_after: int = 0
    pause_ms: int = 0
    chunk: int = 0
    file_first: bool = False
    stream: bool = False
    mp3: bool = False
    headers: tuple[str, ...] = ()

    def arguments(self) -> Iterator[str]:
        """Yield the command line of ``load``."""
        for name in (
            "connections",
            "seconds",
            "requests",
            "file_bytes",
            "pace",
            "pause_after",
            "pause_ms",
            "chunk",
        ):
            if value := getattr(self, name):
                yield f"--{name.replace('_', '-')}={value}"
        for name in ("file_first", "stream", "mp3"):
            if getattr(self, name):
                yield f"--{name.replace('_', '-')}"
        yield from (f"--header={header}" for header in self.headers)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a load; medians in milliseconds are None when nothing of the kind was seen."""

    requests: int
    bytes: int
    seconds: float
    latency_ms: float | None
    first_byte_ms: float | None
    event_delay_ms: float | None

    @classmethod
    def parse(cls, line: str) -> Outcome:
        """Read the line that ``load`` prints."""
        found: Mapping[str, object] = json.loads(line)

        def median(name: str) -> float | None:
            samples = found[name]
            return float(samples["p50"]) if isinstance(samples, dict) else None

        return cls(
            requests=int(str(found["requests"])),
            bytes=int(str(found["bytes"])),
            seconds=float(str(found["seconds"])),
            latency_ms=median("latency_ms"),
            first_byte_ms=median("first_byte_ms"),
            event_delay_ms=median("event_delay_ms"),
        )


def build(name: str) -> Path:
    """Return the compiled program, compiling it when its sources are newer."""
    sources = [HERE / f"{name}.c", HERE / "wire.h"]
    program = BUILD / name
    newest = max(source.stat().st_mtime for source in sources)
    if program.exists() and program.stat().st_mtime >= newest:
        return program
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise BenchError("no C compiler found: install gcc (Debian: apt-get install gcc libc6-dev)")
    BUILD.mkdir(exist_ok=True)
    done = subprocess.run([compiler, *FLAGS, "-o", program, sources[0]], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{sources[0].name} does not compile:\n{done.stderr}")
    return program


def run_load(port: int, load: Load) -> Outcome:
    """Send a load to 127.0.0.1:port; any request that fails makes the whole measurement fail."""
    command = [str(build("load")), f"--port={port}", f"--limit={LOAD_SECONDS}", *load.arguments()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LOAD_SECONDS + 5, check=False)
    if done.returncode:
        raise BenchError(done.stderr.strip() or f"the load generator ended with {done.returncode}")
    if errors := json.loads(done.stdout)["errors"]:
        raise BenchError(f"{errors} requests failed, the first: {done.stderr.strip()}")
    return Outcome.parse(done.stdout)


@contextmanager
def fake_upstream() -> Iterator[int]:
    """Run the fake provider; yields its port."""
    with subprocess.Popen([build("upstream")], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().removeprefix("port "))
        finally:
            process.kill()
