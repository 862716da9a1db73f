"""Config documents of several targets: Portkey's strategies and our own, and what is refused with the reason."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.document import MAX_DEPTH, MAX_HEDGED, MAX_TARGETS, examine, parse, parse_text
from proxy.routing.tree import Branch, BreakerRules, Condition, Leaf, Retry, Sticky, leaves

OPENAI = {"provider": "openai", "api_key": "sk-1"}
AZURE = {"provider": "azure-openai", "api_key": "az-1", "resource_name": "contoso", "deployment_id": "whisper"}


def document(mode: str, *targets: dict[str, Any], above: dict[str, Any] | None = None, **said: Any) -> dict[str, Any]:
    """Return a document: ``said`` is the strategy's, ``above`` stands beside it."""
    return {"strategy": {"mode": mode, **said}, "targets": list(targets), **(above or {})}


def leaf(path: str, **said: Any) -> Leaf:
    return Leaf(f"config.{path}", **said)


FIRST = leaf("targets[0]", provider="openai", api_key="sk-1")
NAMED = [{"name": "paid", **OPENAI}, {"name": "free", "provider": "groq"}]
PAID = leaf("targets[0]", name="paid", provider="openai", api_key="sk-1")
FREE = leaf("targets[1]", name="free", provider="groq")
ROW: dict[str, Any] = {"query": {"metadata.plan": "paid"}, "then": "paid"}

DOCUMENTED: list[tuple[dict[str, Any], Branch]] = [
    (document("single", OPENAI), Branch("config", "single", (FIRST,))),
    (
        document("fallback", {"virtual_key": "openai-prod"}, {**AZURE, "override_params": {"model": "whisper"}}),
        Branch(
            "config",
            "fallback",
            (
                leaf("targets[0]", virtual_key="openai-prod"),
                leaf("targets[1]", **AZURE, override_params={"model": "whisper"}),
            ),
        ),
    ),
    (
        document("fallback", OPENAI, {"provider": "@vk"}, on_status_codes=[429, 503]),
        Branch(
            "config",
            "fallback",
            (FIRST, leaf("targets[1]", virtual_key="vk")),
            on_status_codes=frozenset({429, 503}),
        ),
    ),
    (
        document("fallback", OPENAI, onStatusCodes=[]),
        Branch("config", "fallback", (FIRST,), on_status_codes=frozenset()),
    ),
    (
        document("loadbalance", {**OPENAI, "weight": 0.75}, {"provider": "groq", "weight": 0}, {"provider": "azure"}),
        Branch(
            "config",
            "loadbalance",
            (FIRST, leaf("targets[1]", provider="groq"), leaf("targets[2]", provider="azure")),
            weights=(0.75, 0, 1),
        ),
    ),
    (
        document("loadbalance", OPENAI, sticky={"enabled": True, "hash_fields": ["metadata._user"]}),
        Branch("config", "loadbalance", (FIRST,), weights=(1,), sticky=Sticky(("metadata._user",), 300)),
    ),
    (
        document("loadbalance", OPENAI, sticky={"enabled": True, "hashFields": ["headers.a", "params.b"], "ttl": 9}),
        Branch("config", "loadbalance", (FIRST,), weights=(1,), sticky=Sticky(("headers.a", "params.b"), 9)),
    ),
    (
        document("loadbalance", OPENAI, sticky={"enabled": False}),
        Branch("config", "loadbalance", (FIRST,), weights=(1,)),
    ),
    (
        document("loadbalance", OPENAI, policy="least_outstanding"),
        Branch("config", "loadbalance", (FIRST,), weights=(1,), policy="least_outstanding"),
    ),
    (
        document("conditional", *NAMED, conditions=[ROW], default="free"),
        Branch("config", "conditional", (PAID, FREE), conditions=(Condition(ROW["query"], 0),), default=1),
    ),
    (
        document("conditional", *NAMED, conditions=[ROW]),
        Branch("config", "conditional", (PAID, FREE), conditions=(Condition(ROW["query"], 0),)),
    ),
    (document("hedge", OPENAI, OPENAI), Branch("config", "hedge", (FIRST, leaf("targets[1]", **OPENAI)))),
    (
        document("hedge", OPENAI, OPENAI, delay=1500),
        Branch("config", "hedge", (FIRST, leaf("targets[1]", **OPENAI)), delay=1.5),
    ),
    (
        document("fallback", OPENAI, cb_config={"failure_threshold": 5}),
        Branch("config", "fallback", (FIRST,), breaker=BreakerRules(failure_threshold=5)),
    ),
    (
        document("fallback", OPENAI, cbConfig={
            "failure_threshold_percentage": 50, "cooldown_interval": 60_000, "failure_status_codes": [429],
            "minimum_requests": 9,
        }),
        Branch("config", "fallback", (FIRST,), breaker=BreakerRules(None, 50, 60.0, frozenset({429}), 9)),
    ),
    (
        document("fallback", OPENAI, cb_config={"failure_threshold": 1, "cooldown_interval": 29_999}),
        Branch("config", "fallback", (FIRST,), breaker=BreakerRules(1, cooldown=30.0)),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "expected"), DOCUMENTED)
