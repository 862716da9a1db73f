"""A target: one upstream a request may be sent to, with everything that was decided about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class AzureOptions:
    """What Azure needs beside a key. Every value may be absent; the provider module says which it misses."""

    resource_name: str | None = None
    deployment_id: str | None = None
    deployments: Mapping[str, str] = field(default_factory=lambda: _NOTHING)  # model → deployment
    api_version: str | None = None
    ad_token: str | None = field(default=None, repr=False)
    entra_tenant_id: str | None = None
    entra_client_id: str | None = None
    entra_client_secret: str | None = field(default=None, repr=False)
    entra_scope: str | None = None
    entra_authority: str | None = None  # it is sent the client secret: from settings only
    foundry_url: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A leaf of a route.

    ``path`` is the leaf's place in its config document, as Portkey reports it (``config``, ``config.targets[1]``).
    ``key`` is the credential to use, or None. ``base_url`` replaces the provider's own; ``named_by`` says who named the
    host, which decides whether secrets may go there and whether the socket guard applies. ``request_timeout`` is in
    seconds and covers the time until the reply's head.
    """

    provider: str
    path: str = "config"
    key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    named_by: Literal["settings", "request"] = "settings"
    override_params: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    request_timeout: float | None = None
    forward_headers: tuple[str, ...] = ()
    azure: AzureOptions = AzureOptions()
    openai_organization: str | None = None
    openai_project: str | None = None
    openai_beta: str | None = None
