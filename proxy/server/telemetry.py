"""OpenTelemetry's environment variables: where spans go, which, and who they are from.

Names, forms and defaults are those of https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
and https://opentelemetry.io/docs/specs/otel/protocol/exporter/. As there, a value that cannot be understood is told of
and taken for none: traces never keep a gateway from serving.
"""

from __future__ import annotations

import math
import os
import re
import ssl
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from proxy import __version__
from proxy.headers import is_token
from proxy.records.trace import Sampler
from proxy.server.logs import log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TIMEOUT: Final = 10_000.0  # milliseconds of one export
_EVERY: Final = 1_000.0  # milliseconds that spans wait for others; the specification's 5 s are long for who looks on
_PREFIX: Final = "OTEL_EXPORTER_OTLP_"
_PROTOCOL: Final = "http/protobuf"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

_SAMPLERS: Final[dict[str, Callable[[float], Sampler]]] = {
    "always_on": lambda _ratio: Sampler(1.0, follow=False),
    "always_off": lambda _ratio: Sampler(0.0, follow=False),
    "traceidratio": lambda ratio: Sampler(ratio, follow=False),
    "parentbased_always_on": lambda _ratio: Sampler(1.0),
    "parentbased_always_off": lambda _ratio: Sampler(0.0),
    "parentbased_traceidratio": Sampler,
}


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Where spans go and how. ``url`` takes an ExportTraceServiceRequest; it and ``headers`` may hold credentials.

    ``timeout`` is that of one export, ``every`` how long spans wait for others, both in seconds. ``tls`` is None for
    the system's certificates.
    """

    url: str = field(repr=False)
    resource: Mapping[str, str]
    sampler: Sampler = field(default_factory=Sampler)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = _TIMEOUT / 1000
    every: float = _EVERY / 1000
    gzip: bool = False
    tls: ssl.SSLContext | None = None

    @property
    def where(self) -> str:
        """The address for people: without user, password and query."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def telemetry_from(environ: Mapping[str, str]) -> Telemetry | None:
    """Return where spans go, or None when they go nowhere: no endpoint is set, or one that cannot be used."""
    given = _Given(environ)
    url = given.url()
    if url is None or given.text("OTEL_SDK_DISABLED").lower() == "true":
        return None
    exporter = given.text("OTEL_TRACES_EXPORTER") or "otlp"
    if exporter != "otlp":
        if exporter != "none":
            given.complain("OTEL_TRACES_EXPORTER", "only otlp is known: no spans are exported")
        return None
    protocol = given.exporter("PROTOCOL") or _PROTOCOL
    if protocol != _PROTOCOL:
        given.complain(f"{_PREFIX}PROTOCOL", f"spans are sent as {_PROTOCOL}, which collectors take on port 4318")
    try:
        tls = given.tls()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no certificate, or no key, is in it"
        given.complain(f"{_PREFIX}CERTIFICATE", f"no spans are exported: {reason.lower()}")
        return None
    return Telemetry(
        url,
        given.resource(),
        given.sampler(),
        given.headers(),
        timeout=given.milliseconds(given.exporter_name("TIMEOUT"), _TIMEOUT),
        every=given.milliseconds("OTEL_BSP_SCHEDULE_DELAY", _EVERY),
        gzip=given.gzip(),
        tls=tls,
    )


