"""The OpenAI dialect: base URL + path, a key in a header, the body as it came.

https://platform.openai.com/docs/api-reference/audio
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.providers.auth import header_value
from proxy.providers.base import Outbound
from proxy.providers.body import form_edits, json_params
from proxy.providers.urls import join

if TYPE_CHECKING:
    from proxy.providers.base import Asked
    from proxy.providers.provider import Provider
    from proxy.routing.target import Target


class OpenAI:
    """Speaks to OpenAI and to everything that took over its audio API."""

    name = "openai"

    def has_credential(self, target: Target) -> bool:
        """Whether there is a key."""
        return bool(target.key)

    def prepare(self, provider: Provider, target: Target, asked: Asked) -> Outbound:
        """Return base URL + path + the client's query, the key in its header, and the row's form changes."""
        path = provider.path(asked)
        quirks = provider.quirks(asked)
        headers = provider.auth.headers(target.key)
        if provider.openai_headers:
            headers |= _account_headers(target)
        return Outbound(
            url=join(provider.base(target, asked), path, asked.query),
            headers=headers,
            edits=form_edits(target, quirks),
            params=json_params(target, quirks),
        )


def _account_headers(target: Target) -> dict[str, str]:
    values = {
        "OpenAI-Organization": target.openai_organization,
        "OpenAI-Project": target.openai_project,
        "OpenAI-Beta": target.openai_beta,
    }
    return {name: header_value(value, name) for name, value in values.items() if value}
