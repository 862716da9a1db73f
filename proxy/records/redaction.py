"""Takes out of a transcript what is personal or secret: addresses, numbers of phones, cards and accounts, and keys.

What is found is replaced by ``[e-mail]``, ``[phone]``, ``[card]``, ``[account]`` or ``[key]``. A transcript has no
country and no layout, so this goes by shape and by checksum: it errs towards taking out too much, and promises nothing
of names, of streets, or of numbers written as words in other languages than English.

Every pattern is linear in the text: each begins only where a word does, and gives back nothing of what it has taken.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from proxy.records.digits import numbers_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from proxy.records.captions import Segment

Kind = Literal["e-mail", "phone", "card", "account", "key"]


class Span(NamedTuple):
    """Characters ``start`` to ``end`` of a text that shall not stay."""

    start: int
    end: int
    kind: Kind


_DIGIT: Final = re.compile("[0-9]")
_AT_DOMAIN: Final = re.compile(r" (?:at|AT|At) [\w-]++\.\w")
_DOT: Final = re.compile(" dot ", re.IGNORECASE)
_EMAIL: Final = re.compile(r"(?<![\w.+%'-])[\w.+%'-]++@[\w-]++(?:\.[\w-]++)++")
_SPOKEN_EMAIL: Final = re.compile(  # jane dot doe at example dot com; of so many words at the most, to stay linear
    r"(?<![\w.+-])[\w.+-]++(?:\s(?:dot|underscore|dash|hyphen)\s[\w.+-]++){0,4}+\sat\s(?!the\s)(?:[\w-]++\sdot\s){1,4}"
    r"(?:com|org|net|edu|gov|info|dev|app|io|ai|co|uk|de|fr|nl|eu|ca|au|ch|jp|in)\b",
    re.IGNORECASE,
)
_HALF_SPOKEN_EMAIL: Final = re.compile(  # jane.doe at example.com; but "meet me at example.com" is none
    r"(?<![\w.+-])(?=[^\W\d_][^\W\d_-]*+[.+\d_-])[\w.+-]++\sat\s[\w-]++(?:\.[\w-]++)++", re.IGNORECASE
)

_PEM_BEGIN: Final = "-----BEGIN "
_PEM_END: Final = "-----END "
_PEM_LAST: Final = re.compile(r"-----END [A-Z0-9 ]{1,64}-----")
_BEARER: Final = re.compile(r"\bBearer\s++(?=[A-Za-z._~+/=-]*+[0-9])([A-Za-z0-9._~+/=-]{8,}+)", re.IGNORECASE)
_PREFIXED: Final = re.compile(  # what providers begin their keys with, so that they are found
    r"(?<![A-Za-z0-9])(?:sk|pk|rk|gsk|xai|hf|gh[oprsu]|github_pat|glpat|npm|whsec|xox[abeprs]|hvs|pplx|r8)[-_]"
    r"(?=[A-Za-z_-]*+[0-9]|[A-Za-z_-]{24})[A-Za-z0-9_-]{8,}+"
)
_KNOWN: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{30,}+|ya29\.[A-Za-z0-9._-]{8,}+"
    r"|SG\.[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+"
    r"|(?<![_-])eyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+){1,4}+"
    r"|[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12})(?![A-Za-z0-9])"
)
_WORD: Final = re.compile(r"[A-Za-z0-9+/=_-]{20,}+")
_PIECE: Final = re.compile(r"[A-Za-z0-9]{20,}+")
_HEX: Final = re.compile(r"[0-9a-f]{32,}+|[0-9A-F]{32,}+")
_CHANGE: Final = re.compile(r"[0-9](?=[A-Za-z])|[A-Za-z](?=[0-9])")
_CHANGES: Final = 3  # between letters and digits: a word with a date behind it has one or two
_MIXED: Final = 3.7  # bits a character: English words have some 3, twenty random letters and digits 4.1

_IBAN: Final = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[ -]?[0-9][ -]?[0-9](?=[ -]?[A-Za-z0-9])")
_REGISTRY: Final = """
    AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24
    FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32
    LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24
    RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30
