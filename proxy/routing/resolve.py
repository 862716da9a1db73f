"""Which upstream a request goes to, and with whose credential.

The order of precedence, and who may send which secret where, is INTERFACE 4 in code: nothing else in the house
decides it. Three people can name things: the operator (settings), the caller (headers, inline configs), and both.
A secret of the operator's never follows a host that the caller named; a caller's key goes only where the caller said.
All of this holds for each target of a config by itself, and all of them are looked up before a byte is sent: a target
that would be refused is no fallback.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from proxy.errors import GatewayError
from proxy.routing.document import parse_text
from proxy.routing.target import AzureOptions, Target
from proxy.routing.tree import Leaf, leaves, with_leaves

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.access.callers import Caller
    from proxy.access.hosts import CustomHosts
    from proxy.routing.hints import Hints
    from proxy.routing.tree import Node

Names = Literal["settings", "request"]

_NO_LEAF: Final = Leaf()
_NO_AZURE: Final = AzureOptions()


@dataclass(frozen=True, slots=True)
class VirtualKey:
    """A provider's credential under a name of the operator's."""

    slug: str
    provider: str
    key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    azure: AzureOptions = AzureOptions()


@dataclass(frozen=True, slots=True)
class Directory:
    """What the names in a request can refer to."""

    virtual_keys: Mapping[str, VirtualKey]
    configs: Mapping[str, Node]
    default_config: str | None
    hosts: CustomHosts


@dataclass(frozen=True, slots=True)
class Source:
    """Where the provider's name came from: a virtual key, or a slug that ``named_by`` gave."""

    virtual_key: str | None = None
    provider: str | None = None
    named_by: Names = "request"


@dataclass(frozen=True, slots=True)
class Choice:
    """A config's tree, who wrote it, and the provider of those of its targets that name none.

    ``config`` is the saved config's slug, for the record. ``source`` is None when nobody was asked or nobody said.
    """

    node: Node
    named_by: Names
    config: str | None
    source: Source | None

    @property
    def complete(self) -> bool:
        """Whether every target has a provider; else only a ``model`` of the form ``@slug/model`` can still name it."""
        return self.source is not None or all(leaf.provider or leaf.virtual_key for leaf in leaves(self.node))


def choose(hints: Hints, caller: Caller, directory: Directory) -> Choice:
    """Return what headers, key and settings say of the upstream; raises when they say something impossible."""
    locked = caller.key.locked_config if caller.key is not None else None
    if locked is not None:
        if hints.provider is not None or hints.virtual_key is not None:
            raise _not_allowed("This gateway key always uses its own config: name no provider or virtual key.")
        return _completed(_of_saved(locked, directory), caller, directory)
    if hints.config is not None:
        if caller.key is not None and not caller.key.allow_config:
            raise _not_allowed("This gateway key may not send a config of its own.")
        if hints.config.lstrip().startswith(("{", "[")):
            choice = Choice(parse_text(hints.config), "request", None, None)
        else:
            choice = _of_saved(hints.config, directory)
        if not choice.complete:
            choice = replace(choice, source=_header_source(hints))
        return _completed(choice, caller, directory)
    source = _header_source(hints)
    if source is not None:
        return Choice(_NO_LEAF, "request", None, source)
    saved = (caller.key.config if caller.key is not None else None) or directory.default_config
    if saved is None:
        return Choice(_NO_LEAF, "request", None, None)
    return _completed(_of_saved(saved, directory), caller, directory)


def by_model(choice: Choice, model: str | None) -> tuple[Choice, str]:
    """Return the choice completed by ``@slug/model`` and the model's own name; raises ``missing_provider``."""
    slug, slash, name = (model or "").removeprefix("@").partition("/")
    if model is None or not model.startswith("@") or not slash or not slug or not name:
        raise GatewayError(
            "missing_provider",
            "No upstream was named. Send x-portkey-provider, x-portkey-virtual-key or x-portkey-config, or a model "
            "of the form @slug/model.",
        )

    def renamed(leaf: Leaf) -> Leaf:
        return replace(leaf, override_params={"model": name, **leaf.override_params})

    return replace(choice, node=with_leaves(choice.node, renamed), source=Source(virtual_key=slug)), name


