"""Reads one job from the source, converts it and writes its run; verifying the run is the engine's task."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ft_sync import convert
from ft_sync.errors import REFUSALS, IdTaken, NotOffered
from ft_sync.events import Advanced, Noted, Observer, Started
from ft_sync.models import NO_CONTENT, OF_SERVICE, Enrich, Extend, Synced
from ft_sync.plan import under_next_id
from ft_sync.results import last_values
from ft_sync.snapshot import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from ft_sync.content import RunContent
    from ft_sync.downloads import Downloads
    from ft_sync.models import Download, FileId, MetricRow, RunRecord, TrainingFile, Write
    from ft_sync.ports import JobSource, RunSink, RunWriter

_Result = TypeVar("_Result")

Datasets: TypeAlias = "list[tuple[TrainingFile, Download | None]]"
"""Training and validation files, each with its download; None if W&B already holds the file."""

IDS_TRIED = 20
"""Number of run ids to pass over because W&B refuses them as ids of deleted runs; an error for the next id is final."""


class Writer:
    """Writes runs; thread-safe.

    At most `concurrency` jobs are written at a time, while as many others are read and further runs are being closed,
    so that neither service has to wait for the other.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - who takes part
        self,
        source: JobSource,
        sink: RunSink,
        downloads: Downloads,
        observe: Observer,
        log_datasets: bool,
        concurrency: int,
    ) -> None:
        self._source, self._sink, self._downloads, self._observe = source, sink, downloads, observe
        self._log_datasets = log_datasets
        self._reading = threading.Semaphore(concurrency)
        self._writing = threading.Semaphore(concurrency)
        self._told: set[str] = set()
        self._telling = threading.Lock()

    def write(self, step: Write) -> tuple[Write, Synced, RunContent]:
        """Write the run of a job, under another run id if the planned one is taken.

        Returns:
            The plan that was carried out, the job's outcome provided that the run is verified, and what W&B should
            hold of the run.
        """
        with self._reading:
            self._observe(Started(step))
            self._observe(Advanced(step.job.id, "reading"))
            known = snapshot(self._source, step.job, self._sink.described)
            datasets, missing = self._datasets(known.training_files)
            record = convert.record(known, missing)
        with ExitStack() as opened:
            with self._writing:
                inputs = [file for file, _ in datasets]
                step, rows, run = under_free_id(step, lambda step: begun(step, record, inputs, self._sink, opened))
                self._observe(Advanced(step.job.id, "metrics", run.url, last_values(record.rows)))
                # The model goes first: W&B processes it while the rest is being uploaded.
                run.log_model(record, inputs)
                run.save(record.files)
                run.log(rows)
            # The rest is mostly waiting for W&B to process the uploads; the next job is written during that time.
            self._observe(Advanced(step.job.id, "datasets"))
            notes = (*record.notes, *self._use(run, datasets))
            self._observe(Advanced(step.job.id, "model"))
            # Log lines have no ids, so a run in which some are missing between others cannot be resumed. Writing them
            # late keeps interrupted runs resumable.
            run.log_events(record.log)
            content = run.complete(record)
            url = run.url
        for note in self._news(notes):
            self._observe(Noted(step.job.id, note))
        held = (step.run.rows or 0) if isinstance(step, Enrich) else len(record.rows)
        return step, Synced(step.job.id, step.job.status, step.run_id, held, step.reason, url, notes), content

    def _news(self, notes: Iterable[str]) -> list[str]:
        """Return the notes without those about the service that were already reported for another job."""
        with self._telling:
            news = [note for note in notes if note not in self._told]
            self._told |= OF_SERVICE.intersection(news)
        return news

    def _use(self, run: RunWriter, datasets: Datasets) -> Iterator[str]:
        """Log the files as inputs of the run, and yield notes about broken ones."""
        for file, download in datasets:
            summary = run.use_dataset(file, download)
            if summary.broken:
                lines = ", ".join(map(str, summary.broken_lines))
                yield f"{file.split} file {file.id}: {summary.broken} lines are no JSON objects: {lines}"

    def _datasets(self, files: Iterable[TrainingFile]) -> tuple[Datasets, dict[FileId, str]]:
        """Return the available files with their downloads, and for each unavailable file the reason."""
        datasets: Datasets = []
        missing: dict[FileId, str] = {}
        for file in files if self._log_datasets else ():
            if self._sink.dataset(file) is not None:
                datasets.append((file, None))
                continue
            try:
                datasets.append((file, self._downloads.get(file.id)))
            except NotOffered:
                missing[file.id] = NO_CONTENT
            except REFUSALS as error:
                missing[file.id] = error.message
        return datasets, missing


def remaining(
    step: Write, record: RunRecord, inputs: Collection[TrainingFile], sink: RunSink
) -> tuple[Any, Iterable[MetricRow]]:
    """Return the final plan for the record, and the rows that the run lacks.

    An `Extend` becomes its `otherwise` if the run's content is not a prefix of the record.
    """
    match step:
        case Enrich():
            return step, ()
        case Extend():
            held = sink.held_rows(step.run, record, inputs)
            return (step.otherwise, record.rows) if held is None else (step, islice(record.rows, held, None))
        case _:
            return step, record.rows


def begun(
    step: Write, record: RunRecord, inputs: Collection[TrainingFile], sink: RunSink, opened: ExitStack
) -> tuple[Write, Iterable[MetricRow], RunWriter]:
    """Open the run of a job, to be closed by `opened`; return the final plan, the missing rows and the run."""
    step, rows = remaining(step, record, inputs, sink)
    return step, rows, opened.enter_context(sink.open(step, record))


def under_free_id(step: Write, write: Callable[[Any], _Result]) -> _Result:
    """Call `write` with the step; as long as its run id is taken, try the next id.

    Raises:
        IdTaken: All ids tried were taken, or the step is an `Enrich`, which cannot use another run.
    """
    for _ in range(IDS_TRIED):
        try:
            return write(step)
        except IdTaken:
            if isinstance(step, Enrich):
                raise
            step = under_next_id(step)
    return write(step)
