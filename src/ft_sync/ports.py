"""The ports: Protocols of sources, sinks and the clock, which adapters implement; the engine knows nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from ft_sync.compare import HeldRun
    from ft_sync.content import RunContent
    from ft_sync.datasets import DatasetSummary
    from ft_sync.models import (
        Checkpoint,
        Destination,
        Download,
        Failed,
        File,
        FileId,
        Job,
        JobEvent,
        JobId,
        MetricRow,
        RunFile,
        RunId,
        RunRecord,
        RunState,
        TrainingFile,
        Write,
    )
    from ft_sync.outline import Heading, Held, Outline


class JobSource(Protocol):
    """Where fine-tuning jobs come from.

    Every method raises `AuthError`, `Unavailable` or `BadData` if it could not get an answer, and `NotFound` only if
    the service itself said so.
    """

    def jobs(self, *, limit: int | None = None) -> Iterator[Job | Failed]:
        """Yield jobs newest first, fetching pages lazily; at most `limit` jobs.

        A job that cannot be read is yielded as a `Failed`, with its id, or else its position in the listing. If its
        place among the others is unknown, it comes before them and is not counted.
        """

    def job(self, job_id: JobId) -> Job:
        """Return one job."""

    def events(self, job_id: JobId, *, after: str | None = None, limit: int | None = None) -> Collection[JobEvent]:
        """Return the events newer than the event with the id `after`, oldest first; at most the `limit` newest."""

    def checkpoints(self, job_id: JobId) -> tuple[Checkpoint, ...]:
        """Return the job's checkpoints, in the service's order."""

    def file(self, file_id: FileId) -> File:
        """Return a file's description."""

    def content(self, file_id: FileId, *, limit: int) -> bytes | None:
        """Return a file's content; None if it is larger than `limit` bytes."""

    def download(self, file_id: FileId, to: Path) -> Download:
        """Stream a file's content to `to`, resuming a partial download there if the service supports ranges."""


class RunWriter(Protocol):
    """One run that is being written."""

    @property
    def url(self) -> str | None:
        """Where to look at the run: a URL, or a folder for an offline run."""

    def log(self, rows: Iterable[MetricRow]) -> None:
        """Append rows to the history; steps must be ascending."""

    def log_events(self, lines: Iterable[str]) -> None:
        """Append lines to the console log."""

    def save(self, files: Iterable[RunFile]) -> None:
        """Save files in the run."""

    def use_dataset(self, file: TrainingFile, download: Download | None) -> DatasetSummary:
        """Log a training or validation file, with a table of its examples, as an input artifact of the run.

        If `download` is None, the run uses the artifact that W&B already holds, see `RunSink.dataset`.
        """

    def log_model(self, record: RunRecord, inputs: Iterable[TrainingFile]) -> None:
        """Start logging the model's metadata as an output artifact; `inputs` are the datasets that it refers to."""

    def complete(self, record: RunRecord) -> RunContent:
        """Wait for all uploads, then write the summary and, last of all, the mark.

        Returns:
            What the run contains once it is closed, as far as `RunSink.stored` can tell.
        """


