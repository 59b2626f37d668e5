"""The status of jobs, listed or one by one in detail, joined with the state of their runs in W&B; reads only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ft_sync.convert import could_not_be_had
from ft_sync.errors import AuthError, BadData, Forbidden, FtSyncError, NotFound, NotLoggedIn, Unavailable
from ft_sync.models import NO_EVENTS, Failed, RunState, SyncState
from ft_sync.plan import current, plan, sync_state
from ft_sync.planning import WHOLE
from ft_sync.results import flatten, merge, step_of
from ft_sync.snapshot import result_files_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ft_sync.models import Checkpoint, FileId, Job, JobEvent, JobId, MetricRow, Plan
    from ft_sync.plan import Rule
    from ft_sync.planning import Shard
    from ft_sync.ports import Clock, JobSource, RunSink

JOBS_A_QUESTION = 100
"""Jobs per query to W&B: one page of the listing."""

EVENTS_READ = 100
"""Number of newest events fetched for a status: one request."""

EVENTS_FOR_ROWS = 2000
"""Number of newest events fetched for curves if there is no result file: at most twenty requests."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A job and its current run.

    Attributes:
        sync: Whether W&B holds the job; `UNKNOWN` if the user is not logged in to W&B.
        plan: What a sync would do under the rule; None if `sync` is unknown.
    """

    job: Job
    sync: SyncState
    run: RunState | None = None
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class Detail:
    """One job in detail.

    Attributes:
        events: The newest events, oldest first.
        step: The newest step reported; None before the first.
        total_steps: Number of steps of the whole job; None if the service does not say.
        metrics: The metrics of the newest step.
        notes: What could not be fetched.
        rows: All metrics by step; empty unless they were requested.
    """

    standing: Standing
    events: tuple[JobEvent, ...]
    step: int | None
    total_steps: int | None
    metrics: Mapping[str, float]
    notes: tuple[str, ...] = ()
    rows: tuple[MetricRow, ...] = ()


def standings(
    source: JobSource, sink: RunSink, rule: Rule, *, limit: int | None = None, shard: Shard = WHOLE
) -> Iterator[Standing | Failed]:
    """Yield jobs newest first with the state of their runs, a page at a time; at most `limit` jobs.

    A job that cannot be read is yielded as `Failed` at once, so it may come before jobs of the same page.
    """
    page: list[Job] = []
    found = 0
    for job in shard.part(source.jobs(limit=limit if shard == WHOLE else None)):
        if isinstance(job, Failed):
            yield job
            continue
        page.append(job)
        found += 1
        if found == limit:
            break
        if len(page) == JOBS_A_QUESTION:
            yield from _stand(page, sink, rule)
            page = []
    if page:
        yield from _stand(page, sink, rule)


def detail(source: JobSource, sink: RunSink, rule: Rule, job_id: JobId, *, with_rows: bool = False) -> Detail:
    """Return one job in detail; `with_rows` also fetches the metrics of all steps, which takes further requests."""
    job = source.job(job_id)
    (standing,) = _stand([job], sink, rule)
    events: tuple[JobEvent, ...] = ()
    notes: list[str] = []
    # A result file covers all steps; without one, more events are needed.
    missing: dict[FileId, str] = {}
    files = tuple(result_files_of(source, job, missing, notes)) if with_rows else ()
    notes += could_not_be_had(missing, "result file")
    try:
        events = tuple(source.events(job_id, limit=EVENTS_READ if files or not with_rows else EVENTS_FOR_ROWS))
    except NotFound:
        notes.append(NO_EVENTS)
    rows = tuple(merge(files, events, _checkpoints(source, job_id)).rows) if with_rows else ()
    reported = [
        event.data for event in events if event.type == "metrics" and step_of(event.data.get("step")) is not None
    ]
    newest = reported[-1] if reported else {}
    return Detail(
        standing,
        events,
        step=step_of(newest.get("step")),
        total_steps=step_of(newest.get("total_steps")),
        metrics=flatten(newest),
        notes=tuple(dict.fromkeys(notes)),
        rows=rows,
    )


def _checkpoints(source: JobSource, job_id: JobId) -> tuple[Checkpoint, ...]:
    try:
        return source.checkpoints(job_id)
    except NotFound:
        return ()


def details(
    source: JobSource, sink: RunSink, rule: Rule, job_ids: Iterable[JobId], *, with_rows: bool = False
) -> Iterator[Detail | Failed]:
    """Yield each job in detail; a job that cannot be fetched is yielded as `Failed` and does not stop the others."""
    for job_id in job_ids:
        try:
            yield detail(source, sink, rule, job_id, with_rows=with_rows)
        except FtSyncError as error:
            if isinstance(error, AuthError) and not isinstance(error, Forbidden):
                raise  # the next job would be refused in the same way
            yield Failed(job_id, error)


def watch(  # noqa: PLR0913 - who takes part
    source: JobSource,
    sink: RunSink,
    rule: Rule,
    clock: Clock,
    job_ids: Sequence[JobId],
    *,
    poll_interval: float,
    with_rows: bool = False,
) -> Iterator[list[Detail | Failed]]:
    """Poll the jobs and yield all their details after each poll, until every job has ended or failed permanently.

    A job that has ended is not fetched again. While the service is unavailable, a job is a `Failed`.
    """
    found: dict[JobId, Detail | Failed] = {}
    while True:
        asked = [job_id for job_id in job_ids if _may_change(found.get(job_id))]
        found |= zip(asked, details(source, sink, rule, asked, with_rows=with_rows), strict=True)
        yield [found[job_id] for job_id in job_ids]
        if not any(map(_may_change, found.values())):
            return
        clock.sleep(poll_interval)


def _may_change(found: Detail | Failed | None) -> bool:
    match found:
        case Detail():
            return not found.standing.job.is_finished
        case Failed(error=error):
            return isinstance(error, Unavailable | BadData)
        case None:
            return True


def _stand(jobs: Sequence[Job], sink: RunSink, rule: Rule) -> Iterator[Standing]:
    try:
        states = sink.states([job.id for job in jobs])
    except NotLoggedIn:
        # Reading jobs needs no W&B account, and without one nobody knows whether their runs are absent.
        yield from (Standing(job, SyncState.UNKNOWN) for job in jobs)
        return
    for job in jobs:
        runs = states.get(job.id, ())
        yield Standing(job, sync_state(runs), current(runs), plan(job, runs, rule))
