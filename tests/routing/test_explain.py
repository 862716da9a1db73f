"""What the gateway says it would do with a request: the text is checked whole, as people read it."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings

from proxy.routing.document import parse
from proxy.routing.explain import explain
from tests.routing.stories import NOBODY, branch, target
from tests.routing.test_plan_properties import SEEDS, grown

if TYPE_CHECKING:
    from proxy.routing.conditions import Facts
    from proxy.routing.tree import Leaf


def described(leaf: Leaf) -> str:
    return f"to {leaf.provider}"


def text(document: dict[str, Any], facts: Facts = NOBODY) -> str:
    return "\n".join(str(line) for line in explain(parse(document), facts, described))


A, B, C = ({"provider": name} for name in "abc")
PLAIN = """\
  no request timeout of its own
  then after any failure → the client gets it"""


ELSE = "after anything else → the client gets it"
ALONE = "single, the first target; a target is left alone for"


def test_one_target() -> None:
    assert text(A) == f"config: to a\n{PLAIN}"


def test_a_fallback_with_retries_and_a_timeout() -> None:
    retry = {"attempts": 2, "use_retry_after_header": True, "after_commit": False}
    document = branch("fallback", target("a", request_timeout=1500, retry=retry), B)
    assert text(document) == (
        "config: fallback, in this order after any failure\n"
        "  1. config.targets[0] (a): to a\n"
        "    request timeout 1.5 s\n"
        "    tried again up to 2 times after 429, 500, 502, 503, 504 or a lost connection, waiting half to all of"
        " 1, 2 s, or as Retry-After says after 429 and 503\n"
        "    nothing is tried after a failure that may have been billed\n"
        "    then after any failure → config.targets[1]\n"
        "  2. config.targets[1]: to b\n"
        "    no request timeout of its own\n"
        "    then after any failure → the client gets it"
    )


@pytest.mark.parametrize(
    ("document", "leads"),
    [
        (branch("fallback", A, B), ["after any failure → config.targets[1]", "after any failure → the client gets it"]),
        (
            branch("fallback", A, B, on_status_codes=[429, 503]),
            [
                "after 429, 503 → config.targets[1]; after anything else → the client gets it",
                "after any failure → the client gets it",
            ],
        ),
        (
            branch("fallback", A, B, on_status_codes=[408, 500]),
            [
                f"after 408, 500, a request timeout, a lost connection → config.targets[1]; {ELSE}",
                "after any failure → the client gets it",
            ],
        ),
        (
            branch("fallback", branch("fallback", A, B, on_status_codes=[429]), C, on_status_codes=[401]),
            [
                f"after 401 → config.targets[1]; after 429 → config.targets[0].targets[1]; {ELSE}",
                "after 401 → config.targets[1]; after anything else → the client gets it",
                "after any failure → the client gets it",
            ],
        ),
        (
            branch("fallback", branch("fallback", A, B, on_status_codes=[429]), C),
            [
                "after 429 → config.targets[0].targets[1]; after anything else → config.targets[1]",
                "after any failure → config.targets[1]",
                "after any failure → the client gets it",
            ],
        ),
    ],
)
def test_where_each_failure_leads(document: dict[str, Any], leads: list[str]) -> None:
    told = [line.text for line in explain(parse(document), NOBODY, described)]
    assert [line.removeprefix("then ") for line in told if line.startswith("then ")] == leads


def test_a_loadbalance_shows_its_shares() -> None:
    document = branch("loadbalance", A | {"weight": 9}, B | {"weight": 1}, C | {"weight": 0})
    lines = text(document).splitlines()
    assert lines[0] == "config: loadbalance, one target by weight"
    assert lines[1] == "  90 %, config.targets[0]: to a"
    assert lines[4] == "  10 %, config.targets[1]: to b"
    assert lines[7] == "  0 %, config.targets[2]: its weight is 0, so it is never chosen"
    assert len(lines) == 8


STICKY = {"enabled": True, "hash_fields": ["metadata._user", "params.model"], "ttl": 60}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (
            branch("loadbalance", A, B, sticky=STICKY),
            "loadbalance, one target by weight, the same for the same metadata._user, params.model during 60 s",
        ),
        (
            branch("loadbalance", A, B, policy="least_outstanding"),
            "loadbalance, the one target with the least audio outstanding",
        ),
        (branch("single", A), "single, the first target"),
        (branch("fallback", A, B, on_status_codes=[429]), "fallback, in this order after 429"),
        (
            branch("hedge", A, B, delay=200),
            "hedge, each target 0.2 s after the one before; the first good answer wins",
        ),
        (
            branch("single", A, cb_config={"failure_threshold": 3, "cooldown_interval": 60000}),
            f"{ALONE} 60 s after 3 failures within that time (500 and above, no answer)",
        ),
        (
            branch("single", A, cb_config={"failure_threshold_percentage": 20, "failure_status_codes": [429]}),
            f"{ALONE} 30 s after 20 % of at least 5 requests within that time (429, no answer)",
        ),
    ],
)
def test_what_a_strategy_does(document: dict[str, Any], said: str) -> None:
    assert text(document).splitlines()[0] == f"config: {said}"


@pytest.mark.parametrize(
    ("document", "line"),
    [
        (branch("single", A, B), "  config.targets[1]: not the first target"),
        (branch("fallback", A, B, on_status_codes=[]), "  2. config.targets[1]: never asked"),
        (branch("hedge", A, B, delay=200), "  at 0.2 s, config.targets[1]: to b"),
    ],
)
def test_who_is_asked_when(document: dict[str, Any], line: str) -> None:
    assert line in text(document).splitlines()


TIERS = branch(
    "conditional",
    target("a"),
    target("b"),
    target("c"),
    conditions=[
        {"query": {"metadata.tier": "paid"}, "then": "b"},
        {"query": {"params.model": "m"}, "then": "c"},
    ],
    default="a",
)
PAID = 'condition 1, {"metadata.tier": "paid"} → config.targets[1]: '
MODEL = 'condition 2, {"params.model": "m"} → config.targets[2]: '


@pytest.mark.parametrize(
    ("facts", "said", "targets"),
    [
        (replace(NOBODY, metadata={"tier": "paid"}), [PAID + "holds", MODEL + "not reached"], "b"),
        (replace(NOBODY, params={"model": "m"}), [PAID + "does not hold", MODEL + "holds"], "c"),
        (
            NOBODY,
            [PAID + "does not hold", MODEL + "does not hold", "none holds; default → config.targets[0]"],
            "a",
        ),
        (
            replace(NOBODY, complete=False),
            [
                PAID + "does not hold",
                MODEL + "hangs on the form field 'model'",
                "if no condition holds, default → config.targets[0]",
            ],
            "ac",
        ),
    ],
)
def test_a_conditional_shows_which_condition_held(facts: Facts, said: list[str], targets: str) -> None:
    lines = text(TIERS, facts).splitlines()
    assert lines[0] == "config: conditional, the target of the first condition that holds"
    assert [line.strip() for line in lines[1 : len(said) + 1]] == said
    assert [line[-1] for line in lines if ": to " in line] == list(targets)


def test_a_conditional_without_a_way_out_says_so() -> None:
    document = branch("conditional", target("a"), conditions=[{"query": {"metadata.x": 1}, "then": "a"}])
    assert text(document).splitlines()[-1] == "  none holds; there is no default: 400 invalid_config"


def test_every_line_names_the_node_it_is_about() -> None:
    lines = explain(parse(branch("fallback", A, branch("loadbalance", B, C))), NOBODY, described)
    depths = [line.depth for line in lines]
    assert depths == [0, 1, 2, 2, 1, 2, 3, 3, 2, 3, 3]
    assert lines[5].path == "config.targets[1].targets[0]"


@settings(deadline=None)
@given(SEEDS)
def test_any_config_can_be_explained(seed: int) -> None:
    lines = explain(parse(grown(Random(seed))), replace(NOBODY, complete=False), described)
    assert lines[0].path == "config"
    assert all(line.text.isprintable() for line in lines)
