"""Fixtures of the browser tests: one Chromium, a real gateway, a scripted upstream, and pages that are watched."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.bootstrap import in_ci, missing
from tests.browser.scene import settings
from tests.browser.watched import Visitor, launched
from tests.flow.driver import Upstream
from tests.flow.gateway import Gateway, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one worker have all tests that need the browser: it is started once."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. It ends with each file: while its driver runs, no other test of a worker has an event loop."""
    if (reason := missing("chromium")) is not None:
        assert not in_ci(), reason
        pytest.skip(reason)
    with launched() as running:
        yield running


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    running = Upstream()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="browser-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def gateway(upstream: Upstream, folder: Path) -> Iterator[Gateway]:
    """The gateway that most tests share: what they send they know by its words."""
    with serving(folder, settings(upstream, folder)) as running:
        yield running


@pytest.fixture
def own_gateway(upstream: Upstream, folder: Path) -> Iterator[Callable[..., Gateway]]:
    """Start gateways that a test has for itself."""
    started: list[Gateway] = []

    def start(**changes: Any) -> Gateway:
        started.append(Gateway(folder, settings(upstream, folder, **changes)))
        return started[-1]

    yield start
    for running in started:
        running.kill()


@pytest.fixture
def visit(browser: Browser, own_gateway: Callable[..., Gateway]) -> Iterator[Callable[..., Visitor]]:
    """Open pages of a gateway's console; whatever goes wrong in them fails the test at its end.

    They are closed before the gateways of the test's own are.
    """
    del own_gateway
    visitors: list[Visitor] = []

    def open_console(gateway: Gateway, path: str = "/", **options: Any) -> Visitor:
        visitor = Visitor(browser, gateway, **options)
        visitors.append(visitor)
        visitor.goto(path)
        return visitor

    yield open_console
    for visitor in visitors:
        visitor.close()
    for visitor in visitors:
        visitor.check()
