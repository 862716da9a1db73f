"""What is going on now becomes gauges, and what others count becomes counters that never go back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from proxy.records.levels import Levels, Now
from proxy.records.meters import Meters
from proxy.records.metrics import Metrics
from proxy.records.names import Names
from proxy.records.sinks import Sink, SinkLevels
from tests.records.shown import shown

if TYPE_CHECKING:
    from collections.abc import Callable


class Bench:
    """The levels of a process whose settings name one provider of three."""

    def __init__(self, breaker: Callable[[str], int] = lambda _provider: 0) -> None:
        self.meters = Meters(CollectorRegistry())
        metrics = Metrics(self.meters, models=5)
        metrics.admit(Names(known=("openai", "groq", "local")))
        self.levels = Levels(self.meters, metrics, SinkLevels(self.meters, ["stdout"]), breaker=breaker)
        self.levels.admit(["openai"])

    def take(self, **changes: Any) -> dict[str, float]:
        quiet: dict[str, Any] = {"requests": {}, "attempts": {}, "replay_bytes": 0, "draining": False, "reloaded": True}
        quiet |= {"loaded_at": 1.5e9, "rejected": {}, "sinks": {}}
        self.levels.take(Now(**quiet | changes))
        return shown(self.meters.registry)


def test_a_process_at_rest_shows_every_route_and_every_provider_of_the_settings() -> None:
    found = Bench().take()
    for route in ("transcriptions", "translations", "speech", "passthrough", "_unmatched"):
        assert found[f'requests_in_flight{{route="{route}"}}'] == 0
    assert found['upstream_in_flight{provider="openai"}'] == 0
    assert found['circuit_breaker_state{provider="openai"}'] == 0
    assert found["config_last_reload_successful"] == 1
    assert found["config_last_reload_success_timestamp_seconds"] == 1.5e9
    assert (found["replay_bytes"], found["draining"]) == (0, 0)


def test_gauges_go_up_and_down_with_what_is_going_on() -> None:
    bench = Bench()
    busy = bench.take(
        requests={"speech": 2}, attempts={"groq": 1}, replay_bytes=77, draining=True, reloaded=False, loaded_at=2e9
    )
    assert busy['requests_in_flight{route="speech"}'] == 2
    assert busy['upstream_in_flight{provider="groq"}'] == 1
    assert (busy["replay_bytes"], busy["draining"], busy["config_last_reload_successful"]) == (77, 1, 0)
    assert busy["config_last_reload_success_timestamp_seconds"] == 2e9
    rest = bench.take()
    assert rest['requests_in_flight{route="speech"}'] == 0
    assert rest['upstream_in_flight{provider="groq"}'] == 0
    assert (rest["replay_bytes"], rest["draining"], rest["config_last_reload_successful"]) == (0, 0, 1)


def test_a_provider_that_was_seen_once_stays() -> None:
    bench = Bench(breaker={"openai": 0, "groq": 2}.__getitem__)
    assert 'circuit_breaker_state{provider="groq"}' not in bench.take()
    bench.take(attempts={"groq": 1})
    assert bench.take()['circuit_breaker_state{provider="groq"}'] == 2


def test_what_others_count_is_added_once() -> None:
    bench = Bench()
    bench.take(rejected={"bad_request": 2}, sinks={"stdout": Sink(10, 1, 3)})
    found = bench.take(rejected={"bad_request": 5}, sinks={"stdout": Sink(12, 1, 0)})
    assert found['requests_rejected_total{reason="bad_request"}'] == 5
    assert found['log_records_total{result="written",sink="stdout"}'] == 12
    assert found['log_records_total{result="dropped",sink="stdout"}'] == 1
    assert found['log_queue_records{sink="stdout"}'] == 0
    assert found == bench.take(rejected={"bad_request": 5}, sinks={"stdout": Sink(12, 1, 0)})
