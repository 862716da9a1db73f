"""Fixtures of the flow tests: one upstream and a few gateways per worker, one stage per test."""

from __future__ import annotations

import shutil
import tempfile
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.driver import Upstream
from tests.flow.gateway import Gateway, free_port, serving
from tests.flow.stage import Stage
from tests.flow.trio import Trio, trio_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

HUGE = 4_000_000_000  # bytes: an upload limit that no test reaches by chance
VIRTUAL_KEY = "sk-flow-virtual"
AZURE_KEY = "sk-flow-azure"
MOBILE_KEY = "sk-flow-mobile"
DESK_KEY = "sk-flow-desk"
OPS_TOKEN = "sk-flow-ops"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes seconds; part of every full run")


def base_settings(upstream: Upstream, **changes: Any) -> dict[str, Any]:
    """Return the settings that most tests share; ``changes`` replace whole top-level keys."""
    free = {"dialect": "openai", "base_url": upstream.url, "auth": "none", "formats": "any"}
    settings: dict[str, Any] = {
        "providers": [
            {**free, "slug": "up", "auth": "bearer"},
            {**free, "slug": "free"},
            {**free, "slug": "strict", "formats": ["wav", "mp3", "flac"]},
            {**free, "slug": "small", "max_upload_bytes": 100_000},
            {**free, "slug": "exact", "needs_content_length": True},
            {**free, "slug": "dead", "base_url": f"http://127.0.0.1:{free_port()}/v1"},
            {**free, "slug": "mute", "base_url": f"http://127.0.0.1:{upstream.listen_mute()}/v1"},
        ],
        "virtual_keys": [
            {"slug": "vk", "provider": "up", "key": VIRTUAL_KEY},
            {
                "slug": "azure",
                "provider": "azure-openai",
                "key": AZURE_KEY,
                "base_url": upstream.url.removesuffix("/v1") + "/openai",
                "deployments": {"whisper-1": "hear", "gpt-transcribe": "gptt"},
                "api_version": "2025-04-01-preview",
            },
        ],
        "configs": [
            {
                "slug": "renamed",
                "config": {"virtual_key": "vk", "override_params": {"model": "big", "language": "en"}},
            },
            {"slug": "hurried", "config": {"provider": "free", "request_timeout": 300}},
        ],
        "limits": {"max_upload_bytes": HUGE, "max_field_bytes": 10_000, "max_parts": 20},
        "timeouts": {"connect": 0.6, "upload_idle": 20, "first_byte": 20, "idle": 20},
        "drain": {"delay": 0, "timeout": 5},
    }
    return settings | changes


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    running = Upstream()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="flow-"))
    yield path
    shutil.rmtree(path)


def _shared(folder: Path, settings: dict[str, Any]) -> Iterator[Gateway]:
    with serving(folder, settings) as running:
        yield running


@pytest.fixture(scope="session")
def open_gateway(upstream: Upstream, folder: Path) -> Iterator[Gateway]:
    """Patient and in open mode: callers bring the provider's key. It keeps its records, as most gateways do."""
    yield from _shared(folder, base_settings(upstream, records={"store": "sqlite:open.db"}))


@pytest.fixture(scope="session")
def hasty_gateway(upstream: Upstream, folder: Path) -> Iterator[Gateway]:
    """Every timeout is short enough to be waited for."""
    timeouts = {
        "connect": 0.4,
        "upload_idle": 0.5,
        "first_byte": 0.5,
        "idle": 0.5,
        "header": 0.5,
        "keepalive": 0.5,
    }
    yield from _shared(folder, base_settings(upstream, timeouts=timeouts))


