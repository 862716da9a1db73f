"""Config documents of one target: every key, every spelling, every mistake with its path."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import GatewayError
from proxy.routing.checks import MAX_ATTEMPTS
from proxy.routing.document import examine, parse, parse_text
from proxy.routing.spelling import MAX_SHOWN
from proxy.routing.tree import RETRIED, Branch, Leaf, Retry, leaves

TEXTS = {
    "provider": "provider",
    "virtual_key": "virtual_key",
    "virtualKey": "virtual_key",
    "api_key": "api_key",
    "apiKey": "api_key",
    "custom_host": "custom_host",
    "customHost": "custom_host",
    "resource_name": "resource_name",
    "resourceName": "resource_name",
    "azure_resource_name": "resource_name",
    "azureResourceName": "resource_name",
    "deployment_id": "deployment_id",
    "deploymentId": "deployment_id",
    "azure_deployment_id": "deployment_id",
    "azureDeploymentId": "deployment_id",
    "azure_deployment_name": "deployment_id",
    "azureDeploymentName": "deployment_id",
    "api_version": "api_version",
    "apiVersion": "api_version",
    "azure_api_version": "api_version",
    "azureApiVersion": "api_version",
    "azure_ad_token": "azure_ad_token",
    "azureAdToken": "azure_ad_token",
    "azure_entra_tenant_id": "azure_entra_tenant_id",
    "azureEntraTenantId": "azure_entra_tenant_id",
    "azure_entra_client_id": "azure_entra_client_id",
    "azureEntraClientId": "azure_entra_client_id",
    "azure_entra_client_secret": "azure_entra_client_secret",
    "azureEntraClientSecret": "azure_entra_client_secret",
    "azure_entra_scope": "azure_entra_scope",
    "azureEntraScope": "azure_entra_scope",
    "azure_foundry_url": "azure_foundry_url",
    "azureFoundryUrl": "azure_foundry_url",
    "openai_organization": "openai_organization",
    "openaiOrganization": "openai_organization",
    "openai_project": "openai_project",
    "openaiProject": "openai_project",
    "openai_beta": "openai_beta",
    "openaiBeta": "openai_beta",
}


@pytest.mark.parametrize(("key", "name"), TEXTS.items())
def test_a_text_is_read_in_every_spelling(key: str, name: str) -> None:
    read: dict[str, Any] = {name: "value"}
    assert parse({key: "value"}) == Leaf(**read)


@pytest.mark.parametrize(
    ("document", "leaf"),
    [
        ({}, Leaf()),
        ({"request_timeout": 1500}, Leaf(request_timeout=1500)),
        ({"requestTimeout": 0.5}, Leaf(request_timeout=0.5)),
        ({"forward_headers": ["X-A", "x-b"]}, Leaf(forward_headers=("X-A", "x-b"))),
        ({"forwardHeaders": []}, Leaf()),
        ({"override_params": {"model": "m", "snake_case": 1}}, Leaf(override_params={"model": "m", "snake_case": 1})),
        ({"overrideParams": {"camelCase": 1}}, Leaf(override_params={"camelCase": 1})),
        ({"retry": {"attempts": 3}}, Leaf(retry=Retry(3, RETRIED))),
        (
            {"retry": {"attempts": 5, "on_status_codes": [429], "use_retry_after_header": True}},
            Leaf(retry=Retry(5, frozenset({429}), use_retry_after=True)),
        ),
        (
            {"retry": {"attempts": 1, "useRetryAfterHeaders": True, "onStatusCodes": []}},
            Leaf(retry=Retry(1, frozenset(), use_retry_after=True)),
        ),
        ({"retry": {"use_retry_after_headers": False}}, Leaf()),
        ({"retry": {"after_commit": False}}, Leaf(retry=Retry(after_commit=False))),
        ({"retry": {}}, Leaf()),
        ({"retry": {"attempts": None}}, Leaf()),
        ({"retry": None, "provider": None, "override_params": None}, Leaf()),
        ({"provider": "@openai-prod"}, Leaf(virtual_key="openai-prod")),
        ({"provider": "@openai-prod/whisper-1"}, Leaf(virtual_key="openai-prod")),
        ({"provider": "azure-openai", "azure_auth_mode": "entra"}, Leaf(provider="azure-openai")),
        ({"azureAuthMode": None}, Leaf()),
        ({"provider": "@vk", "virtual_key": "vk"}, Leaf(virtual_key="vk")),
        ({"name": "é, a name"}, Leaf(name="é, a name")),
        ({"id": 1, "weight": 0.5, "cache": {}, "strict_open_ai_compliance": False}, Leaf()),
        ({"strategy": None, "targets": None, "onStatusCodes": None}, Leaf()),
        ({"strictOpenAiCompliance": True, "azure_model_name": "x"}, Leaf()),
    ],
)  # fmt: skip
def test_a_document_becomes_a_leaf(document: dict[str, Any], leaf: Leaf) -> None:
    assert parse(document) == leaf


STATUSES = "must be a list of HTTP statuses such as [429, 503]"
NO_EFFECT = "has no effect here: it belongs in 'strategy'"


@pytest.mark.parametrize(
    ("document", "mistakes"),
    [
        ([], [("config", "must be a JSON object")]),
        ("openai", [("config", "must be a JSON object")]),
        (None, [("config", "must be a JSON object")]),
        (
            {"on_status_codes": [429]},
            [("on_status_codes", "has no effect outside 'strategy' or 'retry': move it there")],
        ),
        ({"cb_config": {}, "mode": "single"}, [("cb_config", NO_EFFECT), ("mode", NO_EFFECT)]),
        ({"dropParams": ["a"]}, [("dropParams", "not supported: null in override_params drops a field")]),
        (
            {"passthrough": True},
            [("passthrough", "not supported: a target without a provider takes it from the request")],
        ),
        (
            {"options": []},
            [("options", "this old form of config is not supported: use provider, virtual_key or targets")],
        ),
        ({"provder": "openai"}, [("provder", "unknown key; did you mean 'provider'?")]),
        ({"virtualkey": "v"}, [("virtualkey", "unknown key; did you mean 'virtual_key'?")]),
        ({"request_timeouts": 1}, [("request_timeouts", "unknown key; did you mean 'request_timeout'?")]),
        ({"attempts": 3}, [("attempts", "unknown key")]),
        ({"api_key": "a", "apiKey": "b"}, [("apiKey", "is given twice: also as 'api_key'")]),
        (
            {"azure_resource_name": None, "resource_name": "r"},
            [("resource_name", "is given twice: also as 'azure_resource_name'")],
        ),
        (
            {"provider": "@one", "virtual_key": "two"},
            [("virtual_key", "names another virtual key than provider one")],
        ),
        ({"name": 1}, [("name", "must be text on one line, at most 64 characters")]),
        ({"name": "a\nb"}, [("name", "must be text on one line, at most 64 characters")]),
        ({"name": "n" * 65}, [("name", "must be text on one line, at most 64 characters")]),
        ({"weight": -1}, [("weight", "must be a number from 0 to 1000000")]),
        ({"weight": "1"}, [("weight", "must be a number from 0 to 1000000")]),
        ({"weight": True}, [("weight", "must be a number from 0 to 1000000")]),
        ({"weight": 1_000_001}, [("weight", "must be a number from 0 to 1000000")]),
        ({"input_guardrails": []}, [("input_guardrails", "unknown key")]),
        ({"xyz": 1}, [("xyz", "unknown key")]),
        ({"": 1}, [("''", "unknown key")]),
        ({"a b\n": 1}, [("'a b\\n'", "unknown key")]),
        ({"\ud800": 1}, [("'\\ud800'", "unknown key")]),
        ({"q" * 200: 1}, [(repr("q" * 64), "unknown key")]),
        ({"provider": 1}, [("provider", "must be text")]),
        ({"provider": " "}, [("provider", "must be text")]),
        ({"apiKey": ""}, [("apiKey", "must be text")]),
        ({"api_key": "sk-é"}, [("api_key", "must be printable ASCII")]),
        ({"api_key": "sk\r\nX: y"}, [("api_key", "must be printable ASCII")]),
        ({"openai_project": "\x7f"}, [("openai_project", "must be printable ASCII")]),
        ({"request_timeout": "500"}, [("request_timeout", "must be a number of milliseconds")]),
        ({"request_timeout": -1}, [("request_timeout", "must be a number of milliseconds")]),
        ({"request_timeout": True}, [("request_timeout", "must be a number of milliseconds")]),
        ({"request_timeout": float("nan")}, [("request_timeout", "must be a number of milliseconds")]),
        ({"request_timeout": float("inf")}, [("request_timeout", "must be a number of milliseconds")]),
        ({"request_timeout": 10**400}, [("request_timeout", "must be a number of milliseconds")]),
        ({"forward_headers": "x-a"}, [("forward_headers", "must be a list of header names")]),
        ({"forward_headers": ["x a"]}, [("forward_headers", "must be a list of header names")]),
        ({"forward_headers": [1]}, [("forward_headers", "must be a list of header names")]),
        (
            {"forward_headers": ["X-Portkey-Forward-Headers"]},
            [("forward_headers", "must not contain x-portkey-forward-headers")],
        ),
        ({"override_params": []}, [("override_params", "must be an object")]),
        ({"override_params": {"file": "x"}}, [("override_params", "cannot replace the file")]),
        ({"retry": 3}, [("retry", 'must be an object such as {"attempts": 3}')]),
        ({"retry": {"attempts": 6}}, [("retry.attempts", "must be a whole number from 0 to 5")]),
        ({"retry": {"attempts": -1}}, [("retry.attempts", "must be a whole number from 0 to 5")]),
        ({"retry": {"attempts": True}}, [("retry.attempts", "must be a whole number from 0 to 5")]),
        ({"retry": {"attempts": 1.5}}, [("retry.attempts", "must be a whole number from 0 to 5")]),
        ({"retry": {"tries": 1}}, [("retry.tries", "unknown key")]),
        ({"retry": {"attempt": 1}}, [("retry.attempt", "unknown key; did you mean 'attempts'?")]),
        ({"retry": {"on_status_codes": 429}}, [("retry.on_status_codes", STATUSES)]),
        ({"retry": {"on_status_codes": ["429"]}}, [("retry.on_status_codes", STATUSES)]),
        ({"retry": {"onStatusCodes": [99]}}, [("retry.onStatusCodes", STATUSES)]),
        ({"retry": {"on_status_codes": [True]}}, [("retry.on_status_codes", STATUSES)]),
        ({"retry": {"use_retry_after_header": 1}}, [("retry.use_retry_after_header", "must be true or false")]),
        ({"retry": {"after_commit": "no"}}, [("retry.after_commit", "must be true or false")]),
        (
            {"retry": {"use_retry_after_header": True, "use_retry_after_headers": False}},
            [("retry.use_retry_after_headers", "is given twice: also as 'use_retry_after_header'")],
        ),
        (
            {"azure_auth_mode": "managed"},
            [("azure_auth_mode", "only 'entra' is supported: give tenant, client id and client secret")],
        ),
        (
            {"provider": 1, "modell": "x", "retry": {"attempts": 9}, "strategy": {"mode": "single"}},
            [
                ("modell", "unknown key"),
                ("provider", "must be text"),
                ("retry.attempts", "must be a whole number from 0 to 5"),
                ("strategy", "has no effect without 'targets': list the upstreams there"),
            ],
        ),
    ],
)
def test_every_mistake_is_named_with_its_path(document: Any, mistakes: list[tuple[str, str]]) -> None:
    assert list(examine(document)[1]) == mistakes
    with pytest.raises(GatewayError) as refused:
        parse(document)
    assert refused.value.code == "invalid_config"
    assert refused.value.param == "x-portkey-config"
    assert refused.value.message == f"Invalid config: {'; '.join(': '.join(each) for each in mistakes)}."


def test_an_answer_shows_so_many_mistakes_and_counts_the_rest() -> None:
    with pytest.raises(GatewayError, match=r"; and 5 more\.$") as refused:
        parse({f"modell{number}": 1 for number in range(MAX_SHOWN + 5)})
    assert refused.value.message.count("unknown key") == MAX_SHOWN


def test_thousands_of_wrong_words_are_told_without_looking_for_each() -> None:
    _, mistakes = examine({f"provide{number}": 1 for number in range(5000)})
    assert [what for _, what in mistakes].count("unknown key; did you mean 'provider'?") == MAX_SHOWN


def test_at_most_as_many_attempts_as_portkey_documents() -> None:
    assert MAX_ATTEMPTS == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pc-slug", "neither JSON nor the slug"),
        ("{", "neither JSON nor the slug"),
        ("", "neither JSON nor the slug"),
        ("[1]", "must be a JSON object"),
        ('{"provider": "openai"}}', "neither JSON nor the slug"),
        ("[" * 60_000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "neither JSON nor the slug"),
        ('{"provider": "' + "o" * 70_000 + '"}', "longer than 65536 characters"),
    ],
)
def test_a_text_that_is_no_config_is_refused_in_a_sentence(text: str, message: str) -> None:
    with pytest.raises(GatewayError, match=message) as refused:
        parse_text(text)
    assert refused.value.code == "invalid_config"
    assert len(refused.value.message) < 200


def test_a_text_is_parsed_once() -> None:
    text = '{"provider": "groq", "retry": {"attempts": 2}}'
    assert parse_text(text) is parse_text(text)
    assert parse_text(text) == Leaf(provider="groq", retry=Retry(2))


def test_secrets_are_not_shown() -> None:
    secrets = {key: f"hidden-{key}" for key in ("api_key", "azure_ad_token", "azure_entra_client_secret")}
    assert "hidden" not in repr(parse(secrets))


KEYS = st.sampled_from(
    [
        *TEXTS, "retry", "request_timeout", "forward_headers", "override_params", "targets", "strategy", "mode",
        "name", "weight", "on_status_codes", "conditions", "query", "then", "default", "sticky", "hash_fields",
        "enabled", "ttl", "cb_config", "failure_threshold", "delay", "policy", "$and", "$or", "$eq", "$in", "$regex",
        "$gt", "params.model", "metadata.a", "headers.x", "url.pathname", "attempts", "after_commit",
    ]
)  # fmt: skip
WORDS = st.sampled_from(
    ["single", "fallback", "loadbalance", "conditional", "hedge", "least_outstanding", "a", "(a", "1"]
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(st.characters()), inner, max_size=6),
    max_leaves=16,
)
STRATEGIES = st.dictionaries(KEYS, JSON, max_size=4) | st.fixed_dictionaries(
    {"mode": WORDS},
    optional={
        "on_status_codes": st.lists(st.integers(90, 610)), "conditions": st.lists(JSON, max_size=2), "default": WORDS,
        "sticky": JSON, "cb_config": JSON, "policy": WORDS, "delay": JSON,
    },
)  # fmt: skip
DOCUMENTS: st.SearchStrategy[Any] = st.recursive(
    JSON
    | st.dictionaries(KEYS, JSON, max_size=6)
    | st.fixed_dictionaries({}, optional={"name": WORDS, "weight": JSON}),
    lambda inner: st.fixed_dictionaries(
        {"strategy": STRATEGIES, "targets": st.lists(inner, max_size=4)}, optional={"name": WORDS, "retry": JSON}
    ),
    max_leaves=8,
)


@given(DOCUMENTS)
def test_any_json_is_a_tree_or_an_answer_that_can_be_sent(document: Any) -> None:
    try:
        tree = parse_text(json.dumps(document))
    except GatewayError as refused:
        assert refused.code == "invalid_config"  # noqa: PT017  (one of two right ends)
        assert "\n" not in refused.message  # noqa: PT017
        assert len(refused.message) < 10_000  # noqa: PT017
        orjson.dumps(refused.body())
    else:
        assert isinstance(tree, Leaf | Branch)
        assert list(leaves(tree))


@given(st.text(st.characters()))
def test_any_text_is_a_tree_or_an_answer_that_can_be_sent(text: str) -> None:
    try:
        assert list(leaves(parse_text("{" + text)))
    except GatewayError as refused:
        orjson.dumps(refused.body())
