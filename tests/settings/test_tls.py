"""TLS in the settings: paths of files that are there, in pairs, and never what is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.settings import fingerprint, redacted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.settings.conftest import Read, Refuse

PAIR = "cert: tls.crt, key: tls.key"
FILES = ("tls.crt", "tls.key", "ca.crt")


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    """What the settings name; whether it is a certificate is for the house to say."""
    for name in FILES:
        (tmp_path / name).write_text(name)


BROKEN = [
    ("tls: {cert: tls.crt}", ["tls.cert: needs key beside it"]),
    ("tls: {key: tls.key}", ["tls.key: needs cert beside it"]),
    ("tls: {client_ca: ca.crt}", ["tls.client_ca: needs cert and key beside it"]),
    (
        f"tls: {{{PAIR}, client_auth: required}}",
        ["tls.client_auth: needs client_ca beside it: the authorities whose certificates are accepted"],
    ),
    (
        f"tls: {{{PAIR}, client_ca: ca.crt, client_auth: on}}",
        ["tls.client_auth: must be required or optional, not 'on'"],
    ),
    ("ops: {tls: {cert: tls.crt}}", ["ops.tls.cert: needs key beside it"]),
    ("tls: {cert: lost.crt, key: tls.key}", ["tls.cert: the file cannot be read: no such file or directory"]),
    (
        "{tls: {cert: lost.crt, key: lost.key}, ops: {tls: {cert: lost.crt, key: tls.key}}}",
        [
            "ops.tls.cert: the file cannot be read: no such file or directory",
            "tls.cert: the file cannot be read: no such file or directory",
            "tls.key: the file cannot be read: no such file or directory",
        ],
    ),
    ("tls: {cert: '', key: tls.key}", ["tls.cert: must be the path of a PEM file"]),
    ("tls: {cert: 7, key: tls.key}", ["tls.cert: must be the path of a PEM file"]),
    ("providers: [{slug: a, tls: {key: tls.key}}]", ["providers[0].tls.key: needs cert beside it"]),
    (
        "providers: [{slug: a, tls: {ca: ca.crt, verify: false}}]",
        ["providers[0].tls.ca: has no effect when verify is false; leave one of the two out"],
    ),
    (
        "providers: [{slug: a, base_url: 'http://a.example.com', tls: {ca: ca.crt}}]",
        ["providers[0].tls: has no effect on an http:// address; base_url must begin with https://"],
    ),
    (
        "providers: [{slug: a, tls: {ca: lost}}]",
        ["providers[0].tls.ca: the file cannot be read: no such file or directory"],
    ),
]


@pytest.mark.parametrize(("text", "mistakes"), BROKEN, ids=[text for text, _ in BROKEN])
def test_what_is_wrong_is_told_all_at_once(refuse: Refuse, text: str, mistakes: list[str]) -> None:
    assert sorted(refuse(text)) == mistakes


def test_a_key_that_is_pasted_in_is_refused_and_not_repeated(refuse: Refuse) -> None:
    secret = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49"
    text = f'tls: {{cert: tls.crt, key: "-----BEGIN PRIVATE KEY-----\\n{secret}\\n-----END PRIVATE KEY-----\\n"}}'
    assert refuse(text) == ["tls.key: must be the path of a file, not what is in it"]


def test_paths_start_at_the_settings_file_and_variables_where_the_gateway_runs(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "other.key").write_text("")
    monkeypatch.chdir(elsewhere)
    tls = read(f"tls: {{{PAIR}}}", {"AUDIOGATE_TLS__KEY": "other.key"}).settings.tls
    assert tls.cert == tmp_path / "tls.crt"
    assert tls.key is not None
    assert tls.key.resolve() == elsewhere / "other.key"


def test_a_file_that_changes_is_a_change_of_the_settings(read: Read, tmp_path: Path) -> None:
    loaded = read(f"tls: {{{PAIR}}}\nproviders: [{{slug: a, tls: {{ca: ca.crt}}}}]")
    assert {tmp_path / name for name in FILES} <= set(loaded.files)
    for name in FILES:
        (tmp_path / name).write_text("another")
        assert fingerprint(loaded.files) != loaded.fingerprint
        (tmp_path / name).write_text(name)
        assert fingerprint(loaded.files) == loaded.fingerprint


def test_a_file_need_not_be_text(read: Read, tmp_path: Path) -> None:
    (tmp_path / "tls.crt").write_bytes(b"# M\xfcller\n")  # bundles carry names in whatever encoding
    assert read(f"tls: {{{PAIR}}}").settings.tls.cert is not None


def test_the_settings_show_paths_and_nothing_of_the_files(read: Read, tmp_path: Path) -> None:
    shown = redacted(read(f"tls: {{{PAIR}}}").settings)
    assert shown["tls"]["key"] == str(tmp_path / "tls.key")
