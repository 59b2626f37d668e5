"""Waits for unfinished jobs: one listing a poll however many they are, plus the new events of those that run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ft_sync.errors import BadData, NotFound, Unavailable
from ft_sync.events import Noted, Observer, Waiting
from ft_sync.results import flatten

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ft_sync.models import Job, JobEvent, JobId
    from ft_sync.ports import Clock, JobSource

RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Patience:
    """How to wait.

    Attributes:
        poll_interval: Seconds between two listings.
        timeout: Seconds after which to stop waiting; None waits for ever.
    """

    poll_interval: float = 60.0
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class _Progress:
    """What the events of one job have told so far."""

    last_event: str | None = None
    step: int | None = None
    total_steps: int | None = None
    metrics: dict[str, float] | None = None

    def with_events(self, events: Iterable[JobEvent]) -> _Progress:
        progress = self
        for event in events:
            progress = replace(progress, last_event=event.id)
            step = event.data.get("step")
            if event.type == "metrics" and isinstance(step, int):
                total = event.data.get("total_steps")
                progress = replace(
                    progress,
                    step=step,
                    total_steps=total if isinstance(total, int) else progress.total_steps,
                    metrics=flatten(event.data),
                )
        return progress


def until_finished(
    jobs: Iterable[Job], source: JobSource, clock: Clock, patience: Patience, observe: Observer
) -> Iterator[Job]:
    """Yield each job when it has ended, and after the timeout those that have not, as last seen."""
    waiting = {job.id: job for job in jobs}
    progress = dict.fromkeys(waiting, _Progress())
    deadline = None if patience.timeout is None else clock.now() + patience.timeout
    while waiting:
        for job in waiting.values():
            progress[job.id] = _look(job, progress[job.id], source, observe)
        pause = patience.poll_interval
        if deadline is not None:
            pause = min(pause, deadline - clock.now())
            if pause <= 0:
                yield from waiting.values()
                return
        clock.sleep(pause)
        waiting |= _refreshed(waiting, source, observe)
        for job in [job for job in waiting.values() if job.is_finished]:
            del waiting[job.id]
            yield job


def _look(job: Job, progress: _Progress, source: JobSource, observe: Observer) -> _Progress:
    if job.status == RUNNING:
        try:
            progress = progress.with_events(source.events(job.id, after=progress.last_event))
        except NotFound:
            pass  # some services keep no events; the job's end shows in the listing
        except (Unavailable, BadData) as error:
            observe(Noted(job.id, f"{error.message}; asking again at the next poll"))
    observe(Waiting(job, progress.step, progress.total_steps, progress.metrics))
    return progress


def _refreshed(waiting: dict[JobId, Job], source: JobSource, observe: Observer) -> dict[JobId, Job]:
    """Return the waited-for jobs as they are now, reading no more pages of the listing than needed."""
    missing = set(waiting)
    found: dict[JobId, Job] = {}
    try:
        for job in source.jobs():
            if job.id in missing:
                found[job.id] = job
                missing.remove(job.id)
            if not missing:
                break
    except (Unavailable, BadData) as error:
        # A service that is away for a while must not end a wait of hours.
        for job_id in missing:
            observe(Noted(job_id, f"{error.message}; asking again at the next poll"))
    return found
