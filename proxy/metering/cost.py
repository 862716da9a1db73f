"""Usage and a price → what a request costs, in exact decimals. Unknown is None, never zero."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from proxy.metering.prices import Price
    from proxy.metering.usage import Usage

Basis = Literal["reported", "tokens", "seconds", "characters", "free", "unknown"]

_MOST: Final = 1_000_000_000  # seconds, tokens, characters or dollars of one request: more is a mistake, not a count
_MILLISECOND: Final = Decimal("0.001")
_PICODOLLAR: Final = Decimal("0.000000000001")
_ZERO: Final = Decimal(0)


class Cost(NamedTuple):
    """What a request costs in US dollars, to twelve places, and what that was learnt from; None: not known."""

    usd: Decimal | None
    basis: Basis

    @property
    def text(self) -> str | None:
        """The dollars as plain digits, without an exponent or zeros at their end; None: not known."""
        if self.usd is None:
            return None
        text = f"{self.usd:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text


UNKNOWN: Final = Cost(None, "unknown")
FREE: Final = Cost(_ZERO, "free")


def cost_of(price: Price | None, usage: Usage | None, measured_seconds: Decimal | float | None = None) -> Cost:
    """Return the cost by what is trusted most: the provider's own figure, its counts, then what was measured.

    ``measured_seconds`` is the gateway's own measurement, used where the provider does not say how much audio it
    heard. Numbers that no request can have (negative, endless, beyond a thousand million) count as not said.
    """
    if usage is not None and (reported := _sane(usage.cost)) is not None:
        return Cost(_plain(reported), "reported")
    if price is None or not price.is_known:
        return UNKNOWN
    if price.is_free:
        return FREE
    seconds = _seconds(usage.seconds if usage is not None else None)
    if seconds is None:
        seconds = _seconds(measured_seconds)
    if price.unit == "token":
        return _by_token(price, usage, seconds)
    if price.unit == "character":
        characters = _sane(usage.characters) if usage is not None else None
        return UNKNOWN if characters is None else _charged(price, characters, "characters")
    return UNKNOWN if seconds is None else _charged(price, billed_seconds(price, seconds), "seconds")


def billed_seconds(price: Price, seconds: Decimal) -> Decimal:
    """Return the seconds that are charged for: rounded up, and no fewer than the minimum, where the price says so.

    A provider's count of whole seconds and a measurement in milliseconds thus lead to the same sum.
    """
    if price.round_up:
        seconds = seconds.to_integral_value(ROUND_CEILING)
    return seconds if price.minimum_seconds is None else max(seconds, price.minimum_seconds)


def _charged(price: Price, units: Decimal, basis: Basis) -> Cost:
    assert price.usd is not None, "a price by second or character has its rate"
    return Cost(_plain(units * price.usd / price.per), basis)


def _by_token(price: Price, usage: Usage | None, seconds: Decimal | None) -> Cost:
    usd = _tokens(price, usage) if usage is not None else None
    if usd is not None:
        return Cost(_plain(usd / price.per), "tokens")
    if price.minute_estimate is not None and seconds is not None:
        # Plain text, srt and vtt replies count nothing: the vendor's own figure per minute is the best there is.
        return Cost(_plain(seconds * price.minute_estimate / 60), "seconds")
    return UNKNOWN


def _tokens(price: Price, usage: Usage) -> Decimal | None:
    """Return dollars times ``price.per``, or None where a count or its rate is missing."""
    text, audio, output = _split(price, usage)
    # An input rate that is not given is the other one.
    text_rate = price.text_input if price.text_input is not None else price.audio_input
    audio_rate = price.audio_input if price.audio_input is not None else price.text_input
    parts = ((text, text_rate), (audio, audio_rate), (output, price.output))
    sums = [_ZERO if rate == 0 else None if count is None or rate is None else count * rate for count, rate in parts]
    return None if None in sums else sum((part for part in sums if part is not None), _ZERO)


def _split(price: Price, usage: Usage) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
    """Return the tokens of text in, audio in, and out."""
    total, audio, output = _sane(usage.input_tokens), _sane(usage.audio_tokens), _sane(usage.output_tokens)
    if audio is None and price.audio_input is not None:
        # What is sent to be transcribed is audio but for a short prompt, and audio is never the cheaper of the two.
        return (None if total is None else _ZERO), total, output
    if total is None or audio is None:  # all of one kind: audio to be transcribed, or text to be spoken
        return (_ZERO, audio, output) if total is None and audio is not None else (total, _ZERO, output)
    return max(total - audio, _ZERO), audio, output


def _seconds(value: Decimal | float | None) -> Decimal | None:
    """Return seconds to the millisecond: beyond that, replies and measurements only hold a float's noise."""
    sane = _sane(value)
    return None if sane is None else sane.quantize(_MILLISECOND, ROUND_HALF_EVEN)


def _sane(value: Decimal | float | None) -> Decimal | None:
    if value is None:
        return None
    exact = Decimal(value)
    return abs(exact) if exact.is_finite() and 0 <= exact <= _MOST else None  # a zero's sign is lost


def _plain(usd: Decimal) -> Decimal:
    """Return ``usd`` rounded to twelve places."""
    return usd.quantize(_PICODOLLAR, ROUND_HALF_EVEN)
