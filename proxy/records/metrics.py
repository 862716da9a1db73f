"""Closed records → metrics: all that a finished request adds to the counters comes from its record."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from proxy.records.attempts import AttemptMetrics
from proxy.records.catalogue import PHASES, REJECTIONS, ROUTES
from proxy.records.consumption import ConsumptionMetrics
from proxy.records.guard import Guard, Pairs
from proxy.records.words import REJECTIONS_BY_CODE, code_of, method_of, phase_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.records.meters import Meters
    from proxy.records.names import Names

    Document = Mapping[str, Any]

_MOST_KEYS: Final = 100  # gateway keys that show by their name: each has its series for every status and model
# OpenMetrics 1.0 gives an exemplar 128 characters with its label's name; some parsers stumble over braces in one.
_EXEMPLARY: Final = re.compile(r"[A-Za-z0-9._:/=+-]{1,119}").fullmatch
_USUAL: Final = ("200", "499", "500", "502", "503", "504")  # success, and what an error rate looks for


class Metrics:
    """The metrics of one process' requests. :meth:`observe` takes every record, once it is closed.

    ``models`` is how many models show by their name besides those of the settings (``metrics.models``).
    """

    def __init__(self, meters: Meters, *, models: int) -> None:
        overflow = meters.counters("metric_label_overflow_total")
        self.provider = Guard((), 0, overflow["provider",].inc)  # requests can name no provider that is not known
        self._model = Guard((), models, overflow["model",].inc)
        self._key = Guard((), 0, overflow["key",].inc) if meters.key_label else None
        self._pairs = Pairs(self.provider, self._model, models, overflow["model",].inc)
        self.rejected = meters.counters("requests_rejected_total")
        self._requests = meters.counters("requests_total")
        self._durations = meters.histograms("request_duration_seconds")
        self._bodies = meters.histograms("request_body_bytes")
        self._received = meters.counters("received_bytes_total")
        self._sent = meters.counters("sent_bytes_total")
        self._overheads = meters.histograms("gateway_overhead_seconds")
        self._overlaps = meters.histograms("upload_overlap_seconds")
        self._disconnects = meters.counters("client_disconnects_total")
        self._exhausted = meters.counters("replay_exhausted_total")[()]
        self._attempts = AttemptMetrics(meters, self._pairs, overflow["provider",].inc)
        self._consumption = ConsumptionMetrics(meters, self._pairs, self._key)
        self._begin()

    def admit(self, names: Names) -> None:
        """Let the names of settings, at the start or after a reload, into the labels for good."""
        self.provider.admit(names.known)
        self._model.admit(names.models)
        self._pairs.admit(names.providers, names.models)
        if self._key is not None:
            self._key.admit(sorted(names.keys)[:_MOST_KEYS])
        self._attempts.begin(names.providers)

    def observe(self, record: Document) -> None:
        """Add a closed record."""
        route, method, status, timing = record["route"], record["method"], record["status"], record["timing_ms"]
        good = record["outcome"] == "ok"
        labels = (route, method_of(method), code_of(status))
        self._requests[labels if self._key is None else (*labels, self._key(record["key_name"]))].inc()
        trace = record["trace_id"]
        self._durations[route, "ok" if good else "error"].observe(
            timing["total"] / 1000, {"trace_id": trace} if _EXEMPLARY(trace) else None
        )
        if timing["overhead"] is not None:
            self._overheads[route,].observe(timing["overhead"] / 1000)
        if timing["overlap_saved"] is not None:
            self._overlaps[route,].observe(timing["overlap_saved"] / 1000)
        if not good:
            self._explain(record)
        attempts = record["attempts"]
        self._add_bytes(record, attempts[-1] if attempts else None)
        if attempts:
            self._attempts.observe(attempts)
            last = attempts[-1]["status"]
            if last is not None and last < 400:
                self._consumption.observe(record)
        if record["replay"] == "exhausted":
            self._exhausted.inc()

    def _explain(self, record: Document) -> None:
        """Count why the gateway refused, or when the client left."""
        if record["outcome"] == "client_left":
            self._disconnects[record["route"], phase_of(record)].inc()
        elif (reason := REJECTIONS_BY_CODE.get(record["error_code"])) is not None:
            self.rejected[reason,].inc()

    def _add_bytes(self, record: Document, last: Document | None) -> None:
        received, sent = record["bytes_in"], record["bytes_out"]
        if received:
            self._bodies[record["route"],].observe(received)
            self._received["client",].inc(received)
        self._sent["client",].inc(sent)
        if last is None:
            return
        self._sent["upstream",].inc(sum(attempt["sent_bytes"] for attempt in record["attempts"]))
        # What the client got of an upstream's reply was read from there; the gateway's own words were not.
        if last["status"] is not None and (record["error_code"] is None or record["status"] == last["status"]):
            self._received["upstream",].inc(sent)

    def _begin(self) -> None:
        """Show what can be known before the first request: a rate needs a series that was zero."""
        for route in ROUTES[:-1]:
            for method in ("GET", "POST") if route == "passthrough" else ("POST",):
                for code in _USUAL if self._key is None else ():
                    self._requests[route, method, code]
            for outcome in ("ok", "error"):
                self._durations[route, outcome]
            for phase in PHASES:
                self._disconnects[route, phase]
            for children in (self._bodies, self._overheads, self._overlaps):
                children[route,]
        for side in ("client", "upstream"):
            self._received[side,]
            self._sent[side,]
        for reason in REJECTIONS:
            self.rejected[reason,]
        self._consumption.begin()
