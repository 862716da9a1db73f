"""Fixtures of the SDK tests: a gateway in front of the scripted upstream and of the local engine."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from openai import OpenAI

from proxy.engines import sample_path
from tests.bootstrap import in_ci, missing_for_node
from tests.flow.driver import Upstream
from tests.flow.forms import audio
from tests.flow.gateway import Gateway, free_port
from tests.flow.stage import Stage
from tests.sdks.driver import Node
from tests.sdks.ways import GATEWAY_KEY, LOCKED_KEY, VIRTUAL_KEY, WAYS, openai_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.sdks.ways import Way

ROOT = Path(__file__).parents[2]
SIZE = 200_003  # bytes of the usual recording: more than any one read, and of no even length


@pytest.fixture(autouse=True)
def _no_keys_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDKs read keys and addresses from the environment: whose those are is no part of a test."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "PORTKEY_API_KEY", "PORTKEY_PROXY", "PORTKEY_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="sdks-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def recording(folder: Path) -> Path:
    """A file that begins as a WAV and goes on like nothing that compresses."""
    path = folder / "speech.wav"
    path.write_bytes(audio(SIZE))
    return path


@pytest.fixture(scope="session")
def sentence() -> Path:
    """The bundled recording of a spoken sentence."""
    return sample_path()


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    running = Upstream()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def engine() -> Iterator[str]:
    """The local engine; yields its base URL."""
    command = [sys.executable, "-m", "proxy", "engine", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert " engine on " in line, line + process.stderr.read()
    yield line.split()[-1] + "/v1"
    process.terminate()
    process.communicate(timeout=10)


def _settings(upstream: Upstream, **more: Any) -> dict[str, Any]:
    scripted = {"dialect": "openai", "base_url": upstream.url, "auth": "bearer"}
    return {
        "providers": [
            {**scripted, "slug": "up"},
            {**scripted, "slug": "dead", "base_url": f"http://127.0.0.1:{free_port()}/v1"},
            *more.pop("providers", []),
        ],
        "virtual_keys": [{"slug": "vk", "provider": "up", "key": VIRTUAL_KEY}],
        "configs": [{"slug": "saved", "config": {"virtual_key": "vk"}}],
        "drain": {"delay": 0, "timeout": 5},
        **more,
    }


def _running(folder: Path, settings: dict[str, Any]) -> Iterator[Gateway]:
    gateway = Gateway(folder, settings)
    try:
        yield gateway
        gateway.stop()
    finally:
        gateway.kill()


@pytest.fixture(scope="session")
def open_gateway(upstream: Upstream, engine: str, folder: Path) -> Iterator[Gateway]:
    """Open mode: callers bring the provider's key. Behind it: the scripted upstream, and the engine as ``local``."""
    local = {"slug": "local", "dialect": "openai", "base_url": engine, "auth": "none"}
    yield from _running(folder, _settings(upstream, providers=[local]))


@pytest.fixture(scope="session")
def keyed_gateway(upstream: Upstream, folder: Path) -> Iterator[Gateway]:
    """Callers need a gateway key, as they need one of Portkey's where it is hosted."""
    keys = [
        {"name": "app", "key": GATEWAY_KEY},
        {"name": "locked", "key": LOCKED_KEY, "config": "saved", "allow_config": False},
    ]
    yield from _running(folder, _settings(upstream, auth={"mode": "keys", "keys": keys}))


@pytest.fixture
def stage(open_gateway: Gateway, upstream: Upstream) -> Iterator[Stage]:
    """A stage before the gateway in open mode."""
    yield Stage(open_gateway, upstream)
    open_gateway.check()


@pytest.fixture
def keyed(keyed_gateway: Gateway, upstream: Upstream) -> Iterator[Stage]:
    """A stage before the gateway that asks for a key."""
    yield Stage(keyed_gateway, upstream, caller_key=GATEWAY_KEY)
    keyed_gateway.check()


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """The Node SDKs; where Node is missing its tests are skipped, or fail in CI."""
    if reason := missing_for_node():
        if in_ci():
            pytest.fail(reason)
        pytest.skip(reason)
    running = Node()
    yield running
    running.stop()


@pytest.fixture
def connect(stage: Stage) -> Iterator[Callable[..., OpenAI]]:
    """Make OpenAI clients of the gateway in open mode: ``connect(way, max_retries=0)``."""
    with ExitStack() as clients:

        def make(way: Way = WAYS["provider and Authorization"], **options: Any) -> OpenAI:
            return clients.enter_context(OpenAI(**openai_options(stage, way), **options))

        yield make


@pytest.fixture
def client(connect: Callable[..., OpenAI]) -> OpenAI:
    """A client that names the scripted upstream and brings its key."""
    return connect()
