"""The commands. Exit codes: 0 fine, 1 the input or settings are wrong, 2 wrong use, 3 could not start."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from proxy import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FINE: Final = 0
WRONG: Final = 1
CANNOT_START: Final = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; argparse itself exits with 2."""
    given = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = given.command
    try:
        return command(given)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FINE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="audiogate", description="A streaming gateway for speech-to-text.")
    parser.add_argument("--version", action="version", version=f"audiogate {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the gateway")
    serve.add_argument("-c", "--config", metavar="FILE", help="settings file (YAML or JSON)")
    _listeners(serve)
    serve.add_argument("--store", metavar="URL", help="where records are kept: sqlite:PATH, postgresql://… or none")
    serve.add_argument("--workers", type=int, metavar="N", help="worker processes")
    serve.add_argument("--log-format", choices=("json", "text"), default="text", help="form of the log on stderr")
    serve.set_defaults(command=_serve)

    demo = commands.add_parser("demo", help="send a spoken sentence through a gateway to a local speech engine")
    demo.add_argument("--once", action="store_true", help="stop after the sentence")
    _listeners(demo)
    demo.set_defaults(command=_demo)

    engine = commands.add_parser("engine", help="run the local speech engine alone")
    engine.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:8789", help="default: %(default)s")
    engine.set_defaults(command=_engine)

    check = commands.add_parser("check", help="validate a settings file")
    check.add_argument("file", metavar="FILE")
    check.set_defaults(command=_check)

    schema = commands.add_parser("schema", help="print the JSON Schema of the settings file")
    schema.set_defaults(command=_schema)

    transcribe = commands.add_parser("transcribe", help="upload recordings and print what was said")
    transcribe.add_argument("files", nargs="+", metavar="FILE", type=Path)
    transcribe.add_argument("--url", default="http://127.0.0.1:8787", help="gateway or API; default: %(default)s")
    transcribe.add_argument("--model", help="model to ask for")
    transcribe.add_argument("--provider", help="sent as x-portkey-provider")
    transcribe.add_argument("--format", dest="fmt", help="json, text, srt, verbose_json, vtt")
    transcribe.add_argument("--translate", action="store_true", help="translate into English")
    transcribe.add_argument("--key-file", type=Path, help="file with the API key; or set AUDIOGATE_API_KEY")
    transcribe.set_defaults(command=_transcribe)

    _price_list(commands.add_parser("prices", help="show the prices in force"))

    explain = commands.add_parser("explain", help="show which targets a request would try, in what order, and why")
    explain.add_argument("-c", dest="file", metavar="FILE", help="settings file (YAML or JSON)")
    explain.add_argument("--config", metavar="SLUG|JSON", help="as x-portkey-config would say")
    explain.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'", help="a header it has")
    explain.add_argument("--field", action="append", default=[], metavar="NAME=VALUE", help="a form field it has")
    explain.add_argument("--path", default="/v1/audio/transcriptions", help="what it asks for; default: %(default)s")
    explain.set_defaults(command=_explain)

    _logs(commands.add_parser("logs", help="look at the records that the store keeps"))

    health = commands.add_parser("healthcheck", help="exit 0 when the gateway on this machine is ready")
    health.add_argument("--ops-listen", metavar="HOST:PORT", help="default: as the settings say")
    health.set_defaults(command=_healthcheck)
    return parser


def _listeners(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", metavar="HOST:PORT", help="the gateway's address")
    parser.add_argument("--ops-listen", metavar="HOST:PORT", help="the ops listener's address")


def _price_list(prices: argparse.ArgumentParser) -> None:
    _priced(prices, None)
    what = prices.add_subparsers(metavar="list | show MODEL", help="default: list")
    _priced(what.add_parser("list", help="every price"), argparse.SUPPRESS)
    show = what.add_parser("show", help="what a model costs, with an example")
    show.add_argument("model", metavar="MODEL")
    _priced(show, argparse.SUPPRESS)
    prices.set_defaults(command=_prices, model=None)


def _priced(parser: argparse.ArgumentParser, default: Any) -> None:
    """Add the flags of the prices; those after a subcommand say nothing unless given."""
    parser.add_argument("-c", "--config", metavar="FILE", default=default, help="settings file (YAML or JSON)")
    parser.add_argument("--provider", metavar="SLUG", default=default, help="this provider's only")
    parser.add_argument("--json", action="store_true", default=default, help="as JSON")


def _logs(logs: argparse.ArgumentParser) -> None:
    _stored(logs, None)
    _filtered(logs, None)
    what = logs.add_subparsers(metavar="list | show ID | export | prune", help="default: list")

    listed = what.add_parser("list", help="the newest records that the filters pass, as a table")
    _stored(listed, argparse.SUPPRESS)
    _filtered(listed, argparse.SUPPRESS)
    listed.add_argument("--limit", type=int, default=50, metavar="N", help="how many; default: %(default)s")
    listed.add_argument("--json", action="store_true", help="one JSON object a line")

    show = what.add_parser("show", help="everything about one request")
    _stored(show, argparse.SUPPRESS)
    show.add_argument("id", metavar="ID")
    show.add_argument("--json", action="store_true", help="as JSON")
    show.set_defaults(what="show")

    export = what.add_parser("export", help="all records that the filters pass, to stdout")
    _stored(export, argparse.SUPPRESS)
    _filtered(export, argparse.SUPPRESS)
    export.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="default: %(default)s")
    export.set_defaults(what="export")

    prune = what.add_parser("prune", help="delete old records")
    _stored(prune, argparse.SUPPRESS)
    prune.add_argument("--older-than", metavar="SPAN", help="like 30d or 12h; default: records.retention_days")
    prune.set_defaults(what="prune")
    logs.set_defaults(command=_history, what="list", limit=50, json=False)


