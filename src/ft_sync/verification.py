"""Verifies runs in W&B against the source of their jobs; reads only, except in `repair`.

What a run should hold is computed by the same functions that a sync uses. What it does hold is read back from W&B; the
mark that the sync left there is not trusted.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

from ft_sync import convert, datasets, engine, scratch
from ft_sync.compare import (
    BY_WANDB_LOGGER,
    Dataset,
    Difference,
    Differs,
    Digest,
    Expected,
    Identical,
    Missing,
    Unreadable,
    Verdict,
    Verification,
    beyond_repair,
    differences,
    lost,
    stale,
    unread,
)
from ft_sync.errors import REFUSALS, FtSyncError, Unavailable, unexpected
from ft_sync.events import Selected, Verified
from ft_sync.follow import Patience
from ft_sync.interruption import in_order
from ft_sync.models import Create, Failed, Origin, Replace, RunState, Skip, Skipped
from ft_sync.once import Once
from ft_sync.plan import current
from ft_sync.planning import Selection, preview
from ft_sync.redaction import redacted
from ft_sync.snapshot import snapshot
from ft_sync.table import write_table
from ft_sync.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ft_sync.compare import HeldRun
    from ft_sync.events import Observer
    from ft_sync.models import FileId, Job, JobId, JsonObject, Plan, TrainingFile
    from ft_sync.planning import Request
    from ft_sync.ports import Clock, JobSource, RunSink

SIDES = 2
"""A verification reads from two services, the source and W&B: with two threads per job both are kept busy."""

Datasets: TypeAlias = tuple[tuple["TrainingFile", Dataset | None], ...]


def verify(source: JobSource, sink: RunSink, clock: Clock, request: Request, observe: Observer) -> Verification:
    """Compare the run of every selected job with what it should hold; writes nothing.

    A job that cannot be read does not stop the others. Ctrl-C ends the verification at once: there is nothing to undo.
    """
    with (
        scratch.folder() as folder,
        Workers[Verdict](SIDES * request.concurrency) as workers,
    ):
        files = _Files(source, folder, request.table_rows)
        work = _Work(source, sink, request, engine.one_at_a_time(observe), workers, files)

        def interrupt() -> bool:
            clock.stop()
            workers.interrupt()
            return False

        return in_order(work.carry_through, interrupt)


def repair(  # noqa: PLR0913, PLR0917 - who takes part
    source: JobSource, sink: RunSink, clock: Clock, request: Request, observe: Observer, found: Verification
) -> Verification:
    """Rewrite the runs that are missing or differ, then verify them again.

    A run that holds data which the source no longer gives is left alone: rewriting would lose that data for good.
    """
    differing = [one for one in found.verdicts if isinstance(one, Differs) and one.is_repairable]
    broken = [one for one in found.verdicts if isinstance(one, Missing) or one in differing]
    rewritten = frozenset() if request.keep_replaced else frozenset(one.run_id for one in differing)
    for file in (file for one in differing for file in one.stale):
        sink.renew(file, rewritten)

    def synced(chosen: Sequence[Verdict], *, overwrite: bool) -> tuple[Failed, ...]:
        again = _again(request, chosen, overwrite=overwrite)
        return engine.sync(source, sink, clock, again, observe).failed if chosen else ()

    # A run whose only difference is `latest` is complete: a sync without overwrite leaves it and moves the alias.
    complete = [one for one in broken if isinstance(one, Differs) and not one.is_to_be_written]
    others = [one for one in broken if one not in complete]
    failed = (*synced(complete, overwrite=False), *synced(others, overwrite=True))
    failures = {one.job_id: f"it could not be repaired: {one.error.message}" for one in failed}
    verdicts = {one.job_id: _left_alone(one) for one in found.verdicts}
    if broken:
        notes = {one.job_id: [note for file in one.stale for note in sink.renewed(file)] for one in differing}
        for verdict in verify(source, sink, clock, _again(request, broken, overwrite=True), observe).verdicts:
            failure = failures.get(verdict.job_id)
            said = [*notes.get(verdict.job_id, ()), *([failure] if failure else [])]
            verdicts[verdict.job_id] = _noted(verdict, *said)
    return Verification(tuple(verdicts.values()))


def _again(request: Request, found: Iterable[Verdict], *, overwrite: bool) -> Request:
    """Return the request for just these jobs, whatever their status; without waiting for unfinished jobs."""
    return replace(
        request,
        selection=Selection(tuple(one.job_id for one in found)),
        rule=replace(request.rule, wait=False, overwrite=overwrite, include_unsuccessful=True),
        patience=Patience(),
    )


class _Work:
    """A verification in progress: the collaborators and the verdicts so far."""

    def __init__(  # noqa: PLR0913, PLR0917 - who takes part
        self,
        source: JobSource,
        sink: RunSink,
        request: Request,
        observe: Observer,
        workers: Workers[Verdict],
        files: _Files,
    ) -> None:
        self.source, self.sink, self.request, self.observe = source, sink, request, observe
        self.workers, self.files = workers, files
        self.given = _given(request.config)
        self.verdicts: dict[JobId, Verdict] = {}

    def carry_through(self) -> Verification:
        # The plans are only used to find each job's current run; they are not carried out.
        chosen = preview(self.source, self.sink, self.request.selection, replace(self.request.rule, wait=False))
        self.observe(Selected(len(chosen.plans) + len(chosen.unreadable), "verify"))
        for failed in chosen.unreadable:
            self.settle(Unreadable(failed.job_id, "source", failed.error))
        for step in chosen.plans:
            if verdict := _without_a_run(step):
                self.settle(verdict)
            else:
                self.workers.start(partial(self.compare, step.job, _run_of(step)))
        while self.workers.busy:
            if verdict := self.workers.next():
                self.settle(verdict)
        ids = [*(failed.job_id for failed in chosen.unreadable), *(step.job.id for step in chosen.plans)]
        return Verification(tuple(self.verdicts[job_id] for job_id in ids))

    def settle(self, verdict: Verdict) -> None:
        self.verdicts[verdict.job_id] = verdict
        self.observe(Verified(verdict))

    def compare(self, job: Job, run: RunState) -> Verdict:
        """Read both sides of a job and compare them."""
        side: Literal["source", "W&B"] = "W&B"
        try:
            held = self.sink.read_back(run, content=self.request.content)
            side = "source"
            return self.judge(job, run, held)
        except FtSyncError as error:
            return Unreadable(job.id, side, error)
        except Exception as error:  # noqa: BLE001 - a bug met in one job must not cost the others
            return Unreadable(job.id, side, unexpected(error))

    def judge(self, job: Job, run: RunState, held: HeldRun) -> Verdict:
        known = snapshot(self.source, job, self.sink.described)
        files = known.training_files if self.request.log_datasets else ()
        compared, missing, gone = self.datasets(files, held)
        record = convert.record(known, missing)
        digests = {file.path: _digest(file.chunks) for file in record.files}
        expected = Expected(
            record,
            compared,
            digests,
            is_native=run.origin is Origin.NATIVE,
            given=self.given,
        )
        notes = tuple(f"{file}: the source does not give it any more, so it was not compared" for file in gone)
        if unread(held):
            notes = (*notes, "the bytes of the datasets were not read")
        found, reason = differences(expected, held), None
        if not found:
            return Identical(job.id, run.run_id, run.url, notes)
        if run.origin is Origin.WANDB_LOGGER:
            reason = BY_WANDB_LOGGER
            found = (Difference("run", None, reason),)
        more = lost(expected, held)
        if more:
            notes = (*notes, f"W&B holds what the source does not give any more: {', '.join(more)}")
        return Differs(
            job.id,
            run.run_id,
            found,
            run.url,
            notes,
            more,
            stale(expected, held),
            beyond_repair(expected, held),
            reason,
        )

    def datasets(
        self, files: tuple[TrainingFile, ...], held: HeldRun
    ) -> tuple[Datasets, dict[FileId, str], tuple[str, ...]]:
        """Return the expected inputs, the missing files with their reasons, and labels of files that only W&B has."""
        compared: list[tuple[TrainingFile, Dataset | None]] = []
        missing: dict[FileId, str] = {}
        gone: list[str] = []
        for file in files:
            answer = self.files.get(file.id)
            if isinstance(answer, Dataset):
                compared.append((file, answer))
            elif held.dataset(file) or self.sink.dataset(file):
                compared.append((file, None))
                gone.append(f"{file.split} file {file.id}")
            else:
                missing[file.id] = answer.message
        return tuple(compared), missing, tuple(gone)


class _Files:
    """Digests of training and validation files; each file is downloaded once, digested and deleted."""

    def __init__(self, source: JobSource, folder: Path, table_rows: int) -> None:
        self._source, self._folder, self._table_rows = source, folder, table_rows
        self._names = itertools.count()
        self._answers: Once[FileId, Dataset | FtSyncError] = Once()

    def get(self, file_id: FileId) -> Dataset | FtSyncError:
        """Return a file's digests and summary, or the error with which the source refused it."""
        return self._answers.get(file_id, lambda: self._read(file_id))

    def _read(self, file_id: FileId) -> Dataset | FtSyncError:
        path = self._folder / str(next(self._names))
        table = path.with_suffix(".table")
        try:
            self._source.download(file_id, path)
            dataset = datasets.read(path, limit=self._table_rows)
            write_table(table, dataset.columns, dataset.rows())
            return Dataset(_digest_of(path), _digest_of(table), dataset.summary)
        except REFUSALS as error:
            return error
        finally:
            path.unlink(missing_ok=True)
            table.unlink(missing_ok=True)


