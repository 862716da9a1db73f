"""Paths, bases and queries: what a caller may choose, and that none of it moves the host."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from proxy.errors import GatewayError
from proxy.providers.urls import checked_base, join, safe_path, with_parameter


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/models",
        "/files/file-1/content",
        "/a%20b",
        "/%zz",
        "/v1/x/",
        "/...",
        "/a.b/..c",
        "/a:b@c;d=e,f",
        "/%61",
    ],
)
def test_an_ordinary_path_passes(path: str) -> None:
    safe_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "models",
        "http://evil.test/x",
        "@evil.test/x",
        "//evil.test/x",
        "/a//b",
        "/a/../b",
        "/..",
        "/.",
        "/a/./b",
        "/%2e%2e/b",
        "/%2E./b",
        "/.%2e",
        "/..%2fadmin",
        "/a%2Fb",
        "/a%5cb",
        "/a\\b",
        "/\\evil.test",
        "/a%00b",
        "/a\x00b",
        "/a#b",
        "/a?b",
        "/a b",
        "/a\r\nHost: evil",
        "/é",
    ],
)
def test_a_path_that_could_be_read_as_another_is_an_unknown_route(path: str) -> None:
    with pytest.raises(GatewayError) as refusal:
        safe_path(path)
    assert refusal.value.code == "unknown_route"


@given(st.text(st.sampled_from("/.%2eEfF5cC0:@\\?#a;\x00 é"), max_size=24) | st.text(max_size=24))
@example("/@evil.test/")
@example(":80@evil.test/")
def test_no_path_that_passes_moves_the_host_or_leaves_the_base(path: str) -> None:
    try:
        safe_path(path)
    except GatewayError:
        return
    url = join("https://api.example.test/v1", path)
    parts = urlsplit(url)
    assert URL(url, encoded=True).raw_host == "api.example.test"
    assert parts.netloc == "api.example.test"
    assert parts.path == "/v1" + path
    assert not parts.fragment


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://api.example.test/v1", "https://api.example.test/v1"),
        ("https://api.example.test/v1/", "https://api.example.test/v1"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("http://[::1]:9000/v1", "http://[::1]:9000/v1"),
    ],
)
def test_a_base_loses_only_its_trailing_slash(url: str, base: str) -> None:
    assert checked_base(url) == base


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.test/v1",
        "ftp://api.example.test",
        "https://",
        "https:///v1",
        "https://user:secret@api.example.test",
        "https://api.example.test@evil.test/v1",
        "https://api.example.test/v1?x=1",
        "https://api.example.test/v1#",
        "https://api.example.test\\@evil.test",
        "https://api.example.test/v1\\..",
        "https://api.example.test /v1",
        "https://api.example.test/v1\n",
        "https://\u0435xample.test",
    ],
)
def test_a_base_with_anything_but_scheme_host_and_path_is_refused(url: str) -> None:
    with pytest.raises(GatewayError) as refusal:
        checked_base(url)
    assert refusal.value.code == "invalid_custom_host"
    assert "secret" not in refusal.value.message


@pytest.mark.parametrize("query", ["a=1#b", "a b", "a=é", "a=\r\n"])
def test_a_query_with_a_fragment_or_raw_bytes_is_refused(query: str) -> None:
    with pytest.raises(GatewayError) as refusal:
        join("https://api.example.test/v1", "/models", query)
    assert refusal.value.code == "invalid_request"


@pytest.mark.parametrize(
    ("query", "value", "merged"),
    [
        ("", "V", "api-version=V"),
        ("a=b", "V", "a=b&api-version=V"),
        ("api-version=old", "V", "api-version=V"),
        ("a=1&API-Version=old&b=2", "V", "a=1&b=2&api-version=V"),
        ("api%2Dversion=old&a=%20+", "V", "a=%20+&api-version=V"),
        ("a=1&a=2&b", "V", "a=1&a=2&b&api-version=V"),
        ("a=1&api-version=old", None, "a=1"),
        ("api-version=old", None, ""),
    ],
)
def test_our_parameter_replaces_the_clients_and_the_rest_stays(query: str, value: str | None, merged: str) -> None:
    assert with_parameter(query, "api-version", value) == merged
