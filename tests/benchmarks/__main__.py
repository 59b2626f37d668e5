"""`poe bench`: takes the figures that are named, or all, and prints them as one table."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tests.benchmarks import growth, jobs, size, start_up
from tests.benchmarks.bench import benches
from tests.benchmarks.report import cost_table, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.benchmarks.report import Result

WIDTH = 300
"""Room for the tables where no terminal says how wide it is: a row in two lines is no Markdown."""


@dataclass(frozen=True)
class Figure:
    """What can be measured by name.

    Attributes:
        measure: Takes a `Bench` and the figure's name.
        quick: Whether `--quick` takes it, too.
    """

    measure: Callable[..., Iterator[Result]]
    quick: bool


FIGURES = {
    "start-up": Figure(start_up.start_up, quick=True),
    "list": Figure(start_up.listing, quick=True),
    "requests": Figure(jobs.requests, quick=True),
    "jobs-20": Figure(partial(jobs.wall_time, count=20, faster=5), quick=True),
    "jobs-100": Figure(partial(jobs.wall_time, count=100, faster=10), quick=False),
    "synced-1000": Figure(partial(jobs.already_synced, count=1000), quick=False),
    "rows-100k": Figure(partial(size.metric_rows, count=100_000), quick=True),
    "memory-200": Figure(partial(size.memory, megabytes=200, rows=50_000, with_peer=True), quick=True),
    "memory-500": Figure(partial(size.memory, megabytes=500, rows=50_000, with_peer=False), quick=False),
    "growth-mb": Figure(partial(growth.megabytes, sizes=(1, 10, 100)), quick=True),
    "growth-jobs": Figure(partial(growth.jobs, counts=(10, 100, 1000)), quick=False),
    "growth-10000": Figure(partial(growth.jobs, counts=(1_000, 10_000)), quick=False),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    asked = _parser().parse_args(arguments)
    names = asked.figures or [name for name, figure in FIGURES.items() if figure.quick or not asked.quick]
    load = os.getloadavg()[0]
    results: list[Result] = []
    costs: list[dict[str, Any]] = []
    failed: list[str] = []
    for name in names:
        sys.stderr.write(f"{name}\n")
        with benches(latency=asked.latency / 1000, runs=asked.runs) as bench:
            try:
                results += FIGURES[name].measure(bench, name)
            except RuntimeError as error:  # the others are worth having all the same
                failed.append(name)
                sys.stderr.write(f"{name} could not be measured: {error}\n")
            costs += [{"figure": name, **cost} for cost in bench.costs]
    document = {
        "latency_ms": asked.latency,
        "cores": os.cpu_count(),
        "load_before": load,
        "results": [result.as_json() for result in results],
        "costs": costs,
    }
    text = json.dumps(document, indent=2) + "\n"
    if asked.json == "-":
        sys.stdout.write(text)
    else:
        console = Console(width=None if sys.stdout.isatty() else WIDTH)
        console.print(table(results))
        if costs:
            console.print("Where the time went:", cost_table(costs))
        if asked.json:
            Path(asked.json).write_text(text)
    sys.exit(1 if failed else 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="poe bench", description=__doc__)
    parser.add_argument("figures", nargs="*", choices=[*FIGURES, []], metavar="FIGURE", help=", ".join(FIGURES))
    parser.add_argument("--quick", action="store_true", help="leave out what takes many minutes")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="JSON to a file, or instead of the table")
    parser.add_argument("--latency", type=float, default=50, metavar="MS", help="of each answer (default 50)")
    parser.add_argument("--runs", type=int, default=15, metavar="N", help="of each start-up command (default 15)")
    return parser


if __name__ == "__main__":
    main()
