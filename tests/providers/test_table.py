"""Every row of the table: exact URL, headers and edits for each route, and what it needs."""

from __future__ import annotations

from typing import Final

import pytest

from proxy.errors import GatewayError
from proxy.form.edits import Edits
from proxy.providers.base import Asked, FieldNeeded, Outbound, Route
from proxy.providers.provider import OPENAI_FORMATS
from proxy.providers.registry import registry
from proxy.providers.table import DIALECTS, TABLE
from proxy.routing.target import Target

PROVIDERS = registry()
LOCAL: Final = "http://127.0.0.1:9000/v1"
BEARER: Final = {"Authorization": "Bearer k"}
TRANSLATE: Final = Edits(replace={"translate": ("true",)})

# slug: transcription, translation, speech (None: not offered), pass-through of /models
URLS: Final[dict[str, tuple[str | None, str | None, str | None, str]]] = {
    "openai": (
        "https://api.openai.com/v1/audio/transcriptions",
        "https://api.openai.com/v1/audio/translations",
        "https://api.openai.com/v1/audio/speech",
        "https://api.openai.com/v1/models",
    ),
    "groq": (
        "https://api.groq.com/openai/v1/audio/transcriptions",
        "https://api.groq.com/openai/v1/audio/translations",
        "https://api.groq.com/openai/v1/audio/speech",
        "https://api.groq.com/openai/v1/models",
    ),
    "together-ai": (
        "https://api.together.ai/v1/audio/transcriptions",
        "https://api.together.ai/v1/audio/translations",
        "https://api.together.ai/v1/audio/speech",
        "https://api.together.ai/v1/models",
    ),
    "fireworks-ai": (
        "https://audio-prod.api.fireworks.ai/v1/audio/transcriptions",
        "https://audio-prod.api.fireworks.ai/v1/audio/translations",
        None,
        "https://api.fireworks.ai/inference/v1/models",
    ),
    "deepinfra": (
        "https://api.deepinfra.com/v1/openai/audio/transcriptions",
        "https://api.deepinfra.com/v1/openai/audio/translations",
        "https://api.deepinfra.com/v1/openai/audio/speech",
        "https://api.deepinfra.com/v1/openai/models",
    ),
    "mistral-ai": (
        "https://api.mistral.ai/v1/audio/transcriptions",
        None,
        None,
        "https://api.mistral.ai/v1/models",
    ),
    "sambanova": (
        "https://api.sambanova.ai/v1/audio/transcriptions",
        "https://api.sambanova.ai/v1/audio/translations",
        None,
        "https://api.sambanova.ai/v1/models",
    ),
    "siliconflow": (
        "https://api.siliconflow.cn/v1/audio/transcriptions",
        None,
        "https://api.siliconflow.cn/v1/audio/speech",
        "https://api.siliconflow.cn/v1/models",
    ),
    "lemonfox-ai": (
        "https://api.lemonfox.ai/v1/audio/transcriptions",
        "https://api.lemonfox.ai/v1/audio/transcriptions",
        "https://api.lemonfox.ai/v1/audio/speech",
        "https://api.lemonfox.ai/v1/models",
    ),
    "ovhcloud": (
        "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1/audio/transcriptions",
        None,
        None,
        "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1/models",
    ),
    "scaleway": (
        "https://api.scaleway.ai/v1/audio/transcriptions",
        None,
        None,
        "https://api.scaleway.ai/v1/models",
    ),
    "vllm": (f"{LOCAL}/audio/transcriptions", f"{LOCAL}/audio/translations", None, f"{LOCAL}/models"),
    "whisper-cpp": (
        f"{LOCAL}/audio/transcriptions",
        f"{LOCAL}/audio/transcriptions",
        None,
        f"{LOCAL}/models",
    ),
    "speaches": (
        f"{LOCAL}/audio/transcriptions",
        f"{LOCAL}/audio/translations",
        f"{LOCAL}/audio/speech",
        f"{LOCAL}/models",
    ),
    "localai": (
        f"{LOCAL}/audio/transcriptions",
        f"{LOCAL}/audio/transcriptions",
        f"{LOCAL}/audio/speech",
        f"{LOCAL}/models",
    ),
    "nvidia-nim": (f"{LOCAL}/audio/transcriptions", f"{LOCAL}/audio/translations", None, f"{LOCAL}/models"),
}
SELF_HOSTED: Final = {"vllm", "whisper-cpp", "speaches", "localai", "nvidia-nim"}
TRANSLATE_BY_FIELD: Final = {"lemonfox-ai", "whisper-cpp", "localai"}
ROUTES: Final = (Route.TRANSCRIPTIONS, Route.TRANSLATIONS, Route.SPEECH, Route.PASSTHROUGH)


def asking(route: Route) -> Asked:
    path = "/models" if route is Route.PASSTHROUGH else f"/audio/{route}"
    return Asked(route, path, fields={"model": "whisper-v3"})


def target(slug: str) -> Target:
    return Target(slug, key="k", base_url=LOCAL if slug in SELF_HOSTED else None)


