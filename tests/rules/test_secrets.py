"""What shows itself in a traceback or a log line shows no credential."""

from __future__ import annotations

import dataclasses
import importlib
import re
from typing import Any

from pydantic import BaseModel

from proxy.access.callers import Caller, GatewayKey
from proxy.routing.hints import Hints
from proxy.routing.target import AzureOptions, Target
from proxy.routing.tree import Leaf
from proxy.settings import Settings
from tests.rules.sources import module, python_files

SECRET = "sk-rules-secret"
HOLDS_SECRETS = re.compile(r"(?:^|_)(?:key|secret|secrets|token|password|bearer|digest|headers)$")
HARMLESS = {
    "forward_headers": "names, no values",
    "openai_headers": "a flag",
    "needs_key": "a flag",
    "virtual_key": "a slug",
    "TokenRequest": "hides its own",
    "GatewayKey": "hides its own",
}
"""Names of fields, and types, that only look like a secret."""


def exposed() -> list[str]:
    """Return the dataclasses' fields that seem to hold a secret and would show it."""
    found = []
    for path in python_files("proxy"):
        if path.stem == "__main__":
            continue
        loaded = importlib.import_module(module(path))
        for kind in vars(loaded).values():
            if isinstance(kind, type) and kind.__module__ == loaded.__name__ and dataclasses.is_dataclass(kind):
                found += [f"{kind.__module__}.{kind.__name__}.{field.name}" for field in _shown(kind)]
    return found


def _shown(kind: Any) -> list[dataclasses.Field[Any]]:
    return [
        field
        for field in dataclasses.fields(kind)
        if field.repr and HOLDS_SECRETS.search(field.name) and field.name not in HARMLESS and not _harmless(field)
    ]


def _harmless(field: dataclasses.Field[Any]) -> bool:
    return any(re.search(rf"\b{word}\b", str(field.type)) for word in HARMLESS)


def test_no_dataclass_shows_a_field_that_holds_a_secret() -> None:
    wrong = exposed()
    assert not wrong, "\n".join(wrong)


def test_whoever_holds_a_credential_keeps_it_out_of_its_own_description() -> None:
    azure = AzureOptions(ad_token=SECRET, entra_client_secret=SECRET)
    key = GatewayKey("app", SECRET.encode())
    holders = [
        Target("openai", key=SECRET, azure=azure),
        Caller(key, provider_key=SECRET, secret=SECRET),
        Leaf(api_key=SECRET, azure_ad_token=SECRET, azure_entra_client_secret=SECRET),
        Hints(azure_ad_token=SECRET),
    ]
    assert [repr(holder) for holder in holders if SECRET in repr(holder)] == []


def test_settings_show_no_secret_however_they_are_looked_at() -> None:
    settings = Settings.model_validate(
        {
            "ops": {"token": SECRET},
            "auth": {"mode": "keys", "keys": [{"name": "app", "key": SECRET}]},
            "virtual_keys": [
                {"slug": "vk", "provider": "openai", "key": SECRET},
                {"slug": "az", "provider": "azure-openai", "azure_ad_token": SECRET, "entra_client_secret": SECRET},
            ],
        }
    )
    assert isinstance(settings, BaseModel)
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)
    assert SECRET not in settings.model_dump_json()
