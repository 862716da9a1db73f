"""Keeps an upload's first bytes for a second look: in memory, then in a file that has no name and no meaning."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

if TYPE_CHECKING:
    from proxy.settings import Replay

_PIECE: Final = 262_144  # bytes encrypted and written at once: as large as what comes from a socket
_SCRATCH: Final = memoryview(bytearray(_PIECE + 16))  # for what is encrypted; one for all, nothing waits in between
_READ: Final = 262_144  # bytes read back at once
_SPARE_FILES: Final = 8  # that wait for another upload: as many as end while as many begin
_SPARE_BYTES: Final = 33_554_432  # of each, at most: larger than OpenAI's largest upload


class SpoolFullError(Exception):
    """No more can be kept: the upload's own limit, everybody's limit, or the disk."""


@dataclass(slots=True)
class Budget:
    """Bytes that all spools of this process together may hold (``replay.total``), and the files they are done with.

    A file that is written again costs a third less than a new one. What it still holds is nothing: the key is gone
    (so only what was encrypted is written again).
    When nobody keeps anything any more, the last file is closed.
    """

    total: int
    used: int = 0
    _spare: list[tuple[str, int]] = field(default_factory=list)  # folder and descriptor

    def take(self, count: int) -> None:
        """Reserve ``count`` bytes or raise :class:`SpoolFullError`."""
        if self.used + count > self.total:
            raise SpoolFullError
        self.used += count

    def give_back(self, count: int) -> None:
        """Release what a closed spool had reserved."""
        self.used -= count
        if not self.used:
            while self._spare:
                os.close(self._spare.pop()[1])

    def file_in(self, folder: str) -> int:
        """Return a descriptor of an unnamed file in ``folder``. Raises OSError."""
        while self._spare:
            place, descriptor = self._spare.pop()
            if place == folder:
                return descriptor
            os.close(descriptor)  # the settings have changed
        return _unnamed_file(folder)

    def file_back(self, folder: str, descriptor: int, size: int) -> None:
        """Take back a file of ``size`` bytes that a spool has done with."""
        if len(self._spare) < _SPARE_FILES and size <= _SPARE_BYTES:
            self._spare.append((folder, descriptor))
        else:
            os.close(descriptor)


class Spool:
    """The first bytes of one upload. Append at the end, read from the start any number of times; close it in the end.
    ``where`` says where the last bytes went.

    The first ``replay.memory`` bytes stay in memory as the chunks they came in; the rest goes to a file that was
    never linked into a folder (``O_TMPFILE``), encrypted by AES-128-CTR with a key that exists in this object only.
    """

    def __init__(self, limits: Replay, budget: Budget) -> None:
        self.size = 0
        self.where: Literal["memory", "disk"] = "memory"
        self._limits = limits
        self._budget = budget
        self._memory: list[bytes] = []
        self._in_memory = 0
        self._failed = False
        self._file: int | None = None
        self._folder = ""
        self._secret = b""
        self._cipher: CipherContext | None = None

    def append(self, chunk: bytes) -> None:
        """Keep ``chunk``; raises :class:`SpoolFullError` and keeps nothing of it when it does not fit."""
        if self._failed or self.size + len(chunk) > self._limits.per_request:
            raise SpoolFullError
        self._budget.take(len(chunk))
        try:
            if self._file is None and self._in_memory + len(chunk) <= self._limits.memory:
                self._memory.append(chunk)
                self._in_memory += len(chunk)
            else:
                self._write(chunk)
        except OSError as error:  # full, read-only, gone, no descriptors left: whatever it is, nothing more is kept
            self._failed = True  # the cipher's position is lost too
            self._budget.give_back(len(chunk))
            raise SpoolFullError from error
        self.size += len(chunk)

    def reader(self) -> SpoolReader:
        """Return a reader that begins at the first byte."""
        return SpoolReader(self)

    def close(self) -> None:
        """Free memory, disk and descriptor. May be called twice."""
        if self._file is not None:
            if self._limits.encrypt:
                self._budget.file_back(self._folder, self._file, self.size - self._in_memory)
            else:
                os.close(self._file)  # what it holds could be read, and goes with it
            self._file = None
        self._budget.give_back(self.size)
        self.size = self._in_memory = 0
        self._memory.clear()

    def _write(self, chunk: bytes) -> None:
        if self._file is None:
            self.where = "disk"
            self._secret = os.urandom(32)  # 16 bytes of key, 16 of initial counter
            self._folder = str(self._limits.directory or tempfile.gettempdir())
            self._file = self._budget.file_in(self._folder)
            self._cipher = self.new_cipher()
        start = self.size - self._in_memory
        plain = memoryview(chunk)
        for at in range(0, len(chunk), _PIECE):
            data = plain[at : at + _PIECE]
            if self._cipher is not None:
                data = _SCRATCH[: self._cipher.update_into(data, _SCRATCH)]
            while data:
                written = os.pwrite(self._file, data, start)
                data, start = data[written:], start + written

    def new_cipher(self) -> CipherContext | None:
        """Return a cipher at the file's first byte, or None when the file is not encrypted."""
        if not self._limits.encrypt:
            return None
        return Cipher(AES(self._secret[:16]), CTR(self._secret[16:])).encryptor()  # CTR: the same both ways

    def memory_chunk(self, index: int) -> bytes | None:
        """Return the ``index``-th chunk in memory, or None past the last."""
        return self._memory[index] if index < len(self._memory) else None

    def file_bytes(self, offset: int) -> bytes:
        """Return what the file holds from ``offset`` on, as it is on disk; empty at its end."""
        available = self.size - self._in_memory - offset
        if self._file is None or available <= 0:
            return b""
        return os.pread(self._file, min(_READ, available), offset)


class SpoolReader:
    """Reads one spool from its start, sequentially; ends where the spool ends at that moment."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._next_chunk = 0
        self._offset = 0
        self._cipher: CipherContext | None = None

    def read(self) -> bytes:
        """Return the next bytes, or empty bytes when everything that was kept so far has been read."""
        chunk = self._spool.memory_chunk(self._next_chunk)
        if chunk is not None:
            self._next_chunk += 1
            return chunk
        data = self._spool.file_bytes(self._offset)
        if data:
            if self._offset == 0:
                self._cipher = self._spool.new_cipher()
            self._offset += len(data)
            if self._cipher is not None:
                return self._cipher.update(data)
        return data


def _unnamed_file(folder: str) -> int:
    with suppress(OSError):  # not every file system has it (overlayfs of old, NFS)
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    descriptor, path = tempfile.mkstemp(dir=folder)
    os.unlink(path)  # noqa: PTH108  (a plain call, like the one above)
    return descriptor
