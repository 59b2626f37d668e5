"""Writes a job into a run that the caller has open, online or offline, and neither renames nor finishes that run."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from ft_sync.content import LOG, ROWS, STATE, RunContent, lacking, values
from ft_sync.errors import ConfigError, SinkRejected
from ft_sync.models import JobId, Origin, RunId, RunState
from ft_sync.names import REPLACED_TAG, run_id
from ft_sync.once import Once
from ft_sync.sinks.offline import OfflineSink
from ft_sync.sinks.online import REJECTED, OnlineSink
from ft_sync.sinks.run import WandbRun
from ft_sync.sinks.wandb import MARK, check_tags, mark_from, translated

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    import wandb

    from ft_sync.content import Item
    from ft_sync.models import Destination, MetricRow, RunRecord, Write
    from ft_sync.sinks.run import Held
    from ft_sync.sinks.wandb import RunOptions

STEP = "fine_tune_step"
"""The metric that holds the job's own step; W&B draws the job's metrics against it."""

OPEN = "open"
"""The state reported for the caller's run: closing the run is up to the caller."""

OWN = "fine_tune_"
"""Prefix for a config key that the caller's run already uses with another value."""

UPLOAD_PAUSES = (0.0, *(0.25,) * 4, *(1.0,) * 60)
"""Seconds between checks whether everything has arrived: the SDK uploads an open run's data every 15 seconds."""


def sink(run: wandb.Run, options: RunOptions) -> OnlineSink | OfflineSink:
    """Return the sink that writes one job into `run`.

    Raises:
        ConfigError: The run is disabled, or is tagged as replaced.
    """
    if run.disabled:
        raise ConfigError(f"the run {run.id} is disabled: it would hold nothing", hint="use mode online or offline")
    check_tags((tag for tag in run.tags or () if tag == REPLACED_TAG), f"the tags of the run {run.id}")
    return OfflineActiveSink(options, run) if run.offline else OnlineActiveSink(options, run)


class OnlineActiveSink(OnlineSink):
    """A `RunSink` that writes one job into an open online run."""

    def __init__(self, options: RunOptions, run: wandb.Run) -> None:
        super().__init__(options)
        self._active = run

    @property
    def can_go_on(self) -> bool:
        """False: nothing can be removed from the caller's run, so its job must have ended."""
        return False

    def destination(self) -> Destination:
        """Return the open run: the caller has chosen its place."""
        return replace(super().destination(), run_id=self._active.id)

    def states(self, job_ids: Collection[JobId]) -> Mapping[JobId, tuple[RunState, ...]]:
        """Return the runs of each job; for the job in the open run, they include that run as the server has it."""
        found = super().states(job_ids)
        held = self._active.config.get("fine_tune_job_id")
        return _with(self._sent(held), found) if held in job_ids else found

    @contextmanager
    def open(self, plan: Write, record: RunRecord) -> Iterator[WandbRun]:
        """Add to the open run; leaving the context normally waits, for a while, until the server has what was added."""
        self._has_moved_latest |= record.model_metadata is not None
        run = _begun(self._active, record, self._options, self._held)
        yield run
        for pause in UPLOAD_PAUSES:
            time.sleep(pause)
            found = self.stored([plan.run_id], singly=True).get(plan.run_id, RunContent())
            if not lacking(run.content, found):
                break

    def stored(self, run_ids: Collection[RunId], *, singly: bool = False) -> Mapping[RunId, RunContent]:
        """Return what the server has of the run, counting only the rows of the job."""
        found = super().stored(run_ids, singly=singly)
        return {named: replace(held, items={**held.items, ROWS: self._rows()}) for named, held in found.items()}

    def reject(self, run_id: RunId, job_id: JobId) -> None:
        """Replace the job's mark by a note that the run is incomplete; the SDK uploads it."""
        del run_id, job_id
        self._active.summary.update({MARK: REJECTED})

    def _sent(self, job_id: JobId) -> RunState:
        """Return the state of the open run on the server, counting only the rows of the job."""
        with translated(f"the run {self._active.id}"):
            self._apis.get().flush()  # otherwise the API object may answer from its cache
            there = self._run(RunId(self._active.id))
        state = self._state(there, {run_id(job_id): job_id})
        return replace(state, job_id=job_id, rows=self._rows(), state=OPEN)

    def _rows(self) -> int:
        """Return the number of the job's rows in the open run on the server."""
        with translated(f"the history of the run {self._active.id}"):
            there = self._run(RunId(self._active.id))
            return sum(1 for _ in there.scan_history(keys=[STEP], use_cache=False))


