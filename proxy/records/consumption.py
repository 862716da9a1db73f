"""What a record tells of audio and money: seconds, tokens and characters that were processed, and what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxy.records.catalogue import AUDIO_ROUTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.records.guard import Guard, Pairs
    from proxy.records.meters import Meters

    Document = Mapping[str, Any]


class ConsumptionMetrics:
    """The metrics of what upstreams processed. ``keys`` guards the label ``key``; None: there is no such label."""

    def __init__(self, meters: Meters, pairs: Pairs, keys: Guard | None) -> None:
        self._pairs = pairs
        self._keys = keys
        self._seconds = meters.counters("audio_seconds_total")
        self._lengths = meters.histograms("audio_duration_seconds")
        self._factors = meters.histograms("realtime_factor")
        self._tokens = meters.counters("tokens_total")
        self._characters = meters.counters("characters_total")
        self._costs = meters.counters("cost_usd_total")
        self._unpriced = meters.counters("unpriced_requests_total")

    def begin(self) -> None:
        """Show what can be known before the first request."""
        for route in AUDIO_ROUTES:
            self._lengths[route,]

    def observe(self, record: Document) -> None:
        """Add one request that an upstream has answered well, whether or not the client stayed to read it."""
        pair = self._pairs(record["provider"], record["model_used"])
        route, cost = record["route"], record["cost_usd"]
        self._add_audio(pair, record)
        if (usage := record["usage"]) is not None:
            self._add_usage(pair, route, usage)
        if cost is not None:
            labels = (*pair, record["cost_basis"])
            self._costs[labels if self._keys is None else (*labels, self._keys(record["key_name"]))].inc(float(cost))
        elif record["outcome"] == "ok" and route in AUDIO_ROUTES:
            self._unpriced[pair].inc()

    def _add_audio(self, pair: tuple[str, str], record: Document) -> None:
        audio = record["audio"]
        seconds = audio["seconds"]
        if seconds is None:
            return
        self._seconds[*pair, audio["seconds_source"]].inc(seconds)
        self._lengths[record["route"],].observe(seconds)
        attempt = record["attempts"][-1]
        if seconds > 0 and attempt["upload_ms"] is not None and attempt["total_ms"] is not None:
            upstream = max(attempt["total_ms"] - attempt["upload_ms"], 0.0) / 1000
            self._factors[pair].observe(upstream / seconds)

    def _add_usage(self, pair: tuple[str, str], route: str, usage: Document) -> None:
        taken, made, characters = usage["input_tokens"], usage["output_tokens"], usage["characters"]
        if taken is not None:
            # Tokens that nobody tells apart are what the route takes: sound, unless it makes sound.
            heard = usage["audio_tokens"] if usage["audio_tokens"] is not None else 0 if route == "speech" else taken
            self._tokens[*pair, "input_audio"].inc(min(heard, taken))
            self._tokens[*pair, "input_text"].inc(max(taken - heard, 0))
        if made is not None:
            self._tokens[*pair, "output_audio" if route == "speech" else "output_text"].inc(made)
        if characters is not None:
            self._characters[pair].inc(characters)
