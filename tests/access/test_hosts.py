"""Which hosts a request may name, and which addresses it may then reach (reliability 0.9 and 4)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.provisional import urls
from yarl import URL

from proxy.access.hosts import CustomHosts, is_loopback_name, reachable
from proxy.errors import GatewayError

NAME = "stt.example.com"


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",  # shared by carriers
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",  # cloud metadata
        "172.16.0.1",
        "192.0.0.1",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",  # IPv4-compatible
        "::808:808",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",  # NAT64
        "64:ff9b::808:808",
        "64:ff9b:1::a00:1",
        "100::1",
        "2001::1",  # Teredo
        "2001:db8::1",
        "2002:7f00:1::",  # 6to4
        "2002:808:808::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%2",
        "fec0::1",  # site-local, still routed in places
        "ff02::1",
        "not an address",
    ],
)
def test_a_name_leads_to_no_address_that_is_not_public(address: str) -> None:
    assert not reachable(address, NAME)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_a_name_leads_to_public_addresses(address: str) -> None:
    assert reachable(address, NAME)


@pytest.mark.parametrize(
    ("address", "host", "may"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.2", "127.0.0.1", False),
        ("10.0.3.7", "10.0.3.7", True),
        ("::ffff:10.0.3.7", "10.0.3.7", True),
        ("10.0.3.7", "::ffff:10.0.3.7", True),
        ("8.8.8.8", "1.1.1.1", False),
        ("::1", "::1", True),
        ("::1", "0:0:0:0:0:0:0:1", True),
        ("127.0.0.1", "::1", False),
        ("127.0.0.1", "localhost", True),
        ("127.0.0.1", "LOCALHOST", True),
        ("::1", "localhost", True),
        ("10.0.0.1", "localhost", False),
        ("8.8.8.8", "localhost", False),
        ("127.0.0.1", "2130706433", False),  # spellings that some resolvers take are names here
        ("127.0.0.1", "0x7f000001", False),
        ("127.0.0.1", "0177.0.0.1", False),
        ("127.0.0.1", "127.1", False),
        ("127.0.0.1", "①②⑦.0.0.1", False),
        ("127.0.0.1", "localhost.evil.example", False),
    ],
)
def test_an_address_reaches_itself_and_localhost_reaches_loopback(address: str, host: str, may: bool) -> None:
    assert reachable(address, host) is may


@given(st.ip_addresses())
def test_every_address_is_judged(address: object) -> None:
    assert reachable(str(address), NAME) in {True, False}
    assert reachable(str(address), str(address))


HOSTS = CustomHosts(
    frozenset({"https://stt.example.com", "http://10.0.3.7:9000", "https://[2606:4700::1111]", "http://whisper:9000"})
)
LOCAL = CustomHosts(loopback=True)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://stt.example.com/v1", "https://stt.example.com/v1"),
        ("https://stt.example.com/v1/", "https://stt.example.com/v1"),
        ("https://stt.example.com", "https://stt.example.com"),
        ("https://stt.example.com:443/v1", "https://stt.example.com:443/v1"),
        ("https://STT.Example.COM/v1", "https://STT.Example.COM/v1"),
        ("HTTPS://stt.example.com/v1", "HTTPS://stt.example.com/v1"),
        ("http://10.0.3.7:9000/v1", "http://10.0.3.7:9000/v1"),
        ("http://whisper:9000/v1", "http://whisper:9000/v1"),
        ("https://[2606:4700::1111]/v1", "https://[2606:4700::1111]/v1"),
    ],
)
def test_a_listed_origin_may_be_named(url: str, base: str) -> None:
    assert HOSTS.check(url, "x-portkey-custom-host") == base


@pytest.mark.parametrize(
    "url",
    [
        "http://stt.example.com/v1",  # another scheme is another origin
        "https://stt.example.com:8443/v1",
        "https://example.com/v1",
        "https://stt.example.com.evil.test/v1",
        "https://evil-stt.example.com/v1",
        "http://10.0.3.7/v1",
        "http://10.0.3.8:9000/v1",
        "http://127.0.0.1:9000/v1",
        "http://localhost:9000/v1",
        "http://[::1]/v1",
        "http://2130706433/v1",
        "http://0x7f000001/v1",
        "http://127.1/v1",
        "http://169.254.169.254/latest",
        "https://xn--stt-example-0x0j.com/v1",
    ],
)
def test_an_origin_that_is_not_listed_is_not_allowed(url: str) -> None:
    with pytest.raises(GatewayError) as refused:
        HOSTS.check(url, "x-portkey-custom-host")
    assert (refused.value.code, refused.value.status, refused.value.param) == (
        "not_allowed", 403, "x-portkey-custom-host",
    )  # fmt: skip


@pytest.mark.parametrize(
    "url",
    [
        "",
        "stt.example.com",
        "stt.example.com/v1",
        "//stt.example.com/v1",
        "ftp://stt.example.com/v1",
        "file:///etc/passwd",
        "https://",
        "https:///v1",
        "https://user@stt.example.com/v1",
        "https://user:pass@stt.example.com/v1",
        "https://@stt.example.com/v1",
        "https://evil.test\\@stt.example.com/v1",
        "https://stt.example.com\\.evil.test/v1",
        "https://stt.example.com./v1",
        "https://stt.example.com/v1?key=1",
        "https://stt.example.com/v1?",
        "https://stt.example.com/v1#top",
        "https://stt.example.com/v1#",
        "https://stt.example.com:0/v1",
        "https://stt.example.com:65536/v1",
        "https://stt.example.com:x/v1",
        "https://stt.example.com:-1/v1",
        "https://stt.example.com:٤٤٣/v1",
        "https://stt example.com/v1",
        "https://stt.example.com/v 1",
        "https://stt.example.com/v1\r\nX: y",
        "https://stt.exa\tmple.com/v1",
        " https://stt.example.com/v1",
        "https://stt.example.com/v1\x00",
        "https://stt.ex\u0430mple.com/v1",  # a Cyrillic letter
        "http://①②⑦.0.0.1/v1",
        "https://stt。example。com/v1",
        "https://stt.example.com%2f/v1",
        "https://stt_example.com/v1",
        "https://[2606:4700::1111/v1",
        "https://[stt.example.com]/v1",
        "https://[v1.stt.example.com]/v1",
        "https://[::1%25lo]/v1",
        "https://[::1%lo]/v1",
        "https://stt.example.com/" + "v" * 2048,
    ],
)
def test_what_is_no_plain_http_address_is_invalid(url: str) -> None:
    with pytest.raises(GatewayError) as refused:
        HOSTS.check(url, "custom_host")
    assert (refused.value.code, refused.value.status, refused.value.param) == (
        "invalid_custom_host", 400, "custom_host",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost.localdomain", False),
        ("127.1", False),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.com", False),
    ],
)
def test_loopback_is_known_by_its_name(host: str, loopback: bool) -> None:
    assert is_loopback_name(host) is loopback


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "127.0.0.2", "[::1]", "[::ffff:127.0.0.1]"])
def test_loopback_may_be_named_only_where_it_is_allowed_and_is_then_reached(host: str) -> None:
    url = LOCAL.check(f"http://{host}:9000/v1", "custom_host")
    written = (URL(url, encoded=True).raw_host or "").strip("[]")
    assert reachable("127.0.0.1" if "local" in written.lower() else written, written)
    with pytest.raises(GatewayError, match="operator"):
        CustomHosts().check(f"http://{host}:9000/v1", "custom_host")


@settings(max_examples=200)
@given(st.text() | urls() | st.from_regex(r"https?://[\[\]@:%.a-z0-9\\/?#]{0,30}", fullmatch=True))
def test_any_text_is_checked_or_refused(url: str) -> None:
    for hosts in (HOSTS, LOCAL):
        try:
            base = hosts.check(url, "custom_host")
        except GatewayError as refused:
            assert refused.code in {"invalid_custom_host", "not_allowed"}  # noqa: PT017  (one of two right ends)
        else:
            assert url.startswith(base)
