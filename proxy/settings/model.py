"""The settings as frozen models: one class per section, attributes named as in the file.

The text under each attribute is its description in the JSON Schema. What a model cannot see alone (two keys
that exclude each other, a slug given twice) is in :mod:`proxy.settings.rules`; :func:`proxy.settings.load`
applies both.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  (pydantic reads the annotations when the classes are made)
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field
from pydantic_core import core_schema

from proxy.settings.section import Section
from proxy.settings.store import DEFAULT as DEFAULT_STORE
from proxy.settings.store import StoreUrl
from proxy.settings.tls import ListenerTls, UpstreamTls
from proxy.settings.values import (
    Address,
    AuthScheme,
    BaseUrl,
    BrowserOrigin,
    Bytes,
    BytesOrNone,
    BytesOrZero,
    Count,
    Days,
    Directory,
    Document,
    Duration,
    Flag,
    Formats,
    FormatsOrAny,
    HostName,
    HttpOrigin,
    IsoDate,
    KeepAlive,
    Label,
    ModelName,
    Money,
    Must,
    Scalar,
    Seconds,
    Secret,
    Sha256,
    Slug,
    Text,
    Timeout,
    whole,
)

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler


class Ops(Section):
    """The ops listener: health, metrics and, guarded by the token, the management API."""

    listen: Address = Address("127.0.0.1", 8788)
    """Where the ops listener binds: HOST:PORT, [IPv6]:PORT or :PORT."""
    token: Secret | None = None
    """Needed for everything but health and metrics. Without one, ops beyond loopback serves only those."""
    hosts: tuple[HostName, ...] = ()
    """Host names, besides IP addresses and localhost, under which ops may be reached without a token."""
    tls: ListenerTls = ListenerTls()
    """TLS of the ops listener. On or off changes at a restart only."""


class GatewayKey(Section):
    """A key that clients present to the gateway. Exactly one of key, key_file and key_sha256."""

    name: Label
    """A label for logs and metrics, never the key itself."""
    key: Secret | None = None
    """The key."""
    key_sha256: Sha256 | None = None
    """The key's SHA-256 in hexadecimal, so that the file holds no secret."""
    config: Slug | None = None
    """Slug of the config used when the request names none."""
    allow_config: Flag = True
    """Whether the request may send its own config. If false and config is set, that config is always used."""
    virtual_keys: tuple[Slug, ...] | None = None
    """Slugs of the virtual keys it may use; null for all."""
    metadata: Mapping[str, Scalar] = Field(default_factory=dict)
    """Added to the metadata of every record made with this key."""


class Auth(Section):
    """Who may call the gateway."""

    mode: Annotated[Literal["open", "keys"], Must("open or keys")] = "open"
    """open: callers bring provider credentials. keys: a gateway key is required."""
    trust_network: Flag = False
    """Says that the network is the guard: lets an open gateway with virtual keys listen beyond loopback."""
    allow_origins: tuple[BrowserOrigin, ...] = ()
    """Origins of web pages that may call the gateway."""
    keys: tuple[GatewayKey, ...] = ()
    """The gateway keys."""


class VirtualKey(Section):
    """A provider's credential under a name of its own, so that callers and configs never see the secret."""

    slug: Slug
    """The name by which requests and configs choose it."""
    provider: Slug
    """Slug of the provider it is for."""
    key: Secret | None = None
    """The provider's API key."""
    base_url: BaseUrl | None = None
    """Where this key's requests go instead of the provider's own address, version path included."""
    resource_name: Text | None = None
    """Azure OpenAI: the resource, as in https://RESOURCE.openai.azure.com."""
    deployment_id: Text | None = None
    """Azure OpenAI: the deployment for every model. Or deployments."""
    deployments: Mapping[Text, Text] | None = None
    """Azure OpenAI: model to deployment. Or deployment_id."""
    api_version: Text | None = None
    """Azure: the api-version of the query, like 2025-04-01-preview."""
    azure_ad_token: Secret | None = None
    """Azure: a Microsoft Entra access token, sent in place of the key."""
    entra_tenant_id: Text | None = None
    """Azure: tenant of the Entra application whose token is fetched and renewed."""
    entra_client_id: Text | None = None
    """Azure: client id of the Entra application."""
    entra_client_secret: Secret | None = None
    """Azure: client secret of the Entra application."""
    entra_scope: Text | None = None
    """Azure: scope of the token; null for https://cognitiveservices.azure.com/.default."""
    entra_authority: BaseUrl | None = None
    """Azure: where the token is fetched; null for https://login.microsoftonline.com."""
    foundry_url: BaseUrl | None = None
    """Azure AI Foundry: the endpoint's address."""