"""
_IBAN_LENGTHS: Final = {entry[:2]: int(entry[2:]) for entry in _REGISTRY.split()}  # characters (ISO 13616, by SWIFT)


def redacted(text: str, *, torn: bool = False) -> str:
    """Return ``text`` without what is personal or secret. ``torn``: its end may be half of something that is."""
    spans = spans_in(text)
    if torn:
        spans = [*spans, *_torn_end(text, spans)]
    return _replaced(text, spans)


def redacted_segments(segments: Sequence[Segment], *, torn: bool = False) -> list[Segment]:
    """Return segments without what is personal or secret, also where it begins in one and ends in another.

    Some recognisers end a segment in the middle of a word, and some leave out the space between two: both are tried.
    """
    texts = [segment["text"] for segment in segments]
    spans: list[list[Span]] = [[] for _ in texts]
    for gap in (" ", ""):
        joined = gap.join(texts)
        found = spans_in(joined)
        _share(found if gap else _crossing(found, texts), texts, len(gap), spans)
        if torn and gap:
            _share(_torn_end(joined, found), texts, len(gap), spans)
    names = {name: redacted(name) for name in {segment["speaker"] for segment in segments} if name is not None}
    return [
        {**segment, "text": _replaced(segment["text"], own), "speaker": names.get(segment["speaker"])}
        for segment, own in zip(segments, spans, strict=True)
    ]


def spans_in(text: str) -> list[Span]:
    """Return what is to be taken out of ``text``, in its order and apart from each other."""
    if not text.isascii():
        text = _plain(text)
    found = [Span(start, end, "key") for start, end in _pem_in(text)]
    for kind, pattern in _patterns_for(text):
        found += [Span(*match.span(match.lastindex or 0), kind) for match in pattern.finditer(text)]
    if _DIGIT.search(text):
        found += [Span(start, end, "key") for start, end in _random_words_in(text)]
        found += [Span(start, end, "account") for start, end in _ibans_in(text)]
    found = _merged(found)
    found += [Span(*number) for number in numbers_in(text, [(span.start, span.end) for span in found])]
    return sorted(found)


def _patterns_for(text: str) -> Iterator[tuple[Kind, re.Pattern[str]]]:
    """Yield the patterns that can match: most of what is said has neither an address nor a key in it."""
    yield "key", _PREFIXED
    if _DIGIT.search(text):
        yield "key", _KNOWN
        yield "key", _BEARER
    if "@" in text or _AT_DOMAIN.search(text):
        yield "e-mail", _EMAIL
        yield "e-mail", _HALF_SPOKEN_EMAIL
    if _DOT.search(text):
        yield "e-mail", _SPOKEN_EMAIL


def _merged(spans: list[Span]) -> list[Span]:
    """Return spans in their order, those that overlap as one of the first one's kind."""
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            merged[-1] = Span(last.start, max(last.end, span.end), last.kind)
        else:
            merged.append(span)
    return merged


def _replaced(text: str, spans: list[Span]) -> str:
    pieces: list[str] = []
    at = 0
    for span in _merged(spans):
        pieces += (text[at : span.start], f"[{span.kind}]")
        at = span.end
    return "".join((*pieces, text[at:]))


# Segments


def _crossing(spans: list[Span], texts: Sequence[str]) -> list[Span]:
    """Return the spans that more than one of the texts, joined without a gap, has a part of."""
    borders: list[int] = []
    end = 0
    for text in texts:
        end += len(text)
        borders.append(end)
    crossing, number = [], 0
    for span in spans:
        while number < len(borders) and borders[number] <= span.start:
            number += 1
        if number < len(borders) and borders[number] < span.end:
            crossing.append(span)
    return crossing


def _share(found: list[Span], texts: Sequence[str], gap: int, into: list[list[Span]]) -> None:
    """Give each text its own part of the spans that were found in all of them joined."""
    begin = first = 0
    for text, own in zip(texts, into, strict=True):
        end = begin + len(text)
        while first < len(found) and found[first].end <= begin:
            first += 1
        number = first
        while number < len(found) and found[number].start < end:
            start, stop, kind = found[number]
            if text:
                own.append(Span(max(start - begin, 0), min(stop, end) - begin, kind))
            number += 1
        begin = end + gap


