"""Who calls, by which header, and which provider key came along (INTERFACE 4, Credentials)."""

from __future__ import annotations

from hashlib import sha256

import pytest
from multidict import CIMultiDict

from proxy.access.callers import PLACEHOLDERS, Caller, GatewayKey, Keyring
from proxy.errors import GatewayError


def gateway_key(secret: str, name: str = "app") -> GatewayKey:
    return GatewayKey(name, sha256(secret.encode()).digest())


OPEN = Keyring("open")
KEYS = Keyring("keys", [gateway_key("gw-1", "one"), gateway_key("gw-2", "two"), gateway_key("schlüssel", "three")])


def headers(bearer: str | None = None, portkey: str | None = None) -> CIMultiDict[str]:
    pairs = (("Authorization", bearer), ("x-portkey-api-key", portkey))
    return CIMultiDict([(name, value) for name, value in pairs if value is not None])


@pytest.mark.parametrize(
    ("bearer", "portkey", "provider_key"),
    [
        (None, None, None),
        ("Bearer sk-1", None, "sk-1"),
        ("bearer sk-1", None, "sk-1"),
        ("BEARER sk-1", None, "sk-1"),
        ("Bearer   sk-1  ", None, "sk-1"),
        ("sk-1", None, "sk-1"),  # a bare value, as in Portkey
        ("Bearer", None, None),
        ("Bearer ", None, None),
        ("", None, None),
        ("Basic dXNlcjpwYXNz", None, None),
        ("Token dg-1", None, None),
        (None, "sk-2", "sk-2"),
        (None, " sk-2 ", "sk-2"),
        (None, "", None),
        ("Bearer sk-1", "sk-2", "sk-1"),
        ("Bearer OPENAI_API_KEY", "sk-2", "sk-2"),
        ("Bearer DUMMY-KEY", "sk-2", "sk-2"),
        ("DUMMY-KEY", None, None),
        ("Bearer OPENAI_API_KEY", "DUMMY-KEY", None),
        ("Bearer dummy-key", None, "dummy-key"),  # only the literals of the SDKs are placeholders
    ],
)
def test_in_open_mode_the_provider_key_is_the_bearer_else_portkeys_header(
    bearer: str | None, portkey: str | None, provider_key: str | None
) -> None:
    assert OPEN.identify(headers(bearer, portkey)) == Caller(provider_key=provider_key)


@pytest.mark.parametrize(
    ("bearer", "portkey", "name", "provider_key"),
    [
        (None, "gw-1", "one", None),
        ("Bearer gw-1", None, "one", None),
        ("gw-1", None, "one", None),
        ("Bearer gw-1", "gw-1", "one", None),
        ("Bearer sk-1", "gw-1", "one", "sk-1"),
        ("Bearer OPENAI_API_KEY", "gw-2", "two", None),
        ("Bearer DUMMY-KEY", "gw-2", "two", None),
        ("Token dg-1", "gw-2", "two", None),
        ("Bearer gw-1", "DUMMY-KEY", "one", None),
        ("Bearer gw-2", "gw-1", "one", None),  # another gateway key is nothing for a provider
        (None, "schlüssel", "three", None),
    ],
)
def test_in_keys_mode_the_gateway_key_is_portkeys_header_else_the_bearer(
    bearer: str | None, portkey: str | None, name: str, provider_key: str | None
) -> None:
    caller = KEYS.identify(headers(bearer, portkey))
    assert caller.key is not None
    assert (caller.key.name, caller.provider_key) == (name, provider_key)
    assert caller.secret in {"gw-1", "gw-2", "schlüssel"}


@pytest.mark.parametrize(
    ("bearer", "portkey", "code"),
    [
        (None, None, "missing_api_key"),
        ("Bearer ", "", "missing_api_key"),
        ("Bearer OPENAI_API_KEY", None, "missing_api_key"),
        ("Bearer DUMMY-KEY", "OPENAI_API_KEY", "missing_api_key"),
        ("Basic Z3ctMTo=", None, "missing_api_key"),
        ("Bearer sk-1", None, "invalid_api_key"),
        (None, "gw-", "invalid_api_key"),
        (None, "GW-1", "invalid_api_key"),
        ("Bearer gw-1", "gw-x", "invalid_api_key"),  # what was meant for us is judged, not the other header
        (None, "\udcff\udcfe", "invalid_api_key"),  # bytes that are no UTF-8, as aiohttp hands them over
    ],
)
def test_in_keys_mode_everybody_else_is_refused(bearer: str | None, portkey: str | None, code: str) -> None:
    with pytest.raises(GatewayError) as refused:
        KEYS.identify(headers(bearer, portkey))
    assert (refused.value.code, refused.value.status) == (code, 401)


def test_every_wrong_key_gets_the_same_answer() -> None:
    answers = set()
    for wrong in ("g", "gw-0", "gw-1x", "x" * 10_000):
        with pytest.raises(GatewayError) as refused:
            KEYS.identify(headers(None, wrong))
        answers.add(str(refused.value.body()))
        assert wrong not in refused.value.message.split()
    assert len(answers) == 1


def test_header_names_count_in_any_case() -> None:
    assert OPEN.identify(CIMultiDict({"AUTHORIZATION": "Bearer sk-1"})).provider_key == "sk-1"
    assert KEYS.identify(CIMultiDict({"X-Portkey-API-Key": "gw-1"})).secret == "gw-1"


def test_neither_secrets_nor_digests_are_shown() -> None:
    caller = KEYS.identify(headers("Bearer sk-1", "gw-1"))
    assert caller.key is not None
    assert not {"gw-1", "sk-1"} & set(repr(caller).replace("'", " ").split())
    assert repr(caller.key.digest) not in repr(caller)


def test_the_placeholders_are_those_of_the_sdks() -> None:
    assert {"", "OPENAI_API_KEY", "DUMMY-KEY"} == PLACEHOLDERS


@pytest.mark.parametrize(
    ("allowed", "slug", "may"),
    [(None, "a", True), (frozenset({"a"}), "a", True), (frozenset({"a"}), "b", False), (frozenset[str](), "a", False)],
)
def test_a_gateway_key_uses_the_virtual_keys_it_lists(allowed: frozenset[str] | None, slug: str, may: bool) -> None:
    assert Caller(GatewayKey("app", b"", virtual_keys=allowed)).may_use_virtual_key(slug) is may
    assert Caller().may_use_virtual_key(slug)


@pytest.mark.parametrize(
    ("config", "allow_config", "locked"), [("c", False, "c"), ("c", True, None), (None, False, None)]
)
def test_a_config_is_locked_when_the_key_has_one_and_allows_no_other(
    config: str | None, allow_config: bool, locked: str | None
) -> None:
    assert GatewayKey("app", b"", config, allow_config).locked_config == locked
