"""A day in a gateway's life in half a minute: everything that a panel shows happens, again and again."""

from __future__ import annotations

import json
import math
import random
import struct
import threading
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.flow import scripts
from tests.flow.client import BrokenReplyError, Connection, pieces
from tests.flow.forms import CONTENT_TYPE, field, file, form
from tests.flow.gateway import free_port
from tests.flow.stage import TRANSCRIPTIONS, TRANSLATIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.flow.driver import Upstream
    from tests.flow.gateway import Gateway
    from tests.flow.scripts import Step

SPEECH = "/v1/audio/speech"
VECTORS = Path(__file__).parents[1] / "vectors"
BYTE_RATE = 4000  # of the scene's WAV files: long audio in small uploads
LIMIT = 1_000_000  # bytes: more than any file of the scene but the one that is too large
REPLY_AUDIO = b"\xff\xfb\x90\x00" * 2000


def settings(upstream: Upstream) -> dict[str, Any]:
    """Return the settings of the scene's gateway: known providers at the upstream's address keep their prices."""
    known = [{"slug": slug, "base_url": upstream.url} for slug in ("openai", "groq", "mistral-ai")]
    local = {"slug": "whisper-local", "dialect": "openai", "base_url": upstream.url, "auth": "none"}
    return {
        "providers": [
            *known,
            {**local, "prices": {"*": {"usd_per_second": 0}}},
            {**local, "slug": "lab", "formats": "any"},
            {**local, "slug": "gone", "base_url": f"http://127.0.0.1:{free_port()}/v1"},
        ],
        "configs": [
            {"slug": "again", "config": {"provider": "gone", "retry": {"attempts": 1}}},
            {"slug": "next", "config": {"strategy": {"mode": "fallback"}, "targets": _both("gone", "whisper-local")}},
            {"slug": "copy", "config": {"strategy": {"mode": "hedge"}, "targets": _both("whisper-local", "lab")}},
        ],
        "limits": {"max_upload_bytes": LIMIT},
        "metrics": {"models": 12},
        "timeouts": {"connect": 1, "upload_idle": 10, "first_byte": 10, "idle": 10},
        "drain": {"delay": 0, "timeout": 5},
    }


def _both(*providers: str) -> list[dict[str, str]]:
    return [{"provider": provider} for provider in providers]


def wav(seconds: float) -> bytes:
    """Return a WAV file of this length: 8 bits, 4 kHz, mono."""
    size = int(seconds * BYTE_RATE)
    header = struct.pack("<IHHIIHH", 16, 1, 1, BYTE_RATE, BYTE_RATE, 1, 8)
    return (
        b"RIFF"
        + struct.pack("<I", size + 36)
        + b"WAVEfmt "
        + header
        + b"data"
        + struct.pack("<I", size)
        + b"\x80" * size
    )


