"""The files that settings are read from, and what a reload watches."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from proxy.settings import fingerprint
from proxy.settings.files import Files, Unreadable

if TYPE_CHECKING:
    from pathlib import Path


def test_the_fingerprint_follows_contents_and_not_times(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    files = Files()
    assert files.read(file) == "one"
    os.utime(file, (1, 1))
    assert fingerprint(files.watched) == files.fingerprint
    file.write_text("two")
    assert fingerprint(files.watched) != files.fingerprint
    file.unlink()
    assert fingerprint(files.watched) not in ("", files.fingerprint)


def test_a_changed_symlink_is_a_change(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("1")
    (tmp_path / "new").write_text("2")
    link = tmp_path / "link"
    link.symlink_to("old")
    files = Files()
    files.read(link)
    link.unlink()
    link.symlink_to("new")
    assert fingerprint(files.watched) != files.fingerprint


def test_a_missing_file_is_watched_for_its_coming(tmp_path: Path) -> None:
    files = Files()
    with pytest.raises(Unreadable, match="no such file"):
        files.read(tmp_path / "later")
    assert fingerprint(files.watched) == files.fingerprint
    (tmp_path / "later").write_text("")
    assert fingerprint(files.watched) != files.fingerprint


def test_a_pipe_is_read_and_not_watched(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"workers: 2")
    os.close(write_end)
    files = Files()
    pipe = tmp_path / "pipe"
    pipe.symlink_to(f"/proc/self/fd/{read_end}")
    assert files.read(pipe) == "workers: 2"
    os.close(read_end)
    assert files.watched == ()
