"""The OpenAI dialect: base URL + path + query, one key header, the body as it came."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import GatewayError
from proxy.providers.base import Asked, Outbound, Route
from proxy.providers.registry import Row, own_provider, registry
from proxy.routing.target import Target

if TYPE_CHECKING:
    from proxy.providers.provider import Provider

PROVIDERS = registry()
OPENAI = PROVIDERS["openai"]
TRANSCRIBE = Asked(Route.TRANSCRIPTIONS, "/audio/transcriptions")


@pytest.mark.parametrize(
    ("asked", "url"),
    [
        (TRANSCRIBE, "https://api.openai.com/v1/audio/transcriptions"),
        (Asked(Route.TRANSLATIONS, "/audio/translations"), "https://api.openai.com/v1/audio/translations"),
        (Asked(Route.SPEECH, "/audio/speech"), "https://api.openai.com/v1/audio/speech"),
        (Asked(Route.PASSTHROUGH, "/models"), "https://api.openai.com/v1/models"),
        (
            Asked(Route.PASSTHROUGH, "/files/a%20b", "limit=2&after=%2F"),
            "https://api.openai.com/v1/files/a%20b?limit=2&after=%2F",
        ),
        (
            Asked(Route.TRANSCRIPTIONS, "/audio/transcriptions", "trace=1"),
            "https://api.openai.com/v1/audio/transcriptions?trace=1",
        ),
    ],
)
def test_the_request_is_the_same_elsewhere_with_the_targets_key(asked: Asked, url: str) -> None:
    assert OPENAI.prepare(Target("openai", key="sk-1"), asked) == Outbound(
        url=url, headers={"Authorization": "Bearer sk-1"}
    )


def test_the_account_headers_are_the_targets() -> None:
    target = Target("openai", key="sk-1", openai_organization="org-1", openai_project="proj-1", openai_beta="x=v2")
    assert OPENAI.prepare(target, TRANSCRIBE).headers == {
        "Authorization": "Bearer sk-1",
        "OpenAI-Organization": "org-1",
        "OpenAI-Project": "proj-1",
        "OpenAI-Beta": "x=v2",
    }


@pytest.mark.parametrize("slug", ["groq", "together-ai", "deepinfra", "mistral-ai"])
def test_nobody_else_learns_the_account(slug: str) -> None:
    target = Target(slug, key="k", openai_organization="org-1", openai_project="proj-1", openai_beta="b")
    assert PROVIDERS[slug].prepare(target, TRANSCRIBE).headers == {"Authorization": "Bearer k"}


def test_an_upstream_of_ones_own_may_learn_the_account() -> None:
    own = own_provider(Row(slug="mirror", base_url="http://127.0.0.1:9000/v1"))
    assert own.prepare(Target("mirror", openai_project="p"), TRANSCRIBE).headers == {"OpenAI-Project": "p"}


def test_overrides_become_edits() -> None:
    outbound = OPENAI.prepare(Target("openai", override_params={"model": "gpt-transcribe"}), TRANSCRIBE)
    assert outbound.edits.replace == {"model": ("gpt-transcribe",)}
    assert outbound.params == {"model": "gpt-transcribe"}


@pytest.mark.parametrize("base", ["http://127.0.0.1:9000/v1", "http://127.0.0.1:9000/v1/"])
def test_a_targets_base_url_takes_the_place_of_the_providers(base: str) -> None:
    outbound = OPENAI.prepare(Target("openai", base_url=base), TRANSCRIBE)
    assert outbound.url == "http://127.0.0.1:9000/v1/audio/transcriptions"


@pytest.mark.parametrize(
    ("auth", "headers"),
    [("none", {}), ("bearer", {"Authorization": "Bearer k"}), ("header:x-api-key", {"x-api-key": "k"})],
)
def test_the_key_goes_where_the_settings_say(auth: str, headers: dict[str, str]) -> None:
    own = own_provider(Row(slug="own", base_url="http://127.0.0.1:9000/v1", auth=auth))
    assert own.prepare(Target("own", key="k"), TRANSCRIBE).headers == headers


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (Target("openai", key="k\r\nHost: evil"), "invalid_header"),
        (Target("openai", openai_organization="a\nb"), "invalid_header"),
        (Target("openai", base_url="http://user@127.0.0.1/v1"), "invalid_custom_host"),
        (Target("openai", base_url="http://127.0.0.1/v1?x="), "invalid_custom_host"),
        (Target("openai", override_params={"file": "x"}), "invalid_config"),
    ],
)
def test_what_cannot_be_sent_is_refused(target: Target, code: str) -> None:
    with pytest.raises(GatewayError) as refusal:
        OPENAI.prepare(target, TRANSCRIBE)
    assert refusal.value.code == code


def test_a_credential_is_a_key() -> None:
    assert OPENAI.has_credential(Target("openai", key="k"))
    assert not OPENAI.has_credential(Target("openai", key=""))
    assert not OPENAI.has_credential(Target("openai"))


@given(path=st.text(), query=st.text(), provider=st.sampled_from([OPENAI, PROVIDERS["fireworks-ai"]]))
def test_whatever_the_client_asks_for_the_host_stays(path: str, query: str, provider: Provider) -> None:
    expected = provider.prepare(Target("x"), Asked(Route.PASSTHROUGH, "/"))
    for raw in (path, "/" + path):
        try:
            outbound = provider.prepare(Target("x"), Asked(Route.PASSTHROUGH, raw, query))
        except GatewayError:
            continue
        assert urlsplit(outbound.url).netloc == urlsplit(expected.url).netloc
        assert outbound.url.startswith(expected.url)
