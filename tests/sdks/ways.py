"""The ways to say which provider and whose key, and what must arrive at the upstream whatever the way."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tests.flow.scripts import chunk, chunked_head, event
from tests.flow.stage import CALLER_KEY, TRANSCRIPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.flow.driver import Seen
    from tests.flow.stage import Stage

VIRTUAL_KEY = "sk-flow-virtual"  # the upstream's, known to the gateway only
GATEWAY_KEY = "sk-flow-gateway"
LOCKED_KEY = "sk-flow-locked"  # a gateway key that is held to its config
PLACEHOLDER = "OPENAI_API_KEY"  # what Portkey's SDKs send as a bearer when they have none


@dataclass(frozen=True)
class Way:
    """One way: the headers beside a bearer, the model that is asked for, and whose key the upstream must get."""

    headers: dict[str, str] = field(default_factory=dict)
    bearer: str = PLACEHOLDER
    model: str = "whisper-1"
    key: str = VIRTUAL_KEY


WAYS = {
    "provider and Authorization": Way({"x-portkey-provider": "up"}, bearer=CALLER_KEY, key=CALLER_KEY),
    "provider and x-portkey-api-key": Way(
        {"x-portkey-provider": "up", "x-portkey-api-key": CALLER_KEY}, key=CALLER_KEY
    ),
    "virtual key": Way({"x-portkey-virtual-key": "vk"}),
    "virtual key as provider": Way({"x-portkey-provider": "@vk"}),
    "virtual key in the model": Way(model="@vk/whisper-1"),
    "inline config": Way({"x-portkey-config": json.dumps({"virtual_key": "vk"})}),
    "saved config": Way({"x-portkey-config": "saved"}),
    "inline config and Authorization": Way(
        {"x-portkey-config": json.dumps({"provider": "up"})}, bearer=CALLER_KEY, key=CALLER_KEY
    ),
}


def openai_options(stage: Stage, way: Way) -> dict[str, Any]:
    """Return the arguments that make an OpenAI client whose requests belong to the stage."""
    ours = {"x-script": stage.token, "x-portkey-trace-id": stage.token}
    base = f"http://127.0.0.1:{stage.gateway.port}/v1"
    return {"api_key": way.bearer, "base_url": base, "default_headers": ours | way.headers}


def event_stream(events: Iterable[dict[str, Any]]) -> bytes:
    """Return a whole reply of server-sent events, with OpenAI's end mark."""
    body = b"".join(chunk(event(data)) for data in events)
    return chunked_head() + body + chunk(event("[DONE]")) + chunk(b"")


def arrived(
    stage: Stage, recording: Path, *, key: str = CALLER_KEY, target: str = TRANSCRIPTIONS, framing: str | None = None
) -> Seen:
    """Check that the upstream got this recording, byte for byte, with the right key and nothing of the gateway's."""
    seen = stage.seen()
    (part,) = (part for part in seen.parts if part.name == "file")
    assert sha256(part.payload).hexdigest() == sha256(recording.read_bytes()).hexdigest()
    assert part.filename == recording.name
    assert seen.fields("model") == ["whisper-1"]
    assert seen.target == target
    assert seen.header("authorization") == f"Bearer {key}"
    assert not [name for name, _ in seen.headers if name.startswith("x-portkey-")]
    if framing is not None:
        assert seen.framing == framing
    assert stage.upstream.requests(stage.token) == 1
    return seen
