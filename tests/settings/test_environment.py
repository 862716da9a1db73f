"""Variables in the file and variables over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from proxy.settings.environment import Unset, expand, from_flags
from proxy.settings.mistakes import Ledger

if TYPE_CHECKING:
    from pathlib import Path

    from tests.settings.conftest import Read, Refuse

EXPANSIONS = [
    ("plain", "plain"),
    ("${A}", "1"),
    ("x${A}y${A}z", "x1y1z"),
    ("${EMPTY}", ""),
    ("${UNSET:-two}", "two"),
    ("${UNSET:-}", ""),
    ("${EMPTY:-two}", "two"),
    ("${A:-two}", "1"),
    ("$${A}", "${A}"),
    ("$$${A}", "$${A}"),
    ("$A $ {A} $", "$A $ {A} $"),
    ("${TRICKY}", "${A}"),
]


@pytest.mark.parametrize(("text", "expected"), EXPANSIONS)
def test_variables_are_replaced_once(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "EMPTY": "", "TRICKY": "${A}"})[0] == expected


@pytest.mark.parametrize("text", ["${UNSET}", "${", "${}", "${A", "${A-b}", "${1A}", "a ${A} ${ b"])
def test_text_that_cannot_be_completed_is_refused(text: str) -> None:
    with pytest.raises(Unset):
        expand(text, {"A": "1"})


def test_a_variable_may_stand_for_any_kind_of_value(read: Read) -> None:
    text = """
        workers: ${N:-2}
        timeouts: {total: "${T:-null}", connect: "${C}"}
        records: {stdout: "${S}"}
        virtual_keys: ${KEYS}
        default_config: ${D:-null}
    """
    environ = {"C": "1.5", "S": "off", "KEYS": '[{"slug": "a", "provider": "openai", "key": "12345"}]'}
    settings = read(text, environ).settings
    assert (settings.workers, settings.timeouts.total, settings.timeouts.connect) == (2, None, 1.5)
    assert settings.records.stdout is False
    assert settings.default_config is None
    key = settings.virtual_keys[0].key
    assert key
    assert key.get_secret_value() == "12345"


def test_variables_reach_into_config_documents(read: Read) -> None:
    text = 'configs: [{slug: a, config: {api_key: "${K}", retry: {attempts: 3}}}]'
    config = read(text, {"K": "00123"}).settings.configs[0].config
    assert config == {"api_key": "00123", "retry": {"attempts": 3}}


VARIABLES: list[tuple[str, str, Any]] = [
    ("AUDIOGATE_LISTEN", ":1", "listen"),
    ("AUDIOGATE_OPS__LISTEN", "127.0.0.1:1", "ops.listen"),
    ("AUDIOGATE_OPS__HOSTS", "[a.example]", "ops.hosts"),
    ("AUDIOGATE_TIMEOUTS__CONNECT", "3", "timeouts.connect"),
    ("AUDIOGATE_TIMEOUTS__TOTAL", "null", "timeouts.total"),
    ("AUDIOGATE_DEFAULT_CONFIG", "123", "default_config"),
    ("AUDIOGATE_RECORDS__STDOUT", "no", "records.stdout"),
    ("AUDIOGATE_AUTH__KEYS", '[{"name": "a", "key": "b"}]', "auth.keys"),
]
EXPECTED = [":1", "127.0.0.1:1", "('a.example',)", "3.0", "None", "123", "False", "mapping"]


@pytest.mark.parametrize(
    ("name", "text", "path", "expected"),
    [(*variable, expected) for variable, expected in zip(VARIABLES, EXPECTED, strict=True)],
)
def test_a_variable_sets_the_key_its_name_spells(name: str, text: str, path: str, expected: str, read: Read) -> None:
    value: Any = read("", {name: text}).settings
    for step in path.split("."):
        value = getattr(value, step)
    assert (str(value) == expected) or (expected == "mapping" and value[0].name == "a")


def test_a_section_variable_adds_to_the_section_and_a_deeper_one_beats_it(read: Read) -> None:
    environ = {
        "AUDIOGATE_LIMITS": "{max_parts: 3, max_in_flight: 3}",
        "AUDIOGATE_LIMITS__MAX_IN_FLIGHT": "4",
    }
    limits = read("limits: {max_parts: 1, max_field_bytes: 1}", environ).settings.limits
    assert (limits.max_field_bytes, limits.max_parts, limits.max_in_flight) == (1, 3, 4)


def test_a_secret_file_from_the_environment_beats_the_secret_in_the_file(read: Read, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file")
    environ = {"AUDIOGATE_OPS__TOKEN_FILE": str(tmp_path / "token")}
    token = read("ops: {token: from-settings}", environ).settings.ops.token
    assert token
    assert token.get_secret_value() == "from-file"


def test_both_twins_from_the_environment_are_a_mistake(refuse: Refuse) -> None:
    environ = {"AUDIOGATE_OPS__TOKEN": "a", "AUDIOGATE_OPS__TOKEN_FILE": "/x"}
    assert refuse("", environ) == ["ops.token_file: token is given too; keep one of the two"]


FOREIGN = {
    "AUDIOGATE_API_KEY": "x",
    "AUDIOGATE_CONFIG": "",
    "AUDIOGATE_INTERNAL_WORKER": "1",
    "AUDIOGATE_SERVICE_HOST": "10.0.0.1",
    "AUDIOGATE_SERVICE_PORT": "8787",
    "AUDIOGATE_SERVICE_PORT_HTTP": "8787",
    "AUDIOGATE_PORT": "tcp://10.0.0.1:8787",
    "AUDIOGATE_PORT_8787_TCP": "tcp://10.0.0.1:8787",
    "AUDIOGATE_PORT_8787_TCP_ADDR": "10.0.0.1",
    "AUDIOGATE_OPS_SERVICE_HOST": "10.0.0.1",
    "AUDIOGATE_OPS_PORT": "tcp://10.0.0.1:8788",
    "OTHER": "1",
}


def test_reserved_names_and_kubernetes_service_links_are_no_settings(read: Read) -> None:
    read("", FOREIGN)


UNKNOWN = [
    (
        "AUDIOGATE_TIMEOUTS__CONNCT",
        "AUDIOGATE_TIMEOUTS__CONNCT: unknown setting; did you mean 'AUDIOGATE_TIMEOUTS__CONNECT'?",
    ),
    ("AUDIOGATE_workers", "AUDIOGATE_workers: unknown setting; did you mean 'AUDIOGATE_WORKERS'?"),
    ("AUDIOGATE_PORT", "AUDIOGATE_PORT: unknown setting"),
    ("AUDIOGATE_AUTH__KEYS__0__KEY", "AUDIOGATE_AUTH__KEYS__0__KEY: unknown setting"),
]


@pytest.mark.parametrize(("name", "mistake"), UNKNOWN)
def test_an_unknown_variable_is_a_mistake(name: str, mistake: str, refuse: Refuse) -> None:
    assert refuse("", {name: "8787"}) == [mistake]


SECRET = "sk-that-no-message-may-repeat"
WRONG = [
    (
        {"AUDIOGATE_WORKERS": SECRET},
        "workers: must be a whole number from 1 to 64 (in AUDIOGATE_WORKERS)",
    ),
    (
        {"AUDIOGATE_AUTH__KEYS": f"[{{name: a, key: {SECRET}"},
        "auth.keys: is not valid YAML at line 2, column 1: did not find expected ',' or '}' (in AUDIOGATE_AUTH__KEYS)",
    ),
    ({"AUDIOGATE_AUTH__KEYS": SECRET}, "auth.keys: must be a list (in AUDIOGATE_AUTH__KEYS)"),
    (
        {"AUDIOGATE_LIMITS": f"{{max_parts: {SECRET}}}"},
        "limits.max_parts: must be a whole number from 1 to 10000 (in AUDIOGATE_LIMITS)",
    ),
    (
        {"AUDIOGATE_LIMITS": "5", "AUDIOGATE_LIMITS__MAX_PARTS": "3"},
        "limits: must be a mapping of keys (in AUDIOGATE_LIMITS)",
    ),
    (
        {"AUDIOGATE_WORKERS": "{"},
        "workers: must be a whole number from 1 to 64 (in AUDIOGATE_WORKERS)",
    ),
    (
        {"AUDIOGATE_LIMITS": "{max_part: 1}"},
        "limits.max_part: unknown key; did you mean 'max_parts'? (in AUDIOGATE_LIMITS)",
    ),
    ({"AUDIOGATE_OPS__TOKEN": ""}, "ops.token: AUDIOGATE_OPS__TOKEN is empty; unset it or give it a value"),
    (
        {"AUDIOGATE_OPS__TOKEN_FILE": SECRET},
        "ops.token_file: the file cannot be read: no such file or directory",
    ),
]


@pytest.mark.parametrize(("environ", "mistake"), WRONG, ids=[mistake for _, mistake in WRONG])
def test_a_wrong_variable_is_named_and_its_value_is_not(environ: dict[str, str], mistake: str, refuse: Refuse) -> None:
    assert refuse("", environ) == [mistake]
    assert SECRET not in mistake


def test_a_variable_in_the_file_is_named_and_its_value_is_not(refuse: Refuse) -> None:
    assert refuse("workers: ${K}", {"K": "abc"}) == ["workers: must be a whole number from 1 to 64 (in ${K})"]


def test_a_wrong_flag_is_named(refuse: Refuse) -> None:
    flags: dict[str, Any] = {"ops.listen": "x"}
    assert refuse("", **flags) == ["ops.listen: must be HOST:PORT, [IPv6]:PORT or :PORT (in --ops-listen)"]


def test_a_flag_that_is_no_setting_is_the_programs_own_mistake() -> None:
    with pytest.raises(KeyError):
        from_flags({"lisen": ":1"}, Ledger())
