"""``/metrics`` of a real gateway: what promtool says of it, what it agrees with, and what is going on now."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from proxy.records.catalogue import BY_NAME, CATALOGUE
from tests.bootstrap import in_ci, missing
from tests.flow.conftest import base_settings
from tests.flow.forms import audio, usual
from tests.flow.gateway import Gateway
from tests.flow.scripts import READ_ALL, RESET, error, fill, head, hold, reply, send
from tests.flow.stage import TRANSLATIONS, Stage
from tests.records.shown import parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from prometheus_client import Metric

    from tests.flow.driver import Upstream

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
BODY = usual()


def exposition(stage: Stage, accept: str = "text/plain") -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{stage.gateway.ops_port}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=5) as answer:
        text: str = answer.read().decode()
        return text


def samples(stage: Stage) -> dict[str, float]:
    return parsed(exposition(stage))


def settled(stage: Stage) -> dict[str, float]:
    """Return the samples once they count every record that has come out: a page may be a second old."""
    found: dict[str, float] = {}

    def complete() -> bool:
        found.clear()
        found.update(samples(stage))
        counted = sum(value for name, value in found.items() if name.startswith("requests_total{"))
        return counted == len(stage.gateway.lines())

    stage.gateway.wait_for(complete, "the metrics to count every record")
    return found


def families(stage: Stage) -> list[Metric]:
    return list(text_string_to_metric_families(exposition(stage)))


def wait(stage: Stage, name: str, value: float) -> None:
    """Wait until a sample has a value."""
    stage.gateway.wait_for(lambda: samples(stage).get(name) == value, f"{name} to be {value}")


def traffic(stage: Stage) -> list[dict[str, Any]]:
    """Send requests that end in every way; return their records."""
    said = b'{"text":"hello","usage":{"type":"duration","seconds":3}}'
    for step in (reply(200, said), reply(200, said), error(429), error(500), RESET):
        stage.script(READ_ALL, send(step) if isinstance(step, bytes) else step)
        stage.post()
    stage.post(target=TRANSLATIONS)
    stage.post(b"no form")
    stage.post(extra=[("x-portkey-provider", "dead")])
    stage.post(usual(model="other-model"), [("x-portkey-provider", "free")], chunked=True)
    stage.request("GET", "/v1/models")
    stage.request("GET", "/nothing")
    return stage.records(11)


@pytest.fixture(scope="module")
def after(upstream: Upstream, folder: Path) -> Iterator[tuple[Stage, list[dict[str, Any]]]]:
    """A gateway after traffic that ended in every way, and its records."""
    gateway = Gateway(folder, base_settings(upstream))
    try:
        stage = Stage(gateway, upstream)
        yield stage, traffic(stage)
        gateway.stop()
    finally:
        gateway.kill()


@pytest.fixture
def used(after: tuple[Stage, list[dict[str, Any]]]) -> Stage:
    return after[0]


@pytest.fixture
def records(after: tuple[Stage, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return after[1]


@pytest.mark.skipif(missing("promtool") is not None and not in_ci(), reason=str(missing("promtool")))
def test_promtool_has_nothing_to_say(used: Stage) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=exposition(used), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_metric_is_in_the_catalogue_with_its_type_its_labels_and_its_text(used: Stage) -> None:
    for family in families(used):
        spec = BY_NAME[f"{family.name}_total" if family.type == "counter" else family.name]
        assert (family.type, family.documentation) == (spec.type, spec.help)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(spec.labels), sample
            for label, value in sample.labels.items():
                closed = spec.values(label)
                assert closed is None or value in closed, sample


def test_every_metric_of_the_catalogue_is_there(used: Stage) -> None:
    named = set(re.findall(r"^# TYPE (\w+)", exposition(used), re.MULTILINE))
    assert {spec.name for spec in CATALOGUE} <= named


def test_nothing_was_created(used: Stage) -> None:
    assert "_created" not in exposition(used) + exposition(used, OPENMETRICS)


def test_counts_are_those_of_the_records(used: Stage, records: list[dict[str, Any]]) -> None:
    wait(used, 'log_records_total{result="written",sink="stdout"}', len(records))  # a line is counted when it is out
    found = samples(used)

    def total(name: str) -> float:
        return round(sum(value for sample, value in found.items() if sample.partition("{")[0] == name), 6)

    attempts = [attempt for record in records for attempt in record["attempts"]]
    assert total("requests_total") == total("request_duration_seconds_count") == len(records)
    assert total("upstream_attempts_total") == len(attempts)
    assert found['received_bytes_total{side="client"}'] == sum(record["bytes_in"] for record in records)
    assert found['sent_bytes_total{side="client"}'] == sum(record["bytes_out"] for record in records)
    assert found['sent_bytes_total{side="upstream"}'] == sum(attempt["sent_bytes"] for attempt in attempts)
    good = [record for record in records if record["outcome"] == "ok"]
    assert len(good) == 5
    assert total("audio_seconds_total") == round(sum(record["audio"]["seconds"] or 0 for record in good), 6)
    assert total("cost_usd_total") == round(sum(float(record["cost_usd"] or 0) for record in good), 6)
    unpriced = [record for record in good if record["cost_usd"] is None and record["route"] != "passthrough"]
    assert total("unpriced_requests_total") == len(unpriced)
    assert total("log_records_total") == len(records)


def test_every_end_has_its_code(used: Stage) -> None:
    found = samples(used)
    codes = {
        'model="whisper-1",provider="up"': {"200": 3, "429": 1, "500": 1, "reset": 1},
        'model="whisper-1",provider="dead"': {"connect_error": 1},
        'model="other-model",provider="free"': {"200": 1},
        'model="_none",provider="up"': {"200": 1},
    }
    for pair, counts in codes.items():
        for code, count in counts.items():
            assert found[f'upstream_attempts_total{{code="{code}",{pair}}}'] == count, (pair, code)
    assert found['requests_rejected_total{reason="no_route"}'] == 1
    assert found['requests_rejected_total{reason="bad_request"}'] == 1
    assert found['requests_total{code="502",method="POST",route="transcriptions"}'] == 2
    new = found['upstream_connections_total{provider="up",reused="false"}']
    assert new == found['upstream_connect_seconds_count{provider="up"}'] >= 1
    assert new + found['upstream_connections_total{provider="up",reused="true"}'] == 7


def test_exemplars_name_the_traces_of_requests(used: Stage) -> None:
    found = [
        (family.name, sample.exemplar.labels)
        for family in openmetrics_families(exposition(used, OPENMETRICS))  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.exemplar
    ]
    assert found
    assert {name for name, _ in found} == {"audiogate_request_duration_seconds"}
    assert all(labels == {"trace_id": used.token} for _, labels in found)


# What is going on now


def test_a_request_is_in_flight_until_it_is_answered(own_gateway: Callable[..., Stage]) -> None:
    stage = own_gateway()
    stage.script(READ_ALL, hold(), send(reply()))
    with stage.connect() as connection:
        stage.begin(connection, len(BODY))
        connection.send(BODY)
        stage.seen()
        busy = samples(stage)
        assert busy['requests_in_flight{route="transcriptions"}'] == 1
        assert busy['upstream_in_flight{provider="up"}'] == 1
        stage.release()
        assert connection.read_reply().status == 200
    stage.record()
    rest = samples(stage)
    assert rest['requests_in_flight{route="transcriptions"}'] == 0
    assert rest['upstream_in_flight{provider="up"}'] == 0
    assert rest["workers"] == 1
    stage.gateway.stop()


def test_clients_that_leave_are_told_apart_by_when(own_gateway: Callable[..., Stage]) -> None:
    stage = own_gateway()
    body = usual(audio(300_000))
    with stage.connect() as connection:
        stage.begin(connection, len(body))
        connection.send(body[:200_000])
        stage.seen("length", 100_000)
    wait(stage, 'client_disconnects_total{phase="upload",route="transcriptions"}', 1)
    stage.script(READ_ALL, hold("never"))
    with stage.connect() as connection:
        stage.begin(connection, len(body))
        connection.send(body)
        stage.seen(index=1)
    wait(stage, 'client_disconnects_total{phase="wait",route="transcriptions"}', 1)
    stage.script(READ_ALL, send(head(200, [("Content-Length", "99000000")])), fill(1000), hold("never"))
    with stage.connect() as connection:
        stage.begin(connection, len(body))
        connection.send(body)
        connection.read_until(b"\r\n\r\n")
    wait(stage, 'client_disconnects_total{phase="download",route="transcriptions"}', 1)
    assert samples(stage)['requests_total{code="499",method="POST",route="transcriptions"}'] == 3
    stage.gateway.stop()


def test_a_refused_reload_shows_until_a_good_one(own_gateway: Callable[..., Stage]) -> None:
    stage = own_gateway()
    before = samples(stage)
    assert before["config_last_reload_successful"] == 1
    stage.gateway.write_settings("{}}")
    stage.gateway.signal(signal.SIGHUP)
    wait(stage, "config_last_reload_successful", 0)
    stamp = "config_last_reload_success_timestamp_seconds"
    assert samples(stage)[stamp] == before[stamp]
    stage.gateway.write_settings(stage.gateway.settings)
    stage.gateway.signal(signal.SIGHUP)
    wait(stage, "config_last_reload_successful", 1)
    assert samples(stage)[stamp] > before[stamp]
    stage.gateway.stop()


def test_a_draining_gateway_says_so(own_gateway: Callable[..., Stage]) -> None:
    stage = own_gateway(drain={"delay": 1.5, "timeout": 5})
    assert samples(stage)["draining"] == 0
    stage.gateway.signal(signal.SIGTERM)
    wait(stage, "draining", 1)
    assert stage.gateway.wait_exit() == 0


def test_the_loop_is_sampled(stage: Stage) -> None:
    def sampled() -> bool:
        return samples(stage)["event_loop_lag_seconds_count"] > 3

    stage.gateway.wait_for(sampled, "samples of the loop's lag")


# What the settings say


def test_settings_decide_which_models_show_and_whether_keys_do(own_gateway: Callable[..., Stage]) -> None:
    key = {"name": "desk", "key": "sk-flow-desk"}
    stage = own_gateway(auth={"mode": "keys", "keys": [key]}, metrics={"key_label": True, "models": 1})
    stage.caller_key = "sk-flow-desk"
    stage.provider = "@vk"
    for model in ("first", "second", "third"):
        assert stage.post(usual(model=model)).status == 200
    assert stage.post(extra=[("x-portkey-config", "renamed"), ("x-portkey-provider", "up")]).status == 200
    stage.records(4)
    found = samples(stage)
    assert found['requests_total{code="200",key="desk",method="POST",route="transcriptions"}'] == 4
    attempts = {sample: value for sample, value in found.items() if sample.startswith("upstream_attempts_total")}
    assert attempts == {
        'upstream_attempts_total{code="200",model="first",provider="up"}': 1,
        'upstream_attempts_total{code="200",model="_other",provider="up"}': 2,
        'upstream_attempts_total{code="200",model="big",provider="up"}': 1,
    }
    assert found['metric_label_overflow_total{label="model"}'] > 0
    stage.gateway.stop()


def test_a_secret_never_shows(used: Stage) -> None:
    settings = json.dumps(used.gateway.settings)
    for secret in set(re.findall(r"sk-flow-\w+", settings)) | {used.caller_key}:
        assert secret not in exposition(used)