class RunSink(Protocol):
    """Where runs go. Several threads may call its methods at once; each `RunWriter` is used by one thread at a time."""

    @property
    def can_go_on(self) -> bool:
        """Whether a closed run can be reopened and resumed."""

    def destination(self) -> Destination:
        """Return where runs are written, resolved as for every other method; asks W&B, and writes nothing.

        Raises:
            ConfigError: The entity does not exist, or none is named and the account has none of its own.
            AuthError: The key may not write there, or as for `states`.
            Unavailable: W&B could not be reached.
        """

    def states(self, job_ids: Collection[JobId]) -> Mapping[JobId, tuple[RunState, ...]]:
        """Return the runs that W&B holds for each job, queried in bulk; jobs without a run are left out.

        Raises:
            AuthError: W&B refuses the key, or there is none.
            Unavailable: W&B could not be reached; this must never look like an empty answer.
        """

    def stored(self, run_ids: Collection[RunId], *, singly: bool = False) -> Mapping[RunId, RunContent]:
        """Return what W&B holds of these runs, queried in bulk; runs that W&B does not return are left out.

        Args:
            run_ids: The runs.
            singly: Query each run by itself, since W&B's listings may lag behind its runs.

        Raises:
            AuthError, Unavailable: As for `states`.
        """

    def reject(self, run_id: RunId, job_id: JobId) -> None:
        """Make a run that W&B does not hold completely count as an incomplete run of the job."""

    def held_rows(self, run: RunState, record: RunRecord, inputs: Collection[TrainingFile]) -> int | None:
        """Return the number of history rows in the run if its content is a prefix of `record`; None if it is not.

        Args:
            run: The run in W&B.
            record: What the run should hold.
            inputs: The training and validation files that should be its inputs.

        Raises:
            RunExists: The run is not any more as it was listed: it is complete, or being written.
        """

    def dataset(self, file: TrainingFile) -> DatasetSummary | None:
        """Return the summary of a training or validation file that W&B already holds; None if it must be downloaded."""

    def described(self, file: TrainingFile) -> TrainingFile | None:
        """Return the file with the description stored when it was uploaded; None if W&B does not hold the file."""

    def renew(self, file: TrainingFile, rewritten: Collection[RunId]) -> None:
        """Make the next run that uses the file upload it again, whatever W&B already holds of it.

        What W&B holds of it, damaged, is deleted then, and other runs that used that use the new upload.

        Args:
            file: The training or validation file.
            rewritten: Runs that are about to be replaced, so that it does not matter what they use.
        """

    def renewed(self, file: TrainingFile) -> tuple[str, ...]:
        """Say what became of other runs when a renewed file was uploaded again."""

    def read_back(self, run: RunState, *, content: bool = True) -> HeldRun:
        """Read back everything that a run holds, down to the stored bytes.

        Args:
            run: The run.
            content: Read the bytes of datasets, too; otherwise take W&B's word for them.

        Raises:
            ConfigError: The sink is offline, so there is no server to ask.
            AuthError, Unavailable: As for `states`.
        """

    def open(self, plan: Write, record: RunRecord) -> AbstractContextManager[RunWriter]:
        """Open the run; leaving the context normally marks it finished, leaving by an exception marks it failed.

        Raises:
            RunExists: A run that was to be created already exists, or a run to be enriched is complete already.
        """

    def delete(self, run: RunState) -> None:
        """Delete a run that has been replaced by a verified one."""

    def keep(self, run: RunState) -> None:
        """Mark a run that has been replaced by a verified one, so that it no longer counts, instead of deleting it."""

    def link(self, job: Job, collection: str, aliases: Collection[str]) -> None:
        """Link the job's model artifact to `REGISTRY/COLLECTION`."""

    def point_latest(self, jobs: Iterable[Job]) -> None:
        """Move the alias `latest` to the model artifact of the newest job, unless it already points to a newer one."""


class ReportSink(Protocol):
    """Reads the runs that a report covers and writes the report; raises `AuthError` and `Unavailable` as `RunSink`."""

    @property
    def place(self) -> str:
        """The project's name as it appears in messages."""

    def held(self) -> Iterator[Held]:
        """Yield the runs that were made from jobs, including replaced ones.

        Raises:
            NotFound: The project does not exist.
        """

    def write(self, heading: Heading, outline: Outline) -> tuple[str, str, bool]:
        """Create or update the report and the workspace view; return their URLs and whether the report is new."""


class Clock(Protocol):
    """A clock, so that tests can wait without real time passing."""

    def now(self) -> float:
        """Return a monotonic time in seconds."""

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`.

        Raises:
            Stopped: `stop` was called before or during the wait.
        """

    def stop(self) -> None:
        """Make every current and future `sleep` raise `Stopped`."""
