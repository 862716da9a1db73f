"""Azure's dialects: Azure OpenAI, classic and v1, and Azure AI Foundry's model endpoint.

    classic   https://{resource}.openai.azure.com/openai
                  /deployments/{deployment}/audio/transcriptions?api-version=2024-10-21
    v1        https://{resource}.openai.azure.com/openai
                  /v1/audio/transcriptions                          the model field names the deployment
    Foundry   {foundry_url}/audio/transcriptions?api-version=2024-05-01-preview

https://learn.microsoft.com/azure/ai-services/openai/reference and …/openai/api-version-lifecycle
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from proxy.errors import GatewayError
from proxy.form.edits import Edits
from proxy.providers.auth import header_value
from proxy.providers.base import Outbound, Route, TokenRequest
from proxy.providers.body import field_of, form_edits, json_params, merge
from proxy.providers.urls import checked_base, join, with_parameter

if TYPE_CHECKING:
    from proxy.providers.base import Asked
    from proxy.providers.provider import Provider
    from proxy.routing.target import AzureOptions, Target

AUTHORITY: Final = "https://login.microsoftonline.com"
SCOPE: Final = "https://cognitiveservices.azure.com/.default"

_V1: Final = frozenset({"v1", "preview"})  # api versions of the form that has no deployments in its path
_RESOURCE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")  # a DNS label (RFC 1035)
_DEPLOYMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # what Azure allows, 64 at most
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,31}")  # v1, preview, 2025-04-01-preview
_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")  # a GUID or a domain, at most a DNS name long
_BEARER: Final = re.compile(r"^bearer +", re.IGNORECASE)


class AzureOpenAI:
    """A resource of one's own, whose deployments stand for models."""

    name = "azure-openai"

    def has_credential(self, target: Target) -> bool:
        """Whether there is a key, an Entra token, or the means to get one."""
        return _has_credential(target)

    def prepare(self, provider: Provider, target: Target, asked: Asked) -> Outbound:
        """Return the request in the form, classic or v1, that the API version asks for.

        A base URL of the target or of the settings takes the place of everything before ``/deployments``,
        and so holds ``/openai``, as in Portkey.
        """
        path = provider.path(asked)
        version = _version(target.azure.api_version)
        base = _openai_base(provider, target, asked)
        headers, token = _credentials(provider, target)
        quirks = provider.quirks(asked)
        deployment = None if asked.route is Route.PASSTHROUGH else _deployment(target, asked)
        if version in _V1:
            # Microsoft's own examples end the base URL in /openai/v1; both spellings mean the same.
            base = base.removesuffix("/v1") + "/v1"
            if deployment is not None:
                quirks = merge(quirks, _model_edits(deployment, target, asked))
        elif deployment is not None:
            base = f"{base}/deployments/{deployment}"
        # The GA form takes no version at all, its preview says so in the query.
        query = with_parameter(asked.query, "api-version", None if version == "v1" else version)
        return Outbound(
            url=join(base, path, query),
            headers=headers,
            edits=form_edits(target, quirks),
            params=json_params(target, quirks),
            token=token,
        )


class AzureAI:
    """A Foundry endpoint that serves models by name."""

    name = "azure-ai"

    def has_credential(self, target: Target) -> bool:
        """Whether there is a key, an Entra token, or the means to get one."""
        return _has_credential(target)

    def prepare(self, provider: Provider, target: Target, asked: Asked) -> Outbound:
        """Return the request to the Foundry URL; parameters that a model does not know are dropped there."""
        path = provider.path(asked)
        options = target.azure
        base = target.base_url or provider.base_url or options.foundry_url
        if not base:
            raise _missing("a URL", "foundry_url", "x-portkey-azure-foundry-url")
        query = asked.query
        if options.api_version:
            query = with_parameter(query, "api-version", _version(options.api_version))
        headers, token = _credentials(provider, target)
        quirks = provider.quirks(asked)
        return Outbound(
            url=join(checked_base(base), path, query),
            headers={**headers, "extra-parameters": "drop"},
            edits=form_edits(target, quirks),
            params=json_params(target, quirks),
            token=token,
        )


def _version(version: str | None) -> str:
    if not version:
        raise _missing("an API version", "api_version", "x-portkey-azure-api-version")
    if not _VERSION.fullmatch(version):
        raise _unusable("api_version", "a date such as 2024-10-21, with or without -preview, or v1")
    return version