class OfflineActiveSink(OfflineSink):
    """A `RunSink` that writes one job into an open offline run."""

    def __init__(self, options: RunOptions, run: wandb.Run) -> None:
        super().__init__(options)
        self._active = run

    def destination(self) -> Destination:
        """Return the open run: the caller has chosen its place."""
        return replace(super().destination(), run_id=self._active.id)

    def states(self, job_ids: Collection[JobId]) -> Mapping[JobId, tuple[RunState, ...]]:
        """Return the offline runs of each job; for the job in the open run, they include that run."""
        found = super().states(job_ids)
        held = self._active.config.get("fine_tune_job_id")
        if held not in job_ids:
            return found
        mark = mark_from(self._active.summary.get(MARK))
        folder = str(Path(self._active.dir).parent)
        return _with(RunState(RunId(self._active.id), JobId(held), Origin.FTSYNC, OPEN, mark=mark, url=folder), found)

    def stored(self, run_ids: Collection[RunId], *, singly: bool = False) -> Mapping[RunId, RunContent]:
        """Return what the open run contains: its file is complete only when the caller closes the run."""
        del run_ids, singly
        config, summary = dict(self._active.config), dict(self._active.summary)
        items = {**dict(values("config", config)), **dict(values("summary", summary))}
        return {RunId(self._active.id): RunContent(items)}

    def reject(self, run_id: RunId, job_id: JobId) -> None:
        """Replace the job's mark by a note that the run is incomplete."""
        del run_id, job_id
        self._active.summary.update({MARK: REJECTED})

    @contextmanager
    def open(self, plan: Write, record: RunRecord) -> Iterator[WandbRun]:
        """Add to the open run."""
        del plan
        yield _begun(self._active, record, self._options, Once())


class ActiveRun(WandbRun):
    """A `RunWriter` that adds a job to the caller's run.

    W&B silently drops rows whose step is below the run's current step. So the job's rows come after all rows that the
    run already has, and the job's own step is a metric. In a run without rows, the two steps are the same.
    """

    step_metric: ClassVar[str | None] = STEP
    upload: ClassVar[Literal["now", "end"]] = "now"

    def log(self, rows: Iterable[MetricRow]) -> None:
        """Append the rows that the run lacks, with the times at which the job reported them."""
        held = self.run.summary.get(STEP, -1)
        missing = [row for row in rows if row.step > held]
        if not missing:
            return
        self.run.define_metric(STEP, hidden=True)
        self._defined.add(STEP)
        # Go beyond the run's current step: the caller may have logged part of a row at this step without committing it.
        behind = self.run.step + max(0, 1 - missing[0].step)
        super().log(replace(row, step=behind + row.step, metrics={**row.metrics, STEP: row.step}) for row in missing)

    def log_events(self, lines: Iterable[str]) -> None:
        """Write nothing: the console log belongs to the caller's program, and the events are saved as a file."""

    def _written(self, record: RunRecord) -> Iterator[tuple[str, Item]]:
        """Yield what was added to the run; its state and its console log are the caller's."""
        return ((item, value) for item, value in super()._written(record) if item not in {STATE, LOG})


def _with(state: RunState, found: Mapping[JobId, tuple[RunState, ...]]) -> Mapping[JobId, tuple[RunState, ...]]:
    """Return `found` with `state` added, in place of any older state of the same run."""
    others = tuple(run for run in found.get(state.job_id, ()) if run.run_id != state.run_id)
    return {**found, state.job_id: (*others, state)}


def _begun(run: wandb.Run, record: RunRecord, options: RunOptions, held: Once[str, Held]) -> ActiveRun:
    """Start adding a job to the run by adding its config; values that the caller has set stay.

    Raises:
        SinkRejected: The run already holds another job.
    """
    there = dict(run.config)
    other = there.get("fine_tune_job_id", record.job_id)
    if other != record.job_id:
        raise SinkRejected(
            f"the run {run.id} holds the job {other}, and would mix it with {record.job_id}",
            hint="finish the run, or start another",
        )
    config = {key if there.get(key, value) == value else OWN + key: value for key, value in record.config.items()}
    writer = ActiveRun(run, options, held, len(record.rows), given={"config": config})
    with translated(f"the run {run.id}"):
        run.config.update(config, allow_val_change=True)
        writer.define(record.best)
    return writer
