"""The whole way: flags over environment over file over defaults, every mistake at once."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.settings import Address, Mistake, Settings, SettingsError, fingerprint, load
from proxy.settings.rules import GUARD
from proxy.settings.values import HEADER_SAFE

if TYPE_CHECKING:
    from tests.settings.conftest import Read, Refuse

KEY = "a-secret-that-no-message-may-repeat"

ORIGIN = "must be an origin without a path, like https://app.example.com or http://10.0.3.7:9000"

MISTAKES = [
    # unknown keys, with a suggestion when one is near
    ("timeouts: {connct: 3}", "timeouts.connct: unknown key; did you mean 'connect'?"),
    ("virtual_key: []", "virtual_key: unknown key; did you mean 'virtual_keys'?"),
    (
        "virtual_keys: [{slug: a, provider: b, kye: c}]",
        "virtual_keys[0].kye: unknown key; did you mean 'key'?",
    ),
    ("ops: {tokn_file: /x}", "ops.tokn_file: unknown key; did you mean 'token_file'?"),
    ("records: {transcript: full}", "records.transcript: unknown key; did you mean 'transcripts'?"),
    ("metrics: {key_labels: true}", "metrics.key_labels: unknown key; did you mean 'key_label'?"),
    ('{"odd\\nkey": 1}', r"['odd\nkey']: unknown key"),
    # numbers
    ("workers: many", "workers: must be a whole number from 1 to 64, not 'many'"),
    ("workers: 0", "workers: must be a whole number from 1 to 64, not 0"),
    ("metrics: {models: -1}", "metrics.models: must be a whole number from 0 to 1000, not -1"),
    ("workers: 65", "workers: must be a whole number from 1 to 64, not 65"),
    ("workers: 1.5", "workers: must be a whole number from 1 to 64, not 1.5"),
    ("workers: true", "workers: must be a whole number from 1 to 64, not true"),
    ("workers:", "workers: must be a whole number from 1 to 64, not null"),
    ("workers: [1]", "workers: must be a whole number from 1 to 64, not a list"),
    ("limits: {max_parts: 0}", "limits.max_parts: must be a whole number from 1 to 10000, not 0"),
    (
        "limits: {max_upload_bytes: 25MB}",
        "limits.max_upload_bytes: must be a whole number of bytes, 1 or more, not '25MB'",
    ),
    ("replay: {memory: -1}", "replay.memory: must be a whole number of bytes, 0 or more, not -1"),
    (
        "timeouts: {connect: 0}",
        "timeouts.connect: must be a number of seconds above 0, up to 604800, or null for none, not 0",
    ),
    (
        "timeouts: {keepalive: -1}",
        "timeouts.keepalive: must be a number of seconds from 0 to 604800, or null for none, not -1",
    ),
    ("drain: {delay: .nan}", "drain.delay: must be a number of seconds from 0 to 604800, not '.nan'"),
    ("drain: {delay: null}", "drain.delay: must be a number of seconds from 0 to 604800, not null"),
    # words and names
    ("auth: {mode: closed}", "auth.mode: must be open or keys, not 'closed'"),
    ("records: {transcripts: some}", "records.transcripts: must be full, redacted or off, not 'some'"),
    ("records: {transcripts: false}", "records.transcripts: must be full, redacted or off, not false"),
    ("records: {stdout: maybe}", "records.stdout: must be true or false, not 'maybe'"),
    ("records: {stdout: 1}", "records.stdout: must be true or false, not 1"),
    ("default_config: a/b", "default_config: must be 1 to 64 letters, digits, '.', '_' or '-'"),
    (
        "virtual_keys: [{slug: '', provider: openai}]",
        "virtual_keys[0].slug: must be 1 to 64 letters, digits, '.', '_' or '-'",
    ),
    ("virtual_keys: [{slug: a}]", "virtual_keys[0].provider: is required"),
    ("auth: {keys: [{key: a}]}", "auth.keys[0].name: is required"),
    (
        "auth: {keys: [{name: ' a', key: a}]}",
        "auth.keys[0].name: must be text of 1 to 100 printable characters",
    ),
    ("providers: [{slug: a, auth: basic}]", "providers[0].auth: must be bearer, none or header:NAME"),
    ("providers: [{slug: a, auth: 'header:x y'}]", "providers[0].auth: must be bearer, none or header:NAME"),
    (
        "providers: [{slug: a, formats: some}]",
        "providers[0].formats: must be any, or a list of file formats like [mp3, wav]",
    ),
    ("limits: {formats: []}", "limits.formats: must not be empty"),
    (
        "limits: {formats: [.mp3]}",
        "limits.formats[0]: must be a file format like mp3: 1 to 16 lower-case letters or digits",
    ),
    ("configs: [{slug: a, config: [1]}]", "configs[0].config: must be a config document: a mapping"),
    (
        "virtual_keys: [{slug: a, provider: b, deployments: {m: 'a b'}}]",
        "virtual_keys[0].deployments.m: must be text of 1 to 512 ASCII characters without spaces",
    ),
    (
        "auth: {keys: [{name: a, key: b, metadata: {team: [x]}}]}",
        "auth.keys[0].metadata.team: must be text, a number, true or false",
    ),
    ("replay: {directory: ''}", "replay.directory: must be the path of a directory"),
    # sections and lists
    ("limits: 5", "limits: must be a mapping of keys"),
    ("virtual_keys: {}", "virtual_keys: must be a list"),
    ("virtual_keys: [openai]", "virtual_keys[0]: must be a mapping of keys"),
    ("auth: {keys: [{name: a, key: b, metadata: 5}]}", "auth.keys[0].metadata: must be a mapping"),
    ("[listen]", "must be a mapping of settings, like 'listen: 127.0.0.1:8787'"),
    ("just text", "must be a mapping of settings, like 'listen: 127.0.0.1:8787'"),
    # addresses and URLs
    ("listen: 8787", "listen: must be HOST:PORT, [IPv6]:PORT or :PORT, not 8787"),
    ("listen: localhost", "listen: must be HOST:PORT, [IPv6]:PORT or :PORT, not 'localhost'"),
    ("listen: 'localhost:65536'", "listen: must be HOST:PORT, [IPv6]:PORT or :PORT, not 'localhost:65536'"),
    ("listen: '::1:80'", "listen: must be HOST:PORT, [IPv6]:PORT or :PORT, not '::1:80'"),
    (
        "providers: [{slug: a, base_url: 'ftp://x'}]",
        "providers[0].base_url: must be an http:// or https:// URL, like https://stt.example.com/v1",
    ),
    (
        f"providers: [{{slug: a, base_url: 'https://me:{KEY}@x/v1'}}]",
        "providers[0].base_url: must not hold a user name or password; put the credential into a virtual key",
    ),
    (
        f"providers: [{{slug: a, base_url: 'https://x/v1?key={KEY}'}}]",
        "providers[0].base_url: must not have a query or a fragment",
    ),
    ("providers: [{slug: a, base_url: 5}]", "providers[0].base_url: must be text; put it in quotes"),
    (
        "custom_hosts: {allow: ['https://x/v1']}",
        f"custom_hosts.allow[0]: {ORIGIN}",
    ),
    (
        "custom_hosts: {allow: ['app://x']}",
        "custom_hosts.allow[0]: must be an http:// or https:// origin, like https://stt.example.com",
    ),
    (
        "auth: {allow_origins: ['*']}",
        f"auth.allow_origins[0]: {ORIGIN}",
    ),
    (
        "ops: {hosts: ['https://x']}",
        "ops.hosts[0]: must be a host name alone, without scheme, port or path, like gateway.example.com",
    ),
    # secrets
    (
        f'ops: {{token: "{KEY}\\n"}}',
        f"ops.token: must be {HEADER_SAFE}",
    ),
    (
        f"auth: {{keys: [{{name: a, key_sha256: {KEY}}}]}}",
        "auth.keys[0].key_sha256: must be the key's SHA-256 as 64 hexadecimal digits",
    ),
    # the text itself
    ("a: b: c", "is not valid YAML at line 1, column 5: mapping values are not allowed in this context"),
    ("workers: 1\nworkers: 2", "workers: given twice, at lines 1 and 2; keep one"),
    ("ops:\n  listen: :1\n  listen: :2", "ops.listen: given twice, at lines 2 and 3; keep one"),
    ("workers: ${N}", "workers: the variable N is not set; set it, or give a default: ${N:-…}"),
]


@pytest.mark.parametrize(("text", "mistake"), MISTAKES, ids=[mistake for _, mistake in MISTAKES])
def test_a_mistake_is_named_with_its_place_in_one_line(text: str, mistake: str, refuse: Refuse) -> None:
    assert refuse(text) == [mistake]
    assert KEY not in mistake


def test_all_mistakes_are_reported_at_once(refuse: Refuse) -> None:
    text = """
        workers: many
        workers: 0
        listen: 0.0.0.0:80
        timeouts: {connct: 3, idle: -1}
        virtual_keys:
          - {slug: a, key: "${UNSET}"}
          - {slug: a, provider: openai, key_file: /nowhere}
        ops: {tokens: x}
    """
    assert refuse(text, {"AUDIOGATE_DRAIN__DELAYS": "3"}) == [
        "workers: given twice, at lines 2 and 3; keep one",
        "virtual_keys[0].key: the variable UNSET is not set; set it, or give a default: ${UNSET:-…}",
        "AUDIOGATE_DRAIN__DELAYS: unknown setting; did you mean 'AUDIOGATE_DRAIN__DELAY'?",
        "timeouts.connct: unknown key; did you mean 'connect'?",
        "virtual_keys[1].key_file: the file cannot be read: no such file or directory",
        "ops.tokens: unknown key; did you mean 'token'?",
        "virtual_keys[0].provider: is required",
        "timeouts.idle: must be a number of seconds above 0, up to 604800, or null for none, not -1",
        "workers: must be a whole number from 1 to 64, not 0",
        f"auth.mode: {GUARD}",
        "virtual_keys[1].slug: the same slug as entry 0; give each its own",
    ]


def test_a_mistake_has_a_path_and_a_message(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("ops: {listen: x}")
    with pytest.raises(SettingsError) as refused:
        load(str(tmp_path / "s.yaml"), environ={}, flags={})
    assert refused.value.mistakes == (Mistake("ops.listen", "must be HOST:PORT, [IPv6]:PORT or :PORT, not 'x'"),)


@pytest.mark.parametrize("text", ["", "{}", "---\n", "# nothing\n", "limits:\n  # max_parts: 3\n", "{}\n...\n"])
def test_an_empty_file_means_the_defaults(text: str, read: Read) -> None:
    assert read(text).settings == Settings()


def test_json_works_too(read: Read) -> None:
    assert read('{"workers": 2, "timeouts": {"total": null}}').settings.workers == 2


def test_without_a_file_there_are_defaults_environment_and_flags() -> None:
    loaded = load(None, environ={"AUDIOGATE_WORKERS": "3"}, flags={"listen": ":0"})
    assert (loaded.settings.workers, loaded.settings.listen) == (3, Address("", 0))
    assert loaded.files == ()


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("workers: 5")
    environ = {"AUDIOGATE_CONFIG": str(tmp_path / "s.yaml")}
    assert load(None, environ=environ, flags={}).settings.workers == 5


def test_flags_beat_environment_beats_file_beats_defaults(read: Read) -> None:
    text = "timeouts: {connect: 1, idle: 1, header: 1}"
    environ = {"AUDIOGATE_TIMEOUTS__CONNECT": "2", "AUDIOGATE_TIMEOUTS__IDLE": "2"}
    timeouts = read(text, environ, **{"timeouts.connect": 3, "timeouts.total": None}).settings.timeouts
    assert (timeouts.connect, timeouts.idle, timeouts.header, timeouts.total) == (3, 2, 1, None)
    assert timeouts.first_byte == 600


def test_a_stronger_layer_does_not_cure_a_section_that_is_no_mapping(refuse: Refuse) -> None:
    assert refuse("limits: 5", {"AUDIOGATE_LIMITS__MAX_PARTS": "3"}) == ["limits: must be a mapping of keys"]


def test_settings_cannot_be_changed(read: Read) -> None:
    with pytest.raises(ValueError, match="frozen"):
        read("").settings.timeouts.connect = 1


@pytest.mark.parametrize(
    ("make", "mistake"),
    [
        (lambda file: None, "cannot be read: no such file or directory"),
        (lambda file: file.mkdir(), "cannot be read: is a directory"),
        (lambda file: file.write_bytes(b"a: \xff"), "is not UTF-8 text"),
        (lambda file: file.write_bytes(b"#" * (1024 * 1024 + 1)), "is larger than 1048576 bytes"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_mistake(make: object, mistake: str, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    assert callable(make)
    make(file)
    with pytest.raises(SettingsError) as refused:
        load(str(file), environ={}, flags={})
    assert [str(found) for found in refused.value.mistakes] == [mistake]


def test_a_change_of_any_file_changes_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one")
    (tmp_path / "s.yaml").write_text("ops: {token_file: token}")
    loaded = load(str(tmp_path / "s.yaml"), environ={}, flags={})
    assert loaded.files == (tmp_path / "s.yaml", tmp_path / "token")
    assert fingerprint(loaded.files) == loaded.fingerprint
    (tmp_path / "token").write_text("two")
    assert fingerprint(loaded.files) != loaded.fingerprint


def test_refused_settings_say_what_to_watch_for_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("ops: {token_file: token}")
    with pytest.raises(SettingsError) as refused:
        load(str(tmp_path / "s.yaml"), environ={}, flags={})
    error = refused.value
    assert error.files == (tmp_path / "s.yaml", tmp_path / "token")
    assert fingerprint(error.files) == error.fingerprint
    (tmp_path / "token").write_text("here it is")
    assert fingerprint(error.files) != error.fingerprint


WORDS = st.sampled_from(
    [
        *("listen", "ops", "auth", "keys", "name", "key", "key_file", "virtual_keys", "slug", "provider", "limits"),
        *("configs", "config", "timeouts", "connect", "workers", "providers", "formats", "<<", "&a", "*a", "${A}"),
        *("{", "}", "[", "]", ":", ": ", "- ", "\n", "  ", ",", "'", '"', "null", "true", "1", "-1", "1e9", ":1"),
    ]
)
TEXTS = st.one_of(st.text(), st.lists(WORDS, max_size=40).map("".join), st.lists(WORDS, max_size=40).map(" ".join))
NODES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(list(Settings.model_fields)), st.text(max_size=5)), inner),
    ),
    max_leaves=12,
)
TREES = st.dictionaries(st.sampled_from(list(Settings.model_fields)), NODES, max_size=4)


@settings(max_examples=400, deadline=None)
@given(st.one_of(TEXTS, TREES.map(yaml.safe_dump)))
def test_any_text_yields_settings_or_mistakes_of_one_line_each(text: str) -> None:
    lines = mistakes_in(text)
    assert lines is None or (lines and not any("\n" in line for line in lines))


def mistakes_in(text: str) -> list[str] | None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "s.yaml"
        file.write_text(text, encoding="utf-8", newline="")
        try:
            load(str(file), environ={}, flags={})
        except SettingsError as error:
            return [str(mistake) for mistake in error.mistakes]
    return None