def test_this_file_and_azures_speak_of_every_row() -> None:
    assert {provider.slug for provider in TABLE} == {*URLS, "azure-openai", "azure-ai"}
    assert len(PROVIDERS) == len(TABLE)


@pytest.mark.parametrize(
    ("slug", "route", "url"),
    [(slug, route, url) for slug, urls in URLS.items() for route, url in zip(ROUTES, urls, strict=True) if url],
)
def test_each_row_sends_each_route_to_its_url_with_its_key_and_quirks(slug: str, route: Route, url: str) -> None:
    edits = TRANSLATE if route is Route.TRANSLATIONS and slug in TRANSLATE_BY_FIELD else Edits()
    assert PROVIDERS[slug].prepare(target(slug), asking(route)) == Outbound(
        url=url,
        headers={} if slug == "whisper-cpp" else BEARER,
        edits=edits,
        params={"translate": "true"} if edits else {},
    )


@pytest.mark.parametrize(
    ("slug", "route"),
    [(slug, route) for slug, urls in URLS.items() for route, url in zip(ROUTES, urls, strict=True) if url is None],
)
def test_a_route_that_a_provider_lacks_is_refused_with_those_that_have_it(slug: str, route: Route) -> None:
    with pytest.raises(GatewayError) as refusal:
        PROVIDERS[slug].prepare(target(slug), asking(route))
    assert refusal.value.code == "unsupported_endpoint"
    message = refusal.value.message
    assert message.startswith(f"{slug} has no /v1/audio/{route} endpoint. Providers that have one: azure-ai, azure-")
    assert f" {slug}," not in message


@pytest.mark.parametrize("slug", sorted(SELF_HOSTED))
def test_a_self_hosted_server_without_an_address_is_answered_with_where_to_set_it(slug: str) -> None:
    with pytest.raises(GatewayError) as refusal:
        PROVIDERS[slug].prepare(Target(slug), asking(Route.TRANSCRIPTIONS))
    assert (refusal.value.code, refusal.value.param) == ("invalid_provider", "base_url")
    assert "x-portkey-custom-host" in refusal.value.message


def test_only_self_hosted_servers_do_without_a_key() -> None:
    assert {slug for slug, provider in PROVIDERS.items() if not provider.needs_key} == SELF_HOSTED


def test_these_do_without_a_model_field() -> None:
    free = {slug for slug, provider in PROVIDERS.items() if not provider.model_required}
    assert free == {"azure-openai", "lemonfox-ai", "whisper-cpp"}


def test_openais_list_of_formats_holds_where_no_other_is_known() -> None:
    listed = {slug for slug, provider in PROVIDERS.items() if provider.formats == OPENAI_FORMATS}
    assert {"openai", "azure-openai", "azure-ai", "groq", "sambanova"} <= listed
    assert all(provider.formats is None for slug, provider in PROVIDERS.items() if slug not in listed)


def test_no_row_has_an_upload_limit_of_its_own() -> None:
    assert {provider.max_upload_bytes for provider in TABLE} == {None}


def test_every_dialect_has_a_namesake_to_pattern_upstreams_on() -> None:
    assert all(PROVIDERS[name].dialect is dialect for name, dialect in DIALECTS.items())


FIREWORKS = PROVIDERS["fireworks-ai"]


@pytest.mark.parametrize(
    ("model", "host"),
    [
        ("whisper-v3", "audio-prod"),
        ("whisper-v3-turbo", "audio-turbo"),
        ("accounts/fireworks/models/whisper-v3-turbo", "audio-turbo"),
        ("something-new", "audio-prod"),
    ],
)
def test_fireworks_has_a_host_for_its_turbo_model(model: str, host: str) -> None:
    url = f"https://{host}.api.fireworks.ai/v1/audio/transcriptions"
    seen = Asked(Route.TRANSCRIPTIONS, "", fields={"model": model})
    assert FIREWORKS.prepare(Target("fireworks-ai"), seen).url == url
    forced = Target("fireworks-ai", override_params={"model": model})
    assert FIREWORKS.prepare(forced, Asked(Route.TRANSCRIPTIONS, "")).url == url


def test_fireworks_waits_for_the_model_and_refuses_a_form_without() -> None:
    with pytest.raises(FieldNeeded) as needed:
        FIREWORKS.prepare(Target("fireworks-ai"), Asked(Route.TRANSCRIPTIONS, ""))
    assert needed.value.name == "model"
    with pytest.raises(GatewayError) as refusal:
        FIREWORKS.prepare(Target("fireworks-ai"), Asked(Route.TRANSCRIPTIONS, "", complete=True))
    assert refusal.value.code == "missing_model"


def test_fireworks_elsewhere_waits_for_nothing() -> None:
    elsewhere = Target("fireworks-ai", base_url=LOCAL)
    url = FIREWORKS.prepare(elsewhere, Asked(Route.TRANSCRIPTIONS, "")).url
    assert url == f"{LOCAL}/audio/transcriptions"
    translations = Asked(Route.TRANSLATIONS, "")
    assert FIREWORKS.prepare(Target("fireworks-ai"), translations).url.startswith("https://audio-prod.")
