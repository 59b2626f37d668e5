"""Sync: the only orchestration; it knows the two services by their ports alone.

One thread decides everything: it plans, polls, verifies and settles. What takes time is done by workers, which hand
back what came of it. The caller's thread only listens for an interruption, which reaches the one that decides where it
waits, and nowhere else.
"""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from ft_sync import scratch
from ft_sync.arrival import Arrivals, Written
from ft_sync.completion import Completion
from ft_sync.downloads import Downloads
from ft_sync.errors import REFUSALS, BadData, BeingWritten, FtSyncError, RunExists, Stopped, Unavailable, unexpected
from ft_sync.events import Delayed, Event, Interrupted, Noted, Observer, Planned, Settled
from ft_sync.follow import Follower
from ft_sync.following import Following
from ft_sync.interruption import in_order
from ft_sync.models import UNSUCCESSFUL, Enrich, Failed, Job, JobId, JobOutcome, Skip, Skipped, SyncReport, Wait, Write
from ft_sync.plan import under_next_id
from ft_sync.planning import Preview, Request, Selection, plan_all, preview
from ft_sync.workers import Workers
from ft_sync.write import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ft_sync.models import Plan, RunState
    from ft_sync.ports import Clock, JobSource, RunSink

THREADS = 5
"""For each job that may be written at a time: meanwhile others are read, and more are closed, which is waiting."""

Result: TypeAlias = Written | Follower | JobOutcome
"""What a worker hands back: a run written, a follower that has looked or closed its run, or an outcome."""


def sync(source: JobSource, sink: RunSink, clock: Clock, request: Request, observe: Observer) -> SyncReport:
    """Bring every selected job to its planned end; one job that fails stops no other.

    An interruption (Ctrl-C) lets what is being written come to its end and starts nothing new. It ends a sync that
    watches as planned; any other raises it again.
    """
    with (
        scratch.folder() as folder,
        Workers[Result](THREADS * request.concurrency) as workers,
    ):
        downloads = Downloads(source, folder)
        work = _Sync(source, sink, clock, request, one_at_a_time(observe), workers, downloads)
        return in_order(work.run, work.interrupt)


