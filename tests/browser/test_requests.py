"""The table of requests and the detail of one, in a real browser before a real gateway."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.scene import Call, make
from tests.flow import scripts

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.watched import Visitor
    from tests.flow.driver import Upstream
    from tests.flow.gateway import Gateway

EVIL = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"


def word() -> str:
    """Return a word that no other test says."""
    return f"w{uuid.uuid4().hex[:12]}"


@pytest.fixture
def say(gateway: Gateway, upstream: Upstream) -> Callable[..., str]:
    """Send a request with these words; return its record's id."""

    def one(text: str, **given: object) -> str:
        trace = f"t-{uuid.uuid4().hex}"
        make(gateway, upstream, Call(text, **given), trace)  # type: ignore[arg-type]
        record_id: str = gateway.wait_records(trace)[0]["id"]
        return record_id

    return one


def test_a_request_shows_up_in_the_open_table_by_itself(
    visit: Callable[..., Visitor], gateway: Gateway, say: Callable[..., str]
) -> None:
    visitor = visit(gateway, "/requests")
    expect(visitor.page.get_by_text("Live", exact=True)).to_be_visible()
    visitor.page.evaluate("window.same = true")
    text = word()
    say(text, model="gpt-4o-transcribe", seconds=7.5)
    row = visitor.row(text)
    expect(row).to_be_visible()
    assert visitor.page.evaluate("window.same"), "the page was loaded again"
    cells = [cell.strip() for cell in row.locator("td").all_inner_texts()]
    assert cells[1:4] == ["200", "Transcription", "openai · gpt-4o-transcribe"]
    assert cells[4] == "7.50 s"
    assert re.fullmatch(r"[\d.]+ m?s", cells[5])
    assert cells[6].startswith("$0.000")
    assert cells[7] == text


def test_its_detail_has_the_exact_transcript_cost_latency_and_attempts(
    visit: Callable[..., Visitor], gateway: Gateway, upstream: Upstream
) -> None:
    trace, text = f"t-{uuid.uuid4().hex}", f"  Ünïcödé {word()}\nand a second line.  "
    refused = [scripts.read(3000), scripts.send(scripts.error(503))]
    call = Call(text, config="careful", model="whisper-1", seconds=6, wait=0.05, first=refused)
    call.answer = {"text": text, "usage": {"type": "duration", "seconds": 6}}
    make(gateway, upstream, call, trace)
    record = gateway.wait_records(trace)[0]
    visitor = visit(gateway, "/requests")
    visitor.row("second line").click()
    page = visitor.page
    expect(page).to_have_url(f"{visitor.origin}/requests/{record['id']}")
    assert page.locator(".transcript .said").evaluate("said => said.textContent") == text
    figures = dict(zip(page.locator(".figures dt").all_inner_texts(), _values(visitor), strict=True))
    assert figures["Latency"] == _milliseconds(record["timing_ms"]["total"])
    assert figures["Audio"] == "6.00 s"
    attempts = page.get_by_role("region", name="Attempts").locator("tbody tr")
    assert attempts.count() == len(record["attempts"]) == 2
    assert "openai whisper-1" in attempts.nth(0).inner_text()
    assert "refused it (503)" in attempts.nth(0).inner_text()
    assert "groq whisper-1" in attempts.nth(1).inner_text()
    assert "replayed" in attempts.nth(1).inner_text()
    timeline = page.get_by_role("region", name="Timeline").get_by_role("img")
    told = timeline.get_attribute("aria-label") or ""
    assert told.startswith("Client: upload from the client")
    assert "1. openai" in told
    assert "2. groq" in told
    assert page.locator(".waterfall svg rect").count() >= 3
    raw = page.locator("details.raw pre")
    page.get_by_text("Raw record").click()
    expect(raw).to_contain_text(record["id"])
    assert json.loads(raw.inner_text())["id"] == record["id"]


def _values(visitor: Visitor) -> list[str]:
    return visitor.page.locator(".figures .value").all_inner_texts()


def _milliseconds(value: float) -> str:
    return f"{value / 1000:.2f} s" if value >= 999.5 else f"{value:.0f} ms" if value >= 9.95 else f"{value:.1f} ms"


def test_the_cost_is_exact_and_its_basis_is_explained(
    visit: Callable[..., Visitor], gateway: Gateway, say: Callable[..., str]
) -> None:
    record_id = say(word(), model="whisper-1", seconds=31)
    visitor = visit(gateway, f"/requests/{record_id}")
    cost = visitor.page.get_by_role("region", name="Cost")
    expect(cost).to_contain_text("$0.0031")
    expect(cost).to_contain_text("The length of the audio, at the provider's price per second.")