class _Given:
    """The variables, each with its reading. None of their values is ever told: some are secrets."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str) -> str:
        """Return a variable's value; empty is as good as unset."""
        return self._environ.get(name, "").strip()

    def exporter_name(self, name: str) -> str:
        """Return the variable that counts: that of traces before that of all signals."""
        own = f"{_PREFIX}TRACES_{name}"
        return own if self.text(own) else _PREFIX + name

    def exporter(self, name: str) -> str:
        """Return the value of that variable."""
        return self.text(self.exporter_name(name))

    def complain(self, name: str, what: str) -> None:
        """Tell of a value that cannot be used."""
        log.warning("%s: %s", name, what)

    def url(self) -> str | None:
        """Return the address of the traces: as it is given for them, else below that of all signals."""
        own, base = self.text(f"{_PREFIX}TRACES_ENDPOINT"), self.text(f"{_PREFIX}ENDPOINT")
        url = own or (f"{base.rstrip('/')}/v1/traces" if base else "")
        if not url:
            return None
        try:
            parts = urlsplit(url)
            good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good or _CONTROL.search(url):
            self.complain(self.exporter_name("ENDPOINT"), "must be like http://collector:4318; no spans are exported")
            return None
        return url

    def headers(self) -> dict[str, str]:
        """Return the headers, often a token, that go with every export."""
        name = self.exporter_name("HEADERS")
        headers = self._pairs(name)
        if not all(is_token(key) and not _CONTROL.search(value) for key, value in headers.items()):
            self.complain(name, "holds what no header can; none are sent")
            return {}
        return headers

    def resource(self) -> dict[str, str]:
        """Return who the spans are from: this process of this gateway, and what the operator says of it."""
        given = self._pairs("OTEL_RESOURCE_ATTRIBUTES")
        name = self.text("OTEL_SERVICE_NAME")
        return {
            "service.name": "audiogate",
            "service.version": __version__,
            "service.instance.id": str(uuid.uuid4()),
            "process.pid": str(os.getpid()),
            "telemetry.sdk.name": "audiogate",
            "telemetry.sdk.language": "python",
            "telemetry.sdk.version": __version__,
            **given,
            **({"service.name": name} if name else {}),
        }

    def sampler(self) -> Sampler:
        """Return what decides which requests make spans."""
        name = self.text("OTEL_TRACES_SAMPLER").lower() or "parentbased_always_on"
        make = _SAMPLERS.get(name)
        if make is None:
            self.complain("OTEL_TRACES_SAMPLER", f"is none of {', '.join(_SAMPLERS)}; the caller's word is taken")
            return Sampler()
        ratio = 1.0
        if name.endswith("ratio"):
            ratio = self._number("OTEL_TRACES_SAMPLER_ARG", 1.0)
            if ratio > 1:
                self.complain("OTEL_TRACES_SAMPLER_ARG", "must be a number from 0 to 1; all traces are taken")
                ratio = 1.0
        return make(ratio)

    def milliseconds(self, name: str, otherwise: float) -> float:
        """Return a time in seconds. Zero is none at all, which would be for ever, and counts as not given."""
        return (self._number(name, otherwise) or otherwise) / 1000

    def gzip(self) -> bool:
        """Return whether exports are compressed."""
        name = self.exporter_name("COMPRESSION")
        value = self.text(name).lower()
        if value not in {"", "none", "gzip"}:
            self.complain(name, "must be gzip or none; exports are not compressed")
        return value == "gzip"

    def tls(self) -> ssl.SSLContext | None:
        """Return what checks the collector's certificate and shows ours. Raises OSError or ValueError."""
        trusted, own, key = (self.exporter(name) for name in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"))
        if not (trusted or own):
            return None
        context = ssl.create_default_context(cafile=trusted or None)
        if own:
            context.load_cert_chain(own, key or None)
        return context

    def _number(self, name: str, otherwise: float) -> float:
        value = self.text(name)
        if not value:
            return otherwise
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number >= 0):
            self.complain(name, f"must be a number; {otherwise:g} is taken")
            return otherwise
        return number

    def _pairs(self, name: str) -> dict[str, str]:
        """Return ``a=b,c=d``, percent-decoded: all of it, or nothing when a part is wrong."""
        pairs = {}
        for part in filter(None, (part.strip() for part in self.text(name).split(","))):
            key, equals, value = part.partition("=")
            if not equals or not key.strip():
                self.complain(name, "must be like a=b,c=d; it is left out")
                return {}
            pairs[unquote(key.strip())] = unquote(value.strip())
        return pairs
