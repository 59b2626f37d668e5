"""Figures of one big job: the memory that a big training file takes, and the time of many metric rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks import worlds
from tests.benchmarks.report import Result, Target
from tests.benchmarks.worlds import MB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.bench import Bench


def memory(bench: Bench, figure: str, megabytes: int, rows: int, *, with_peer: bool) -> Iterator[Result]:
    """Peak of the resident memory of all processes for one job with a training file of that size."""
    bench.fill(f"{megabytes} MB", worlds.with_training_file, megabytes * MB, rows)
    project = bench.project()
    ftsync = bench.ftsync(project, sampled=True)
    bench.expect_all(project)
    peer = None
    if with_peer:
        project = bench.project()
        peer = bench.peer(project, sampled=True)
        bench.expect_all(project)
    yield Result(
        figure,
        f"a training file of {megabytes} MB in {rows:,} rows, peak memory",
        "MiB",
        ftsync.usage.peak_mib,
        peer.usage.peak_mib if peer else None,
        target=Target("at most", 300),
    )
    yield Result(
        figure,
        f"a training file of {megabytes} MB in {rows:,} rows",
        "s",
        ftsync.usage.seconds,
        peer.usage.seconds if peer else None,
    )


def metric_rows(bench: Bench, figure: str, count: int) -> Iterator[Result]:
    """Seconds for one job with so many metric rows, and of the same number of `run.log` calls and nothing else."""
    bench.fill(f"{count:,} rows", worlds.with_rows, count)
    project = bench.project()
    ftsync = bench.ftsync(project)
    bench.expect_all(project)
    (job,) = worlds.with_rows(count)
    rows = bench.folder() / "rows.csv"
    rows.write_bytes(next(file.content for file in job.files if file.id in job.job["result_files"]))
    bare = bench.script("bare_log.py", bench.project(), str(rows))
    yield Result(
        figure,
        f"{count:,} metric rows",
        "s",
        ftsync.usage.seconds,
        bare.usage.seconds,
        against="bare run.log",
        target=Target("times as much", 3),
    )
