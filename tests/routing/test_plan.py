"""What is tried next: Portkey's strategies and retries, and where our own bounds end them."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.routing.document import parse
from proxy.routing.outcome import Outcome
from proxy.routing.plan import Again, Plan, Stop
from proxy.routing.tree import Leaf, Retry
from proxy.routing.way import State
from tests.routing.stories import NOBODY, branch, end, story, target

A, B, C, D = (target(name) for name in "abcd")
PAIR = branch("fallback", A, B)
LISTED = branch("fallback", A, B, on_status_codes=[429, 503])
NEVER = branch("fallback", A, B, on_status_codes=[])
SPLIT = branch("loadbalance", A | {"weight": 0.7}, B | {"weight": 0.3})
TWICE = target("a", retry={"attempts": 2})
NESTED = branch("fallback", branch("loadbalance", A, B), branch("fallback", C, D, on_status_codes=[429]), target("e"))


@pytest.mark.parametrize(
    ("document", "ends", "told"),
    [
        (A, [200], "a: succeeded 0"),
        (A, [500], "a: exhausted 0"),
        (PAIR, [200], "a: succeeded 0"),
        (PAIR, [400, 200], "a b: succeeded 0"),  # any status that is no success, as in Portkey
        (PAIR, [401, 200], "a b: succeeded 0"),
        (PAIR, [302, 200], "a b: succeeded 0"),
        (PAIR, ["connect", 200], "a b: succeeded 0"),
        (PAIR, ["broke", 200], "a b: succeeded 0"),
        (PAIR, ["timeout", 200], "a b: succeeded 0"),
        (PAIR, ["silent", 200], "a b: succeeded 0"),
        (PAIR, [500, 401], "a b: exhausted 0"),
        (branch("fallback", A, B, C), [429, 500, 200], "a b c: succeeded 0"),
        (LISTED, [429, 200], "a b: succeeded 0"),
        (LISTED, [401], "a: exhausted 0"),
        (LISTED, ["connect"], "a: exhausted 0"),
        (branch("fallback", A, B, on_status_codes=[500]), ["connect", 200], "a b: succeeded 0"),
        (NEVER, [500], "a: exhausted 0"),
        (NEVER, ["connect"], "a: exhausted 0"),
        (branch("single", A, B), [500], "a: exhausted 0"),
        (SPLIT, [500], "a: exhausted 0"),  # one target and no other
        # the end of an inner strategy is judged by the outer one
        (NESTED, [500, 429, 200], "a c d: succeeded 0"),
        (NESTED, [500, 500, 200], "a c e: succeeded 0"),
        (NESTED, [500, 429, 500, 500], "a c d e: exhausted 0"),
        (branch("fallback", LISTED, C, on_status_codes=[401]), [429, 401, 200], "a b c: succeeded 0"),
        (branch("fallback", LISTED, C, on_status_codes=[401]), [401, 200], "a c: succeeded 0"),
        (branch("fallback", LISTED, C, on_status_codes=[401]), [500], "a: exhausted 0"),
        (branch("fallback", branch("single", A, B), C), [500, 200], "a c: succeeded 0"),
        (branch("loadbalance", PAIR, C), [500, 500], "a b: exhausted 0"),
    ],
)
def test_a_fallback_goes_on_in_order_and_other_strategies_do_not(
    document: dict[str, Any], ends: list[int], told: str
) -> None:
    assert story(document, ends) == told


@pytest.mark.parametrize(
    ("retry", "ends", "told"),
    [
        ({}, [500], "a: exhausted 0"),
        ({"attempts": 2}, [200], "a: succeeded 0"),
        ({"attempts": 2}, [500, 200], "a +1 a: succeeded 1"),
        ({"attempts": 2}, [500, 500, 200], "a +1 a +2 a: succeeded 2"),
        ({"attempts": 2}, [500, 500, 500], "a +1 a +2 a: exhausted -1"),
        ({"attempts": 5}, [429, 500, 502, 503, 504, 500], "a +1 a +2 a +4 a +8 a +16 a: exhausted -1"),
        ({"attempts": 2}, [401], "a: exhausted 0"),
        ({"attempts": 2}, [500, 401], "a +1 a: exhausted 1"),
        ({"attempts": 2}, [529], "a: exhausted 0"),
        ({"attempts": 2, "on_status_codes": [401]}, [401, 401, 401], "a +1 a +2 a: exhausted -1"),
        ({"attempts": 2, "on_status_codes": [401]}, [500], "a: exhausted 0"),
        # the network's failures are tried again whatever is listed; a timeout only when 408 is
        ({"attempts": 1, "on_status_codes": [429]}, ["connect", "connect"], "a +1 a: exhausted -1"),
        ({"attempts": 1, "on_status_codes": [429]}, ["broke", 200], "a +1 a: succeeded 1"),
        ({"attempts": 1}, ["timeout"], "a: exhausted 0"),
        ({"attempts": 1, "on_status_codes": [408]}, ["timeout", "timeout"], "a +1 a: exhausted -1"),
        ({"attempts": 1}, ["silent", 200], "a +1 a: succeeded 1"),
    ],
)
def test_the_same_target_is_tried_again_as_its_retry_says(retry: dict[str, Any], ends: list[int], told: str) -> None:
    assert story(target("a", retry=retry), ends) == told


def asked(status: int, seconds: float) -> Outcome:
    return Outcome(status, "refused", retry_after=seconds)


@pytest.mark.parametrize(
    ("follow", "ends", "told"),
    [
        (True, [asked(429, 7), 200], "a +7 a: succeeded 1"),
        (True, [asked(503, 0.25), 200], "a +0.25 a: succeeded 1"),
        (True, [asked(429, 0), 200], "a +0 a: succeeded 1"),
        (True, [asked(500, 7), 200], "a +1 a: succeeded 1"),
        (True, [429, 200], "a +1 a: succeeded 1"),
        (False, [asked(429, 7), 200], "a +1 a: succeeded 1"),
        (True, [asked(429, 7), 500, 200], "a +7 a +2 a: succeeded 2"),
        # more than a minute in all is skipped, and the answer given at once
        (True, [asked(429, 59.9), 200], "a +59.9 a: succeeded 1"),
        (True, [asked(429, 60)], "a: exhausted -1"),
        (True, [asked(429, 40), asked(429, 20), 200], "a +40 a +20 a: succeeded 2"),
        (True, [asked(429, 40), asked(429, 21)], "a +40 a: exhausted -1"),
        (True, [asked(429, 59), 500], "a +59 a: exhausted -1"),
    ],
)
def test_a_provider_that_names_a_wait_is_heard_when_the_config_says_so(
    follow: bool, ends: list[Outcome], told: str
) -> None:
    retry = {"attempts": 3, "use_retry_after_header": follow}
    assert story(target("a", retry=retry), ends) == told


def test_waits_have_a_random_part() -> None:
    assert story(TWICE, [500, 500, 500], jitter=0.0) == "a +0.5 a +1 a: exhausted -1"


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ([500, 500, 500, 500, 200], "a +1 a +2 a b +1 b: succeeded 1"),  # retries first, and counted for each target
        ([500, 401, 200], "a +1 a b: succeeded 0"),
        ([500, 500, 500, 503, 503], "a +1 a +2 a b +1 b: exhausted -1"),
        ([500, 500, 500, 400], "a +1 a +2 a b: exhausted 0"),
    ],
)
def test_a_target_is_tried_again_before_the_next_one(ends: list[int], told: str) -> None:
    assert story(branch("fallback", TWICE, target("b", retry={"attempts": 1})), ends) == told


RETRIED = branch("fallback", TWICE, B)


@pytest.mark.parametrize(
    ("document", "ends", "told"),
    [
        (RETRIED, ["left"], "a: client_left 0"),
        (RETRIED, [500, "left"], "a +1 a: client_left 1"),
        (RETRIED, ["gateway"], "a: gateway_refused 0"),
        (RETRIED, ["lost"], "a: not_replayable -1"),
        (PAIR, ["lost"], "a: not_replayable 0"),
        (RETRIED, ["early", 200], "a +1 a: succeeded 1"),
        (PAIR, ["early", 200], "a b: succeeded 0"),
        (PAIR, [Outcome(502, "connect_failed", replayable=False), 200], "a b: succeeded 0"),
        (PAIR, [Outcome(413, skipped=True, replayable=False)], "a: not_replayable 0"),
        (PAIR, ["billed", 200], "a b: succeeded 0"),
        (branch("fallback", target("a", retry={"after_commit": False}), B), ["billed"], "a: billed 0"),
        (branch("fallback", target("a", retry={"after_commit": False}), B), ["broke", 200], "a b: succeeded 0"),
        (target("a", retry={"attempts": 1, "after_commit": False}), ["billed"], "a: billed -1"),
    ],
)
def test_what_forbids_any_other_attempt(document: dict[str, Any], ends: list[int], told: str) -> None:
    assert story(document, ends) == told


@pytest.mark.parametrize(
    ("document", "ends", "told"),
    [
        (PAIR, ["skip", 200], "a b: succeeded 0"),
        (LISTED, ["skip", 200], "a b: succeeded 0"),
        (NEVER, ["skip", 200], "a b: succeeded 0"),
        (PAIR, ["skip", "skip"], "a b: exhausted 0"),
        (TWICE, ["skip"], "a: exhausted 0"),
        (SPLIT, ["skip", 500], "a b: exhausted 0"),
        (branch("loadbalance", PAIR, C), ["skip", "skip", 200], "a b c: succeeded 0"),
        (branch("loadbalance", PAIR, C), [500, "skip"], "a b: exhausted 0"),  # one of its targets was asked
        (branch("fallback", PAIR, C, on_status_codes=[429]), [429, "skip", 200], "a b c: succeeded 0"),
        (branch("fallback", PAIR, C, on_status_codes=[429]), [500, "skip"], "a b: exhausted 0"),
        (branch("single", A, B), ["skip"], "a: exhausted 0"),
        (branch("fallback", TWICE, B, on_status_codes=[429]), [500, "skip"], "a +1 a: exhausted -1"),
        (branch("fallback", TWICE, B, on_status_codes=[500]), [500, "skip", 200], "a +1 a b: succeeded 0"),
    ],
)
def test_a_target_that_was_not_asked_is_as_if_it_were_not_there(
    document: dict[str, Any], ends: list[int], told: str
) -> None:
    assert story(document, ends) == told


def test_a_target_that_was_not_asked_is_no_attempt() -> None:
    step = Plan.begin(parse(PAIR), NOBODY, 0.0).after(end("skip"), 0.0, 0.0)
    assert isinstance(step, Again)
    assert step.plan.attempts == 1


@pytest.mark.parametrize(
    ("deadline", "seconds", "told"),
    [
        (100.0, 0.0, "a +1 a +2 a b: exhausted 0"),
        (3.0, 0.0, "a +1 a b: exhausted 0"),  # a second retry would begin at 3: the next target need not wait
        (1.0, 0.0, "a b: exhausted 0"),
        (10.0, 10.0, "a: deadline -1"),
        (12.0, 5.0, "a +1 a b: deadline 0"),
    ],
)
def test_nothing_begins_at_or_after_the_deadline(deadline: float, seconds: float, told: str) -> None:
    assert story(RETRIED, [500] * 4, deadline=deadline, seconds=seconds) == told


def test_attempts_are_bounded_whatever_the_tree_says() -> None:
    plan = Plan.begin(Leaf(retry=Retry(attempts=10**6, use_retry_after=True)), NOBODY, 0.0)
    step: Again | Stop = Again(plan, 0, same_target=True, reason="", retry_count=0)
    tries = 0
    while isinstance(step, Again):
        tries += 1
        step = step.plan.after(asked(429, 0), 0.0, 0.0)
    assert (step.reason, step.retry_count, tries) == ("too_many_attempts", -1, 384)


def test_an_upstream_without_retries_in_its_budget_is_not_tried_again() -> None:
    spent = State(spent={"config.targets[0]"})
    assert story(RETRIED, [500, 200], state=spent) == "a b: succeeded 0"
    assert story(branch("fallback", TWICE), [500], state=spent) == "a: exhausted -1"


def test_a_target_that_has_just_opened_is_not_tried_again() -> None:
    step = Plan.begin(parse(RETRIED), NOBODY, 0.0).after(end(500), 0.0, 0.0, State(open={"config.targets[0]": 30.0}))
    assert isinstance(step, Again)
    assert (step.plan.leaf.provider, step.same_target, step.retry_count) == ("b", False, -1)


HEDGE = branch("hedge", TWICE, B, delay=200)


@pytest.mark.parametrize(
    ("document", "ends", "told"),
    [
        (HEDGE, [200], "a&b: succeeded 0"),
        (HEDGE, [500], "a&b: exhausted 0"),
        (branch("fallback", HEDGE, C), [500, 200], "a&b c: succeeded 0"),
        (branch("fallback", C, HEDGE), [500, 200], "c a&b: succeeded 0"),
        (branch("fallback", HEDGE, C), ["skip", 200], "a&b c: succeeded 0"),
    ],
)
def test_a_hedge_is_one_attempt_at_several_targets_without_retries(
    document: dict[str, Any], ends: list[int], told: str
) -> None:
    assert story(document, ends) == told


@pytest.mark.parametrize(
    ("document", "may_go_on"),
    [
        (A, False),
        (TWICE, True),
        (PAIR, True),
        (NEVER, False),
        (LISTED, True),
        (SPLIT, False),
        (branch("single", A, B), False),
        (branch("fallback", A), False),
        (branch("loadbalance", PAIR, C), True),
        (HEDGE, True),
    ],
)
def test_a_body_is_kept_only_when_it_can_be_needed_again(document: dict[str, Any], may_go_on: bool) -> None:
    assert Plan.begin(parse(document), NOBODY, 0.0).may_go_on is may_go_on


def test_the_last_target_has_nobody_to_keep_the_body_for() -> None:
    step = Plan.begin(parse(PAIR), NOBODY, 0.0).after(end(500), 0.0, 0.0)
    assert isinstance(step, Again)
    assert not step.plan.may_go_on


def test_a_plan_is_a_value_that_can_be_asked_twice() -> None:
    plan = Plan.begin(parse(RETRIED), NOBODY, 0.5)
    before = repr(plan)
    first, second = (plan.after(end(500), 1.0, 0.5) for _ in range(2))
    assert first == second
    assert repr(plan) == before
    assert isinstance(first, Again)
    assert (first.wait, first.reason, first.plan.attempts, first.plan.retry_count) == (0.75, "status_5xx", 2, 1)
