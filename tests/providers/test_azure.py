"""Azure's dialects: the URL forms, deployments, credentials, and what is said when something is missing."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from proxy.errors import GatewayError
from proxy.form.edits import Edits
from proxy.providers.base import Asked, FieldNeeded, Outbound, Route, TokenRequest
from proxy.providers.registry import Row, registry
from proxy.routing.target import AzureOptions, Target

if TYPE_CHECKING:
    from collections.abc import Mapping

PROVIDERS = registry()
AZURE = PROVIDERS["azure-openai"]
FOUNDRY = PROVIDERS["azure-ai"]
CLASSIC = AzureOptions(resource_name="contoso", deployment_id="whisper", api_version="2024-10-21")
V1 = replace(CLASSIC, api_version="v1")
HOST = "https://contoso.openai.azure.com"
ENTRA: dict[str, Any] = {
    "entra_tenant_id": "tenant-1",
    "entra_client_id": "app-1",
    "entra_client_secret": "s3cret",
}
NO_FIELDS: Mapping[str, str] = MappingProxyType({})


def asking(
    route: Route = Route.TRANSCRIPTIONS,
    query: str = "",
    fields: Mapping[str, str] = NO_FIELDS,
    complete: bool = False,
) -> Asked:
    return Asked(route, f"/audio/{route}", query, fields, complete)


def without(options: AzureOptions, name: str) -> AzureOptions:
    nothing: dict[str, Any] = {name: None}
    return replace(options, **nothing)


def target(options: AzureOptions = CLASSIC, base_url: str | None = None, **overrides: str) -> Target:
    return Target("azure-openai", key="k", azure=options, base_url=base_url, override_params=overrides)


def refused(options: AzureOptions, asked: Asked | None = None, provider: str = "azure-openai") -> GatewayError:
    with pytest.raises(GatewayError) as refusal:
        PROVIDERS[provider].prepare(target(options), asked or asking())
    return refusal.value


@pytest.mark.parametrize("route", [Route.TRANSCRIPTIONS, Route.TRANSLATIONS, Route.SPEECH])
def test_the_classic_form_has_the_deployment_in_its_path_and_leaves_the_form_alone(route: Route) -> None:
    assert AZURE.prepare(target(), asking(route)) == Outbound(
        url=f"{HOST}/openai/deployments/whisper/audio/{route}?api-version=2024-10-21",
        headers={"api-key": "k"},
    )


@pytest.mark.parametrize("route", [Route.TRANSCRIPTIONS, Route.TRANSLATIONS, Route.SPEECH])
@pytest.mark.parametrize(("version", "query"), [("v1", ""), ("preview", "?api-version=preview")])
def test_the_v1_form_has_the_deployment_in_the_model_field(route: Route, version: str, query: str) -> None:
    outbound = AZURE.prepare(
        target(replace(CLASSIC, api_version=version)), asking(route, fields={"model": "whisper-1"})
    )
    assert outbound.url == f"{HOST}/openai/v1/audio/{route}{query}"
    assert outbound.edits == Edits(replace={"model": ("whisper",)})
    assert outbound.params == {"model": "whisper"}
    assert outbound.headers == {"api-key": "k"}


def test_a_model_field_that_names_the_deployment_already_is_left_as_it_came() -> None:
    assert not AZURE.prepare(target(V1), asking(fields={"model": "whisper"})).edits


def test_the_v1_deployment_beats_an_override_of_the_model() -> None:
    outbound = AZURE.prepare(target(V1, model="whisper-1", language="de"), asking(fields={"model": "whisper"}))
    assert outbound.edits.replace == {"model": ("whisper",), "language": ("de",)}


@pytest.mark.parametrize(
    ("query", "classic", "v1"),
    [
        ("a=b", "a=b&api-version=2024-10-21", "a=b"),
        ("api-version=1999-01-01&a=b", "a=b&api-version=2024-10-21", "a=b"),
    ],
)
def test_the_clients_query_stays_apart_from_its_api_version(query: str, classic: str, v1: str) -> None:
    assert urlsplit(AZURE.prepare(target(), asking(query=query)).url).query == classic
    assert urlsplit(AZURE.prepare(target(V1), asking(query=query)).url).query == v1


MAPPED = replace(CLASSIC, deployment_id=None, deployments={"whisper-1": "weu-whisper", "gpt-transcribe": "gptt"})
UNMAPPED = replace(CLASSIC, deployment_id=None)


@pytest.mark.parametrize(
    ("options", "overrides", "fields", "deployment"),
    [
        (CLASSIC, {}, {"model": "whatever"}, "whisper"),
        (replace(MAPPED, deployment_id="whisper"), {}, {}, "whisper"),
        (MAPPED, {}, {"model": "whisper-1"}, "weu-whisper"),
        (MAPPED, {"model": "gpt-transcribe"}, {}, "gptt"),
        (MAPPED, {"model": "gpt-transcribe"}, {"model": "whisper-1"}, "gptt"),
        (UNMAPPED, {}, {"model": "gpt-4o-transcribe"}, "gpt-4o-transcribe"),
    ],
)
def test_the_deployment_is_set_else_mapped_else_the_model(
    options: AzureOptions, overrides: dict[str, str], fields: dict[str, str], deployment: str
) -> None:
    outbound = AZURE.prepare(target(options, **overrides), asking(fields=fields))
    assert f"/deployments/{deployment}/audio/" in outbound.url


@pytest.mark.parametrize("options", [MAPPED, UNMAPPED, replace(MAPPED, api_version="v1")])
def test_without_a_deployment_the_model_is_waited_for(options: AzureOptions) -> None:
    with pytest.raises(FieldNeeded) as needed:
        AZURE.prepare(target(options), asking(fields={"language": "en"}))
    assert needed.value.name == "model"
    assert refused(options, asking(complete=True)).code == "missing_model"


def test_what_is_missing_from_the_settings_is_said_before_the_form_is_waited_for() -> None:
    assert refused(replace(MAPPED, resource_name=None)).param == "resource_name"
    assert refused(replace(MAPPED, api_version=None)).param == "api_version"


def test_a_model_that_the_map_does_not_know_is_answered_with_those_it_does() -> None:
    error = refused(MAPPED, asking(fields={"model": "whisper-2"}))
    assert (error.code, error.param) == ("invalid_request", "model")
    assert "gpt-transcribe, whisper-1" in error.message


@pytest.mark.parametrize(
    ("missing", "header"),
    [("resource_name", "x-portkey-azure-resource-name"), ("api_version", "x-portkey-azure-api-version")],
)
def test_a_missing_setting_is_named_with_the_header_that_could_bring_it(missing: str, header: str) -> None:
    error = refused(without(CLASSIC, missing))
    assert (error.code, error.param) == ("invalid_provider", missing)
    assert missing in error.message
    assert header in error.message


@pytest.mark.parametrize("base", ["https://apim.contoso.test/team/openai", "https://apim.contoso.test/team/openai/"])
def test_a_base_url_takes_the_place_of_everything_before_deployments(base: str) -> None:
    options = replace(CLASSIC, resource_name=None)
    assert (
        AZURE.prepare(target(options, base), asking()).url
        == "https://apim.contoso.test/team/openai/deployments/whisper/audio/transcriptions?api-version=2024-10-21"
    )
    v1 = AZURE.prepare(target(replace(options, api_version="v1"), base), asking()).url
    assert v1 == "https://apim.contoso.test/team/openai/v1/audio/transcriptions"


def test_a_base_url_may_end_in_v1_as_microsoft_writes_it() -> None:
    outbound = AZURE.prepare(target(V1, f"{HOST}/openai/v1/"), asking())
    assert outbound.url == f"{HOST}/openai/v1/audio/transcriptions"


def test_the_settings_may_give_azure_another_address_and_key_header() -> None:
    row = Row(slug="azure-openai", base_url="https://apim.test/openai", auth="header:Ocp-Apim-Subscription-Key")
    outbound = registry([row])["azure-openai"].prepare(target(replace(CLASSIC, resource_name=None)), asking())
    assert outbound.url.startswith("https://apim.test/openai/deployments/whisper/")
    assert outbound.headers == {"Ocp-Apim-Subscription-Key": "k"}


@pytest.mark.parametrize(
    ("version", "url"),
    [
        ("2024-10-21", f"{HOST}/openai/models?limit=1&api-version=2024-10-21"),
        ("v1", f"{HOST}/openai/v1/models?limit=1"),
        ("preview", f"{HOST}/openai/v1/models?limit=1&api-version=preview"),
    ],
)
def test_pass_through_needs_no_deployment(version: str, url: str) -> None:
    options = AzureOptions(resource_name="contoso", api_version=version)
    assert AZURE.prepare(target(options), Asked(Route.PASSTHROUGH, "/models", "limit=1")).url == url


def test_pass_through_refuses_a_path_that_climbs() -> None:
    assert refused(CLASSIC, Asked(Route.PASSTHROUGH, "/../keys")).code == "unknown_route"


@pytest.mark.parametrize("token", ["eyJ0", "Bearer eyJ0", "bearer  eyJ0"])
@pytest.mark.parametrize("provider", ["azure-openai", "azure-ai"])
def test_an_entra_token_is_the_bearer_and_beats_grant_and_key(provider: str, token: str) -> None:
    options = replace(CLASSIC, ad_token=token, foundry_url="https://x.services.ai.azure.com/models", **ENTRA)
    outbound = PROVIDERS[provider].prepare(target(options), asking())
    assert outbound.headers["Authorization"] == "Bearer eyJ0"
    assert "api-key" not in outbound.headers
    assert outbound.token is None


def test_an_entra_grant_asks_for_a_token_and_sends_no_key() -> None:
    outbound = AZURE.prepare(target(replace(CLASSIC, **ENTRA)), asking())
    assert outbound.headers == {}
    assert outbound.token == TokenRequest(
        url="https://login.microsoftonline.com/tenant-1/oauth2/v2.0/token",
        client_id="app-1",
        client_secret="s3cret",
        scope="https://cognitiveservices.azure.com/.default",
    )
    assert "s3cret" not in repr(outbound)


def test_the_entra_authority_and_scope_can_be_a_national_clouds() -> None:
    national = replace(
        CLASSIC,
        entra_authority="https://login.microsoftonline.us/",
        entra_scope="https://cognitiveservices.azure.us/.default",
        **ENTRA,
    )
    token = AZURE.prepare(target(national), asking()).token
    assert token is not None
    assert token.url == "https://login.microsoftonline.us/tenant-1/oauth2/v2.0/token"
    assert token.scope == "https://cognitiveservices.azure.us/.default"


@pytest.mark.parametrize("absent", sorted(ENTRA))
def test_half_an_entra_grant_is_answered_with_what_is_missing(absent: str) -> None:
    options = without(replace(CLASSIC, **ENTRA), absent)
    assert AZURE.has_credential(Target("azure-openai", azure=options))
    error = refused(options)
    assert (error.code, error.param) == ("invalid_provider", absent)
    assert "s3cret" not in error.message


@pytest.mark.parametrize("provider", ["azure-openai", "azure-ai"])
@pytest.mark.parametrize(
    ("key", "options", "found"),
    [
        (None, AzureOptions(), False),
        ("", AzureOptions(), False),
        ("k", AzureOptions(), True),
        (None, AzureOptions(ad_token="t"), True),
        (None, AzureOptions(**ENTRA), True),
    ],
)
def test_a_key_a_token_or_a_grant_is_a_credential(
    provider: str, key: str | None, options: AzureOptions, found: bool
) -> None:
    assert PROVIDERS[provider].has_credential(Target(provider, key=key, azure=options)) is found


@pytest.mark.parametrize("route", [Route.TRANSCRIPTIONS, Route.TRANSLATIONS, Route.SPEECH])
def test_foundry_is_its_url_and_a_bearer_and_drops_what_a_model_does_not_know(route: Route) -> None:
    options = AzureOptions(foundry_url="https://x.services.ai.azure.com/models/", api_version="2024-05-01-preview")
    assert FOUNDRY.prepare(target(options), asking(route, "a=b")) == Outbound(
        url=f"https://x.services.ai.azure.com/models/audio/{route}?a=b&api-version=2024-05-01-preview",
        headers={"Authorization": "Bearer k", "extra-parameters": "drop"},
    )


def test_foundry_takes_a_base_url_and_no_version() -> None:
    options = AzureOptions(foundry_url="https://x.services.ai.azure.com")
    url = FOUNDRY.prepare(target(options, "http://127.0.0.1:9000/v1"), asking(query="a=b")).url
    assert url == "http://127.0.0.1:9000/v1/audio/transcriptions?a=b"


def test_foundry_without_a_url_says_how_to_give_one() -> None:
    error = refused(AzureOptions(), provider="azure-ai")
    assert (error.code, error.param) == ("invalid_provider", "foundry_url")


@pytest.mark.parametrize(
    ("options", "param"),
    [
        (replace(CLASSIC, resource_name="evil.test/"), "resource_name"),
        (replace(CLASSIC, resource_name="evil.test#"), "resource_name"),
        (replace(CLASSIC, resource_name="a.b"), "resource_name"),
        (replace(CLASSIC, resource_name="user@evil"), "resource_name"),
        (replace(CLASSIC, resource_name="-a"), "resource_name"),
        (replace(CLASSIC, resource_name="a" * 64), "resource_name"),
        (replace(CLASSIC, resource_name="a\n"), "resource_name"),
        (replace(CLASSIC, deployment_id="../../keys"), "deployment_id"),
        (replace(CLASSIC, deployment_id=".."), "deployment_id"),
        (replace(CLASSIC, deployment_id="a?b"), "deployment_id"),
        (replace(CLASSIC, deployment_id="a%2fb"), "deployment_id"),
        (replace(MAPPED, deployments={"whisper-1": "a/b"}), "deployments"),
        (replace(CLASSIC, api_version="v1&x=y"), "api_version"),
        (replace(CLASSIC, api_version="v1#"), "api_version"),
        (replace(CLASSIC, **{**ENTRA, "entra_tenant_id": "a/../b"}), "entra_tenant_id"),
        (replace(CLASSIC, **{**ENTRA, "entra_tenant_id": ".."}), "entra_tenant_id"),
    ],
)
def test_a_setting_that_would_change_the_url_is_refused_unrepeated(options: AzureOptions, param: str) -> None:
    error = refused(options, asking(fields={"model": "whisper-1"}))
    assert (error.code, error.param) == ("invalid_provider", param)
    assert "evil" not in error.message


@pytest.mark.parametrize("model", ["../../keys", "..", "a/b", "a?b", "a#b", "a%2fb", "a b", "a\n", "é", "a" * 65])
def test_a_model_that_cannot_be_a_deployment_is_refused(model: str) -> None:
    error = refused(UNMAPPED, asking(fields={"model": model}))
    assert (error.code, error.param) == ("invalid_request", "model")


def test_a_token_that_no_header_can_carry_is_refused_unrepeated() -> None:
    error = refused(replace(CLASSIC, ad_token="eyJ0\r\nHost: evil"))
    assert error.code == "invalid_header"
    assert "eyJ0" not in error.message


_hostile = st.text(st.sampled_from("ab1-._/\\@:#?%&=2eE\r\n é"), max_size=12) | st.text(max_size=12)


@given(resource=_hostile, deployment=_hostile, version=_hostile, model=_hostile, query=_hostile)
def test_no_name_moves_the_host_or_the_path(
    resource: str, deployment: str, version: str, model: str, query: str
) -> None:
    options = AzureOptions(resource_name=resource, deployment_id=deployment, api_version=version)
    for tried in (
        options,
        replace(options, resource_name="contoso"),
        replace(CLASSIC, deployment_id=deployment),
        replace(CLASSIC, api_version=version),
        UNMAPPED,
    ):
        try:
            outbound = AZURE.prepare(target(tried), asking(query=query, fields={"model": model}, complete=True))
        except GatewayError:
            continue
        url = urlsplit(outbound.url)
        assert url.netloc == f"{tried.resource_name}.openai.azure.com"
        assert (URL(outbound.url, encoded=True).raw_host or "").lower() == url.netloc.lower()
        assert url.path.startswith("/openai/")
        assert url.path.endswith("/audio/transcriptions")
        assert url.path.count("/") in {4, 5}
        assert not url.fragment
