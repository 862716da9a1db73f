"""What a provider counted, read from its replies.

Each provider says it in its own words; a reply is known by its shape, never by whom it was asked of. A number that is
negative, not finite, or larger than any reply could give is nobody's word, and neither is ``true``.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final, NamedTuple

MEMBERS: Final = frozenset(
    {
        "usage",
        "metadata",
        "audio_duration_secs",
        "audio_duration",
        "audio_duration_ms",
        "input_length_ms",
        "duration",
        "seconds",
    }
)
"""The members of a reply that :func:`usage_of` looks at; all others may be left out of what it is given."""

_MOST_SECONDS: Final = 1_000_000  # of one reply: 11 days, where the most patient provider takes 10 hours
_MOST_TOKENS: Final = 1_000_000_000  # of one reply: far more than any model's context
_MOST_USD: Final = 10_000  # for one reply: a million seconds at the dearest price per second there is

_WRITTEN: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,30})?")
"""A number in a string, as vLLM writes ``duration``."""


class Usage(NamedTuple):
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


def usage_of(document: object) -> Usage | None:
    """Return what a reply's JSON says was used; None when it says nothing. Any JSON value may be given.

    Where a document gives the audio's length more than once, what the provider bills goes first: ``usage``, then the
    fields that are there for billing, then what merely describes the audio.
    """
    if not isinstance(document, dict):
        return None
    usage = document.get("usage")
    if not isinstance(usage, dict):
        seconds = _described(document)
        return None if seconds is None else Usage(seconds=seconds)
    input_tokens = _tokens(usage, "input_tokens", "prompt_tokens")
    output_tokens = _tokens(usage, "output_tokens", "completion_tokens")
    audio_tokens = _audio_tokens(usage, input_tokens)
    seconds = _number(usage.get("seconds"), _MOST_SECONDS)  # OpenAI, vLLM, OpenRouter
    if seconds is None:
        seconds = _number(usage.get("prompt_audio_seconds"), _MOST_SECONDS)  # Mistral
    if seconds is None:
        seconds = _described(document)
    cost = _number(usage.get("cost"), _MOST_USD)  # OpenRouter, in US dollars
    if input_tokens is None and output_tokens is None and audio_tokens is None and seconds is None and cost is None:
        return None
    return Usage(input_tokens, output_tokens, audio_tokens, seconds, None, cost)


def _described(document: dict[str, Any]) -> Decimal | None:
    """Return the audio's seconds as a reply gives them outside of ``usage``."""
    metadata = document.get("metadata")
    if isinstance(metadata, dict):  # a number only: in OpenAI's objects metadata is the caller's own, all of it strings
        seconds = _number(metadata.get("duration"), _MOST_SECONDS)  # Deepgram
        if seconds is not None:
            return seconds
    seconds = _number(document.get("audio_duration_secs"), _MOST_SECONDS)  # ElevenLabs
    if seconds is None:
        seconds = _number(document.get("audio_duration"), _MOST_SECONDS)  # AssemblyAI, of a job
    if seconds is None:
        seconds = _milliseconds(document.get("audio_duration_ms"))  # AssemblyAI, at once
    if seconds is None:
        seconds = _milliseconds(document.get("input_length_ms")) or None  # DeepInfra, where 0 is a field not filled
    if seconds is None:
        seconds = _spelt(document.get("duration"))  # verbose_json, diarized_json, xAI
    if seconds is None:
        seconds = _spelt(document.get("seconds"))  # OVHcloud
    if seconds is None and isinstance(metadata, dict):
        seconds = _billed(metadata.get("totalBilledDuration"))  # Google
    return seconds


def _tokens(usage: dict[str, Any], *names: str) -> int | None:
    for name in names:
        count = usage.get(name)
        if type(count) is int and 0 <= count <= _MOST_TOKENS:
            return count
    return None


def _audio_tokens(usage: dict[str, Any], input_tokens: int | None) -> int | None:
    """Return how many tokens of the input were audio: a part of them, so more than all of them is nonsense."""
    details = usage.get("input_token_details")
    if not isinstance(details, dict):
        details = usage.get("prompt_tokens_details")  # where models that chat say so
        if not isinstance(details, dict):
            return None
    count = _tokens(details, "audio_tokens")
    if count is not None and input_tokens is not None and count > input_tokens:
        return None
    return count


def _number(value: object, most: int) -> Decimal | None:
    """Return a JSON number between 0 and ``most`` with the digits it was written in, none of binary's added."""
    if (type(value) is int or type(value) is float) and 0 <= value <= most:  # bool is an int, too
        return Decimal(str(value)) if value else Decimal(0)
    return None


def _milliseconds(value: object) -> Decimal | None:
    """Return milliseconds as seconds."""
    number = _number(value, _MOST_SECONDS * 1000)
    return None if number is None else number.scaleb(-3)


def _spelt(value: object) -> Decimal | None:
    """Return seconds given as a number, or as one in a string."""
    if not isinstance(value, str):
        return _number(value, _MOST_SECONDS)
    if not _WRITTEN.fullmatch(value):
        return None
    seconds = Decimal(value)
    return seconds if seconds <= _MOST_SECONDS else None


def _billed(value: object) -> Decimal | None:
    """Return the seconds of a duration as protobuf's JSON writes it: ``"8s"``, ``"7.5s"``."""
    return _spelt(value[:-1]) if isinstance(value, str) and value.endswith("s") else None
