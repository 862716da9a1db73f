"""Several processes, one exposition: every worker counts in files of its own, which outlive it, and one reads all.

The values are prometheus_client's multiprocess ones: slots in files that are mapped into memory. A worker has a stable
name and its successor takes the files over, so that counts go on where they were, and a killed worker loses none.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.core import Metric

_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_MEMORY: Final = "/dev/shm"  # noqa: S108  (a folder of our own in it: nobody else's files)
_ROOM: Final = 16_777_216  # bytes free: a full file system kills whoever writes to a mapped file
_PREFIX: Final = "audiogate-metrics-"
_LOCK: Final = "lock"
_TRIES: Final = 5  # to read files of which one is being made: that takes microseconds
_PAUSE: Final = 0.002  # seconds between tries


@contextmanager
def directory() -> Iterator[str]:
    """Make a private directory for the workers' values, in memory where there is room; remove it at the end.

    Those of processes that were killed, and could not, go first. Raises OSError when there is no place for it.
    """
    parent = _roomy() or tempfile.gettempdir()
    _sweep(parent)
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent, ignore_cleanup_errors=True) as path,
        Path(path, _LOCK).open("wb") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)  # for as long as this process lives
        yield path


def _sweep(parent: str) -> None:
    for lock in Path(parent).glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError), lock.open("rb") as file:  # held, somebody else's, or gone meanwhile
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent)


def _roomy() -> str | None:
    try:
        room = os.statvfs(_MEMORY)
    except OSError:
        return None
    if room.f_bavail * room.f_frsize < _ROOM or not os.access(_MEMORY, os.W_OK):
        return None
    return _MEMORY


@contextmanager
def sharing(path: str, name: str) -> Iterator[None]:
    """Keep the values of all metrics made inside in ``path``, as the process ``name``; for one thread of control.

    ``name`` has no underscore in it. The metrics are of no use afterwards.
    """
    before = values.ValueClass, os.environ.get(_VARIABLE)
    shared = values.MultiProcessValue(process_identifier=lambda: name)  # type: ignore[no-untyped-call]
    values.ValueClass = shared
    os.environ[_VARIABLE] = path
    try:
        yield
    finally:
        shared.close_all_files()
        values.ValueClass, variable = before
        if variable is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = variable


def ended(path: str, name: str) -> None:
    """Forget what was going on in the process ``name``, which has ended; what it has counted stays."""
    mark_process_dead(name, path)  # type: ignore[no-untyped-call]


class Merged(MultiProcessCollector):
    """Collects the values of all processes that share ``path``, living and dead."""

    def __init__(self, registry: CollectorRegistry, path: str) -> None:
        super().__init__(registry, path)  # type: ignore[no-untyped-call]

    def collect(self) -> Iterable[Metric]:
        """Return the merged metrics, in the order of their names."""
        for tries_left in reversed(range(_TRIES)):
            try:
                return sorted(super().collect(), key=lambda metric: metric.name)  # type: ignore[no-untyped-call]
            except struct.error:  # a process has made a file and not yet given it its size
                if not tries_left:
                    raise
                time.sleep(_PAUSE)
        return ()