@pytest.fixture(scope="session")
def keyed_gateway(upstream: Upstream, folder: Path) -> Iterator[Gateway]:
    """Callers need a gateway key."""
    auth = {
        "mode": "keys",
        "allow_origins": ["https://app.example.com"],
        "keys": [
            {"name": "mobile", "key": MOBILE_KEY, "metadata": {"team": "mobile"}},
            {
                "name": "desk",
                "key": DESK_KEY,
                "config": "renamed",
                "allow_config": False,
                "virtual_keys": ["vk"],
            },
        ],
    }
    yield from _shared(folder, base_settings(upstream, auth=auth))


def _staged(gateway: Gateway, upstream: Upstream) -> Iterator[Stage]:
    yield Stage(gateway, upstream)
    gateway.check()


@pytest.fixture
def stage(open_gateway: Gateway, upstream: Upstream) -> Iterator[Stage]:
    """A stage before the patient gateway."""
    yield from _staged(open_gateway, upstream)


@pytest.fixture
def hasty(hasty_gateway: Gateway, upstream: Upstream) -> Iterator[Stage]:
    """A stage before the gateway with short timeouts."""
    yield from _staged(hasty_gateway, upstream)


@pytest.fixture
def keyed(keyed_gateway: Gateway, upstream: Upstream) -> Iterator[Stage]:
    """A stage before the gateway that asks for a key; the caller's key is a good one."""
    for staged in _staged(keyed_gateway, upstream):
        staged.caller_key = MOBILE_KEY
        yield staged


@pytest.fixture(scope="session", params=[1, 2], ids=["one process", "two workers"])
def watched_gateway(request: pytest.FixtureRequest, upstream: Upstream, folder: Path) -> Iterator[Gateway]:
    """Patient and open, too; its ops listener asks for a token."""
    records = {"store": f"sqlite:watched-{request.param}.db"}
    yield from _shared(
        folder, base_settings(upstream, workers=request.param, records=records, ops={"token": OPS_TOKEN})
    )


@pytest.fixture
def watched(watched_gateway: Gateway, upstream: Upstream) -> Iterator[Stage]:
    """A stage before the gateway whose records are looked at, with one process and with two workers."""
    yield from _staged(watched_gateway, upstream)


@pytest.fixture
def own_gateway(upstream: Upstream, folder: Path) -> Iterator[Callable[..., Stage]]:
    """Start gateways that a test may stop, reload or starve: each call is a stage before a new one."""
    started: list[Gateway] = []

    def start(*, paused_stdout: bool = False, **changes: Any) -> Stage:
        running = Gateway(folder, base_settings(upstream, **changes), paused_stdout=paused_stdout)
        started.append(running)
        return Stage(running, upstream)

    yield start
    for running in started:
        running.kill()


@pytest.fixture(scope="session")
def three(upstream: Upstream) -> Iterator[Mapping[str, Upstream]]:
    """Three upstreams, each in a process of its own."""
    others = {"b": Upstream(), "c": Upstream()}
    yield {"a": upstream, **others}
    for other in others.values():
        other.stop()


@pytest.fixture(scope="session")
def trio_gateway(three: Mapping[str, Upstream], folder: Path) -> Iterator[tuple[Gateway, Iterator[int]]]:
    """A gateway before the three, and a count of its providers that were used."""
    for running in _shared(folder, trio_settings(three, free_port())):
        yield running, count()


@pytest.fixture
def trio(trio_gateway: tuple[Gateway, Iterator[int]], three: Mapping[str, Upstream]) -> Iterator[Trio]:
    """A test's place before three upstreams."""
    gateway, used = trio_gateway
    yield Trio(gateway, three, used)
    gateway.check()


@pytest.fixture
def own_trio(three: Mapping[str, Upstream], folder: Path) -> Iterator[Callable[..., Trio]]:
    """Start gateways before three upstreams that a test may stop, or whose state it needs for itself."""
    started: list[Gateway] = []

    def start(**changes: Any) -> Trio:
        started.append(Gateway(folder, trio_settings(three, free_port(), **changes)))
        return Trio(started[-1], three)

    yield start
    for running in started:
        running.kill()
