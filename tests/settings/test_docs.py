"""docs/settings.md shows every key, only keys that exist, and the defaults as they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from proxy.settings import Settings, load
from proxy.settings.document import parse
from proxy.settings.environment import overlay
from proxy.settings.fields import paths
from proxy.settings.mistakes import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
SHELL = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
FREE = re.compile(r"\.(config|metadata|deployments|prices)\.")  # below these, keys are the user's own words


def keys(value: Any, above: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{above}{key}"
            yield from keys(inner, f"{above}{key}.")
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner, above[:-1] + "[].")


def documented() -> set[str]:
    found = {path for block in BLOCKS for path in keys(parse(block, Ledger()))}
    return {path for path in found if not FREE.search(path)}


def with_files(text: str, folder: Path) -> str:
    """Put the files that an example names where a test may write them."""
    (folder / "secret").write_text("a-secret\n")
    return re.sub(r"/(?:run/secrets|etc/audiogate/tls)/[a-z.-]+", str(folder / "secret"), text)


def test_every_documented_key_exists() -> None:
    assert documented() - set(paths()) == set()


def test_every_key_is_documented() -> None:
    shown = {path.removesuffix("_file") for path in documented()}
    assert {path.removesuffix("_file") for path in paths()} - shown == set()


def test_every_secret_file_key_is_named_on_the_page() -> None:
    for path in paths():
        assert path.rsplit(".", 1)[-1] in PAGE


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_example_is_a_valid_file(block: str, tmp_path: Path) -> None:
    names = re.findall(r"\$\{(\w+)\}", block)
    file = tmp_path / "settings.yaml"
    file.write_text(with_files(block, tmp_path))
    load(str(file), environ={name: f"value-of-{name}" for name in names}, flags={})


def test_the_documented_defaults_are_the_defaults(tmp_path: Path) -> None:
    (block,) = [block for block in BLOCKS if block.startswith("# defaults")]
    file = tmp_path / "settings.yaml"
    file.write_text(block)
    assert load(str(file), environ={}, flags={}).settings == Settings()
    assert set(keys(parse(block, Ledger()))) == {p for p in paths() if "[]" not in p and "_file" not in p}


def test_the_documented_variables_are_settings() -> None:
    (block,) = SHELL
    environ = dict(re.findall(r"^(AUDIOGATE_\w+)='?(.*?)'?$", block, re.MULTILINE))
    ledger = Ledger()
    overlay(environ, ledger)
    assert len(environ) == 4
    assert ledger.mistakes == []
