"""Where a proxy's time goes: py-spy beside it, when it is installed (``pip install py-spy``)."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.programs import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator

RATE = 200  # samples per second: enough for a run of seconds, and about 2 % of the proxy's time
WRITE_SECONDS = 20  # to turn the samples into a file


def find() -> str | None:
    """Return the path of py-spy, beside this Python or on the PATH, or None."""
    return shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")


@contextmanager
def sampled(pid: int, file: Path) -> Iterator[None]:
    """Sample a Python process and its children while the context is open, into a flame graph (SVG)."""
    program = find()
    if program is None:
        raise BenchError("py-spy is not installed: pip install py-spy")
    command = [program, "record", "--native", "--subprocesses", "--rate", str(RATE), "--pid", str(pid)]
    with subprocess.Popen(
        [*command, "--output", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)  # the end of the record, for py-spy
            try:
                said = process.communicate(timeout=WRITE_SECONDS)[1]
            except subprocess.TimeoutExpired:
                process.kill()
                said = "it did not end"
    if not file.exists():
        raise BenchError(f"py-spy wrote nothing: {said.strip()}")
