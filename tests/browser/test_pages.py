"""Every page: figures that are right, no wider than a phone, usable without a mouse and without eyes."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.scene import VIRTUAL_KEY, Call, make

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.watched import Visitor
    from tests.flow.driver import Upstream
    from tests.flow.gateway import Gateway

UNNAMED = """() => [...document.querySelectorAll("main :is(input, select, textarea, button, a[href], progress)")]
  .filter((one) => one.checkVisibility() && !(one.labels?.length) && !one.getAttribute("aria-label")
    && !one.getAttribute("aria-labelledby") && !one.textContent.trim())
  .map((one) => one.outerHTML.slice(0, 120))"""
TWICE = """() => {
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  return ids.filter((id, at) => ids.indexOf(id) !== at);
}"""
SKIPPED = """() => [...document.querySelectorAll("h1, h2, h3")].filter((one) => one.checkVisibility())
  .map((one) => Number(one.tagName[1])).filter((level, at, all) => level > (at ? all[at - 1] : 0) + 1)"""


@pytest.fixture(scope="session")
def lived(gateway: Gateway, upstream: Upstream) -> dict[str, Any]:
    """A gateway that has seen some of everything; the record of a request with a detail worth looking at."""
    trace = f"l-{uuid.uuid4().hex}"
    long = "A sentence without a single surprise, and then another one. " * 12
    make(gateway, upstream, Call(f"{trace} {long}", config="near", provider=None, model="m" * 40, name="n" * 90), trace)
    make(gateway, upstream, Call("no", status=429, answer={"error": {"message": "slow"}}), f"l-{uuid.uuid4().hex}")
    return gateway.wait_records(trace)[0]


@pytest.fixture
def paths(lived: dict[str, Any]) -> list[str]:
    """The address of every page."""
    return ["/?span=1h", "/requests", f"/requests/{lived['id']}", "/upstreams", "/playground", "/settings"]


def settled(visitor: Visitor) -> None:
    """Wait until a page shows data in place of bones."""
    expect(visitor.page.locator("main h1, main h2").first).to_be_visible()
    expect(visitor.page.locator(".bones")).to_have_count(0)


def test_no_page_is_wider_than_a_phone(visit: Callable[..., Visitor], gateway: Gateway, paths: list[str]) -> None:
    visitor = visit(gateway, paths[0], phone=True, color_scheme="dark")
    wide = {}
    for path in paths:
        visitor.goto(path)
        settled(visitor)
        if (over := visitor.overflow()) > 0:
            wide[path] = over
    assert wide == {}


def test_everything_that_one_can_use_has_a_name(
    visit: Callable[..., Visitor], gateway: Gateway, paths: list[str]
) -> None:
    visitor = visit(gateway, paths[0])
    wrong = {}
    for path in paths:
        visitor.goto(path)
        settled(visitor)
        found = [visitor.page.evaluate(rule) for rule in (UNNAMED, TWICE, SKIPPED)]
        assert visitor.page.locator("h1, main h2").count() > 0
        if any(found):
            wrong[path] = found
    assert wrong == {}


def test_pages_have_titles_and_the_bar_says_where_one_is(
    visit: Callable[..., Visitor], gateway: Gateway, lived: dict[str, Any]
) -> None:
    visitor = visit(gateway, "/")
    page = visitor.page
    for name in ("Requests", "Upstreams", "Playground", "Settings", "Overview"):
        page.get_by_role("navigation").get_by_role("link", name=name).click()
        expect(visitor.heading(name)).to_be_visible()
        expect(page).to_have_title(f"{name} · Audiogate")
        current = page.locator("nav [aria-current=page]")
        expect(current).to_have_text(name)
        expect(page.locator("main")).to_be_focused()
    visitor.goto(f"/requests/{lived['id']}")
    expect(page).to_have_title(f"Request {lived['id'][-8:]} · Audiogate")


def test_the_first_key_leads_past_the_bar(visit: Callable[..., Visitor], gateway: Gateway) -> None:
    visitor = visit(gateway, "/upstreams")
    settled(visitor)
    visitor.page.keyboard.press("Tab")
    expect(visitor.page.get_by_role("link", name="Skip to the content")).to_be_focused()
    visitor.page.keyboard.press("Enter")
    expect(visitor.page.locator("main")).to_be_focused()


def test_a_theme_that_was_chosen_stays(visit: Callable[..., Visitor], gateway: Gateway) -> None:
    visitor = visit(gateway, "/upstreams", color_scheme="light")
    page = visitor.page
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Theme: as the system").click()
    assert page.evaluate(ground) == light
    page.get_by_role("button", name="Theme: light").click()
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == dark
    page.get_by_role("button", name="Theme: dark").click()
    assert page.evaluate(ground) == light


def test_the_overview_adds_up_what_there_was(
    visit: Callable[..., Visitor], own_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = own_gateway()
    for number, (model, seconds) in enumerate((("whisper-1", 60), ("whisper-1", 90), ("gpt-4o-transcribe", 30))):
        make(gateway, upstream, Call("x", model=model, seconds=seconds), f"v{number}-{uuid.uuid4().hex}")
    make(gateway, upstream, Call("x", provider="groq", model="made-up", seconds=20), f"v3-{uuid.uuid4().hex}")
    refused = Call("x", status=429, answer={"error": {"message": "slow"}}, seconds=10)
    make(gateway, upstream, refused, f"v4-{uuid.uuid4().hex}")
    visitor = visit(gateway, "/?span=1h")
    page = visitor.page
    values = page.locator(".figures .value")
    expect(values.first).to_have_text("5")  # the store is a moment behind
    figures = dict(zip(page.locator(".figures dt").all_inner_texts(), values.all_inner_texts(), strict=True))
    assert figures["Errors"] == "20 %"
    assert figures["Audio"] == "3.50 min"
    assert figures["Unpriced"] == "1"
    assert figures["Cost"].startswith("$0.015")
    expect(page.locator(".chart canvas")).to_have_count(4)
    for title in ("Requests", "Latency", "Cost by model", "Audio"):
        picture = page.get_by_role("figure").filter(has=page.get_by_role("heading", name=title, exact=True))
        assert title in (picture.get_by_role("img").get_attribute("aria-label") or "")
        picture.get_by_text("As a table").click()
        expect(picture.get_by_role("table")).to_be_visible()
    shares = page.get_by_role("region", name="By model", exact=True)
    expect(shares.locator("tbody tr")).to_have_count(3)
    page.get_by_label("Group by").select_option("provider")
    expect(page.get_by_role("region", name="By provider", exact=True).locator("tbody tr")).to_have_count(2)
    assert page.url.endswith("/?span=1h&by=provider")
    page.get_by_role("button", name="7 days").click()
    assert page.url.endswith("/?span=7d&by=provider")
    page.get_by_role("region", name="By provider", exact=True).get_by_role("link", name="groq").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    assert page.url.endswith("/requests?provider=groq&since=7d")


def test_a_click_on_a_bucket_shows_its_requests(
    visit: Callable[..., Visitor], gateway: Gateway, lived: dict[str, Any]
) -> None:
    visitor = visit(gateway, "/?span=24h")
    page = visitor.page
    plot = page.locator(".chart .u-over").first
    expect(plot).to_be_visible()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 60)
    page.mouse.click(box["x"] + box["width"] - 2, box["y"] + 60)
    expect(visitor.heading("Requests")).to_be_visible()
    assert "since=" in page.url
    assert "until=" in page.url
    expect(visitor.row(lived["trace_id"])).to_be_visible()


def test_upstreams_show_how_they_do(visit: Callable[..., Visitor], gateway: Gateway, lived: dict[str, Any]) -> None:
    assert lived["provider"] == "whisper-local"
    visitor = visit(gateway, "/upstreams")
    card = visitor.page.get_by_role("region", name="whisper-local")
    expect(card).to_contain_text("Circuit closed")
    expect(card).to_contain_text("near")
    numbers = dict(zip(card.locator("dt").all_inner_texts(), card.locator("dd").all_inner_texts(), strict=True))
    assert int(numbers["Requests"]) >= 1
    assert numbers["In flight"] == "0"
    visitor.page.get_by_text("Known, but not used").click()
    expect(visitor.page.get_by_role("rowheader", name="together-ai")).to_be_visible()


def test_settings_are_a_tree_without_secrets(visit: Callable[..., Visitor], gateway: Gateway) -> None:
    visitor = visit(gateway, "/settings")
    page = visitor.page
    expect(page.get_by_role("heading", name="virtual_keys")).to_be_visible()
    assert VIRTUAL_KEY not in page.content()
    expect(page.get_by_text("openai-prod").first).to_be_visible()
    expect(page.locator("details").filter(has_text="virtual_keys").get_by_text("***").first).to_be_visible()
