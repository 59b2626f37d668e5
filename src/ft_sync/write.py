"""One job, from the source into its run: read, convert, write; whether it arrived is asked elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ft_sync import convert
from ft_sync.errors import REFUSALS, IdTaken
from ft_sync.events import Advanced, Noted, Observer, Started
from ft_sync.models import Enrich, Extend, Synced
from ft_sync.plan import under_next_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ft_sync.downloads import Downloads
    from ft_sync.models import Download, FileId, MetricRow, RunRecord, TrainingFile, Write
    from ft_sync.ports import JobSource, RunSink, RunWriter

_Result = TypeVar("_Result")

IDS_TRIED = 3
"""Run ids that are given up, because deleted runs had them, before the next one has to do."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes runs, with the training and validation files if `log_datasets`; by several threads at once."""

    source: JobSource
    sink: RunSink
    downloads: Downloads
    observe: Observer
    log_datasets: bool

    def write(self, step: Write) -> tuple[Write, Synced]:
        """Write the run of a job, under the next id if this one cannot be had.

        Returns:
            What was done in the end, and the outcome, which holds only once it is verified.
        """
        return under_free_id(step, self._write)

    def _write(self, step: Write) -> tuple[Write, Synced]:
        job = step.job
        self.observe(Started(step))
        self.observe(Advanced(job.id, "reading"))
        snapshot = self.source.snapshot(job)
        datasets, missing = self._datasets(snapshot.training_files)
        record = convert.record(snapshot, missing)
        step, rows = remaining(step, record, self.sink)
        was_enriched = isinstance(step, Enrich) and step.run.mark is not None
        notes = list(record.notes)
        with self.sink.open(step, record) as run:
            # The model and the files first: W&B takes them in while the rest is being sent.
            run.log_model(record, [file for file, _ in datasets])
            run.save(record.files)
            self.observe(Advanced(job.id, "metrics"))
            for row in rows:
                run.log(row)
            self.observe(Advanced(job.id, "datasets"))
            notes += self._use(run, datasets)
            self.observe(Advanced(job.id, "model"))
            # Late, since lines cannot be told apart: a run that was cut off before is gone on with and has none.
            if not was_enriched:
                run.log_events(record.log)
            run.complete(record)
            url = run.url
        for note in notes:
            self.observe(Noted(job.id, note))
        held = (step.run.rows or 0) if isinstance(step, Enrich) else len(record.rows)
        return step, Synced(job.id, job.status, step.run_id, held, step.reason, url, tuple(notes))

    def _datasets(
        self, files: Iterable[TrainingFile]
    ) -> tuple[list[tuple[TrainingFile, Download | None]], dict[FileId, str]]:
        """Return the files with their downloads, None for one that W&B holds; and why others cannot be had."""
        datasets: list[tuple[TrainingFile, Download | None]] = []
        missing: dict[FileId, str] = {}
        for file in files if self.log_datasets else ():
            if self.sink.dataset(file) is not None:
                datasets.append((file, None))
                continue
            try:
                datasets.append((file, self.downloads.get(file.id)))
            except REFUSALS as error:
                missing[file.id] = error.message
        return datasets, missing

    def _use(self, run: RunWriter, datasets: Iterable[tuple[TrainingFile, Download | None]]) -> list[str]:
        """Make the files inputs of the run, and return what is to be noted of them."""
        notes = []
        for file, download in datasets:
            summary = run.use_dataset(file, download)
            if summary.broken:
                lines = ", ".join(map(str, summary.broken_lines))
                notes.append(f"{file.split} file {file.id}: {summary.broken} lines are no JSON objects: {lines}")
        return notes


def remaining(step: Write, record: RunRecord, sink: RunSink) -> tuple[Any, tuple[MetricRow, ...]]:
    """Return how the record is to be written, now that it is known, and the rows that the run lacks."""
    match step:
        case Enrich():
            return step, ()
        case Extend():
            held = sink.held_rows(step.run, record)
            return (step.otherwise, record.rows) if held is None else (step, record.rows[held:])
        case _:
            return step, record.rows


def under_free_id(step: Write, write: Callable[[Any], _Result]) -> _Result:
    """Write under the step's run id or, where that cannot be had, under one of the next."""
    for _ in range(IDS_TRIED):
        try:
            return write(step)
        except IdTaken:
            if isinstance(step, Enrich):
                raise
            step = under_next_id(step)
    return write(step)
