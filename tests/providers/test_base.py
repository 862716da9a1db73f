"""The words that every provider module speaks: equal by value, and quiet about secrets."""

from __future__ import annotations

from proxy.providers.base import FieldNeeded, Outbound, Route, TokenRequest


def test_a_token_request_does_not_show_its_secret() -> None:
    token = TokenRequest("https://login.test/t", "app-1", "s3cret", "scope")
    assert "s3cret" not in repr(token)
    assert "s3cret" not in repr(Outbound("https://api.test/v1", token=token))


def test_a_needed_field_is_named() -> None:
    assert FieldNeeded("model").name == "model"
    assert str(FieldNeeded("model")) == "model"


def test_a_route_is_its_own_label() -> None:
    assert [str(route) for route in Route] == ["transcriptions", "translations", "speech", "passthrough"]
