"""What a request would do, as text for ``audiogate explain``: asked of the settings alone, without any network."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from multidict import CIMultiDict

from proxy.access.callers import Caller
from proxy.errors import GatewayError
from proxy.headers import is_token
from proxy.providers.base import Asked, FieldNeeded, Route
from proxy.relay.decision import targets_for
from proxy.relay.door import Visit, label
from proxy.routing.conditions import Facts
from proxy.routing.explain import explain
from proxy.routing.hints import hints_of, metadata_of
from proxy.routing.resolve import Choice, by_model, choose
from proxy.routing.tree import with_leaves

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from proxy.headers import Headers
    from proxy.relay.decision import Prepared
    from proxy.relay.house import House
    from proxy.routing.hints import Hints
    from proxy.routing.tree import Leaf

TRANSCRIPTIONS: Final = "/v1/audio/transcriptions"
_ANY_KEY: Final = "a key that a caller may bring"  # stands for it, and is never shown
_ANYTHING: Final = Asked(Route.PASSTHROUGH, "/models")  # what any provider can be asked without knowing the form


class WrongUseError(Exception):
    """A flag that says nothing; the message names it."""


class RefusedError(Exception):
    """A request that would be refused at once; the message is its status, its code and its message."""


def asked(config: str | None, headers: Iterable[str], fields: Iterable[str]) -> tuple[CIMultiDict[str], dict[str, str]]:
    """Return a request's headers and form fields from the flags of the command; raises :class:`WrongUseError`.

    ``headers`` are ``NAME: VALUE``, which may hold a key and so are never repeated; ``fields`` are ``NAME=VALUE``, of
    which the first of a name counts. ``config`` takes the place of ``x-portkey-config``.
    """
    found: CIMultiDict[str] = CIMultiDict()
    for number, text in enumerate(headers, 1):
        name, colon, value = text.partition(":")
        if not colon or not is_token(name):
            raise WrongUseError(f"--header: number {number} is not NAME: VALUE")
        found.add(name, value.strip())
    if config is not None:
        found["x-portkey-config"] = config
    known: dict[str, str] = {}
    for text in fields:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise WrongUseError(f"--field: {text!r} is not NAME=VALUE")
        known.setdefault(name, value)
    return found, known


def answer(house: House, headers: Headers, fields: Mapping[str, str], path: str) -> str:
    """Return :func:`report`, or raise :class:`RefusedError` with what the request would be answered."""
    try:
        return report(house, headers, fields, path)
    except GatewayError as refused:
        raise RefusedError(f"{refused.status} {refused.code}: {refused.message}") from None


def report(house: House, headers: Headers, fields: Mapping[str, str], path: str = TRANSCRIPTIONS) -> str:
    """Return what a request with these headers and form fields would do, and why; no line holds a key.

    ``fields`` are those that are known: the request may have others. A provider's key is taken for granted where a
    caller may bring one, and so is a gateway key when no header holds one. Raises GatewayError: what the request would
    be answered at once.
    """
    caller, granted = _caller(house, headers)
    hints = hints_of(headers)
    found = choose(hints, caller, house.directory)
    choice = found if found.complete else by_model(found, fields.get("model"))[0]
    visit = _visit(path)
    prepared = targets_for(choice, hints, caller, visit, house).prepared
    metadata = {**(caller.key.metadata if caller.key is not None else {}), **metadata_of(headers)}
    facts = Facts(metadata, headers, path.partition("?")[0], fields, complete=False)

    def timed(leaf: Leaf) -> Leaf:
        return leaf if hints.request_timeout is None else replace(leaf, request_timeout=hints.request_timeout)

    def described(leaf: Leaf) -> str:
        return _described(prepared[leaf.path], leaf, choice, visit, fields)

    lines = [_chosen(choice, hints, caller)]
    if granted:
        lines.append("no gateway key is given: as for one that may use everything")
    lines += map(str, explain(with_leaves(choice.node, timed), facts, described))
    total = house.settings.timeouts.total
    if total is not None:
        lines.append(f"all attempts together: {total:g} s (timeouts.total)")
    return "\n".join(lines)


def _caller(house: House, headers: Headers) -> tuple[Caller, bool]:
    """Return who asks, and whether a gateway key was taken for granted."""
    try:
        caller = house.keyring.identify(headers)
    except GatewayError as refused:
        if refused.code != "missing_api_key":
            raise
        return Caller(provider_key=_ANY_KEY), True
    return replace(caller, provider_key=caller.provider_key or _ANY_KEY), False


def _visit(path: str) -> Visit:
    raw_path, _, query = path.partition("?")
    route = label(raw_path)
    if route == "_unmatched":
        raise GatewayError("unknown_route", f"The API is under /v1/, and {raw_path!r} is not.")
    return Visit(Route(route), raw_path.removeprefix("/v1"), query)


def _chosen(choice: Choice, hints: Hints, caller: Caller) -> str:
    """Say which config it is, who said so, and where targets go that name no provider."""
    if choice.config is None and hints.config is None:
        return f"no config: {_lent(choice, hints)}"
    key = caller.key
    if choice.config is None:
        said = "the config in x-portkey-config"
    elif key is not None and key.locked_config is not None:
        said = f"the saved config {choice.config!r}: the gateway key {key.name!r} always uses it"
    elif hints.config is not None:
        said = f"the saved config {choice.config!r}: x-portkey-config names it"
    elif key is not None and key.config is not None:
        said = f"the saved config {choice.config!r}: the gateway key {key.name!r} uses it unless told otherwise"
    else:
        said = f"the saved config {choice.config!r}: it is default_config"
    return said if choice.source is None else f"{said}; for targets that name no provider, {_lent(choice, hints)}"


def _lent(choice: Choice, hints: Hints) -> str:
    """Say which provider the targets go to that name none, and who says so."""
    source = choice.source
    assert source is not None, "without one, every target names its own"
    what = f"the provider {source.provider!r}"
    if source.virtual_key is not None:
        what = f"the virtual key {source.virtual_key!r}"
    if source.named_by == "settings":
        return f"{what} of the config that lends it"
    by = "the model" if hints.provider is None and hints.virtual_key is None else "a header"
    return f"{what}, which {by} names"


def _described(prepared: Prepared, leaf: Leaf, choice: Choice, visit: Visit, fields: Mapping[str, str]) -> str:
    """Say what is known of a target: provider, address, whose key, model and other changes."""
    target, provider = prepared.target, prepared.provider
    said = [f"{provider.slug} at {_address(prepared, visit, fields)}", _key(prepared, leaf, choice)]
    changed = [
        f"{name} dropped" if value is None else f"{name}{' ' if name == 'model' else '='}{_plain(value)}"
        for name, value in target.override_params.items()
    ]
    if changed:
        said.append(f"{', '.join(changed)} (override_params)")
    if "model" in fields and "model" not in target.override_params:
        said.append(f"model {fields['model']}")
    return ", ".join(said)


def _address(prepared: Prepared, visit: Visit, fields: Mapping[str, str]) -> str:
    target, provider = prepared.target, prepared.provider
    try:
        url = urlsplit(provider.prepare(target, Asked(visit.route, visit.path, visit.query, fields)).url)
    except FieldNeeded as needed:
        url = urlsplit(provider.prepare(target, _ANYTHING).url)
        return f"{url.scheme}://{url.netloc} (the path hangs on the form field {needed.name!r})"
    except GatewayError as refused:
        return f"no address ({refused.status} {refused.code}: {refused.message})"
    return f"{url.scheme}://{url.netloc}{url.path}"


def _key(prepared: Prepared, leaf: Leaf, choice: Choice) -> str:
    target, provider = prepared.target, prepared.provider
    named = leaf.virtual_key or (choice.source.virtual_key if leaf.provider is None and choice.source else None)
    if not provider.needs_key and target.key in (None, _ANY_KEY):
        return "no key needed"
    if leaf.api_key is not None or leaf.azure_ad_token is not None or leaf.azure_entra_client_secret is not None:
        return "the config's key"
    if named is not None:
        return f"virtual key {named!r}"
    return "the caller's key"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=list, ensure_ascii=False)
