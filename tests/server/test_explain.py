"""``audiogate explain``: what a request would do, readable and without a network; never a key."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from multidict import CIMultiDict

from proxy.errors import GatewayError
from proxy.server.assemble import assemble
from proxy.server.explain import report
from proxy.settings import Settings
from tests.rules.pages import blocks, page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.relay.house import House

SECRETS = ("sk-of-openai", "sk-of-azure", "sk-of-config", "sk-of-caller", "sk-of-gateway", "sk-locked")
PAIR = {
    "strategy": {"mode": "fallback", "on_status_codes": [429, 503]},
    "retry": {"attempts": 1},
    "targets": [
        {
            "virtual_key": "openai-prod",
            "override_params": {"model": "whisper-1", "language": "de"},
            "request_timeout": 60_000,
        },
        {"virtual_key": "azure-weu"},
    ],
}
SETTINGS: dict[str, Any] = {
    "virtual_keys": [
        {"slug": "openai-prod", "provider": "openai", "key": "sk-of-openai"},
        {
            "slug": "azure-weu",
            "provider": "azure-openai",
            "key": "sk-of-azure",
            "resource_name": "contoso",
            "deployments": {"whisper-1": "hear"},
            "api_version": "2024-10-21",
        },
    ],
    "providers": [
        {"slug": "whisper-local", "dialect": "openai", "base_url": "http://10.0.0.7:9000/v1", "auth": "none"}
    ],
    "configs": [
        {"slug": "pair", "config": PAIR},
        {"slug": "own", "config": {"provider": "whisper-local"}},
        {"slug": "own-key", "config": {"provider": "groq", "api_key": "sk-of-config"}},
        {"slug": "nameless", "config": {"override_params": {"language": "fr"}}},
    ],
}
KEYS = {
    "mode": "keys",
    "keys": [
        {"name": "mobile", "key": "sk-of-gateway", "config": "pair", "metadata": {"team": "mobile"}},
        {"name": "desk", "key": "sk-locked", "config": "own-key", "allow_config": False},
        {"name": "poor", "key": "sk-poor", "virtual_keys": ["openai-prod"]},
    ],
}
AZURE = "https://contoso.openai.azure.com"
DEPLOYED = f"{AZURE}/openai/deployments/hear/audio/transcriptions"
GROQ = "https://api.groq.com/openai/v1/audio/transcriptions"
OPENAI = "https://api.openai.com/v1/audio/transcriptions"
OWN = "http://10.0.0.7:9000/v1/audio/transcriptions"
LOCAL = {"provider": "whisper-local"}
HEADER = {"x-portkey-provider": "openai"}


def house(**more: Any) -> House:
    built, mistakes = assemble(Settings.model_validate({**SETTINGS, **more}))
    assert not mistakes
    return built


def said(built: House, headers: Mapping[str, str], path: str = "/v1/audio/transcriptions", **fields: str) -> list[str]:
    text = report(built, CIMultiDict(headers), fields, path)
    assert not any(secret in text for secret in SECRETS)
    return text.splitlines()


def inline(config: Mapping[str, Any]) -> dict[str, str]:
    return {"x-portkey-config": json.dumps(config)}


WHOLE = f"""\
the saved config 'pair': it is default_config
config: fallback, in this order after 429, 503
  1. config.targets[0]: openai at {OPENAI}, virtual key 'openai-prod', model whisper-1, language=de (override_params)
    request timeout 60 s
    tried again once after 429, 500, 502, 503, 504 or a lost connection, waiting half to all of 1 s
    then after 429, 503 → config.targets[1]; after anything else → the client gets it
  2. config.targets[1]: azure-openai at {AZURE} (the path hangs on the form field 'model'), virtual key 'azure-weu'
    no request timeout of its own
    tried again once after 429, 500, 502, 503, 504 or a lost connection, waiting half to all of 1 s
    then after any failure → the client gets it"""


def test_a_saved_config_is_shown_whole() -> None:
    assert said(house(default_config="pair"), {}) == WHOLE.splitlines()


def documented() -> dict[str, Any]:
    """Return the README's example of settings, with its secrets at hand."""
    (text,) = [block for block in blocks(page("README.md"), "yaml") if "default-stt" in block]
    given: dict[str, Any] = yaml.safe_load(text)
    for each in [*given["auth"]["keys"], *given["virtual_keys"]]:
        each.pop("key_file", None)
        each["key"] = f"sk-of-{each.get('name', each.get('slug'))}"
    return given