def _torn_end(text: str, spans: list[Span]) -> list[Span]:
    """Return the last word of a text that broke off, with the digits before it, if it could be part of something."""
    start = end = len(text.rstrip())
    floor = max(spans[-1].end if spans else 0, end - 512)  # characters: no number or key that one says is longer
    while True:
        word = start
        while word > floor and not text[word - 1].isspace():
            word -= 1
        if not any(c.isdigit() or c in "@+_" for c in text[word:start]):
            break
        start = word
        while start > floor and text[start - 1].isspace():
            start -= 1
        if start <= floor:
            break
    while start < end and text[start].isspace():
        start += 1
    return [Span(start, end, "account")] if start < end else []


# Keys and accounts


def _pem_in(text: str) -> Iterable[tuple[int, int]]:
    """Yield each PEM block (RFC 7468), to the text's end if it has none of its own."""
    at = text.find(_PEM_BEGIN)
    while at >= 0:
        stop = text.find(_PEM_END, at)
        match = _PEM_LAST.match(text, stop) if stop >= 0 else None
        end = match.end() if match is not None else len(text)
        yield at, end
        at = text.find(_PEM_BEGIN, end)


def _random_words_in(text: str) -> Iterable[tuple[int, int]]:
    """Yield long words that nobody would think of: letters and digits as chance throws them."""
    for word in _WORD.finditer(text):
        if any(_is_random(piece[0]) for piece in _PIECE.finditer(word[0])):
            yield word.span()


def _is_random(piece: str) -> bool:
    digits = sum(c.isdigit() for c in piece)
    if _HEX.fullmatch(piece):
        return 0 < digits < len(piece)
    return digits < len(piece) and len(_CHANGE.findall(piece)) >= _CHANGES and _entropy(piece) >= _MIXED


def _entropy(word: str) -> float:
    """Return Shannon's entropy of a word in bits a character."""
    length = len(word)
    return -sum(count / length * math.log2(count / length) for count in Counter(word).values())


def _ibans_in(text: str) -> Iterable[tuple[int, int]]:
    """Yield each account number of ISO 13616, by its checksum."""
    last = 0
    for match in _IBAN.finditer(text):
        if match.start() < last:
            continue
        end = _iban_end(text, match.start())
        if end:
            last = end
            yield match.start(), end


def _iban_end(text: str, start: int) -> int:
    """Return where the valid number that begins at ``start`` ends, 0 when there is none."""
    length, given, at = _IBAN_LENGTHS.get(text[start : start + 2].upper(), 0), "", start
    while len(given) < length and at < len(text):
        if given and text[at] in " -":
            at += 1
        if not (text[at : at + 1].isascii() and text[at : at + 1].isalnum()):
            return 0
        given += text[at]
        at += 1
    return at if length and len(given) == length and _is_iban(given) else 0


def _is_iban(given: str) -> bool:
    """Return whether the check digits are right (ISO 7064, mod 97-10)."""
    return int("".join(str(int(c, 36)) for c in given[4:] + given[:4])) % 97 == 1


# Other scripts

_SIGNS: Final = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d", "-"),
    **dict.fromkeys("\u3002\uff0e", "."),
    **dict.fromkeys("\u3001\uff0c", ","),
    "\uff0b": "+", "\uff20": "@", "\uff0f": "/", "\uff3f": "_", "\uff08": "(", "\uff09": ")",
}  # fmt: skip


def _plain(text: str) -> str:
    """Return a text with the digits, spaces and signs of all scripts as ASCII has them, each in its place."""
    return text.translate({ord(c): plain for c in set(text) if (plain := _ascii(c)) is not None})


def _ascii(c: str) -> str | None:
    if c.isascii():
        return None
    if c.isdecimal():
        return str(unicodedata.decimal(c))
    return " " if c.isspace() else _SIGNS.get(c)
