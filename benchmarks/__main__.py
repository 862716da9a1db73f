"""Run the benchmarks: ``python -m benchmarks`` prints the table of the README; see benchmarks/README.md."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.metrics import METRICS, Bench, Metric, Scale
from benchmarks.programs import BenchError, fake_upstream
from benchmarks.proxies import PROXIES, Proxy
from benchmarks.report import Results, document, machine, missed, number, table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is asked for; 0 when all could be measured and, with ``--check``, every budget was met."""
    options = parse(argv)
    signal.signal(signal.SIGTERM, _leave)  # so that whatever was started ends with us
    metrics = [metric for metric in METRICS if not options.only or metric.name in options.only]
    scale = Scale.quick() if options.quick else Scale.full()
    results, began = Results(), time.monotonic()
    proxies = available([proxy for proxy in PROXIES if proxy.name in options.proxies], results)
    with fake_upstream() as upstream:
        for round_number in range(scale.rounds):
            one_round(metrics, proxies, upstream, scale, round_number, results)
    seconds = time.monotonic() - began
    print(table(metrics, proxies, results))
    print(f"\n{machine()}. Medians of {scale.rounds} rounds on loopback, {seconds:.0f} s in all.")
    if options.json:
        text = json.dumps(document(metrics, results), indent=2, ensure_ascii=False)
        options.json.write_text(text + "\n")
    failed = any(cell.error for cell in results.cells.values())
    return 1 if failed or (options.check and missed(metrics, results)) else 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    names = [metric.name for metric in METRICS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="one short round: shows that all works, not how fast it is"
    )
    parser.add_argument(
        "--only", nargs="+", choices=names, metavar="METRIC", help=f"some of: {', '.join(names)}"
    )
    parser.add_argument(
        "--proxies",
        nargs="+",
        choices=[proxy.name for proxy in PROXIES],
        default=[proxy.name for proxy in PROXIES],
        metavar="PROXY",
        help=f"some of: {', '.join(proxy.name for proxy in PROXIES)}",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round to a file, too")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a budget is missed")
    return parser.parse_args(argv)


def available(proxies: Sequence[Proxy], results: Results) -> list[Proxy]:
    """Leave out the proxies that are not installed, and say so."""
    for proxy in proxies:
        if reason := proxy.missing():
            results.skipped[proxy.name] = reason
            say(f"{proxy.name} is skipped: {reason}")
    return [proxy for proxy in proxies if proxy.name not in results.skipped]


def one_round(
    metrics: Sequence[Metric],
    proxies: Sequence[Proxy],
    upstream: int,
    scale: Scale,
    round_number: int,
    results: Results,
) -> None:
    """Measure every metric on every proxy once; the order turns with each round, so drift favours nobody."""
    turn = round_number % max(1, len(proxies))
    for metric in metrics:
        for proxy in (*proxies[turn:], *proxies[:turn]):
            cell = results.cell(metric, proxy) if proxy in metric.proxies else None
            if cell is None or cell.error:
                continue
            try:
                cell.rounds.append(metric.measure(Bench(proxy, upstream, scale)))
                shown = number(cell.rounds[-1], metric)
            except BenchError as error:
                cell.error = str(error)
                shown = f"failed: {error}"
            say(f"round {round_number + 1}/{scale.rounds}  {metric.name:14} {proxy.name:10} {shown}")


def say(line: str) -> None:
    """Tell how far we are, beside the table."""
    print(line, file=sys.stderr, flush=True)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    if not sys.platform.startswith("linux"):
        sys.exit("the benchmarks read /proc: they need Linux")
    os.chdir(Path(__file__).parent.parent)
    try:
        sys.exit(main())
    except BenchError as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit(130)
