"""The catalogue: every metric of the gateway as data, for the code that fills it, its page, its tests and dashboards.

Names, labels and buckets are a contract with whoever has built a dashboard or an alert on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Literal

MetricType = Literal["counter", "gauge", "histogram"]
Merge = Literal["livesum", "livemin", "livemax"]

OTHER: Final = "_other"  # what a label shows for whatever lies outside its set
NONE: Final = "_none"  # what a label shows when there is nothing to show: no model, no key

AUDIO_ROUTES: Final = ("transcriptions", "translations", "speech")
ROUTES: Final = (*AUDIO_ROUTES, "passthrough", "_unmatched")
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PHASES: Final = ("upload", "wait", "download")
REJECTIONS: Final = (
    "auth", "rate_limit", "budget", "too_large", "bad_request", "unsupported_media", "overload", "draining", "no_route",
)  # fmt: skip
REASONS: Final = ("connect", "timeout", "status_429", "status_5xx", "status_4xx", "reset", "other")
HEDGES: Final = ("won", "lost")
FAILURES: Final = ("connect_error", "timeout", "reset", "tls_error", "aborted")
SOURCES: Final = ("reported", "header", "walked", "bytes")
TOKENS: Final = ("input_text", "input_audio", "output_text", "output_audio")
BASES: Final = ("reported", "tokens", "seconds", "characters", "free")

_UNREGISTERED: Final = (499, *range(520, 528), 529)  # nginx: the client left; Cloudflare on origins; overloaded
STATUSES: Final = tuple(sorted(str(int(status)) for status in {*HTTPStatus, *_UNREGISTERED}))
"""Statuses that show as they are: an upstream that makes up its own cannot make up series."""

CLOSED: Final[dict[str, tuple[str, ...]]] = {
    "route": ROUTES,
    "method": (*METHODS, OTHER),
    "outcome": ("ok", "error"),
    "side": ("client", "upstream"),
    "phase": PHASES,
    "reused": ("true", "false"),
    "source": SOURCES,
    "type": TOKENS,
    "basis": BASES,
    "result": ("written", "dropped", "failed"),
    "label": ("provider", "model", "key"),
    "audiogate_requests_total code": (*STATUSES, OTHER),
    "audiogate_requests_rejected_total reason": REJECTIONS,
    "audiogate_upstream_attempts_total code": (*STATUSES, OTHER, *FAILURES),
    "audiogate_retries_total reason": REASONS,
    "audiogate_fallbacks_total reason": REASONS,
    "audiogate_hedges_total result": HEDGES,
}
"""Labels with a closed set of values, or a metric's name and its label. All others come from the settings (``sink``,
``key``, providers) or pass the guard (``model``).
"""

# Upper bounds of buckets, without +Inf
_REQUEST: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_FIRST_BYTE: Final = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 12.0, 30.0, 60.0, 120.0)
_OVERHEAD: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_AUDIO: Final = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)
_KIB: Final = (16, 64, 256, 1024, 4096, 10240, 25600, 51200, 102400, 262144, 1048576)  # 25 MiB is OpenAI's limit
_BODY: Final = tuple(float(kib * 1024) for kib in _KIB)
_FACTOR: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric: its full name as ``/metrics`` shows it, its type, its labels in their order, and its help text.

    ``buckets`` are a histogram's upper bounds, without +Inf. ``merge`` is how the gauges of several workers become
    one. ``key_label``: ``metrics.key_label`` adds the label ``key``. ``exemplars``: its buckets carry trace ids.
    """

    name: str
    type: MetricType
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()
    merge: Merge = "livesum"
    key_label: bool = False
    exemplars: bool = False

    def values(self, label: str) -> tuple[str, ...] | None:
        """Return the closed set of a label's values, or None when it has none."""
        return CLOSED.get(f"{self.name} {label}") or CLOSED.get(label)


def _counter(name: str, labels: str, text: str, *, key_label: bool = False) -> MetricSpec:
    return MetricSpec(f"audiogate_{name}", "counter", tuple(labels.split()), text, key_label=key_label)


def _gauge(name: str, labels: str, text: str, merge: Merge = "livesum") -> MetricSpec:
    return MetricSpec(f"audiogate_{name}", "gauge", tuple(labels.split()), text, merge=merge)


def _histogram(name: str, labels: str, text: str, buckets: tuple[float, ...], *, exemplars: bool = False) -> MetricSpec:
    return MetricSpec(f"audiogate_{name}", "histogram", tuple(labels.split()), text, buckets, exemplars=exemplars)


