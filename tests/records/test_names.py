"""The names that settings bring into labels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from proxy.records.names import Names, names_in
from proxy.settings import load

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = ("openai", "azure-openai", "groq", "deepgram", "whisper-local")


def names(tmp_path: Path, **settings: Any) -> Names:
    file = tmp_path / "audiogate.json"
    file.write_text(json.dumps(settings))
    return names_in(load(str(file), environ={}, flags={}).settings, KNOWN)


def test_settings_that_name_nothing_bring_nothing(tmp_path: Path) -> None:
    found = names(tmp_path)
    assert (set(found.providers), set(found.models), set(found.keys)) == (set(), set(), set())
    assert found.known == KNOWN


def test_every_place_that_names_something_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "prices.json").write_text(json.dumps({"groq": {"priced-by-file": {"usd_per_second": 1}}}))
    found = names(
        tmp_path,
        auth={"mode": "keys", "keys": [{"name": "mobile", "key": "k" * 40}]},
        virtual_keys=[
            {
                "slug": "azure",
                "provider": "azure-openai",
                "key": "secret",
                "resource_name": "contoso",
                "deployments": {"whisper-1": "hear"},
                "api_version": "2025-04-01-preview",
            }
        ],
        providers=[
            {
                "slug": "whisper-local",
                "dialect": "openai",
                "base_url": "http://127.0.0.1:9000/v1",
                "prices": {"*": {"usd_per_second": 0}, "big": {"usd_per_second": 1}},
            }
        ],
        configs=[
            {"slug": "one", "config": {"provider": "groq", "override_params": {"model": "overridden"}}},
            {"slug": "two", "config": {"provider": "@azure"}},
        ],
        prices=str(tmp_path / "prices.json"),
    )
    assert set(found.providers) == {"azure-openai", "whisper-local", "groq"}
    assert set(found.models) == {"whisper-1", "big", "overridden", "priced-by-file"}
    assert set(found.keys) == {"mobile"}