def test_segments_show_when_they_were_said(
    visit: Callable[..., Visitor], gateway: Gateway, say: Callable[..., str]
) -> None:
    segments = [{"start": 0.0, "end": 2.5, "text": "One."}, {"start": 62.5, "end": 64.0, "text": "Two."}]
    said = {"text": "One. Two.", "segments": segments, "duration": 64.0}
    record_id = say("One. Two.", answer=said, fields={"response_format": "verbose_json"})
    visitor = visit(gateway, f"/requests/{record_id}")
    expect(visitor.page.locator(".segments li")).to_have_text(["0:00.0One.", "1:02.5Two."])


def test_an_upload_that_overlapped_is_shown_with_what_that_saved(
    visit: Callable[..., Visitor], gateway: Gateway, say: Callable[..., str]
) -> None:
    record_id = say(word(), seconds=30, pause=0.02, piece=8192, wait=0.02)
    visitor = visit(gateway, f"/requests/{record_id}")
    timeline = visitor.page.get_by_role("region", name="Timeline")
    expect(timeline).to_contain_text("saved. The upstream had its first byte")
    expect(timeline.locator("svg rect.overlap")).to_have_count(1)


def test_a_transcript_is_text_whatever_it_holds(
    visit: Callable[..., Visitor], gateway: Gateway, say: Callable[..., str]
) -> None:
    text = f"{word()} {EVIL}"
    record_id = say(text, name="<b>a</b>.wav", headers={"x-portkey-metadata": json.dumps({"<i>": EVIL[:60]})})
    visitor = visit(gateway, "/requests?q=" + text.split(maxsplit=1)[0])
    expect(visitor.row("onerror")).to_be_visible()
    assert visitor.page.locator("main :is(img, script, b, i)").count() == 0
    visitor.goto(f"/requests/{record_id}")
    expect(visitor.page.locator(".transcript .said")).to_have_text(text)
    expect(visitor.heading("Transcription · <b>a</b>.wav")).to_be_visible()
    assert visitor.page.locator("main :is(img, script, b, i)").count() == 0
    assert "taken" not in visitor.page.title()


def test_filters_and_search_survive_reload_and_coming_back(
    visit: Callable[..., Visitor], gateway: Gateway, say: Callable[..., str]
) -> None:
    text = word()
    say(f"{text} apple", provider="groq", model="whisper-large-v3")
    say(f"{text} pear", provider="openai")
    say(f"{text} plum", provider="groq", model="whisper-large-v3-turbo")
    visitor = visit(gateway, "/requests")
    page = visitor.page
    page.get_by_label("Search transcripts").fill(text)
    expect(page.locator("tbody tr")).to_have_count(3)
    page.get_by_label("Provider", exact=True).fill("groq")
    page.get_by_label("Provider", exact=True).press("Enter")
    expect(page.locator("tbody tr")).to_have_count(2)
    assert page.url == f"{visitor.origin}/requests?q={text}&provider=groq"
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.get_by_label("Search transcripts")).to_have_value(text)
    visitor.row("plum").click()
    expect(page.locator(".transcript .said")).to_have_text(f"{text} plum")
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(visitor.row("plum")).to_be_focused()
    page.get_by_role("button", name="Clear all").or_(page.get_by_label("Remove the filter provider")).click()
    expect(page.locator("tbody tr")).to_have_count(3)


def test_what_is_new_obeys_the_filters(
    visit: Callable[..., Visitor], gateway: Gateway, say: Callable[..., str]
) -> None:
    text = word()
    visitor = visit(gateway, f"/requests?q={text}&outcome=upstream_error,ok&provider=groq")
    expect(visitor.page.get_by_role("heading", name="Nothing passes these filters")).to_be_visible()
    say(f"{text} no", provider="openai")
    say(f"{text} yes", provider="groq", model="whisper-large-v3")
    expect(visitor.row(f"{text} yes")).to_be_visible()
    expect(visitor.page.locator("tbody tr")).to_have_count(1)


@pytest.mark.parametrize("kind", ["JSON Lines", "CSV"])
def test_export_downloads_what_the_filter_shows(
    visit: Callable[..., Visitor], gateway: Gateway, say: Callable[..., str], kind: str
) -> None:
    text = word()
    ids = [say(f"{text} {number}") for number in range(3)]
    say("something else")
    visitor = visit(gateway, f"/requests?q={text}")
    expect(visitor.page.locator("tbody tr")).to_have_count(3)
    with visitor.page.expect_download() as started:
        visitor.page.get_by_role("link", name=kind).click()
    lines = Path(started.value.path()).read_text(encoding="utf-8").splitlines()
    assert started.value.suggested_filename.startswith("audiogate-requests-")
    if kind == "CSV":
        assert lines.pop(0).startswith("id,")
        assert [line.split(",")[0] for line in lines] == ids[::-1]
    else:
        assert [json.loads(line)["id"] for line in lines] == ids[::-1]


