"""What an answered request comes to: the seconds of its audio, what was said, what its provider counted, and the cost.

Beside the reply a :class:`Bill` reads the provider's own count and keeps the bytes; it never alters, delays or breaks
the reply.
"""

from __future__ import annotations

import logging
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from proxy.metering.cost import cost_of
from proxy.metering.observer import observer_for, usage_in
from proxy.metering.prices import Mode, shut_down
from proxy.metering.usage import Usage
from proxy.providers.base import Route
from proxy.records.heard import heard_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.form.observer import FilePart
    from proxy.metering.book import PriceBook
    from proxy.metering.observer import ReplyObserver
    from proxy.metering.prices import Price
    from proxy.records.heard import Heard
    from proxy.records.record import Record
    from proxy.relay.upload import Upload

_log = logging.getLogger("audiogate")

_MODES: Final[dict[Route, Mode]] = {
    Route.TRANSCRIPTIONS: "transcription",
    Route.TRANSLATIONS: "translation",
    Route.SPEECH: "speech",
}
_SPOKEN: Final = frozenset({"transcription", "translation"})
_LONGEST: Final = 1e9  # seconds that a client may say its audio has: thirty years, and no float is lost below
_LONGEST_NAME: Final = 255  # characters of a file name in a record: what file systems allow


class Bill:
    """The bill of one request that is being answered. ``deployment`` is Azure's word for a model, if it has one.

    ``claimed`` is ``x-portkey-audio-file-duration`` as it came: the client's word, for want of any other.
    ``warned`` remembers which models past their shutdown the log has told of.
    """

    def __init__(
        self,
        record: Record,
        upload: Upload,
        route: Route,
        prices: PriceBook,
        warned: set[tuple[str, str]],
        *,
        deployment: str | None,
        claimed: str | None,
    ) -> None:
        self._record = record
        self._upload = upload
        self._mode = _MODES.get(route)
        self._prices = prices
        self._warned = warned
        self._deployment = deployment
        self._claimed = claimed
        self._observer: ReplyObserver | None = None
        self._heard: Heard | None = None

    def whole(self, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
        """Settle by a reply that is here whole; return the headers that tell the client what it comes to."""
        content_type, encoding = headers.get("Content-Type", ""), headers.get("Content-Encoding")
        usage = usage_in(body, content_type, encoding) if self._mode else None
        self._listen(content_type, encoding)
        if self._heard is not None:
            self._heard.feed(body)
        self.settle(usage)
        record, told = self._record, {}
        if record.cost_usd is not None:
            told["x-audiogate-cost-usd"] = record.cost_usd
        if record.audio_seconds is not None:
            told["x-audiogate-audio-seconds"] = f"{record.audio_seconds:.3f}".rstrip("0").rstrip(".")
        return told

    def open(self, headers: Mapping[str, str]) -> bool:
        """Begin to read beside a reply that streams; return whether there is anything to read in it."""
        content_type, encoding = headers.get("Content-Type", ""), headers.get("Content-Encoding")
        if self._mode is not None:
            self._observer = observer_for(content_type, encoding)
        self._listen(content_type, encoding)
        return self._observer is not None

    def feed(self, chunk: bytes) -> None:
        """Take the reply's next bytes."""
        if self._heard is not None:
            self._heard.feed(chunk)
        if self._observer is not None:
            try:
                self._observer.feed(chunk)
            except Exception:  # noqa: BLE001  (an observer never breaks the stream)
                _log.exception("the usage of a reply could not be read")
                self._observer = None

    def _listen(self, content_type: str, encoding: str | None) -> None:
        """Begin to keep what is said, where there is speech in and text out, and as far as that is allowed."""
        mode = self._record.transcripts
        if mode != "off" and self._mode in _SPOKEN:
            self._heard = self._record.heard = heard_from(content_type, encoding, redact=mode == "redacted")

    def close(self) -> None:
        """Settle by what has been read of a reply that streamed, or was cut."""
        self.settle(self._observer.finish() if self._observer is not None else None)

    def settle(self, usage: Usage | None) -> None:
        """Write into the record what the request used and what it costs."""
        record = self._record
        note_upload(record, self._upload)
        if self._mode is None:
            return
        if record.audio_seconds is None and (seconds := self._reported(usage)) is not None:
            record.audio_seconds, record.seconds_source = seconds, "reported"
        if record.characters is not None:
            usage = (usage or Usage())._replace(characters=record.characters)
        record.usage = usage.document() if usage is not None else None
        cost = cost_of(self._price(self._mode), usage, record.audio_seconds)
        record.cost_usd, record.cost_basis = cost.text, cost.basis

    def _reported(self, usage: Usage | None) -> float | None:
        """Return the seconds that the provider names, else those that the client does."""
        if usage is not None and usage.seconds is not None:
            return float(usage.seconds)
        try:
            seconds = float(self._claimed or "") / 1000
        except ValueError:
            return None
        return round(seconds, 3) if math.isfinite(seconds) and 0 < seconds < _LONGEST else None

    def _price(self, mode: Mode) -> Price | None:
        """Return the price by the model's name, else by its deployment's, which is often the same word."""
        provider, found = self._record.provider or "", None
        for model in (self._record.model_used, self._deployment):
            found = self._prices.lookup(provider, model, mode)
            if found is not None and found.is_known:
                self._warn(provider, found)
                return found
        return found

    def _warn(self, provider: str, price: Price) -> None:
        if price.shutdown_date is None or (provider, price.model) in self._warned:
            return
        if shut_down(price, datetime.now(UTC).date()):
            self._warned.add((provider, price.model))
            _log.warning(
                "%s announced the end of %s for %s: move to another model", provider, price.model, price.shutdown_date
            )


def note_upload(record: Record, upload: Upload) -> None:
    """Write what the upload has told by now into the record; all of it, once it has ended."""
    if record.noted:
        return
    record.noted = upload.ended
    form = upload.form
    if form is not None:
        first = form.first
        record.model_requested = record.model_requested or first("model")
        record.response_format = first("response_format")
        record.language = first("language")
        record.stream = (first("stream") or "").lower() == "true"
    record.model_used = record.model_used or record.model_requested
    for attempt in record.attempts:
        attempt.model = attempt.model or record.model_requested
    if form is not None and form.file is not None:
        _note_audio(record, form.file)


def _note_audio(record: Record, file: FilePart) -> None:
    record.filename = (file.filename or "")[:_LONGEST_NAME] or None
    record.audio_bytes = file.audio.size
    duration = file.audio.duration
    record.ended_early = duration.ended_early
    if duration.seconds is not None:
        record.audio_seconds, record.seconds_source = round(duration.seconds, 3), duration.source
    if (fault := file.audio.fault) is not None:
        file.audio.fault = None
        _log.error("the duration of a file could not be read", exc_info=fault)
