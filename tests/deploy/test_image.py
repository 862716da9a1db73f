"""The image itself: built, and run as a cluster would run it, with a spoken sentence sent through.

It takes two minutes, most of them for a base that ``debootstrap`` makes, and root: asked for by ``TEST_IMAGE=1``.
``TEST_IMAGE=FOLDER`` takes a root file system with Python that is already there.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from proxy import __version__
from proxy.engines.serve import SAMPLE_TEXT
from tests.flow.gateway import free_port
from tests.rules.sources import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

ASKED: Final = os.environ.get("TEST_IMAGE", "")
MISSING: Final = [name for name in ("buildah", "debootstrap", "unshare", "setpriv") if shutil.which(name) is None]
SAMPLE: Final = ROOT / "proxy" / "engines" / "sample.wav"
CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")  # of whatever stands between here and the packages
BASE: Final = "localhost/base:test"
PYTHON: Final = "python3,python3-venv,python3-pip,ca-certificates"
MOST: Final = 100  # MB that the image adds to its base

pytestmark = [
    pytest.mark.skipif(not ASKED, reason="builds an image for two minutes: TEST_IMAGE=1 asks for it"),
    pytest.mark.skipif(bool(MISSING) or os.geteuid() != 0, reason=f"needs root, and these are missing: {MISSING}"),
    pytest.mark.xdist_group("image"),
]

IMAGE: Final = "localhost/audiogate:test"
START: Final = 60.0  # seconds a start may take: nothing of the image is in the machine's caches yet

CAGE: Final = """
set -eu
mount --bind "$ROOT" "$ROOT"
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs -o nosuid,nodev,size=16m,mode=1777 tmpfs "$ROOT/tmp"
mount -t tmpfs -o nosuid,nodev,size=64m,mode=0750,uid=65532,gid=65532 tmpfs "$ROOT/var/lib/audiogate"
mount --bind "$SETTINGS" "$ROOT/etc/audiogate/audiogate.yaml"
mount -o remount,bind,ro "$ROOT"
exec env --ignore-environment "$@"
"""
"""What a container is here: namespaces, a read-only root, and the two folders that may be written to."""


class Builder:
    """Images in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        storage = ["--root", str(folder / "images"), "--runroot", str(folder / "run"), "--storage-driver", "vfs"]
        self._command = ["buildah", *storage]

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run([*self._command, *arguments], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return done.stdout.strip()

    def build(self, target: str, tag: str) -> None:
        command = ["build", "--isolation", "chroot", "--network", "host", "--pull-never", "--format", "docker"]
        if CERTIFICATES.exists():
            command += ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"]
        command += ["--build-arg", f"BASE={BASE}", "--target", target, "--tag", tag]
        self(*command, "--file", str(ROOT / "deploy" / "docker" / "Dockerfile"), str(ROOT))

    def about(self, tag: str) -> dict[str, Any]:
        return dict(json.loads(self("inspect", "--type", "image", tag))["Docker"]["config"])

    def size(self, tag: str) -> float:
        """Return the megabytes of an image and its base, as buildah tells them."""
        (found,) = json.loads(self("images", "--json", tag))
        number, unit = found["size"].split()
        assert unit == "MB", found["size"]
        return float(number)


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    """A builder that has made a base, and on it the gateway's image; both go with it."""
    folder = tmp_path_factory.mktemp("image")
    root = Path(ASKED)
    if not root.is_dir():
        root = folder / "root"
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={PYTHON}", "stable", str(root)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    made = Builder(folder)
    container = made("from", "scratch")
    made("add", "--quiet", container, str(root), "/")
    made("commit", "--quiet", "--rm", container, BASE)
    made.build("gateway", IMAGE)
    yield made
    shutil.rmtree(folder)


@contextmanager
def running(command: list[str], port: int, path: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends; the block begins when it answers."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AUDIOGATE")}
    process = subprocess.Popen(command, cwd=ROOT, env={**clean, **environment}, stdout=subprocess.PIPE)
    try:
        end = time.monotonic() + START
        while not answers(port, path):
            assert process.poll() is None, f"it ended with {process.poll()}"
            assert time.monotonic() < end, "it does not answer"
            time.sleep(0.1)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def caged(builder: Builder, settings: Path, ops: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the image with its own command and environment: read-only, without a capability, as its own user."""
    about = builder.about(IMAGE)
    user, _, group = about["User"].partition(":")
    container = builder("from", "--pull-never", IMAGE)
    root = builder("mount", container)
    nobody = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs"]
    nobody += ["--bounding-set=-all", "--inh-caps=-all", *about["Entrypoint"], *about["Cmd"]]
    inside = [*about["Env"], "chroot", root, *nobody]
    cage = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", CAGE, "cage", *inside]
    try:
        with running(cage, ops, "/readyz", ROOT=root, SETTINGS=str(settings)) as process:
            yield process
    finally:
        builder("umount", container)
        builder("rm", container)


def test_it_says_what_it_is_and_who_runs_it(builder: Builder) -> None:
    about = builder.about(IMAGE)
    assert about["User"] == "65532:65532"
    assert about["StopSignal"] == "SIGTERM"
    assert set(about["ExposedPorts"]) == {"8787/tcp", "8788/tcp"}
    assert about["Healthcheck"]["Test"] == ["CMD", "audiogate", "healthcheck"]
    assert about["Labels"]["org.opencontainers.image.version"] == __version__
    assert about["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_it_adds_little_to_its_base(builder: Builder) -> None:
    assert builder.size(IMAGE) - builder.size(BASE) < MOST


def test_a_sentence_passes_through_it_where_it_may_write_to_nothing(builder: Builder, tmp_path: Path) -> None:
    heard, port, ops = free_port(), free_port(), free_port()
    provider = {"slug": "local", "dialect": "openai", "base_url": f"http://127.0.0.1:{heard}/v1", "auth": "none"}
    settings = {
        "listen": f"127.0.0.1:{port}",
        "ops": {"listen": f"127.0.0.1:{ops}"},
        "providers": [provider],
        "configs": [{"slug": "local", "config": {"provider": "local"}}],
        "default_config": "local",
        "records": {"store": "sqlite:/var/lib/audiogate/audiogate.db"},
        "drain": {"delay": 0},
    }
    path = tmp_path / "audiogate.yaml"
    path.write_text(json.dumps(settings))
    path.chmod(0o644)
    engine = [sys.executable, "-m", "proxy", "engine", "--listen", f"127.0.0.1:{heard}"]
    with running(engine, heard, "/health"), caged(builder, path, ops) as gateway:
        client = [sys.executable, "-m", "proxy", "transcribe", "--url", f"http://127.0.0.1:{port}", "--format", "text"]
        done = subprocess.run([*client, "--model", "any", SAMPLE], cwd=ROOT, capture_output=True, text=True)
        assert done.stdout.strip() == SAMPLE_TEXT, done.stderr
        (inner,) = Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text().split()
        status = Path(f"/proc/{inner}/status").read_text()
        assert "\nUid:\t65532\t65532\t65532\t65532\n" in status
        assert "\nCapBnd:\t0000000000000000\n" in status
        os.kill(int(inner), signal.SIGTERM)
        out, _ = gateway.communicate(timeout=START)
    (record,) = [json.loads(line) for line in out.splitlines()]
    assert (record["status"], record["provider"], record["audio"]["container"]) == (200, "local", "wav")
    assert gateway.returncode == 0
