"""The table with the settings laid over it, and finding a provider in it."""

from __future__ import annotations

import pytest

from proxy.errors import GatewayError
from proxy.providers.base import Asked, Route
from proxy.providers.provider import OPENAI_FORMATS
from proxy.providers.registry import Row, lookup, own_provider, registry, slugs
from proxy.routing.target import Target

LOCAL = "http://127.0.0.1:9000/v1"
TRANSCRIBE = Asked(Route.TRANSCRIPTIONS, "/audio/transcriptions")


def test_an_upstream_of_ones_own_is_like_openai_but_for_its_row() -> None:
    own = own_provider(
        Row(
            slug="whisper-local",
            dialect="openai",
            base_url=LOCAL,
            auth="none",
            needs_content_length=True,
            max_upload_bytes=1000,
            formats=["wav"],
        )
    )
    assert own.slug == "whisper-local"
    assert own.dialect.name == "openai"
    assert not own.needs_key
    assert own.needs_content_length
    assert own.max_upload_bytes == 1000
    assert own.formats == frozenset({"wav"})
    assert set(own.paths) == {Route.TRANSCRIPTIONS, Route.TRANSLATIONS, Route.SPEECH}
    assert own.prepare(Target("whisper-local", key="k"), TRANSCRIBE).headers == {}


def test_an_upstream_of_ones_own_needs_an_address() -> None:
    with pytest.raises(GatewayError) as refusal:
        own_provider(Row(slug="mine")).prepare(Target("mine"), TRANSCRIBE)
    assert (refusal.value.code, refusal.value.param) == ("invalid_provider", "base_url")


def test_an_upstream_may_speak_another_dialect() -> None:
    own = own_provider(Row(slug="apim", dialect="azure-openai", base_url="https://apim.test/openai"))
    assert not own.model_required
    assert own.auth.header == "api-key"


def test_a_row_for_a_known_provider_changes_only_what_it_gives() -> None:
    known = registry()["whisper-cpp"]
    changed = registry([Row(slug="whisper-cpp", base_url=LOCAL)])["whisper-cpp"]
    assert changed.base_url == LOCAL
    assert (changed.auth, changed.needs_key, changed.edits, changed.model_required, changed.formats) == (
        known.auth,
        known.needs_key,
        known.edits,
        known.model_required,
        known.formats,
    )


@pytest.mark.parametrize(
    ("auth", "header", "needs_key"),
    [("bearer", "Authorization", True), ("header:x-key", "x-key", True), ("none", None, False)],
)
def test_auth_that_is_given_says_whether_a_key_is_needed(auth: str, header: str | None, needs_key: bool) -> None:
    vllm = registry([Row(slug="vllm", auth=auth)])["vllm"]
    assert (vllm.auth.header, vllm.needs_key) == (header, needs_key)


def test_an_address_for_fireworks_ends_the_choice_between_its_hosts() -> None:
    fireworks = registry([Row(slug="fireworks-ai", base_url=LOCAL)])["fireworks-ai"]
    assert fireworks.prepare(Target("fireworks-ai"), TRANSCRIBE).url == f"{LOCAL}/audio/transcriptions"


def test_naming_its_own_dialect_changes_nothing_and_another_makes_a_new_upstream() -> None:
    same = registry([Row(slug="lemonfox-ai", dialect="openai", max_upload_bytes=5)])["lemonfox-ai"]
    assert same.base_url == "https://api.lemonfox.ai/v1"
    assert same.edits
    other = registry([Row(slug="lemonfox-ai", dialect="azure-openai")])["lemonfox-ai"]
    assert other.base_url is None
    assert other.dialect.name == "azure-openai"


def test_the_gateways_formats_stand_where_openais_would() -> None:
    rows = [
        Row(slug="mine", base_url=LOCAL),
        Row(slug="any", base_url=LOCAL, formats="any"),
        Row(slug="listed", base_url=LOCAL, formats=tuple(OPENAI_FORMATS)),
        Row(slug="groq", formats=["flac"]),
    ]
    found = registry(rows, formats=frozenset({"wav"}))
    assert {slug: found[slug].formats for slug in ("openai", "mine", "any", "listed", "groq", "vllm")} == {
        "openai": {"wav"},
        "mine": {"wav"},
        "any": None,
        "listed": OPENAI_FORMATS,
        "groq": {"flac"},
        "vllm": None,
    }


@pytest.mark.parametrize(
    ("row", "mistake"),
    [
        (
            Row(slug="mine", dialect="opnai"),
            "provider mine: dialect must be one of azure-ai, azure-openai, openai, not 'opnai'",
        ),
        (
            Row(slug="groq", auth="basic"),
            "provider groq: auth must be bearer, none or header:NAME, not 'basic'",
        ),
    ],
)
def test_a_row_that_makes_no_sense_is_named(row: Row, mistake: str) -> None:
    with pytest.raises(ValueError) as error:
        registry([Row(slug="fine"), row])
    assert str(error.value) == mistake


def test_an_upstream_of_ones_own_is_named_to_those_who_lack_its_endpoints() -> None:
    found = registry([Row(slug="aaa-mine", base_url=LOCAL)])
    with pytest.raises(GatewayError, match=r"Providers that have one: aaa-mine, azure-ai, "):
        found["scaleway"].prepare(Target("scaleway"), Asked(Route.SPEECH, "/audio/speech"))


def test_slugs_are_in_order() -> None:
    assert slugs()[:3] == ("azure-ai", "azure-openai", "deepinfra")
    assert "mine" in slugs(registry([Row(slug="mine")]))


def test_a_provider_is_found_by_its_slug() -> None:
    found = registry()
    assert lookup(found, "groq") is found["groq"]


@pytest.mark.parametrize(
    ("slug", "hint"),
    [
        ("open-ai", "Did you mean openai"),
        ("azure", "Did you mean azure-ai"),
        ("OpenAI", "Did you mean openai"),
        ("whisper.cpp", "Did you mean whisper-cpp"),
        ("zzz", "Known are: azure-ai, azure-openai, "),
        ("", "Known are: "),
    ],
)
def test_an_unknown_slug_is_answered_with_near_ones_or_all(slug: str, hint: str) -> None:
    with pytest.raises(GatewayError) as refusal:
        lookup(registry(), slug)
    assert refusal.value.code == "invalid_provider"
    assert hint in refusal.value.message


def test_a_long_slug_is_not_repeated_in_full() -> None:
    with pytest.raises(GatewayError) as refusal:
        lookup(registry(), "x" * 10_000)
    assert len(refusal.value.message) < 500
