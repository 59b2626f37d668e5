"""Figures of whole syncs: wall time of many jobs, requests of a new one, and jobs that are synced already."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from tests.benchmarks import worlds
from tests.benchmarks.bench import by_kind
from tests.benchmarks.report import Result, Target
from tests.benchmarks.start_up import seconds_of_python

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.bench import Bench, Measured

EVENTS_A_PAGE = 100


def wall_time(bench: Bench, figure: str, count: int, faster: float) -> Iterator[Result]:
    """Seconds from start to end of a command that brings so many finished jobs into an empty project."""
    bench.fill(f"{count} jobs", worlds.finished, count)
    ours, theirs = bench.project(), bench.project()
    ftsync = bench.ftsync(ours)
    bench.expect_all(ours)
    peer = bench.peer(theirs)
    bench.expect_all(theirs)
    yield Result(
        figure,
        f"{count} finished jobs",
        "s",
        ftsync.usage.seconds,
        peer.usage.seconds,
        target=Target("times faster", faster),
    )


def requests(bench: Bench, figure: str, further: int = 5) -> Iterator[Result]:
    """Requests of one more new job whose datasets W&B holds: those for many jobs less those for one.

    What a command asks once, whatever the number of jobs, is only in the figures of a whole command.
    """
    steps = [190]  # and ten other events: exactly two pages
    pages = 2
    runs: dict[str, list[Measured]] = {"ftsync": [], "peer": []}
    for count in (1, 1 + further):
        bench.fill(f"{count} jobs", worlds.finished, count, steps)
        ours, theirs = bench.project(), bench.project()
        runs["ftsync"].append(bench.ftsync(ours))
        runs["peer"].append(bench.peer(theirs))
        bench.expect_all(ours)
        bench.expect_all(theirs)
    job_ids = bench.fill("1 job more", worlds.finished, 2 + further, steps)
    runs["ftsync"].append(bench.ftsync(ours))
    runs["peer"].append(bench.peer(theirs, job_ids[-1:]))
    bench.expect_all(ours)

    for service, target in (("W&B", 30.0), ("OpenAI", 3 + pages + 1 / 100)):
        more, commands = {}, {}
        for name, seen in runs.items():
            alone, together, last = (by_kind(run.wandb if service == "W&B" else run.openai) for run in seen)
            commands[name] = {"first": alone, "last": last}
            kinds = {kind: (together[kind] - alone[kind]) / further for kind in sorted(together)}
            more[name] = {kind: count for kind, count in kinds.items() if count}
        yield Result(
            figure,
            f"requests to {service} for one more new job",
            "",
            round(sum(more["ftsync"].values()), 2),
            round(sum(more["peer"].values()), 2),
            target=Target("at most", target),
            details=more,
        )
        for which, project in (("last", "a project that holds others"), ("first", "an empty project")):
            yield Result(
                figure,
                f"requests to {service} of a command for one new job, {project}",
                "",
                commands["ftsync"][which].total(),
                commands["peer"][which].total(),
                details={name: dict(kinds[which]) for name, kinds in commands.items()},
            )


def already_synced(bench: Bench, figure: str, count: int) -> Iterator[Result]:
    """Requests and seconds of a sync that finds every job synced; the seconds without the imports."""
    bench.fill(f"{count:,} synced jobs", worlds.small, count)
    project = bench.project()
    bench.prepare(project)
    bench.expect_all(project)
    # Three times, since it is over quickly.
    _, ftsync, _ = sorted((bench.ftsync(project) for _ in range(3)), key=lambda run: run.usage.seconds)
    peer = bench.peer(project)
    ours = median(seconds_of_python("import openai, wandb, typer, rich, pydantic_settings", bench) for _ in range(3))
    theirs = median(seconds_of_python("import wandb.integration.openai.fine_tuning", bench) for _ in range(3))
    yield Result(
        figure,
        f"{count:,} synced jobs, requests to both",
        "",
        ftsync.openai.total() + ftsync.wandb.total(),
        peer.openai.total() + peer.wandb.total(),
        target=Target("at most", 30),
        details={"openai": dict(by_kind(ftsync.openai)), "wandb": dict(by_kind(ftsync.wandb))},
    )
    yield Result(
        figure,
        f"{count:,} synced jobs, without imports",
        "s",
        ftsync.usage.seconds - ours,
        peer.usage.seconds - theirs,
        target=Target("at most", 3),
        details={"imports": ours, "imports_of_peer": theirs},
    )
