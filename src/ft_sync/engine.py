"""Orchestrates a sync; it knows the two services only through their ports.

One thread, the engine's, makes all decisions: it plans, polls, verifies and settles. Worker threads do what takes time
and hand their results back to it. The caller's thread only listens for Ctrl-C; an interruption reaches the engine's
thread only at the points where it waits.
"""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager, suppress
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
from ft_sync.models import (
    UNSUCCESSFUL,
    Enrich,
    Failed,
    Job,
    JobId,
    JobOutcome,
    RunState,
    Skip,
    Skipped,
    SyncReport,
    Wait,
    Write,
)
from ft_sync.plan import plan, reopened, under_next_id
from ft_sync.planning import Preview, Request, Selection, plan_all, preview
from ft_sync.workers import Workers
from ft_sync.write import IDS_TRIED, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ft_sync.models import Plan, RunId
    from ft_sync.ports import Clock, JobSource, RunSink

THREADS = 5
"""Worker threads per job that may be written at a time: other jobs are being read, and even more runs closed."""

Result: TypeAlias = Written | Follower | JobOutcome
"""What a worker returns: a written run, a follower after a poll or after closing its run, or a job's outcome."""


def sync(source: JobSource, sink: RunSink, clock: Clock, request: Request, observe: Observer) -> SyncReport:
    """Carry out the plan of every selected job; a job that fails does not stop the others.

    After an interruption (Ctrl-C), runs that are being written are finished and no others are started. For a watch,
    this is the normal end, and the report is returned.

    Raises:
        KeyboardInterrupt: A sync that does not watch was interrupted.
    """
    with (
        scratch.folder() as folder,
        Workers[Result](THREADS * request.concurrency) as workers,
    ):
        downloads = Downloads(source, folder)
        work = _Sync(source, sink, clock, request, one_at_a_time(observe), workers, downloads)
        return in_order(work.run, work.interrupt)


