"""How a credential travels, and what may stand in a header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import GatewayError
from proxy.providers.auth import BEARER, NO_AUTH, Auth, auth_of, header_value


@pytest.mark.parametrize(
    ("word", "auth"),
    [("bearer", BEARER), ("none", NO_AUTH), ("header:xi-api-key", Auth("xi-api-key"))],
)
def test_the_settings_words_are_read(word: str, auth: Auth) -> None:
    assert auth_of(word) == auth


@pytest.mark.parametrize("word", ["", "Bearer", "bearer:", "none:x", "header", "header:", "header:a b", "header:a:b"])
def test_any_other_word_is_refused_with_the_choice(word: str) -> None:
    with pytest.raises(ValueError, match="auth must be bearer, none or header:NAME"):
        auth_of(word)


@pytest.mark.parametrize(
    ("auth", "key", "headers"),
    [
        (BEARER, "sk-1", {"Authorization": "Bearer sk-1"}),
        (Auth("api-key"), "sk-1", {"api-key": "sk-1"}),
        (NO_AUTH, "sk-1", {}),
        (BEARER, None, {}),
        (BEARER, "", {}),
    ],
)
def test_a_key_goes_into_its_header_or_nowhere(auth: Auth, key: str | None, headers: dict[str, str]) -> None:
    assert auth.headers(key) == headers


@pytest.mark.parametrize("value", ["k3y\r\nHost: evil", "k3y\n", "k3y\x00", " k3y", "k3y ", "\tk3y", "k3y\x7f", "k3yé"])
def test_a_value_that_could_start_another_header_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(GatewayError) as refusal:
        header_value(value, "the provider key")
    assert refusal.value.code == "invalid_header"
    assert "the provider key" in refusal.value.message
    assert "k3y" not in refusal.value.message


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1))
def test_printable_ascii_crosses_unchanged(value: str) -> None:
    assert header_value(value, "it") == value
