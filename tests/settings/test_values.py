"""One value at a time: addresses, origins, secrets, sizes, durations."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from proxy.settings import Address
from proxy.settings.values import (
    AuthScheme,
    BaseUrl,
    BrowserOrigin,
    HostName,
    HttpOrigin,
    Label,
    Secret,
    Sha256,
)

ADDRESSES = [
    ("127.0.0.1:8787", Address("127.0.0.1", 8787), True),
    ("127.9.9.9:0", Address("127.9.9.9", 0), True),
    ("localhost:1", Address("localhost", 1), True),
    ("LocalHost:1", Address("localhost", 1), True),
    ("[::1]:8787", Address("::1", 8787), True),
    ("[::ffff:127.0.0.1]:1", Address("::ffff:127.0.0.1", 1), True),
    (":8787", Address("", 8787), False),
    ("0.0.0.0:65535", Address("0.0.0.0", 65535), False),
    ("[::]:1", Address("::", 1), False),
    ("gateway.internal:80", Address("gateway.internal", 80), False),
    ("127.1:80", Address("127.1", 80), False),
    ("localhost.evil:80", Address("localhost.evil", 80), False),
]


@pytest.mark.parametrize(("text", "address", "loopback"), ADDRESSES)
def test_an_address_is_host_and_port(text: str, address: Address, loopback: bool) -> None:
    parsed = Address.parse(text)
    assert parsed == address
    assert parsed.is_loopback is loopback
    assert Address.parse(str(parsed)) == parsed


@pytest.mark.parametrize(
    "text",
    ["", ":", "8787", "host", "host:", "h:65536", "h:-1", "h: 1", "h:\u0661", "::1:1", "[::1]", "[x]:1", "a b:1"],
)
def test_other_text_is_no_address(text: str) -> None:
    with pytest.raises(ValueError):
        Address.parse(text)


NORMAL = [
    (BaseUrl, "http://127.0.0.1:9000/v1", "http://127.0.0.1:9000/v1"),
    (BaseUrl, "https://STT.Example.com:443/V1/", "https://stt.example.com/V1"),
    (BaseUrl, "HTTP://whisper_server:80//", "http://whisper_server"),
    (BaseUrl, "http://[::0:1]:9000/v1", "http://[::1]:9000/v1"),
    (BaseUrl, "https://h/@v1", "https://h/@v1"),
    (HttpOrigin, "https://stt.example.com", "https://stt.example.com"),
    (HttpOrigin, "HTTPS://STT.example.com:443/", "https://stt.example.com"),
    (HttpOrigin, "http://10.0.3.7:09000", "http://10.0.3.7:9000"),
    (BrowserOrigin, "chrome-extension://abcdef", "chrome-extension://abcdef"),
    (HostName, "Gateway.Example.com.", "gateway.example.com"),
    (Sha256, "A" * 64, "a" * 64),
    (AuthScheme, "header:X-Api-Key", "header:X-Api-Key"),
    (Label, "Mobile App, Köln", "Mobile App, Köln"),
]


@pytest.mark.parametrize(("kind", "text", "value"), NORMAL)
def test_values_take_one_normal_form(kind: Any, text: str, value: str) -> None:
    assert TypeAdapter(kind).validate_python(text) == value


NOT_URLS = [
    "stt.example.com", "http:/x", "http://", "http://x:0", "http://x:99999", "http://x y", "http://x\n", "http://x\\y",
    "http://127.1", "http://0x7f.1", "http://2130706433", "http://[::g]", "http://[127.0.0.1]", "http://①②⑦.0.0.1",
    "http://.x", "http://x..", "http://-x",
]  # fmt: skip


@pytest.mark.parametrize("kind", [BaseUrl, HttpOrigin, BrowserOrigin], ids=["base_url", "http", "browser"])
@pytest.mark.parametrize("text", NOT_URLS)
def test_what_is_not_plainly_a_url_is_refused(kind: Any, text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(text)


@pytest.mark.parametrize("text", ["sk-abc", "clé", "a b", "~" * 8000])
def test_a_secret_is_what_a_header_can_carry(text: str) -> None:
    secret = TypeAdapter(Secret).validate_python(text)
    assert secret.get_secret_value() == text
    assert text not in repr(secret)


@pytest.mark.parametrize("text", ["", " a", "a ", "a\n", "a\r\nX: y", "a\0", "a\tb", "\xa0a", "ключ", "~" * 8001])
def test_other_text_is_no_secret_and_is_not_repeated(text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(Secret).validate_python(text)
    (error,) = refused.value.errors(include_input=False)
    assert error["msg"].startswith("must be text that a header can carry")
