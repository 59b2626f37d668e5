"""The words of ftsync as frozen types: the job side speaks OpenAI's words, the run side W&B's.

Job side
    `Job`           a fine-tuning job as the API lists it
    `JobEvent`      one entry of its event log, a message or a metrics event
    `Checkpoint`    a model saved on the way, with its metrics
    `File`          a file's description, as the files API gives it
    `ResultFile`    a file of metrics that the service wrote for the job
    `TrainingFile`  a training or validation file (its description, not its bytes)
    `JobSnapshot`   a job with everything the service knows about it

Run side
    `MetricRow`     one step of the run's history
    `RunFile`       a file of the run
    `RunRecord`     what the run should hold
    `RunState`      what a run in W&B holds now
    `Destination`   where the runs go
    `Mark`          the completion record in a run's `summary.ftsync`

Between
    `Plan`          what is to be done for a job, and why: `Create | Extend | Enrich | Replace | Wait | Skip`
    `JobOutcome`    the result for one job: `Synced | Skipped | Failed`
    `SyncReport`    the outcomes of one sync

Times are UTC-aware datetimes; row times are Unix seconds, W&B's unit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NewType, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime, timedelta
    from pathlib import Path

    from ft_sync.errors import FtSyncError

JobId = NewType("JobId", str)
FileId = NewType("FileId", str)
RunId = NewType("RunId", str)

JobStatus = NewType("JobStatus", str)
"""A job's status, spelled as OpenAI spells it; other services add their own (`paused`, `pending`, …)."""

SUCCEEDED = JobStatus("succeeded")
UNSUCCESSFUL = frozenset({JobStatus("failed"), JobStatus("cancelled")})
FINISHED = UNSUCCESSFUL | {SUCCEEDED}

UNKNOWN = JobStatus("unknown")
"""The status of a job for which the service gives no usable status."""

TOO_DEEP = "[nested too deeply to be kept]"
"""Placeholder in a service's JSON for a value that was nested too deeply to be kept."""

UNCLOSED = frozenset({"running", "crashed", "killed", "preempting", "preempted"})
"""W&B states of runs that were not closed properly."""

UNREADABLE = "unreadable"
"""The state of an offline run whose `.wandb` file is damaged."""

Split: TypeAlias = Literal["train", "valid"]
JsonObject: TypeAlias = "Mapping[str, Any]"


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, in the service's words."""

    code: str | None
    message: str | None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A fine-tuning job as the API lists it; `raw` is the object exactly as served."""

    id: JobId
    status: JobStatus
    base_model: str | None = None
    method: str | None = None
    fine_tuned_model: str | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None
    estimated_finish: datetime | None = None
    trained_tokens: int | None = None
    seed: int | None = None
    suffix: str | None = None
    organization_id: str | None = None
    hyperparameters: JsonObject = field(default_factory=dict)
    training_file: FileId | None = None
    validation_file: FileId | None = None
    result_files: tuple[FileId, ...] = ()
    error: JobError | None = None
    metadata: JsonObject = field(default_factory=dict)
    raw: JsonObject = field(default_factory=dict)

    @property
    def is_finished(self) -> bool:
        """Whether the job has ended and will not change any more."""
        return self.status in FINISHED

    @property
    def verdict(self) -> str | None:
        """Why the job made no model, in one sentence; None for a job that succeeded or has not ended."""
        if self.status not in UNSUCCESSFUL:
            return None
        reason = self.error and (self.error.message or self.error.code)
        return f"{self.status}: {reason}" if reason else f"ended {self.status}"

    @property
    def newness(self) -> tuple[float, str]:
        """Sort key by creation time, then id: newer jobs compare greater, in the API's order."""
        return (self.created_at.timestamp() if self.created_at else 0.0, self.id)

    @property
    def duration(self) -> timedelta | None:
        """Time from creation to the end, including queueing; None if either is unknown or the end comes first."""
        if self.created_at is None or self.finished_at is None or self.finished_at < self.created_at:
            return None
        return self.finished_at - self.created_at


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One entry of the job's event log; `raw` is the object as served."""

    id: str
    created_at: datetime | None
    level: str
    message: str
    type: str
    data: JsonObject = field(default_factory=dict)
    raw: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model saved during training; `metrics` are those of `step`, `raw` is the object as served."""

    id: str
    model: str | None
    step: int | None
    created_at: datetime | None
    metrics: JsonObject = field(default_factory=dict)
    raw: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class File:
    """A file object of the files API: `size` is in bytes, `raw` the object as served."""

    id: FileId
    filename: str | None = None
    size: int | None = None
    created_at: datetime | None = None
    raw: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A result file with its bytes as served: CSV, plain or base64-encoded; some services list model weights here."""

    id: FileId
    content: bytes
    filename: str | None = None


@dataclass(frozen=True, slots=True)
class TrainingFile:
    """The description of a training or validation file; `size` is in bytes, `raw` the file object as served."""

    id: FileId
    split: Split
    filename: str | None = None
    size: int | None = None
    created_at: datetime | None = None
    raw: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Download:
    """A downloaded file: its path, size in bytes and SHA-256 in hex."""

    path: Path
    size: int
    sha256: str


