"""Follows one unfinished job: each poll fetches its new events and logs their metrics to its run."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ft_sync import convert
from ft_sync.errors import BeingWritten, FtSyncError, NotFound, RunExists, Stopped
from ft_sync.events import Noted, Observer, Waiting
from ft_sync.models import JobSnapshot
from ft_sync.results import flatten, step_of
from ft_sync.write import begun, under_free_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ft_sync.models import Create, Extend, Job, JobEvent, JobStatus, RunRecord, Write
    from ft_sync.ports import JobSource, RunSink, RunWriter

RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Patience:
    """How to wait.

    Attributes:
        poll_interval: Seconds between polls of the job listing.
        timeout: Seconds after which to stop waiting; None waits forever.
        watch: Keep polling for new jobs, even when no job is being waited for.
    """

    poll_interval: float = 60.0
    timeout: float | None = None
    watch: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of one job, according to the events read so far."""

    last_event: str | None = None
    step: int | None = None
    total_steps: int | None = None
    metrics: dict[str, float] | None = None

    def with_events(self, events: Iterable[JobEvent]) -> Progress:
        """Return the progress updated by newer events."""
        progress = self
        for event in events:
            progress = replace(progress, last_event=event.id)
            reached, total = step_of(event.data.get("step")), step_of(event.data.get("total_steps"))
            if event.type == "metrics" and reached is not None:
                progress = replace(
                    progress,
                    step=reached,
                    total_steps=progress.total_steps if total is None else total,
                    metrics=flatten(event.data),
                )
        return progress


@dataclass(slots=True)
class Follower:
    """One unfinished job and, if written live, its run; called by one thread at a time.

    While the job runs, its run holds only what the events say. When the job has ended, the run is treated like any
    interrupted run: it is resumed if it is a prefix of the final record, and replaced if not.

    Attributes:
        job: The job as last listed.
        live: How to open the run; None if it must not be written before the job has ended.
    """

    job: Job
    live: Create | Extend | None
    source: JobSource
    sink: RunSink
    observe: Observer
    _progress: Progress = field(default_factory=Progress)
    _status: JobStatus | None = None
    _last_step: int = -1
    _run: RunWriter | None = None
    _open: ExitStack = field(default_factory=ExitStack)

    @property
    def is_writing(self) -> bool:
        """Whether the job's run is open."""
        return self._run is not None

    def look(self) -> None:
        """Fetch and log the new events of a job that has not ended, and report its progress."""
        self._bring_events()
        known = self._progress
        url = self._run.url if self._run else None
        self.observe(Waiting(self.job, known.step, known.total_steps, known.metrics, url))

    def close(self) -> None:
        """Log the last events of a job that has ended and close its run, so that the engine can complete it."""
        if self.is_writing:
            self._bring_events()
            self._run = None
            self._open.close()

    def abandon(self) -> None:
        """Close the run of a job that has not ended, marking it failed: a later sync resumes it."""
        if self.is_writing:
            self._run = None
            with suppress(Stopped), self._open:
                raise Stopped(f"{self.job.id} is not followed any more")

    def _bring_events(self) -> None:
        """Fetch the new events of a job that is running, or was at the last poll, and log their metrics."""
        status = self.job.status
        if status != RUNNING and (not self.is_writing or status == self._status):
            return
        try:
            events = self.source.events(self.job.id, after=self._progress.last_event)
            if self.live is not None:
                self._log(self.live, convert.record(JobSnapshot(self.job, events)))
        except (RunExists, BeingWritten):
            self.live = None  # another process is writing the run
        except NotFound:
            pass  # some services keep no events; the job's end shows in the listing
        except FtSyncError as error:
            self.observe(Noted(self.job.id, f"{error.message}; trying again at the next poll"))
        else:
            self._progress = self._progress.with_events(events)
            # Only after success: otherwise the next poll asks again, even if the job has been paused by then.
            self._status = status

    def _log(self, live: Write, record: RunRecord) -> None:
        if self._run is None:
            _, rows, self._run = under_free_id(live, lambda step: begun(step, record, (), self.sink, self._open))
        else:
            rows = record.rows
        # Rows that arrive out of order are skipped here and added when the run is completed.
        self._run.log(row for row in rows if row.step > self._last_step)
        self._last_step = max((row.step for row in record.rows), default=self._last_step)
