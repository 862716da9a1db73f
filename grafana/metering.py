"""Panels of audio, tokens and cost: what was processed, and what it costs by provider and model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana.panels import heat, lines, table
from grafana.queries import MODEL, RANGE, ROUTE, Query, increase, quantile, rate

if TYPE_CHECKING:
    from grafana.panels import Panel

HOUR: Final = 3600
EACH: Final = ("provider", "model")
NAMES: Final = "{{provider}} {{model}}"


def metering() -> list[Panel]:
    """Return the panels of the row about audio and cost."""
    return [
        lines(
            "Audio minutes per minute",
            "Minutes of audio processed each minute, which is also how many streams run side by side on average.",
            [Query(rate("audiogate_audio_seconds_total", MODEL, *EACH), NAMES)],
            "short",
            stacked=True,
        ),
        lines(
            "Cost per hour",
            "US dollars per hour at the present rate, as far as prices are known.",
            [Query(f"{rate('audiogate_cost_usd_total', MODEL, *EACH)} * {HOUR}", NAMES)],
            "currencyUSD",
            stacked=True,
        ),
        lines(
            "Dollars per audio hour",
            "What an hour of audio costs in fact, minimum charges and rounding included.",
            [
                Query(
                    f"{rate('audiogate_cost_usd_total', MODEL, *EACH)}"
                    f" / ({rate('audiogate_audio_seconds_total', MODEL, *EACH)} > 0) * {HOUR}",
                    NAMES,
                )
            ],
            "currencyUSD",
        ),
        usage_table(
            "By provider and model",
            "The chosen time range in numbers. Dollars per hour of audio are what was paid, not what the price list"
            " says.",
        ),
        lines(
            "Tokens",
            "Tokens per second as the providers report them.",
            [Query(rate("audiogate_tokens_total", MODEL, "type"), "{{type}}")],
            "short",
            w=6,
        ),
        lines(
            "Characters of speech",
            "Characters per second given to text-to-speech.",
            [Query(rate("audiogate_characters_total", MODEL, *EACH), NAMES)],
            "short",
            w=6,
        ),
        lines(
            "Unpriced requests",
            "Requests per second that no price was known for: they are missing in every sum of cost.",
            [Query(rate("audiogate_unpriced_requests_total", MODEL, *EACH), NAMES)],
            "reqps",
            w=6,
        ),
        lines(
            "How cost was learnt",
            "US dollars per hour by what they were worked out from.",
            [Query(f"{rate('audiogate_cost_usd_total', MODEL, 'basis')} * {HOUR}", "{{basis}}")],
            "currencyUSD",
            w=6,
            stacked=True,
        ),
        lines(
            "How length was learnt",
            "Audio minutes per minute by how their length is known: the provider's word, the file's header, or the"
            " bytes.",
            [Query(rate("audiogate_audio_seconds_total", MODEL, "source"), "{{source}}")],
            "short",
            w=12,
            stacked=True,
        ),
        heat(
            "Audio lengths",
            "Requests per second by the length of their audio.",
            Query(rate("audiogate_audio_duration_seconds_bucket", ROUTE, "le"), "{{le}}"),
            "s",
            w=12,
        ),
    ]


def usage_table(title: str, about: str) -> Panel:
    """Return the table of what each model did and cost in the chosen time range."""
    audio = increase("audiogate_audio_seconds_total", MODEL, *EACH)
    cost = increase("audiogate_cost_usd_total", MODEL, *EACH)
    columns = [
        ("Attempts", "short", increase("audiogate_upstream_attempts_total", MODEL, *EACH)),
        ("Audio", "s", audio),
        ("Cost", "currencyUSD", cost),
        ("$ / audio hour", "currencyUSD", f"{cost} / ({audio} > 0) * {HOUR}"),
        ("First byte p95", "s", quantile(0.95, "audiogate_upstream_ttfb_seconds", MODEL, *EACH, over=RANGE)),
        ("Real-time factor p50", "none", quantile(0.5, "audiogate_realtime_factor", MODEL, *EACH, over=RANGE)),
        ("Unpriced", "short", increase("audiogate_unpriced_requests_total", MODEL, *EACH)),
    ]
    return table(
        title,
        about,
        [(name, unit, Query(expr, instant=True)) for name, unit, expr in columns],
        sort="Cost",
        labels=EACH,
    )