def test_nothing_moves_below_the_eyes_of_who_has_paused(
    visit: Callable[..., Visitor], gateway: Gateway, say: Callable[..., str]
) -> None:
    text = word()
    say(f"{text} first")
    visitor = visit(gateway, "/requests")
    page = visitor.page
    expect(visitor.row(f"{text} first")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    for number in range(2):
        say(f"{text} later {number}")
    news = page.get_by_role("button", name="2 new requests")
    expect(news).to_be_visible()
    assert visitor.row(f"{text} later").count() == 0
    news.click()
    expect(visitor.row(f"{text} later")).to_have_count(2)
    page.get_by_role("button", name="Resume").click()
    page.locator("h1").click()
    page.evaluate("document.activeElement.blur()")
    say(f"{text} last")
    expect(visitor.row(f"{text} last")).to_be_visible()


def test_older_requests_come_when_asked_for_and_the_place_is_kept(
    visit: Callable[..., Visitor], own_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = own_gateway()
    for number in range(57):
        make(
            gateway, upstream, Call(f"number {number:02}", provider="whisper-local", model="m"), f"o-{uuid.uuid4().hex}"
        )
    visitor = visit(gateway, "/requests")
    page, rows = visitor.page, visitor.page.locator("tbody tr")
    expect(rows).to_have_count(50)
    page.get_by_role("button", name="Load older").click()
    expect(rows).to_have_count(57)
    expect(page.get_by_role("button", name="Load older")).to_be_hidden()
    texts = page.locator("td.text").all_inner_texts()
    assert texts == [f"number {number:02}" for number in reversed(range(57))]
    page.evaluate("scrollTo(0, 1500)")
    visitor.row("number 12").click()
    expect(page.locator(".transcript .said")).to_have_text("number 12")
    page.get_by_role("link", name="Requests").last.click()
    expect(rows).to_have_count(57)
    expect(visitor.row("number 12")).to_be_in_viewport()
    make(gateway, upstream, Call("quite new", provider="whisper-local", model="m"), f"o-{uuid.uuid4().hex}")
    before = visitor.row("number 12").bounding_box()
    expect(page.get_by_role("button", name="1 new request")).to_be_visible()
    assert visitor.row("number 12").bounding_box() == before


def test_the_table_is_walked_with_the_keyboard_alone(
    visit: Callable[..., Visitor], gateway: Gateway, say: Callable[..., str]
) -> None:
    text = word()
    for name in ("one", "two", "three"):
        say(f"{text} {name}")
    visitor = visit(gateway, f"/requests?q={text}")
    page, press = visitor.page, visitor.page.keyboard.press
    expect(page.locator("tbody tr")).to_have_count(3)
    press("/")
    expect(page.get_by_label("Search transcripts")).to_be_focused()
    press("Escape")
    expect(visitor.row("three")).to_be_focused()
    press("ArrowDown")
    press("ArrowDown")
    press("ArrowUp")
    expect(visitor.row("two")).to_be_focused()
    press("Enter")
    expect(page.locator(".transcript .said")).to_have_text(f"{text} two")
    press("j")
    expect(page.locator(".transcript .said")).to_have_text(f"{text} one")
    press("Escape")
    expect(visitor.row("two")).to_be_focused()
    assert page.url.endswith(f"/requests?q={text}")


def test_a_request_can_be_copied_as_curl(
    visit: Callable[..., Visitor], gateway: Gateway, say: Callable[..., str]
) -> None:
    record_id = say(word(), fields={"response_format": "json", "language": "en"}, name="it's me.wav")
    visitor = visit(gateway, f"/requests/{record_id}", permissions=["clipboard-read", "clipboard-write"])
    visitor.page.get_by_role("button", name="Copy as curl").click()
    expect(visitor.page.get_by_role("button", name="Copied")).to_be_visible()
    assert visitor.page.evaluate("navigator.clipboard.readText()").split(" \\\n  ") == [
        f"curl http://127.0.0.1:{gateway.port}/v1/audio/transcriptions",
        '-H "Authorization: Bearer $OPENAI_API_KEY"',
        "-H 'x-portkey-provider: openai'",
        "-F 'model=whisper-1'",
        "-F 'response_format=json'",
        "-F 'language=en'",
        "-F 'file=@it'\\''s me.wav'",
    ]


def test_a_request_that_is_not_there_is_said_to_be_gone(visit: Callable[..., Visitor], gateway: Gateway) -> None:
    visitor = visit(gateway, f"/requests/{uuid.uuid4()}", expected=(404,))
    expect(visitor.page.get_by_role("alert")).to_contain_text("There is no record with this id")
