"""Run the benchmarks: ``python -m benchmarks`` prints the table of the README; see benchmarks/README.md."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.metrics import METRICS, Bench, Metric, Scale
from benchmarks.processes import others_seconds
from benchmarks.programs import BenchError, UnsupportedError, fake_upstream
from benchmarks.proxies import PROXIES, Proxy
from benchmarks.report import Results, document, machine, missed, shown, table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType


@dataclass(frozen=True, slots=True)
class Run:
    """What is to be measured, on what, how long; and the results so far."""

    metrics: Sequence[Metric]
    proxies: Sequence[Proxy]
    scale: Scale
    profiles: Path | None
    results: Results

    def round(self, number: int, upstream: int) -> None:
        """Measure every metric on every proxy once, in an order that turns: drift favours nobody."""
        turn = number % max(1, len(self.proxies))
        for metric in self.metrics:
            for proxy in (*self.proxies[turn:], *self.proxies[:turn]):
                if proxy in metric.proxies:
                    said = self.measure(metric, proxy, upstream)
                    say(f"round {number + 1}/{self.scale.rounds}  {metric.name:14} {proxy.name:10} {said}")

    def measure(self, metric: Metric, proxy: Proxy, upstream: int) -> str:
        """Fill one cell by one more round, unless it has failed before; say what came of it."""
        cell = self.results.cell(metric, proxy)
        if cell.error is None:
            svg = self.profiles / f"{metric.name}-{proxy.name}.svg" if self.profiles and proxy.python else None
            try:
                cell.rounds.append(metric.measure(Bench(proxy, upstream, self.scale, svg)))
            except BenchError as error:
                cell.error, cell.unsupported = str(error), isinstance(error, UnsupportedError)
        if cell.error is None:
            return shown(cell.rounds[-1], metric)
        return cell.error if cell.unsupported else f"failed: {cell.error}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is asked for; 0 when all could be measured and, with ``--check``, every budget was met."""
    options = parse(argv)
    signal.signal(signal.SIGTERM, _leave)  # so that whatever was started ends with us
    results, began, others_before = Results(), time.monotonic(), others_seconds()
    if options.profile:
        options.profile.mkdir(parents=True, exist_ok=True)
    run = Run(
        metrics=[metric for metric in METRICS if not options.only or metric.name in options.only],
        proxies=available([proxy for proxy in PROXIES if proxy.name in options.proxies], results),
        scale=Scale.quick() if options.quick else Scale.full(),
        profiles=options.profile,
        results=results,
    )
    with fake_upstream() as upstream:
        for number in range(run.scale.rounds):
            run.round(number, upstream)
    say("")
    print(table(run.metrics, run.proxies, results))
    taken = "One quick round" if options.quick else f"Medians of {run.scale.rounds} rounds"
    seconds = time.monotonic() - began
    others = (others_seconds() - others_before) / seconds / (os.cpu_count() or 1)
    print(f"\n{machine()}. {taken} on loopback, {seconds:.0f} s; other work took {others:.0%} of the machine.")
    if options.json:
        text = json.dumps(document(run.metrics, results), indent=2, ensure_ascii=False)
        options.json.write_text(text + "\n")
    failed = any(cell.error and not cell.unsupported for cell in results.cells.values())
    return 1 if failed or (options.check and missed(run.metrics, results)) else 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    names = [metric.name for metric in METRICS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="one short round: shows that all works, not how fast it is"
    )
    parser.add_argument("--only", nargs="+", choices=names, metavar="METRIC", help=f"some of: {', '.join(names)}")
    parser.add_argument(
        "--proxies",
        nargs="+",
        choices=[proxy.name for proxy in PROXIES],
        default=[proxy.name for proxy in PROXIES],
        metavar="PROXY",
        help=f"some of: {', '.join(proxy.name for proxy in PROXIES)}",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round to a file, too")
    parser.add_argument(
        "--profile",
        type=Path,
        metavar="FOLDER",
        help="write a flame graph of each measurement there, by py-spy",
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 when a budget is missed")
    return parser.parse_args(argv)


def available(proxies: Sequence[Proxy], results: Results) -> list[Proxy]:
    """Leave out the proxies that are not installed, and say so."""
    for proxy in proxies:
        if reason := proxy.missing():
            results.skipped[proxy.name] = reason
            say(f"{proxy.name} is skipped: {reason}")
    return [proxy for proxy in proxies if proxy.name not in results.skipped]


def say(line: str) -> None:
    """Tell how far we are, beside the table."""
    print(line, file=sys.stderr, flush=True)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    if not sys.platform.startswith("linux"):
        sys.exit("the benchmarks read /proc: they need Linux")
    try:
        sys.exit(main())
    except BenchError as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit(130)
