"""What a closed record adds to the metrics, and what it cannot make of their labels (INTERFACE 5)."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from proxy.records.names import Names
from tests.records.shown import Bench, attempt, record, refused, shown

PAIR = 'model="whisper-1",provider="openai"'
ROUTE = 'route="transcriptions"'


def test_a_transcription_that_went_well_adds_all_that_its_record_tells() -> None:
    assert Bench().added(record()) == {
        f'requests_total{{code="200",method="POST",{ROUTE}}}': 1,
        f'request_duration_seconds_count{{outcome="ok",{ROUTE}}}': 1,
        f'request_duration_seconds_sum{{outcome="ok",{ROUTE}}}': 2.0,
        f"request_body_bytes_count{{{ROUTE}}}": 1,
        f"request_body_bytes_sum{{{ROUTE}}}": 1000,
        'received_bytes_total{side="client"}': 1000,
        'received_bytes_total{side="upstream"}': 50,
        'sent_bytes_total{side="client"}': 50,
        'sent_bytes_total{side="upstream"}': 1000,
        f"gateway_overhead_seconds_count{{{ROUTE}}}": 1,
        f"gateway_overhead_seconds_sum{{{ROUTE}}}": 0.002,
        f"upload_overlap_seconds_count{{{ROUTE}}}": 1,
        f"upload_overlap_seconds_sum{{{ROUTE}}}": 0.4,
        f'upstream_attempts_total{{code="200",{PAIR}}}': 1,
        f"upstream_duration_seconds_count{{{PAIR}}}": 1,
        f"upstream_duration_seconds_sum{{{PAIR}}}": 1.5,
        f"upstream_ttfb_seconds_count{{{PAIR}}}": 1,
        f"upstream_ttfb_seconds_sum{{{PAIR}}}": 0.5,
        'upstream_connections_total{provider="openai",reused="true"}': 1,
        f'audio_seconds_total{{{PAIR},source="header"}}': 10,
        f"audio_duration_seconds_count{{{ROUTE}}}": 1,
        f"audio_duration_seconds_sum{{{ROUTE}}}": 10,
        f"realtime_factor_count{{{PAIR}}}": 1,
        f"realtime_factor_sum{{{PAIR}}}": 0.1,
        f'cost_usd_total{{basis="seconds",{PAIR}}}': 0.25,
    }


USAGE = {"input_tokens": None, "output_tokens": None, "audio_tokens": None, "seconds": None, "characters": None}
NO_AUDIO = {"seconds": None, "seconds_source": "unknown"}

CASES: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "tokens told apart": (
        record(usage=USAGE | {"input_tokens": 100, "audio_tokens": 90, "output_tokens": 30}),
        {
            f'tokens_total{{{PAIR},type="input_audio"}}': 90,
            f'tokens_total{{{PAIR},type="input_text"}}': 10,
            f'tokens_total{{{PAIR},type="output_text"}}': 30,
        },
    ),
    "tokens that nobody tells apart": (
        record(usage=USAGE | {"input_tokens": 100}),
        {f'tokens_total{{{PAIR},type="input_audio"}}': 100},
    ),
    "speech": (
        record(
            route="speech",
            audio=NO_AUDIO,
            usage=USAGE | {"input_tokens": 14, "output_tokens": 101, "characters": 57},
            cost_usd="0.5",
            cost_basis="characters",
        ),
        {
            f'tokens_total{{{PAIR},type="input_text"}}': 14,
            f'tokens_total{{{PAIR},type="output_audio"}}': 101,
            f"characters_total{{{PAIR}}}": 57,
            f'cost_usd_total{{basis="characters",{PAIR}}}': 0.5,
        },
    ),
    "a request that no price is known for": (
        record(cost_usd=None, cost_basis="unknown"),
        {f"unpriced_requests_total{{{PAIR}}}": 1},
    ),
    "a free request": (record(cost_usd="0", cost_basis="free"), {f'cost_usd_total{{basis="free",{PAIR}}}': 0}),
    "a new connection": (
        record(attempts=[attempt(connect_ms=30.0)]),
        {
            'upstream_connections_total{provider="openai",reused="false"}': 1,
            'upstream_connect_seconds_count{provider="openai"}': 1,
            'upstream_connect_seconds_sum{provider="openai"}': 0.03,
        },
    ),
    "an upload that outgrew replay": (record(replay="exhausted"), {"replay_exhausted_total": 1}),
    "a pass-through": (
        record(route="passthrough", method="GET", bytes_in=0, audio=NO_AUDIO, cost_usd=None, model_used=None),
        {'requests_total{code="200",method="GET",route="passthrough"}': 1},
    ),
    "an unknown key": (
        refused("invalid_api_key", 401, bytes_in=0),
        {
            f'requests_total{{code="401",method="POST",{ROUTE}}}': 1,
            f'request_duration_seconds_count{{outcome="error",{ROUTE}}}': 1,
            'requests_rejected_total{reason="auth"}': 1,
        },
    ),
    "an upstream's error": (
        record(status=429, outcome="upstream_error", attempts=[attempt(status=429, failure="refused")], cost_usd=None),
        {
            f'requests_total{{code="429",method="POST",{ROUTE}}}': 1,
            f'request_duration_seconds_count{{outcome="error",{ROUTE}}}': 1,
            f'upstream_attempts_total{{code="429",{PAIR}}}': 1,
            'received_bytes_total{side="upstream"}': 50,
        },
    ),
    "a client that left while it waited": (
        record(
            status=499,
            outcome="client_left",
            error_code="client_left",
            cost_usd=None,
            bytes_out=0,
            attempts=[attempt(status=None, failure="client_left", ttfb_ms=None)],
        ),
        {
            f'requests_total{{code="499",method="POST",{ROUTE}}}': 1,
            f'client_disconnects_total{{phase="wait",{ROUTE}}}': 1,
            f'upstream_attempts_total{{code="499",{PAIR}}}': 1,
        },
    ),
    "an answer before the end of the upload": (
        record(status=401, outcome="upstream_error", attempts=[attempt(status=401, failure="refused", upload_ms=None)]),
        {f'upstream_attempts_total{{code="401",{PAIR}}}': 1, f"upstream_duration_seconds_count{{{PAIR}}}": 1},
    ),
}


@pytest.mark.parametrize(("closed", "expected"), CASES.values(), ids=CASES.keys())
def test_every_outcome_adds_what_belongs_to_it(closed: dict[str, Any], expected: dict[str, float]) -> None:
    bench = Bench()
    before = shown(bench.meters.registry)
    bench.metrics.observe(closed)
    after = shown(bench.meters.registry)
    assert {name: round(after[name] - before.get(name, 0), 9) for name in expected} == expected


ABSENT: dict[str, tuple[dict[str, Any], set[str]]] = {
    "audio of unknown length": (
        record(audio=NO_AUDIO),
        {"audio_seconds_total", "audio_duration_seconds_count", "realtime_factor_count"},
    ),
    "an upstream's error": (
        record(status=500, outcome="upstream_error", attempts=[attempt(status=500, failure="refused")], cost_usd=None),
        {"audio_seconds_total", "cost_usd_total", "unpriced_requests_total"},
    ),
    "a pass-through": (
        record(route="passthrough", audio=NO_AUDIO, cost_usd=None),
        {"unpriced_requests_total", "cost_usd_total", "tokens_total"},
    ),
    "a request without a body": (record(bytes_in=0), {"request_body_bytes_count"}),
    "a request that no upstream saw": (
        refused("missing_file"),
        {"upstream_attempts_total", 'received_bytes_total{side="upstream"}', "gateway_overhead_seconds_count"},
    ),
    "the gateway's own words after an upstream's failure": (
        record(
            status=502,
            outcome="upstream_error",
            error_code="upstream_broke",
            attempts=[attempt(failure="upstream_broke")],
        ),
        {'received_bytes_total{side="upstream"}', "requests_rejected_total"},
    ),
    "an attempt that never connected": (
        record(
            status=502,
            outcome="upstream_error",
            error_code="upstream_unreachable",
            attempts=[
                attempt(status=None, failure="connect_failed", sent_bytes=0, upload_ms=None, ttfb_ms=None),
            ],
        ),
        {"upstream_connections_total", "upstream_connect_seconds_count", "upstream_duration_seconds_count"},
    ),
    "an answer before the end of the upload": (record(attempts=[attempt(upload_ms=None)]), {"upstream_ttfb_seconds"}),
    "a trace id too long for an exemplar": (record(trace_id="t" * 200), {"metric_label_overflow_total"}),
}


@pytest.mark.parametrize(("closed", "names"), ABSENT.values(), ids=ABSENT.keys())
def test_what_is_not_known_or_did_not_happen_is_not_counted(closed: dict[str, Any], names: set[str]) -> None:
    added = Bench().added(closed)
    assert {sample for sample in added for name in names if sample.startswith(name)} == set()


def test_attempts_after_the_first_are_retries_of_a_target_or_moves_to_the_next() -> None:
    attempts = [
        attempt(target="config.targets[0]", status=503, failure="refused"),
        attempt(target="config.targets[0]", status=429, failure="refused"),
        attempt(target="config.targets[1]", provider="groq", status=None, failure="upstream_timed_out"),
        attempt(target="config.targets[2]", provider="local"),
    ]
    added = Bench().added(record(attempts=attempts, provider="local"))
    moves = {name: value for name, value in added.items() if name.startswith(("retries", "fallbacks"))}
    assert moves == {
        'retries_total{provider="openai",reason="status_5xx"}': 1,
        'fallbacks_total{from_provider="openai",reason="status_429",to_provider="groq"}': 1,
        'fallbacks_total{from_provider="groq",reason="timeout",to_provider="local"}': 1,
    }
    assert added['sent_bytes_total{side="upstream"}'] == 4000
    assert added['upstream_attempts_total{code="timeout",model="whisper-1",provider="groq"}'] == 1
    assert added['audio_seconds_total{model="whisper-1",provider="local",source="header"}'] == 10


# Labels


@pytest.mark.parametrize(("method", "label"), [("PUT", "PUT"), ("BREW", "_other"), ("post", "_other")])
def test_a_method_that_nobody_knows_makes_no_label(method: str, label: str) -> None:
    assert f'requests_total{{code="200",method="{label}",{ROUTE}}}' in Bench().added(record(method=method))


@pytest.mark.parametrize(("status", "label"), [(418, "418"), (529, "529"), (599, "_other"), (None, "_other")])
def test_a_status_that_nobody_knows_makes_no_label(status: int | None, label: str) -> None:
    added = Bench().added(record(status=status, attempts=[attempt(status=status)] if status else []))
    assert f'requests_total{{code="{label}",method="POST",{ROUTE}}}' in added
    assert (f'upstream_attempts_total{{code="{label}",{PAIR}}}' in added) == (status is not None)


def asked(model: str, provider: str = "openai") -> dict[str, Any]:
    return record(model_used=model, provider=provider, attempts=[attempt(model=model, provider=provider)])


def models_shown(bench: Bench) -> set[str]:
    names = (name for name in shown(bench.meters.registry) if name.startswith("cost_usd_total"))
    return {name.partition('model="')[2].partition('"')[0] for name in names}


def test_models_of_the_settings_and_the_first_others_show_and_the_rest_is_other() -> None:
    bench = Bench(models=2)
    added = bench.added(*map(asked, ["one", "two", "three", "one", "whisper-1", "three", "m" * 500]))
    assert models_shown(bench) == {"one", "two", "whisper-1", "_other"}
    assert added['cost_usd_total{basis="seconds",model="_other",provider="openai"}'] == 0.75
    assert added['metric_label_overflow_total{label="model"}'] == 3 * 2  # as the attempt's model and the record's


def test_a_request_without_a_model_says_so() -> None:
    added = Bench().added(record(model_used=None, attempts=[attempt(model=None)]))
    assert added['upstream_attempts_total{code="200",model="_none",provider="openai"}'] == 1


def test_a_caller_who_may_name_any_provider_cannot_fill_the_product_of_providers_and_models() -> None:
    providers = [f"p{number}" for number in range(40)]
    bench = Bench(Names(known=providers, providers=["p39"], models=["known"]), models=3)
    for provider in providers:
        bench.metrics.observe(asked("a", provider))
        bench.metrics.observe(asked("b", provider))
    bench.metrics.observe(asked("known", "p39"))
    costs = [name for name in shown(bench.meters.registry) if name.startswith("cost_usd_total")]
    assert sum("_other" not in name for name in costs) == 3 * 4 + 1
    assert 'cost_usd_total{basis="seconds",model="known",provider="p39"}' in costs
    assert len(costs) <= 3 * 4 + 1 + len(providers)


def test_pairs_of_providers_that_follow_each_other_have_an_end() -> None:
    providers = [f"p{number}" for number in range(30)]
    bench = Bench(Names(known=providers))
    for first in providers:
        for second in providers:
            tries = [attempt(target="a", provider=first, status=500), attempt(target="b", provider=second)]
            bench.metrics.observe(record(attempts=tries))
    moves = [name for name in shown(bench.meters.registry) if name.startswith("fallbacks_total")]
    assert len(moves) == 201
    assert 'fallbacks_total{from_provider="_other",reason="status_5xx",to_provider="_other"}' in moves


def test_a_provider_of_settings_that_are_gone_or_of_nobody_is_other() -> None:
    added = Bench().added(record(provider="nobody", attempts=[attempt(provider="nobody")]))
    assert added['upstream_attempts_total{code="200",model="whisper-1",provider="_other"}'] == 1
    assert added['metric_label_overflow_total{label="provider"}'] >= 1


def test_keys_show_only_when_that_is_asked_for() -> None:
    plain = Bench().added(record(key_name="mobile"))
    assert not any("mobile" in name for name in plain)
    named = Bench(Names(known=("openai",), keys=("mobile",)), key_label=True).added(
        record(key_name="mobile"), record(key_name=None), record(key_name="stranger")
    )
    for key in ("mobile", "_none", "_other"):
        assert named[f'requests_total{{code="200",key="{key}",method="POST",{ROUTE}}}'] == 1
        assert named[f'cost_usd_total{{basis="seconds",key="{key}",{PAIR}}}'] == 0.25
    assert sum("key=" in name for name in named) == 6


def test_no_more_than_a_hundred_keys_show() -> None:
    keys = [f"key-{number:03}" for number in range(150)]
    bench = Bench(Names(known=("openai",), keys=keys), key_label=True)
    for key in keys:
        bench.metrics.observe(record(key_name=key))
    costs = [name for name in shown(bench.meters.registry) if name.startswith("cost_usd_total")]
    assert len(costs) == 101


# From the start


@pytest.mark.parametrize(
    "sample",
    [
        f'requests_total{{code="200",method="POST",{ROUTE}}}',
        'requests_total{code="502",method="GET",route="passthrough"}',
        'request_duration_seconds_count{outcome="error",route="speech"}',
        'requests_rejected_total{reason="auth"}',
        'client_disconnects_total{phase="wait",route="translations"}',
        'upstream_connections_total{provider="groq",reused="false"}',
        'retries_total{provider="openai",reason="status_429"}',
        'metric_label_overflow_total{label="model"}',
        "replay_exhausted_total",
    ],
)
def test_what_can_be_known_before_the_first_request_is_there_and_zero(sample: str) -> None:
    assert shown(Bench().meters.registry)[sample] == 0


def test_names_of_a_reload_join_those_of_the_start() -> None:
    bench = Bench(models=0)
    bench.metrics.admit(Names(known=("fresh",), providers=("fresh",), models=("new",)))
    bench.added(asked("new", "fresh"), asked("whisper-1"))
    assert models_shown(bench) == {"new", "whisper-1"}


# Exemplars


@pytest.mark.parametrize("trace", ["t-1", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "t" * 119])
def test_the_bucket_of_a_duration_names_the_trace_that_fell_into_it(trace: str) -> None:
    assert exemplars(record(trace_id=trace)) == [("2.5", trace)]


@pytest.mark.parametrize("trace", ["", "t" * 120, "a{b}", 'quo"ted', "two words"])
def test_a_trace_that_some_parser_could_stumble_over_is_no_exemplar(trace: str) -> None:
    assert exemplars(record(trace_id=trace)) == []


def exemplars(closed: dict[str, Any]) -> list[tuple[str, str]]:
    bench = Bench()
    bench.metrics.observe(closed)
    families = text_string_to_metric_families(generate_latest(bench.meters.registry).decode())  # type: ignore[no-untyped-call]
    found = [sample for family in families for sample in family.samples if sample.exemplar]
    return [(sample.labels["le"], sample.exemplar.labels["trace_id"]) for sample in found]


def test_children_are_bound_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.metrics.observe(record())
    monkeypatch.setattr("prometheus_client.metrics.MetricWrapperBase.labels", None)
    assert bench.added(record())[f'requests_total{{code="200",method="POST",{ROUTE}}}'] == 1
