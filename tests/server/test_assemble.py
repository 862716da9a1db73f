"""Every name in the settings that leads nowhere is reported, with its path, all at once."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from multidict import CIMultiDict

from proxy.access.hosts import CustomHosts
from proxy.metering.cost import cost_of
from proxy.routing.target import AzureOptions
from proxy.routing.tree import Leaf
from proxy.server.assemble import assemble
from proxy.settings import load

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.relay.house import House

VIRTUAL_KEY = {"slug": "vk", "provider": "openai", "key": "sk-1"}


@pytest.fixture
def assembled(tmp_path: Path) -> Any:
    """Assemble a house from settings given as a document; return it and its mistakes as lines."""

    def assembled(**document: Any) -> tuple[House, list[str]]:
        file = tmp_path / "settings.json"
        file.write_text(json.dumps(document))
        house, mistakes = assemble(load(str(file), environ={}, flags={}).settings)
        return house, [str(mistake) for mistake in mistakes]

    return assembled


def fallback(*targets: dict[str, Any]) -> dict[str, Any]:
    return {"strategy": {"mode": "fallback"}, "targets": list(targets)}


NOWHERE = [
    ({"default_config": "lost"}, "default_config: there is no config 'lost'"),
    (
        {"virtual_keys": [{**VIRTUAL_KEY, "provider": "opena"}]},
        "virtual_keys[0].provider: There is no provider 'opena'. Did you mean openai",
    ),
    (
        {"providers": [{"slug": "own", "dialect": "esperanto", "base_url": "http://127.0.0.1:9/v1"}]},
        "providers[0]: dialect must be one of",
    ),
    ({"configs": [{"slug": "c", "config": {"provider": "lost"}}]}, "configs[0].config.provider: There is no provider"),
    (
        {"configs": [{"slug": "c", "config": {"virtual_key": "lost"}}]},
        "configs[0].config.virtual_key: there is no virtual key 'lost'",
    ),
    (
        {"configs": [{"slug": "c", "config": {"provider": "@lost/model"}}]},
        "configs[0].config.virtual_key: there is no virtual key 'lost'",
    ),
    (
        {"configs": [{"slug": "c", "config": {"provder": "openai"}}]},
        "configs[0].config.provder: unknown key; did you mean 'provider'?",
    ),
    (
        {"configs": [{"slug": "c", "config": {"retry": {"attempts": 9}}}]},
        "configs[0].config.retry.attempts: must be a whole number from 0 to 5",
    ),
    (
        {"configs": [{"slug": "c", "config": {"targets": [{"provider": "openai"}]}}]},
        "configs[0].config.targets: have no effect without a strategy",
    ),
    (
        {"configs": [{"slug": "c", "config": fallback({"provider": "openai"}, {"providr": "groq"})}]},
        "configs[0].config.targets[1].providr: unknown key; did you mean 'provider'?",
    ),
    (
        {"configs": [{"slug": "c", "config": fallback({"provider": "openai"}, {"provider": "lost"})}]},
        "configs[0].config.targets[1].provider: There is no provider",
    ),
    (
        {"configs": [{"slug": "c", "config": fallback(fallback({"virtual_key": "lost"}))}]},
        "configs[0].config.targets[0].targets[0].virtual_key: there is no virtual key 'lost'",
    ),
    (
        {"auth": {"mode": "keys", "keys": [{"name": "a", "key": "gw", "config": "lost"}]}},
        "auth.keys[0].config: there is no config 'lost'",
    ),
    (
        {"auth": {"mode": "keys", "keys": [{"name": "a", "key": "gw", "virtual_keys": ["lost"]}]}},
        "auth.keys[0].virtual_keys[0]: there is no virtual key 'lost'",
    ),
]


@pytest.mark.parametrize(("document", "mistake"), NOWHERE)
def test_a_name_that_leads_nowhere_is_reported_with_its_path(
    assembled: Any, document: dict[str, Any], mistake: str
) -> None:
    _, (found,) = assembled(**document)
    assert found.startswith(mistake)


def test_all_of_them_are_reported_together(assembled: Any) -> None:
    _, found = assembled(
        virtual_keys=[VIRTUAL_KEY, {"slug": "two", "provider": "lost"}],
        providers=[{"slug": "own", "dialect": "esperanto"}],
        configs=[{"slug": "c", "config": {"virtual_key": "vk"}}, {"slug": "d", "config": {"provider": "own", "x": 1}}],
        default_config="e",
        auth={"keys": [{"name": "a", "key": "gw", "config": "f", "virtual_keys": ["vk", "g", "h"]}]},
    )
    assert [line.split(":")[0] for line in found] == [
        "providers[0]",
        "virtual_keys[1].provider",
        "configs[1].config.x",
        "configs[1].config.provider",
        "default_config",
        "auth.keys[0].config",
        "auth.keys[0].virtual_keys[1]",
        "auth.keys[0].virtual_keys[2]",
    ]


def test_settings_without_mistakes_become_a_house(assembled: Any) -> None:
    house, mistakes = assembled(
        listen="0.0.0.0:0",
        auth={
            "mode": "keys",
            "keys": [
                {"name": "one", "key": "gw-1", "config": "c", "allow_config": False, "metadata": {"team": "a"}},
                {"name": "two", "key_sha256": sha256(b"gw-2").hexdigest(), "virtual_keys": ["vk"]},
            ],
        },
        virtual_keys=[
            VIRTUAL_KEY,
            {
                "slug": "az",
                "provider": "azure-openai",
                "key": "sk-2",
                "resource_name": "contoso",
                "deployments": {"w": "d"},
            },
        ],
        providers=[{"slug": "own", "base_url": "http://127.0.0.1:9/v1", "auth": "none", "formats": "any"}],
        configs=[{"slug": "c", "config": {"provider": "own", "override_params": {"model": "tiny"}}}],
        default_config="c",
        custom_hosts={"allow": ["https://stt.example.com"]},
        limits={"max_field_bytes": 100, "max_parts": 7},
    )
    assert mistakes == []
    directory = house.directory
    assert directory.default_config == "c"
    assert directory.configs == {"c": Leaf(provider="own", override_params={"model": "tiny"})}
    assert (directory.virtual_keys["vk"].key, directory.virtual_keys["vk"].provider) == ("sk-1", "openai")
    assert directory.virtual_keys["az"].azure == AzureOptions("contoso", deployments={"w": "d"})
    assert directory.hosts == CustomHosts(frozenset({"https://stt.example.com"}), loopback=False)
    assert (house.form_limits.max_field_bytes, house.form_limits.max_parts) == (100, 7)
    assert house.providers["own"].base_url == "http://127.0.0.1:9/v1"
    assert {"sk-1", "sk-2", "gw-1"} <= set(house.secrets)
    one, two = (house.keyring.identify(CIMultiDict({"x-portkey-api-key": secret})).key for secret in ("gw-1", "gw-2"))
    assert (one.name, one.locked_config, one.metadata) == ("one", "c", {"team": "a"})
    assert (two.name, two.locked_config, two.virtual_keys) == ("two", None, frozenset({"vk"}))
    assert not {"sk-1", "sk-2", "gw-1"} & set(repr(house).split("'"))


@pytest.mark.parametrize(("listen", "loopback"), [("127.0.0.1:0", True), ("[::1]:0", True), ("0.0.0.0:0", False)])
def test_requests_may_name_loopback_only_while_the_gateway_listens_there(
    assembled: Any, listen: str, loopback: bool
) -> None:
    assert assembled(listen=listen)[0].directory.hosts.loopback is loopback


def test_prices_of_the_settings_beat_those_of_the_file_and_both_the_table(assembled: Any, tmp_path: Path) -> None:
    file = {
        "own": {"a": {"usd_per_minute": 1}, "b": {"usd_per_minute": 2}},
        "groq": {"whisper-large-v3": {"usd_per_hour": 3, "minimum_seconds": 10}},
    }
    (tmp_path / "prices.json").write_text(json.dumps(file))
    house, mistakes = assembled(
        prices="prices.json", providers=[{"slug": "own", "prices": {"a": {"usd_per_second": 0}}}, {"slug": "vllm"}]
    )
    assert mistakes == []
    asked = [("own", "a"), ("own", "b"), ("groq", "whisper-large-v3"), ("groq", "whisper-large-v3-turbo")]
    paid = [house.prices.lookup(provider, model, "transcription") for provider, model in asked]
    assert [price.origin for price in paid] == ["settings", "file", "file", "built-in"]
    assert [cost_of(price, None, 60).text for price in paid] == ["0", "2", "0.05", "0.000666666667"]
    assert paid[1].source == "prices.json"
    assert house.prices.lookup("vllm", "a", "transcription") is None


def test_prices_for_a_provider_that_nobody_knows_are_a_mistake(assembled: Any, tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text(
        "{openia: {m: {usd_per_hour: 1}}, deepgram: {nova-9: {usd_per_hour: 1}}, own: {m: {usd_per_hour: 1}}}"
    )
    _, mistakes = assembled(prices="prices.yaml", providers=[{"slug": "own", "base_url": "http://127.0.0.1:9/v1"}])
    assert mistakes == ["prices: prices.yaml: there is no provider 'openia'; did you mean 'openai'?"]
