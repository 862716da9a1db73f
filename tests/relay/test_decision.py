"""A remembered decision is the one that would have been made, for whoever asks and whatever the headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from proxy.errors import GatewayError
from proxy.providers.base import Route
from proxy.relay.decision import Decision, decide
from proxy.relay.door import Visit
from proxy.server.assemble import assemble
from proxy.settings import Settings

if TYPE_CHECKING:
    from proxy.relay.house import House

VISIT = Visit(Route.TRANSCRIPTIONS, "/audio/transcriptions", "")
SETTINGS: dict[str, Any] = {
    "virtual_keys": [{"slug": "vk", "provider": "groq", "key": "sk-of-the-operator"}],
    "configs": [{"slug": "saved", "config": {"provider": "openai", "api_key": "sk-of-the-config"}}],
}


def house(**more: Any) -> House:
    built, mistakes = assemble(Settings.model_validate({**SETTINGS, **more}))
    assert not mistakes
    return built


def ask(headers: list[tuple[str, str]], built: House, query: str = "") -> Decision | str:
    target = "/v1/audio/transcriptions" + (f"?{query}" if query else "")
    request = make_mocked_request("POST", target, headers=CIMultiDict(headers))
    try:
        return decide(request, Visit(VISIT.route, VISIT.path, query), built)
    except GatewayError as refused:
        return refused.code


HEADERS = st.lists(
    st.sampled_from(
        [
            ("x-portkey-provider", "openai"),
            ("X-Portkey-Provider", "groq"),
            ("x-portkey-provider", "@vk"),
            ("x-portkey-virtual-key", "vk"),
            ("x-portkey-config", "saved"),
            ("x-portkey-config", '{"override_params": {"language": "de"}}'),
            ("x-portkey-api-key", "sk-one"),
            ("Authorization", "Bearer sk-two"),
            ("authorization", "Bearer sk-three"),
            ("x-portkey-request-timeout", "500"),
            ("x-portkey-forward-headers", "x-mine"),
            ("x-portkey-openai-project", "p"),
            ("x-portkey-debug", "false"),
            ("x-portkey-trace-id", "t"),
            ("x-portkey-metadata", "{}"),
            ("user-agent", "u"),
        ]
    ),
    max_size=5,
)


@given(st.lists(st.tuples(HEADERS, st.sampled_from(["", "a=b", "model=x"])), min_size=2, max_size=8))
def test_remembering_changes_no_decision(requests: list[tuple[list[tuple[str, str]], str]]) -> None:
    shared = house()
    for headers, query in requests:
        assert ask(headers, shared, query) == ask(headers, house(), query)


def test_the_same_head_is_decided_once_and_another_trace_or_metadata_does_not_count() -> None:
    built = house()
    first = ask([("x-portkey-provider", "openai"), ("authorization", "Bearer k"), ("x-portkey-trace-id", "a")], built)
    again = ask([("x-portkey-provider", "openai"), ("authorization", "Bearer k"), ("x-portkey-metadata", "{}")], built)
    assert first is again
    assert len(built.decisions) == 1


def test_another_key_is_another_decision() -> None:
    built = house()
    keys = []
    for key in ("one", "two"):
        decision = ask([("x-portkey-provider", "openai"), ("authorization", f"Bearer {key}")], built)
        assert isinstance(decision, Decision)
        assert decision.targets is not None
        keys.append(decision.targets.prepared["config"].target.key)
    assert keys == ["one", "two"]


@pytest.mark.parametrize("headers", [[], [("x-portkey-provider", "opnai")], [("x-portkey-config", "{")]])
def test_refusals_are_not_remembered(headers: list[tuple[str, str]]) -> None:
    built = house(auth={"mode": "keys", "keys": [{"name": "k", "key": "a-gateway-key"}]})
    assert ask(headers, built) == "missing_api_key"
    assert not built.decisions


def test_the_memory_is_bounded() -> None:
    built = house()
    for number in range(3000):
        ask([("x-portkey-provider", "openai"), ("authorization", f"Bearer {number}")], built)
    assert len(built.decisions) <= 1024


def test_nothing_remembered_is_shown() -> None:
    built = house()
    ask([("x-portkey-provider", "openai"), ("authorization", "Bearer hidden-key")], built)
    assert "hidden-key" not in repr(built)
    assert "hidden-key" not in repr(next(iter(built.decisions.values())))
