"""How fast a store of 200 000 records answers: ``python -m benchmarks.records`` fills one and asks it.

By default a file of SQLite's in a temporary folder; ``--store postgresql://...`` asks an empty database instead.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.report import machine
from proxy.records.record import Record
from proxy.store.open import reader_at, writer_at
from proxy.store.questions import DAY, Filters, filters_from, stats_from

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from proxy.store.store import StoreReader

BUDGET: Final = 200.0  # milliseconds: what a page of a console may take
BATCH: Final = 500  # records, as the recorder writes them
SPOKEN: Final = 60  # words of a transcript: half a minute of speech
ROUNDS: Final = 15
SPAN: Final = 30 * DAY

# Words are as frequent as in speech: the n-th most frequent comes with a chance of 1/n (Zipf).
LETTERS: Final = "etaoinshrdlucmfwypvbg"
VOCABULARY: Final = 20_000


class Speech:
    """Transcripts: nonsense with the statistics of a language; the same every time."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        words = {"".join(chance.choices(LETTERS, k=chance.randint(2, 9))) for _ in range(VOCABULARY)}
        self.words = sorted(words, key=lambda word: (len(word), word))  # frequent words are short
        self._weights = list(accumulate(1 / (rank + 2) for rank in range(len(self.words))))

    def text(self) -> str:
        return " ".join(self._chance.choices(self.words, cum_weights=self._weights, k=SPOKEN))


def records(count: int, now: float, speech: Speech, chance: random.Random) -> Iterator[dict[str, Any]]:
    """Yield records of the last 30 days, oldest first, in some twenty series; one in 20 000 is of a rare key."""
    for number in range(count):
        at = now - SPAN * (count - number) / count
        failed = chance.random() < 0.03
        record = Record("transcriptions" if chance.random() < 0.9 else "translations", "POST", 100.0, f"t-{number}")
        record.id, record.time = id_at(at, chance), at
        record.provider = chance.choice(("openai", "azure-openai", "groq"))
        record.model_requested = chance.choice(("whisper-1", "gpt-4o-transcribe"))
        record.key_name = "rare" if number % 20_000 == 7 else "mobile-app"
        record.status, record.outcome = (502, "upstream_error") if failed else (200, "ok")
        record.container, record.filename = "mp3", f"call-{number}.mp3"
        record.audio_bytes, record.audio_seconds, record.cost_usd = 480_000, 30.0, None if failed else "0.003"
        record.user_agent = "OpenAI/Python 2.8.0"
        attempt = record.attempt("config.targets[0]", record.provider, record.model_requested, 100.0)
        attempt.status, attempt.head_at = record.status, 100.4
        told = record.close(100.0 + chance.lognormvariate(0, 0.6))
        text = None if failed else speech.text()
        segments = text and [
            {"start": start / 2, "end": start / 2 + 3.0, "text": text[start * 6 : start * 6 + 36], "speaker": None}
            for start in range(0, 60, 6)
        ]
        yield {**told, "transcript": text, "segments": segments, "transcript_cut": False}


def id_at(at: float, chance: random.Random) -> str:
    stamp, rest = f"{int(at * 1000):012x}", f"{chance.getrandbits(74):019x}"
    return f"{stamp[:8]}-{stamp[8:]}-7{rest[:3]}-8{rest[3:6]}-{rest[6:18]}"


def fill(url: str, count: int, speech: Speech, chance: random.Random) -> float:
    """Write ``count`` records; return the seconds that the writer worked."""
    writer = writer_at(url)
    writer.open()
    seconds, batch = 0.0, list[dict[str, Any]]()
    for record in records(count, time.time(), speech, chance):
        batch.append(record)
        if len(batch) == BATCH:
            began = time.perf_counter()
            writer.write(batch)
            seconds += time.perf_counter() - began
            batch = []
    if batch:
        writer.write(batch)
    writer.close()
    return seconds