def test_a_strategy_becomes_a_branch(wanted: dict[str, Any], expected: Branch) -> None:
    assert parse(wanted) == expected


def test_targets_nest_and_each_knows_its_path_as_portkey_reports_it() -> None:
    inner = document("fallback", {"provider": "groq"}, OPENAI, above={"weight": 3, "name": "inner"})
    tree = parse(document("loadbalance", OPENAI, inner))
    assert isinstance(tree, Branch)
    assert [each.path for each in leaves(tree)] == [
        "config.targets[0]", "config.targets[1].targets[0]", "config.targets[1].targets[1]",
    ]  # fmt: skip
    assert (tree.weights, tree.targets[1].path, tree.targets[1].name) == ((1, 3), "config.targets[1]", "inner")


def test_nesting_and_the_number_of_targets_have_a_limit() -> None:
    deep: dict[str, Any] = OPENAI
    for _ in range(MAX_DEPTH):
        deep = document("fallback", deep)
    parse(deep)
    _, mistakes = examine(document("fallback", deep))
    assert mistakes == ((".".join(["targets[0]"] * MAX_DEPTH + ["targets"]), "are more than 8 strategies deep"),)
    parse(document("fallback", *[OPENAI] * MAX_TARGETS))
    _, mistakes = examine(document("fallback", document("fallback", *[OPENAI] * MAX_TARGETS)))
    assert mistakes == (("targets[0].targets", "are more than 64 targets"),)


# Inheritance


INHERITED: list[tuple[str, dict[str, Any], dict[str, Any], Any]] = [
    ("request_timeout", {"request_timeout": 500}, {}, 500),
    ("request_timeout", {"request_timeout": 500}, {"request_timeout": 20}, 20),
    ("request_timeout", {"request_timeout": 500}, {"request_timeout": 0}, 0),
    ("custom_host", {"custom_host": "https://a.example"}, {}, "https://a.example"),
    ("custom_host", {"custom_host": "https://a.example"}, {"customHost": "https://b.example"}, "https://b.example"),
    ("forward_headers", {"forward_headers": ["x-a"]}, {}, ("x-a",)),
    ("forward_headers", {"forward_headers": ["x-a"]}, {"forward_headers": ["x-b"]}, ("x-b",)),
    ("forward_headers", {"forward_headers": ["x-a"]}, {"forward_headers": []}, ()),
    ("retry", {"retry": {"attempts": 3, "on_status_codes": [500]}}, {}, Retry(3, frozenset({500}))),
    ("retry", {"retry": {"attempts": 3, "on_status_codes": [500]}}, {"retry": {"attempts": 1}}, Retry(1)),
    ("retry", {"retry": {"attempts": 3}}, {"retry": {}}, Retry()),
    ("retry", {"retry": {"after_commit": False}}, {"retry": {"attempts": 2}}, Retry(2, after_commit=False)),
    ("retry", {"retry": {"after_commit": False}}, {"retry": {"after_commit": True}}, Retry()),
    ("override_params", {"override_params": {"a": 1, "b": 1}}, {}, {"a": 1, "b": 1}),
    ("override_params", {"override_params": {"a": 1, "b": 1}}, {"override_params": {"b": 2, "c": None}},
     {"a": 1, "b": 2, "c": None}),
    ("provider", {"name": "top", "weight": 7, "cache": {}}, {"provider": "groq"}, "groq"),
    ("name", {"name": "top"}, {}, None),
]  # fmt: skip


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize(("field", "above", "own", "expected"), INHERITED)
def test_a_target_has_what_stands_above_it_unless_it_says_otherwise(
    field: str, above: dict[str, Any], own: dict[str, Any], expected: Any, levels: int
) -> None:
    inner = own
    for _ in range(levels - 1):
        inner = document("fallback", inner)
    (target,) = leaves(parse(document("fallback", inner, above=above)))
    assert getattr(target, field) == expected


