"""What a provider counted, read from its replies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Usage:
    """What a provider counted, or what was sent to it; None is what nobody said.

    ``audio_tokens`` are those of the input; ``seconds`` is the audio that the provider says it processed;
    ``cost`` what it says that this costs, in US dollars.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    audio_tokens: int | None = None
    seconds: Decimal | None = None
    characters: int | None = None
    cost: Decimal | None = None

    def document(self) -> dict[str, Any]:
        """Return the ``usage`` of a record."""
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "audio_tokens": self.audio_tokens,
            "seconds": None if self.seconds is None else float(self.seconds),
            "characters": self.characters,
        }
