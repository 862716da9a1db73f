"""INTERFACE 4 as tables: which upstream a request goes to, and whose credential may go there."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from proxy.access.callers import Caller, GatewayKey
from proxy.access.hosts import CustomHosts
from proxy.errors import GatewayError
from proxy.routing.document import parse
from proxy.routing.hints import Hints
from proxy.routing.resolve import Choice, Directory, Source, VirtualKey, by_model, choose, target_of, targets_of
from proxy.routing.target import AzureOptions, Target
from proxy.routing.tree import Leaf, Retry

LOCAL = "whisper-local"
HOST = "https://own.example/v1"

VIRTUAL_KEYS = {
    "vk": VirtualKey("vk", "openai", "vk-secret"),
    "vk-based": VirtualKey("vk-based", "openai", "vk-secret", base_url="https://settings.example/v1"),
    "vk-bare": VirtualKey("vk-bare", "whisper-local"),
    "vk-azure": VirtualKey("vk-azure", "azure-openai", "vk-secret", azure=AzureOptions(resource_name="contoso")),
}
CONFIGS: dict[str, dict[str, Any]] = {
    "groq": {"provider": "groq"},
    "deepgram": {"provider": "deepgram"},
    "vk": {"virtual_key": "vk"},
    "retry": {"retry": {"attempts": 2}},
    "keyed": {"provider": "groq", "api_key": "config-secret"},
    "key-only": {"api_key": "config-secret"},
    "vk-keyed": {"virtual_key": "vk", "api_key": "config-secret"},
    "hosted": {"provider": "openai", "custom_host": "https://settings.example/v1"},
    "azure": {"provider": "azure-openai", "resource_name": "fabrikam"},
    "azure-ad": {"provider": "azure-openai", "resource_name": "fabrikam", "azure_ad_token": "config-secret"},
    "azure-entra": {"provider": "azure-openai", "azure_entra_client_secret": "config-secret"},
}


def directory(default: str | None = None) -> Directory:
    return Directory(
        virtual_keys=MappingProxyType(VIRTUAL_KEYS),
        configs=MappingProxyType({slug: parse(document) for slug, document in CONFIGS.items()}),
        default_config=default,
        hosts=CustomHosts(frozenset({"https://own.example"})),
    )


def key(config: str | None = None, *, allow_config: bool = True, virtual_keys: frozenset[str] | None = None) -> Caller:
    return Caller(GatewayKey("app", b"", config, allow_config, virtual_keys), "caller-key", "gw-1")


CALLER = Caller(provider_key="caller-key")


def resolved(hints: Hints, caller: Caller = CALLER, default: str | None = None, model: str | None = None) -> Target:
    """Return the target as the relay finds it: by the head, else by the model."""
    house = directory(default)
    choice = choose(hints, caller, house)
    if not choice.complete:
        choice, _ = by_model(choice, model)
    (target,) = targets_of(choice, hints, caller, house).values()
    return target


# The order of precedence: each row leaves out one more, and what is left decides.
EVERYTHING: dict[str, Any] = {
    "config": '{"provider": "elevenlabs"}', "provider": "@vk", "virtual_key": "vk-azure",
    "caller": key("deepgram"), "default": "groq", "model": "@vk-bare/tiny",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "provider"),
    [
        ({}, "elevenlabs"),
        ({"config": "groq"}, "groq"),
        ({"config": None}, "openai"),
        ({"config": None, "provider": "@vk-azure/some-model"}, "azure-openai"),
        ({"config": None, "provider": None}, "azure-openai"),
        ({"config": None, "provider": "openai"}, "azure-openai"),
        ({"config": None, "provider": "openai", "virtual_key": None}, "openai"),
        ({"config": None, "provider": None, "virtual_key": None}, "deepgram"),
        ({"config": None, "provider": None, "virtual_key": None, "caller": CALLER}, "groq"),
        ({"config": None, "provider": None, "virtual_key": None, "caller": key()}, "groq"),
        ({"config": None, "provider": None, "virtual_key": None, "caller": CALLER, "default": None}, LOCAL),
        # a config whose leaf names no provider takes it from the next that is given
        ({"config": "retry"}, "openai"),
        ({"config": '{"retry": {"attempts": 1}}'}, "openai"),
        ({"config": "retry", "provider": None}, "azure-openai"),
        ({"config": "retry", "provider": "elevenlabs", "virtual_key": None}, "elevenlabs"),
        ({"config": "retry", "provider": None, "virtual_key": None}, "deepgram"),
        ({"config": "retry", "provider": None, "virtual_key": None, "caller": key("retry")}, "groq"),
        ({"config": "retry", "provider": None, "virtual_key": None, "caller": CALLER}, "groq"),
        ({"config": "retry", "provider": None, "virtual_key": None, "caller": CALLER, "default": None}, LOCAL),
        ({"config": None, "provider": None, "virtual_key": None, "caller": key("retry")}, "groq"),
        ({"config": None, "provider": None, "virtual_key": None, "caller": CALLER, "default": "retry"}, LOCAL),
        ({"config": "retry", "provider": None, "virtual_key": None, "caller": key("retry"), "default": "retry"},
         LOCAL),
    ],
)  # fmt: skip
def test_the_order_of_precedence(changes: dict[str, Any], provider: str) -> None:
    given = EVERYTHING | changes
    caller, default, model = given.pop("caller"), given.pop("default"), given.pop("model")
    assert resolved(Hints(**given), caller, default, model).provider == provider


def test_the_config_that_is_used_lends_its_other_words_whoever_names_the_provider() -> None:
    choice = choose(Hints(config="retry", provider="openai"), CALLER, directory())
    assert choice == Choice(Leaf(retry=Retry(2)), "settings", "retry", Source(provider="openai"))


@pytest.mark.parametrize("model", [None, "", "whisper-1", "@", "@vk", "@vk/", "@/whisper-1", "vk/whisper-1"])
def test_nobody_named_an_upstream(model: str | None) -> None:
    with pytest.raises(GatewayError) as refused:
        resolved(Hints(), model=model)
    assert (refused.value.code, refused.value.status) == ("missing_provider", 400)


@pytest.mark.parametrize(
    ("model", "slug", "name"),
    [("@vk/whisper-1", "vk", "whisper-1"), ("@vk/openai/whisper-1", "vk", "openai/whisper-1")],
)
def test_a_model_names_a_virtual_key_and_is_rewritten(model: str, slug: str, name: str) -> None:
    choice, found = by_model(Choice(Leaf(), "request", None, None), model)
    assert (choice.source, found) == (Source(virtual_key=slug), name)
    assert choice.node == Leaf(override_params={"model": name})


def test_a_configs_own_model_beats_the_one_behind_the_slug() -> None:
    choice, _ = by_model(Choice(Leaf(override_params={"model": "own"}), "settings", "c", None), "@vk/whisper-1")
    assert choice.node == Leaf(override_params={"model": "own"})


@pytest.mark.parametrize(
    ("hints", "code", "param"),
    [
        (Hints(config="nowhere"), "unknown_config", "x-portkey-config"),
        (Hints(config='{"provider": 1}'), "invalid_config", "x-portkey-config"),
        (Hints(config='["openai"]'), "invalid_config", "x-portkey-config"),
        (Hints(provider="@nowhere"), "invalid_provider", "virtual_key"),
        (Hints(virtual_key="nowhere"), "invalid_provider", "virtual_key"),
        (Hints(config='{"virtual_key": "nowhere"}'), "invalid_provider", "virtual_key"),
        (Hints(provider="@"), "invalid_provider", "virtual_key"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(hints: Hints, code: str, param: str) -> None:
    with pytest.raises(GatewayError) as refused:
        resolved(hints)
    assert (refused.value.code, refused.value.param) == (code, param)


REFUSED = "not_allowed"
REQUEST, SETTINGS = "request", "settings"


@pytest.mark.parametrize(
    ("hints", "used"),
    [
        # the caller names the provider: the caller's key
        (Hints(provider="openai"), "caller-key"),
        (Hints(config='{"provider": "openai"}'), "caller-key"),
        (Hints(config="retry", provider="openai"), "caller-key"),
        (Hints(provider="openai", custom_host=HOST), "caller-key"),
        (Hints(config='{"provider": "openai", "custom_host": "https://own.example/v1"}'), "caller-key"),
        # a config of the settings names it: the caller's key goes nowhere
        (Hints(config="groq"), None),
        (Hints(config="hosted"), None),
        (Hints(config="azure"), None),
        # unless the caller names the host
        (Hints(config="groq", custom_host=HOST), "caller-key"),
        (Hints(config="hosted", custom_host=HOST), "caller-key"),
        # a target's own key beats the caller's: the config's, then the virtual key's
        (Hints(config='{"provider": "openai", "api_key": "inline"}'), "inline"),
        (Hints(config='{"virtual_key": "vk", "api_key": "inline"}'), "inline"),
        (Hints(config="keyed"), "config-secret"),
        (Hints(config="vk-keyed"), "config-secret"),
        (Hints(config="vk"), "vk-secret"),
        (Hints(config='{"virtual_key": "vk"}'), "vk-secret"),
        (Hints(virtual_key="vk"), "vk-secret"),
        (Hints(provider="@vk"), "vk-secret"),
        (Hints(virtual_key="vk-based"), "vk-secret"),
        (Hints(virtual_key="vk-azure", azure_resource_name="evil"), "vk-secret"),
        (Hints(config='{"virtual_key": "vk-azure", "deployment_id": "d"}'), "vk-secret"),
        # a virtual key without a secret takes none of the caller's
        (Hints(virtual_key="vk-bare"), None),
        # the caller's own key may go to a host of the caller's
        (Hints(config='{"provider": "openai", "api_key": "inline"}', custom_host=HOST), "inline"),
        # the operator's never
        (Hints(virtual_key="vk", custom_host=HOST), REFUSED),
        (Hints(provider="@vk", custom_host=HOST), REFUSED),
        (Hints(virtual_key="vk-based", custom_host=HOST), REFUSED),
        (Hints(virtual_key="vk-bare", custom_host=HOST), REFUSED),
        (Hints(config="vk", custom_host=HOST), REFUSED),
        (Hints(config="keyed", custom_host=HOST), REFUSED),
        (Hints(config="azure-ad", custom_host=HOST), REFUSED),
        (Hints(config="azure-entra", custom_host=HOST), REFUSED),
        (Hints(config='{"virtual_key": "vk", "custom_host": "https://own.example/v1"}'), REFUSED),
        (Hints(config='{"virtual_key": "vk-azure", "resource_name": "evil"}'), REFUSED),
        (Hints(config='{"virtual_key": "vk-azure", "azure_foundry_url": "https://own.example"}'), REFUSED),
        (Hints(config='{"virtual_key": "vk-azure", "azure_entra_tenant_id": "evil"}'), REFUSED),
        # nor to a provider of the caller's
        (Hints(config="key-only", provider="openai"), REFUSED),
        (Hints(config="key-only", virtual_key="vk"), REFUSED),
        (Hints(config="key-only", provider="@vk"), REFUSED),
    ],
)
def test_whose_key_goes_where(hints: Hints, used: str | None) -> None:
    if used is REFUSED:
        with pytest.raises(GatewayError) as refused:
            resolved(hints)
        assert (refused.value.code, refused.value.status) == (REFUSED, 403)
    else:
        assert resolved(hints).key == used


@pytest.mark.parametrize("config", ["key-only", "retry"])
def test_a_config_without_a_provider_takes_its_key_to_the_default_configs(config: str) -> None:
    target = resolved(Hints(), key(config), default="groq")
    assert (target.provider, target.key) == ("groq", "config-secret" if config == "key-only" else None)


@pytest.mark.parametrize(
    ("hints", "base_url", "named_by"),
    [
        (Hints(provider="openai"), None, SETTINGS),
        (Hints(provider="openai", custom_host=HOST + "/"), HOST, REQUEST),
        (Hints(config="hosted"), "https://settings.example/v1", SETTINGS),
        (Hints(config="hosted", custom_host=HOST), HOST, REQUEST),
        (Hints(virtual_key="vk-based"), "https://settings.example/v1", SETTINGS),
        (Hints(config='{"provider": "openai", "custom_host": "https://own.example/v1"}'), HOST, REQUEST),
        (Hints(config='{"provider": "azure-openai", "azure_foundry_url": "https://own.example"}'), None, REQUEST),
        (Hints(config='{"provider": "azure-openai", "custom_host": "https://own.example/a", '
                      '"azure_foundry_url": "https://own.example"}'), "https://own.example/a", REQUEST),
    ],
)  # fmt: skip
def test_who_named_the_host(hints: Hints, base_url: str | None, named_by: str) -> None:
    target = resolved(hints)
    assert (target.base_url, target.named_by) == (base_url, named_by)


@pytest.mark.parametrize(
    ("hints", "code", "param"),
    [
        (Hints(provider="openai", custom_host="https://evil.example/v1"), "not_allowed", "x-portkey-custom-host"),
        (Hints(provider="openai", custom_host="nonsense"), "invalid_custom_host", "x-portkey-custom-host"),
        (Hints(config='{"provider": "openai", "custom_host": "https://evil.example"}'), "not_allowed", "custom_host"),
        (Hints(config='{"provider": "openai", "custom_host": "nonsense"}'), "invalid_custom_host", "custom_host"),
        (Hints(config='{"provider": "azure-openai", "azure_foundry_url": "https://evil.example"}'),
         "not_allowed", "azure_foundry_url"),
        (Hints(config='{"provider": "azure-openai", "custom_host": "https://own.example", '
                      '"azure_foundry_url": "http://169.254.169.254"}'), "not_allowed", "azure_foundry_url"),
    ],
)  # fmt: skip
def test_every_host_that_a_request_names_is_checked(hints: Hints, code: str, param: str) -> None:
    with pytest.raises(GatewayError) as refused:
        resolved(hints)
    assert (refused.value.code, refused.value.param) == (code, param)


LOCKED = key("groq", allow_config=False)


@pytest.mark.parametrize(
    ("caller", "hints", "expected"),
    [
        (LOCKED, Hints(), "groq"),
        (LOCKED, Hints(config="deepgram"), "groq"),
        (LOCKED, Hints(config='{"provider": "openai"}'), "groq"),
        (LOCKED, Hints(config="not even JSON"), "groq"),
        (LOCKED, Hints(provider="openai"), REFUSED),
        (LOCKED, Hints(provider="@vk"), REFUSED),
        (LOCKED, Hints(virtual_key="vk"), REFUSED),
        (key("retry", allow_config=False), Hints(), "deepgram"),  # completed by the default config
        (key(None, allow_config=False), Hints(config="groq"), REFUSED),
        (key(None, allow_config=False), Hints(config='{"provider": "openai"}'), REFUSED),
        (key(None, allow_config=False), Hints(provider="openai"), "openai"),
        (key(None, allow_config=False), Hints(), "deepgram"),
        (key("groq"), Hints(config='{"provider": "openai"}'), "openai"),
        (key(virtual_keys=frozenset({"vk"})), Hints(virtual_key="vk"), "openai"),
        (key(virtual_keys=frozenset({"vk"})), Hints(virtual_key="vk-azure"), REFUSED),
        (key(virtual_keys=frozenset({"vk-azure"})), Hints(config="vk"), REFUSED),
        (key(virtual_keys=frozenset()), Hints(config='{"virtual_key": "vk"}'), REFUSED),
        (key(virtual_keys=frozenset()), Hints(provider="openai"), "openai"),
        (key("vk", allow_config=False, virtual_keys=frozenset()), Hints(), REFUSED),
    ],
)
def test_what_a_gateway_key_may_choose(caller: Caller, hints: Hints, expected: str) -> None:
    if expected is REFUSED:
        with pytest.raises(GatewayError) as refused:
            resolved(hints, caller, default="deepgram")
        assert (refused.value.code, refused.value.status) == (REFUSED, 403)
    else:
        assert resolved(hints, caller, default="deepgram").provider == expected


def test_a_model_may_not_name_a_virtual_key_that_the_gateway_key_lacks() -> None:
    with pytest.raises(GatewayError) as refused:
        resolved(Hints(), key(virtual_keys=frozenset({"vk"})), model="@vk-azure/whisper")
    assert refused.value.code == REFUSED


HEADERS = Hints(
    provider="azure-openai", azure_resource_name="h-resource", azure_deployment_id="h-deployment",
    azure_api_version="h-version", azure_ad_token="h-token",
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "azure"),
    [
        ({}, AzureOptions("h-resource", "h-deployment", api_version="h-version", ad_token="h-token")),
        (
            {"config": '{"provider": "azure-openai", "resourceName": "r", "azure_deployment_name": "d", '
                       '"api_version": "v", "azure_ad_token": "t"}'},
            AzureOptions("r", "d", api_version="v", ad_token="t"),
        ),
        (
            {"config": '{"provider": "azure-openai", "azure_entra_tenant_id": "t", "azure_entra_client_id": "c", '
                       '"azure_entra_client_secret": "s", "azure_entra_scope": "o"}'},
            AzureOptions("h-resource", "h-deployment", api_version="h-version", ad_token="h-token", entra_tenant_id="t",
                         entra_client_id="c", entra_client_secret="s", entra_scope="o"),
        ),
        # where the secret or the provider is the operator's, no header names host or credential
        ({"config": "azure"}, AzureOptions("fabrikam", "h-deployment", api_version="h-version")),
        (
            {"config": "azure-ad"},
            AzureOptions("fabrikam", "h-deployment", api_version="h-version", ad_token="config-secret"),
        ),
        ({"provider": "@vk-azure"}, AzureOptions("contoso", "h-deployment", api_version="h-version")),
    ],
)  # fmt: skip
def test_azures_words_come_from_the_config_then_the_virtual_key_then_the_headers(
    changes: dict[str, Any], azure: AzureOptions
) -> None:
    hints = Hints(**{name: getattr(HEADERS, name) for name in HEADERS.__slots__} | changes)
    assert resolved(hints).azure == azure


def test_a_deployment_in_a_header_does_not_beat_a_table_of_deployments() -> None:
    azure = AzureOptions("contoso", deployments=MappingProxyType({"whisper-1": "w"}))
    house = Directory({"vk": VirtualKey("vk", "azure-openai", "s", azure=azure)}, {}, None, CustomHosts())
    hints = Hints(virtual_key="vk", azure_deployment_id="other")
    assert targets_of(choose(hints, CALLER, house), hints, CALLER, house)["config"].azure == azure


@pytest.mark.parametrize(
    ("header", "config", "seconds"),
    [(None, 1500, 1.5), (500.0, 1500, 0.5), (0.0, 1500, None), (500.0, None, 0.5), (None, 0, None), (None, None, None)],
)
def test_a_header_beats_the_configs_request_timeout(
    header: float | None, config: int | None, seconds: float | None
) -> None:
    leaf = Leaf(provider="openai", request_timeout=config)
    choice = Choice(leaf, "request", None, Source(provider="openai"))
    assert target_of(leaf, choice, Hints(request_timeout=header), CALLER, directory()).request_timeout == seconds


def test_the_rest_of_a_leaf_reaches_the_target() -> None:
    config = (
        '{"provider": "openai", "forward_headers": ["x-a"], "override_params": {"temperature": 0}, '
        '"openai_organization": "org", "openai_beta": "b"}'
    )
    target = resolved(Hints(config=config, openai_organization="header", openai_project="project"))
    assert (target.path, target.forward_headers, target.override_params) == ("config", ("x-a",), {"temperature": 0})
    assert (target.openai_organization, target.openai_project, target.openai_beta) == ("org", "project", "b")
    assert resolved(Hints(config=config, forward_headers=("x-b",))).forward_headers == ("x-b",)


def test_secrets_are_not_shown() -> None:
    assert "vk-secret" not in repr(VIRTUAL_KEYS)
    for hints in (Hints(virtual_key="vk"), Hints(config="azure-ad"), Hints(provider="openai")):
        assert not {"vk-secret", "config-secret", "caller-key"} & set(repr(resolved(hints)).split("'"))
