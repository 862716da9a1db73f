"""The names that settings bring into labels: providers, models and gateway keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from proxy.settings import Settings


@dataclass(frozen=True, slots=True)
class Names:
    """Names that labels may show. ``known`` are all providers that a request can reach; the others are those that the
    settings name.
    """

    known: Collection[str] = ()
    providers: Collection[str] = ()
    models: Collection[str] = ()
    keys: Collection[str] = ()


def names_in(settings: Settings, known: Collection[str]) -> Names:
    """Return the names in ``settings``; ``known`` are the slugs of the providers' registry."""
    documents = [config.config for config in settings.configs]
    keys = settings.virtual_keys
    providers = {provider.slug for provider in settings.providers} | {key.provider for key in keys}
    providers |= {slug for document in documents for slug in _texts(document, "provider")}
    models = {model for key in keys for model in key.deployments or ()}
    models |= {model for provider in settings.providers for model in provider.prices or ()}
    models |= {model for rows in (settings.prices.rows.values() if settings.prices else ()) for model in rows}
    models |= {model for document in documents for model in _texts(document, "model")}
    # A provider "@slug" is a virtual key, whose own provider is there already.
    return Names(known, providers.intersection(known), models - {"*"}, [key.name for key in settings.auth.keys])


def _texts(document: Any, name: str) -> Iterator[str]:
    """Yield every text under ``name`` in a config, at any depth."""
    if isinstance(document, Mapping):
        for key, value in document.items():
            if key == name and isinstance(value, str):
                yield value
            else:
                yield from _texts(value, name)
    elif isinstance(document, list | tuple):
        for item in document:
            yield from _texts(item, name)
