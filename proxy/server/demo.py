"""``audiogate demo``: a real sentence through a real gateway to a speech engine on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from proxy.engines import sample_path
from proxy.ops.playground import loopback_url
from proxy.ops.state import State
from proxy.server.failing import CannotStartError
from proxy.server.logs import set_up
from proxy.server.ops import Ops
from proxy.server.process import Process, listen_ops, open_store, run
from proxy.server.reload import Source
from proxy.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_ENGINE_START: Final = 30.0  # seconds to load its model, on a slow laptop
_CHUNK: Final = 16_384  # bytes: half a second of the sample, so that it really is uploaded in pieces
_BOUNDARY: Final = "audiogate-demo"


def demo(*, once: bool, listen: str | None, ops_listen: str | None) -> int:
    """Run the demo; return its exit code. It goes on serving until a signal comes, unless ``once``."""
    set_up("text")
    try:
        run(_demo(once, {"listen": listen, "ops.listen": ops_listen}))
    except CannotStartError as error:
        print(f"audiogate: {error}", file=sys.stderr)
        return 3
    except SettingsError as error:
        for mistake in error.mistakes:
            print(f"audiogate: {mistake}", file=sys.stderr)
        return 1
    return 0


async def _demo(once: bool, flags: dict[str, Any]) -> None:
    async with AsyncExitStack() as stack:
        engine = await _start_engine(stack)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="audiogate-demo-"))
        settings = Path(folder, "audiogate.yaml")
        settings.write_text(json.dumps(_settings(engine)))
        source = Source(str(settings), _without_ours(os.environ), flags)
        loaded, house = source.load()
        store = await open_store(loaded.settings)
        process = Process(source, loaded, house, store=store)
        stack.push_async_callback(process.close)
        recorded: asyncio.Queue[dict[str, Any]] = asyncio.Queue()  # of one: the demo sends one request
        process.watch(recorded.put_nowait)
        process.heed_signals()
        state = State()
        desk = await process.desk(state, store, stack)
        ops = Ops(desk)
        stack.push_async_callback(ops.close)
        gateway = "http://" + await process.listen(loaded.settings.listen, shared=False)
        desk.gateway = loopback_url(gateway.removeprefix("http://"))
        ops_url = "http://" + await listen_ops(ops, loaded.settings.ops.listen)
        state.loaded = True
        print(f"engine      {engine} (pocketsphinx, on this machine)\ngateway     {gateway}", flush=True)
        await _show(gateway, recorded)
        print(f"console     {ops_url}/ (every request with its transcript; health and metrics are there, too)")
        if once:
            process.stop.ask()
        else:
            sample = sample_path()
            print(f"\nTry it:     curl {gateway}/v1/audio/transcriptions -F file=@{_relative(sample)} -F model=any")
            print("            Ctrl-C stops.", flush=True)
        await process.run()


async def _show(gateway: str, recorded: asyncio.Queue[dict[str, Any]]) -> None:
    """Upload the sample in pieces, as a client that records would, and print what came of it."""
    sample = sample_path()
    headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
    began = time.perf_counter()
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{gateway}/v1/audio/transcriptions", data=_form(sample), headers=headers) as reply,
    ):
        answer = await reply.json()
        if reply.status != 200:
            raise CannotStartError(f"the engine answered {reply.status}: {answer['error']['message']}")
    took = (time.perf_counter() - began) * 1000
    record = await recorded.get()
    audio, overhead = record["audio"], record["timing_ms"]["overhead"]
    print(f"sample      {sample.name}, {sample.stat().st_size:,} bytes")
    print(f"transcript  {answer['text']}")
    print(f"duration    {audio['seconds']:.2f} s of audio, measured on its way")
    print(f"cost        ${record['cost_usd']} (the engine is local)")
    print(f"latency     {took:.0f} ms, of which the gateway {overhead:.1f} ms", flush=True)


async def _form(sample: Path) -> AsyncIterator[bytes]:
    for name, value in (("model", "pocketsphinx"), ("response_format", "verbose_json")):
        yield f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    yield (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{sample.name}"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
    ).encode()
    audio = sample.read_bytes()
    for start in range(0, len(audio), _CHUNK):
        yield audio[start : start + _CHUNK]
    yield f"\r\n--{_BOUNDARY}--\r\n".encode()


async def _start_engine(stack: AsyncExitStack) -> str:
    """Start the engine in a process of its own, as it would be; return its URL."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy", "engine", "--listen", "127.0.0.1:0",
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # a terminal's Ctrl-C is ours alone
    )  # fmt: skip

    async def stop() -> None:
        with suppress(ProcessLookupError):
            child.terminate()
        await child.wait()

    stack.push_async_callback(stop)
    assert child.stderr is not None
    try:
        line = (await asyncio.wait_for(child.stderr.readline(), _ENGINE_START)).decode().strip()
    except TimeoutError:
        raise CannotStartError("the local engine did not start in time") from None
    _, found, url = line.partition("engine on ")
    if not found:
        raise CannotStartError(line.removeprefix("audiogate: ") or "the local engine did not start")
    return url


def _settings(engine: str) -> dict[str, Any]:
    return {
        "providers": [
            {
                "slug": "local-engine",
                "dialect": "openai",
                "base_url": f"{engine}/v1",
                "auth": "none",
                "prices": {"*": {"usd_per_second": 0}},
            }
        ],
        "configs": [{"slug": "demo", "config": {"provider": "local-engine"}}],
        "default_config": "demo",
        "records": {"stdout": False},  # a demo's stdout is for people
        "drain": {"delay": 0, "timeout": 5},
    }


def _without_ours(environ: os._Environ[str]) -> dict[str, str]:
    """Return the environment without the gateway's variables: a demo shows the same on every machine."""
    return {name: value for name, value in environ.items() if not name.startswith("AUDIOGATE")}


def _relative(path: Path) -> Path:
    with suppress(ValueError):
        return path.relative_to(Path.cwd())
    return path
