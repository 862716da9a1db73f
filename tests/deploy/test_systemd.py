"""The units for systemd: verified by it without a word, hardened, and in step with the settings beside them."""

from __future__ import annotations

import re
import subprocess
from configparser import ConfigParser
from typing import TYPE_CHECKING

import pytest

from proxy.settings import Settings, load
from tests.bootstrap import in_ci, missing
from tests.deploy import manifests
from tests.rules.sources import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / "deploy" / "systemd"
SERVICE = (FOLDER / "audiogate.service").read_text(encoding="utf-8")
SOCKET = (FOLDER / "audiogate.socket").read_text(encoding="utf-8")
PROGRAM = "/opt/audiogate/bin/audiogate"
EXPOSURE = 2.0  # of 10, by systemd's own reckoning


def said(text: str, key: str) -> list[str]:
    """Return all values of a key; systemd lets a key come more than once."""
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


@pytest.fixture
def analyze() -> str:
    if (reason := missing("systemd-analyze")) is not None:
        if in_ci():
            pytest.fail(reason)
        pytest.skip(reason)
    return "systemd-analyze"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for credential in said(SERVICE, "LoadCredential"):
        (tmp_path / credential.partition(":")[0]).write_text("a-secret")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "STATE_DIRECTORY": "/var/lib/audiogate"}
    return load(str(FOLDER / "audiogate.yaml"), environ=environ, flags={}).settings


def verified(analyze: str, folder: Path, service: str) -> str:
    """Return what systemd has to say about the units; it ends well even when it does not know a key."""
    (folder / "audiogate.service").write_text(service.replace(PROGRAM, "/bin/true"))  # it has to be there
    (folder / "audiogate.socket").write_text(SOCKET)
    units = [str(folder / "audiogate.service"), str(folder / "audiogate.socket")]
    return subprocess.run([analyze, "verify", *units], capture_output=True, text=True).stderr


def test_systemd_has_nothing_to_say_about_the_units(analyze: str, tmp_path: Path) -> None:
    assert verified(analyze, tmp_path, SERVICE) == ""


def test_a_key_that_systemd_does_not_know_would_be_seen(analyze: str, tmp_path: Path) -> None:
    assert "ProtectEverything" in verified(analyze, tmp_path, f"{SERVICE}\n[Service]\nProtectEverything=yes\n")


def test_the_service_is_hardened(analyze: str) -> None:
    command = [analyze, "security", "--offline=true", "--no-pager", str(FOLDER / "audiogate.service")]
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"exposure level for audiogate\.service: ([\d.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= EXPOSURE


def test_the_settings_find_their_secrets_and_there_is_time_to_drain(settings: Settings) -> None:
    (seconds,) = said(SERVICE, "TimeoutStopSec")
    assert int(seconds.removesuffix("s")) >= settings.drain.delay + settings.drain.timeout + manifests.CLOSING
    named = re.findall(r"\$\{CREDENTIALS_DIRECTORY\}/([\w-]+)", (FOLDER / "audiogate.yaml").read_text())
    assert sorted(named) == sorted(credential.partition(":")[0] for credential in said(SERVICE, "LoadCredential"))
    assert said(SERVICE, "StateDirectory") == ["audiogate"]


def test_the_socket_is_the_gateways_address(settings: Settings) -> None:
    assert said(SOCKET, "ListenStream") == [str(settings.listen)]
    assert said(SOCKET, "FileDescriptorName") == ["gateway"]


def test_there_are_descriptors_for_all_requests_that_are_let_in(settings: Settings) -> None:
    (limit,) = said(SERVICE, "LimitNOFILE")
    assert int(limit) >= 3 * settings.limits.max_in_flight + 100, "client, upstream, and a file to keep the upload in"


def test_it_is_told_of_changed_settings_and_not_restarted_over_wrong_ones() -> None:
    assert said(SERVICE, "ExecReload") == ["/bin/kill -HUP $MAINPID"]
    assert said(SERVICE, "RestartPreventExitStatus") == ["1 2"]
    assert said(SERVICE, "Type") == ["notify"]


def test_the_units_are_written_as_systemd_writes_them() -> None:
    for text in (SERVICE, SOCKET):
        parser = ConfigParser(strict=False, interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(text)
        assert "Install" in parser.sections()
