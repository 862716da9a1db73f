"""The documentation names everything there is, and only what there is."""

from __future__ import annotations

import argparse
import re
from typing import Any, cast
from urllib.parse import unquote

import pytest
import yaml

from proxy.cli import _parser
from proxy.errors import KINDS
from proxy.providers.table import TABLE
from proxy.records.catalogue import CATALOGUE
from proxy.settings import Settings
from proxy.settings.fields import paths
from tests.rules.pages import anchors, blocks, code_lines, everything, links, page, pages, rows, spans
from tests.rules.sources import ROOT

SECTIONS = set(Settings.model_fields)
KEYS = {path.replace("[]", "") for path in paths()}
# Below these, keys are the user's own words.
FREE = re.compile(r"^(?:configs\.config|auth\.keys\.metadata|virtual_keys\.deployments|providers\.prices)\.")
NOT_SETTINGS = {"AUDIOGATE_CONFIG", "AUDIOGATE_API_KEY"}
SUFFIXES = ("_bucket", "_count", "_sum", "_created")


# Settings


def keys_of(value: Any, above: str = "") -> set[str]:
    """Return the dotted keys of a document, list items taken as one."""
    if isinstance(value, dict):
        inner = [keys_of(item, f"{above}{key}.") for key, item in value.items()]
        return {f"{above}{key}" for key in value}.union(*inner)
    if isinstance(value, list):
        return set().union(*(keys_of(item, above) for item in value))
    return set()


def test_every_setting_is_on_a_page() -> None:
    words = set(re.findall(r"\w+", everything()))
    assert {path for path in KEYS if path.rpartition(".")[2] not in words} == set()


def test_every_setting_that_a_page_shows_exists() -> None:
    wrong = set()
    for name, text in pages().items():
        for block in blocks(text, "yaml"):
            for document in yaml.safe_load_all(block):
                if isinstance(document, dict) and not {"services", "apiVersion"} & document.keys():
                    wrong |= {f"{name}: {key}" for key in keys_of(document) - KEYS if not FREE.match(key)}
    assert not wrong, "\n".join(sorted(wrong))


def test_every_setting_that_a_page_names_by_its_path_exists() -> None:
    dotted = re.compile(r"^([a-z_]+)((?:\.[a-z_]+|\[\])+)(?:: .*)?$")
    named = {(name, found) for name, text in pages().items() for span in spans(text) if (found := dotted.match(span))}
    wrong = {
        f"{name}: {found[0]}"
        for name, found in named
        if found[1] in SECTIONS and not found[2].endswith((".md", ".py", ".db", ".yaml"))
        if (found[1] + found[2]).replace("[]", "") not in KEYS
    }
    assert not wrong, "\n".join(sorted(wrong))


def test_every_variable_that_a_page_names_is_a_setting() -> None:
    names = set(re.findall(r"\bAUDIOGATE_[A-Z][A-Z_]+\b", everything())) - NOT_SETTINGS
    known = {"AUDIOGATE_" + path.replace(".", "__").upper() for path in KEYS}
    assert names - known == set()


# Errors


def test_every_error_code_is_explained_with_its_status() -> None:
    explained = {
        code: int(status)
        for row in rows(page("docs/errors.md"))
        for status in re.findall(r"\b([45]\d\d)\b", " ".join(row[:2]))
        for code in re.findall(r"`([a-z_]+)`", " ".join(row[:2]))
        if code in KINDS
    }
    assert explained == {code: kind.status for code, kind in KINDS.items()}


def test_every_error_code_that_a_page_names_exists() -> None:
    named = set(re.findall(r'"code": ?"([a-z_]+)"', everything()))
    for row in rows(page("docs/errors.md")):
        if re.search(r"\b[45]\d\d\b", " ".join(row[:2])):
            named |= set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", " ".join(row[:2])))
    types = {kind.type for kind in KINDS.values()}
    assert named - KINDS.keys() - types == set()


# Commands


