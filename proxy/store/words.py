"""The words of a text, as every store indexes them and every search means them.

Case and accents do not count: ``Café`` is found by ``CAFE``. In scripts that put no spaces between words (Chinese,
Japanese, Korean, Thai and their kin) each letter is a word of its own and a search for several is one for their
sequence, so that any part of a sentence is found; an index of trigrams would find no part of one or two letters and
take three times the room.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import re2

_WORD: Final = re2.compile(r"[\p{L}\p{N}\p{M}\p{Co}]+")  # what SQLite's unicode61 is told to take for one
_ACCENTS: Final = re.compile("[\u0300-\u036f\u0591-\u05bd\u064b-\u0652]")  # and the vowel points that few people type
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)


def spread(text: str) -> str:
    """Return ``text`` without accents and in one case, its unspaced letters set apart; ASCII stays as it is."""
    if text.isascii():
        return text
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    return _UNSPACED.sub(r" \g<0> ", unicodedata.normalize("NFC", bare).casefold())


def words(text: str) -> list[str]:
    """Return the words of ``text``, in lower case and in their order."""
    return [str(word) for word in _WORD.findall(spread(text).lower())]


def phrases(text: str) -> list[list[str]]:
    """Return what a search for ``text`` must find, all of it: sequences of words; the very last may be a word's start.

    What has neither letter nor digit is no word: of quotes, operators and other signs nothing is left. No phrases at
    all means that nothing is found.
    """
    return [found for term in text.split() if (found := words(term))]
