"""The playground: a recording goes through the gateway, and its transcript grows in the page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.browser.scene import events
from tests.flow import scripts
from tests.grafana.scene import wav

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.watched import Visitor
    from tests.flow.driver import Upstream
    from tests.flow.gateway import Gateway


def choose(visitor: Visitor, seconds: float = 3.0) -> None:
    """Give the page a recording."""
    recording = {"name": "memo.wav", "mimeType": "audio/wav", "buffer": wav(seconds)}
    visitor.page.get_by_label("Drop a recording here").set_input_files(recording)  # type: ignore[arg-type]


def test_a_transcript_grows_while_it_is_made_and_its_record_is_a_click_away(
    visit: Callable[..., Visitor], gateway: Gateway, upstream: Upstream
) -> None:
    port = f"port:{upstream.port}"
    upstream.play(port, scripts.READ_ALL, *scripts.stepwise(events("Good ", "evening.")))
    visitor = visit(gateway, "/playground")
    page = visitor.page
    result = page.get_by_role("region", name="Result")
    choose(visitor)
    page.get_by_label("Target").select_option(label="openai-prod (openai)")
    page.get_by_label("Stream the transcript").check()
    page.get_by_role("button", name="Transcribe", exact=True).last.click()
    expect(result).to_contain_text("Waiting for the upstream")
    upstream.release(port, "event-0")
    expect(result.locator(".said")).to_have_text("Good ")
    for gate in ("event-1", "event-2", "end"):
        upstream.release(port, gate)
    expect(result.locator(".said")).to_have_text("Good evening.")
    expect(result).to_contain_text("Done in")
    numbers = result.locator(".numbers")
    expect(numbers).to_contain_text("3.00 s")
    expect(numbers).to_contain_text("$0.000")
    page.get_by_role("link", name="Open its record").click()
    expect(page.locator(".transcript .said")).to_have_text("Good evening.")
    expect(page.get_by_role("region", name="Request")).to_contain_text("playground-")


def test_what_the_upstream_refuses_is_said(visit: Callable[..., Visitor], gateway: Gateway, upstream: Upstream) -> None:
    upstream.play(f"port:{upstream.port}", scripts.READ_ALL, scripts.send(scripts.error(400)))
    visitor = visit(gateway, "/playground", expected=(400,))
    choose(visitor)
    visitor.page.get_by_label("Target").select_option(label="groq-prod (groq)")
    visitor.page.get_by_role("button", name="Transcribe", exact=True).last.click()
    expect(visitor.page.get_by_role("alert")).to_have_text("400: the upstream says no")
    expect(visitor.page.get_by_role("link", name="Open its record")).to_be_visible()


def test_the_same_request_is_there_as_curl_and_python(visit: Callable[..., Visitor], gateway: Gateway) -> None:
    visitor = visit(gateway, "/playground")
    page = visitor.page
    choose(visitor)
    page.get_by_label("Target").select_option(label="groq (needs its key)")
    page.get_by_label("Model").fill("whisper-large-v3")
    page.get_by_label("Format").select_option("srt")
    page.get_by_label("Key for groq").fill("sk-flow-never-shown")
    curl, python = page.locator(".codes pre").all_inner_texts()
    assert curl.split(" \\\n  ") == [
        f"curl http://127.0.0.1:{gateway.port}/v1/audio/transcriptions",
        '-H "Authorization: Bearer $GROQ_API_KEY"',
        "-H 'x-portkey-provider: groq'",
        "-F 'model=whisper-large-v3'",
        "-F 'response_format=srt'",
        "-F 'file=@memo.wav'",
    ]
    compile(python, "playground", "exec")
    assert 'api_key=os.environ["GROQ_API_KEY"]' in python
    assert '"x-portkey-provider": "groq"' in python
    assert "sk-flow-never-shown" not in page.locator(".codes").inner_text()


def test_one_can_speak_into_the_microphone(visit: Callable[..., Visitor], gateway: Gateway, upstream: Upstream) -> None:
    key = f"port:{upstream.port}"
    before = upstream.requests(key)
    upstream.play(key, scripts.READ_ALL, scripts.send(scripts.reply(body=b'{"text":"beep"}')))
    visitor = visit(gateway, "/playground", permissions=["microphone"])
    page = visitor.page
    page.get_by_role("button", name="Record", exact=True).click()
    expect(page.get_by_role("button", name=re.compile(r"Stop, 0:00\.[3-9]"))).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("recording.webm", exact=True)).to_be_visible()
    page.get_by_label("Target").select_option(label="whisper-local (needs no key)")
    page.get_by_role("button", name="Transcribe", exact=True).last.click()
    expect(page.get_by_role("region", name="Result").locator(".said")).to_have_text("beep")
    seen = upstream.wait(key, "complete", index=before)
    (part,) = [part for part in seen.parts if part.name == "file"]
    assert part.filename == "recording.webm"
    assert part.payload.startswith(b"\x1a\x45\xdf\xa3")  # EBML, as WebM begins
