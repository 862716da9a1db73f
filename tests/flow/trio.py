"""Three upstreams before one gateway: the providers ``a``, ``b`` and ``c``, each in a process of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from typing import TYPE_CHECKING, Any

from tests.flow.forms import parts_of
from tests.flow.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.flow.client import Headers, Reply
    from tests.flow.driver import Seen, Upstream
    from tests.flow.gateway import Gateway

FRESH = 40  # providers that no test has used yet: a provider's retry budget and load are its own
PRICES = {"a": 0.001, "b": 0.002, "c": 0.004}  # dollars a second
HUGE = 4_000_000_000  # bytes: an upload limit that no test reaches by chance


def key_of(provider: str) -> str:
    """Return the operator's key for one of the three."""
    return f"sk-flow-{provider}"


def trio_settings(upstreams: Mapping[str, Upstream], dead: int, **changes: Any) -> dict[str, Any]:
    """Return settings with the three providers; ``changes`` replace whole top-level keys. Nobody listens on ``dead``.

    The virtual keys ``key-a`` to ``key-c`` hold their keys; ``azure`` is Azure at ``b``, ``openai`` is OpenAI at ``a``.
    ``small``, ``mp3`` and ``dead`` are the first's, and take little, MP3 only, and nobody.
    """
    own = {"dialect": "openai", "auth": "bearer", "formats": "any"}
    at_a = {**own, "base_url": upstreams["a"].url}
    settings: dict[str, Any] = {
        "providers": [
            *(
                {**own, "slug": slug, "base_url": each.url, "prices": {"*": {"usd_per_second": PRICES[slug]}}}
                for slug, each in upstreams.items()
            ),
            {**at_a, "slug": "small", "max_upload_bytes": 100_000},
            {**at_a, "slug": "mp3", "formats": ["mp3"]},
            {**at_a, "slug": "dead", "base_url": f"http://127.0.0.1:{dead}/v1"},
            *({**at_a, "slug": f"fresh-{number}"} for number in range(FRESH)),
        ],
        "virtual_keys": [
            *({"slug": f"key-{slug}", "provider": slug, "key": key_of(slug)} for slug in upstreams),
            {"slug": "openai", "provider": "openai", "key": key_of("openai"), "base_url": upstreams["a"].url},
            {
                "slug": "azure",
                "provider": "azure-openai",
                "key": key_of("azure"),
                "base_url": upstreams["b"].url.removesuffix("/v1") + "/openai",
                "deployments": {"whisper-1": "hear", "gpt-transcribe": "gptt"},
                "api_version": "2025-04-01-preview",
            },
        ],
        "limits": {"max_upload_bytes": HUGE},
        "timeouts": {"connect": 0.6, "upload_idle": 20, "first_byte": 20, "idle": 20},
        "drain": {"delay": 0, "timeout": 5},
    }
    return settings | changes


@dataclass
class Trio:
    """A test's place before the three: ``a``, ``b`` and ``c`` are stages with one token and one gateway."""

    gateway: Gateway
    upstreams: Mapping[str, Upstream]
    fresh_ones: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.a = Stage(self.gateway, self.upstreams["a"], provider=None)
        self.b = Stage(self.gateway, self.upstreams["b"], self.a.token, provider=None)
        self.c = Stage(self.gateway, self.upstreams["c"], self.a.token, provider=None)
        self.all = {"a": self.a, "b": self.b, "c": self.c}

    def fresh(self) -> str:
        """Return a provider at ``a`` that nobody has used yet."""
        number = next(self.fresh_ones)
        assert number < FRESH, "more fresh providers than there are: raise FRESH"
        return f"fresh-{number}"

    def post(
        self, config: Mapping[str, Any] | str, body: bytes | None = None, extra: Headers | None = None, **options: Any
    ) -> Reply:
        """Upload a form with a config, a saved one's slug or a document, and read the reply."""
        return self.a.post(body, [*with_config(config), *(extra or [])], **options)

    def record(self) -> dict[str, Any]:
        """The record of this test's only request."""
        return self.a.record()

    def asked(self) -> dict[str, int]:
        """How many requests each upstream got of this test."""
        return {name: stage.upstream.requests(stage.token) for name, stage in self.all.items()}


def with_config(config: Mapping[str, Any] | str) -> Headers:
    """Return the header that names a config."""
    return [("x-portkey-config", config if isinstance(config, str) else json.dumps(config))]


def targets(mode: str, *given: Mapping[str, Any] | str, **strategy: Any) -> dict[str, Any]:
    """Return a config of several targets; a word stands for the provider of that name."""
    listed = [{"provider": each} if isinstance(each, str) else dict(each) for each in given]
    return {"strategy": {"mode": mode, **strategy}, "targets": listed}


def got_audio(seen: Seen, data: bytes) -> None:
    """Check that an upstream got a whole form, and in it the client's audio to the last byte."""
    assert seen.complete
    (part,) = [part for part in parts_of(seen.body, seen.header("content-type") or "") if part.name == "file"]
    assert sha256(part.payload).hexdigest() == sha256(data).hexdigest()


def told(record: Mapping[str, Any], *names: str) -> list[tuple[Any, ...]]:
    """Return what a record says of each attempt: the target, and the facts that ``names`` name."""
    return [tuple(attempt[name] for name in ("target", *names)) for attempt in record["attempts"]]
