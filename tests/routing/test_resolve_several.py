"""INTERFACE 4 for configs of several targets: each by its own rules, and one that is wrong refuses them all."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest

from proxy.access.callers import Caller, GatewayKey
from proxy.access.hosts import CustomHosts
from proxy.errors import GatewayError
from proxy.routing.document import parse
from proxy.routing.hints import Hints
from proxy.routing.resolve import Directory, Source, VirtualKey, by_model, choose, targets_of
from proxy.routing.target import AzureOptions, Target
from proxy.routing.tree import leaves

HOST = "https://own.example/v1"
A, B = "config.targets[0]", "config.targets[1]"
VK_A, VK_B = {"virtual_key": "vk-a"}, {"provider": "@vk-b"}
KEYED = {"provider": "groq", "api_key": "config-secret"}
BARE: dict[str, Any] = {"override_params": {"model": "own"}}

VIRTUAL_KEYS = {
    "vk-a": VirtualKey("vk-a", "openai", "a-secret"),
    "vk-b": VirtualKey("vk-b", "azure-openai", "b-secret", azure=AzureOptions(resource_name="contoso")),
}


def fallback(*targets: dict[str, Any], **above: Any) -> dict[str, Any]:
    return {"strategy": {"mode": "fallback"}, "targets": list(targets), **above}


CONFIGS: dict[str, dict[str, Any]] = {
    "vks": fallback(VK_A, VK_B),
    "mixed": fallback(KEYED, {"provider": "whisper-local"}, VK_A),
    "open-ended": fallback(VK_A, {"request_timeout": 500}),
    "secret-anywhere": fallback(VK_A, {"api_key": "config-secret"}),
    "hosted": fallback({"provider": "openai"}, VK_A, custom_host="https://settings.example/v1"),
    "one": {"provider": "deepgram"},
    "one-vk": VK_B,
}


def directory(default: str | None = None) -> Directory:
    return Directory(
        virtual_keys=MappingProxyType(VIRTUAL_KEYS),
        configs=MappingProxyType({slug: parse(document) for slug, document in CONFIGS.items()}),
        default_config=default,
        hosts=CustomHosts(frozenset({"https://own.example"})),
    )


def key(config: str | None = None, *, virtual_keys: frozenset[str] | None = None) -> Caller:
    return Caller(GatewayKey("app", b"", config, virtual_keys=virtual_keys), "caller-key", "gw-1")


CALLER = Caller(provider_key="caller-key")


def inline(*targets: dict[str, Any], **above: Any) -> str:
    return json.dumps(fallback(*targets, **above))


def resolved(
    hints: Hints, caller: Caller = CALLER, default: str | None = None, model: str | None = None
) -> list[Target]:
    house = directory(default)
    choice = choose(hints, caller, house)
    if not choice.complete:
        choice, _ = by_model(choice, model)
    found = targets_of(choice, hints, caller, house)
    assert list(found) == [leaf.path for leaf in leaves(choice.node)] == [target.path for target in found.values()]
    return list(found.values())


@pytest.mark.parametrize(
    ("hints", "expected"),
    [
        # the operator's config: its own keys, and none of the caller's
        (Hints(config="vks"), [("openai", "a-secret"), ("azure-openai", "b-secret")]),
        (Hints(config="mixed"), [("groq", "config-secret"), ("whisper-local", None), ("openai", "a-secret")]),
        # the caller's config: the caller's key goes to each target that the caller named without a key, and to no other
        (Hints(config=inline({"provider": "openai"}, VK_B, {"provider": "groq", "api_key": "inline"})),
         [("openai", "caller-key"), ("azure-openai", "b-secret"), ("groq", "inline")]),
        (Hints(config=inline(VK_A, {"virtual_key": "vk-a", "api_key": "inline"})),
         [("openai", "a-secret"), ("openai", "inline")]),
        # a target without a provider takes the next that is named, the others keep theirs
        (Hints(config="open-ended", provider="groq"), [("openai", "a-secret"), ("groq", "caller-key")]),
        (Hints(config="open-ended", virtual_key="vk-b"), [("openai", "a-secret"), ("azure-openai", "b-secret")]),
        (Hints(config=inline(BARE, {"provider": "openai"}), provider="@vk-a"),
         [("openai", "a-secret"), ("openai", "caller-key")]),
        (Hints(config=inline(BARE, BARE), provider="groq"), [("groq", "caller-key"), ("groq", "caller-key")]),
    ],
)  # fmt: skip
def test_each_target_has_the_provider_and_the_key_that_are_its_own(
    hints: Hints, expected: list[tuple[str, str | None]]
) -> None:
    assert [(target.provider, target.key) for target in resolved(hints)] == expected


@pytest.mark.parametrize(
    ("caller", "default", "model", "provider"),
    [
        (key("one"), "one-vk", None, "deepgram"),
        (key("open-ended"), "one", None, "deepgram"),
        (CALLER, "one-vk", None, "azure-openai"),
        # a config of several targets has no provider to lend
        (key("vks"), "one", None, "deepgram"),
        (CALLER, "vks", "@vk-b/whisper-1", "azure-openai"),
        (CALLER, None, "@vk-b/whisper-1", "azure-openai"),
    ],
)
def test_who_names_the_provider_of_a_target_that_names_none(
    caller: Caller, default: str | None, model: str | None, provider: str
) -> None:
    first, second = resolved(Hints(config="open-ended"), caller, default, model)
    assert (first.provider, second.provider) == ("openai", provider)
    assert second.request_timeout == 0.5


def test_a_model_behind_a_slug_is_rewritten_for_every_target_without_one_of_its_own() -> None:
    choice = choose(Hints(config=inline(VK_A, BARE, {})), CALLER, directory())
    assert not choice.complete
    done, name = by_model(choice, "@vk-b/whisper-1")
    assert (done.complete, done.source, name) == (True, Source(virtual_key="vk-b"), "whisper-1")
    models = [leaf.override_params for leaf in leaves(done.node)]
    assert models == [{"model": "whisper-1"}, {"model": "own"}, {"model": "whisper-1"}]


def test_targets_that_nobody_completes_lead_nowhere() -> None:
    for config in ("open-ended", inline(BARE, VK_A)):
        with pytest.raises(GatewayError) as refused:
            resolved(Hints(config=config), default="vks")
        assert refused.value.code == "missing_provider"
    with pytest.raises(GatewayError) as refused:
        targets_of(choose(Hints(config="open-ended"), CALLER, directory()), Hints(), CALLER, directory())
    assert refused.value.code == "missing_provider"


@pytest.mark.parametrize(
    ("hints", "caller", "code", "where"),
    [
        # a secret of the operator's and a host of the caller's, in whichever target they meet
        (Hints(config="vks", custom_host=HOST), CALLER, "not_allowed", A),
        (Hints(config="mixed", custom_host=HOST), CALLER, "not_allowed", A),
        (Hints(config=inline({"provider": "openai"}, {**VK_A, "custom_host": HOST})), CALLER, "not_allowed", B),
        (Hints(config=inline({"provider": "openai"}, VK_A, custom_host=HOST)), CALLER, "not_allowed", B),
        (Hints(config=inline({"provider": "openai"}, {**VK_B, "resource_name": "evil"})), CALLER, "not_allowed", B),
        (Hints(config=inline({"provider": "openai"}, BARE), custom_host=HOST, provider="@vk-a"), CALLER,
         "not_allowed", B),
        # a key of the settings and a provider of the caller's
        (Hints(config="secret-anywhere", provider="openai"), CALLER, "not_allowed", B),
        (Hints(config="secret-anywhere", virtual_key="vk-a"), CALLER, "not_allowed", B),
        # a virtual key that the gateway key may not use, or that is not there
        (Hints(config="vks"), key(virtual_keys=frozenset({"vk-a"})), "not_allowed", B),
        (Hints(config=inline(VK_A, VK_B)), key(virtual_keys=frozenset({"vk-b"})), "not_allowed", A),
        (Hints(config=inline({"provider": "openai"}, {"virtual_key": "lost"})), CALLER, "invalid_provider", B),
        # a host that may not be named, also one that is inherited
        (Hints(config=inline({"provider": "openai"}, {"provider": "openai", "custom_host": "https://evil.example"})),
         CALLER, "not_allowed", B),
        (Hints(config=inline({"provider": "openai"}, custom_host="nonsense")), CALLER, "invalid_custom_host", A),
        (Hints(config=inline(fallback({"provider": "openai"}, {"provider": "x", "azure_foundry_url": "http://[::1]"}))),
         CALLER, "not_allowed", f"{A}.targets[1]"),
    ],
)  # fmt: skip
def test_one_target_that_may_not_be_used_refuses_the_request_and_is_named(
    hints: Hints, caller: Caller, code: str, where: str
) -> None:
    with pytest.raises(GatewayError) as refused:
        resolved(hints, caller)
    assert refused.value.code == code
    assert refused.value.message.startswith(f"{where}: ")


def test_the_address_in_a_config_of_the_settings_is_the_operators_for_every_target_that_inherits_it() -> None:
    assert [(target.base_url, target.named_by, target.key) for target in resolved(Hints(config="hosted"))] == [
        ("https://settings.example/v1", "settings", None),
        ("https://settings.example/v1", "settings", "a-secret"),
    ]


def test_the_callers_own_address_may_have_the_callers_own_key_at_every_target() -> None:
    config = inline({"provider": "openai"}, {"provider": "groq", "api_key": "inline"})
    for hints in (Hints(config=config, custom_host=HOST), Hints(config=config[:-1] + f', "custom_host": "{HOST}"}}')):
        found = [(target.base_url, target.named_by, target.key) for target in resolved(hints)]
        assert found == [(HOST, "request", "caller-key"), (HOST, "request", "inline")]


def test_headers_beat_what_every_target_says() -> None:
    config = inline(
        {"provider": "openai", "request_timeout": 1, "forward_headers": ["x-a"]}, {"provider": "groq"},
        request_timeout=2, forward_headers=["x-b"],
    )  # fmt: skip
    said = [(target.request_timeout, target.forward_headers) for target in resolved(Hints(config=config))]
    assert said == [(0.001, ("x-a",)), (0.002, ("x-b",))]
    hints = Hints(config=config, request_timeout=3000, forward_headers=("x-c",))
    assert [(target.request_timeout, target.forward_headers) for target in resolved(hints)] == [(3, ("x-c",))] * 2


def test_a_locked_gateway_key_uses_all_targets_of_its_config_and_no_other() -> None:
    locked = Caller(GatewayKey("app", b"", "vks", allow_config=False), "caller-key", "gw-1")
    found = resolved(Hints(config=inline({"provider": "openai"})), locked)
    assert [target.key for target in found] == ["a-secret", "b-secret"]