class PriceRow(Section):
    """What a model costs, in US dollars: by time, by character or by token, one of the three."""

    usd_per_second: Money | None = None
    """Dollars per second of audio."""
    usd_per_minute: Money | None = None
    """Dollars per minute of audio."""
    usd_per_hour: Money | None = None
    """Dollars per hour of audio."""
    usd_per_character: Money | None = None
    """Dollars per character of text to be spoken."""
    usd_per_million_characters: Money | None = None
    """Dollars per million characters of text to be spoken."""
    usd_per_input_token: Money | None = None
    """Dollars per token of text that is sent."""
    usd_per_audio_token: Money | None = None
    """Dollars per token of audio that is sent."""
    usd_per_output_token: Money | None = None
    """Dollars per token of the reply."""
    usd_per_million_input_tokens: Money | None = None
    """Dollars per million tokens of text that are sent."""
    usd_per_million_audio_tokens: Money | None = None
    """Dollars per million tokens of audio that are sent."""
    usd_per_million_output_tokens: Money | None = None
    """Dollars per million tokens of the reply."""
    usd_per_minute_estimate: Money | None = None
    """Beside prices by token: dollars per minute of audio, for replies that count no tokens."""
    minimum_seconds: Duration | None = None
    """Seconds that are charged at least."""
    round_seconds: Annotated[Literal["up"] | None, Must("up")] = None
    """up: whole seconds are charged."""
    shutdown_date: IsoDate | None = None
    """The day from which the model is no more; null for what the table in the package says."""


@dataclass(frozen=True, slots=True)
class PriceFile:
    """A file of prices that was read: ``rows`` by provider and model. In the settings it is the file's path."""

    path: str
    rows: Mapping[str, Mapping[str, PriceRow]] = field(repr=False)

    def __str__(self) -> str:
        return self.path

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.custom_error_schema(
            core_schema.is_instance_schema(cls),
            custom_error_type="must",
            custom_error_message="must be {phrase}",
            custom_error_context={"phrase": "the path of a file", "echo": 0},
            serialization=core_schema.to_string_ser_schema(),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}


class Provider(Section):
    """An upstream of one's own, or changes to a known provider: what is left out stays as it is there."""

    slug: Slug
    """Its name: a new one, or a known provider's."""
    dialect: Slug | None = None
    """Which provider module speaks to it; openai for most Whisper servers."""
    base_url: BaseUrl | None = None
    """Its address, version path included: http://127.0.0.1:9000/v1."""
    auth: AuthScheme | None = None
    """How the key travels: bearer, none or header:NAME."""
    needs_content_length: Flag | None = None
    """Whether it refuses chunked uploads; bodies of unknown length are then spooled first."""
    max_upload_bytes: BytesOrNone = None
    """Largest request body it takes; null for limits.max_upload_bytes. A number wins both ways."""
    formats: FormatsOrAny | None = None
    """File formats it takes: any, or a list; null for limits.formats or the provider's own."""
    prices: Mapping[ModelName, PriceRow] | None = None
    """What its models cost, by name, '*' for every other; they beat the prices file and the built-in table."""
    tls: UpstreamTls | None = None
    """TLS towards it: a private authority, a client certificate. Hosts that a request names get none of this."""


class Config(Section):
    """A routing config under a name, in Portkey's format."""

    slug: Slug
    """The name by which requests and keys choose it."""
    config: Document = Field(repr=False)
    """The config document."""


class CustomHosts(Section):
    """Hosts that a request may name for itself."""

    allow: tuple[HttpOrigin, ...] = ()
    """Origins allowed in x-portkey-custom-host. While the gateway listens on loopback, so is loopback."""


