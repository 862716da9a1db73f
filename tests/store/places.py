"""Places where a file is hard to keep: a small disk, and one that nobody may write to."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.bootstrap import in_ci

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def _run(*command: str) -> str | None:
    """Run a command; return what it complained of."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return (done.stderr.strip() or str(done.returncode)) if done.returncode else None


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Give a folder that is a disk of ``size``; skip the test where none can be mounted."""
    reason: str | None = "only root may mount a small disk"
    if os.geteuid() == 0 and shutil.which("mount"):
        folder.mkdir()
        reason = _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    if reason is not None:
        assert not in_ci(), reason
        pytest.skip(f"no small disk: {reason}")
    try:
        yield folder
    finally:
        assert _run("umount", "-l", str(folder)) is None


@contextmanager
def covered(folder: Path) -> Iterator[None]:
    """Cover a folder with an empty disk that nobody may write to; what is below comes back in the end."""
    assert _run("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)) is None
    try:
        yield
    finally:
        assert _run("umount", "-l", str(folder)) is None


def make_read_only(disk: Path) -> None:
    """Let nobody write to a small disk any more."""
    assert _run("mount", "-o", "remount,ro", str(disk)) is None


def make_writable(disk: Path) -> None:
    """Let a small disk be written to again."""
    assert _run("mount", "-o", "remount,rw", str(disk)) is None
