"""What a search for text finds, in both stores: words of any language, and no operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.store.questions import Filters
from tests.store.made import NOON, id_at, made, some

if TYPE_CHECKING:
    from tests.store.stores import Store

TEXTS = [
    "The quick brown fox jumps over the lazy dog. It's 3.14, isn't it?",
    "Café Müller — naïve façade, ŁÓDŹ and Straße",
    "今日は天気がいいから散歩しましょう",
    "我们明天去北京的会议室见面。OpenAI 很快",
    "서울에서 만나요, 감사합니다",
    "สวัสดีครับ ยินดีต้อนรับ",
    "हिन्दी में बात करते हैं",
    "مَرْحَبًا بالعالم",
    "Привет, мир! Ёлка",
    'say "hello world" AND (goodbye OR never) NEAR/2 * ^ NOT col:umn -minus a+b',
    "<img src=x onerror=alert(1)> e-mail: jane.doe@example.com http://example.com/a_b?c=d",
    "\u039d\u03b1 \u03b5\u03af\u03c3\u03c4\u03b5 \u03ba\u03b1\u03bb\u03ac",  # Greek: looks like Latin
]

FOUND = [
    ("quick", [0]),
    ("QUICK BROWN", [0]),
    ("dog quick", [0]),  # all words, in any order
    ("quick cat", []),
    ("qui", [0]),  # the last word may go on
    ("qui fox", []),  # only the last
    ("fox qui", [0]),
    ("uick", []),
    ("3.14", [0]),
    ("it's", [0]),
    ("isn\u2019t", [0]),
    ("cafe", [1]),
    ("CAFÉ muller", [1]),
    ("naive facade", [1]),
    ("STRASSE", [1]),
    ("straße", [1]),
    ("天気", [2]),
    ("散歩しま", [2]),
    ("天 散", [2]),
    ("気天", []),
    ("北京", [3]),
    ("会议室", [3]),
    ("议", [3]),
    ("openai 很", [3]),
    ("OpenAI北", []),
    ("서울", [4]),
    ("합니", [4]),
    ("ดีครับ", [5]),
    ("हिन्दी", [6]),
    ("हिन", [6]),
    ("बात हैं", [6]),
    ("مرحبا", [7]),
    ("привет", [8]),
    ("елка", [8]),
    ("ПРИВЕТ МИ", [8]),
    ("\u03ba\u03b1\u03bb\u03b1", [11]),
    ('"hello world"', [9]),
    ('"hello', [9]),
    ("goodbye AND never", [9]),
    ("goodbye OR quick", []),  # an operator is a word
    ("NOT minus", [9]),
    ("col:umn", [9]),
    ("-minus", [9]),
    ("a+b", [9, 10]),
    ("hello NEAR(", [9]),
    ("hello*", [9]),
    ("jane.doe@example.com", [10]),
    ("jane", [10]),
    ("example.com", [10]),
    ("a_b", [9, 10]),
    ("onerror=alert", [10]),
    ("alert", [10]),
    ("e-mail", [10]),
    ("'", []),
    ('"', []),
    ("*", []),
    ("() - ^", []),
    ("\\", []),
    ("%", []),
    ("_", []),
    ("the' OR '1'='1", []),
    ("quick & !fox", [0]),
    ("quick <-> brown", [0]),
    ("fox:*", [0]),
    ("\x00", []),
    ("quick\x00", [0]),
]


async def test_words_are_found_whatever_their_language_case_and_accents(store: Store) -> None:
    store.write(*(made(number, at=NOON + number, transcript=text) for number, text in enumerate(TEXTS)))
    wrong = {}
    for asked, wanted in FOUND:
        found = await store.ids(Filters(text=asked))
        ids = [id_at(NOON + number, number) for number in reversed(wanted)]
        if found != ids:
            wrong[asked] = found
    assert not wrong


@pytest.mark.parametrize("asked", ["meeting", "Meeting_2026", "2026-11", "mp3", "réunion", "meeting réu", "会議"])
async def test_file_names_are_found_too(store: Store, asked: str) -> None:
    store.write(made(1, filename="Meeting_2026-11 Réunion 会議.mp3"), made(2, filename="other.wav"), made(3))
    assert await store.ids(Filters(text=asked)) == [id_at(NOON, 1)]


async def test_words_may_stand_in_file_name_and_transcript(store: Store) -> None:
    store.write(made(1, filename="board.mp3", transcript="quarterly figures"), made(2, transcript="quarterly"))
    assert await store.ids(Filters(text="board quarterly")) == [id_at(NOON, 1)]


async def test_a_search_keeps_to_the_other_filters_and_to_pages(store: Store) -> None:
    records = some(200)
    for number, record in enumerate(records):
        record["transcript"] = "even number" if number % 2 == 0 else "odd number"
    store.write(*records)
    filters = Filters(text="even", providers=("groq",), since=NOON + 1000.0, until=NOON + 6000.0, outcomes=("ok",))
    wanted = [
        record["id"]
        for record in sorted(records, key=lambda record: record["time"], reverse=True)
        if record["transcript"] == "even number"
        and (record["provider"], record["outcome"]) == ("groq", "ok")
        and NOON + 1000 <= int(record["id"][:8] + record["id"][9:13], 16) / 1000 < NOON + 6000
    ]
    assert len(wanted) > 5
    assert await store.ids(filters) == wanted
    first = await store.reader.page(filters, limit=3, before=None)
    rest = await store.reader.page(filters, limit=100, before=first.next)
    assert [item["id"] for item in (*first.items, *rest.items)] == wanted
    assert [item["id"] for item in await store.all(filters)] == wanted
    trace = next(record["trace_id"] for record in records if record["id"] == wanted[0])
    assert await store.ids(Filters(text="even", trace=trace)) == wanted[:1]
    assert await store.ids(Filters(text="odd", trace=trace)) == []


async def test_a_long_transcript_is_found_by_its_last_word(store: Store) -> None:
    text = " ".join(f"word{number}" for number in range(40_000))
    store.write(made(1, transcript=f"{text} finally"), made(2, transcript=text))
    assert await store.ids(Filters(text="word0 finally")) == [id_at(NOON, 1)]


async def test_a_search_may_have_hundreds_of_words(store: Store) -> None:
    store.write(made(1, transcript="a " * 500))
    assert await store.ids(Filters(text="a " * 500)) == [id_at(NOON, 1)]
