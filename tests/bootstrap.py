"""Installs what the tests need beyond Python packages: Node, and the SDKs for it. ``make test`` runs this first.

It is quiet and quick when nothing is missing. What cannot be had costs only the tests that need it, which say so when
they are skipped; with ``CI=true`` it is a failure, here and there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

NODE_FOLDER: Final = Path(__file__).parent / "sdks" / "node"

_MODULES: Final = NODE_FOLDER / "node_modules"
_STAMP: Final = _MODULES / ".made"  # older than package.json: the SDKs are installed anew
_PATIENCE: Final = 300.0  # seconds for one installer: a slow mirror, not one that hangs
_COMPLAINT: Final = 200  # characters of an installer's complaint that are worth repeating


class MissingError(Exception):
    """Something that the tests need cannot be installed; the message says what and why."""


def in_ci() -> bool:
    """Return whether a missing tool is a failure rather than a reason to skip."""
    return os.environ.get("CI", "").lower() == "true"


def missing_for_node() -> str | None:
    """Return why tests of the Node SDKs cannot run, or None when they can."""
    if not shutil.which("node"):
        return "node is not installed; python -m tests.bootstrap installs it on Debian when run as root"
    if not _up_to_date():
        return "the Node SDKs are not installed; python -m tests.bootstrap installs them"
    return None


def main() -> int:
    """Install what is missing; return the exit code."""
    try:
        _install_node()
        _install_node_sdks()
    except MissingError as error:
        print(f"tests: {error}", file=sys.stderr)
        return 1 if in_ci() else 0
    return 0


def _install_node() -> None:
    if shutil.which("node") and shutil.which("npm"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise MissingError("node and npm are missing: the tests of the Node SDKs will be skipped")
    print("tests: installing nodejs and npm ...", file=sys.stderr)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "update", "-qq"], environment=quiet)
    _run(["apt-get", "install", "-qq", "--yes", "--no-install-recommends", "nodejs", "npm"], environment=quiet)


def _install_node_sdks() -> None:
    if _up_to_date():
        return
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