LEVELS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "request_timeout": st.integers(0, 9),
            "custom_host": st.sampled_from(["https://a.example", "https://b.example"]),
            "forward_headers": st.lists(st.sampled_from(["x-a", "x-b"]), max_size=2),
            "override_params": st.dictionaries(st.sampled_from("abc"), st.none() | st.integers(0, 9)),
            "retry": st.fixed_dictionaries({"attempts": st.integers(0, 5), "after_commit": st.booleans()}),
        },
    ),
    min_size=1,
    max_size=MAX_DEPTH + 1,
)


@given(LEVELS)
def test_a_target_is_the_same_with_everything_inherited_as_with_everything_said(levels: list[dict[str, Any]]) -> None:
    said: dict[str, Any] = {}
    for level in levels:
        params = {**said.get("override_params", {}), **level.get("override_params", {})}
        said = {**said, **level} | ({"override_params": params} if params else {})
    nested, flat = levels[-1], said
    for level in reversed(levels[:-1]):
        nested, flat = document("fallback", nested, above=level), document("fallback", flat)
    assert parse(nested) == parse(flat)


def test_the_nearest_rules_for_a_breaker_hold_below() -> None:
    tree = parse(
        document(
            "fallback",
            document("loadbalance", OPENAI),
            document("single", OPENAI, cb_config={"failure_threshold": 9}),
            cb_config={"failure_threshold": 5},
        )
    )
    assert isinstance(tree, Branch)
    assert [each.breaker for each in tree.targets if isinstance(each, Branch)] == [BreakerRules(5), BreakerRules(9)]


# Mistakes

EXAMPLE = '[{"query": {"metadata.plan": "paid"}, "then": "name of a target"}], not empty'
BESIDE = "has no effect beside 'targets', which do not inherit it: give it in each of them"
STATUSES = "must be a list of HTTP statuses such as [429, 503]"
MODES = "single, fallback, loadbalance, conditional, hedge"


