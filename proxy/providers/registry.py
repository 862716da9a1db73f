"""The providers of one gateway: the table with the settings' rows laid over it, and how to find one in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final, Literal

from proxy.errors import GatewayError
from proxy.providers.auth import auth_of
from proxy.providers.base import Route
from proxy.providers.provider import OPENAI_FORMATS, Provider
from proxy.providers.table import DIALECTS, TABLE

Registry = Mapping[str, Provider]
Formats = Literal["any"] | Collection[str]

_KNOWN: Final[Registry] = MappingProxyType({provider.slug: provider for provider in TABLE})
_SHOWN: Final = 64  # characters of an unknown name that a message repeats: names are no longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the settings say of a provider (``providers[]``); None says nothing."""

    slug: str
    dialect: str | None = None
    base_url: str | None = None
    auth: str | None = None
    needs_content_length: bool | None = None
    max_upload_bytes: int | None = None
    formats: Formats | None = None


def slugs(registry: Registry = _KNOWN) -> tuple[str, ...]:
    """Return every slug in alphabetical order."""
    return tuple(sorted(registry))


def own_provider(row: Row) -> Provider:
    """Return a provider for an upstream of the operator's own.

    It is like its dialect's namesake in the table (``openai`` unless the row names another), apart from what
    the row gives, and has no address but the row's. Raises ValueError for an unknown dialect or auth word.
    """
    dialect = row.dialect or "openai"
    if dialect not in DIALECTS:
        raise ValueError(f"dialect must be one of {', '.join(sorted(DIALECTS))}, not {dialect[:_SHOWN]!r}")
    return _changed(replace(_KNOWN[dialect], slug=row.slug, base_url=None), row)


def registry(rows: Iterable[Row] = (), *, formats: frozenset[str] | None = OPENAI_FORMATS) -> Registry:
    """Return every provider by slug: the table's as ``rows`` change them, and those of ``rows`` themselves.

    A row whose slug is known changes what it gives and leaves the rest, unless it names another dialect:
    then it is an upstream of its own. ``formats`` is the settings' ``limits.formats``; it stands wherever
    OpenAI's own list would. Raises ValueError, saying which row, for an unknown dialect or auth word.
    """
    found = {slug: _with_default_formats(provider, formats) for slug, provider in _KNOWN.items()}
    for row in rows:
        known = found.get(row.slug)
        try:
            if known is not None and row.dialect in {None, known.dialect.name}:
                found[row.slug] = _changed(known, row)
            else:
                own = own_provider(row)
                found[row.slug] = own if row.formats is not None else _with_default_formats(own, formats)
        except ValueError as mistake:
            raise ValueError(f"provider {row.slug}: {mistake}") from None
    offered_by: Mapping[Route, tuple[str, ...]] = {
        route: _offering(route, found) for route in Route if route is not Route.PASSTHROUGH
    }
    return MappingProxyType({slug: replace(provider, offered_by=offered_by) for slug, provider in found.items()})


def lookup(registry: Registry, slug: str) -> Provider:
    """Return the provider called ``slug``, or raise GatewayError ``invalid_provider`` with near matches."""
    provider = registry.get(slug)
    if provider is not None:
        return provider
    near = get_close_matches(slug[:_SHOWN].lower(), registry)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known are: {', '.join(slugs(registry))}."
    raise GatewayError("invalid_provider", f"There is no provider {slug[:_SHOWN]!r}. {hint}", param="provider")


def _changed(provider: Provider, row: Row) -> Provider:
    auth = provider.auth if row.auth is None else auth_of(row.auth)
    return replace(
        provider,
        base_url=provider.base_url if row.base_url is None else row.base_url,
        # One address was named: what chose between several no longer has a say.
        base_for=provider.base_for if row.base_url is None else None,
        auth=auth,
        needs_key=provider.needs_key if row.auth is None else auth.header is not None,
        needs_content_length=(
            provider.needs_content_length if row.needs_content_length is None else row.needs_content_length
        ),
        max_upload_bytes=provider.max_upload_bytes if row.max_upload_bytes is None else row.max_upload_bytes,
        formats=provider.formats if row.formats is None else _formats(row.formats),
    )


def _formats(formats: Formats) -> frozenset[str] | None:
    return None if formats == "any" else frozenset(formats)


def _with_default_formats(provider: Provider, formats: frozenset[str] | None) -> Provider:
    return replace(provider, formats=formats) if provider.formats == OPENAI_FORMATS else provider


def _offering(route: Route, found: Registry) -> tuple[str, ...]:
    return tuple(sorted(slug for slug, provider in found.items() if route in provider.paths))
