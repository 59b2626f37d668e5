"""Where jobs stand: the listing and one job in depth, joined with what W&B holds; reads only."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from ft_sync.errors import AuthError, Forbidden, FtSyncError, NotFound, NotLoggedIn
from ft_sync.models import NO_EVENTS, Failed, RunState, SyncState
from ft_sync.plan import Rule, current, plan, sync_state
from ft_sync.planning import WHOLE
from ft_sync.results import flatten, step_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ft_sync.models import Job, JobEvent, JobId, Plan
    from ft_sync.planning import Shard
    from ft_sync.ports import JobSource, RunSink

JOBS_A_QUESTION = 100
"""Jobs that W&B is asked about at once: a page of the listing."""

EVENTS_READ = 100
"""Newest events that a status looks at: one request."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A job and the run of it that counts.

    Attributes:
        sync: Unknown when nobody is logged in to W&B.
        plan: What a sync would do; None when that is unknown.
    """

    job: Job
    sync: SyncState
    run: RunState | None = None
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class Detail:
    """One job in depth.

    Attributes:
        events: The newest, oldest first.
        step: The newest step reported; None before the first.
        total_steps: None where the service does not say.
        metrics: Those of the newest step.
        notes: What could not be had.
    """

    standing: Standing
    events: tuple[JobEvent, ...]
    step: int | None
    total_steps: int | None
    metrics: Mapping[str, float]
    notes: tuple[str, ...] = ()


def standings(
    source: JobSource, sink: RunSink, *, limit: int | None = None, shard: Shard = WHOLE
) -> Iterator[Standing | Failed]:
    """Yield jobs newest first with what W&B holds of them, a page at a time; one that cannot be read comes early."""
    page: list[Job] = []
    for job in islice(shard.part(source.jobs(limit=limit if shard == WHOLE else None)), limit):
        if isinstance(job, Failed):
            yield job
            continue
        page.append(job)
        if len(page) == JOBS_A_QUESTION:
            yield from _stand(page, sink)
            page = []
    if page:
        yield from _stand(page, sink)


def detail(source: JobSource, sink: RunSink, job_id: JobId) -> Detail:
    """Return one job in depth."""
    job = source.job(job_id)
    (standing,) = _stand([job], sink)
    events: tuple[JobEvent, ...] = ()
    notes: tuple[str, ...] = ()
    try:
        events = tuple(source.events(job_id, limit=EVENTS_READ))
    except NotFound:
        notes = (NO_EVENTS,)
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
        notes=notes,
    )


def details(source: JobSource, sink: RunSink, job_ids: Iterable[JobId]) -> Iterator[Detail | Failed]:
    """Yield each job in depth; one that cannot be had costs no other."""
    for job_id in job_ids:
        try:
            yield detail(source, sink, job_id)
        except FtSyncError as error:
            if isinstance(error, AuthError) and not isinstance(error, Forbidden):
                raise  # the next job would be refused in the same way
            yield Failed(job_id, error)


def _stand(jobs: Sequence[Job], sink: RunSink) -> Iterator[Standing]:
    try:
        states = sink.states([job.id for job in jobs])
    except NotLoggedIn:
        # Reading one's jobs needs no W&B account; saying that they are absent would be a guess.
        yield from (Standing(job, SyncState.UNKNOWN) for job in jobs)
        return
    for job in jobs:
        runs = states.get(job.id, ())
        yield Standing(job, sync_state(runs), current(runs), plan(job, runs, Rule()))