def targets_of(choice: Choice, hints: Hints, caller: Caller, directory: Directory) -> dict[str, Target]:
    """Return every target of a complete choice by its path, in the document's order.

    Raises what :func:`target_of` raises for any of them, which is named when there are several.
    """
    found: dict[str, Target] = {}
    for leaf in leaves(choice.node):
        try:
            found[leaf.path] = target_of(leaf, choice, hints, caller, directory)
        except GatewayError as refused:
            if leaf is choice.node or refused.code == "missing_provider":
                raise
            raise GatewayError(refused.code, f"{leaf.path}: {refused.message}", param=refused.param) from None
    return found


def target_of(leaf: Leaf, choice: Choice, hints: Hints, caller: Caller, directory: Directory) -> Target:
    """Return the target that one leaf of a complete choice describes, with the credential it may use and no other.

    Raises ``not_allowed``, ``invalid_provider`` (an unknown virtual key), ``invalid_custom_host``.
    """
    source = _leaf_source(leaf, choice.named_by) or choice.source
    if source is None:
        by_model(choice, None)
        raise AssertionError("by_model raises without a model")
    virtual_key = _virtual_key(source.virtual_key, caller, directory) if source.virtual_key is not None else None
    host, named_by = _host(leaf, choice, hints, directory)
    config_secret = choice.named_by == "settings" and _has_secret(leaf)
    own_secret = virtual_key is not None or config_secret
    if own_secret and (named_by == "request" or _redirects_azure(leaf, choice)):
        raise _not_allowed("A virtual key or a key from the settings is never sent to a host that a request names.")
    if config_secret and leaf.provider is None and leaf.virtual_key is None and source.named_by == "request":
        raise _not_allowed("A key from the settings is never sent to a provider that a request names.")
    caller_named = named_by == "request" or (source.virtual_key is None and source.named_by == "request")
    key = leaf.api_key or (virtual_key.key if virtual_key is not None else None)
    if key is None and virtual_key is None and caller_named:
        key = caller.provider_key
    timeout = hints.request_timeout if hints.request_timeout is not None else leaf.request_timeout
    return Target(
        provider=virtual_key.provider if virtual_key is not None else source.provider or "",
        path=leaf.path,
        key=key,
        base_url=host or (virtual_key.base_url if virtual_key is not None else None),
        named_by=named_by,
        override_params=leaf.override_params,
        request_timeout=timeout / 1000 if timeout else None,
        forward_headers=hints.forward_headers or leaf.forward_headers,
        azure=_azure(leaf, hints, virtual_key, trusted=own_secret or not caller_named),
        openai_organization=leaf.openai_organization or hints.openai_organization,
        openai_project=leaf.openai_project or hints.openai_project,
        openai_beta=leaf.openai_beta,
    )


def _of_saved(slug: str, directory: Directory) -> Choice:
    node = directory.configs.get(slug)
    if node is None:
        raise GatewayError(
            "unknown_config",
            f"There is no saved config {slug[:64]!r}. Send the slug of one, or the config itself as JSON.",
            param="x-portkey-config",
        )
    return Choice(node, "settings", slug, None)


def _leaf_source(leaf: Leaf, named_by: Names) -> Source | None:
    if leaf.virtual_key is not None:
        return Source(virtual_key=leaf.virtual_key, named_by=named_by)
    return Source(provider=leaf.provider, named_by=named_by) if leaf.provider is not None else None