def _without_a_run(step: Plan) -> Verdict | None:
    """Return the verdict on a job without a run to compare; None if it has one."""
    job = step.job
    match step:
        case Create():
            return Missing(job.id, step.reason)
        case Skip(run=None) | Skip(run=RunState(origin=Origin.NATIVE, mark=None)):
            return Skipped(job.id, step.reason, job.status, unfinished=step.unfinished)
        case Skip(run=RunState(origin=Origin.OTHER)):
            return Missing(job.id, step.reason)
        case Skip(run=RunState(being_written=True)):
            return Unreadable(job.id, "W&B", Unavailable(step.reason, hint="run the same command when it is written"))
        case _:
            return None


def _run_of(step: Plan) -> RunState:
    """Return the job's current run."""
    run = current(step.replaced) if isinstance(step, Replace) else getattr(step, "run", None)
    assert run is not None, "jobs without a run have their verdict"
    return run


def _left_alone(verdict: Verdict) -> Verdict:
    """Return the verdict, with a note if the run is not rewritten because that would lose data."""
    if isinstance(verdict, Differs) and verdict.lost:
        return _noted(verdict, "left alone: written again, its run would lose that")
    if isinstance(verdict, Differs) and not verdict.is_repairable:
        return _noted(verdict, "left alone: the source does not give the damaged files any more")
    return verdict


def _noted(verdict: Verdict, *notes: str) -> Verdict:
    if isinstance(verdict, Unreadable | Skipped):
        return verdict
    return replace(verdict, notes=(*verdict.notes, *notes))


def _given(config: JsonObject) -> JsonObject:
    """Return the config that the user gives to every run as W&B stores it; None for what is no JSON."""
    plain: dict[str, object] = {}
    for key, value in redacted(dict(config)).items():
        try:
            plain |= convert.storable({key: json.loads(json.dumps(value))})
        except (TypeError, ValueError):
            plain[key] = None
    return plain


def _digest(chunks: Iterable[bytes]) -> Digest:
    digest, size = hashlib.md5(usedforsecurity=False), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
    return Digest(size, base64.b64encode(digest.digest()).decode())


def _digest_of(path: Path) -> Digest:
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).digest()
    return Digest(path.stat().st_size, base64.b64encode(digest).decode())
