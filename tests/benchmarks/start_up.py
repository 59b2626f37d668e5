"""Figures of commands that people wait for at the prompt: help, version, a completion, a short list."""

from __future__ import annotations

import sys
from statistics import median
from typing import TYPE_CHECKING

from tests.benchmarks import process, worlds
from tests.benchmarks.bench import FTSYNC, HERE, SCRIPT
from tests.benchmarks.report import Result, Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.benchmarks.bench import Bench

IMPORT_SDKS = "import openai, wandb", [sys.executable, "-c", "import openai, wandb"]
IMPORT_TYPER = "import typer", [sys.executable, "-c", "import typer"]
BARE_APP = "a bare Typer app", [*SCRIPT, str(HERE / "bare_app.py"), "--help"]

TAB = {"_FTSYNC_COMPLETE": "complete_bash", "COMP_WORDS": "ftsync s", "COMP_CWORD": "1"}
"""What the completion script gives ftsync when bash asks how `ftsync s` may go on."""


def start_up(bench: Bench, figure: str) -> Iterator[Result]:
    """Median seconds of each command and what it is compared with, taken in turn after a warm-up."""
    yield _in_turn(bench, figure, "--help", [FTSYNC, "--help"], BARE_APP, limit=1.3)
    yield _in_turn(bench, figure, "--version", [FTSYNC, "--version"], IMPORT_TYPER, limit=1.5)
    yield _in_turn(bench, figure, "a TAB", [FTSYNC], IMPORT_TYPER, limit=2.5, more=TAB)


def listing(bench: Bench, figure: str) -> Iterator[Result]:
    """Median seconds of `ftsync list` on a small account, and of the two imports that it cannot do without."""
    bench.fill("8 jobs", worlds.small, 8)
    command = [FTSYNC, "list", "--project", bench.project()]
    yield _in_turn(bench, figure, "list, 8 jobs", command, IMPORT_SDKS)


def seconds_of_python(code: str, bench: Bench) -> float:
    """How long Python takes for this code."""
    folder = bench.folder()
    return process.run([sys.executable, "-c", code], env=bench.env(folder), folder=folder).seconds


def _in_turn(
    bench: Bench,
    figure: str,
    what: str,
    command: Sequence[str],
    other: tuple[str, Sequence[str]],
    *,
    limit: float | None = None,
    more: Mapping[str, str] | None = None,
) -> Result:
    folder = bench.folder()
    env = {**bench.env(folder), **(more or {})}
    against, compared = other
    ours, theirs = [], []
    for _ in range(1 + bench.runs):
        ours.append(process.run(command, env=env, folder=folder).seconds)
        theirs.append(process.run(compared, env=env, folder=folder).seconds)
    del ours[0], theirs[0]  # the warm-up
    return Result(
        figure,
        what,
        "s",
        median(ours),
        median(theirs),
        against=against,
        target=Target("times as much", limit) if limit else None,
        details={"fastest": min(ours), "fastest_of_peer": min(theirs), "runs": bench.runs},
    )
