"""How PostgreSQL holds what a store keeps: numbers of series, sums of latencies, words that are searched."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

import re2

from proxy.store.questions import BadQuestionError
from proxy.store.rollup import Series
from proxy.store.row import clean
from proxy.store.words import words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from proxy.store.row import Row

_DIGITS: Final = 12  # of a slot: a thousand thousand millions of requests
_LEXEME: Final = 255  # characters of a word, each of up to 4 bytes: PostgreSQL takes 2046 bytes
_SEARCHED: Final = 900_000  # bytes of words of one record: PostgreSQL takes a megabyte, an hour of speech has 60 kB
_CURSOR: Final = re.compile(r"([0-9a-f]{1,15})\.([0-9a-f]{32})", re.ASCII)  # a key of less than 2**63, and an id
_SELDOM: Final = re2.compile(r"[\p{M}\p{Co}\x{10000}-\x{10ffff}]")  # marks, and scripts that Python may not know yet
_WORD: Final = re.compile(r"[^\W_]+")
_SPACED: Final = {sign: " " for sign in range(128) if not chr(sign).isalnum()}


class Kept(NamedTuple):
    """A record as a row of the table ``requests``, or almost: of ``searched`` the server makes the words."""

    key: int
    id: UUID
    series: int
    trace_id: str
    document: str
    searched: str


def kept_of(row: Row, series: Series) -> Kept:
    """Return the row of PostgreSQL's that a store's row is, ``series`` being its own as :func:`stored` gives it."""
    return Kept(
        row.key, UUID(row.id), number_of(series), plain(row.trace_id), row.document, searched_words(row.searched)
    )


def plain(text: str) -> str:
    """Return ``text`` without what PostgreSQL cannot hold: half characters, and NUL, for which a space stands."""
    return clean(text.replace("\0", " "))


@lru_cache(maxsize=1000)  # series: what one gateway sees within an hour
def stored(series: Series) -> Series:
    """Return a series as it is stored."""
    route, provider, model, key, status, outcome = series
    return Series(plain(route), plain(provider), plain(model), plain(key), status, plain(outcome))


@lru_cache(maxsize=1000)  # series, as before
def number_of(series: Series) -> int:
    """Return the number of a stored series: the same from every replica, so that none has to ask for it.

    Of a million series, two have the same number with a chance of one in 30 million.
    """
    facts = "\0".join(map(str, series))
    return int.from_bytes(blake2b(facts.encode(), digest_size=8).digest(), "big", signed=True)


def number_of_latencies(latency: Mapping[int, int]) -> str:
    """Return counts by slot as one decimal number, twelve digits for each: the sum of two is that of their counts."""
    return str(sum(count * 10 ** (_DIGITS * slot) for slot, count in latency.items()))


def latencies_of(number: str) -> Counter[int]:
    """Return the counts by slot that a number of :func:`number_of_latencies`, or a sum of those, stands for."""
    ends = range(len(number), 0, -_DIGITS)
    counts = ((slot, int(number[max(end - _DIGITS, 0) : end])) for slot, end in enumerate(ends))
    return Counter({slot: count for slot, count in counts if count})


def searched_words(text: str) -> str:
    """Return the words of a spread text in their order, with a space before and after each; no words: nothing."""
    # Every record comes this way: of the usual kind of text, the words are found in a twentieth of the time.
    if text.isascii():
        found = text.lower().translate(_SPACED).split()
    else:
        found = words(text) if _SELDOM.search(text) else _WORD.findall(text.lower())
    if not found:
        return ""
    if max(map(len, found)) > _LEXEME:
        found = [word[:_LEXEME] for word in found]
    joined = f" {' '.join(found)} "
    if len(joined) * 4 > _SEARCHED:
        joined = joined.encode()[:_SEARCHED].decode("utf-8", "ignore").rpartition(" ")[0] + " "
    return joined


def query_of(wanted: Sequence[Sequence[str]]) -> tuple[str, list[str]]:
    """Return what a search for ``phrases`` is: a tsquery that an index answers, and patterns for those of many words.

    Words are letters and digits only, so none of them can be an operator of either. The last may be a word's start.
    """
    lexemes = [f"'{word[:_LEXEME]}'" for phrase in wanted for word in phrase]
    last = len(wanted) - 1
    patterns = [
        f"% {' '.join(word[:_LEXEME] for word in phrase)}{'%' if number == last else ' %'}"
        for number, phrase in enumerate(wanted)
        if len(phrase) > 1
    ]
    return " & ".join(lexemes) + ":*", patterns


def cursor_of(key: int, record_id: UUID) -> str:
    """Return the cursor behind a record."""
    return f"{key:x}.{record_id.hex}"


def place_at(cursor: str) -> tuple[int, UUID]:
    """Return the key and the id that a cursor stands for. Raises BadQuestionError for what no page gave."""
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise BadQuestionError("before", "before is no cursor: take it from the page before, or leave it out")
    return int(found[1], 16), UUID(found[2])