class _Sync:
    """One running sync: its participants, the work in progress and the outcomes so far.

    Attributes:
        rule_again: The rule for jobs that are planned again or were waited for.
        has_destination: Where the runs go has been reported.
        has_begun: The selection has been planned.
        known: Jobs that have been seen, in the order of the report.
        writing: Jobs whose runs are waiting to be written or are being written.
        elsewhere: Jobs whose runs another process is writing.
    """

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
        # Such jobs are synced even if they ended failed or cancelled.
        self.rule_again = replace(request.rule, include_unsuccessful=True)
        self.workers, self.downloads = workers, downloads
        self.writer = Writer(source, sink, downloads, observe, request.log_datasets, request.concurrency)
        self.arrivals = Arrivals(sink, clock, observe)
        self.completion = Completion(sink, request, observe)
        self.following = Following(source, sink, clock, observe, self.patience, workers)
        self.has_destination = self.has_begun = False
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
        """Request an orderly end, from another thread; return whether there is anything left to finish.

        A watch always has its report left to return.
        """
        self.clock.stop()
        self.workers.interrupt()
        return bool(self.patience.watch or self.workers.busy or self.following or self.arrivals)

    def report(self) -> SyncReport:
        outcomes = tuple(self.outcomes[job_id] for job_id in self.known if job_id in self.outcomes)
        return SyncReport(outcomes, tuple(self.ended_badly), tuple(self.following.timed_out))

    def begin(self) -> None:
        """Plan the selected jobs and start carrying out the plans."""
        with self.put_off():
            if not self.has_destination and self.request.selection.job_ids != ():
                self.observe(self.sink.destination())
                self.has_destination = True
            self.accept(preview(self.source, self.sink, self.request.selection, self.request.rule))
            self.has_begun = True

    def loop(self) -> None:
        """Wait for results and do what is due, until nothing is left; a watch goes on until it is interrupted."""
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
        """Start no new runs, finish those that are being written, and close the runs of followed jobs."""
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
        """While polling, report a service that is away, to be retried at the next poll; otherwise raise the error."""
        try:
            yield
        except (Unavailable, BadData) as error:
            if not self.is_polling:
                raise
            self.observe(Delayed(error.message, self.patience.poll_interval))

    @property
    def is_polling(self) -> bool:
        """Whether the jobs are listed at regular intervals."""
        return bool(self.following) or self.patience.watch

    def wait(self) -> Result | None:
        """Wait until a worker's task has ended or something is due; return the task's result, if any."""
        due = self.arrivals.due
        if self.is_polling:
            due = min(due, self.following.due)
        seconds = max(0.0, due - self.clock.now())
        if self.workers.busy:
            return self.workers.next(None if math.isinf(seconds) else seconds)
        self.clock.sleep(seconds)
        return None

    def take(self, result: Result | None) -> None:
        """Process the result of a worker's task; None means that there is none."""
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
        """Have a worker do a task for a job; if the task raises an error, the job's outcome is `Failed`."""

        def done() -> Result:
            try:
                return task()
            except FtSyncError as error:
                return Failed(job_id, error)
            except Exception as error:  # noqa: BLE001 - a bug that one job triggers must not affect the others
                return Failed(job_id, unexpected(error))

        self.workers.start(done, urgent=urgent)

    # Carrying out plans

    def accept(self, chosen: Preview) -> None:
        self.observe(Planned(chosen.plans))
        self.known |= dict.fromkeys(chosen.others)
        for failure in chosen.unreadable:
            self.known[failure.job_id] = None
            self.settle(failure)
        self.carry_out(chosen.plans)

    def carry_out(self, plans: Sequence[Plan]) -> None:
        """Skip each job, follow it, or start writing its run, as its plan says."""
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
        """Write nothing for a job; remove leftover runs of interrupted rewrites, and link its model if requested."""
        job, run = step.job, step.run
        outcome = Skipped(job.id, step.reason, job.status, run.url if run else None, step.unfinished)
        is_held = run is not None and run.mark is not None and run.is_complete
        if self.request.links and job.fine_tuned_model and run is not None and run.is_complete and not is_held:
            words = " ".join(f"--link {collection}" for collection in self.request.links)
            self.observe(Noted(job.id, f"not linked, {run.origin} wrote it: `ftsync resync --job {job.id} {words}`"))
        self.complete(job, outcome, step.leftovers, is_held=is_held)

    def write(self, step: Write) -> Written | Skipped:
        job = step.job
        found: dict[RunId, RunState] = {}
        try:
            for _ in range(IDS_TRIED):
                try:
                    return Written(*self.writer.write(step))
                except RunExists as error:
                    again = self.planned_again(step, error, found)
                    if isinstance(again, Skip | Wait):
                        if is_elsewhere(again):
                            self.elsewhere[job.id] = job
                        return Skipped(job.id, again.reason, job.status)
                    step = again
            return Written(*self.writer.write(step))
        except BeingWritten as error:
            self.elsewhere[job.id] = job
            return Skipped(job.id, error.message, job.status)
        finally:
            self.downloads.done(job)

    def planned_again(self, step: Write, error: RunExists, found: dict[RunId, RunState]) -> Plan:
        """Plan a job again whose run is not as it was listed.

        Another process was faster, or W&B's listing lags behind, so a run that was found by itself counts rather than
        the listing. `found` collects these runs.
        """
        job = step.job
        if isinstance(error.run, RunState):
            found[error.run.run_id] = error.run
        listed = {run.run_id: run for run in self.sink.states([job.id]).get(job.id, ())}
        again = plan(job, tuple({**listed, **found}.values()), self.rule_again)
        is_planned_as_before = type(again) is type(step) and isinstance(again, Write) and again.run_id == step.run_id
        if is_planned_as_before and not isinstance(again, Enrich | Skip | Wait):
            return under_next_id(again)
        return again

    # Verifying and completing written runs

    def ask_for_arrivals(self, *, is_last: bool = False) -> None:
        """Ask W&B which of the written runs it holds, and complete or fail their jobs."""
        for verdict in self.arrivals.ask(is_last=is_last):
            written, error = verdict.written, verdict.error
            job = written.step.job
            is_endable = self.sink.can_go_on and not (is_last or written.was_ended_again)
            if error is None:
                self.complete(job, written.synced, written.step.replaced, is_held=True)
            elif verdict.is_open_end and is_endable:
                self.writing.add(job.id)
                self.start(job.id, partial(self.end_again, written), urgent=True)
            elif verdict.lacks and not verdict.is_open_end:  # an open run counts as incomplete as it is
                self.start(job.id, partial(self.reject, written, error), urgent=True)
            else:
                self.settle(Failed(job.id, error))

    def end_again(self, written: Written) -> Written:
        """End a run once more whose end W&B has missed."""
        with suppress(RunExists):  # its end has arrived meanwhile
            written = Written(*self.writer.write(reopened(written.step)))
        return replace(written, was_ended_again=True, asked=0)

    def reject(self, written: Written, error: FtSyncError) -> Failed:
        """Have a run of which W&B does not hold everything count as incomplete, so that the next sync repairs it."""
        with suppress(FtSyncError):
            self.sink.reject(written.step.run_id, written.synced.job_id)
        return Failed(written.synced.job_id, error)

    def complete(self, job: Job, outcome: JobOutcome, replaced: tuple[RunState, ...], *, is_held: bool) -> None:
        """Do what is left for a job (see `Completion`), then settle it."""
        has_model = is_held and job.fine_tuned_model is not None

        def completed() -> JobOutcome:
            self.completion.complete(job, replaced, has_model=has_model)
            return outcome

        if self.completion.takes_time(job, replaced, has_model=has_model):
            self.start(job.id, completed, urgent=True)  # urgent tasks run even after an interruption
        else:
            self.settle(outcome)

    def point_latest(self) -> None:
        if failed := self.completion.point_latest():
            self.outcomes[failed.job_id] = failed

    # Following unfinished jobs

    def poll(self) -> None:
        """Poll the followed jobs; in a watch, also plan new jobs and retry failed ones."""
        if not self.has_begun:
            self.following.put_off()
            self.begin()
            return
        with self.put_off():
            new = self.following.poll(self.known)
            if self.patience.watch:
                self.take_on(new)

    def take_on(self, new: Sequence[Job]) -> None:
        """Plan new jobs, and again those whose failure may be temporary or that another process was writing."""
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
        self.known |= dict.fromkeys(job.id for job in new)  # also those of other shards: they are no longer new

    def write_ended(self, jobs: Sequence[Job]) -> None:
        """Write the complete runs of followed jobs that have ended."""
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
    """Whether a job is skipped because another process is writing its run."""
    return isinstance(step, Skip) and step.run is not None and step.run.being_written


def one_at_a_time(observe: Observer) -> Observer:
    """Wrap an observer for use by many threads, so that only one of them calls it at a time."""
    lock = threading.Lock()

    def observed(event: Event) -> None:
        with lock:
            observe(event)

    return observed