def _header_source(hints: Hints) -> Source | None:
    if hints.provider is not None and hints.provider.startswith("@"):
        return Source(virtual_key=hints.provider[1:].partition("/")[0])
    if hints.virtual_key is not None:
        return Source(virtual_key=hints.virtual_key)
    return Source(provider=hints.provider) if hints.provider is not None else None


def _completed(choice: Choice, caller: Caller, directory: Directory) -> Choice:
    """Return a choice whose targets lack a provider with that of the key's config, else of the default one.

    Only a config of one target has a provider to lend.
    """
    for slug in (caller.key.config if caller.key is not None else None, directory.default_config):
        if slug is not None and not choice.complete:
            lender = _of_saved(slug, directory).node
            choice = replace(choice, source=_leaf_source(lender, "settings") if isinstance(lender, Leaf) else None)
    return choice


def _virtual_key(slug: str, caller: Caller, directory: Directory) -> VirtualKey:
    found = directory.virtual_keys.get(slug)
    if found is None:
        raise GatewayError(
            "invalid_provider", f"There is no virtual key {slug[:64]!r}. Check its slug.", param="virtual_key"
        )
    if not caller.may_use_virtual_key(slug):
        raise _not_allowed(f"This gateway key may not use the virtual key {slug[:64]!r}.")
    return found


def _host(leaf: Leaf, choice: Choice, hints: Hints, directory: Directory) -> tuple[str | None, Names]:
    """Return the base URL that replaces the provider's, and who named it; a header beats every config."""
    if hints.custom_host is not None:
        return directory.hosts.check(hints.custom_host, "x-portkey-custom-host"), "request"
    custom, foundry = leaf.custom_host, leaf.azure_foundry_url
    if choice.named_by == "settings":
        return custom, "settings"
    if foundry is not None:
        directory.hosts.check(foundry, "azure_foundry_url")
    if custom is not None:
        return directory.hosts.check(custom, "custom_host"), "request"
    return None, "settings" if foundry is None else "request"


def _redirects_azure(leaf: Leaf, choice: Choice) -> bool:
    """Whether a caller's config names the Azure resource or tenant that a secret would go to."""
    named = leaf.resource_name or leaf.azure_foundry_url or leaf.azure_entra_tenant_id
    return choice.named_by == "request" and named is not None


def _has_secret(leaf: Leaf) -> bool:
    return (leaf.api_key or leaf.azure_ad_token or leaf.azure_entra_client_secret) is not None


def _azure(leaf: Leaf, hints: Hints, virtual_key: VirtualKey | None, *, trusted: bool) -> AzureOptions:
    """Return what Azure needs. ``trusted``: the secret is the operator's, so no header may name host or credential."""
    if leaf is _NO_LEAF and virtual_key is None and not hints.azure:
        return _NO_AZURE
    base = virtual_key.azure if virtual_key is not None else _NO_AZURE
    given: dict[str, Any] = {
        "resource_name": leaf.resource_name,
        "deployment_id": leaf.deployment_id,
        "api_version": leaf.api_version,
        "ad_token": leaf.azure_ad_token,
        "entra_tenant_id": leaf.azure_entra_tenant_id,
        "entra_client_id": leaf.azure_entra_client_id,
        "entra_client_secret": leaf.azure_entra_client_secret,
        "entra_scope": leaf.azure_entra_scope,
        "foundry_url": leaf.azure_foundry_url,
    }
    fallback: dict[str, Any] = {
        "deployment_id": None if base.deployments else hints.azure_deployment_id,
        "api_version": hints.azure_api_version,
    }
    if not trusted:
        fallback |= {"resource_name": hints.azure_resource_name, "ad_token": hints.azure_ad_token}
    merged = {name: value for name, value in given.items() if value is not None}
    for name, value in fallback.items():
        if value is not None and name not in merged and getattr(base, name) is None:
            merged[name] = value
    return replace(base, **merged) if merged else base


def _not_allowed(message: str) -> GatewayError:
    return GatewayError("not_allowed", message)
