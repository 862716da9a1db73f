"""Settings → house: everything the settings name is looked up once, and every name that leads nowhere is reported."""

from __future__ import annotations

from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from proxy.access.callers import GatewayKey, Keyring
from proxy.access.hosts import CustomHosts
from proxy.errors import GatewayError
from proxy.form.scanner import FormLimits
from proxy.metering.book import PriceBook
from proxy.metering.prices import price_of
from proxy.providers.registry import Row, lookup, own_provider, registry
from proxy.relay.house import House
from proxy.relay.patience import limits_of
from proxy.routing.document import examine
from proxy.routing.resolve import Directory, VirtualKey
from proxy.routing.target import AzureOptions
from proxy.routing.tree import leaves
from proxy.server.certificates import contexts
from proxy.settings import Mistake, secrets_in
from proxy.settings.mistakes import did_you_mean

if TYPE_CHECKING:
    from pydantic import SecretStr

    from proxy.metering.prices import Origin, Price
    from proxy.providers.registry import Registry
    from proxy.routing.tree import Node
    from proxy.settings import PriceRow, Settings


def assemble(settings: Settings) -> tuple[House, tuple[Mistake, ...]]:
    """Return the house that ``settings`` describe and what is wrong with their names; use it only if nothing is."""
    mistakes: list[Mistake] = []
    providers = _providers(settings, mistakes)
    virtual_keys = _virtual_keys(settings, providers, mistakes)
    configs = _configs(settings, providers, virtual_keys, mistakes)
    if settings.default_config is not None and settings.default_config not in configs:
        mistakes.append(Mistake("default_config", f"there is no config {settings.default_config!r}"))
    keys = _gateway_keys(settings, configs, virtual_keys, mistakes)
    directory = Directory(
        virtual_keys=MappingProxyType(virtual_keys),
        configs=MappingProxyType(configs),
        default_config=settings.default_config,
        hosts=CustomHosts(frozenset(settings.custom_hosts.allow), loopback=settings.listen.is_loopback),
    )
    limits = settings.limits
    form_limits = FormLimits(
        max_field_bytes=limits.max_field_bytes,
        max_fields_bytes=4 * limits.max_field_bytes,  # a few large ones (voice samples), never max_parts of them
        max_parts=limits.max_parts,
    )
    house = House(
        settings,
        Keyring(settings.auth.mode, keys),
        directory,
        providers,
        form_limits,
        limits_of(settings.timeouts),
        prices=_prices(settings, providers, mistakes),
        secrets=secrets_in(settings),
        tls=contexts(settings, mistakes),
    )
    return house, tuple(mistakes)


def _providers(settings: Settings, mistakes: list[Mistake]) -> Registry:
    rows = []
    for index, given in enumerate(settings.providers):
        formats = given.formats if given.formats is None or given.formats == "any" else frozenset(given.formats)
        row = Row(
            slug=given.slug,
            dialect=given.dialect,
            base_url=given.base_url,
            auth=given.auth,
            needs_content_length=given.needs_content_length,
            max_upload_bytes=given.max_upload_bytes,
            formats=formats,
        )
        try:
            own_provider(row)
        except ValueError as problem:
            mistakes.append(Mistake(f"providers[{index}]", str(problem)))
        else:
            rows.append(row)
    return registry(rows, formats=frozenset(settings.limits.formats))


def _prices(settings: Settings, providers: Registry, mistakes: list[Mistake]) -> PriceBook:
    """Return the book: what the providers' rows say over what the file says, over the table in the package."""
    own = [
        _price(given.slug, model, row, "settings")
        for given in settings.providers
        for model, row in (given.prices or {}).items()
    ]
    file = settings.prices
    if file is None:
        return PriceBook([own])
    known = {*providers, *PriceBook().providers()}
    for slug in sorted(file.rows.keys() - known):
        what = f"{file}: there is no provider {slug!r}{did_you_mean(slug, known)}"
        mistakes.append(Mistake("prices", what))
    shared = [
        _price(slug, model, row, "file", str(file))
        for slug, models in file.rows.items()
        for model, row in models.items()
    ]
    return PriceBook([own, shared])


def _price(provider: str, model: str, row: PriceRow, origin: Origin, source: str = "") -> Price:
    return price_of(provider, model, row.model_dump(exclude_none=True), origin, source=source)


def _virtual_keys(settings: Settings, providers: Registry, mistakes: list[Mistake]) -> dict[str, VirtualKey]:
    found = {}
    for index, given in enumerate(settings.virtual_keys):
        _look_up(providers, given.provider, f"virtual_keys[{index}].provider", mistakes)
        found[given.slug] = VirtualKey(
            slug=given.slug,
            provider=given.provider,
            key=_text(given.key),
            base_url=given.base_url,
            azure=AzureOptions(
                resource_name=given.resource_name,
                deployment_id=given.deployment_id,
                deployments=given.deployments or MappingProxyType({}),
                api_version=given.api_version,
                ad_token=_text(given.azure_ad_token),
                entra_tenant_id=given.entra_tenant_id,
                entra_client_id=given.entra_client_id,
                entra_client_secret=_text(given.entra_client_secret),
                entra_scope=given.entra_scope,
                entra_authority=given.entra_authority,
                foundry_url=given.foundry_url,
            ),
        )
    return found


def _configs(
    settings: Settings, providers: Registry, virtual_keys: dict[str, VirtualKey], mistakes: list[Mistake]
) -> dict[str, Node]:
    found = {}
    for index, given in enumerate(settings.configs):
        place = f"configs[{index}].config"
        node, problems = examine(_plain(given.config))
        mistakes.extend(Mistake(f"{place}.{path}" if path != "config" else place, what) for path, what in problems)
        for leaf in leaves(node):
            here = place + leaf.path.removeprefix("config")
            if leaf.provider is not None:
                _look_up(providers, leaf.provider, f"{here}.provider", mistakes)
            if leaf.virtual_key is not None and leaf.virtual_key not in virtual_keys:
                mistakes.append(Mistake(f"{here}.virtual_key", f"there is no virtual key {leaf.virtual_key!r}"))
        found[given.slug] = node
    return found


def _gateway_keys(
    settings: Settings, configs: dict[str, Node], virtual_keys: dict[str, VirtualKey], mistakes: list[Mistake]
) -> list[GatewayKey]:
    found = []
    for index, given in enumerate(settings.auth.keys):
        place = f"auth.keys[{index}]"
        if given.config is not None and given.config not in configs:
            mistakes.append(Mistake(f"{place}.config", f"there is no config {given.config!r}"))
        for number, slug in enumerate(given.virtual_keys or ()):
            if slug not in virtual_keys:
                mistakes.append(Mistake(f"{place}.virtual_keys[{number}]", f"there is no virtual key {slug!r}"))
        secret = _text(given.key)
        digest = sha256(secret.encode()).digest() if secret is not None else bytes.fromhex(given.key_sha256 or "")
        allowed = frozenset(given.virtual_keys) if given.virtual_keys is not None else None
        found.append(
            GatewayKey(
                given.name, digest, given.config, given.allow_config, allowed, MappingProxyType(dict(given.metadata))
            )
        )
    return found


def _look_up(providers: Registry, slug: str, place: str, mistakes: list[Mistake]) -> None:
    try:
        lookup(providers, slug)
    except GatewayError as problem:
        mistakes.append(Mistake(place, problem.message))


def _text(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _plain(value: Any) -> Any:
    """Return a frozen document as the plain dicts and lists that JSON has."""
    if hasattr(value, "items"):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
