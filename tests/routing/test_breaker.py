"""When a target is left alone, how it comes back, and what never counts against it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.breaker import LEVELS, Breakers, Permit, circuits_in, judged, rules_by_path
from proxy.routing.document import parse
from proxy.routing.outcome import Outcome
from proxy.routing.tree import BreakerRules

KEY = ("saved", "config.targets[0]")
THREE = BreakerRules(failure_threshold=3, cooldown=60)
HALF = BreakerRules(failure_threshold_percentage=50, minimum_requests=4, cooldown=60)

OK = Outcome(200)
ILL = Outcome(503, "refused")
DENIED = Outcome(401, "refused")


def fed(*outcomes: Outcome | None, rules: BreakerRules = THREE, now: float = 0.0) -> Breakers:
    """Return breakers to which these ends were told, all at the same moment."""
    breakers = Breakers()
    for outcome in outcomes:
        permit = breakers.allow(KEY, rules, now)
        assert permit is not None
        breakers.record(permit, outcome, now)
    return breakers


@pytest.mark.parametrize(
    ("rules", "outcomes", "circuit"),
    [
        (THREE, [], "closed"),
        (THREE, [ILL, ILL], "closed"),
        (THREE, [ILL, ILL, ILL], "open"),
        (THREE, [ILL, OK, ILL, OK, ILL], "open"),  # successes do not wash failures away, as in Portkey
        (THREE, [DENIED] * 9, "closed"),
        (THREE, [None] * 9, "closed"),
        (HALF, [ILL, ILL, ILL], "closed"),  # too few to speak of a share
        (HALF, [ILL, ILL, ILL, ILL], "open"),
        (HALF, [OK, OK, OK, ILL, ILL], "closed"),
        (HALF, [OK, OK, ILL, ILL], "open"),
        (HALF, [OK, OK, DENIED, ILL, DENIED], "closed"),
        (replace(THREE, failure_threshold_percentage=50), [ILL, ILL, ILL], "open"),
        (BreakerRules(), [ILL] * 9, "closed"),
    ],
)
def test_a_circuit_opens_at_a_number_or_a_share_of_failures(
    rules: BreakerRules, outcomes: list[Outcome | None], circuit: str
) -> None:
    assert fed(*outcomes, rules=rules).circuit(KEY, rules, 0.0) == circuit


@pytest.mark.parametrize(
    ("outcome", "codes", "verdict"),
    [
        (OK, None, True),
        (Outcome(500, "refused"), None, False),
        (Outcome(599, "refused"), None, False),
        (Outcome(499, "refused"), None, None),
        (DENIED, None, None),
        (DENIED, {401, 429}, False),
        (ILL, {401, 429}, None),
        (Outcome(502, "connect_failed"), {401}, False),
        (Outcome(502, "upstream_broke"), {401}, False),
        (Outcome(408, "upstream_timed_out"), {401}, False),
        (Outcome(504, "upstream_timed_out"), None, False),
        (Outcome(499, "client_left"), None, None),
        (Outcome(503, "gateway_refused"), None, None),
        (Outcome(503, skipped=True), None, None),
    ],
)
def test_an_end_counts_for_a_target_against_it_or_not_at_all(
    outcome: Outcome, codes: set[int] | None, verdict: bool | None
) -> None:
    listed = None if codes is None else frozenset(codes)
    assert judged(outcome, BreakerRules(failure_status_codes=listed)) is verdict


@pytest.mark.parametrize(("second", "circuit"), [(30.0, "open"), (50.0, "open"), (61.0, "closed"), (600.0, "closed")])
def test_failures_count_for_one_cooldown(second: float, circuit: str) -> None:
    breakers = fed(ILL, ILL)
    breakers.record(Permit(KEY, THREE), ILL, second)
    assert breakers.circuit(KEY, THREE, second) == circuit


@pytest.mark.parametrize("cooldown", [0.0, 1.0, 30.0, 45.0])
def test_an_open_circuit_stays_open_for_the_cooldown_which_is_thirty_seconds_at_least(cooldown: float) -> None:
    rules = replace(THREE, cooldown=cooldown)
    breakers = fed(ILL, ILL, ILL, rules=rules, now=100.0)
    least = max(cooldown, 30.0)
    assert breakers.circuit(KEY, rules, 100.0 + least - 0.01) == "open"
    assert breakers.wait(KEY, rules, 100.0) == least
    assert breakers.allow(KEY, rules, 100.0 + least - 0.01) is None
    assert breakers.circuit(KEY, rules, 100.0 + least) == "half_open"
    assert breakers.wait(KEY, rules, 100.0 + least) is None


@pytest.mark.parametrize(
    ("end", "circuit"),
    [
        (OK, "closed"),
        (DENIED, "closed"),  # it answers again
        (ILL, "open"),
        (Outcome(502, "connect_failed"), "open"),
        (Outcome(504, "upstream_timed_out"), "open"),
        (Outcome(499, "client_left"), "half_open"),
        (Outcome(503, skipped=True), "half_open"),
        (None, "half_open"),
    ],
)
def test_one_request_finds_out_whether_a_target_is_well_again(end: Outcome | None, circuit: str) -> None:
    breakers = fed(ILL, ILL, ILL)
    probe = breakers.allow(KEY, THREE, 60.0)
    assert probe is not None
    assert breakers.is_probed(KEY, 60.0)
    assert breakers.wait(KEY, THREE, 60.0) == 1.0
    assert breakers.allow(KEY, THREE, 61.0) is None
    assert breakers.allow(KEY, THREE, 61.0, anyway=True) is None
    breakers.record(probe, end, 70.0)
    assert breakers.circuit(KEY, THREE, 70.0) == circuit
    assert not breakers.is_probed(KEY, 70.0)
    assert (breakers.allow(KEY, THREE, 70.0) is not None) is (circuit != "open")


def test_a_failed_probe_opens_the_circuit_for_a_whole_cooldown_again() -> None:
    breakers = fed(ILL, ILL, ILL)
    probe = breakers.allow(KEY, THREE, 60.0)
    assert probe is not None
    breakers.record(probe, ILL, 75.0)
    assert breakers.wait(KEY, THREE, 75.0) == 60.0


def test_a_closed_circuit_has_forgotten_its_failures() -> None:
    breakers = fed(ILL, ILL, ILL)
    probe = breakers.allow(KEY, THREE, 60.0)
    assert probe is not None
    breakers.record(probe, OK, 60.0)
    for _ in range(2):
        breakers.record(Permit(KEY, THREE), ILL, 60.0)
    assert breakers.circuit(KEY, THREE, 60.0) == "closed"


def test_an_open_circuit_lets_one_request_at_a_time_through_when_all_others_are_open_too() -> None:
    breakers = fed(ILL, ILL, ILL)
    permit = breakers.allow(KEY, THREE, 1.0, anyway=True)
    assert permit is not None
    assert breakers.allow(KEY, THREE, 2.0, anyway=True) is None
    breakers.record(permit, OK, 3.0)
    assert breakers.circuit(KEY, THREE, 3.0) == "closed"


@pytest.mark.parametrize("late", [OK, ILL])
def test_attempts_that_began_before_a_circuit_opened_say_nothing_new(late: Outcome) -> None:
    breakers = Breakers()
    early = breakers.allow(KEY, THREE, 0.0)
    assert early is not None
    for _ in range(3):
        breakers.record(Permit(KEY, THREE), ILL, 0.0)
    breakers.record(early, late, 50.0)
    assert breakers.circuit(KEY, THREE, 50.0) == "open"
    assert breakers.wait(KEY, THREE, 50.0) == 10.0


def test_a_probe_that_nobody_reported_on_is_given_up_and_its_late_report_with_it() -> None:
    breakers = fed(ILL, ILL, ILL)
    lost = breakers.allow(KEY, THREE, 60.0)
    assert lost is not None
    assert breakers.allow(KEY, THREE, 900.0) is None
    next_probe = breakers.allow(KEY, THREE, 960.0)
    assert next_probe is not None
    breakers.record(lost, OK, 961.0)
    assert breakers.is_probed(KEY, 961.0)
    breakers.record(next_probe, ILL, 962.0)
    assert breakers.circuit(KEY, THREE, 962.0) == "open"


def test_circuits_are_kept_apart_and_forgotten_with_their_config() -> None:
    breakers = fed(ILL, ILL, ILL)
    assert breakers.circuit(("saved", "config.targets[1]"), THREE, 0.0) == "closed"
    assert breakers.circuit(("other", KEY[1]), THREE, 0.0) == "closed"
    breakers.forget("other")
    assert breakers.circuit(KEY, THREE, 0.0) == "open"
    breakers.forget("saved")
    assert breakers.circuit(KEY, THREE, 0.0) == "closed"
    assert len(breakers) == 0


def test_the_number_of_circuits_is_bounded_and_the_one_unused_for_longest_goes_first() -> None:
    breakers = fed(ILL)
    for number in range(5000):
        breakers.record(Permit(("saved", str(number)), THREE), ILL, 0.0)
        breakers.record(Permit(KEY, THREE), OK, 0.0)
    assert len(breakers) == 4096
    for _ in range(2):
        breakers.record(Permit(KEY, THREE), ILL, 0.0)
    assert breakers.circuit(KEY, THREE, 0.0) == "open", "its first failure was kept: it was in use all the time"


def test_targets_that_only_succeed_cost_little() -> None:
    breakers = fed(*[OK] * 100)
    assert len(breakers) == 1


def test_a_provider_is_as_ill_as_its_worst_target() -> None:
    breakers = fed(ILL, ILL, ILL)
    well = ("saved", "config.targets[1]")
    assert breakers.worst([], 0.0) == "closed"
    assert breakers.worst([(well, THREE)], 0.0) == "closed"
    assert breakers.worst([(well, THREE), (KEY, THREE)], 0.0) == "open"
    assert breakers.worst([(KEY, THREE), (well, THREE)], 60.0) == "half_open"
    assert LEVELS == {"closed": 0, "half_open": 1, "open": 2}


def with_breaker(mode: str, **strategy: Any) -> dict[str, Any]:
    return {"strategy": {"mode": mode, "cb_config": {"failure_threshold": 3}, **strategy}}


A, B = {"provider": "a", "name": "a"}, {"provider": "b"}


@pytest.mark.parametrize(
    ("document", "paths"),
    [
        (A, []),
        ({"strategy": {"mode": "fallback"}, "targets": [A, B]}, []),
        (with_breaker("fallback") | {"targets": [A, B]}, ["config.targets[0]", "config.targets[1]"]),
        (
            with_breaker("fallback") | {"targets": [A, {"strategy": {"mode": "loadbalance"}, "targets": [B]}]},
            ["config.targets[0]", "config.targets[1].targets[0]"],
        ),
        (with_breaker("conditional", conditions=[{"query": {"metadata.x": 1}, "then": "a"}]) | {"targets": [A]}, []),
        (
            {"strategy": {"mode": "fallback"}, "targets": [A, with_breaker("single") | {"targets": [B]}]},
            ["config.targets[1].targets[0]"],
        ),
    ],
)
def test_targets_have_the_breaker_of_their_strategy_unless_it_is_a_conditional(
    document: dict[str, Any], paths: list[str]
) -> None:
    found = rules_by_path(parse(document))
    assert list(found) == paths
    assert all(leaf.path == path and rules.failure_threshold == 3 for path, (leaf, rules) in found.items())


def test_a_providers_circuits_are_those_of_every_saved_config_that_leads_to_it() -> None:
    nameless = {"override_params": {"model": "m"}}
    first = with_breaker("fallback") | {"targets": [{"provider": "openai"}, {"virtual_key": "vk"}, nameless]}
    second = with_breaker("single") | {"targets": [{"virtual_key": "vk"}]}
    found = circuits_in({"one": parse(first), "two": parse(second)}, {"vk": "groq"})
    assert {provider: [key for key, _ in circuits] for provider, circuits in found.items()} == {
        "openai": [("one", "config.targets[0]")],
        "groq": [("one", "config.targets[1]"), ("two", "config.targets[0]")],
    }


@given(st.lists(st.tuples(st.sampled_from([OK, ILL, DENIED, None]), st.floats(0, 40), st.booleans()), max_size=60))
def test_whatever_happens_a_circuit_that_is_left_alone_can_be_asked_again(
    events: list[tuple[Outcome | None, float, bool]],
) -> None:
    breakers, now = Breakers(), 0.0
    for outcome, later, anyway in events:
        now += later
        permit = breakers.allow(KEY, THREE, now, anyway=anyway)
        if permit is None:
            assert breakers.wait(KEY, THREE, now) is not None
        else:
            breakers.record(permit, outcome, now)
    wait = breakers.wait(KEY, THREE, now) or 0.0
    assert wait <= 60
    assert breakers.allow(KEY, THREE, now + wait + 1e-6) is not None
