"""The files that settings are read from: each read once and bounded, and remembered for a reload to watch."""

from __future__ import annotations

import hashlib
import stat
from typing import TYPE_CHECKING

from proxy.settings.document import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


class Unreadable(Exception):  # noqa: N818  (the words at the call read better)
    """A file that cannot be used; the message says why and names no path."""


class Files:
    """Reads text files and remembers what was in them.

    Files that are missing are remembered too: their coming is a change. Pipes and devices are read once and
    not watched.
    """

    def __init__(self) -> None:
        self._contents: dict[Path, bytes | None] = {}

    def read(self, path: Path) -> str:
        """Return a file's text, UTF-8 with or without a mark at its start. Raises :class:`Unreadable`."""
        try:
            return self.watch(path).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise Unreadable("is not UTF-8 text") from None

    def watch(self, path: Path) -> bytes:
        """Return a file's content. Raises :class:`Unreadable`."""
        try:
            content = _content(path)
        except OSError as error:
            self._remember(path, None)
            raise Unreadable(f"cannot be read: {(error.strerror or 'error').lower()}") from None
        except ValueError:
            raise Unreadable("cannot be read: its name is not a path") from None
        self._remember(path, content)
        if len(content) > MAX_BYTES:
            raise Unreadable(f"is larger than {MAX_BYTES} bytes")
        return content

    @property
    def watched(self) -> tuple[Path, ...]:
        """The files to watch, absolute, in the order of reading."""
        return tuple(self._contents)

    @property
    def fingerprint(self) -> str:
        """What :func:`fingerprint` returns as long as none of the watched files changes."""
        return _digest(self._contents)

    def _remember(self, path: Path, content: bytes | None) -> None:
        if _is_watchable(path):
            self._contents[path.absolute()] = content


def fingerprint(files: Iterable[Path]) -> str:
    """Return a digest of the files' present contents, to compare with the one of a load.

    Reads them: cheap for what settings are, and right where times of change are not (a ConfigMap's symlinks,
    a file written twice in a second).
    """
    contents: dict[Path, bytes | None] = {}
    for path in files:
        try:
            contents[path] = _content(path)
        except OSError:
            contents[path] = None
    return _digest(contents)


def _is_watchable(path: Path) -> bool:
    """Tell a file, or one that cannot be reached yet, from pipes, devices and directories."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)  # one more than allowed tells that it is too large


def _digest(contents: Mapping[Path, bytes | None]) -> str:
    digest = hashlib.sha256()
    for path, content in contents.items():
        digest.update(hashlib.sha256(str(path).encode(errors="surrogateescape")).digest())
        digest.update(hashlib.sha256(content).digest() if content is not None else b"missing")
    return digest.hexdigest()