def _openai_base(provider: Provider, target: Target, asked: Asked) -> str:
    if target.base_url is not None or provider.base_url is not None:
        return provider.base(target, asked)
    resource = target.azure.resource_name
    if not resource:
        raise _missing("a resource name", "resource_name", "x-portkey-azure-resource-name")
    if not _RESOURCE.fullmatch(resource):
        raise _unusable("resource_name", "the resource's name alone: letters, digits and hyphens")
    return f"https://{resource}.openai.azure.com/openai"


def _deployment(target: Target, asked: Asked) -> str:
    """Return the target's deployment, else what its map says of the model, else the model's name itself."""
    options = target.azure
    if options.deployment_id:
        return _checked_deployment(options.deployment_id, "deployment_id")
    model = field_of("model", target, asked)
    if not model:
        raise GatewayError(
            "missing_model",
            "Azure OpenAI needs a deployment: set deployment_id, or send a model field that names one.",
            param="model",
        )
    if not options.deployments:
        return _checked_deployment(model, "model")
    if model not in options.deployments:
        known = ", ".join(sorted(options.deployments))
        raise GatewayError(
            "invalid_request",
            f"No Azure deployment is set for this model. Known here: {known}.",
            param="model",
        )
    return _checked_deployment(options.deployments[model], "deployments")


def _checked_deployment(name: str, param: str) -> str:
    if _DEPLOYMENT.fullmatch(name):
        return name
    what = "a deployment's name: letters, digits, hyphens, dots and underscores"
    if param == "model":
        raise GatewayError("invalid_request", f"The model must be {what}.", param=param)
    raise _unusable(param, what)


def _model_edits(deployment: str, target: Target, asked: Asked) -> Edits:
    # A form that already says so is passed on byte for byte, with its Content-Length.
    overridden = "model" in target.override_params
    if not overridden and asked.fields.get("model") == deployment:
        return Edits()
    return Edits(replace={"model": (deployment,)})


def _has_credential(target: Target) -> bool:
    options = target.azure
    # Half of an Entra grant counts: the answer should then say which half is missing, not ask for a key.
    entra = (options.entra_tenant_id, options.entra_client_id, options.entra_client_secret)
    return bool(target.key or options.ad_token or any(entra))


def _credentials(provider: Provider, target: Target) -> tuple[dict[str, str], TokenRequest | None]:
    """Return headers and the token to fetch. Portkey's order: an Entra token, an Entra grant, the key."""
    options = target.azure
    if options.ad_token:
        token = _BEARER.sub("", options.ad_token)
        return {"Authorization": f"Bearer {header_value(token, 'the Entra token')}"}, None
    if options.entra_tenant_id or options.entra_client_id or options.entra_client_secret:
        return {}, _token_request(options)
    return provider.auth.headers(target.key), None


def _token_request(options: AzureOptions) -> TokenRequest:
    """Return the client-credentials grant of RFC 6749, 4.4, as Entra takes it."""
    tenant, client, secret = options.entra_tenant_id, options.entra_client_id, options.entra_client_secret
    if not tenant or not client or not secret:
        named = {"entra_tenant_id": tenant, "entra_client_id": client, "entra_client_secret": secret}
        absent = [name for name, value in named.items() if not value]
        raise GatewayError(
            "invalid_provider",
            f"An Entra login needs a tenant, a client id and a client secret: set {' and '.join(absent)}.",
            param=absent[0],
        )
    if not _TENANT.fullmatch(tenant):
        raise _unusable("entra_tenant_id", "a tenant's id or domain")
    authority = checked_base(options.entra_authority or AUTHORITY)
    return TokenRequest(
        url=f"{authority}/{tenant}/oauth2/v2.0/token",
        client_id=client,
        client_secret=secret,
        scope=options.entra_scope or SCOPE,
    )


def _missing(what: str, setting: str, header: str) -> GatewayError:
    return GatewayError(
        "invalid_provider",
        f"Azure needs {what}: set {setting} in the virtual key or the config, or send {header}.",
        param=setting,
    )


def _unusable(setting: str, what: str) -> GatewayError:
    return GatewayError("invalid_provider", f"The Azure {setting} must be {what}.", param=setting)
