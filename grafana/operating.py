"""The dashboard to operate by: what users feel first, then why, then what the process itself is doing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from grafana.dashboard import (
    annotation,
    dashboard,
    job_variable,
    model_variable,
    provider_variable,
    route_variable,
    source_variable,
)
from grafana.metering import metering
from grafana.panels import CODE_COLOURS, heat, lines, stat, states
from grafana.queries import (
    JOB,
    MODEL,
    PROVIDER,
    RANGE,
    RATE,
    ROUTE,
    SERVER_ERRORS,
    UPSTREAM_ERRORS,
    Query,
    increase,
    mean,
    percentiles,
    quantile,
    rate,
    share,
)
from grafana.runtime import runtime

if TYPE_CHECKING:
    from grafana.panels import Panel

OBJECTIVE: Final = 0.995
"""Share of requests that must not fail on our side; deploy/prometheus/rules.yml alerts on the same number."""
SLOW: Final = 0.05  # seconds of the gateway's own time that nobody should see


def operating() -> dict[str, Any]:
    """Return the dashboard for those who run gateways."""
    return dashboard(
        "audiogate",
        "Audiogate",
        "Requests, upstreams, audio, cost and the process of Audiogate, the streaming gateway for speech-to-text.",
        [
            ("Overview", _overview()),
            ("Requests", _requests()),
            ("Upstream and gateway", _upstream()),
            ("Audio and cost", metering()),
            ("Reliability", _reliability()),
            ("Traffic", _traffic()),
            ("Runtime", runtime()),
        ],
        [source_variable(), job_variable(), route_variable(), provider_variable(), model_variable()],
        since="now-6h",
        refresh="30s",
        annotations=[
            # The sample interval is added so that a start is seen however far the view is zoomed out.
            annotation(
                "Starts",
                "blue",
                f"time() - process_start_time_seconds{{{JOB}}} < $__interval_ms / 1000 + 30",
                "Gateway started",
            ),
            annotation(
                "Reloads",
                "purple",
                f"changes(audiogate_config_last_reload_success_timestamp_seconds{{{JOB}}}[{RATE}]) > 0",
                "Settings loaded anew",
            ),
        ],
    )


def _overview() -> list[Panel]:
    failing = f"{ROUTE}, {SERVER_ERRORS}"
    ratio = share(increase("audiogate_requests_total", failing), f"({increase('audiogate_requests_total', ROUTE)} > 0)")
    allowed = f"{1 - OBJECTIVE:.3f}"
    return [
        stat("Requests", "Requests finished per second.", Query(rate("audiogate_requests_total", ROUTE)), "reqps"),
        stat(
            "Success",
            "Share of requests in the chosen time range that did not end with a 5xx. 4xx and clients that left are not"
            " failures of the service.",
            Query(f"1 - {ratio}", instant=True),
            "percentunit",
            steps=(("red", None), ("yellow", 0.99), ("green", OBJECTIVE)),
            decimals=2,
        ),
        stat(
            "Error budget left",
            f"What is left of the {1 - OBJECTIVE:.1%} of requests that may fail, for the chosen time range. Below zero:"
            " the objective was missed.",
            Query(f"1 - ({ratio}) / {allowed}", instant=True),
            "percentunit",
            steps=(("red", None), ("yellow", 0.0), ("green", 0.5)),
            decimals=0,
        ),
        stat(
            "Latency p95",
            "95 % of requests were faster, from the head's first byte to the reply's last. It includes the time that"
            " clients take to upload.",
            Query(quantile(0.95, "audiogate_request_duration_seconds", ROUTE)),
            "s",
        ),
        stat(
            "Overhead p99",
            "What the gateway itself added to 99 % of requests at most: upload on its way to the upstream, reply on its"
            " way back.",
            Query(quantile(0.99, "audiogate_gateway_overhead_seconds", ROUTE)),
            "s",
            steps=(("green", None), ("yellow", 0.01), ("red", SLOW)),
        ),
        stat(
            "In flight",
            "Requests under way on all instances together.",
            Query(f"sum(audiogate_requests_in_flight{{{ROUTE}}})"),
            "short",
        ),
        stat(
            "Audio",
            "Length of the audio processed in the chosen time range.",
            Query(increase("audiogate_audio_seconds_total", MODEL), instant=True),
            "s",
            decimals=1,
        ),
        stat(
            "Cost",
            "US dollars spent in the chosen time range, as far as prices are known: see Unpriced requests.",
            Query(increase("audiogate_cost_usd_total", MODEL), instant=True),
            "currencyUSD",
            decimals=2,
        ),
    ]


def _requests() -> list[Panel]:
    per_route = rate("audiogate_requests_total", ROUTE, "route")
    failing = rate("audiogate_requests_total", f"{ROUTE}, {SERVER_ERRORS}", "route")
    return [
        lines("Requests by route", "Requests finished per second.", [Query(per_route, "{{route}}")], "reqps"),
        lines(
            "Requests by status",
            "Requests finished per second by the status the client got; 499 is a client that left.",
            [Query(f"{rate('audiogate_requests_total', ROUTE, 'code')} > 0", "{{code}}")],
            "reqps",
            stacked=True,
            colours=CODE_COLOURS,
        ),
        lines(
            "Error ratio by route",
            "Share of requests that ended with a 5xx.",
            [Query(share(failing, per_route), "{{route}}")],
            "percentunit",
            limit=0.05,
        ),
        lines(
            "Latency",
            "From the head's first byte to the reply's last. Points are single requests with their trace id.",
            percentiles("audiogate_request_duration_seconds", ROUTE, exemplar=True),
            "s",
        ),
        lines(
            "Latency p95 by route",
            "95 % of requests were faster.",
            [Query(quantile(0.95, "audiogate_request_duration_seconds", ROUTE, "route"), "{{route}}", exemplar=True)],
            "s",
        ),
        heat(
            "Latency heatmap",
            "Requests per second by how long they took: two bands are two kinds of requests, which a percentile hides.",
            Query(rate("audiogate_request_duration_seconds_bucket", ROUTE, "le"), "{{le}}", exemplar=True),
            "s",
        ),
    ]


def _upstream() -> list[Panel]:
    quick = rate("audiogate_gateway_overhead_seconds_bucket", f'{ROUTE}, le="{SLOW}"')
    reused = rate("audiogate_upstream_connections_total", f'{PROVIDER}, reused="true"', "provider")
    return [
        lines(
            "Upstream against gateway (p95)",
            "Whose time it is: the upstream's whole answer, its first byte, and what the gateway added. The axis is"
            " logarithmic.",
            [
                Query(quantile(0.95, "audiogate_upstream_duration_seconds", MODEL), "upstream, whole"),
                Query(quantile(0.95, "audiogate_upstream_ttfb_seconds", MODEL), "upstream, first byte"),
                Query(quantile(0.95, "audiogate_gateway_overhead_seconds", ROUTE), "gateway"),
            ],
            "s",
            log=True,
        ),
        lines(
            "Gateway overhead",
            "Time the gateway added: first upload byte in to first byte out, and reply's head in to head out.",
            percentiles("audiogate_gateway_overhead_seconds", ROUTE),
            "s",
            limit=SLOW,
        ),
        lines(
            "Requests with overhead under 50 ms",
            "Share of requests to which the gateway added less than 50 ms.",
            [Query(f"{quick} / {rate('audiogate_gateway_overhead_seconds_count', ROUTE)}", "under 50 ms")],
            "percentunit",
            top=1.0,
        ),
        lines(
            "Overlap saved",
            "How long before the end of the upload the upstream had its first byte: what streaming saves over a gateway"
            " that reads the whole file first.",
            [
                Query(quantile(0.95, "audiogate_upload_overlap_seconds", ROUTE), "p95"),
                Query(mean("audiogate_upload_overlap_seconds", ROUTE), "mean"),
            ],
            "s",
        ),
        lines(
            "Upstream first byte p95",
            "From the last request byte sent to the first byte of the reply.",
            [
                Query(
                    quantile(0.95, "audiogate_upstream_ttfb_seconds", MODEL, "provider", "model"),
                    "{{provider}} {{model}}",
                )
            ],
            "s",
        ),
        lines(
            "Real-time factor p95",
            "Upstream time divided by the audio's length: below 1 is faster than listening.",
            [Query(quantile(0.95, "audiogate_realtime_factor", MODEL, "provider", "model"), "{{provider}} {{model}}")],
            "short",
        ),
        lines(
            "Upstream in flight",
            "Attempts under way at each provider.",
            [Query(f"sum by (provider) (audiogate_upstream_in_flight{{{PROVIDER}}})", "{{provider}}")],
            "short",
        ),
        lines(
            "Connect time p95",
            "DNS, TCP and TLS of new upstream connections.",
            [Query(quantile(0.95, "audiogate_upstream_connect_seconds", PROVIDER, "provider"), "{{provider}}")],
            "s",
        ),
        lines(
            "Connections reused",
            "Share of attempts that went over a connection that was there already.",
            [Query(share(reused, rate("audiogate_upstream_connections_total", PROVIDER, "provider")), "{{provider}}")],
            "percentunit",
            top=1.0,
        ),
    ]


def _reliability() -> list[Panel]:
    attempts = rate("audiogate_upstream_attempts_total", MODEL, "provider")
    failed = rate("audiogate_upstream_attempts_total", f"{MODEL}, {UPSTREAM_ERRORS}", "provider")
    limited = rate("audiogate_upstream_attempts_total", f'{MODEL}, code="429"', "provider")
    moves = '{job=~"$job", from_provider=~"$provider"}'
    return [
        lines(
            "Attempts by result",
            "Attempts sent upstream, by the status that came back or by what went wrong before one did.",
            [Query(f"{rate('audiogate_upstream_attempts_total', MODEL, 'code')} > 0", "{{code}}")],
            "reqps",
            stacked=True,
            colours={**CODE_COLOURS, "/^[a-z]/": "dark-red"},
        ),
        lines(
            "Upstream error ratio",
            "Share of attempts that failed on the upstream's side: 5xx, and connections that failed, broke or timed"
            " out.",
            [Query(share(failed, attempts), "{{provider}}")],
            "percentunit",
            limit=0.2,
        ),
        lines(
            "Rate limited (429)",
            "Share of attempts that the provider refused because there were too many.",
            [Query(share(limited, attempts), "{{provider}}")],
            "percentunit",
            limit=0.05,
        ),
        lines(
            "Retries",
            "Further attempts at the same target, by why.",
            [
                Query(
                    f"{rate('audiogate_retries_total', PROVIDER, 'provider', 'reason')} > 0",
                    "{{provider}}, {{reason}}",
                )
            ],
            "reqps",
        ),
        lines(
            "Fallbacks and hedges",
            "Moves to the next target, by why; copies that hedges sent, and whether they answered first.",
            [
                Query(
                    f"sum by (from_provider, to_provider, reason) (rate(audiogate_fallbacks_total{moves}[{RATE}]))",
                    "{{from_provider}} → {{to_provider}}, {{reason}}",
                ),
                Query(
                    f"sum by (provider, result) (rate(audiogate_hedges_total{{{PROVIDER}}}[{RATE}]))",
                    "copy to {{provider}}, {{result}}",
                ),
            ],
            "reqps",
        ),
        states(
            "Circuit breakers",
            "State of each provider's breaker: closed lets everything through, half-open tries, open refuses. The worst"
            " over all instances.",
            Query(f"max by (provider) (audiogate_circuit_breaker_state{{{PROVIDER}}})", "{{provider}}"),
        ),
        lines(
            "Replay buffers",
            "Upload bytes kept at the moment, in memory and on disk, so that an attempt can be repeated.",
            [Query(f"sum(audiogate_replay_bytes{{{JOB}}})", "kept")],
            "bytes",
            w=6,
        ),
        stat(
            "Replay exhausted",
            "Uploads in the chosen time range that outgrew the replay limits: they went on, but could not be repeated.",
            Query(f"sum(increase(audiogate_replay_exhausted_total{{{JOB}}}[{RANGE}]))", instant=True),
            "short",
            steps=(("green", None), ("yellow", 1)),
            decimals=0,
            w=6,
        )
        | {"gridPos": {"h": 8, "w": 4}},
        lines(
            "Clients that left",
            "Clients that went away, by what the request was doing: uploading, waiting, or receiving the reply.",
            [Query(rate("audiogate_client_disconnects_total", ROUTE, "phase"), "{{phase}}")],
            "reqps",
            w=7,
        ),
        lines(
            "Refused by the gateway",
            "Requests that the gateway itself refused, by why. None of them reached a provider, nothing was billed.",
            [Query(f"{rate('audiogate_requests_rejected_total', JOB, 'reason')} > 0", "{{reason}}")],
            "reqps",
            w=7,
            stacked=True,
        ),
    ]


def _traffic() -> list[Panel]:
    return [
        lines(
            "Received",
            "Body bytes read per second: uploads from clients, replies from upstreams.",
            [Query(rate("audiogate_received_bytes_total", JOB, "side"), "from {{side}}")],
            "Bps",
        ),
        lines(
            "Sent",
            "Body bytes written per second: uploads to upstreams, replies to clients.",
            [Query(rate("audiogate_sent_bytes_total", JOB, "side"), "to {{side}}")],
            "Bps",
        ),
        heat(
            "Upload sizes",
            "Requests per second by the size of their body.",
            Query(rate("audiogate_request_body_bytes_bucket", ROUTE, "le"), "{{le}}"),
            "bytes",
        ),
    ]
