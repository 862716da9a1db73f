"""Draws docs/images/console-*.png: ``python -m tests.browser.picture``, by hand, takes a minute.

A real gateway serves a thousand requests of a scripted day in half a minute. Their records get the times of that day, a
second gateway shows them, and serves the one whose detail is drawn. Of fonts, the page takes Inter if there is one.
"""

from __future__ import annotations

import json
import math
import random
import shutil
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from proxy.records.record import uuid7
from proxy.store.open import writer_at
from tests.browser.scene import Call, make, settings
from tests.browser.watched import Visitor, launched
from tests.flow import scripts
from tests.flow.driver import Upstream
from tests.flow.gateway import Gateway
from tests.rules.sources import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

OUTPUT: Final = ROOT / "docs" / "images"
REQUESTS: Final = 1000
CALLERS: Final = 4
DAY: Final = 86_400  # seconds
SIZE: Final = {"width": 1280, "height": 860}

TARGETS: Final = (
    ("openai", "whisper-1", 0.3),
    ("openai", "gpt-4o-transcribe", 0.25),
    ("groq", "whisper-large-v3-turbo", 0.2),
    ("mistral-ai", "voxtral-mini-2602", 0.1),
    ("whisper-local", "large-v3", 0.15),
)
SAID: Final = (
    "Good morning, you have reached the harbour office. Ships over forty metres please call on channel twelve.",
    "Could you send the second invoice again? The first one has the wrong address on it.",
    "The patient reports mild pain in the left knee since Tuesday, no swelling, no fever.",
    "Turn left at the church, then it is the third house on the right-hand side.",
    "We will need four boxes of the small screws, and somebody who can bring them up.",
    "I am calling about the piano. Is it still for sale, and could we see it on Saturday?",
    "The meeting moved to three o'clock. Please tell Anna, she is not reading her mail today.",
    "Rain in the north until noon, then dry with a light wind from the west.",
    "Chapter nine. The lamp had gone out, and nobody could say how long ago.",
    "Your parcel is with the neighbours at number eleven. They are at home until six.",
)
SEGMENTS: Final = (
    "Thank you all for coming. I will keep this short.",
    "The new quay opens on the fourth of May, a week later than planned.",
    "Until then, ferries leave from the old landing, and the timetable stays as it is.",
    "Trucks over twelve tonnes take the ring road; the bridge is closed to them.",
    "The office stays open through the works. Questions, please, to channel twelve.",
)


def main() -> int:
    """Live the day, show it, draw it."""
    folder = Path(tempfile.mkdtemp(prefix="picture-"))
    upstream = Upstream()
    day = Gateway(folder, settings(upstream, folder, records={"store": "none", "stdout_transcripts": True}))
    shown: Gateway | None = None
    try:
        _live(day, upstream)
        day.stop()
        given = settings(upstream, folder)
        _keep(given["records"]["store"], [json.loads(line) for line in day.lines()])
        shown = Gateway(folder, given)
        with launched() as browser:
            _draw(browser, shown, "overview", "/", "light")
            hero = _hero(shown, upstream)
            _draw(browser, shown, "requests", "/requests", "light")
            _draw(browser, shown, "detail", f"/requests/{hero}", "dark")
    finally:
        day.kill()
        if shown is not None:
            shown.kill()
        upstream.stop()
        shutil.rmtree(folder)
    return 0