MISTAKES: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    # what has no effect, or no end, in Portkey
    (document("fallback"),
     [("targets", "must be a list of targets, not empty: a request would have nowhere to go")]),
    ({"strategy": {"mode": "fallback"}, "targets": OPENAI},
     [("targets", "must be a list of targets, not empty: a request would have nowhere to go")]),
    ({"strategy": {"mode": "single"}, **OPENAI},
     [("strategy", "has no effect without 'targets': list the upstreams there")]),
    ({"targets": [OPENAI]}, [("targets", 'have no effect without a strategy such as {"mode": "fallback"}')]),
    (document("loadbalance", {**OPENAI, "weight": 0}, {**OPENAI, "weight": 0.0}),
     [("targets", "have no weight above 0: none would ever be chosen")]),
    (document("loadbalance", {**OPENAI, "weight": -1}, {**OPENAI, "weight": False}),
     [("targets[0].weight", "must be a number from 0 to 1000000"),
      ("targets[1].weight", "must be a number from 0 to 1000000")]),
    (document("fallback", OPENAI, above={"on_status_codes": [429]}),
     [("on_status_codes", "has no effect outside 'strategy' or 'retry': move it there")]),
    (document("loadbalance", OPENAI, on_status_codes=[429]),
     [("strategy.on_status_codes", "has no effect with mode 'loadbalance': only fallback reads it")]),
    (document("fallback", OPENAI, sticky={}, delay=1),
     [("strategy.sticky", "has no effect with mode 'fallback': only loadbalance reads it"),
      ("strategy.delay", "has no effect with mode 'fallback': only hedge reads it")]),
    (document("fallback", OPENAI, above={"apiKey": "sk-1", "provider": "openai"}),
     [("apiKey", BESIDE), ("provider", BESIDE)]),
    # the strategy
    ({"strategy": "fallback", "targets": [OPENAI]}, [("strategy", 'must be an object such as {"mode": "fallback"}')]),
    ({"strategy": {}, "targets": [OPENAI]}, [("strategy", f"needs a mode: {MODES}")]),
    (document("fall-back", OPENAI), [("strategy.mode", f"must be one of {MODES}; did you mean 'fallback'?")]),
    (document("random", OPENAI), [("strategy.mode", f"must be one of {MODES}")]),
    ({"strategy": {"mode": []}, "targets": [OPENAI]}, [("strategy.mode", f"must be one of {MODES}")]),
    (document("fallback", OPENAI, on_statuscodes=[1]),
     [("strategy.on_statuscodes", "unknown key; did you mean 'on_status_codes'?")]),
    (document("fallback", OPENAI, on_status_codes=[1]), [("strategy.on_status_codes", STATUSES)]),
    (document("fallback", OPENAI, on_status_codes="5xx"), [("strategy.on_status_codes", STATUSES)]),
    # the targets
    (document("fallback", OPENAI, {"provider": "openai", "override_param": {}}),
     [("targets[1].override_param", "unknown key; did you mean 'override_params'?")]),
    ({"strategy": {"mode": "fallback"}, "targets": ["openai", None]},
     [("targets[0]", "must be a JSON object"), ("targets[1]", "must be a JSON object")]),
    (document("fallback", document("fallback", {"retry": {"attempts": 6}})),
     [("targets[0].targets[0].retry.attempts", "must be a whole number from 0 to 5")]),
    # loadbalance
    (document("loadbalance", OPENAI, policy="random"),
     [("strategy.policy", "must be one of weight, least_outstanding")]),
    (document("loadbalance", OPENAI, policy=[]), [("strategy.policy", "must be one of weight, least_outstanding")]),
    (document("loadbalance", OPENAI, sticky=True),
     [("strategy.sticky", 'must be an object such as {"enabled": true, "hash_fields": ["metadata._user"]}')]),
    (document("loadbalance", OPENAI, sticky={"hash_fields": ["metadata.a"]}),
     [("strategy.sticky", "needs enabled: true or false")]),
    (document("loadbalance", OPENAI, sticky={"enabled": True}),
     [("strategy.sticky.hash_fields", "must be a list of 1 to 8 names such as metadata._user")]),
    (document("loadbalance", OPENAI, sticky={"enabled": 1, "hash_fields": ["url.pathname"], "ttl": 0}),
     [("strategy.sticky.enabled", "must be true or false"),
      ("strategy.sticky.ttl", "must be a number of seconds above 0"),
      ("strategy.sticky.hash_fields", "must hold metadata.NAME, params.NAME or headers.NAME")]),
    (document("loadbalance", OPENAI, sticky={"enabled": False, "hash_fields": ["user"]}),
     [("strategy.sticky.hash_fields", "must hold metadata.NAME, params.NAME or headers.NAME")]),
    (document("loadbalance", OPENAI, policy="least_outstanding", sticky={"enabled": True, "hash_fields": ["params.a"]}),
     [("strategy.sticky", "contradicts policy 'least_outstanding': keep one of the two")]),
    # conditional
    (document("conditional", *NAMED),
     [("strategy", "needs conditions: without any, no target is chosen by what a request says")]),
    (document("conditional", *NAMED, conditions=[]), [("strategy.conditions", f"must be a list such as {EXAMPLE}")]),
    (document("conditional", *NAMED, conditions=ROW), [("strategy.conditions", f"must be a list such as {EXAMPLE}")]),
    (document("conditional", *NAMED, conditions=["paid"]),
     [("strategy.conditions[0]", 'must be an object such as {"query": {…}, "then": "name of a target"}')]),
    (document("conditional", *NAMED, conditions=[{**ROW, "then": "pain"}], default="fre"),
     [("strategy.default", "no target is named fre; did you mean 'free'?"),
      ("strategy.conditions[0].then", "no target is named pain; did you mean 'paid'?")]),
    (document("conditional", OPENAI, conditions=[{**ROW, "then": "targets[0]"}]),
     [("strategy.conditions[0].then", "no target is named 'targets[0]'")]),
    (document("conditional", *NAMED, conditions=[{**ROW, "then": 0}, {}]),
     [("strategy.conditions[0].then", "must be the name of a target"),
      ("strategy.conditions[1].query", 'must be an object such as {"metadata.plan": "paid"}'),
      ("strategy.conditions[1].then", "must be the name of a target")]),
    (document("conditional", *NAMED, conditions=[{**ROW, "else": "free"}]),
     [("strategy.conditions[0].else", "unknown key")]),
    (document("conditional", *NAMED, NAMED[0], conditions=[ROW]),
     [("targets[2].name", "is the name of targets[0] already")]),
    (document("conditional", *NAMED, conditions=[
        {**ROW, "query": {"metadata.plan": {"$exists": 1, "$lt ": 1}, "user": 1}},
     ]),
     [("strategy.conditions[0].query.metadata.plan.$exists",
       "unknown operator; known are $eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $regex"),
      ("strategy.conditions[0].query.metadata.plan.'$lt '", "unknown operator; did you mean '$lt'?"),
      ("strategy.conditions[0].query.user", "must be metadata.NAME, params.NAME, headers.NAME or url.pathname")]),
    # hedge
    (document("hedge", OPENAI), [("targets", "of a hedge must be 2 to 4: each gets a copy of the upload")]),
    (document("hedge", *[OPENAI] * (MAX_HEDGED + 1)),
     [("targets", "of a hedge must be 2 to 4: each gets a copy of the upload")]),
    (document("hedge", OPENAI, document("fallback", OPENAI)),
     [("targets[1].targets", "cannot stand in a hedge: it sends to single targets")]),
    (document("hedge", OPENAI, OPENAI, delay="1s"), [("strategy.delay", "must be a number of milliseconds")]),
    # the circuit breaker
    (document("fallback", OPENAI, cb_config=5),
     [("strategy.cb_config", 'must be an object such as {"failure_threshold": 5}')]),
    (document("fallback", OPENAI, cb_config={"cooldown_interval": 1}),
     [("strategy.cb_config", "never opens: give failure_threshold or failure_threshold_percentage")]),
    (document("fallback", OPENAI, cb_config={
        "failure_threshold": 0, "failure_threshold_percentage": 101, "minimum_requests": 1.5,
        "failure_status_codes": [0], "cooldown_interval": -1, "half_open": 1,
     }),
     [("strategy.cb_config.half_open", "unknown key"),
      ("strategy.cb_config.failure_threshold", "must be a whole number, 1 or more"),
      ("strategy.cb_config.failure_threshold_percentage", "must be a number above 0, up to 100"),
      ("strategy.cb_config.minimum_requests", "must be a whole number, 1 or more"),
      ("strategy.cb_config.failure_status_codes", STATUSES),
      ("strategy.cb_config.cooldown_interval", "must be a number of milliseconds")]),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "mistakes"), MISTAKES)
