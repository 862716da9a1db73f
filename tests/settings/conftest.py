"""What the settings' tests share: a file from a text, and what loading it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

from proxy.settings import Loaded, SettingsError, load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Read(Protocol):
    """Loads settings from a text."""

    def __call__(self, text: str, environ: Mapping[str, str] | None = None, **flags: Any) -> Loaded: ...


class Refuse(Protocol):
    """Loads settings that are wrong and returns the mistakes as lines."""

    def __call__(self, text: str, environ: Mapping[str, str] | None = None, **flags: Any) -> list[str]: ...


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(text: str, environ: Mapping[str, str] | None = None, **flags: Any) -> Loaded:
        file = tmp_path / "settings.yaml"
        file.write_text(text)
        return load(str(file), environ=environ or {}, flags=flags)

    return read


@pytest.fixture
def refuse(read: Read) -> Refuse:
    def refuse(text: str, environ: Mapping[str, str] | None = None, **flags: Any) -> list[str]:
        with pytest.raises(SettingsError) as refused:
            read(text, environ, **flags)
        return [str(mistake) for mistake in refused.value.mistakes]

    return refuse
