"""The providers known from the start. Adding one is adding a row; docs/providers.md tells users the same.

Sources: the providers' API pages and SDKs of 2026; for self-hosted servers, their source code. What a
provider refuses on its own (a response format it lacks, a file too large for a plan) is left to its answer:
limits differ by plan and model, and a false refusal is worse than a late one.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from proxy.errors import GatewayError
from proxy.form.edits import Edits
from proxy.providers.auth import NO_AUTH, Auth
from proxy.providers.azure import AzureAI, AzureOpenAI
from proxy.providers.base import Route
from proxy.providers.body import field_of
from proxy.providers.openai import OpenAI
from proxy.providers.provider import Dialect, Provider

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.providers.base import Asked
    from proxy.routing.target import Target

OPENAI: Final = OpenAI()
AZURE_OPENAI: Final = AzureOpenAI()
AZURE_AI: Final = AzureAI()
DIALECTS: Final[Mapping[str, Dialect]] = {one.name: one for one in (OPENAI, AZURE_OPENAI, AZURE_AI)}

_TRANSCRIBE: Final = {Route.TRANSCRIPTIONS: "/audio/transcriptions"}
_TRANSLATE: Final = {Route.TRANSLATIONS: "/audio/translations"}
_SPEAK: Final = {Route.SPEECH: "/audio/speech"}
_ALL: Final = _TRANSCRIBE | _TRANSLATE | _SPEAK

# These translate where they transcribe, when a form field says so.
_TRANSLATE_BY_FIELD: Final = {Route.TRANSLATIONS: "/audio/transcriptions"}
_TRANSLATE_FIELD: Final = {Route.TRANSLATIONS: Edits(replace={"translate": ("true",)})}

_FIREWORKS_PROD: Final = "https://audio-prod.api.fireworks.ai/v1"
_FIREWORKS_TURBO: Final = "https://audio-turbo.api.fireworks.ai/v1"
_FIREWORKS: Final = "https://api.fireworks.ai/inference/v1"


def fireworks_base(target: Target, asked: Asked) -> str:
    """Choose the Fireworks host: the turbo model has one of its own, translations are on the other only.

    https://docs.fireworks.ai/guides/querying-asr-models
    """
    if asked.route is Route.TRANSLATIONS:
        return _FIREWORKS_PROD
    if asked.route is not Route.TRANSCRIPTIONS:
        return _FIREWORKS
    model = field_of("model", target, asked)
    if not model:
        raise GatewayError(
            "missing_model",
            "Fireworks has a host for each model: send a model field, whisper-v3 or whisper-v3-turbo.",
            param="model",
        )
    return _FIREWORKS_TURBO if model.rpartition("/")[2] == "whisper-v3-turbo" else _FIREWORKS_PROD


_openai: Final = partial(Provider, dialect=OPENAI)

# A dialect's namesake is the pattern for the settings' own upstreams of that dialect.
TABLE: Final = (
    _openai(slug="openai", base_url="https://api.openai.com/v1", paths=_ALL, openai_headers=True),
    Provider(
        slug="azure-openai",
        dialect=AZURE_OPENAI,
        base_url=None,  # made of the resource's name
        paths=_ALL,
        auth=Auth("api-key"),
        model_required=False,  # the deployment says it
    ),
    Provider(slug="azure-ai", dialect=AZURE_AI, base_url=None, paths=_ALL),
    _openai(slug="groq", base_url="https://api.groq.com/openai/v1", paths=_ALL),
    _openai(slug="together-ai", base_url="https://api.together.ai/v1", paths=_ALL, formats=None),
    _openai(
        slug="fireworks-ai",
        base_url=_FIREWORKS,
        base_for=fireworks_base,
        paths=_TRANSCRIBE | _TRANSLATE,
        formats=None,
    ),
    _openai(slug="deepinfra", base_url="https://api.deepinfra.com/v1/openai", paths=_ALL, formats=None),
    _openai(slug="mistral-ai", base_url="https://api.mistral.ai/v1", paths=_TRANSCRIBE, formats=None),
    _openai(slug="sambanova", base_url="https://api.sambanova.ai/v1", paths=_TRANSCRIBE | _TRANSLATE),
    _openai(slug="siliconflow", base_url="https://api.siliconflow.cn/v1", paths=_TRANSCRIBE | _SPEAK),
    _openai(
        slug="lemonfox-ai",
        base_url="https://api.lemonfox.ai/v1",
        paths=_TRANSCRIBE | _TRANSLATE_BY_FIELD | _SPEAK,
        edits=_TRANSLATE_FIELD,
        model_required=False,
        formats=None,
    ),
    _openai(slug="ovhcloud", base_url="https://oai.endpoints.kepler.ai.cloud.ovh.net/v1", paths=_TRANSCRIBE),
    _openai(slug="scaleway", base_url="https://api.scaleway.ai/v1", paths=_TRANSCRIBE),
    # Self-hosted: they are wherever somebody put them, and ask for a key only when started with one.
    _openai(slug="vllm", base_url=None, paths=_TRANSCRIBE | _TRANSLATE, needs_key=False, formats=None),
    _openai(
        slug="whisper-cpp",
        base_url=None,
        paths=_TRANSCRIBE | _TRANSLATE_BY_FIELD,
        edits=_TRANSLATE_FIELD,
        auth=NO_AUTH,
        needs_key=False,
        model_required=False,  # it serves the one it was started with
        formats=None,
    ),
    _openai(slug="speaches", base_url=None, paths=_ALL, needs_key=False, formats=None),
    _openai(
        slug="localai",
        base_url=None,
        paths=_TRANSCRIBE | _TRANSLATE_BY_FIELD | _SPEAK,
        edits=_TRANSLATE_FIELD,
        needs_key=False,
        formats=None,
    ),
    _openai(slug="nvidia-nim", base_url=None, paths=_TRANSCRIBE | _TRANSLATE, needs_key=False),
)
