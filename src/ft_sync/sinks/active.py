"""Into a run that the caller has open, online or offline: it is added to, and neither opened, renamed nor finished."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from ft_sync.errors import ConfigError, SinkRejected
from ft_sync.models import JobId, Origin, RunId, RunState
from ft_sync.names import run_id
from ft_sync.once import Once
from ft_sync.sinks.offline import OfflineSink
from ft_sync.sinks.online import OnlineSink, not_taken
from ft_sync.sinks.run import WandbRun
from ft_sync.sinks.wandb import mark_from, translated

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    import wandb

    from ft_sync.models import MetricRow, RunRecord, Write
    from ft_sync.sinks.run import Held
    from ft_sync.sinks.wandb import RunOptions

STEP = "fine_tune_step"
"""The metric that holds the job's own step, against which W&B draws the job's metrics."""

OPEN = "open"
"""State of the caller's run: whether it is closed is his business."""

OWN = "fine_tune_"
"""Before a key of the config that the caller's run has for something else."""

UPLOAD_PAUSES = (0.0, *(0.25,) * 4, *(1.0,) * 60)
"""Seconds between asking whether all has arrived: the SDK sends what a running run logs every 15 seconds."""


def sink(run: wandb.Run, options: RunOptions) -> OnlineSink | OfflineSink:
    """Return where the one job goes that this run is to take."""
    if run.disabled:
        raise ConfigError(f"the run {run.id} is disabled: it would hold nothing", hint="use mode online or offline")
    return OfflineActiveSink(options, run) if run.offline else OnlineActiveSink(options, run)


class OnlineActiveSink(OnlineSink):
    """A `RunSink` for one job, into a run that is open on the server."""

    def __init__(self, options: RunOptions, run: wandb.Run) -> None:
        super().__init__(options)
        self._active = run

    @property
    def can_go_on(self) -> bool:
        """False: what is in the run stays, so it takes a job that has ended."""
        return False

    def states(self, job_ids: Collection[JobId]) -> Mapping[JobId, tuple[RunState, ...]]:
        """Return the runs of each job, and for the job that it holds the open one, as the server has it."""
        found = super().states(job_ids)
        held = self._active.config.get("fine_tune_job_id")
        return _with(self._sent(held), found) if held in job_ids else found

    @contextmanager
    def open(self, plan: Write, record: RunRecord) -> Iterator[WandbRun]:
        """Add to the run; leaving normally waits until the server has what was added."""
        self._has_moved_latest |= record.model_metadata is not None
        run = _begun(self._active, record, self._options, self._held)
        yield run
        mark = mark_from(self._active.summary.get("ftsync"))
        for pause in UPLOAD_PAUSES:
            time.sleep(pause)
            sent = self._sent(plan.job.id)
            if sent.mark == mark and sent.is_complete:
                break
        if missing := self._missing_files(plan.run_id, run.saved, UPLOAD_PAUSES):
            self._active.summary.update({"ftsync": None})  # it is not complete
            raise not_taken(plan.run_id, missing)

    def _sent(self, job_id: JobId) -> RunState:
        """Return what the server has of the open run; its rows are those of the job."""
        with translated(f"the run {self._active.id}"):
            self._apis.get().flush()  # it would answer from its cache
            there = self._run(RunId(self._active.id))
            rows = sum(1 for _ in there.scan_history(keys=[STEP], use_cache=False))
        return replace(self._state(there, {run_id(job_id): job_id}), job_id=job_id, rows=rows, state=OPEN)


class OfflineActiveSink(OfflineSink):
    """A `RunSink` for one job, into a run that is open offline."""

    def __init__(self, options: RunOptions, run: wandb.Run) -> None:
        super().__init__(options)
        self._active = run

    def states(self, job_ids: Collection[JobId]) -> Mapping[JobId, tuple[RunState, ...]]:
        """Return the offline runs of each job, and for the job that it holds the open one."""
        found = super().states(job_ids)
        held = self._active.config.get("fine_tune_job_id")
        if held not in job_ids:
            return found
        mark = mark_from(self._active.summary.get("ftsync"))
        folder = str(Path(self._active.dir).parent)
        return _with(RunState(RunId(self._active.id), JobId(held), Origin.FTSYNC, OPEN, mark=mark, url=folder), found)

    @contextmanager
    def open(self, plan: Write, record: RunRecord) -> Iterator[WandbRun]:
        """Add to the run."""
        del plan
        yield _begun(self._active, record, self._options, Once())


class ActiveRun(WandbRun):
    """A run of the caller's that is being added to: a `RunWriter`.

    W&B drops rows, silently, whose step is behind where the run is. So the job's rows come after all that the run
    holds, and its own steps are a metric. In a run that holds no rows yet, the two are the same.
    """

    step_metric: ClassVar[str | None] = STEP
    upload: ClassVar[Literal["now", "end"]] = "now"

    def log(self, rows: Iterable[MetricRow]) -> None:
        """Append the rows that the run does not hold yet, under their true times."""
        held = self.run.summary.get(STEP, -1)
        missing = [row for row in rows if row.step > held]
        if not missing:
            return
        self.run.define_metric(STEP, hidden=True)
        self._defined.add(STEP)
        # A row that the caller has begun and not committed has the run's present step.
        behind = self.run.step + max(0, 1 - missing[0].step)
        super().log(replace(row, step=behind + row.step, metrics={**row.metrics, STEP: row.step}) for row in missing)

    def log_events(self, lines: Iterable[str]) -> None:
        """Leave the console log to the caller's program; the events are among the files."""


def _with(state: RunState, found: Mapping[JobId, tuple[RunState, ...]]) -> Mapping[JobId, tuple[RunState, ...]]:
    """Return the states with this one, which may be among them as it was before."""
    others = tuple(run for run in found.get(state.job_id, ()) if run.run_id != state.run_id)
    return {**found, state.job_id: (*others, state)}


def _begun(run: wandb.Run, record: RunRecord, options: RunOptions, held: Once[str, Held]) -> ActiveRun:
    """Begin to add a job to the run: its config, beside what the caller has set."""
    there = dict(run.config)
    other = there.get("fine_tune_job_id", record.job_id)
    if other != record.job_id:
        raise SinkRejected(
            f"the run {run.id} holds the job {other}, and would mix it with {record.job_id}",
            hint="finish the run, or start another",
        )
    config = {key if there.get(key, value) == value else OWN + key: value for key, value in record.config.items()}
    writer = ActiveRun(run, options, held, len(record.rows))
    with translated(f"the run {run.id}"):
        run.config.update(config, allow_val_change=True)
        writer.define(record.best)
    return writer