class Limits(Section):
    """What one request, and all of them together, may take."""

    max_upload_bytes: Bytes = 26_214_400
    """Largest request body, in bytes. With several targets the largest of theirs counts."""
    max_in_flight: Count = 1000
    """Requests at once; more are answered 503 with Retry-After."""
    max_field_bytes: Annotated[int, *whole(1, 67_108_864)] = 262_144  # 64 MiB: fields are held in memory
    """Largest form field besides the file, in bytes."""
    max_parts: Annotated[int, *whole(1, 10_000)] = 64  # each part costs a parse of its headers
    """Most parts in a form."""
    formats: Formats = ("flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "ogg", "oga", "wav", "webm")
    """File formats that OpenAI-like upstreams take."""


class Timeouts(Section):
    """How long to wait, in seconds; null waits for ever."""

    connect: Timeout = 5.0
    """To open a connection to an upstream."""
    upload_idle: Timeout = 30.0
    """Without a byte from the client, or with none accepted by the upstream."""
    first_byte: Timeout = 600.0
    """For the first byte of the reply, after the upload is complete."""
    idle: Timeout = 120.0
    """Between two chunks of the reply."""
    total: Timeout = None
    """For the whole request."""
    header: Timeout = 15.0
    """For a client's request head."""
    keepalive: KeepAlive = 75.0
    """Keeps an idle client connection: longer than the balancer in front does."""
    upstream_keepalive: KeepAlive = 4.0
    """Keeps an idle upstream connection: shorter than the usual server's 5 seconds."""


class Replay(Section):
    """What is kept of an upload while another attempt may need it again."""

    memory: BytesOrZero = 262_144
    """Bytes of each upload kept in memory; the rest goes to disk."""
    per_request: BytesOrZero = 104_857_600
    """Most bytes kept of one upload; beyond, it goes on without replay. 0 turns replay off."""
    total: BytesOrZero = 2_147_483_648
    """Most bytes kept of all uploads together."""
    directory: Directory | None = None
    """Where the files are; null for the system's temporary directory."""
    encrypt: Flag = True
    """Encrypts what goes to disk, with a key that lives in memory only."""


class Records(Section):
    """The record of each request."""

    store: StoreUrl = DEFAULT_STORE
    """Where records are kept: sqlite:PATH, postgresql://USER:PASSWORD@HOST/DATABASE, or none. Changes at a restart."""
    transcripts: Annotated[Literal["full", "redacted", "off"], Must("full, redacted or off")] = "full"
    """Keeps what was said: as it is, without what looks like an address, a number of somebody's or a key, or not."""
    retention_days: Days = 30
    """Days that the store keeps a record; null keeps all."""
    queue: Count = 10_000
    """Records waiting to be written; then the oldest are dropped and counted."""
    stdout: Flag = True
    """Writes one JSON line per request to stdout."""
    stdout_transcripts: Flag = False
    """Writes the transcript into these lines, too."""
    client: Flag = True
    """Keeps the client's address."""


class Metrics(Section):
    """What the metrics tell apart."""

    key_label: Flag = False
    """Adds the gateway key's name to the counts of requests and cost."""
    models: Annotated[int, *whole(0, 1000)] = 50  # each is a dozen series in every scrape
    """Models that are told apart besides those in the settings; all others count as _other."""


class Drain(Section):
    """The way out: on SIGTERM readiness turns 503, then requests in flight may finish."""

    delay: Seconds = 5.0
    """Seconds during which new requests are still served while balancers notice."""
    timeout: Seconds = 300.0
    """Seconds that requests in flight have to finish."""


class Settings(Section):
    """Settings of Audiogate: one value of this class is a request's view of them from start to end."""

    listen: Address = Address("127.0.0.1", 8787)
    """Where the gateway binds: HOST:PORT, [IPv6]:PORT or :PORT. Changes at a restart only."""
    tls: ListenerTls = ListenerTls()
    """TLS of the gateway's listener. On or off changes at a restart only; changed files are read again."""
    ops: Ops = Ops()
    """The ops listener."""
    auth: Auth = Auth()
    """Who may call the gateway."""
    virtual_keys: tuple[VirtualKey, ...] = ()
    """Provider credentials by name."""
    providers: tuple[Provider, ...] = ()
    """Upstreams of one's own, or changes to known ones."""
    configs: tuple[Config, ...] = ()
    """Routing configs by name."""
    default_config: Slug | None = None
    """Slug of the config used when neither the request nor its key names one."""
    custom_hosts: CustomHosts = CustomHosts()
    """Hosts that a request may name for itself."""
    limits: Limits = Limits()
    """What requests may take."""
    timeouts: Timeouts = Timeouts()
    """How long to wait."""
    replay: Replay = Replay()
    """What is kept of uploads for another attempt."""
    records: Records = Records()
    """The record of each request."""
    prices: PriceFile | None = None
    """A file of prices, by provider and model, that adds to or replaces the built-in table."""
    metrics: Metrics = Metrics()
    """What the metrics tell apart."""
    drain: Drain = Drain()
    """The way out."""
    workers: Annotated[int, *whole(1, 64)] = 1  # processes: beyond the cores of one machine they only cost memory
    """Worker processes. Changes at a restart only."""
