"""Preview and sync: the only orchestration; it knows the two services by their ports alone."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ft_sync.downloads import Downloads
from ft_sync.errors import AuthError, FtSyncError, SinkRejected, Unexpected
from ft_sync.events import Advanced, Noted, Observer, Planned, Settled
from ft_sync.follow import Patience, until_finished
from ft_sync.models import (
    UNSUCCESSFUL,
    Failed,
    Job,
    JobId,
    JobOutcome,
    Plan,
    RunId,
    Skip,
    Skipped,
    Synced,
    SyncReport,
    Wait,
    Write,
)
from ft_sync.plan import Rule, plan
from ft_sync.write import Writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ft_sync.models import RunState
    from ft_sync.ports import Clock, JobSource, RunSink

VERIFY_PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds between asking W&B for a run just written and asking again: its listing may trail its writes."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which jobs: those with `job_ids`; or else the `last` newest; or else all."""

    job_ids: tuple[JobId, ...] = ()
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One sync, as asked for.

    Attributes:
        keep_replaced: Mark replaced runs instead of deleting them.
        links: Collections, `REGISTRY/COLLECTION`, to link the model artifacts to.
    """

    selection: Selection = field(default_factory=Selection)
    rule: Rule = field(default_factory=Rule)
    patience: Patience = field(default_factory=Patience)
    log_datasets: bool = True
    keep_replaced: bool = False
    links: tuple[str, ...] = ()
    link_aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """What a sync would do, oldest job first; `unreadable` are selected jobs that could not be had."""

    plans: tuple[Plan, ...]
    unreadable: tuple[Failed, ...] = ()


def preview(source: JobSource, sink: RunSink, request: Request) -> Preview:
    """Plan every selected job from the listing and the run states; writes nothing."""
    jobs, unreadable = _select(source, request.selection)
    return Preview(_plan_all(jobs, sink, request.rule), unreadable)


def sync(source: JobSource, sink: RunSink, clock: Clock, request: Request, observe: Observer) -> SyncReport:
    """Bring every selected job to its planned end; one job that fails stops no other."""
    chosen = preview(source, sink, request)
    observe(Planned(chosen.plans))
    with tempfile.TemporaryDirectory(prefix="ftsync-") as folder:
        work = _Work(source, sink, clock, request, observe, Downloads(source, Path(folder)))
        for failure in chosen.unreadable:
            work.settle(failure)
        work.carry_out(chosen.plans)
        work.follow([step.job for step in chosen.plans if isinstance(step, Wait)])
    return SyncReport(tuple(work.outcomes), tuple(work.ended_badly), tuple(work.timed_out))


def _select(source: JobSource, selection: Selection) -> tuple[list[Job], tuple[Failed, ...]]:
    """Return the selected jobs, oldest first unless named, and the named ones that could not be had."""
    if not selection.job_ids:
        return list(source.jobs(limit=selection.last))[::-1], ()
    jobs: list[Job] = []
    failures: list[Failed] = []
    for job_id in dict.fromkeys(selection.job_ids):
        try:
            jobs.append(source.job(job_id))
        except AuthError:
            raise  # the next job would be refused in the same way
        except FtSyncError as error:
            failures.append(Failed(job_id, error))
    return jobs, tuple(failures)


def _plan_all(jobs: Iterable[Job], sink: RunSink, rule: Rule) -> tuple[Plan, ...]:
    jobs = list(jobs)
    states = sink.states([job.id for job in jobs]) if jobs else {}
    return tuple(plan(job, states.get(job.id, ()), rule) for job in jobs)


@dataclass(frozen=True, slots=True)
class _Work:
    """One sync at work: who takes part, and what has come of it so far."""

    source: JobSource
    sink: RunSink
    clock: Clock
    request: Request
    observe: Observer
    downloads: Downloads
    outcomes: list[JobOutcome] = field(default_factory=list)
    ended_badly: list[JobId] = field(default_factory=list)
    timed_out: list[JobId] = field(default_factory=list)

    def settle(self, outcome: JobOutcome) -> None:
        self.outcomes.append(outcome)
        self.observe(Settled(outcome))

    def carry_out(self, plans: Sequence[Plan]) -> None:
        """Write what is to be written, then ask W&B about all of it at once."""
        writes = [step for step in plans if not isinstance(step, Skip | Wait)]
        self.downloads.expect(step.job for step in writes)
        arrived = [self._leave(step) for step in plans if isinstance(step, Skip)]
        writer = Writer(self.source, self.sink, self.downloads, self.observe, self.request.log_datasets)
        written: dict[RunId, tuple[Write, Synced]] = {}
        for step in writes:
            try:
                done, synced = writer.write(step)
                written[done.run_id] = done, synced
            except FtSyncError as error:
                self.settle(Failed(step.job.id, error))
            except Exception as error:  # noqa: BLE001 - a bug met in one job must not cost the others
                self.settle(Failed(step.job.id, _unexpected(error)))
            finally:
                self.downloads.done(step.job)
        arrived += self._verify(written)
        self._point_latest([job for job in arrived if job is not None and job.fine_tuned_model])

    def follow(self, jobs: Sequence[Job]) -> None:
        """Wait for the jobs and carry each out when it has ended."""
        # Whoever waited for a job wants to see what became of it.
        rule = replace(self.request.rule, include_unsuccessful=True)
        for job in until_finished(jobs, self.source, self.clock, self.request.patience, self.observe):
            if not job.is_finished:
                self.timed_out.append(job.id)
                reason = f"still {job.status} when the time to wait was over"
                self.settle(Skipped(job.id, reason, job.status, unfinished=True))
                continue
            if job.status in UNSUCCESSFUL:
                self.ended_badly.append(job.id)
            try:
                plans = _plan_all([job], self.sink, rule)
            except FtSyncError as error:
                self.settle(Failed(job.id, error))
            else:
                self.carry_out(plans)

    def _leave(self, step: Skip) -> Job | None:
        """Leave a job as it is; return it if W&B holds it."""
        job, run = step.job, step.run
        self._remove(step.leftovers)
        complete = run is not None and run.mark is not None and run.is_complete
        outcome = Skipped(job.id, step.reason, job.status, run.url if run else None, step.unfinished)
        self.settle(self._linked(job, outcome) if complete else outcome)
        return job if complete else None

    def _verify(self, pending: dict[RunId, tuple[Write, Synced]]) -> list[Job]:
        """Ask W&B, in bulk, whether it holds what was just written; only then drop what was replaced."""
        arrived: list[Job] = []
        for pause in (0.0, *VERIFY_PAUSES):
            if not pending:
                break
            if pause:
                self.clock.sleep(pause)
            job_ids = [synced.job_id for _, synced in pending.values()]
            for job_id in job_ids:
                self.observe(Advanced(job_id, "verifying"))
            try:
                held = self.sink.states(job_ids)
            except FtSyncError as error:
                for job_id in job_ids:
                    self.settle(Failed(job_id, error))
                return arrived
            complete = {run.run_id for runs in held.values() for run in runs if run.is_complete}
            for run_id in [run_id for run_id in pending if run_id in complete]:
                step, synced = pending.pop(run_id)
                self._remove(step.replaced)
                self.settle(self._linked(step.job, synced))
                arrived.append(step.job)
        for step, synced in pending.values():
            self.settle(Failed(synced.job_id, _not_held(step, synced)))
        return arrived

    def _linked(self, job: Job, outcome: JobOutcome) -> JobOutcome:
        """Link the model artifact where that was asked for; a job that cannot be linked has failed."""
        for collection in self.request.links if job.fine_tuned_model else ():
            try:
                self.sink.link(job, collection, self.request.link_aliases)
            except FtSyncError as error:
                return Failed(job.id, error)
        return outcome

    def _point_latest(self, jobs: Sequence[Job]) -> None:
        if jobs:
            try:
                self.sink.point_latest(jobs)
            except FtSyncError as error:
                newest = max(jobs, key=lambda job: job.newness)
                self.observe(Noted(newest.id, f"it could not be checked that `latest` is the newest: {error.message}"))

    def _remove(self, runs: Iterable[RunState]) -> None:
        for run in runs:
            try:
                if self.request.keep_replaced:
                    self.sink.keep(run)
                else:
                    self.sink.delete(run)
            except FtSyncError as error:
                message = f"the replaced run {run.run_id} could not be removed: {error.message}"
                self.observe(Noted(run.job_id, message))


def _unexpected(cause: Exception) -> Unexpected:
    error = Unexpected(f"unexpected {type(cause).__name__}: {cause}", hint="please report this; --debug shows where")
    error.__cause__ = cause
    return error


def _not_held(step: Write, synced: Synced) -> SinkRejected:
    return SinkRejected(
        f"W&B took the run {step.run_id} but does not hold all of it",
        hint=f"run `ftsync sync --job {synced.job_id}` again: it repairs what is incomplete",
    )