def _stored(parser: argparse.ArgumentParser, default: Any) -> None:
    """Add where the store is; what comes after a subcommand says nothing unless given."""
    parser.add_argument("-c", "--config", metavar="FILE", default=default, help="settings file that names the store")
    parser.add_argument("--store", metavar="URL", default=default, help="sqlite:PATH or postgresql://…")


def _filtered(parser: argparse.ArgumentParser, default: Any) -> None:
    """Add the filters, as the records' API has them."""
    for name, value, text in _FILTERS:
        parser.add_argument(f"--{name}", metavar=value, default=default, help=text)


_FILTERS: Final = (
    ("since", "TIME", "that began then or later: a span like 24h, or a time like 2026-11-21T08:00:00Z"),
    ("until", "TIME", "that began before"),
    ("status", "LIST", "like 429,5xx"),
    ("outcome", "LIST", "ok, client_error, upstream_error, gateway_error, client_left"),
    ("provider", "LIST", "that these answered"),
    ("model", "LIST", "used, else asked for"),
    ("key", "LIST", "names of gateway keys"),
    ("route", "LIST", "transcriptions, translations, speech, passthrough"),
    ("trace", "ID", "one trace id"),
    ("q", "WORDS", "that the transcript or the file's name has"),
)


def _flags(given: argparse.Namespace) -> dict[str, Any]:
    return {
        "listen": given.listen,
        "ops.listen": given.ops_listen,
        "workers": given.workers,
        "records.store": given.store,
    }


def _serve(given: argparse.Namespace) -> int:
    from proxy.server.activation import take
    from proxy.server.failing import CannotStartError
    from proxy.server.logs import set_up
    from proxy.server.notify import Notifier
    from proxy.server.process import run, serve_alone
    from proxy.server.reload import Source
    from proxy.server.workers import supervise
    from proxy.settings import SettingsError

    set_up(given.log_format)
    try:
        passed, notifier = take(os.environ), Notifier.take(os.environ)
        source = Source(given.config, os.environ, _flags(given) | passed.flags)
        loaded, house = source.load()
        if loaded.settings.workers == 1:
            run(serve_alone(source, loaded, house, passed, notifier))
        else:
            run(supervise(source, loaded, house, given.log_format, passed, notifier))
    except SettingsError as error:
        return _report(given.config or os.environ.get("AUDIOGATE_CONFIG") or "settings", error)
    except (CannotStartError, RuntimeError) as error:
        return _say(str(error), CANNOT_START)
    return FINE


def _check(given: argparse.Namespace) -> int:
    from proxy.server.certificates import remarks
    from proxy.server.reload import Source
    from proxy.settings import SettingsError

    try:
        loaded, _ = Source(given.file, os.environ, {}).load()
    except SettingsError as error:
        return _report(given.file, error)
    for remark in remarks(loaded.settings):
        print(f"{given.file}: warning: {remark}", file=sys.stderr)
    return FINE


def _report(name: str, error: Any) -> int:
    for mistake in error.mistakes:
        print(f"{name}: {mistake}", file=sys.stderr)
    return WRONG


def _schema(_given: argparse.Namespace) -> int:
    from proxy.settings import json_schema

    print(json.dumps(json_schema(), indent=2))
    return FINE


def _demo(given: argparse.Namespace) -> int:
    from proxy.server.demo import demo

    return demo(once=given.once, listen=given.listen, ops_listen=given.ops_listen)