def _live(gateway: Gateway, upstream: Upstream) -> None:
    """Make the day's requests, a few at a time."""
    numbers, speaking = iter(range(REQUESTS)), threading.Lock()

    class Careful:
        """The upstream's driver, which talks to its process in question and answer."""

        def play(self, key: str, *steps: Any) -> None:
            with speaking:
                upstream.play(key, *steps)

    def call_on(chance: random.Random) -> None:
        while (number := _next(numbers, speaking)) is not None:
            make(gateway, Careful(), _usual(chance), f"day-{number}")  # type: ignore[arg-type]

    threads = [threading.Thread(target=call_on, args=(random.Random(seed),)) for seed in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _next(numbers: Iterator[int], lock: threading.Lock) -> int | None:
    with lock:
        return next(numbers, None)


def _usual(chance: random.Random) -> Call:
    """Return one of the day's requests."""
    provider, model, _ = chance.choices(TARGETS, weights=[share for *_, share in TARGETS])[0]
    seconds = round(chance.lognormvariate(2.6, 0.7), 2)
    call = Call(
        chance.choice(SAID),
        provider=provider,
        model=model,
        seconds=seconds,
        name=f"{chance.choice(('call', 'memo', 'note', 'visit'))}-{chance.randrange(100, 999)}.wav",
        wait=min(seconds * chance.lognormvariate(-5.5, 0.5), 0.4),
    )
    if chance.random() < 0.025:
        call.status = chance.choice((429, 500, 503))
        call.answer = {"error": {"message": "not now", "type": "server_error"}}
    elif chance.random() < 0.05:
        call.config, call.first = "careful", [scripts.READ_ALL, scripts.send(scripts.error(503))]
        call.model = "whisper-large-v3-turbo"
    return call


def _keep(store: str, records: list[dict[str, Any]]) -> None:
    """Write records as if they had come in over the last day: few at night, most before and after noon."""
    chance, end = random.Random(7), time.time() - 60
    moments: list[float] = []
    while len(moments) < len(records):
        ago = chance.uniform(0, DAY)
        hour = datetime.fromtimestamp(end - ago, UTC).hour
        if chance.random() < 0.06 + 0.94 * math.exp(-(((hour - 13) / 5) ** 2)):
            moments.append(end - ago)
    for record, moment in zip(records, sorted(moments), strict=True):
        stamp = f"{int(moment * 1000):012x}"
        record["id"] = f"{stamp[:8]}-{stamp[8:]}-{uuid7()[14:]}"  # ids are in the order of time
        record["time"] = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    writer = writer_at(store)
    writer.open()
    for start in range(0, len(records), 250):
        writer.write(records[start : start + 250])
    writer.close()


def _hero(gateway: Gateway, upstream: Upstream) -> str:
    """Make the request whose detail is shown: its first target gives up half-way, the second streams on. Its id."""
    starts = (0.0, 3.4, 8.1, 13.6, 18.2, 22.5)
    segments = [
        {"start": start, "end": end - 0.4, "text": text}
        for start, end, text in zip(starts, starts[1:], SEGMENTS, strict=False)
    ]
    call = Call(
        config="careful",
        provider=None,
        model="whisper-large-v3-turbo",
        seconds=22.5,
        name="harbour-briefing.wav",
        first=[scripts.read(30_000), scripts.send(scripts.error(503))],
        answer={"task": "transcribe", "text": " ".join(SEGMENTS), "segments": segments, "duration": 22.5},
        fields={"response_format": "verbose_json", "language": "en"},
        headers={"x-portkey-metadata": json.dumps({"team": "port", "ticket": "HB-204"})},
        wait=0.35,
        pause=0.1,
        piece=6_000,
    )
    make(gateway, upstream, call, "harbour-briefing")
    record_id: str = gateway.wait_records("harbour-briefing")[0]["id"]
    return record_id


def _draw(browser: Browser, gateway: Gateway, name: str, path: str, scheme: str) -> None:
    visitor = Visitor(browser, gateway, color_scheme=scheme, device_scale_factor=1.5)
    page = visitor.page
    page.set_viewport_size(SIZE)  # type: ignore[arg-type]
    visitor.goto(path)
    page.locator(".figures .value, tbody tr").first.wait_for()
    page.wait_for_timeout(700)  # charts are drawn, and new lines have lost their colour
    output = OUTPUT / f"console-{name}.png"
    page.screenshot(path=output, animations="disabled")
    visitor.close()
    visitor.check()
    print(f"{output.relative_to(ROOT)}: {output.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    sys.exit(main())