class Scene:
    """Callers of one gateway. ``lively``, in 0..1, is the share of its time that a caller spends on requests."""

    def __init__(self, gateway: Gateway, upstream: Upstream) -> None:
        self.gateway, self._upstream = gateway, upstream
        self._speaking = threading.Lock()  # the upstream's driver talks to its process in question and answer
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self.failures: list[str] = []
        self.lively = 1.0
        self.novelty = 0.8  # share of callers of the upstream without prices who make a model's name up
        self.calm = 1  # rounds in which what is rare happens once
        self.trouble = 0.0  # share of transcriptions that the upstream answers with 500
        self._numbers, self._rounds = count(), count()

    def begin(self, callers: int) -> None:
        """Let callers begin, each with its own chances."""
        for number in range(callers):
            thread = threading.Thread(target=self._call_on, args=(random.Random(number),))
            self._threads.append(thread)
            thread.start()

    def end(self) -> None:
        """Let the callers finish what they are at; raise what surprised them."""
        self._ended.set()
        for thread in self._threads:
            thread.join(20)
        assert not self.failures, self.failures[:5]

    def _call_on(self, chance: random.Random) -> None:
        acts: list[Callable[[random.Random], None]] = []
        while not self._ended.is_set():
            if not acts:
                acts = self._acts()
                chance.shuffle(acts)
            began = time.monotonic()
            act = acts.pop()
            try:
                act(chance)
            except (BrokenReplyError, OSError, AssertionError) as error:
                self.failures.append(f"{act.__name__}: {error!r}")
            self._ended.wait((time.monotonic() - began) * (1 / max(self.lively, 0.02) - 1))

    def _acts(self) -> list[Callable[[random.Random], None]]:
        """Return a round of acts: what is usual often, what is rare once."""
        usual: list[Callable[[random.Random], None]] = [self.transcribe] * 14
        usual += [self.translate] * 2 + [self.speak] * 3 + [self.upload_slowly] * 2 + [self.list_models]
        if next(self._rounds) % self.calm:
            return usual
        rare = [
            self.walk_frames,
            self.use_a_new_model,
            self.be_limited,
            self.find_it_broken,
            self.find_nobody,
            self.find_the_next,
            self.send_two_copies,
            self.leave_while_uploading,
            self.leave_while_waiting,
            self.bring_no_key,
            self.bring_too_much,
            self.lose_the_way,
        ]
        return [*usual, *rare]

    # What callers do

    def transcribe(self, chance: random.Random) -> None:
        """Send a file to one of four providers, each with its own way to say what was used."""
        provider, model, factor = chance.choice(
            (
                ("openai", "whisper-1", 0.03),
                ("openai", "gpt-4o-transcribe", 0.02),
                ("groq", "whisper-large-v3-turbo", 0.004),
                ("whisper-local", "large-v3", 0.045),
            )
        )
        seconds = chance.lognormvariate(2.2, 0.6)
        status = 500 if provider == "openai" and chance.random() < self.trouble else 200
        wait = seconds * factor * chance.lognormvariate(0, 0.25)
        self._post(TRANSCRIPTIONS, provider, model, wav(seconds), _said(model, seconds), status, wait=wait)

    def translate(self, chance: random.Random) -> None:
        seconds = chance.lognormvariate(2.0, 0.5)
        self._post(TRANSLATIONS, "openai", "whisper-1", wav(seconds), _said("whisper-1", seconds), wait=seconds * 0.03)

    def upload_slowly(self, chance: random.Random) -> None:
        """Send a file as a phone does: the upstream has its beginning long before its end."""
        data = wav(chance.uniform(20, 60))
        self._post(TRANSCRIPTIONS, "mistral-ai", "voxtral-mini-2602", data, {"text": "slow"}, pause=0.03, wait=0.1)

    def walk_frames(self, _: random.Random) -> None:
        data = (VECTORS / "cbr-noxing.mp3").read_bytes()
        self._post(TRANSCRIPTIONS, "groq", "whisper-large-v3", data, {"text": "go forward"}, wait=0.02, name="a.mp3")

    def use_a_new_model(self, chance: random.Random) -> None:
        """Send to an upstream without prices, now and then a model that nobody has heard of."""
        model = f"made-up-{chance.randrange(100)}" if chance.random() < self.novelty else "beta"
        self._post(TRANSCRIPTIONS, "lab", model, wav(4), {"text": "who knows"}, wait=0.05)

    def be_limited(self, _: random.Random) -> None:
        self._post(TRANSCRIPTIONS, "groq", "whisper-large-v3-turbo", wav(3), {"error": {"message": "slow down"}}, 429)

    def find_it_broken(self, _: random.Random) -> None:
        self._post(TRANSCRIPTIONS, "openai", "whisper-1", wav(5), {"error": {"message": "oh"}}, 500, wait=0.05)

    def find_nobody(self, _: random.Random) -> None:
        """Ask for an upstream that refuses connections; the gateway tries twice."""
        self._post(TRANSCRIPTIONS, None, "whisper-1", wav(2), {}, 502, extra=[("x-portkey-config", "again")])

    def find_the_next(self, _: random.Random) -> None:
        """Ask for an upstream that refuses connections, with another one behind it."""
        extra = [("x-portkey-config", "next")]
        self._post(TRANSCRIPTIONS, None, "large-v3", wav(4), {"text": "second"}, wait=0.05, extra=extra)

    def send_two_copies(self, _: random.Random) -> None:
        """Ask two upstreams for the same; both happen to be one process, which answers both alike."""
        extra = [("x-portkey-config", "copy")]
        self._post(TRANSCRIPTIONS, None, "large-v3", wav(4), {"text": "first"}, wait=0.05, extra=extra)

    def speak(self, chance: random.Random) -> None:
        """Have text read aloud, by a model priced by character or by one that reports tokens."""
        model = chance.choice(("tts-1", "gpt-4o-mini-tts"))
        request = {"model": model, "voice": "alloy", "input": "The quick brown fox. " * chance.randrange(2, 30)}
        if model == "tts-1":
            answer = [scripts.send(scripts.reply(200, REPLY_AUDIO, content_type="audio/mpeg"))]
        else:
            request["stream_format"] = "sse"
            usage = {"input_tokens": 40, "output_tokens": 160, "total_tokens": 200}
            done = scripts.event({"type": "speech.audio.done", "usage": usage})
            answer = [scripts.send(scripts.chunked_head() + scripts.chunk(done) + b"0\r\n\r\n")]
        body = json.dumps(request).encode()
        wait = scripts.sleep(chance.uniform(0.03, 0.25))
        self._send("POST", SPEECH, "openai", body, [scripts.READ_ALL, wait, *answer], 200, "application/json")

    def list_models(self, _: random.Random) -> None:
        answer = scripts.send(scripts.reply(200, b'{"object":"list","data":[]}'))
        self._send("GET", "/v1/models", "openai", None, [scripts.READ_ALL, answer], 200)

    def leave_while_uploading(self, _: random.Random) -> None:
        body = _form("whisper-1", wav(8))
        with Connection(self.gateway.port) as connection:
            self._head(connection, "POST", TRANSCRIPTIONS, "openai", len(body), CONTENT_TYPE, "nobody")
            connection.send(body[: len(body) // 2])
            connection.reset()

    def leave_while_waiting(self, _: random.Random) -> None:
        key, body = self._play([scripts.READ_ALL, scripts.hold()]), _form("whisper-1", wav(2))
        with Connection(self.gateway.port) as connection:
            self._head(connection, "POST", TRANSCRIPTIONS, "openai", len(body), CONTENT_TYPE, key)
            connection.send(body)
            with self._speaking:
                self._upstream.wait(key, "complete")
            connection.reset()

    def bring_no_key(self, _: random.Random) -> None:
        body = _form("whisper-1", wav(1))
        self._send("POST", TRANSCRIPTIONS, "openai", body, [], 401, CONTENT_TYPE, authorized=False)

    def bring_too_much(self, _: random.Random) -> None:
        with Connection(self.gateway.port) as connection:
            self._head(connection, "POST", TRANSCRIPTIONS, "openai", LIMIT + 1, CONTENT_TYPE, "nobody")
            assert connection.read_reply().status == 413

    def lose_the_way(self, _: random.Random) -> None:
        self._send("GET", "/favicon.ico", "openai", None, [], 404)

    # How

    def _play(self, steps: list[Step]) -> str:
        key = f"scene-{next(self._numbers)}"
        with self._speaking:
            self._upstream.play(key, *steps)
        return key

    def _post(
        self,
        target: str,
        provider: str | None,
        model: str,
        audio: bytes,
        said: dict[str, Any],
        status: int = 200,
        *,
        wait: float = 0.0,
        pause: float = 0.0,
        name: str = "speech.wav",
        extra: list[tuple[str, str]] | None = None,
    ) -> None:
        answer = scripts.send(scripts.reply(status, json.dumps(said).encode()))
        steps = [scripts.READ_ALL, scripts.sleep(wait), answer]
        body = _form(model, audio, name)
        self._send("POST", target, provider, body, steps, status, CONTENT_TYPE, pause=pause, extra=extra)

    def _send(
        self,
        method: str,
        target: str,
        provider: str | None,
        body: bytes | None,
        steps: list[Step],
        status: int,
        content_type: str = "",
        *,
        pause: float = 0.0,
        authorized: bool = True,
        extra: list[tuple[str, str]] | None = None,
    ) -> None:
        key = self._play(steps) if steps else "nobody"
        with Connection(self.gateway.port) as connection:
            length = None if body is None else len(body)
            self._head(
                connection, method, target, provider, length, content_type, key, authorized=authorized, extra=extra
            )
            for piece in pieces(body or b"", 16384, pause):
                with suppress(OSError):  # it may have been answered already
                    connection.send(piece)
            reply = connection.read_reply(method=method)
        assert reply.status == status, f"{target} {provider}: {reply.status} {reply.body[:300]!r}"

    def _head(
        self,
        connection: Connection,
        method: str,
        target: str,
        provider: str | None,
        length: int | None,
        content_type: str,
        key: str,
        *,
        authorized: bool = True,
        extra: list[tuple[str, str]] | None = None,
    ) -> None:
        headers = [("x-script", key), ("x-portkey-trace-id", f"trace-{key}")]
        headers += [("x-portkey-provider", provider)] if provider else []
        headers += [("Authorization", "Bearer sk-flow-scene")] if authorized else []
        headers += [] if length is None else [("Content-Length", str(length))]
        headers += [("Content-Type", content_type)] if content_type else []
        connection.head(method, target, headers + (extra or []))


def _form(model: str, audio: bytes, name: str = "speech.wav") -> bytes:
    return form(field("model", model), file(audio, name, "application/octet-stream"))


def _said(model: str, seconds: float) -> dict[str, Any]:
    """Return a reply with the usage that this model's provider reports."""
    if model == "whisper-1":
        return {"text": "hello", "usage": {"type": "duration", "seconds": math.ceil(seconds)}}
    if model == "gpt-4o-transcribe":
        audio = int(seconds * 10)
        details = {"audio_tokens": audio, "text_tokens": 4}
        usage = {"type": "tokens", "input_tokens": audio + 4, "output_tokens": 20, "input_token_details": details}
        return {"text": "hello", "usage": {**usage, "total_tokens": audio + 24}}
    return {"text": "hello"}
