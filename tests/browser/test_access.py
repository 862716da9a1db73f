"""Log-in and log-out, and what the console says when it cannot show anything."""

from __future__ import annotations

import signal
import uuid
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.scene import Call, make

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.watched import Visitor
    from tests.flow.driver import Upstream
    from tests.flow.gateway import Gateway

TOKEN = "sk-flow-browser-ops-token"


@pytest.fixture
def guarded(own_gateway: Callable[..., Gateway]) -> Gateway:
    """A gateway whose ops listener has a token."""
    return own_gateway(ops={"token": TOKEN})


def test_a_token_lets_in_and_nothing_else_does(
    visit: Callable[..., Visitor], guarded: Gateway, upstream: Upstream
) -> None:
    text = f"w{uuid.uuid4().hex}"
    make(guarded, upstream, Call(text), f"t-{uuid.uuid4().hex}")
    visitor = visit(guarded, "/requests", expected=(401,))
    page = visitor.page
    expect(visitor.heading("Log in")).to_be_visible()
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_count(0)
    assert not any("/api/requests" in url for url in visitor.requests)
    expect(page.get_by_label("Token")).to_be_focused()
    page.keyboard.type("not the token")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("This is not the ops token.")
    assert page.get_by_label("Token").get_attribute("aria-invalid") == "true"
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    expect(visitor.row(text)).to_be_visible()
    assert page.url == f"{visitor.origin}/requests"
    page.reload()
    expect(visitor.row(text)).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(visitor.heading("Log in")).to_be_visible()
    assert text not in page.content()
    page.go_back()
    assert text not in page.content()
    assert not any(TOKEN in url for url in visitor.requests)


def test_a_session_that_has_ended_leads_to_the_log_in_and_back(visit: Callable[..., Visitor], guarded: Gateway) -> None:
    visitor = visit(guarded, "/settings", expected=(401,))
    page = visitor.page
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(visitor.heading("Settings")).to_be_visible()
    assert TOKEN not in page.content()
    page.context.clear_cookies()
    page.get_by_role("link", name="Upstreams").click()
    expect(visitor.heading("Log in")).to_be_visible()
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(visitor.heading("Upstreams")).to_be_visible()


def test_without_a_store_the_page_says_which_setting_brings_one(
    visit: Callable[..., Visitor], own_gateway: Callable[..., Gateway]
) -> None:
    gateway = own_gateway(records={"store": "none"})
    visitor = visit(gateway, "/requests", expected=(503,))
    for path in ("/requests", "/"):
        visitor.goto(path)
        expect(visitor.page.get_by_role("alert")).to_contain_text("No records here")
        expect(visitor.page.get_by_role("alert")).to_contain_text("store: sqlite:audiogate.db")
    visitor.goto("/upstreams")
    expect(visitor.page.get_by_role("link", name="whisper-local")).to_be_visible()


def test_without_requests_the_page_shows_how_to_make_one(
    visit: Callable[..., Visitor], own_gateway: Callable[..., Gateway]
) -> None:
    gateway = own_gateway()
    visitor = visit(gateway, "/")
    for path in ("/", "/requests"):
        visitor.goto(path)
        expect(visitor.page.get_by_role("heading", name="No requests yet")).to_be_visible()
        expect(visitor.page.locator("main pre")).to_contain_text(f"curl http://127.0.0.1:{gateway.port}/v1/audio/")


def test_when_the_gateway_has_gone_one_can_try_again(
    visit: Callable[..., Visitor], own_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = own_gateway()
    make(gateway, upstream, Call("before"), f"t-{uuid.uuid4().hex}")
    visitor = visit(gateway, "/upstreams")
    page = visitor.page
    expect(page.get_by_role("link", name="openai")).to_be_visible()
    visitor.complaints.clear()
    gateway.signal(signal.SIGKILL)
    gateway.wait_exit()
    page.get_by_role("link", name="Settings").click()
    expect(page.get_by_role("alert")).to_contain_text("The gateway does not answer")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    assert all("ERR_CONNECTION_REFUSED" in complaint for complaint in visitor.complaints)
    visitor.complaints.clear()
