"""What the engine asks of the two services and of time; adapters implement these, the engine knows nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from ft_sync.compare import HeldRun
    from ft_sync.datasets import DatasetSummary
    from ft_sync.models import (
        Checkpoint,
        Download,
        Failed,
        File,
        FileId,
        Job,
        JobEvent,
        JobId,
        MetricRow,
        RunFile,
        RunRecord,
        RunState,
        TrainingFile,
        Write,
    )
    from ft_sync.outline import Heading, Held, Outline


class JobSource(Protocol):
    """Where fine-tuning jobs come from.

    Every method raises `AuthError`, `Unavailable` or `BadData` when it could not get an answer, and `NotFound` only
    when the service said so.
    """

    def jobs(self, *, limit: int | None = None) -> Iterator[Job | Failed]:
        """Yield jobs newest first, asking for pages as they are consumed; `limit` jobs at most.

        One that cannot be read is a `Failed` in its place, named by its position.
        """

    def job(self, job_id: JobId) -> Job:
        """Return one job."""

    def events(self, job_id: JobId, *, after: str | None = None, limit: int | None = None) -> Collection[JobEvent]:
        """Return, oldest first, the events newer than the event `after`, at most the `limit` newest."""

    def checkpoints(self, job_id: JobId) -> tuple[Checkpoint, ...]:
        """Return the job's checkpoints, in the order of the service."""

    def file(self, file_id: FileId) -> File:
        """Return a file's description."""

    def content(self, file_id: FileId, *, limit: int) -> bytes | None:
        """Return the content of a file, None if it is larger than `limit` bytes."""

    def download(self, file_id: FileId, to: Path) -> Download:
        """Stream a file's content to disk; what is there of it already is gone on with if the service can do that."""


class RunWriter(Protocol):
    """One run being written."""

    @property
    def url(self) -> str | None:
        """Where to look at the run: a URL, or a folder for an offline run."""

    def log(self, rows: Iterable[MetricRow]) -> None:
        """Append rows to the history; steps ascend."""

    def log_events(self, lines: Iterable[str]) -> None:
        """Append lines to the console log."""

    def save(self, files: Iterable[RunFile]) -> None:
        """Keep files in the run."""

    def use_dataset(self, file: TrainingFile, download: Download | None) -> DatasetSummary:
        """Make a training or validation file an input of the run, with its table.

        Without a download the run uses what W&B holds of the file already, see `RunSink.dataset`.
        """

    def log_model(self, record: RunRecord, inputs: Iterable[TrainingFile]) -> None:
        """Begin to log the model's metadata as an output of the run; `inputs` are the datasets it names."""

    def complete(self, record: RunRecord) -> None:
        """Wait for all that was begun, then write the summary and, last of all, the mark."""


class RunSink(Protocol):
    """Where runs go; its methods and the writers that it opens may be used by several threads, each its own."""

    @property
    def can_go_on(self) -> bool:
        """Whether a run that was closed can be opened again, to go on with it."""

    def states(self, job_ids: Collection[JobId]) -> Mapping[JobId, tuple[RunState, ...]]:
        """Return the runs that W&B holds for each job, asked in bulk; jobs without a run are left out.

        Raises:
            AuthError: W&B refuses the key, or there is none.
            Unavailable: W&B could not be asked; that is never an empty answer.
        """

    def held_rows(self, run: RunState, record: RunRecord, inputs: Collection[TrainingFile]) -> int | None:
        """Return how many rows the run holds if all it holds is a beginning of what it should; None if it is not.

        Args:
            run: What is there.
            record: What should be.
            inputs: The training and validation files that it should have used.
        """

    def dataset(self, file: TrainingFile) -> DatasetSummary | None:
        """Return what W&B holds of a training or validation file: None if it has to be downloaded."""

    def described(self, file: TrainingFile) -> TrainingFile | None:
        """Return the file as it was described when it was brought; None if W&B does not hold it."""

    def renew(self, file: TrainingFile) -> None:
        """Have the next run that uses the file bring it again, whatever W&B holds of it."""

    def read_back(self, run: RunState) -> HeldRun:
        """Read back what a run holds, all of it.

        Raises:
            ConfigError: There is no server to ask.
            AuthError, Unavailable: As for `states`.
        """

    def open(self, plan: Write, record: RunRecord) -> AbstractContextManager[RunWriter]:
        """Open the run; leaving normally marks it finished, leaving by an exception marks it failed."""

    def delete(self, run: RunState) -> None:
        """Delete a run that a verified one has replaced."""

    def keep(self, run: RunState) -> None:
        """Mark a run that a verified one has replaced, so that it counts no more."""

    def link(self, job: Job, collection: str, aliases: Collection[str]) -> None:
        """Link the job's model artifact to `REGISTRY/COLLECTION`."""

    def point_latest(self, jobs: Iterable[Job]) -> None:
        """Have `latest` name the model artifact of the newest job, of these and of what it named before."""


class ReportSink(Protocol):
    """Where a report of what W&B holds goes; its methods raise `AuthError` and `Unavailable` as those of `RunSink`."""

    @property
    def place(self) -> str:
        """What the project is called in sentences."""

    def held(self) -> Iterator[Held]:
        """Yield the runs that were made from jobs, also those that were replaced.

        Raises:
            NotFound: There is no such project.
        """

    def write(self, heading: Heading, outline: Outline) -> tuple[str, str, bool]:
        """Make or renew the report and the workspace view; return their URLs, and whether the report is new."""


class Clock(Protocol):
    """Time, so that waiting can be tested without it passing."""

    def now(self) -> float:
        """Return a monotonic time in seconds."""

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            Stopped: Somebody ended the work meanwhile, or before.
        """

    def stop(self) -> None:
        """End all waiting, now and later."""
