"""Config documents in Portkey's format: every key, every spelling, every mistake with its path."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import GatewayError
from proxy.routing.document import MAX_ATTEMPTS, Leaf, examine, parse, parse_text

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
        ({"retry": {"attempts": 3}}, Leaf(attempts=3)),
        ({"retry": {"attempts": 5, "on_status_codes": [429], "use_retry_after_header": True}}, Leaf(attempts=5)),
        ({"retry": {"attempts": 1, "useRetryAfterHeaders": True, "onStatusCodes": []}}, Leaf(attempts=1)),
        ({"retry": {}}, Leaf()),
        ({"retry": None, "provider": None, "override_params": None}, Leaf()),
        ({"provider": "@openai-prod"}, Leaf(virtual_key="openai-prod")),
        ({"provider": "@openai-prod/whisper-1"}, Leaf(virtual_key="openai-prod")),
        ({"provider": "azure-openai", "azure_auth_mode": "entra"}, Leaf(provider="azure-openai")),
        ({"azureAuthMode": None}, Leaf()),
        ({"name": "a", "id": 1, "weight": 0.5, "cache": {}, "strict_open_ai_compliance": False}, Leaf()),
        ({"strictOpenAiCompliance": True, "azure_model_name": "x"}, Leaf()),
    ],
)  # fmt: skip
def test_a_document_becomes_a_leaf(document: dict[str, Any], leaf: Leaf) -> None:
    assert parse(document) == leaf


LATER = "several targets are not supported yet: give the one target's keys at the top of the config"


@pytest.mark.parametrize(
    ("document", "mistakes"),
    [
        ([], [("config", "must be a JSON object")]),
        ("openai", [("config", "must be a JSON object")]),
        (None, [("config", "must be a JSON object")]),
        ({"strategy": {"mode": "fallback"}, "targets": []}, [("strategy", LATER), ("targets", LATER)]),
        ({"on_status_codes": [1]}, [("on_status_codes", "has no effect outside 'strategy' or 'retry': remove it")]),
        (
            {"options": []},
            [("options", "this old form of config is not supported: use provider, virtual_key or targets")],
        ),
        ({"provder": "openai"}, [("provder", "unknown key; did you mean 'provider'?")]),
        ({"virtualkey": "v"}, [("virtualkey", "unknown key; did you mean 'virtual_key'?")]),
        ({"request_timeouts": 1}, [("request_timeouts", "unknown key; did you mean 'request_timeout'?")]),
        ({"attempts": 3}, [("attempts", "unknown key")]),
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
        (
            {"retry": {"tries": 1}},
            [("retry.tries", "unknown key; known are attempts, on_status_codes, use_retry_after_header")],
        ),
        (
            {"azure_auth_mode": "managed"},
            [("azure_auth_mode", "only 'entra' is supported: give tenant, client id and client secret")],
        ),
        (
            {"provider": 1, "modell": "x", "retry": {"attempts": 9}, "targets": [{}]},
            [
                ("provider", "must be text"),
                ("modell", "unknown key"),
                ("retry.attempts", "must be a whole number from 0 to 5"),
                ("targets", LATER),
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
    assert parse_text(text) == Leaf(provider="groq", attempts=2)


def test_secrets_are_not_shown() -> None:
    secrets = {key: f"hidden-{key}" for key in ("api_key", "azure_ad_token", "azure_entra_client_secret")}
    assert "hidden" not in repr(parse(secrets))


KEYS = st.sampled_from([*TEXTS, "retry", "request_timeout", "forward_headers", "override_params", "targets", "name"])
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(st.characters()), inner, max_size=6),
    max_leaves=12,
)


@given(JSON | st.dictionaries(KEYS, JSON, max_size=8))
def test_any_json_is_a_leaf_or_an_answer_that_can_be_sent(document: Any) -> None:
    try:
        assert isinstance(parse_text(json.dumps(document)), Leaf)
    except GatewayError as refused:
        assert refused.code == "invalid_config"  # noqa: PT017  (one of two right ends)
        assert "\n" not in refused.message  # noqa: PT017
        orjson.dumps(refused.body())


@given(st.text(st.characters()))
def test_any_text_is_a_leaf_or_an_answer_that_can_be_sent(text: str) -> None:
    try:
        assert isinstance(parse_text("{" + text), Leaf)
    except GatewayError as refused:
        orjson.dumps(refused.body())