class _Sync:
    """One sync at work: who takes part, what is under way, and what has come of it so far."""

    def __init__(  # noqa: PLR0913, PLR0917 - who takes part
        self,
        source: JobSource,
        sink: RunSink,
        clock: Clock,
        request: Request,
        observe: Observer,
        workers: Workers[Result],
        downloads: Downloads,
    ) -> None:
        self.source, self.sink, self.clock = source, sink, clock
        self.request, self.patience, self.observe = request, request.patience, observe
        # For jobs that are planned again, or were waited for: they are brought however they ended.
        self.rule_again = replace(request.rule, include_unsuccessful=True)
        self.workers, self.downloads = workers, downloads
        self.writer = Writer(source, sink, downloads, observe, request.log_datasets, request.concurrency)
        self.arrivals = Arrivals(sink, clock, observe)
        self.completion = Completion(sink, request, observe)
        self.following = Following(source, sink, clock, observe, self.patience, workers)
        self.has_begun = False
        self.known: dict[JobId, None] = {}
        self.writing: set[JobId] = set()
        self.elsewhere: dict[JobId, Job] = {}
        self.outcomes: dict[JobId, JobOutcome] = {}
        self.ended_badly: list[JobId] = []

    def run(self) -> SyncReport:
        try:
            self.begin()
            self.loop()
        except (KeyboardInterrupt, Stopped) as error:
            self.observe(Interrupted())
            self.wind_down()
            if not self.patience.watch:
                raise KeyboardInterrupt from error
        except BaseException:
            self.wind_down()
            raise
        return self.report()

    def interrupt(self) -> bool:
        """Have the work end in order, from another thread; return whether there is anything to bring to its end.

        Of a watch there is always: its report.
        """
        self.clock.stop()
        self.workers.interrupt()
        return bool(self.patience.watch or self.workers.busy or self.following or self.arrivals)

    def report(self) -> SyncReport:
        outcomes = tuple(self.outcomes[job_id] for job_id in self.known if job_id in self.outcomes)
        return SyncReport(outcomes, tuple(self.ended_badly), tuple(self.following.timed_out))

    def begin(self) -> None:
        """Plan what is selected, and start with it."""
        with self.put_off():
            self.accept(preview(self.source, self.sink, self.request.selection, self.request.rule))
            self.has_begun = True

    def loop(self) -> None:
        """Do what is due, and wait for what comes next, until nothing is left to do."""
        while self.workers.busy or self.following or self.arrivals or self.patience.watch:
            self.take(self.wait())
            if self.is_polling and self.clock.now() >= self.following.next_poll:
                self.poll()
            if self.clock.now() >= self.following.deadline:
                self.following.give_up()
            for outcome in self.following.outcomes():
                self.settle(outcome)
            if jobs := self.following.ended():
                self.write_ended(jobs)
            if self.clock.now() >= self.arrivals.due:
                self.ask_for_arrivals()
            if not (self.writing or self.arrivals):
                self.point_latest()
        self.point_latest()

    def wind_down(self) -> None:
        """Start nothing new, let what is being written come to its end, and close what is being followed."""
        self.clock.stop()
        self.workers.drop_waiting()
        for result in self.workers.drain():
            self.take(result)
        self.following.abandon()
        for _ in self.workers.drain():
            pass
        if self.arrivals:
            self.ask_for_arrivals(is_last=True)
        for result in self.workers.drain():
            self.take(result)
        self.point_latest()

    @contextmanager
    def put_off(self) -> Iterator[None]:
        """Have a watch try again at the next poll when a service is away; nothing else can go on without it."""
        try:
            yield
        except (Unavailable, BadData) as error:
            if not self.is_polling:
                raise
            self.observe(Delayed(error.message, self.patience.poll_interval))

    @property
    def is_polling(self) -> bool:
        """Whether jobs are listed again and again."""
        return bool(self.following) or self.patience.watch

    def wait(self) -> Result | None:
        """Wait until a worker has ended or something is due."""
        due = self.arrivals.due
        if self.is_polling:
            due = min(due, self.following.due)
        seconds = max(0.0, due - self.clock.now())
        if self.workers.busy:
            return self.workers.next(None if math.isinf(seconds) else seconds)
        self.clock.sleep(seconds)
        return None

    def take(self, result: Result | None) -> None:
        """Take what a worker has handed back; None is nothing."""
        match result:
            case None:
                pass
            case Written():
                self.writing.discard(result.synced.job_id)
                self.arrivals.add(result, is_last=not self.writing)
            case Follower():
                self.following.take(result)
            case outcome:
                self.writing.discard(outcome.job_id)
                self.settle(outcome)

    def settle(self, outcome: JobOutcome) -> None:
        self.outcomes[outcome.job_id] = outcome
        self.observe(Settled(outcome))

    def start(self, job_id: JobId, task: Callable[[], Result], *, urgent: bool = False) -> None:
        """Have a worker do something for a job, which has failed if that raises."""

        def done() -> Result:
            try:
                return task()
            except FtSyncError as error:
                return Failed(job_id, error)
            except Exception as error:  # noqa: BLE001 - a bug met in one job must not cost the others
                return Failed(job_id, unexpected(error))

        self.workers.start(done, urgent=urgent)

    # What is planned

    def accept(self, chosen: Preview) -> None:
        self.observe(Planned(chosen.plans))
        self.known |= dict.fromkeys(chosen.others)
        for failure in chosen.unreadable:
            self.known[failure.job_id] = None
            self.settle(failure)
        self.carry_out(chosen.plans)

    def carry_out(self, plans: Sequence[Plan]) -> None:
        """Leave each job alone, follow it, or write its run."""
        self.known |= dict.fromkeys(step.job.id for step in plans)
        self.downloads.expect(step.job for step in plans if not isinstance(step, Skip | Wait))
        for step in plans:
            match step:
                case Skip():
                    if is_elsewhere(step):
                        self.elsewhere[step.job.id] = step.job
                    self.leave(step)
                case Wait():
                    self.following.follow(step)
                case _:
                    self.writing.add(step.job.id)
                    self.start(step.job.id, partial(self.write, step))

    def leave(self, step: Skip) -> None:
        """Leave a job as it is."""
        job, run = step.job, step.run
        outcome = Skipped(job.id, step.reason, job.status, run.url if run else None, step.unfinished)
        is_held = run is not None and run.mark is not None and run.is_complete
        if self.request.links and job.fine_tuned_model and run is not None and run.is_complete and not is_held:
            words = " ".join(f"--link {collection}" for collection in self.request.links)
            self.observe(Noted(job.id, f"not linked, {run.origin} wrote it: `ftsync resync --job {job.id} {words}`"))
        self.complete(job, outcome, step.leftovers, is_held=is_held)

    def write(self, step: Write) -> Written | Skipped:
        try:
            return Written(*self.writer.write(step))
        except BeingWritten as error:
            self.elsewhere[step.job.id] = step.job
            return Skipped(step.job.id, error.message, step.job.status)
        except RunExists:
            # Somebody else was quicker, or has a run of that name which is none of the job's.
            (again,) = plan_all([step.job], self.sink, self.rule_again)
            if isinstance(again, Skip | Wait):
                return Skipped(step.job.id, again.reason, step.job.status)
            is_planned_as_before = type(again) is type(step) and again.run_id == step.run_id
            if is_planned_as_before and not isinstance(again, Enrich):
                again = under_next_id(again)
            return Written(*self.writer.write(again))
        finally:
            self.downloads.done(step.job)

    # What was written

    def ask_for_arrivals(self, *, is_last: bool = False) -> None:
        """Ask W&B whether it holds what was written."""
        for written, error in self.arrivals.ask(is_last=is_last):
            step, synced = written.step, written.synced
            if error is None:
                self.complete(step.job, synced, step.replaced, is_held=True)
            else:
                self.settle(Failed(synced.job_id, error))

    def complete(self, job: Job, outcome: JobOutcome, replaced: tuple[RunState, ...], *, is_held: bool) -> None:
        """Settle a job when what is left to do for it has been done."""
        has_model = is_held and job.fine_tuned_model is not None

        def completed() -> JobOutcome:
            self.completion.complete(job, replaced, has_model=has_model)
            return outcome

        if self.completion.takes_time(job, replaced, has_model=has_model):
            self.start(job.id, completed, urgent=True)  # also after an interruption
        else:
            self.settle(outcome)

    def point_latest(self) -> None:
        if failed := self.completion.point_latest():
            self.outcomes[failed.job_id] = failed

    # What is followed

    def poll(self) -> None:
        """Have the jobs that are followed looked at; in a watch, take on what is new or has failed."""
        if not self.has_begun:
            self.following.put_off()
            self.begin()
            return
        with self.put_off():
            new = self.following.poll(self.known)
            if self.patience.watch:
                self.take_on(new)

    def take_on(self, new: Sequence[Job]) -> None:
        """Plan new jobs, and again those that failed for a reason that may have passed, or that others were writing."""
        failed = [
            job_id
            for job_id, outcome in self.outcomes.items()
            if isinstance(outcome, Failed) and not isinstance(outcome.error, REFUSALS)
        ]
        plans = plan_all([*self.request.selection.shard.part(new)][::-1], self.sink, self.request.rule)
        again_free = [
            step for step in plan_all([*self.elsewhere.values()], self.sink, self.rule_again) if not is_elsewhere(step)
        ]
        for step in again_free:
            del self.elsewhere[step.job.id]
        if failed:
            again = preview(self.source, self.sink, Selection(tuple(failed)), self.rule_again)
            for job_id in failed:
                del self.outcomes[job_id]
            self.accept(again)
        if plans or again_free:
            self.accept(Preview((*plans, *again_free)))
        self.known |= dict.fromkeys(job.id for job in new)  # those of other shards, too: they are not new any more

    def write_ended(self, jobs: Sequence[Job]) -> None:
        """Write the runs of jobs that were followed and have ended."""
        if not self.patience.watch:
            self.ended_badly += [job.id for job in jobs if job.status in UNSUCCESSFUL]
        try:
            plans = plan_all(jobs, self.sink, self.rule_again)
        except FtSyncError as error:
            for job in jobs:
                self.settle(Failed(job.id, error))
        else:
            self.carry_out(plans)


def is_elsewhere(step: Plan) -> bool:
    """Whether a job is left alone because another process writes its run."""
    return isinstance(step, Skip) and step.run is not None and step.run.being_written


def one_at_a_time(observe: Observer) -> Observer:
    """Return the same observer for many threads, called by one of them at a time."""
    lock = threading.Lock()

    def observed(event: Event) -> None:
        with lock:
            observe(event)

    return observed