def _engine(given: argparse.Namespace) -> int:
    from proxy.engines import MissingExtraError, serve
    from proxy.settings import Address

    try:
        address = Address.parse(given.listen)
    except ValueError:
        return _say(f"--listen: {given.listen!r} is not HOST:PORT", 2)

    async def run() -> None:
        engine = await serve(address.host or "0.0.0.0", address.port)  # noqa: S104  (an empty host means all)
        print(f"audiogate: engine on {engine.url}", file=sys.stderr, flush=True)
        try:
            await _until_signal()
        finally:
            await engine.close()

    try:
        asyncio.run(run())
    except MissingExtraError as error:
        return _say(str(error), CANNOT_START)
    except OSError as error:
        return _say(f"cannot listen on {address}: {(error.strerror or str(error)).rpartition(': ')[2]}", CANNOT_START)
    return FINE


async def _until_signal() -> None:
    import signal

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def _transcribe(given: argparse.Namespace) -> int:
    from proxy.transcribe import DEFAULT_MODEL, FORMATS, transcribe

    if given.fmt is not None and given.fmt not in FORMATS:
        return _say(f"--format: {given.fmt!r} is not one of {', '.join(FORMATS)}", 2)
    key = os.environ.get("AUDIOGATE_API_KEY") or None
    if given.key_file is not None:
        try:
            key = given.key_file.read_text().strip()
        except UnicodeDecodeError:
            return _say("--key-file: is not text", WRONG)
        except OSError as error:
            return _say(f"--key-file: {(error.strerror or 'cannot be read').lower()}", WRONG)
    return asyncio.run(
        transcribe(
            given.files,
            url=given.url,
            model=given.model or DEFAULT_MODEL,
            provider=given.provider,
            fmt=given.fmt,
            translate=given.translate,
            api_key=key,
            stdout=sys.stdout,
            stderr=sys.stderr,
        )
    )


def _prices(given: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from proxy.server.prices import NotFoundError, report
    from proxy.server.reload import Source
    from proxy.settings import SettingsError

    try:
        _, house = Source(given.config, os.environ, {}).load()
    except SettingsError as error:
        return _report(given.config or os.environ.get("AUDIOGATE_CONFIG") or "settings", error)
    today = datetime.now(UTC).date()
    try:
        print(report(house, model=given.model, provider=given.provider, today=today, as_json=bool(given.json)))
    except NotFoundError as problem:
        return _say(str(problem), WRONG)
    return FINE


def _explain(given: argparse.Namespace) -> int:
    from proxy.server.explain import RefusedError, WrongUseError, answer, asked
    from proxy.server.reload import Source
    from proxy.settings import SettingsError

    try:
        headers, fields = asked(given.config, given.header, given.field)
        _, house = Source(given.file, os.environ, {}).load()
        print(answer(house, headers, fields, given.path))
    except SettingsError as error:
        return _report(given.file or os.environ.get("AUDIOGATE_CONFIG") or "settings", error)
    except WrongUseError as problem:
        return _say(str(problem), 2)
    except RefusedError as problem:
        return _say(str(problem), WRONG)
    return FINE


def _history(given: argparse.Namespace) -> int:
    from proxy.server.history import NoRecordsError, NoStoreError, WrongQuestionError, run_history
    from proxy.settings import SettingsError, load

    try:
        loaded = load(given.config, environ=os.environ, flags={"records.store": given.store})
    except SettingsError as error:
        return _report(given.config or os.environ.get("AUDIOGATE_CONFIG") or "settings", error)
    filters = {name: value for name, _, _ in _FILTERS if (value := getattr(given, name, None)) is not None}
    try:
        run_history(given, filters, loaded.settings.records, sys.stdout.buffer)
    except WrongQuestionError as problem:
        return _say(str(problem), 2)
    except NoRecordsError as problem:
        return _say(str(problem), WRONG)
    except NoStoreError as problem:
        return _say(str(problem), CANNOT_START)
    return FINE


def _healthcheck(given: argparse.Namespace) -> int:
    import http.client
    import ssl

    from proxy.settings import Address, Ops, SettingsError, load

    try:
        ops = load(None, environ=os.environ, flags={}).settings.ops if given.ops_listen is None else Ops()
        address = ops.listen if given.ops_listen is None else Address.parse(given.ops_listen)
    except SettingsError as error:
        return _report(os.environ.get("AUDIOGATE_CONFIG", "settings"), error)
    except ValueError:
        return _say(f"--ops-listen: {given.ops_listen!r} is not HOST:PORT", 2)
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104
    connection = http.client.HTTPConnection(host, address.port, timeout=5)
    if (
        ops.tls.cert is not None
    ):  # its certificate is for the names that others use, and this does not leave the machine
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, address.port, timeout=5, context=context)
    try:
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
    except http.client.HTTPException:
        return _say(f"what answers on {address} is not the ops listener", WRONG)
    except OSError as error:
        return _say(f"ops does not answer on {address}: {error.strerror or error}", WRONG)
    finally:
        connection.close()
    return FINE if status == 200 else _say("the gateway is not ready", WRONG)


def _say(message: str, code: int) -> int:
    print(f"audiogate: {message}", file=sys.stderr)
    return code
