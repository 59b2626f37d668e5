"""Figures of commands that people wait for at the prompt: help, version, a completion; no server is asked."""

from __future__ import annotations

import sys
from statistics import median
from typing import TYPE_CHECKING

from tests.benchmarks import process
from tests.benchmarks.bench import FTSYNC, HERE, SCRIPT
from tests.benchmarks.report import Result, Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.benchmarks.bench import Bench

IMPORT_TYPER = "import typer", [sys.executable, "-c", "import typer"]
BARE_APP = "a bare Typer app", [*SCRIPT, str(HERE / "bare_app.py"), "--help"]

TAB = {"_FTSYNC_COMPLETE": "complete_bash", "COMP_WORDS": "ftsync s", "COMP_CWORD": "1"}
"""What the completion script gives ftsync when bash asks how `ftsync s` may go on."""


def start_up(bench: Bench, figure: str) -> Iterator[Result]:
    """Median seconds of each command and what it is compared with, taken in turn after a warm-up."""
    for what, command, env, (against, other), limit in (
        ("--help", [FTSYNC, "--help"], {}, BARE_APP, 1.3),
        ("--version", [FTSYNC, "--version"], {}, IMPORT_TYPER, 1.5),
        ("a TAB", [FTSYNC], TAB, IMPORT_TYPER, 2.5),
    ):
        ours, theirs = _in_turn(bench, env, command, other)
        yield Result(
            figure,
            what,
            "s",
            median(ours),
            median(theirs),
            against=against,
            target=Target("times as much", limit),
            details={"fastest": min(ours), "fastest_of_peer": min(theirs), "runs": bench.runs},
        )


def seconds_of_python(code: str, bench: Bench) -> float:
    """How long Python takes for this code."""
    folder = bench.folder()
    return process.run([sys.executable, "-c", code], env=bench.env(folder), folder=folder).seconds


def _in_turn(
    bench: Bench, more: Mapping[str, str], command: Sequence[str], other: Sequence[str]
) -> tuple[list[float], list[float]]:
    """The seconds that each of both took each time, without the first: it warms the caches up."""
    folder = bench.folder()
    env = {**bench.env(folder), **more}
    ours, theirs = [], []
    for _ in range(1 + bench.runs):
        ours.append(process.run(command, env=env, folder=folder).seconds)
        theirs.append(process.run(other, env=env, folder=folder).seconds)
    return ours[1:], theirs[1:]
