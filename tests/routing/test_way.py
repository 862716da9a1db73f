"""Which target a strategy takes: by chance, by what is known of the request, and past those that are left alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from proxy.errors import GatewayError
from proxy.routing.conditions import Facts, ParamNeeded
from proxy.routing.document import parse
from proxy.routing.plan import Again, Plan
from proxy.routing.tree import Branch, Leaf
from proxy.routing.way import State
from tests.routing.stories import NOBODY, branch, end, story, target

A, B, C, D = (target(name) for name in "abcd")
PAIR = branch("fallback", A, B)
SPLIT = branch("loadbalance", A | {"weight": 0.7}, B | {"weight": 0.3})
TWICE = target("a", retry={"attempts": 2})


@pytest.mark.parametrize(
    ("document", "chance", "told"),
    [
        (SPLIT, 0.5, "a: succeeded 0"),
        (SPLIT, 0.69, "a: succeeded 0"),
        (SPLIT, 0.71, "b: succeeded 0"),
        (branch("loadbalance", A, B), 0.6, "b: succeeded 0"),
        (branch("loadbalance", A | {"weight": 0}, B), 0.0, "b: succeeded 0"),
        (branch("loadbalance", branch("loadbalance", A, B), branch("loadbalance", C, D)), 0.3, "b: succeeded 0"),
        (branch("loadbalance", branch("loadbalance", A, B), branch("loadbalance", C, D)), 0.7, "c: succeeded 0"),
    ],
)
def test_a_loadbalance_takes_one_target_by_weight(document: dict[str, Any], chance: float, told: str) -> None:
    assert story(document, [200], chance=chance) == told


def test_every_loadbalance_on_the_way_has_a_chance_of_its_own() -> None:
    pairs = [branch("loadbalance", target(one), target(other)) for one, other in ("ab", "cd", "ef")]
    stories = [story(branch("fallback", *pairs), [500, 500, 200], chance=(n + 0.5) / 8) for n in range(8)]
    assert sorted(stories) == [f"{one} {two} {three}: succeeded 0" for one in "ab" for two in "cd" for three in "ef"]


def test_a_weight_of_zero_is_not_even_a_last_resort() -> None:
    assert story(branch("loadbalance", A | {"weight": 0}, B), ["skip"]) == "b: exhausted 0"


def test_a_branch_without_weights_is_even() -> None:
    tree = Branch("config", "loadbalance", (Leaf("one"), Leaf("two")))
    assert [Plan.begin(tree, NOBODY, chance).leaf.path for chance in (0.4, 0.6)] == ["one", "two"]


def opened(*paths: str, probed: tuple[str, ...] = ()) -> State:
    """Return a state in which these targets, named by their places, are open."""
    return State(
        open={f"config.targets[{path.replace('.', '].targets[')}]": 12.3 for path in paths},
        probed={f"config.targets[{path.replace('.', '].targets[')}]" for path in probed},
    )


TREE = branch("fallback", branch("loadbalance", A, B), C)


@pytest.mark.parametrize(
    ("document", "state", "ends", "told"),
    [
        (PAIR, opened("0"), [200], "b: succeeded 0"),
        (PAIR, opened("1"), [500], "a: exhausted 0"),
        (branch("fallback", A, B, C), opened("1"), [500, 200], "a c: succeeded 0"),
        (branch("loadbalance", A, B), opened("0"), [200], "b: succeeded 0"),
        (branch("single", A, B), opened("0"), [200], "b: succeeded 0"),
        (TREE, opened("0.0"), [500, 200], "b c: succeeded 0"),
        (TREE, opened("0.0", "0.1"), [200], "c: succeeded 0"),
        (TREE, opened("1"), [500], "a: exhausted 0"),
        # all are open: the breaker is bypassed, for one request at a time and without retries
        (PAIR, opened("0", "1"), [500, 200], "a b: succeeded 0"),
        (PAIR, opened("0", "1", probed=("0",)), [200], "b: succeeded 0"),
        (branch("loadbalance", A, B), opened("0", "1", probed=("0",)), [500], "b: exhausted 0"),
        (TREE, opened("0.0", "0.1", "1", probed=("0.0",)), [500, 200], "b c: succeeded 0"),
        (branch("fallback", TWICE), opened("0"), [500], "a: exhausted -1"),
    ],
)
def test_open_targets_are_skipped_unless_all_are_open(
    document: dict[str, Any], state: State, ends: list[int], told: str
) -> None:
    assert story(document, ends, state=state) == told


def test_a_plan_says_whether_it_bypasses_the_breaker() -> None:
    assert not Plan.begin(parse(PAIR), NOBODY, 0.0, state=opened("0")).anyway
    assert Plan.begin(parse(PAIR), NOBODY, 0.0, state=opened("0", "1")).anyway


def test_when_all_are_open_and_asked_already_the_request_is_refused_with_a_wait() -> None:
    waits = {"config.targets[0]": 12.3, "config.targets[1]": 7.1}
    with pytest.raises(GatewayError) as refused:
        Plan.begin(parse(PAIR), NOBODY, 0.0, state=State(open=waits, probed=waits))
    assert (refused.value.code, refused.value.retry_after) == ("circuit_open", 8)


TIERS = branch(
    "conditional",
    A,
    B,
    PAIR | {"name": "pair"},
    conditions=[
        {"query": {"metadata.tier": "paid"}, "then": "b"},
        {"query": {"params.model": {"$regex": "^gpt"}}, "then": "pair"},
    ],
    default="a",
)


@pytest.mark.parametrize(
    ("facts", "ends", "told"),
    [
        (NOBODY, [200], "a: succeeded 0"),
        (replace(NOBODY, metadata={"tier": "paid"}), [500], "b: exhausted 0"),
        (replace(NOBODY, metadata={"tier": "paid"}, complete=False), [500], "b: exhausted 0"),
        (replace(NOBODY, params={"model": "gpt-transcribe"}, complete=False), [500, 200], "a b: succeeded 0"),
    ],
)
def test_a_conditional_takes_the_target_of_the_first_condition_that_holds(
    facts: Facts, ends: list[int], told: str
) -> None:
    assert story(TIERS, ends, facts=facts) == told


def test_a_field_is_waited_for_only_when_the_choice_hangs_on_it() -> None:
    early = replace(NOBODY, complete=False)
    with pytest.raises(ParamNeeded, match="model"):
        Plan.begin(parse(TIERS), early, 0.0)
    plan = Plan.begin(parse(branch("fallback", C, TIERS)), early, 0.0)
    with pytest.raises(ParamNeeded, match="model"):
        plan.after(end(500), 0.0, 0.0)
    step = plan.knowing(replace(early, params={"model": "gpt"})).after(end(500), 0.0, 0.0)
    assert isinstance(step, Again)
    assert step.plan.leaf.path == "config.targets[1].targets[2].targets[0]"


def test_a_request_that_no_condition_holds_for_is_refused_in_portkeys_words() -> None:
    document = branch("conditional", A, conditions=[{"query": {"metadata.x": 1}, "then": "a"}])
    with pytest.raises(GatewayError, match=r"^Query router did not resolve to any valid target") as refused:
        Plan.begin(parse(document), NOBODY, 0.0)
    assert (refused.value.code, refused.value.param) == ("invalid_config", "x-portkey-config")
    assert story(branch("fallback", document, B), [200]) == "b: succeeded 0"


def test_sticky_requests_stay_with_their_target_and_others_have_their_chance() -> None:
    sticky = {"enabled": True, "hash_fields": ["metadata._user", "params.language"], "ttl": 60}
    document = branch("loadbalance", *(target(name) for name in "abcdef"), sticky=sticky)
    users = [replace(NOBODY, metadata={"_user": f"user-{number}"}) for number in range(40)]
    first = [story(document, [200], facts=each, chance=0.1) for each in users]
    assert first == [story(document, [200], facts=each, chance=0.9) for each in users]
    assert len(set(first)) == 6
    later = State(unix=1000.0)
    assert first != [story(document, [200], facts=each, state=later) for each in users]
    assert story(document, [200], chance=0.1) != story(document, [200], chance=0.9)
    with pytest.raises(ParamNeeded, match="language"):
        Plan.begin(parse(document), replace(users[0], complete=False), 0.0)


def test_least_outstanding_takes_the_target_with_the_least_audio_to_do() -> None:
    document = branch("loadbalance", A, B, branch("loadbalance", C, D), policy="least_outstanding")
    busy = {"config.targets[0]": 30.0, "config.targets[1]": 20.0, "config.targets[2].targets[1]": 25.0}
    assert story(document, [200], state=State(outstanding=busy)) == "b: succeeded 0"
    assert story(document, ["skip", 200], state=State(outstanding=busy)) == "b c: succeeded 0"


def test_a_hedge_says_who_gets_a_copy_and_when_and_leaves_open_targets_out() -> None:
    node = parse(branch("hedge", A, B, C, delay=200))
    plan = Plan.begin(node, NOBODY, 0.0)
    assert (plan.hedged, plan.delay, plan.attempts) == (True, 0.2, 3)
    assert [leaf.path for leaf in plan.legs] == [f"config.targets[{index}]" for index in range(3)]
    some = Plan.begin(node, NOBODY, 0.0, state=opened("0"))
    assert [leaf.provider for leaf in some.legs] == ["b", "c"]
    assert some.hedged
    assert not Plan.begin(parse(A), NOBODY, 0.0).hedged