# fmt: off
CATALOGUE: Final[tuple[MetricSpec, ...]] = (
    # Requests
    _counter("requests_total", "route method code",
             "Client requests finished, by final status (499 = client went away).", key_label=True),
    _histogram("request_duration_seconds", "route outcome",
               "First byte of the request head received to last response byte sent.", _REQUEST, exemplars=True),
    _gauge("requests_in_flight", "route", "Requests now being handled."),
    _histogram("request_body_bytes", "route", "Size of request bodies as received.", _BODY),
    _counter("received_bytes_total", "side", "Body bytes read."),
    _counter("sent_bytes_total", "side", "Body bytes written."),
    _histogram("gateway_overhead_seconds", "route",
               "Latency added: until the upstream had the first byte, and between its reply's head in and out.",
               _OVERHEAD),
    _histogram("upload_overlap_seconds", "route",
               "How long before the end of the upload the upstream got its first byte.", _REQUEST),
    _counter("client_disconnects_total", "route phase", "Clients that left early."),
    _counter("requests_rejected_total", "reason", "Requests refused by the gateway itself."),
    # Upstreams
    _counter("upstream_attempts_total", "provider model code",
             "Attempts sent upstream, by status or by what went wrong."),
    _histogram("upstream_duration_seconds", "provider model", "One attempt, request start to last byte.", _REQUEST),
    _histogram("upstream_ttfb_seconds", "provider model",
               "Last request byte sent to first response byte.", _FIRST_BYTE),
    _histogram("upstream_connect_seconds", "provider", "DNS, TCP and TLS of new connections.", _FIRST_BYTE),
    _counter("upstream_connections_total", "provider reused", "Connections that attempts went over, new and reused."),
    _gauge("upstream_in_flight", "provider", "Attempts now upstream."),
    _counter("retries_total", "provider reason", "Retries of the same target, by what the try before came to."),
    _counter("hedges_total", "provider result", "Copies that hedges sent, by whether they won."),
    _counter("fallbacks_total", "from_provider to_provider reason",
             "Moves to the next target, by what the one before came to."),
    _gauge("circuit_breaker_state", "provider", "0 closed, 1 half-open, 2 open.", "livemax"),
    # Audio and money
    _counter("audio_seconds_total", "provider model source", "Audio processed, by how its length is known."),
    _histogram("audio_duration_seconds", "route", "Length of audio per request.", _AUDIO),
    _histogram("realtime_factor", "provider model",
               "Upstream time from the last request byte to the last reply byte, divided by the length of the audio.",
               _FACTOR),
    _counter("tokens_total", "provider model type", "Tokens reported by the provider."),
    _counter("characters_total", "provider model", "Text-to-speech input characters."),
    _counter("cost_usd_total", "provider model basis", "Cost in US dollars.", key_label=True),
    _counter("unpriced_requests_total", "provider model", "Finished requests no price was known for."),
    # Replay
    _gauge("replay_bytes", "", "Upload bytes kept at the moment, in memory and on disk."),
    _counter("replay_exhausted_total", "", "Uploads that outgrew replay: no second attempt was possible."),
    # Records
    _counter("log_records_total", "sink result", "Records handed to a sink, by what became of them."),
    _gauge("log_queue_records", "sink", "Records that wait to be written."),
    _histogram("log_flush_seconds", "sink", "Time to write a batch of records.", _FIRST_BYTE),
    # The gateway itself
    _gauge("config_last_reload_successful", "", "Whether the last attempt to load the settings succeeded.", "livemin"),
    _gauge("config_last_reload_success_timestamp_seconds", "",
           "When the settings in force were loaded, in seconds since the epoch.", "livemin"),
    _histogram("event_loop_lag_seconds", "", "Sampled scheduling delay.", _OVERHEAD),
    _gauge("draining", "", "1 while shutting down.", "livemax"),
    _gauge("workers", "", "Processes that serve.", "livemax"),
    _gauge("build_info", "version python", "Versions of the gateway and of Python.", "livemax"),
    _counter("metric_label_overflow_total", "label", "Values folded into _other."),
)
"""Every metric of the gateway's own."""

STANDARD: Final[tuple[MetricSpec, ...]] = (
    MetricSpec("process_virtual_memory_bytes", "gauge", (), "Virtual memory size in bytes."),
    MetricSpec("process_resident_memory_bytes", "gauge", (), "Resident memory size in bytes."),
    MetricSpec("process_start_time_seconds", "gauge", (), "Start time of the process since unix epoch in seconds."),
    MetricSpec("process_cpu_seconds_total", "counter", (), "Total user and system CPU time spent in seconds."),
    MetricSpec("process_open_fds", "gauge", (), "Number of open file descriptors."),
    MetricSpec("process_max_fds", "gauge", (), "Maximum number of open file descriptors."),
    MetricSpec("python_gc_objects_collected_total", "counter", ("generation",), "Objects collected during gc"),
    MetricSpec("python_gc_objects_uncollectable_total", "counter", ("generation",),
               "Uncollectable objects found during GC"),
    MetricSpec("python_gc_collections_total", "counter", ("generation",),
               "Number of times this generation was collected"),
    MetricSpec("python_info", "gauge", ("version", "implementation", "major", "minor", "patchlevel"),
               "Python platform information"),
)
"""What prometheus_client's own collectors add."""
# fmt: on

BY_NAME: Final = {spec.name: spec for spec in (*CATALOGUE, *STANDARD)}
