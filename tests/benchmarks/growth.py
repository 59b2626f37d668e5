"""How cost grows: more jobs, a bigger training file; the slope is the cost of one more."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from tests.benchmarks import worlds
from tests.benchmarks.report import Result
from tests.benchmarks.worlds import MB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.benchmarks.bench import Bench
    from tests.benchmarks.process import Usage

BYTES_A_ROW = 4_000


def jobs(bench: Bench, figure: str, counts: Sequence[int]) -> Iterator[Result]:
    """Seconds and peak memory of syncs of so many new jobs, and what each additional job costs."""
    usages = []
    for count in counts:
        bench.fill(f"{count:,} jobs", worlds.finished, count)
        project = bench.project()
        usages.append(bench.ftsync(project, sampled=True).usage)
        bench.expect_all(project)
    yield from slopes(figure, "jobs", counts, usages)


def megabytes(bench: Bench, figure: str, sizes: Sequence[int]) -> Iterator[Result]:
    """Seconds and peak memory for one job with a training file of so many MB, and what each additional MB costs."""
    usages = []
    for size in sizes:
        bench.fill(f"{size} MB", worlds.with_training_file, size * MB, size * MB // BYTES_A_ROW)
        project = bench.project()
        usages.append(bench.ftsync(project, sampled=True).usage)
        bench.expect_all(project)
    yield from slopes(figure, "MB", sizes, usages)


def slopes(figure: str, of: str, amounts: Sequence[int], usages: Sequence[Usage]) -> Iterator[Result]:
    for unit, values, what in (
        ("s", [usage.seconds for usage in usages], "time"),
        ("MiB", [usage.peak_mib for usage in usages], "peak memory"),
    ):
        for amount, value in zip(amounts, values, strict=True):
            yield Result(figure, f"{amount:,} {of}, {what}", unit, value)
        for (fewer, less), (more, most) in pairwise(zip(amounts, values, strict=True)):
            slope = f"from {fewer:,} to {more:,} {of}, each"
            yield Result(figure, slope, unit, (most - less) / (more - fewer))
