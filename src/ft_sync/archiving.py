"""Brings an archive up to date with a source, fetching only what is missing or changed; checks what it lacks.

As in a sync, one thread decides and workers fetch. A job that fails does not stop the others, and after an interruption
the fetches in progress are completed.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from ft_sync import events
from ft_sync.archives import Missing, Stored, unwritten
from ft_sync.errors import REFUSALS, FtSyncError, NotFound, NotOffered, Stopped, Unavailable, unexpected
from ft_sync.interruption import in_order
from ft_sync.models import Archived, ArchiveReport, Failed, File, Lost
from ft_sync.once import Once
from ft_sync.planning import selected
from ft_sync.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ft_sync.archives import Archive, ArchiveWriter, Kind, Problem
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
    """Archive every selected job, whatever its status.

    A finished job that is archived already and unchanged in the listing costs no further request.

    Raises:
        KeyboardInterrupt: Interrupted; raised after the fetches in progress have ended.
    """
    with Workers["ArchiveOutcome"](concurrency) as workers:
        work = _Work(source, folder, clock, selection, observe, workers)
        return in_order(work.carry_through, work.interrupt)


def check(archive: Archive, source: JobSource) -> Iterator[Problem]:
    """Read a whole archive again and yield what is damaged, unknown or missing; `source` serves the archive's jobs."""
    named = set()
    for path, fault in archive.check():
        named.add(path)
        yield path, fault
    for path, fault in _lacking(archive, source):
        if path not in named:
            named.add(path)
            yield path, fault


def _lacking(archive: Archive, source: JobSource) -> Iterator[Problem]:
    """Yield what the service refused, jobs that cannot be read, and what jobs refer to but nobody has stored."""
    for entry in archive.missing():
        if entry.is_kept:
            yield archive.place(entry.kind, entry.id), f"{_what(entry.kind)} refused by the service: {entry.message}"
    for one in source.jobs():
        if isinstance(one, Failed):
            if archive.entry("job", one.job_id):  # and no line of the manifest
                yield archive.place("job", one.job_id), one.error.message
            continue
        for kind, name in _parts(one):
            if archive.entry(kind, name) is None:
                yield archive.place(kind, name), f"{_what(kind)} never stored, but belongs to {one.id}"


def _what(kind: Kind) -> str:
    return "its content was" if kind == "content" else "was"


def _files(job: Job) -> tuple[FileId, ...]:
    return tuple(dict.fromkeys(filter(None, (*job.result_files, job.training_file, job.validation_file))))


def _parts(job: Job) -> Iterator[tuple[Kind, str]]:
    """Yield everything that belongs to a job."""
    yield "events", job.id
    yield "checkpoints", job.id
    for file_id in _files(job):
        yield "file", file_id
        yield "content", file_id


class _Work:
    """An archiving in progress: the collaborators and the outcomes so far."""

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
        unreadable = (*self.archive.unreadable, *chosen.unreadable)
        self.observe(events.Selected(len(chosen.jobs) + len(unreadable), "archive"))
        for failed in unreadable:
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
        ids = [*(failed.job_id for failed in unreadable), *(job.id for job in chosen.jobs)]
        return ArchiveReport(tuple(self.outcomes[job_id] for job_id in dict.fromkeys(ids)))

    def interrupt(self) -> bool:
        """Ask the work to end in order (called from another thread); return whether any task is still running."""
        self.clock.stop()
        self.workers.interrupt()
        return self.workers.busy > 0

    def settle(self, outcome: ArchiveOutcome | None) -> None:
        if outcome is not None:
            self.outcomes[outcome.job_id] = outcome
            self.observe(events.JobArchived(outcome))

    def bring(self, job: Job) -> ArchiveOutcome:
        """Archive a job and everything that belongs to it; a part that fails for now does not stop the others."""
        files = (partial(self.bring_shared, file_id) for file_id in _files(job))
        is_news = False
        failures: list[FtSyncError] = []
        for part in (partial(self.bring_description, job), *files):
            try:
                is_news |= part()
            except FtSyncError as error:
                failures.append(error)
            except OSError as error:
                failures.append(unwritten(self.archive.folder, error))
            except Exception as error:  # noqa: BLE001 - a bug met in one job must not cost the others
                failures.append(unexpected(error))
        if failures:
            return Failed(job.id, failures[0])
        return Archived(job.id, job.status, is_news, tuple(self.lost(job)))

    def bring_description(self, job: Job) -> bool:
        """Archive a job with its events and checkpoints; return whether anything was new."""
        content = json.dumps(job.raw, indent=2).encode()
        is_known = self.archive.holds("job", job.id, content)
        if is_known and job.is_finished and not (self.lacks("events", job.id) or self.lacks("checkpoints", job.id)):
            return False
        is_news = self.bring_lines("events", job, lambda: self.source.events(job.id))
        is_news |= self.bring_lines("checkpoints", job, lambda: self.source.checkpoints(job.id))
        # Job last: if the archived job equals the listed one, its events and checkpoints are archived, too.
        return self.archive.store("job", job.id, [content]) or is_news

    def bring_lines(self, kind: Kind, job: Job, ask: Callable[[], Iterable[JobEvent | Checkpoint]]) -> bool:
        try:
            listed = ask()
        except REFUSALS as error:
            self.archive.note(kind, job.id, error)
            return False
        return self.archive.store(kind, job.id, (json.dumps(one.raw).encode() + b"\n" for one in listed))

    def bring_shared(self, file_id: FileId) -> bool:
        """Archive a file once, although several jobs may share it."""
        return self.files.get(file_id, lambda: self.bring_file(file_id))

    def bring_file(self, file_id: FileId) -> bool:
        """Archive a file and its description; return whether anything was new."""
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
        """Whether an item must be fetched: not if it is stored, or if the service answered "not found" before."""
        match self.archive.entry(kind, name):
            case Missing(error=error):
                return error not in {NotFound.__name__, NotOffered.__name__}
            case Stored() as stored:
                return not self.archive.is_there(stored)
            case _:
                return True

    def lost(self, job: Job) -> Iterator[Lost]:
        """Yield the parts of a job that the service refused."""
        for kind, name in _parts(job):
            if isinstance(entry := self.archive.entry(kind, name), Missing):
                yield Lost(kind, name, entry.message, entry.is_kept)


def _check_size(file: File, download: Download) -> None:
    """Refuse a download that is shorter than the file's stated size, and delete it.

    It may be longer: some services serve base64, and some state the size 0.

    Raises:
        Unavailable: The download is too short; the next attempt starts from the beginning.
    """
    if file.size is not None and download.size < file.size:
        download.path.unlink()
        raise Unavailable(
            f"file {file.id} came with {download.size} of {file.size} bytes", hint="run the same command again"
        )
