"""Installs what the tests need beyond Python packages: programs, and the Node SDKs. ``make test`` runs this first.

It is quiet and quick when nothing is missing. What cannot be had costs only the tests that need it, which say so when
they are skipped; with ``CI=true`` it is a failure, here and there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

NODE_FOLDER: Final = Path(__file__).parent / "sdks" / "node"

PROGRAMS: Final = {
    "node": ("nodejs",),
    "npm": ("npm",),
    "chromium": ("chromium", "fonts-dejavu-core"),  # the console's browser, and letters to draw
    "ffmpeg": ("ffmpeg",),  # makes audio in rates, channels and containers beyond those in vectors/
    "promtool": ("prometheus",),
    "amtool": ("prometheus-alertmanager",),
    "initdb": ("postgresql",),
    "nginx": ("nginx",),  # reads the sample in deploy/; none is started as a service
    "systemd-analyze": ("systemd",),
}
"""Programs that tests run, and the Debian packages that bring them."""

_ELSEWHERE: Final = {  # where Debian keeps what it keeps off the path, or what users other than root have not on theirs
    "initdb": "usr/lib/postgresql/*/bin",
    "nginx": "usr/sbin",
}

_MODULES: Final = NODE_FOLDER / "node_modules"
_STAMP: Final = _MODULES / ".made"  # older than package.json: the SDKs are installed anew
_PATIENCE: Final = 300.0  # seconds for one installer: a slow mirror, not one that hangs
_COMPLAINT: Final = 200  # characters of an installer's complaint that are worth repeating


class MissingError(Exception):
    """Something that the tests need cannot be installed; the message says what and why."""


def in_ci() -> bool:
    """Return whether a missing tool is a failure rather than a reason to skip."""
    return os.environ.get("CI", "").lower() == "true"


def found(program: str) -> str | None:
    """Return where ``program`` is, the newest of several versions, or None when it is not installed."""
    if (there := shutil.which(program)) is not None or program not in _ELSEWHERE:
        return there
    folders = sorted(Path("/").glob(_ELSEWHERE[program]), key=lambda f: [int(n) for n in re.findall(r"\d+", str(f))])
    return shutil.which(program, path=os.pathsep.join(map(str, reversed(folders))))


def missing(program: str) -> str | None:
    """Return why tests that run ``program`` cannot, or None when they can."""
    if found(program):
        return None
    return f"{program} is not installed; python -m tests.bootstrap installs it on Debian when run as root"


def missing_for_node() -> str | None:
    """Return why tests of the Node SDKs cannot run, or None when they can."""
    if (reason := missing("node")) is not None:
        return reason
    if not _up_to_date():
        return "the Node SDKs are not installed; python -m tests.bootstrap installs them"
    return None


def main() -> int:
    """Install what is missing; return the exit code."""
    code = 0
    for install in (_install_programs, _install_node_sdks):
        try:
            install()
        except MissingError as error:
            print(f"tests: {error}", file=sys.stderr)
            code = 1
    return code if in_ci() else 0


def _install_programs() -> None:
    wanted = [program for program in PROGRAMS if not found(program)]
    if not wanted:
        return
    names = ", ".join(wanted)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise MissingError(f"missing: {names}; the tests that need them will be skipped")
    print(f"tests: installing {names} ...", file=sys.stderr)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # and start no service
    packages = [package for program in wanted for package in PROGRAMS[program]]
    _run(["apt-get", "update", "-qq"], environment=quiet)
    _run(["apt-get", "install", "-qq", "--yes", "--no-install-recommends", *packages], environment=quiet)


def _install_node_sdks() -> None:
    if _up_to_date():
        return
    if not shutil.which("npm"):
        raise MissingError("npm is missing: the tests of the Node SDKs will be skipped")
    print("tests: installing the Node SDKs ...", file=sys.stderr)
    # No lock file: the floors are in package.json, and a lock would name the registry it was made with.
    _run(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"], folder=NODE_FOLDER)
    _STAMP.touch()


def _up_to_date() -> bool:
    return _STAMP.exists() and _STAMP.stat().st_mtime >= (NODE_FOLDER / "package.json").stat().st_mtime


def _run(command: list[str], *, folder: Path | None = None, environment: dict[str, str] | None = None) -> None:
    name = " ".join(command[:2])
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, timeout=_PATIENCE, capture_output=True, text=True, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"{name} did not work: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-_COMPLAINT:]
        raise MissingError(f"{name} ended with {done.returncode}: {said}")


if __name__ == "__main__":
    sys.exit(main())