NO_EVENTS = "this service keeps no events"
NO_CHECKPOINTS = "this service keeps no checkpoints"
NO_CONTENT = "this service does not give the content of files"
WEIGHTS = "this service lists weights among the result files; they were not read"

OF_SERVICE = frozenset({NO_EVENTS, NO_CHECKPOINTS, NO_CONTENT, WEIGHTS})
"""Notes about the service rather than one job: each run carries them, but they are reported to the user only once."""


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """Everything the service knows about a job; events oldest first.

    Attributes:
        missing: Result files that could not be fetched, each with the reason.
        notes: What else could not be fetched or read.
    """

    job: Job
    events: Collection[JobEvent] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    result_files: tuple[ResultFile, ...] = ()
    training_files: tuple[TrainingFile, ...] = ()
    missing: Mapping[FileId, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MetricRow:
    """The metrics of one training step; `time` is the Unix second at which the step was reported."""

    step: int
    metrics: Mapping[str, float]
    time: float | None = None


@dataclass(frozen=True, slots=True)
class RunFile:
    """A file to be saved in the run: its path there, separated by `/`, and its content in chunks."""

    path: str
    chunks: Iterable[bytes]


Best: TypeAlias = Literal["min", "max"]
"""Whether the lowest or the highest value of a metric is its best."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What the run of a job should hold.

    Attributes:
        config: The run's config, JSON values only.
        summary: The run's summary without the mark, JSON values only; includes each metric's last and best value.
        rows: The history, one row per step, steps ascending.
        best: For metrics where this is known: whether the lowest or the highest value is the best.
        files: Copies of what the service served, since services delete jobs and files.
        log: The events as lines of the run's console log, oldest first.
        model_metadata: The content of `model_metadata.json`; None when the job made no model.
        digest: Identifies the job object from which this record was made, see `convert.digest`.
        failure: Why the job made no model, in which case the run is marked failed; None if it succeeded.
        notes: What was missing or left out, for readers of the run.
    """

    job_id: JobId
    config: JsonObject
    summary: JsonObject
    tags: tuple[str, ...]
    rows: Collection[MetricRow]
    model_metadata: JsonObject | None
    digest: str
    best: Mapping[str, Best] = field(default_factory=dict)
    files: tuple[RunFile, ...] = ()
    log: Collection[str] = ()
    failure: str | None = None
    notes: tuple[str, ...] = ()


class Origin(StrEnum):
    """Which program made a run."""

    FTSYNC = "ftsync"
    NATIVE = "OpenAI's own integration"
    WANDB_LOGGER = "wandb's WandbLogger"
    OTHER = "something else"


@dataclass(frozen=True, slots=True)
class Mark:
    """The completion record of a run, in `summary.ftsync`; written last, so its presence means that all was written.

    Attributes:
        version: The ftsync version that wrote the run.
        digest: Digest of the job object from which the run was made, see `convert.digest`.
        rows: Number of history rows written.
        time: When the run was completed, ISO 8601 UTC.
    """

    version: str
    digest: str
    rows: int
    time: str


@dataclass(frozen=True, slots=True)
class RunState:
    """What a run in W&B holds now.

    Attributes:
        state: The state as W&B names it; `UNREADABLE` for a damaged offline run.
        rows: Number of history rows; None for offline runs, which cannot be counted.
        being_written: A process is writing the run right now.
        is_replaced: Another run has replaced this one, which was kept (`--keep-replaced`) but no longer counts.
    """

    run_id: RunId
    job_id: JobId
    origin: Origin
    state: str
    status: str | None = None
    mark: Mark | None = None
    rows: int | None = None
    url: str | None = None
    being_written: bool = False
    is_replaced: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether the run holds everything and was closed: files may still be uploaded after the mark is written."""
        return self.holds_all and self.state not in UNCLOSED

    @property
    def holds_all(self) -> bool:
        """Whether the run has its mark and at least as many history rows as the mark says."""
        if self.mark is None:
            # WandbLogger writes no mark; the status is what it writes last.
            return self.origin is Origin.WANDB_LOGGER and self.status == SUCCEEDED
        return self.rows is None or self.rows >= self.mark.rows


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the runs go; also the event that reports it, before the jobs are listed.

    Attributes:
        project: The W&B project.
        entity: Its user or team; None for offline runs whose entity is not known before they are uploaded.
        is_new: The project does not exist yet.
        folder: The folder of offline runs; None if the runs go to a server.
        run_id: The caller's own run, if the job goes into that.
        ignored: A settings file of the working directory that names another place, and does not count.
    """

    project: str
    entity: str | None = None
    is_new: bool = False
    folder: str | None = None
    run_id: str | None = None
    ignored: str | None = None

    @property
    def path(self) -> str:
        """Entity and project, as in the URLs of W&B."""
        return f"{self.entity}/{self.project}" if self.entity else self.project


class SyncState(StrEnum):
    """Whether W&B holds a complete run of a job."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Create:
    """Write the first run of a job."""

    job: Job
    run_id: RunId
    reason: str
    replaced: tuple[RunState, ...] = ()


@dataclass(frozen=True, slots=True)
class Replace:
    """Write a new run; delete the runs in `replaced` once the new one is verified."""

    job: Job
    run_id: RunId
    reason: str
    replaced: tuple[RunState, ...]


@dataclass(frozen=True, slots=True)
class Extend:
    """Resume `run` if its content is a prefix of what it should hold; if not, do `otherwise`."""

    job: Job
    run_id: RunId
    reason: str
    run: RunState
    otherwise: Replace
    replaced: tuple[RunState, ...] = ()


@dataclass(frozen=True, slots=True)
class Enrich:
    """Add what is missing to a run of OpenAI's own integration; its history stays untouched."""

    job: Job
    run_id: RunId
    reason: str
    run: RunState
    replaced: tuple[RunState, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until the job ends, then plan again.

    Attributes:
        live: How to write the run while the job is running; None if the job has a run that ftsync must not touch.
    """

    job: Job
    reason: str
    live: Create | Extend | None = None


@dataclass(frozen=True, slots=True)
class Skip:
    """Write nothing for the job.

    Attributes:
        run: The job's current run; None if there is none.
        leftovers: Runs of the job that no longer count, left by a rewrite that was interrupted.
        unfinished: The job has not ended.
    """

    job: Job
    reason: str
    run: RunState | None = None
    leftovers: tuple[RunState, ...] = ()
    unfinished: bool = False


Write: TypeAlias = Create | Extend | Enrich | Replace
Plan: TypeAlias = Write | Wait | Skip


@dataclass(frozen=True, slots=True)
class Synced:
    """The job's run is in W&B, verified."""

    job_id: JobId
    status: JobStatus
    run_id: RunId
    rows: int
    reason: str
    url: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """Nothing was written for this job; `unfinished` if the reason is that the job has not ended."""

    job_id: JobId
    reason: str
    status: JobStatus | None = None
    url: str | None = None
    unfinished: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """This job could not be synced; whatever W&B holds of it counts as incomplete."""

    job_id: JobId
    error: FtSyncError


JobOutcome: TypeAlias = Synced | Skipped | Failed


@dataclass(frozen=True, slots=True)
class SyncReport:
    """The outcome of every selected job.

    Attributes:
        outcomes: One per selected job, in the order of the selection: oldest first, or as the user named them.
        ended_badly: Jobs that ended failed or cancelled while the sync waited for them; always empty for `--watch`.
        timed_out: Jobs still unfinished when the timeout expired.
    """

    outcomes: tuple[JobOutcome, ...]
    ended_badly: tuple[JobId, ...] = ()
    timed_out: tuple[JobId, ...] = ()

    @property
    def synced(self) -> tuple[Synced, ...]:
        """The jobs that were written and verified."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Synced))

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The jobs for which nothing had to be, or could be, done."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Skipped))

    @property
    def failed(self) -> tuple[Failed, ...]:
        """The jobs that could not be synced."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Failed))


@dataclass(frozen=True, slots=True)
class Lost:
    """A part of a job that the service will not give, and why.

    Attributes:
        kind: job, events, checkpoints, file (its description) or content.
        id: The id of the job or of the file.
        is_kept: False if the service offers no events or no checkpoints for any job.
    """

    kind: str
    id: str
    reason: str
    is_kept: bool = True


@dataclass(frozen=True, slots=True)
class Archived:
    """The job is in the archive with everything that the service gives.

    Attributes:
        is_news: Something was added to the archive for the job, or was updated there.
        lost: What the service will not give.
    """

    job_id: JobId
    status: JobStatus
    is_news: bool
    lost: tuple[Lost, ...] = ()


ArchiveOutcome: TypeAlias = Archived | Failed


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """The outcome of every selected job, in the order of the selection."""

    outcomes: tuple[ArchiveOutcome, ...]

    @property
    def archived(self) -> tuple[Archived, ...]:
        """The jobs that are in the archive."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Archived))

    @property
    def failed(self) -> tuple[Failed, ...]:
        """The jobs that are missing from the archive or incomplete there."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Failed))

    @property
    def lost(self) -> tuple[Lost, ...]:
        """What the service will not give for these jobs although it offers the like in general; no duplicates."""
        return tuple(lost for lost in self._not_had if lost.is_kept)

    @property
    def lacking(self) -> tuple[str, ...]:
        """Notes on what the service offers for no job at all, worded as in a sync."""
        notes = {"events": NO_EVENTS, "checkpoints": NO_CHECKPOINTS}
        return tuple(dict.fromkeys(notes[lost.kind] for lost in self._not_had if not lost.is_kept))

    @property
    def _not_had(self) -> dict[Lost, None]:
        return dict.fromkeys(lost for outcome in self.archived for lost in outcome.lost)
