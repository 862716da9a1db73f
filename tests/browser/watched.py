"""A browser with one visitor in it, who notes everything that a page does and should not."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from playwright.sync_api import expect, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Locator, Request, ViewportSize

    from tests.flow.gateway import Gateway

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
PATIENCE = 8000  # milliseconds for anything to show up, on a machine whose cores are all busy
DESK: Final[ViewportSize] = {"width": 1360, "height": 900}
PHONE: Final[ViewportSize] = {"width": 360, "height": 740}

expect.set_options(timeout=PATIENCE)


@contextmanager
def launched() -> Iterator[Browser]:
    """Start Chromium with a fresh profile; end it with everything it started."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """One page in a profile of its own. ``page`` is Playwright's.

    A test that expects the browser to report failed loads (a 401 is one) says so by their status: ``expected``.
    """

    def __init__(
        self, browser: Browser, gateway: Gateway, *, phone: bool = False, expected: tuple[int, ...] = (), **options: Any
    ) -> None:
        self.origin = f"http://127.0.0.1:{gateway.ops_port}"
        self.expected = {f"status of {status}" for status in expected}
        self.complaints: list[str] = []
        self.requests: list[str] = []
        size = PHONE if phone else DESK
        self._context = browser.new_context(viewport=size, base_url=self.origin, accept_downloads=True, **options)
        self._context.set_default_timeout(PATIENCE)
        self.page = self._context.new_page()
        self.page.on("console", self._spoke)
        self.page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        self.page.on("request", self._asked)
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))

    def _spoke(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not any(words in message.text for words in self.expected):
            self.complaints.append(f"console {message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        self.requests.append(request.url)
        parts = urlsplit(request.url)
        if parts.scheme not in {"blob", "data"} and f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.complaints.append(f"asked another host: {request.url}")

    def goto(self, path: str) -> None:
        """Open a path as if it had been typed."""
        self.page.goto(path)

    def row(self, text: str) -> Locator:
        """Return the table's line that holds ``text``."""
        return self.page.locator("table.requests tbody tr").filter(has_text=text)

    def heading(self, name: str) -> Locator:
        """Return the page's first heading with this name."""
        return self.page.get_by_role("heading", level=1, name=name)

    def overflow(self) -> int:
        """Return how many pixels the page is wider than its window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return width

    def close(self) -> None:
        """Close the page and its profile."""
        self._context.close()

    def check(self) -> None:
        """What must hold of every page: no error, and nobody else was asked for anything."""
        assert not self.complaints, "\n".join(self.complaints)
