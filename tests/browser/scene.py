"""What the console is shown with: a gateway before a scripted upstream, and callers who have something to say."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.flow import forms, scripts
from tests.flow.client import Connection, Reply, pieces
from tests.flow.gateway import free_port
from tests.grafana.scene import wav

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flow.driver import Upstream
    from tests.flow.gateway import Gateway
    from tests.flow.scripts import Step

TRANSCRIPTIONS = "/v1/audio/transcriptions"
CALLER_KEY = "sk-flow-browser"
VIRTUAL_KEY = "sk-flow-browser-virtual"


def settings(upstream: Upstream, folder: Path, **changes: Any) -> dict[str, Any]:
    """Return settings whose known providers keep their prices, and whose store is a file of its own."""
    known = [{"slug": slug, "base_url": upstream.url} for slug in ("openai", "groq", "mistral-ai")]
    local = {"slug": "whisper-local", "dialect": "openai", "base_url": upstream.url, "auth": "none", "formats": "any"}
    gone = {**local, "slug": "whisper-spare", "base_url": f"http://127.0.0.1:{free_port()}/v1"}
    port = free_port()
    settings: dict[str, Any] = {
        "listen": f"127.0.0.1:{port}",
        "providers": [*known, {**local, "prices": {"*": {"usd_per_second": 0}}}, gone],
        "virtual_keys": [
            {"slug": "openai-prod", "provider": "openai", "key": VIRTUAL_KEY},
            {"slug": "groq-prod", "provider": "groq", "key": f"{VIRTUAL_KEY}-2"},
        ],
        "configs": [
            {
                "slug": "careful",
                "config": {
                    "strategy": {"mode": "fallback", "on_status_codes": [429, 500, 503]},
                    "targets": [{"virtual_key": "openai-prod"}, {"virtual_key": "groq-prod"}],
                },
            },
            {
                "slug": "near",
                "config": {
                    "strategy": {"mode": "fallback"},
                    "targets": [{"provider": "whisper-spare"}, {"provider": "whisper-local"}],
                },
            },
        ],
        "records": {"store": f"sqlite:{folder / f'records-{port}.db'}", "transcripts": "full"},
        "timeouts": {"connect": 1, "upload_idle": 10, "first_byte": 10, "idle": 10},
        "drain": {"delay": 0, "timeout": 5},
    }
    return settings | changes


@dataclass
class Call:
    """One request: who it goes to, what is said, and how long everything takes. Times are seconds."""

    text: str = "hello"
    provider: str | None = "openai"
    model: str = "whisper-1"
    seconds: float = 4.0
    name: str = "speech.wav"
    config: str | None = None
    route: str = TRANSCRIPTIONS
    answer: dict[str, Any] | bytes | None = None
    status: int = 200
    first: list[Step] | None = None  # what the target before the last does
    steps: list[Step] | None = None
    wait: float = 0.0
    pause: float = 0.0  # between two pieces of the upload
    piece: int = 16_384
    fields: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return what the upstream answers unless something else is given: text, and usage as its provider has it."""
        said: dict[str, Any] = {"text": self.text}
        if self.model == "whisper-1":
            said["usage"] = {"type": "duration", "seconds": math.ceil(self.seconds)}
        elif self.model.startswith("gpt-4o"):
            audio, out = int(self.seconds * 10), max(len(self.text) // 4, 1)
            details = {"audio_tokens": audio, "text_tokens": 0}
            usage = {"type": "tokens", "input_tokens": audio, "output_tokens": out, "total_tokens": audio + out}
            said["usage"] = {**usage, "input_token_details": details}
        return said

    def script(self) -> list[Step]:
        """Return what the upstream does."""
        if self.steps is not None:
            return self.steps
        answer = self.document() if self.answer is None else self.answer
        if isinstance(answer, bytes):
            return [scripts.READ_ALL, scripts.sleep(self.wait), scripts.send(answer)]
        reply = scripts.reply(self.status, json.dumps(answer).encode())
        return [scripts.READ_ALL, scripts.sleep(self.wait), scripts.send(reply)]


def events(*deltas: str) -> list[bytes]:
    """Return the events of a transcript that comes in pieces."""
    said = [scripts.event({"type": "transcript.text.delta", "delta": delta}) for delta in deltas]
    return [*said, scripts.event({"type": "transcript.text.done", "text": "".join(deltas)})]


def make(gateway: Gateway, upstream: Upstream, call: Call, trace: str) -> Reply:
    """Send a call through the gateway, wait for its answer and for its record."""
    if call.first is not None:
        upstream.play(trace, *call.first)
    upstream.play(trace, *call.script())
    parts = [forms.field("model", call.model)]
    parts += [forms.field(name, value) for name, value in call.fields.items()]
    body = forms.form(*parts, forms.file(wav(call.seconds), call.name))
    headers = [
        ("Content-Type", forms.CONTENT_TYPE),
        ("Content-Length", str(len(body))),
        ("Authorization", f"Bearer {CALLER_KEY}"),
        ("x-portkey-trace-id", trace),
        ("x-script", trace),
        *call.headers.items(),
    ]
    headers += [("x-portkey-config", call.config)] if call.config else []
    headers += [("x-portkey-provider", call.provider)] if call.provider and not call.config else []
    with Connection(gateway.port) as connection:
        connection.head("POST", call.route, headers)
        for piece in pieces(body, call.piece, call.pause):
            connection.send(piece)
        reply = connection.read_reply()
    gateway.wait_records(trace)
    return reply
