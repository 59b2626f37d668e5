"""All followed jobs: schedules the polls, hands followers to workers and collects the jobs that have ended."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ft_sync.errors import REFUSALS, BadData, FtSyncError, Unavailable
from ft_sync.events import Noted
from ft_sync.follow import Follower, Patience
from ft_sync.models import Failed, Job, JobId, JobOutcome, Skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ft_sync.events import Observer
    from ft_sync.models import Wait
    from ft_sync.ports import Clock, JobSource, RunSink
    from ft_sync.workers import Workers


class Following:
    """The jobs that a sync waits for; one thread calls these methods, worker threads run the followers.

    Attributes:
        next_poll: Time of the next poll, in the clock's seconds.
        deadline: Time at which unfinished jobs are given up, in the clock's seconds; infinity without a timeout.
        timed_out: The jobs that were given up.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - who takes part
        self,
        source: JobSource,
        sink: RunSink,
        clock: Clock,
        observe: Observer,
        patience: Patience,
        workers: Workers[Any],
    ) -> None:
        self._source, self._sink, self._clock, self._observe = source, sink, clock, observe
        self._patience = patience
        self._workers = workers
        self._followers: dict[JobId, Follower] = {}
        self._looking: set[JobId] = set()
        self._lost: dict[JobId, FtSyncError] = {}
        self._ended: list[Job] = []
        self._outcomes: list[JobOutcome] = []
        self.next_poll = clock.now() + patience.poll_interval
        self.deadline = math.inf if patience.timeout is None else clock.now() + patience.timeout
        self.timed_out: list[JobId] = []
        self._has_given_up = False

    @property
    def due(self) -> float:
        """When the next poll or the deadline is due, in the clock's seconds."""
        return self.next_poll if self._has_given_up else min(self.next_poll, self.deadline)

    def __len__(self) -> int:
        return len(self._followers)

    def follow(self, step: Wait) -> None:
        """Start following a job."""
        live = step.live if self._sink.can_go_on else None
        follower = Follower(step.job, live, self._source, self._sink, self._observe)
        self._followers[step.job.id] = follower
        self._tend(follower)

    def poll(self, known: Collection[JobId]) -> list[Job]:
        """Update the followed jobs from the listing, reading no more pages than needed, and start their followers.

        Returns:
            With `watch`, the jobs newer than every job in `known`; otherwise none.
        """
        self.put_off()
        missing = set(self._followers)
        new: list[Job] = []
        is_new = self._patience.watch
        for job in self._source.jobs():
            if isinstance(job, Failed):  # never a followed job, and already reported at the start
                continue
            is_new = is_new and job.id not in known
            if is_new:
                new.append(job)
            if job.id in missing:
                self._followers[job.id].job = job
                missing.remove(job.id)
            if not (missing or is_new):
                break
        for job_id in missing:  # not in the listing
            try:
                self._followers[job_id].job = self._source.job(job_id)
            except REFUSALS as error:
                self._lost[job_id] = error
            except (Unavailable, BadData) as error:
                self._observe(Noted(job_id, f"{error.message}; trying again at the next poll"))
        self._tend_all()
        return new

    def put_off(self) -> None:
        """Schedule the next poll one full interval from now."""
        self.next_poll = self._clock.now() + self._patience.poll_interval

    def give_up(self) -> None:
        """Stop waiting for unfinished jobs, because the deadline has passed."""
        self._has_given_up = True
        self._tend_all()

    def take(self, follower: Follower) -> None:
        """Take a follower back from the worker that ran it."""
        self._looking.discard(follower.job.id)
        if self._is_over(follower):
            self._tend(follower)

    def abandon(self) -> None:
        """Close the runs of all unfinished jobs; no worker may be running a follower."""
        for follower in self._followers.values():
            self._start(follower, follower.abandon)

    def outcomes(self) -> list[JobOutcome]:
        """Return and forget the outcomes of jobs that were not followed to their end."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def ended(self) -> list[Job]:
        """Return and forget the jobs that have ended; none while runs of other ended jobs are still being closed."""
        if any(self._followers[job_id].job.is_finished for job_id in self._looking):
            return []
        jobs, self._ended = self._ended, []
        return jobs

    def _is_over(self, follower: Follower) -> bool:
        job = follower.job
        return job.is_finished or job.id in self._lost or self._clock.now() >= self.deadline

    def _tend_all(self) -> None:
        for follower in tuple(self._followers.values()):
            self._tend(follower)

    def _tend(self, follower: Follower) -> None:
        if follower.job.id in self._looking:
            return
        if not self._is_over(follower):
            self._start(follower, follower.look)
        elif follower.is_writing:
            self._start(follower, follower.close if follower.job.is_finished else follower.abandon)
        else:
            self._dismiss(follower)

    def _start(self, follower: Follower, task: Callable[[], None]) -> None:
        def done() -> Follower:
            try:
                task()
            except Exception as error:  # noqa: BLE001 - the run is completed or rewritten when its job has ended
                self._observe(Noted(follower.job.id, f"its run could not be written while it ran: {error}"))
            return follower

        self._looking.add(follower.job.id)
        self._workers.start(done, urgent=True)

    def _dismiss(self, follower: Follower) -> None:
        job = follower.job
        del self._followers[job.id]
        if job.is_finished:
            self._ended.append(job)
        elif error := self._lost.pop(job.id, None):
            self._outcomes.append(Failed(job.id, error))
        else:
            self.timed_out.append(job.id)
            reason = f"still {job.status} when the time to wait was over"
            self._outcomes.append(Skipped(job.id, reason, job.status, unfinished=True))
