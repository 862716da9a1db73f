"""A provider as data: which base, which path, which quirks, and what it says when it has none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.errors import GatewayError
from proxy.form.edits import Edits
from proxy.providers.base import Asked, Route
from proxy.providers.openai import OpenAI
from proxy.providers.provider import Provider
from proxy.routing.target import Target

TRANSCRIBE = Asked(Route.TRANSCRIPTIONS, "/audio/transcriptions")
PLAIN = Provider(
    slug="plain",
    dialect=OpenAI(),
    base_url="https://plain.test/v1/",
    paths={Route.TRANSCRIPTIONS: "/listen"},
    edits={Route.TRANSCRIPTIONS: Edits(drop=frozenset({"prompt"}))},
)


def test_the_base_is_the_targets_then_the_chosen_then_the_providers() -> None:
    choosing = replace(PLAIN, base_for=lambda target, asked: f"https://{asked.route}.test")
    here = Target("plain", base_url="http://127.0.0.1:1/v1/")
    assert choosing.base(here, TRANSCRIBE) == "http://127.0.0.1:1/v1"
    assert choosing.base(Target("plain"), TRANSCRIBE) == "https://transcriptions.test"
    assert PLAIN.base(Target("plain"), TRANSCRIBE) == "https://plain.test/v1"


def test_the_path_is_the_rows_and_in_pass_through_the_clients() -> None:
    assert PLAIN.path(TRANSCRIBE) == "/listen"
    assert PLAIN.path(Asked(Route.PASSTHROUGH, "/audio/translations")) == "/audio/translations"


def test_pass_through_checks_the_path() -> None:
    with pytest.raises(GatewayError) as refusal:
        PLAIN.path(Asked(Route.PASSTHROUGH, "//evil.test"))
    assert refusal.value.code == "unknown_route"


@pytest.mark.parametrize(
    ("others", "hint"),
    [((), "endpoint."), (("groq", "openai"), "endpoint. Providers that have one: groq, openai.")],
)
def test_an_endpoint_that_is_not_offered_is_refused_with_those_who_offer_it(others: tuple[str, ...], hint: str) -> None:
    provider = replace(PLAIN, offered_by={Route.SPEECH: others})
    with pytest.raises(GatewayError) as refusal:
        provider.prepare(Target("plain"), Asked(Route.SPEECH, "/audio/speech"))
    assert (refusal.value.code, refusal.value.status) == ("unsupported_endpoint", 400)
    assert refusal.value.message == f"plain has no /v1/audio/speech {hint}"


def test_quirks_belong_to_a_route() -> None:
    assert PLAIN.quirks(TRANSCRIBE).drop == {"prompt"}
    assert not PLAIN.quirks(Asked(Route.PASSTHROUGH, "/models"))


def test_who_else_could_be_asked_does_not_make_another_provider() -> None:
    assert replace(PLAIN, offered_by={Route.SPEECH: ("openai",)}) == PLAIN
