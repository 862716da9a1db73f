"""A provider: all that is known of one upstream, as data. What data cannot say, its dialect says."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from proxy.errors import GatewayError
from proxy.form.edits import Edits
from proxy.providers.auth import BEARER, Auth
from proxy.providers.base import Route
from proxy.providers.urls import checked_base, safe_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxy.providers.base import Asked, Outbound
    from proxy.routing.target import Target

OPENAI_FORMATS: Final = frozenset({"flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "ogg", "oga", "wav", "webm"})
"""What OpenAI's audio endpoints take, in its own words (the list in its 400 answer)."""

_NO_EDITS: Final = Edits()


class Dialect(Protocol):
    """How a family of upstreams is spoken to. Stateless: one instance serves every provider of the family."""

    @property
    def name(self) -> str:
        """The word for it in settings (``providers[].dialect``)."""

    def has_credential(self, target: Target) -> bool:
        """Whether the target carries any credential this dialect takes."""

    def prepare(self, provider: Provider, target: Target, asked: Asked) -> Outbound:
        """Return the request as the provider wants it; see :meth:`Provider.prepare`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One row of the table, or one upstream from the settings.

    ``base_url`` holds the version path (``…/v1``); None means that a target must bring one. ``paths`` maps
    the routes that the provider offers to paths below it; pass-through is always offered. ``base_for``
    chooses the host of a provider that has several. ``edits`` are the form changes that a route needs here.
    ``formats`` are the containers it takes, in OpenAI's words (None: any). ``max_upload_bytes`` is the
    largest whole body it may be sent (None: the gateway's own limit). ``openai_headers``: it understands
    OpenAI's organization, project and beta headers. ``offered_by`` names, route by route, who else could be
    asked, for the message of a refusal.
    """

    slug: str
    dialect: Dialect
    base_url: str | None
    paths: Mapping[Route, str]
    auth: Auth = BEARER
    needs_key: bool = True
    needs_content_length: bool = False
    model_required: bool = True
    formats: frozenset[str] | None = OPENAI_FORMATS
    max_upload_bytes: int | None = None
    edits: Mapping[Route, Edits] = field(default_factory=lambda: MappingProxyType({}))
    base_for: Callable[[Target, Asked], str] | None = None
    openai_headers: bool = False
    offered_by: Mapping[Route, tuple[str, ...]] = field(
        default_factory=lambda: MappingProxyType({}), repr=False, compare=False
    )

    def prepare(self, target: Target, asked: Asked) -> Outbound:
        """Return the one request that asks this provider for what the client asked for.

        Raises FieldNeeded when the URL hangs on a field that may still come, and GatewayError:
        ``unsupported_endpoint``, ``unknown_route`` (a path that cannot be passed on), ``invalid_provider``
        (something is missing from its configuration), ``invalid_custom_host``, ``invalid_header`` (a value
        that no header can carry), ``missing_model`` and ``invalid_request`` (a model or query that cannot
        be used here).
        """
        return self.dialect.prepare(self, target, asked)

    def has_credential(self, target: Target) -> bool:
        """Whether the target brings any credential this provider takes: a key, or what Azure has beside."""
        return self.dialect.has_credential(target)

    def base(self, target: Target, asked: Asked) -> str:
        """Return the base URL for this request: the target's own, else the provider's."""
        if target.base_url is not None:
            return checked_base(target.base_url)
        if self.base_for is not None:
            return self.base_for(target, asked)
        if self.base_url is None:
            raise GatewayError(
                "invalid_provider",
                f"{self.slug} has no address of its own: set base_url in the settings, under providers or in "
                "a virtual key, or name one with x-portkey-custom-host.",
                param="base_url",
            )
        return checked_base(self.base_url)

    def path(self, asked: Asked) -> str:
        """Return the path below the base URL; the client's own path when that is passed through."""
        if asked.route is Route.PASSTHROUGH:
            safe_path(asked.path)
            return asked.path
        path = self.paths.get(asked.route)
        if path is None:
            others = ", ".join(self.offered_by.get(asked.route, ()))
            raise GatewayError(
                "unsupported_endpoint",
                f"{self.slug} has no /v1/audio/{asked.route} endpoint."
                + (f" Providers that have one: {others}." if others else ""),
                param="provider",
            )
        return path

    def quirks(self, asked: Asked) -> Edits:
        """Return the form changes that the route asked for needs at this provider."""
        return self.edits.get(asked.route, _NO_EDITS)
