"""Brings an archive up to date: what a source has of the selected jobs and the archive has not; one job costs no other.

As in a sync one thread decides and workers fetch; an interruption lets what is being fetched come to its end.
"""

from __future__ import annotations

import json
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

from ft_sync import events
from ft_sync.archives import Missing, Stored, unwritable
from ft_sync.errors import REFUSALS, FtSyncError, NotFound, NotOffered, Stopped, Unavailable, unexpected
from ft_sync.interruption import in_order
from ft_sync.models import Archived, ArchiveReport, Failed, File, Lost
from ft_sync.once import Once
from ft_sync.planning import selected
from ft_sync.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ft_sync.archives import ArchiveWriter, Kind
    from ft_sync.events import Observer
    from ft_sync.models import ArchiveOutcome, Checkpoint, Download, FileId, Job, JobEvent, JobId
    from ft_sync.planning import Selection
    from ft_sync.ports import Clock, JobSource


def archive(  # noqa: PLR0913, PLR0917 - who takes part
    source: JobSource,
    folder: ArchiveWriter,
    clock: Clock,
    selection: Selection,
    concurrency: int,
    observe: Observer,
) -> ArchiveReport:
    """Bring every selected job into the archive, whatever its status.

    A job that has ended and is there already, as it is listed now, costs no request.

    Raises:
        KeyboardInterrupt: After what was being fetched has come to its end.
    """
    with Workers["ArchiveOutcome"](concurrency) as workers:
        work = _Work(source, folder, clock, selection, observe, workers)
        return in_order(work.carry_through, work.interrupt)


class _Work:
    """One archiving at work: who takes part, and the outcomes so far."""

    def __init__(  # noqa: PLR0913, PLR0917 - who takes part
        self,
        source: JobSource,
        folder: ArchiveWriter,
        clock: Clock,
        selection: Selection,
        observe: Observer,
        workers: Workers[ArchiveOutcome],
    ) -> None:
        self.source, self.archive, self.clock, self.selection = source, folder, clock, selection
        self.observe, self.workers = observe, workers
        self.files: Once[FileId, bool] = Once()
        self.outcomes: dict[JobId, ArchiveOutcome] = {}

    def carry_through(self) -> ArchiveReport:
        chosen = selected(self.source, self.selection)
        self.observe(events.Selected(len(chosen.jobs) + len(chosen.unreadable), "archive"))
        for failed in chosen.unreadable:
            self.settle(failed)
        try:
            for job in chosen.jobs:
                self.workers.start(partial(self.bring, job))
            while self.workers.busy:
                self.settle(self.workers.next())
        except (KeyboardInterrupt, Stopped) as error:
            self.observe(events.Interrupted())
            self.workers.drop_waiting()
            for outcome in self.workers.drain():
                self.settle(outcome)
            raise KeyboardInterrupt from error
        ids = [*(failed.job_id for failed in chosen.unreadable), *(job.id for job in chosen.jobs)]
        return ArchiveReport(tuple(self.outcomes[job_id] for job_id in dict.fromkeys(ids)))

    def interrupt(self) -> bool:
        """Have the work end in order, from another thread; return whether there is anything to bring to its end."""
        self.clock.stop()
        self.workers.interrupt()
        return self.workers.busy > 0

    def settle(self, outcome: ArchiveOutcome | None) -> None:
        if outcome is not None:
            self.outcomes[outcome.job_id] = outcome
            self.observe(events.JobArchived(outcome))

    def bring(self, job: Job) -> ArchiveOutcome:
        """Bring a job and all that belongs to it; a part that cannot be had for now costs no other."""
        files = dict.fromkeys(filter(None, (*job.result_files, job.training_file, job.validation_file)))
        parts = [partial(self.bring_description, job), *(partial(self.bring_shared, file_id) for file_id in files)]
        is_news = False
        failures: list[FtSyncError] = []
        for part in parts:
            try:
                is_news |= part()
            except FtSyncError as error:
                failures.append(error)
            except OSError as error:
                failures.append(unwritable(self.archive.folder, error))
            except Exception as error:  # noqa: BLE001 - a bug met in one job must not cost the others
                failures.append(unexpected(error))
        if failures:
            return Failed(job.id, failures[0])
        return Archived(job.id, job.status, is_news, tuple(self.lost(job, files)))

    def bring_description(self, job: Job) -> bool:
        """Bring a job with its events and checkpoints; return whether there was anything new."""
        content = json.dumps(job.raw, indent=2).encode()
        is_known = self.archive.holds("job", job.id, content)
        if is_known and job.is_finished and not (self.lacks("events", job.id) or self.lacks("checkpoints", job.id)):
            return False
        is_news = self.bring_lines("events", job, lambda: self.source.events(job.id))
        is_news |= self.bring_lines("checkpoints", job, lambda: self.source.checkpoints(job.id))
        # Last: a job that is there as it is listed has the others there, too.
        return self.archive.store("job", job.id, [content]) or is_news

    def bring_lines(self, kind: Kind, job: Job, ask: Callable[[], Iterable[JobEvent | Checkpoint]]) -> bool:
        try:
            listed = ask()
        except REFUSALS as error:
            self.archive.note(kind, job.id, error)
            return False
        return self.archive.store(kind, job.id, (json.dumps(one.raw).encode() + b"\n" for one in listed))

    def bring_shared(self, file_id: FileId) -> bool:
        """Bring a file that other jobs may have, too, once."""
        return self.files.get(file_id, lambda: self.bring_file(file_id))

    def bring_file(self, file_id: FileId) -> bool:
        """Bring a file and its description; return whether there was anything new."""
        if not (self.lacks("file", file_id) or self.lacks("content", file_id)):
            return False
        file = File(file_id)
        is_news = False
        try:
            file = self.source.file(file_id)
            is_news = self.archive.store("file", file_id, [json.dumps(file.raw, indent=2).encode()])
        except REFUSALS as error:
            self.archive.note("file", file_id, error)
        if not self.lacks("content", file_id):
            return is_news
        try:
            download = self.source.download(file_id, self.archive.partial(file_id))
        except REFUSALS as error:
            self.archive.note("content", file_id, error)
            return is_news
        _check_size(file, download)
        self.archive.adopt(file_id, download, file.filename)
        return True

    def lacks(self, kind: Kind, name: str) -> bool:
        """Whether something is to be asked for: what is not known to the service will not come back."""
        match self.archive.entry(kind, name):
            case Missing(error=error):
                return error not in {NotFound.__name__, NotOffered.__name__}
            case Stored() as stored:
                return not self.archive.path(stored).is_file()
            case _:
                return True

    def lost(self, job: Job, files: Iterable[FileId]) -> Iterator[Lost]:
        """Yield what belongs to a job and is not to be had."""
        of_job: tuple[Kind, ...] = ("events", "checkpoints")
        of_file: tuple[Kind, ...] = ("file", "content")
        for kind, name in (*product(of_job, [job.id]), *((kind, name) for name in files for kind in of_file)):
            if isinstance(entry := self.archive.entry(kind, name), Missing):
                is_kept = kind not in of_job or entry.error != NotOffered.__name__
                yield Lost(kind, name, entry.message, is_kept)


def _check_size(file: File, download: Download) -> None:
    """Refuse a body that has ended before the file does.

    It may be longer: some services serve base64, and some do not know the size and say 0.

    Raises:
        Unavailable: It is to be asked for again, from its beginning.
    """
    if file.size is not None and download.size < file.size:
        download.path.unlink()
        raise Unavailable(
            f"file {file.id} came with {download.size} of {file.size} bytes", hint="run the same command again"
        )
