"""Secrets in files, and text that stands for values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.settings.values import HEADER_SAFE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.settings.conftest import Read, Refuse

CONTENTS = [("secret", "secret"), ("secret\n", "secret"), ("secret\r\n", "secret"), ("\ufeffsecret", "secret")]


@pytest.mark.parametrize(("content", "secret"), CONTENTS)
def test_a_secret_may_come_from_a_file(content: str, secret: str, read: Read, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(content.encode())
    token = read(f"ops: {{token_file: {tmp_path / 'token'}}}").settings.ops.token
    assert token
    assert token.get_secret_value() == secret


ENTRA = "entra_tenant_id: t, entra_client_id: c, entra_client_secret_file: secret"
TWINS = [
    "ops: {token_file: secret}",
    "auth: {keys: [{name: a, key_file: secret}]}",
    "virtual_keys: [{slug: a, provider: b, key_file: secret}]",
    "virtual_keys: [{slug: a, provider: b, azure_ad_token_file: secret}]",
    f"virtual_keys: [{{slug: a, provider: b, {ENTRA}}}]",
    "configs: [{slug: a, config: {targets: [{api_key_file: secret}]}}]",
]


@pytest.mark.parametrize("section", TWINS)
def test_every_secret_has_a_file_twin_relative_to_the_settings_file(section: str, read: Read, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret")
    loaded = read(section)
    assert tmp_path / "secret" in loaded.files
    assert "s3cret" not in repr(loaded)


def test_a_config_document_gets_its_secret_in_place(read: Read, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    text = "configs: [{slug: a, config: {targets: [{provider: openai, api_key_file: secret}], cache: {mode: x}}}]"
    assert read(text).settings.configs[0].config == {
        "targets": [{"provider": "openai", "api_key": "s3cret"}],
        "cache": {"mode": "x"},
    }


def test_form_fields_of_a_config_are_not_ours_to_read(read: Read) -> None:
    config = {"override_params": {"api_key_file": "as it is"}}
    assert (
        read("configs: [{slug: a, config: {override_params: {api_key_file: as it is}}}]").settings.configs[0].config
        == config
    )


WRONG = [
    ("ops: {token_file: none}", "ops.token_file: the file cannot be read: no such file or directory"),
    ("ops: {token_file: .}", "ops.token_file: the file cannot be read: is a directory"),
    ('ops: {token_file: "a\\0b"}', "ops.token_file: the file cannot be read: its name is not a path"),
    (f"ops: {{token_file: {'x' * 5000}}}", "ops.token_file: the file cannot be read: file name too long"),
    ("ops: {token_file: empty}", "ops.token_file: the file is empty"),
    ("ops: {token_file: lines}", f"ops.token_file: the file must hold {HEADER_SAFE}"),
    ("ops: {token_file: binary}", "ops.token_file: the file is not UTF-8 text"),
    ("ops: {token_file: 5}", "ops.token_file: must be the path of a file"),
    ("ops: {token_file: ''}", "ops.token_file: must be the path of a file"),
    ("ops: {token: a, token_file: empty}", "ops.token_file: token is given too; keep one of the two"),
    (
        "auth: {keys: [{name: a, key_file: empty}]}",
        "auth.keys[0].key_file: the file is empty",
    ),
    (
        "configs: [{slug: a, config: {targets: [{api_key_file: none}]}}]",
        "configs[0].config.targets[0].api_key_file: the file cannot be read: no such file or directory",
    ),
    (
        'configs: [{slug: a, config: {api_key: "a\\nb"}}]',
        f"configs[0].config.api_key: must be {HEADER_SAFE}",
    ),
]


@pytest.mark.parametrize(("text", "mistake"), WRONG, ids=[mistake for _, mistake in WRONG])
def test_a_file_that_gives_no_secret_is_a_mistake(text: str, mistake: str, refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "lines").write_text("one\ntwo\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert refuse(text) == [mistake]


def test_null_unsets_either_twin(read: Read) -> None:
    assert read("ops: {token: null, token_file: null}").settings.ops.token is None


FLAGS = [("yes", True), ("no", False), ("on", True), ("Off", False), ("true", True), ("'false'", False)]


@pytest.mark.parametrize(("word", "value"), FLAGS)
def test_a_flag_understands_the_words_of_yaml_1_1(word: str, value: bool, read: Read) -> None:
    assert read(f"records: {{stdout: {word}}}").settings.records.stdout is value


def test_the_same_words_are_text_where_text_is_expected(read: Read) -> None:
    keys = read("auth: {keys: [{name: no, key: yes, metadata: {country: no}}]}").settings.auth.keys
    assert (keys[0].name, keys[0].metadata) == ("no", {"country": "no"})


def test_a_section_with_nothing_in_it_means_its_defaults(read: Read) -> None:
    settings = read("auth:\nvirtual_keys:\ncustom_hosts: {allow: }\n").settings
    assert (settings.auth.mode, settings.virtual_keys, settings.custom_hosts.allow) == ("open", (), ())
