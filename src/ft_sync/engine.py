"""Preview and sync: the only orchestration; it knows the two services by their ports alone."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ft_sync import convert
from ft_sync.errors import AuthError, FtSyncError, SinkRejected, Unexpected
from ft_sync.events import Advanced, Noted, Observer, Planned, Settled, Started
from ft_sync.follow import Patience, until_finished
from ft_sync.models import (
    UNSUCCESSFUL,
    Failed,
    Job,
    JobId,
    JobOutcome,
    Plan,
    Replace,
    RunId,
    Skip,
    Skipped,
    Synced,
    SyncReport,
    Wait,
    Write,
)
from ft_sync.plan import Rule, plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ft_sync.models import RunRecord, RunState
    from ft_sync.ports import Clock, JobSource, RunSink, RunWriter

VERIFY_PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds between asking W&B for a run just written and asking again: its listing may trail its writes."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which jobs: those with `job_ids`; or else the `last` newest; or else all."""

    job_ids: tuple[JobId, ...] = ()
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One sync, as asked for."""

    selection: Selection = field(default_factory=Selection)
    rule: Rule = field(default_factory=Rule)
    patience: Patience = field(default_factory=Patience)
    log_datasets: bool = True


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
    work = _Work(source, sink, clock, request, observe)
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
    outcomes: list[JobOutcome] = field(default_factory=list)
    ended_badly: list[JobId] = field(default_factory=list)
    timed_out: list[JobId] = field(default_factory=list)

    def settle(self, outcome: JobOutcome) -> None:
        self.outcomes.append(outcome)
        self.observe(Settled(outcome))

    def carry_out(self, plans: Iterable[Plan]) -> None:
        """Write what is to be written, then ask W&B about all of it at once."""
        written: dict[RunId, tuple[Write, Synced]] = {}
        for step in plans:
            job = step.job
            match step:
                case Skip():
                    self._remove(step.leftovers)
                    self.settle(Skipped(job.id, step.reason, job.status, step.url, step.unfinished))
                case Wait():
                    continue  # its turn comes when it has ended
                case _:
                    try:
                        written[step.run_id] = step, self._write(step)
                    except FtSyncError as error:
                        self.settle(Failed(job.id, error))
                    except Exception as error:  # noqa: BLE001 - a bug met in one job must not cost the others
                        self.settle(Failed(job.id, _unexpected(error)))
        self._verify(written)

    def follow(self, jobs: Sequence[Job]) -> None:
        """Wait for the jobs and carry each out when it has ended."""
        for job in until_finished(jobs, self.source, self.clock, self.request.patience, self.observe):
            if not job.is_finished:
                self.timed_out.append(job.id)
                reason = f"still {job.status} when the time to wait was over"
                self.settle(Skipped(job.id, reason, job.status, unfinished=True))
                continue
            if job.status in UNSUCCESSFUL:
                self.ended_badly.append(job.id)
            try:
                plans = _plan_all([job], self.sink, self.request.rule)
            except FtSyncError as error:
                self.settle(Failed(job.id, error))
            else:
                self.carry_out(plans)

    def _write(self, step: Write) -> Synced:
        job = step.job
        self.observe(Started(step))
        self.observe(Advanced(job.id, "reading"))
        record = convert.record(self.source.snapshot(job))
        notes = list(record.notes)
        with self.sink.open(step, record) as run:
            self.observe(Advanced(job.id, "metrics"))
            for row in record.rows:
                run.log(row)
            if self.request.log_datasets:
                self.observe(Advanced(job.id, "datasets"))
                notes += self._use_datasets(record, run)
            self.observe(Advanced(job.id, "model"))
            run.log_model(record)
            run.complete(record)
            url = run.url
        for note in notes:
            self.observe(Noted(job.id, note))
        return Synced(job.id, job.status, step.run_id, len(record.rows), step.reason, url, tuple(notes))

    def _use_datasets(self, record: RunRecord, run: RunWriter) -> Iterator[str]:
        """Link the job's datasets; a file that cannot be had costs only itself and is named."""
        for file in record.files:
            with tempfile.TemporaryDirectory(prefix="ftsync-") as folder:
                content = Path(folder) / "content"
                try:
                    download = self.source.download(file.id, content)
                except FtSyncError as error:
                    yield f"{file.split} file {file.id} could not be downloaded: {error.message}"
                    continue
                summary = run.use_dataset(file, content, download)
                if summary.broken:
                    lines = ", ".join(map(str, summary.broken_lines))
                    yield f"{file.split} file {file.id}: {summary.broken} lines are no JSON objects, first {lines}"

    def _verify(self, pending: dict[RunId, tuple[Write, Synced]]) -> None:
        """Ask W&B, in bulk, whether it holds what was just written; only then drop what was replaced."""
        for pause in (0.0, *VERIFY_PAUSES):
            if not pending:
                return
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
                return
            complete = {run.run_id for runs in held.values() for run in runs if run.is_complete}
            for run_id in [run_id for run_id in pending if run_id in complete]:
                step, synced = pending.pop(run_id)
                if isinstance(step, Replace):
                    self._remove(step.replaced)
                self.settle(synced)
        for step, synced in pending.values():
            self.settle(Failed(synced.job_id, _not_held(step, synced)))

    def _remove(self, runs: Iterable[RunState]) -> None:
        for run in runs:
            try:
                self.sink.delete(run)
            except FtSyncError as error:
                message = f"the replaced run {run.run_id} could not be deleted: {error.message}"
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
