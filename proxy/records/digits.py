"""The numbers in a text that are somebody's: of phones, cards and accounts. All others stay: dates, prices, versions.

Digits are read in groups, as they are written and spoken: ``4242 4242 4242 4242``, ``+1 (415) 555-0132``, ``four two
four two``. Groups with nothing but a space or a sign between them make a run; in a run cards are looked for, then
phones, then accounts, each as long as can be.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Number = tuple[int, int, Literal["phone", "card", "account"]]

_NAMES: Final = {
    "zero": "0", "oh": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7",
    "eight": "8", "nine": "9",
}  # fmt: skip
_DIGIT: Final = re.compile("[0-9]")
_GROUP: Final = re.compile(rf"[0-9]++|\b(?:{'|'.join(_NAMES)})\b", re.IGNORECASE)
_GAP: Final = re.compile(r"\s{0,2}[-.,/()]{0,2}\s{0,2}")

# What is a number like any other. Each begins and ends where no further digit is, nor a sign with a digit behind it.
_BEFORE: Final = r"(?<![0-9])(?<![0-9][.,:/-])"
_AFTER: Final = r"(?![0-9])(?![.,:/-][0-9])"
_DAY, _MONTH, _YEAR = r"(?:3[01]|[12][0-9]|0?[1-9])", r"(?:1[0-2]|0?[1-9])", r"(?:19|20)[0-9]{2}"
_ORDINARY: Final = re.compile(
    rf"{_BEFORE}(?:{_YEAR}([-/.]){_MONTH}\1{_DAY}"  # dates
    rf"|{_DAY}([-/.]){_MONTH}\2(?:{_YEAR}|[0-9]{{2}})|{_MONTH}([-/.]){_DAY}\3(?:{_YEAR}|[0-9]{{2}})"
    r"|[0-9]{1,2}(?::[0-9]{2}){1,2}(?:[.,][0-9]{1,6})?"  # times
    r"|[1-9][0-9]{0,2}(?:,[0-9]{3})++(?:\.[0-9]++)?|[1-9][0-9]{0,2}(?:\.[0-9]{3})++(?:,[0-9]++)?"  # 1,000,000
    r"|[1-9][0-9]{0,2}(?: [0-9]{3}){0,4} 000(?:[.,][0-9]++)?(?! [0-9])"  # 1 000 000
    r"|(?:0|[1-9][0-9]{0,2})(?:\.(?:0|[1-9][0-9]{0,2})){2,}"  # versions, addresses in a network
    rf"|(?:0|[1-9][0-9]{{0,6}})[.,][0-9]++){_AFTER}"  # decimals
)
_MONEY: Final = re.compile(
    r"[$\u20ac\u00a3\u00a5] ?[1-9][0-9.,]{0,14}+(?![0-9])|(?<![0-9+])(?<![0-9][ .,()-])[1-9][0-9.,]{0,14}+ ?"
    r"(?:[$\u20ac\u00a3\u00a5%]|(?:dollars?|euros?|pounds?|yen|cents?|percent|thousand|million|billion)\b)",
    re.IGNORECASE,
)

_CUE: Final = re.compile(
    r"\b(?:phone|tel|telephone|telefon|t\u00e9l\u00e9phone|tel\u00e9fono|mobile|cell|handy|fax|whatsapp|call|dial|ring|"
    r"text|reach|number is|number's|nummer|num\u00e9ro|n\u00famero)\b",
    re.IGNORECASE,
)
_CUE_BEFORE: Final = 32  # characters between a word like "call" and the number: "call me back any time at"
_WINDOW: Final = 19  # groups of one number: a card's digits one by one

_CARD_DIGITS: Final = range(13, 20)  # what networks give (ISO/IEC 7812)
_CARD: Final = re.compile(r"3|4|5|6|222[1-9]|22[3-9]|2[3-6]|27[01]|2720|220[0-4]")  # networks; no year begins so
_PHONE_DIGITS: Final = range(7, 16)  # with the country's; at most 15 (ITU-T E.164)
_NATIONAL_DIGITS: Final = range(9, 13)  # with a leading zero: Germany's are the longest
_CALLED_DIGITS: Final = range(6, 16)  # of what somebody says to call
_NANP: Final = re.compile(r"1?[2-9][0-9]{2}[2-9][0-9]{6}")
_NANP_SHAPES: Final = frozenset({(3, 3, 4), (1, 3, 3, 4), (3, 7), (1, 3, 7), (6, 4), (10,), (1, 10), (11,)})
_LONG_GROUP: Final = 8  # digits without a gap: no year, no price, few counts
_LONG_RUN: Final = 9  # digits with gaps: a social security number has so many
_ONE_BY_ONE: Final = 7  # digits that somebody spells
_MOMENT: Final = re.compile(
    rf"(?:{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])|(?:0[1-9]|[12][0-9]|3[01])(?:0[1-9]|1[0-2]){_YEAR})"
    rf"(?:[01][0-9]|2[0-3])?(?:[0-5][0-9]){{0,2}}|{_YEAR}{_YEAR}"
)
_ONLY_YEAR: Final = re.compile(_YEAR)


class _Group(NamedTuple):
    """Digits in one piece, and whether a comma stands before them."""

    start: int
    end: int
    digits: str
    comma: bool


_Run = list[_Group]


def numbers_in(text: str, taken: Sequence[tuple[int, int]]) -> Iterator[Number]:
    """Yield what is to be taken out. ``taken`` (in its order, apart) is something else already.

    Digits, spaces and signs in ``text`` are ASCII's.
    """
    for run in _runs(text, taken):
        if sum(len(group.digits) for group in run) < _CALLED_DIGITS.start:
            continue
        rest = [run]
        for kind, longest in _RULES:
            left: list[_Run] = []
            for part in rest:
                at = kept = 0
                while at < len(part):
                    end = longest(text, part, at)
                    if end:
                        yield _start(text, part[at].start), part[end - 1].end, kind
                        left.append(part[kept:at])
                        kept = end
                    at = end or at + 1
                left.append(part[kept:])
            rest = [part for part in left if part]


def _start(text: str, start: int) -> int:
    """Return where a number begins: its sign and bracket are part of it."""
    while start > 0 and text[start - 1] in "+(":
        start -= 1
    return start


def _runs(text: str, taken: Sequence[tuple[int, int]]) -> Iterator[_Run]:
    """Yield the groups between which there is nothing but a gap."""
    patterns = (_ORDINARY, _MONEY) if _DIGIT.search(text) else ()
    ordinary = [match.span() for pattern in patterns for match in pattern.finditer(text)]
    barred, number = sorted([*taken, *ordinary]), 0
    run: _Run = []
    for match in _GROUP.finditer(text):
        start, end = match.span()
        while number < len(barred) and barred[number][1] <= start:
            number += 1
        if (number < len(barred) and barred[number][0] < end) or _is_glued(text, start, end):
            if run:
                yield run
            run = []
            continue
        gap = text[run[-1].end : start] if run else ""
        if run and not (len(gap) <= 5 and _GAP.fullmatch(gap)):  # more characters are no gap, and cost time
            yield run
            run, gap = [], ""
        run.append(_Group(start, end, _NAMES.get(match[0].lower(), match[0]), "," in gap))
    if run:
        yield run


def _is_glued(text: str, start: int, end: int) -> bool:
    """Return whether a few digits are part of a word, as in "H264" or "2nd"."""
    around = text[start - 1 : start] + text[end : end + 1]
    return end - start < _LONG_GROUP and text[start].isdigit() and any(c.isascii() and c.isalpha() for c in around)


# Rules: each returns where the longest number of its kind that begins with a group ends, 0 when there is none.


def _card(_text: str, run: _Run, at: int) -> int:
    found, digits = 0, ""
    if not _CARD.match(run[at].digits + "".join(group.digits for group in run[at + 1 : at + 4])):
        return 0
    for end, group in enumerate(run[at : at + _WINDOW], at + 1):
        digits += group.digits
        if len(digits) >= _CARD_DIGITS.stop:
            break
        if len(digits) in _CARD_DIGITS and _passes_luhn(digits):
            found = end
    return found


def _phone(text: str, run: _Run, at: int) -> int:
    start, first = run[at].start, run[at].digits
    before = text[max(start - 6, 0) : start].rstrip("( ").lower()
    if before.endswith("+"):
        return _longest(run, at, _PHONE_DIGITS)
    if before.endswith("plus") or first.startswith("00"):
        return _longest(run, at, range(9, 18))
    found = _longest(run, at, _NATIONAL_DIGITS) if first.startswith("0") and not _is_moment(first) else 0
    if not found:
        found = _american(run, at)
    if not found and at == 0 and _CUE.search(text, max(start - _CUE_BEFORE, 0), start) and not _is_moment(first):
        found = _longest(run, at, _CALLED_DIGITS, commas=True)
    return found


def _american(run: _Run, at: int) -> int:
    """Return the end of a number of the North American plan, by its shape."""
    for count in (4, 3, 2, 1):
        part = run[at : at + count]
        shape = tuple(len(group.digits) for group in part)
        if shape in _NANP_SHAPES and _NANP.fullmatch("".join(group.digits for group in part)):
            return at + len(part)
    return 0


def _account(_text: str, run: _Run, at: int) -> int:
    end = at + 1
    while end < len(run) and len(run[end].digits) == len(run[at].digits) == 1:
        end += 1
    if len(run[at].digits) == 1 and end - at >= _ONE_BY_ONE:
        return 0 if _is_counting([int(group.digits) for group in run[at:end]]) else end
    end = at + 1
    while end < min(len(run), at + _WINDOW) and not run[end].comma:
        end += 1
    part = run[at:end]
    total = sum(len(group.digits) for group in part)
    longest = max(len(group.digits) for group in part)
    if len(part) == 1:
        return end if total >= _LONG_GROUP and not _is_moment(part[0].digits) else 0
    if total < _LONG_RUN or longest < 3 or all(_ONLY_YEAR.fullmatch(group.digits) for group in part):
        return at + 1 if len(run[at].digits) >= _LONG_GROUP and not _is_moment(run[at].digits) else 0
    return end


_RULES: Final[tuple[tuple[Literal["card", "phone", "account"], Callable[[str, _Run, int], int]], ...]] = (
    ("card", _card),
    ("phone", _phone),
    ("account", _account),
)


def _longest(run: _Run, at: int, lengths: range, *, commas: bool = False) -> int:
    """Return the end of the longest number with so many digits, and no comma unless ``commas``."""
    found = total = 0
    for end, group in enumerate(run[at : at + _WINDOW], at + 1):
        total += len(group.digits)
        if total >= lengths.stop or (group.comma and end > at + 1 and not commas):
            break
        if total in lengths:
            found = end
    return found


def _passes_luhn(digits: str) -> bool:
    """Return whether the check digit is right (ISO/IEC 7812-1, annex B)."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def _is_moment(digits: str) -> bool:
    """Return whether digits in one piece are a date, alone or with a time, or two years that lost their gap."""
    return _MOMENT.fullmatch(digits) is not None


def _is_counting(numbers: list[int]) -> bool:
    """Return whether somebody counts, up or down."""
    steps = {after - before for before, after in pairwise(numbers)}
    return steps in ({1}, {-1})
