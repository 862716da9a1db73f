"""What a gateway keeps of uploads at a moment: the bytes that it tells of, and its files without a name."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.flow.gateway import Gateway


def kept_bytes(gateway: Gateway) -> int:
    """Return what the gauge ``replay_bytes`` says."""
    lines = gateway.ops("/metrics")[1].splitlines()
    (line,) = [line for line in lines if line.startswith("audiogate_replay_bytes ")]
    return int(float(line.split()[1]))


def unnamed_files(gateway: Gateway) -> list[Path]:
    """Return the open files of a gateway that have no name, as proc(5) shows them: they can be read there."""
    found = []
    for pid in gateway.pids():
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed just now
                if str(file.readlink()).endswith(" (deleted)"):
                    found.append(file)
    return found


def wait_for_nothing_kept(gateway: Gateway) -> None:
    """Wait until a gateway holds neither bytes nor files."""
    gateway.wait_for(lambda: kept_bytes(gateway) == 0 and not unnamed_files(gateway), "all that was kept to be freed")