def commands() -> dict[str, set[str]]:
    """Return each command's flags; those of ``audiogate`` itself under the empty name."""
    parser = _parser()
    (inner,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    choices = cast("dict[str, argparse.ArgumentParser]", inner.choices)
    own = {flag for action in parser._actions for flag in action.option_strings}
    return {name: _flags(choice) for name, choice in choices.items()} | {"": own}


def _flags(parser: argparse.ArgumentParser) -> set[str]:
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    below = [_flags(choice) for action in inner for choice in action.choices.values()]
    return {flag for action in parser._actions for flag in action.option_strings}.union(*below)


COMMANDS = commands()
CALL = re.compile(
    r"(?:^|[|;&] *)(?:\w+=\S* +)*(?:exec +)?(?:\S*bin/)?(?:audiogate|python3? -m proxy)(?: +([a-z]\w*))?(\s.*|)$"
)
CALLS = [
    (name, found[1] or "", found[2])
    for name, text in pages().items()
    for line in code_lines(text)
    if (found := CALL.search(line))
]
"""(page, command, rest of the line) of every call in the documentation's code."""


@pytest.mark.parametrize("command", [name for name in COMMANDS if name])
def test_every_command_is_shown_with_its_flags(command: str) -> None:
    assert command in {called for _, called, _ in CALLS}
    words = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", everything()))
    assert COMMANDS[command] - {"-h", "--help"} - words == set()


def test_every_command_and_flag_that_a_page_shows_exists() -> None:
    wrong = []
    for name, command, rest in CALLS:
        known = COMMANDS.get(command)
        flags = re.findall(r"(?:^|[ \[])(--?[a-z][\w-]*)", rest.partition("#")[0].partition(" | ")[0])
        wrong += [f"{name}: {command} {flag}" for flag in flags if known is not None and flag not in known]
        wrong += [f"{name}: {command}"] if known is None else []
    assert not wrong, "\n".join(wrong)


# Providers


def test_every_provider_is_on_a_page() -> None:
    assert {provider.slug for provider in TABLE if f"`{provider.slug}`" not in everything()} == set()


def test_every_provider_that_an_example_names_exists() -> None:
    text = everything()
    known = {provider.slug for provider in TABLE} | set(re.findall(r"slug\"?: *\"?([a-z0-9-]+)", text))
    named = set(re.findall(r"(?i:x-portkey-provider)\"?[:=] *\"?@?([a-z0-9][a-z0-9-]*)", text))
    named |= set(re.findall(r"--provider[ =]@?([a-z0-9][a-z0-9-]*)", text))
    assert named - known == set()


# Metrics


def metrics() -> set[str]:
    """Return the names of all metrics as ``/metrics`` shows them."""
    return {spec.name for spec in CATALOGUE}


def test_every_metric_is_on_its_page() -> None:
    assert {name for name in metrics() if f"`{name}" not in page("docs/metrics.md")} == set()


def test_every_metric_that_a_page_names_exists() -> None:
    named = set(re.findall(r"\baudiogate_[a-z_]*[a-z]\b", everything()))
    known = metrics()
    assert {name for name in named if name not in known and _family(name) not in known} == set()


def _family(name: str) -> str:
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


# Links


def test_every_link_inside_the_project_leads_somewhere() -> None:
    wrong = []
    for name, text in pages().items():
        for link in links(text):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = unquote(link).partition("#")
            target = (ROOT / name).parent / path if path else ROOT / name
            if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
                wrong.append(f"{name}: {link}")
    assert not wrong, "\n".join(wrong)


def test_the_readme_is_where_reading_starts() -> None:
    reachable, waiting = set(), ["README.md"]
    while waiting:
        name = waiting.pop()
        if name not in pages() or name in reachable:
            continue
        reachable.add(name)
        targets = [((ROOT / name).parent / link.partition("#")[0]).resolve() for link in links(page(name))]
        waiting += [str(target.relative_to(ROOT)) for target in targets if target.is_relative_to(ROOT)]
    assert set(pages()) - reachable == set()