def test_every_mistake_is_named_with_its_path_and_reason(
    wrong: dict[str, Any], mistakes: list[tuple[str, str]]
) -> None:
    assert list(examine(wrong)[1]) == mistakes


def test_the_conditions_of_a_document_have_a_limit_together() -> None:
    def asked(comparisons: int, patterns: int) -> dict[str, Any]:
        rows = [{**ROW, "query": {"$or": [{"metadata.plan": {"$ne": "a"}}] * comparisons}}] if comparisons else []
        row = {**ROW, "query": {"params.model": {"$regex": "a"}, "metadata.plan": "a"}}
        return document("conditional", *NAMED, conditions=rows + [row] * patterns)

    assert examine(asked(247, 1))[1] == ()
    assert examine(document("fallback", asked(124, 0), asked(123, 1)))[1] == ()
    tail = "comparisons, more than 256: $in takes a list, and a pattern counts for 8"
    for given_too_much, count in (
        (asked(257, 0), 257),
        (asked(0, 29), 261),
        (document("fallback", asked(124, 0), asked(124, 1)), 257),
    ):
        assert examine(given_too_much)[1] == (("config", f"its conditions make {count} {tail}"),)


def test_names_may_repeat_where_nothing_is_chosen_by_them() -> None:
    assert examine(document("fallback", NAMED[0], NAMED[0]))[1] == ()


def test_every_config_that_the_page_shows_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "routing.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(shown) >= 3
    for text in shown:
        assert isinstance(parse_text(text), Branch)