async def ask(url: str, words: Sequence[str]) -> dict[str, list[float]]:
    """Return what each question took, in milliseconds, one after another."""
    reader = reader_at(url)
    await reader.open()
    newest = (await reader.page(Filters(), limit=1, before=None)).items[0]["id"]
    now = (await reader.arrivals(None, limit=1)).last
    middle = await cursor_in_the_middle(reader)
    often, seldom = words[20], words[-50]

    def page(before: str | None = None, **given: str) -> Callable[[], Awaitable[object]]:
        return lambda: reader.page(filters_from(given, time.time()), limit=50, before=before)

    def stats(**given: str) -> Callable[[], Awaitable[object]]:
        async def document() -> object:
            return (await reader.stats(stats_from(given, time.time()))).document()

        return document

    asked: dict[str, Callable[[], Awaitable[object]]] = {
        "first page": page(),
        "page in the middle": page(middle),
        "page of a filter": page(provider="groq", outcome="ok"),
        "page of a rare filter": page(key="rare"),
        "page of a filter that nothing passes": page(key="nobody"),
        "a trace": page(trace="t-777"),
        "search: a frequent word": page(q=often),
        "search: a rare word": page(q=seldom),
        "search: two words and a filter": page(q=f"{words[300]} {often}", provider="groq"),
        "search: the first letter of a word": page(q="t"),
        "search: rare filter": page(q=often, key="rare"),
        "search: nothing": page(q="qqqqqq"),
        "one record": lambda: reader.get(newest),
        "what is new: nothing": lambda: reader.arrivals(now, limit=100),
        "30 days of stats": stats(since="30d"),
        "30 days of stats by model": stats(since="30d", group_by="model"),
        "30 days of stats by hour and status": stats(since="30d", bucket="1h", group_by="status"),
        "a day of stats by provider": stats(since="24h", group_by="provider"),
    }
    took: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(ROUNDS):
        for name, question in asked.items():
            began = time.perf_counter()
            await question()
            took[name].append((time.perf_counter() - began) * 1000)
    await reader.close()
    return took


async def cursor_in_the_middle(reader: StoreReader) -> str | None:
    page = await reader.page(Filters(until=time.time() - SPAN / 2), limit=1, before=None)
    return page.next


async def exported(url: str) -> float:
    """Return how many records a second an export gives."""
    reader = reader_at(url)
    began, count = time.perf_counter(), 0
    async for batch in reader.export(Filters(since=time.time() - SPAN / 10)):
        count += len(batch)
    await reader.close()
    return count / (time.perf_counter() - began)


def main(argv: Sequence[str] | None = None) -> int:
    """Fill a store, ask it, print a table; 1 when a question took longer than its budget."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.records", description=__doc__)
    parser.add_argument("--count", type=int, default=200_000, help="records (default: 200 000)")
    parser.add_argument("--store", help="an empty store's address (default: a new file of SQLite's)")
    options = parser.parse_args(argv)
    chance = random.Random(1)
    speech = Speech(chance)
    with tempfile.TemporaryDirectory(prefix="audiogate-bench-") as folder:
        url = options.store or f"sqlite:{Path(folder) / 'records.db'}"
        print(f"writing {options.count} records ...", file=sys.stderr, flush=True)
        seconds = fill(url, options.count, speech, chance)
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        took = asyncio.run(ask(url, speech.words))
        rate = asyncio.run(exported(url))
    print(f"| {options.count} records | median | worst of {ROUNDS} |\n|---|---:|---:|")
    for name, each in took.items():
        print(f"| {name} | {statistics.median(each):.1f} ms | {max(each):.1f} ms |")
    print(f"\nwritten at {options.count / seconds:.0f} records/s, exported at {rate:.0f} records/s", end="")
    print(f"; {size / options.count:.0f} bytes a record. {machine()}." if size else f". {machine()}.")
    slow = [name for name, each in took.items() if statistics.median(each) > BUDGET]
    for name in slow:
        print(f"over {BUDGET:g} ms: {name}", file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
