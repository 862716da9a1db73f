"""The wheel holds the package and nothing else, and says what it is."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from typing import TYPE_CHECKING

import pytest

import proxy
from tests.bootstrap import in_ci
from tests.rules.sources import ROOT, tracked

if TYPE_CHECKING:
    from email.message import Message

SOURCES = {"proxy", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy so that building leaves nothing behind in the project."""
    folder = tmp_path_factory.mktemp("wheel")
    for path in tracked():
        relative = path.relative_to(ROOT)
        if relative.parts[0] in SOURCES:
            copy = folder / "source" / relative
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(folder), str(folder / "source")], cwd=folder, capture_output=True, text=True
    )
    if done.returncode and "setuptools" in done.stderr and "No matching distribution" in done.stderr and not in_ci():
        pytest.skip("the build needs a newer setuptools, which cannot be had here")
    assert done.returncode == 0, done.stderr[-4000:]
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    return message_from_bytes(wheel.read(f"{_about(wheel)}/METADATA"))


def _about(wheel: zipfile.ZipFile) -> str:
    return f"audiogate-{proxy.__version__}.dist-info"


def test_it_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    assert {name.partition("/")[0] for name in wheel.namelist()} == {"proxy", _about(wheel)}
    ours = {str(path.relative_to(ROOT)) for path in tracked() if path.relative_to(ROOT).parts[0] == "proxy"}
    assert {name for name in wheel.namelist() if name.startswith("proxy/")} == ours


@pytest.mark.parametrize("name", ["proxy/py.typed", "proxy/engines/sample.wav"])
def test_what_is_no_code_is_there_too(wheel: zipfile.ZipFile, name: str) -> None:
    assert wheel.read(name) == (ROOT / name).read_bytes()


def test_its_licence_is_an_expression_with_its_text(wheel: zipfile.ZipFile, metadata: Message) -> None:
    assert metadata["License-Expression"] == "Apache-2.0"
    assert wheel.read(f"{_about(wheel)}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_it_says_which_version_and_which_python(metadata: Message) -> None:
    assert (metadata["Name"], metadata["Version"]) == ("audiogate", proxy.__version__)
    assert metadata["Requires-Python"] == ">=3.11"
    description = metadata.get_payload(decode=True)
    assert isinstance(description, bytes)
    assert description.strip() == (ROOT / "README.md").read_bytes().strip()


def test_it_installs_the_command(wheel: zipfile.ZipFile) -> None:
    assert "audiogate = proxy.cli:main" in wheel.read(f"{_about(wheel)}/entry_points.txt").decode()
