"""Which words of a growing hypothesis may be sent already.

While a recogniser listens, its best guess at the last few words changes with every slice of audio ("go
forward to him", "go forward ten meters"), but what has been sent to a client cannot be taken back. So a word
is confirmed once it has stayed the same, with every word before it, for a while (local agreement: Liu et al.,
Interspeech 2020).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.engines.transcript import Word


class Agreement:
    """Confirms the words of one utterance, in order, once the last ``window`` hypotheses agree on them."""

    def __init__(self, window: int) -> None:
        self._recent: deque[Sequence[Word]] = deque(maxlen=window)  # all that agreement is asked of
        self._confirmed: list[Word] = []

    def feed(self, hypothesis: Sequence[Word]) -> list[Word]:
        """Take the next hypothesis; return the words that it confirms, often none."""
        self._recent.append(hypothesis)
        if len(self._recent) < (self._recent.maxlen or 1):
            return []
        agreed = min((_agreeing(hypothesis, earlier) for earlier in self._recent), default=0)
        return self._confirm(hypothesis[:agreed])

    def close(self, final: Sequence[Word]) -> list[Word]:
        """Take the final hypothesis; return all words not confirmed before.

        Where it contradicts a confirmed word, the confirmed word stands and the rest follows from that word's
        end on.
        """
        if _agreeing(self._confirmed, final) == len(self._confirmed):
            return self._confirm(final)
        said_until = self._confirmed[-1].end
        rest = [word for word in final if (word.start + word.end) / 2 > said_until]
        self._confirmed += rest
        return rest

    def _confirm(self, words: Sequence[Word]) -> list[Word]:
        known = len(self._confirmed)
        if _agreeing(self._confirmed, words) < known:
            return []
        self._confirmed += words[known:]
        return self._confirmed[known:]


def _agreeing(one: Sequence[Word], other: Sequence[Word]) -> int:
    """Return how many words from the start have the same text in both."""
    count = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine.text != theirs.text:
            break
        count += 1
    return count
