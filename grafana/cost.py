"""The dashboard for those who pay: a month of audio and dollars, by provider, model and day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from grafana.dashboard import dashboard, job_variable, model_variable, provider_variable, source_variable
from grafana.metering import EACH, HOUR, NAMES, usage_table
from grafana.panels import lines, stat
from grafana.queries import MODEL, RANGE, Query, increase, rate, share

if TYPE_CHECKING:
    from grafana.panels import Panel

DAY: Final = "1d"
MONTH: Final = 30 * 24 * HOUR  # seconds


def cost() -> dict[str, Any]:
    """Return the dashboard about cost."""
    return dashboard(
        "audiogate-cost",
        "Audiogate: cost",
        "What speech-to-text costs, by provider, model and day. Sums hold what prices are known for; the rest is"
        " counted as unpriced, never as zero.",
        [("In total", _totals()), ("By day", _days()), ("By model", _models())],
        [source_variable(), job_variable(), provider_variable(), model_variable()],
        since="now-30d",
        refresh="",
    )


def _totals() -> list[Panel]:
    spent = increase("audiogate_cost_usd_total", MODEL)
    audio = increase("audiogate_audio_seconds_total", MODEL)
    attempts = increase("audiogate_upstream_attempts_total", f'{MODEL}, code=~"2.."')
    return [
        stat(
            "Cost",
            "US dollars spent in the chosen time range.",
            Query(spent, instant=True),
            "currencyUSD",
            decimals=2,
            w=4,
        ),
        stat(
            "Cost of 30 days",
            "What 30 days cost at the mean rate of the chosen time range.",
            Query(f"{rate('audiogate_cost_usd_total', MODEL, over=RANGE)} * {MONTH}", instant=True),
            "currencyUSD",
            decimals=2,
            w=4,
        ),
        stat(
            "Audio",
            "Length of the audio processed in the chosen time range.",
            Query(audio, instant=True),
            "s",
            decimals=1,
            w=4,
        ),
        stat(
            "Dollars per audio hour",
            "All cost divided by all audio: speech output, which has no audio length, raises it.",
            Query(f"{spent} / ({audio} > 0) * {HOUR}", instant=True),
            "currencyUSD",
            decimals=3,
            w=4,
        ),
        stat(
            "Answered attempts",
            "Attempts that a provider answered with a 2xx.",
            Query(attempts, instant=True),
            "short",
            decimals=0,
            w=4,
        ),
        stat(
            "Unpriced",
            "Share of answered attempts that no price was known for: this much is missing in the sums.",
            Query(
                share(increase("audiogate_unpriced_requests_total", MODEL), f"({attempts} > 0)"),
                instant=True,
            ),
            "percentunit",
            steps=(("green", None), ("yellow", 0.01), ("red", 0.1)),
            decimals=1,
            w=4,
        ),
    ]


def _days() -> list[Panel]:
    return [
        _daily("Cost per day", "US dollars in the 24 hours before.", "audiogate_cost_usd_total", "currencyUSD"),
        _daily("Audio per day", "Audio in the 24 hours before.", "audiogate_audio_seconds_total", "s"),
        _daily(
            "Unpriced requests per day",
            "Requests in the 24 hours before that no price was known for.",
            "audiogate_unpriced_requests_total",
            "short",
        ),
        lines(
            "Tokens per day",
            "Tokens in the 24 hours before, as the providers report them.",
            [Query(increase("audiogate_tokens_total", MODEL, "type", over=DAY), "{{type}}")],
            "short",
            w=12,
            stacked=True,
            bars=True,
            interval=DAY,
        ),
    ]


def _daily(title: str, about: str, metric: str, unit: str) -> Panel:
    query = Query(increase(metric, MODEL, *EACH, over=DAY), NAMES)
    return lines(title, about, [query], unit, w=12, stacked=True, bars=True, interval=DAY)


def _models() -> list[Panel]:
    return [
        usage_table("By provider and model", "The chosen time range in numbers, dearest first."),
        lines(
            "Dollars per audio hour",
            "What an hour of audio cost in the 24 hours before, minimum charges and rounding included.",
            [
                Query(
                    f"{increase('audiogate_cost_usd_total', MODEL, *EACH, over=DAY)}"
                    f" / ({increase('audiogate_audio_seconds_total', MODEL, *EACH, over=DAY)} > 0) * {HOUR}",
                    NAMES,
                )
            ],
            "currencyUSD",
            w=12,
            interval=DAY,
        ),
        lines(
            "Cost per day by basis",
            "US dollars in the 24 hours before: reported by the provider, or worked out from tokens, seconds or"
            " characters.",
            [Query(increase("audiogate_cost_usd_total", MODEL, "basis", over=DAY), "{{basis}}")],
            "currencyUSD",
            w=12,
            stacked=True,
            bars=True,
            interval=DAY,
        ),
    ]
