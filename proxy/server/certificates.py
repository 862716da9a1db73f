"""Certificates: TLS contexts from the settings, what is wrong with them, and how listeners change to new ones.

Contexts are made anew with every load and never changed: a context that is given a second certificate of another kind
of key has both, and one that is given a second list of authorities trusts both.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from proxy.relay.tls import Tls, UpstreamTls
from proxy.settings import Mistake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from proxy.settings import ListenerTls, Settings
    from proxy.settings import UpstreamTls as UpstreamSection

_ALPN: Final = ["http/1.1"]
_NO_PEM: Final = "the file holds no certificate in PEM form"


class LiveContext(ssl.SSLContext):
    """A listener's context that hands each new connection to the newest one; connections that are open keep theirs.

    Event loops ask the context that a listener began with for every handshake (``wrap_bio``), as documented for TLS
    on buffers (``ssl.SSLObject``). ``newest`` returns None when TLS was turned off, which needs a restart: the last
    context goes on.
    """

    _newest: Callable[[], ssl.SSLContext | None]
    _last: ssl.SSLContext

    @classmethod
    def of(cls, newest: Callable[[], ssl.SSLContext | None]) -> LiveContext | None:
        """Return a context for a listener that begins now; None when it is to be plain."""
        first = newest()
        if first is None:
            return None
        live = cls(ssl.PROTOCOL_TLS_SERVER)
        live._newest, live._last = newest, first
        return live

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin a handshake with the newest context."""
        self._last = self._newest() or self._last
        return self._last.wrap_bio(*args, **kwargs)


def contexts(settings: Settings, mistakes: list[Mistake]) -> Tls:
    """Return every context that the settings ask for; what is wrong with their files is added to ``mistakes``."""
    upstreams = {
        given.slug: UpstreamTls(_for_upstream(given.tls, f"providers[{index}].tls", mistakes), given.tls.server_name)
        for index, given in enumerate(settings.providers)
        if given.tls is not None
    }
    return Tls(
        _for_listener(settings.tls, "tls", mistakes), _for_listener(settings.ops.tls, "ops.tls", mistakes), upstreams
    )


def _for_listener(tls: ListenerTls, place: str, mistakes: list[Mistake]) -> ssl.SSLContext | None:
    if tls.cert is None or tls.key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996: what came before is no longer to be used
    context.set_alpn_protocols(_ALPN)
    _show(context, tls.cert, tls.key, place, mistakes)
    if tls.client_ca is not None:
        _trust(context, tls.client_ca, f"{place}.client_ca", mistakes)
        context.verify_mode = ssl.CERT_OPTIONAL if tls.client_auth == "optional" else ssl.CERT_REQUIRED
    return context


def _for_upstream(tls: UpstreamSection, place: str, mistakes: list[Mistake]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_ALPN)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif tls.ca is not None:
        _trust(context, tls.ca, f"{place}.ca", mistakes)
    else:
        context.load_default_certs()
    if tls.cert is not None and tls.key is not None:
        _show(context, tls.cert, tls.key, place, mistakes)
    return context


def _trust(context: ssl.SSLContext, file: Path, place: str, mistakes: list[Mistake]) -> None:
    try:
        context.load_verify_locations(cafile=file)
    except OSError as error:
        mistakes.append(Mistake(place, _unread(error) or _NO_PEM))


def _show(context: ssl.SSLContext, cert: Path, key: Path, place: str, mistakes: list[Mistake]) -> None:
    """Load a certificate and its key; tell what is wrong with each by itself, and then with both together."""
    wrong = [
        Mistake(f"{place}.{name}", problem)
        for name, problem in (("cert", _problem_of_certificate(cert)), ("key", _problem_of_key(key)))
        if problem is not None
    ]
    mistakes.extend(wrong)
    if wrong:
        return
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            mistakes.append(Mistake(f"{place}.key", f"is not the key of the certificate in {place}.cert"))
        else:
            words = (error.reason or "not acceptable").replace("_", " ").lower()
            mistakes.append(Mistake(f"{place}.cert", f"the TLS library refuses certificate and key: {words}"))
    except OSError as error:
        mistakes.append(Mistake(f"{place}.cert", _unread(error) or "the file cannot be read"))


def _no_password() -> str:
    """Stand in for the terminal, which OpenSSL would ask."""
    raise ssl.SSLError("a key must not be encrypted")


def _problem_of_certificate(file: Path) -> str | None:
    try:
        x509.load_pem_x509_certificates(file.read_bytes())
    except OSError as error:
        return _unread(error)
    except ValueError:
        return _NO_PEM
    return None


def _problem_of_key(file: Path) -> str | None:
    try:
        # Whether its numbers are primes is not asked: that takes most of a second, in which nothing else is done.
        load_pem_private_key(file.read_bytes(), password=None, unsafe_skip_rsa_key_validation=True)
    except OSError as error:
        return _unread(error)
    except TypeError:
        return "the key is encrypted; keep it without a passphrase, in a file that only the gateway may read"
    except Exception:  # noqa: BLE001  (the library has a class of its own for each kind of key it does not know)
        return "the file holds no private key in PEM form"
    return None


def _unread(error: OSError) -> str | None:
    """Say why a file cannot be read; None when it can, and TLS alone is at fault."""
    return None if isinstance(error, ssl.SSLError) else f"the file cannot be read: {(error.strerror or '').lower()}"


def remarks(settings: Settings, now: datetime | None = None) -> Iterator[str]:
    """Yield what is allowed and still worth a word: expired certificates, upstreams that nobody checks."""
    now = now or datetime.now(UTC)
    shown = [("tls.cert", settings.tls.cert), ("ops.tls.cert", settings.ops.tls.cert)]
    for index, given in enumerate(settings.providers):
        if given.tls is None:
            continue
        shown.append((f"providers[{index}].tls.cert", given.tls.cert))
        if not given.tls.verify:
            yield (
                f"providers[{index}].tls.verify: the certificate of {given.slug} is not checked, so whoever is on the "
                "way may read uploads and key"
            )
    for place, file in shown:
        certificate = None if file is None else _first(file)
        if certificate is not None and certificate.not_valid_after_utc < now:
            yield f"{place}: the certificate expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
        elif certificate is not None and certificate.not_valid_before_utc > now:
            yield f"{place}: the certificate is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"


def _first(file: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())[0]
    except (OSError, ValueError):  # changed since the settings were loaded: the next load tells of it
        return None
