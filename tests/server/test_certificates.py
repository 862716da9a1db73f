"""Contexts from certificates: all that is wrong at once, what is worth a word, and a listener's way to a new one."""

from __future__ import annotations

import asyncio
import json
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.server.certificates import LiveContext, contexts, remarks
from proxy.server.reload import Source
from proxy.settings import Settings, SettingsError
from tests.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.relay.tls import Tls
    from proxy.settings import Mistake

NOW = datetime.now(UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def made(**settings: Any) -> tuple[Tls, list[str]]:
    """Return the contexts of settings and what is wrong with their files."""
    mistakes: list[Mistake] = []
    tls = contexts(Settings.model_validate(settings), mistakes)
    return tls, [str(mistake) for mistake in mistakes]


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str = "localhost") -> ssl.SSLObject:
    """Let two contexts shake hands over buffers; return the client's side. Raises SSLError for either side."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [ours, theirs]
    for _ in range(10):  # more flights than a handshake has
        for side in list(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
        if not waiting:
            return ours
    raise AssertionError("the handshake never ended")


def serial(side: ssl.SSLObject) -> str:
    certificate = side.getpeercert()
    assert certificate is not None
    return str(certificate["serialNumber"])


def test_without_tls_there_are_no_contexts() -> None:
    tls, mistakes = made()
    assert (tls.gateway, tls.ops, dict(tls.upstreams), mistakes) == (None, None, {}, [])


@pytest.mark.parametrize("key_type", list(trustme.KeyType))
def test_a_listener_shows_its_certificate_and_speaks_http_1_1(authority: Authority, key_type: trustme.KeyType) -> None:
    tls, mistakes = made(tls=authority.issue(key_type=key_type).settings)
    assert mistakes == []
    assert tls.gateway is not None
    client = authority.client()
    client.set_alpn_protocols(["h2", "http/1.1"])
    ours = handshake(tls.gateway, client)
    assert (ours.version(), ours.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_what_came_before_tls_1_2_is_refused(authority: Authority) -> None:
    tls, _ = made(tls=authority.issue().settings)
    assert tls.gateway is not None
    client = authority.client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert handshake(tls.gateway, client).version() == "TLSv1.2"
    client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_1
    client.set_ciphers("DEFAULT:@SECLEVEL=0")  # else the client would not even try
    with pytest.raises(ssl.SSLError, match=r"UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION"):
        handshake(tls.gateway, client)


def test_every_bad_file_is_told_at_once(authority: Authority, tmp_path: Path) -> None:
    good, other = authority.issue(), authority.issue("other")
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("no certificate at all\n")
    locked = tmp_path / "locked.key"
    secret = serialization.BestAvailableEncryption(b"sesame")
    private = ec.generate_private_key(ec.SECP256R1())
    locked.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret))
    _, mistakes = made(
        tls={"cert": good.cert, "key": other.key, "client_ca": nothing},
        ops={"tls": {"cert": nothing, "key": locked}},
        providers=[
            {"slug": "a", "tls": {"ca": nothing}},
            {"slug": "b", "tls": {"cert": good.cert, "key": nothing}},
            {"slug": "c", "tls": {"ca": tmp_path / "gone"}},
            {"slug": "d", "tls": {"ca": authority.file, **good.settings}},
        ],
    )
    assert sorted(mistakes) == [
        "ops.tls.cert: the file holds no certificate in PEM form",
        "ops.tls.key: the key is encrypted; keep it without a passphrase, in a file that only the gateway may read",
        "providers[0].tls.ca: the file holds no certificate in PEM form",
        "providers[1].tls.key: the file holds no private key in PEM form",
        "providers[2].tls.ca: the file cannot be read: no such file or directory",
        "tls.client_ca: the file holds no certificate in PEM form",
        "tls.key: is not the key of the certificate in tls.cert",
    ]


def test_bad_certificates_are_told_with_all_else_that_is_wrong(authority: Authority, tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    tls = {"cert": str(authority.issue().cert), "key": str(authority.issue("other").key)}
    file.write_text(json.dumps({"tls": tls, "workers": 0, "default_config": "lost", "ops": {"tls": {"cert": "gone"}}}))
    with pytest.raises(SettingsError) as refused:
        Source(str(file), {}, {}).load()
    places = sorted(mistake.path for mistake in refused.value.mistakes)
    assert places == ["default_config", "ops.tls.cert", "tls.key", "workers"]


@pytest.mark.parametrize(
    ("client_auth", "without", "stranger"),
    [(None, False, False), ("required", False, False), ("optional", True, False)],
)
def test_clients_show_what_is_asked_for(
    authority: Authority, tmp_path: Path, client_auth: str | None, without: bool, stranger: bool
) -> None:
    section = {**authority.issue().settings, "client_ca": authority.file, "client_auth": client_auth}
    tls, mistakes = made(tls=section)
    assert mistakes == []
    others = Authority(tmp_path, "others").issue("stranger", "somebody")
    known = authority.issue("client", "somebody")
    for shown, welcome in ((None, without), (others, stranger), (known, True)):
        assert tls.gateway is not None
        try:
            handshake(tls.gateway, authority.client(shown))
        except ssl.SSLError:
            assert not welcome
        else:
            assert welcome


def test_a_listener_hands_new_connections_to_the_newest_context(authority: Authority, tmp_path: Path) -> None:
    first, _ = made(tls=authority.issue(key_type=trustme.KeyType.RSA).settings)
    second, _ = made(tls={**authority.issue(key_type=trustme.KeyType.ECDSA).settings, "client_ca": authority.file})
    newest = [first.gateway]
    live = LiveContext.of(lambda: newest[-1])
    assert live is not None
    client = authority.client(authority.issue("client", "somebody"))
    before = serial(handshake(live, client))
    newest.append(second.gateway)
    after = serial(handshake(live, client))
    assert after != before
    with pytest.raises(ssl.SSLError):
        handshake(live, authority.client())
    newest.append(None)  # turned off: that needs a restart
    assert serial(handshake(live, client)) == after


async def test_asyncios_own_loop_asks_for_the_newest_context_too(authority: Authority) -> None:
    """The flow tests are on uvloop, which is optional."""
    newest = [made(tls=authority.issue().settings)[0].gateway]
    live = LiveContext.of(lambda: newest[-1])

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def shown() -> str:
        name, port = "localhost", server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=authority.client(), server_hostname=name)
        found = serial(writer.get_extra_info("ssl_object"))
        writer.close()
        return found

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=live) as server:
        first = await shown()
        newest.append(made(tls=authority.issue().settings)[0].gateway)
        assert await shown() != first


def test_a_plain_listener_needs_no_context() -> None:
    assert LiveContext.of(lambda: None) is None


def test_an_upstream_is_checked_unless_somebody_said_otherwise(authority: Authority, tmp_path: Path) -> None:
    server, _ = made(tls=authority.issue("tls", "stt.internal").settings)
    tls, mistakes = made(
        providers=[
            {"slug": "system", "tls": {"server_name": "stt.internal"}},
            {"slug": "private", "tls": {"ca": authority.file}},
            {"slug": "other", "tls": {"ca": Authority(tmp_path, "others").file}},
            {"slug": "blind", "tls": {"verify": False}},
        ]
    )
    assert mistakes == []
    assert {slug: own.server_name for slug, own in tls.upstreams.items() if own.server_name} == {
        "system": "stt.internal"
    }
    assert server.gateway is not None
    for slug, name, good in (
        ("system", "stt.internal", False),
        ("private", "stt.internal", True),
        ("private", "elsewhere", False),
        ("other", "stt.internal", False),
        ("blind", "elsewhere", True),
    ):
        try:
            handshake(server.gateway, tls.upstreams[slug].context, name)
        except ssl.SSLCertVerificationError:
            assert not good, slug
        else:
            assert good, slug


def test_what_is_allowed_and_worth_a_word_is_said(authority: Authority) -> None:
    past = authority.issue("past", not_after=NOW - timedelta(days=3))
    good = authority.issue()
    settings = Settings.model_validate(
        {
            "tls": past.settings,
            "ops": {"tls": good.settings},
            "providers": [{"slug": "a", "tls": {"verify": False, **past.settings}}, {"slug": "b"}],
        }
    )
    day = f"{NOW - timedelta(days=3):%Y-%m-%d}"
    unchecked = "the certificate of a is not checked, so whoever is on the way may read uploads and key"
    assert sorted(remarks(settings)) == [
        f"providers[0].tls.cert: the certificate expired on {day}",
        f"providers[0].tls.verify: {unchecked}",
        f"tls.cert: the certificate expired on {day}",
    ]
    early = [remark for remark in remarks(settings, NOW - timedelta(days=365 * 100)) if remark.startswith("ops")]
    assert [remark[:50] for remark in early] == ["ops.tls.cert: the certificate is not valid before "]
    assert list(remarks(Settings())) == []