def test_the_output_in_the_documentation_is_what_is_printed() -> None:
    built, mistakes = assemble(Settings.model_validate(documented()))
    assert not mistakes
    lines = said(built, {"x-portkey-config": "default-stt"}, model="whisper-1")
    (shown,) = [block for block in blocks(page("docs/routing.md"), "console") if "--field" in block]
    assert shown.splitlines()[1:] == lines
    (short,) = [block for block in blocks(page("README.md"), "console") if "audiogate explain" in block]
    *begun, more = short.splitlines()[1:]
    assert (begun, more) == (lines[: len(begun)], "…")


@dataclass(frozen=True)
class Case:
    """A request for one target: what the first line says of the choice, and the second of the target."""

    chosen: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)


CASES: dict[str, Case] = {
    "a provider": Case(
        "no config: the provider 'openai', which a header names", f"openai at {OPENAI}, the caller's key", HEADER
    ),
    "a provider and a model": Case(
        "no config: the provider 'openai', which a header names",
        f"openai at {OPENAI}, the caller's key, model m",
        HEADER,
        {"model": "m"},
    ),
    "a virtual key": Case(
        "no config: the virtual key 'openai-prod', which a header names",
        f"openai at {OPENAI}, virtual key 'openai-prod'",
        {"x-portkey-provider": "@openai-prod"},
    ),
    "a model that names a virtual key": Case(
        "no config: the virtual key 'azure-weu', which the model names",
        f"azure-openai at {DEPLOYED}, virtual key 'azure-weu', model whisper-1 (override_params)",
        {},
        {"model": "@azure-weu/whisper-1"},
    ),
    "a config of the request's": Case(
        "the config in x-portkey-config",
        f"whisper-local at {OWN}, no key needed, language dropped, temperature=0 (override_params)",
        inline({**LOCAL, "override_params": {"language": None, "temperature": 0}}),
    ),
    "a saved config with a key": Case(
        "the saved config 'own-key': x-portkey-config names it",
        f"groq at {GROQ}, the config's key",
        {"x-portkey-config": "own-key"},
    ),
    "a config without a provider, and a header": Case(
        "the saved config 'nameless': x-portkey-config names it; for targets that name no provider, "
        "the provider 'openai', which a header names",
        f"openai at {OPENAI}, the caller's key, language=fr (override_params)",
        {"x-portkey-config": "nameless", **HEADER},
    ),
    "a config without a provider, and a default": Case(
        "the config in x-portkey-config; for targets that name no provider, "
        "the provider 'whisper-local' of the config that lends it",
        f"whisper-local at {OWN}, no key needed",
        inline({"retry": {"attempts": 0}}),
        more={"default_config": "own"},
    ),
    "a gateway key with a config of its own": Case(
        "the saved config 'own-key': the gateway key 'desk' always uses it",
        f"groq at {GROQ}, the config's key",
        {"x-portkey-api-key": "sk-locked"},
        more={"auth": KEYS},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_first_line_says_who_chose_and_the_target_whose_key_goes_where(case: Case) -> None:
    assert said(house(**case.more), case.headers, **case.fields)[:2] == [case.chosen, f"config: {case.target}"]


def test_a_gateway_key_is_taken_for_granted_when_none_is_given() -> None:
    lines = said(house(auth=KEYS), {"x-portkey-config": "pair"})
    assert lines[:2] == [
        "the saved config 'pair': x-portkey-config names it",
        "no gateway key is given: as for one that may use everything",
    ]
    lines = said(house(auth=KEYS), {"Authorization": "Bearer sk-of-gateway"})
    assert lines[0] == "the saved config 'pair': the gateway key 'mobile' uses it unless told otherwise"


def test_what_the_request_says_decides_over_conditions() -> None:
    rows = [
        {"query": {"params.language": "de"}, "then": "b"},
        {"query": {"metadata.team": "mobile"}, "then": "a"},
        {"query": {"url.pathname": "/v1/audio/translations"}, "then": "b"},
    ]
    config = {
        "strategy": {"mode": "conditional", "conditions": rows, "default": "b"},
        "targets": [{"name": "a", **LOCAL}, {"name": "b", "virtual_key": "openai-prod"}],
    }
    built = house(auth=KEYS)
    headers = {**inline(config), "x-portkey-api-key": "sk-of-gateway"}

    def verdicts(path: str = "/v1/audio/transcriptions", **fields: str) -> list[str]:
        lines = said(built, headers, path, **fields)
        return [line.rpartition(": ")[2] for line in lines if line.startswith("  condition ")]

    assert verdicts() == ["hangs on the form field 'language'", "holds", "not reached"]
    assert verdicts(language="de") == ["holds", "not reached", "not reached"]
    headers = inline(config)
    assert verdicts("/v1/audio/translations?x=1", language="fr") == ["does not hold", "does not hold", "holds"]


def test_a_header_gives_every_target_its_time_and_the_settings_all_of_them() -> None:
    built = house(default_config="pair", timeouts={"total": 90})
    lines = said(built, {"x-portkey-request-timeout": "1500"})
    assert [line.strip() for line in lines if "timeout" in line] == [
        "request timeout 1.5 s",
        "request timeout 1.5 s",
        "all attempts together: 90 s (timeouts.total)",
    ]


def test_a_target_that_cannot_take_this_model_says_why() -> None:
    lines = said(house(), {"x-portkey-provider": "@azure-weu"}, model="m")
    assert lines[1].startswith("config: azure-openai at no address (400 invalid_request: No Azure deployment is set")


LOST = {"strategy": {"mode": "fallback"}, "targets": [LOCAL, {"virtual_key": "lost"}]}


@pytest.mark.parametrize(
    ("headers", "path", "code"),
    [
        ({}, "/v1/audio/transcriptions", "missing_provider"),
        ({"x-portkey-config": "lost"}, "/v1/audio/transcriptions", "unknown_config"),
        ({"x-portkey-config": "{"}, "/v1/audio/transcriptions", "invalid_config"),
        ({"x-portkey-provider": "lost"}, "/v1/audio/transcriptions", "invalid_provider"),
        ({"x-portkey-metadata": "[]", **HEADER}, "/v1/audio/transcriptions", "invalid_header"),
        ({"x-portkey-custom-host": "http://10.9.9.9/v1", **HEADER}, "/v1/audio/transcriptions", "not_allowed"),
        (HEADER, "/metrics", "unknown_route"),
        (inline(LOST), "/v1/x", "invalid_provider"),
    ],
)
def test_what_would_be_refused_is_refused(headers: dict[str, str], path: str, code: str) -> None:
    with pytest.raises(GatewayError) as refused:
        said(house(), headers, path)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-portkey-api-key": "sk-wrong"}, "invalid_api_key"),
        ({"x-portkey-api-key": "sk-poor", "x-portkey-config": "pair"}, "not_allowed"),
        ({"x-portkey-api-key": "sk-locked", **HEADER}, "not_allowed"),
    ],
)
def test_a_gateway_key_may_do_what_it_may(headers: dict[str, str], code: str) -> None:
    with pytest.raises(GatewayError) as refused:
        said(house(auth=KEYS), headers)
    assert refused.value.code == code
