"""The image's recipe: linted, pinned, and in step with setup.cfg. ``test_image`` builds it."""

from __future__ import annotations

import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy import __version__
from proxy.settings import load
from tests.rules.sources import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = ROOT / "deploy" / "docker"
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
LOCKS = ("requirements.lock", "requirements-local.lock", "requirements-build.lock")

CFG = ConfigParser()
CFG.read(ROOT / "setup.cfg", encoding="utf-8")


def normal(name: str) -> str:
    """Return a distribution's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def locked(name: str) -> dict[str, str]:
    """Return the versions that a lock file pins."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    return {normal(found[1]): found[2] for found in re.finditer(r"^([\w.-]+)==([\d.]+)", text, re.MULTILINE)}


def floors(section: str, key: str) -> Iterator[tuple[str, str]]:
    for found in re.finditer(r"^([\w.-]+)>=([\d.]+)", CFG[section][key], re.MULTILINE):
        yield normal(found[1]), found[2]


def test_hadolint_finds_no_fault() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, "--no-color", FOLDER / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("lock", "section", "key"),
    [
        ("requirements.lock", "options", "install_requires"),
        ("requirements.lock", "options.extras_require", "postgres"),
        ("requirements-local.lock", "options", "install_requires"),
        ("requirements-local.lock", "options.extras_require", "postgres"),
        ("requirements-local.lock", "options.extras_require", "local"),
    ],
)
def test_what_is_locked_is_what_setup_cfg_asks_for(lock: str, section: str, key: str) -> None:
    pinned = locked(lock)
    wanted = dict(floors(section, key))
    assert wanted
    behind = {name for name, floor in wanted.items() if version(pinned.get(name, "0")) < version(floor)}
    assert not behind, f"run deploy/docker/lock.sh: {behind}"


def test_the_engines_lock_only_adds_to_the_gateways() -> None:
    assert locked("requirements.lock").items() <= locked("requirements-local.lock").items()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_its_hashes(lock: str) -> None:
    text = (FOLDER / lock).read_text(encoding="utf-8")
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert entries
    assert [entry for entry in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}", entry)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_index_and_no_folder(lock: str) -> None:
    text = (FOLDER / lock).read_text(encoding="utf-8")
    assert not re.search(r"://|^--?(?:index|extra|find|trusted)|/home/|file:", text, re.MULTILINE)


def test_it_runs_as_nobody_in_particular_and_says_how_it_is() -> None:
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE) == ["65532:65532"]
    assert 'CMD ["audiogate", "healthcheck"]' in DOCKERFILE
    assert "\nSTOPSIGNAL SIGTERM\n" in DOCKERFILE
    assert f"ARG VERSION={__version__}\n" in DOCKERFILE
    assert DOCKERFILE.rstrip().rpartition("FROM ")[2].startswith("base AS gateway"), "what is built without --target"


def test_the_image_starts_with_settings_that_pass() -> None:
    settings = load(str(FOLDER / "audiogate.yaml"), environ={}, flags={}).settings
    ports = {settings.listen.port, settings.ops.listen.port}
    (exposed,) = re.findall(r"^EXPOSE (\d+) (\d+)$", DOCKERFILE, re.MULTILINE)
    assert ports == {int(port) for port in exposed}
    assert not settings.listen.is_loopback


def test_the_builder_gets_only_what_the_image_is_made_of() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        source.removeprefix("./")
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert "*" in ignored
    assert {source for source in copied if not any(source == a or source.startswith(f"{a}/") for a in allowed)} == set()
    assert allowed - copied == {"deploy/docker"}
