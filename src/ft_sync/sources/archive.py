"""An archive as a `JobSource`: serves again what the service once served, including its refusals; no network.

What cannot be read affects only itself, as with a service: a job is a `Failed`, and an event that is no JSON object is
kept as an event.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, cast

from ft_sync.errors import BadData, FtSyncError, NotFound, Refused
from ft_sync.models import Download, Failed, JobId
from ft_sync.sources.objects import checkpoint_from, entry_from, event_from, file_from, job_from, parse
from ft_sync.spool import made

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from ft_sync.archives import Archive, Kind
    from ft_sync.models import Checkpoint, File, FileId, Job, JobEvent, JsonObject


MOST_OBJECTS = 1_000_000
"""Maximum number of objects and lists in a file or line, as in the answer of a service: each takes much memory."""


class ArchiveSource:
    """Reads jobs, events, checkpoints and files from an archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def jobs(self, *, limit: int | None = None) -> Iterator[Job | Failed]:
        """Yield what cannot be read, whose age nobody knows, then jobs newest first; the limit is on those."""
        yield from self._archive.unreadable
        jobs: list[Job] = []
        for name in self._archive.entries("job"):
            try:
                jobs.append(self.job(JobId(name)))
            except FtSyncError as error:
                yield Failed(JobId(name), error)
        yield from sorted(jobs, key=lambda job: job.newness, reverse=True)[:limit]

    def job(self, job_id: JobId) -> Job:
        """Return one job."""
        if self._archive.entry("job", job_id) is None:
            raise NotFound(
                f"the archive {self._archive.folder} has no job {job_id}",
                hint=f"`ftsync list --all --from-archive {self._archive.folder}` shows those that it has",
            )
        try:
            job = job_from(self._object("job", job_id))
        except Refused as error:
            raise self._unreadable("job", job_id, f"cannot be read: {error.message}") from error
        if job.id != job_id:
            raise self._unreadable("job", job_id, f"is that of another job, {job.id}")
        return job

    def events(self, job_id: JobId, *, after: str | None = None, limit: int | None = None) -> Collection[JobEvent]:
        """Return the events newer than `after`, oldest first, at most the `limit` newest."""
        lines = self._archive.lines("events", job_id)

        def events() -> Iterator[JobEvent]:
            return map(event_from, map(_entry, lines))

        known = 0 if after is None else next((no for no, event in enumerate(events(), 1) if event.id == after), 0)
        begin = known if limit is None else max(known, len(lines) - limit)
        return made(len(lines) - begin, lambda: islice(events(), begin, None))

    def checkpoints(self, job_id: JobId) -> tuple[Checkpoint, ...]:
        """Return the job's checkpoints, in the order of the service."""
        return tuple(map(checkpoint_from, map(_entry, self._archive.lines("checkpoints", job_id))))

    def file(self, file_id: FileId) -> File:
        """Return a file's description."""
        return file_from(file_id, self._object("file", file_id))

    def content(self, file_id: FileId, *, limit: int) -> bytes | None:
        """Return a file's content; None if it is larger than `limit` bytes."""
        is_small = self._archive.stored("content", file_id).bytes <= limit
        return self._archive.read("content", file_id) if is_small else None

    def download(self, file_id: FileId, to: Path) -> Download:
        """Copy a file's content to `to`."""
        stored = self._archive.copy(file_id, to)
        return Download(to, stored.bytes, stored.sha256)

    def _object(self, kind: Kind, name: str) -> JsonObject:
        try:
            found = _parsed(self._archive.read(kind, name))
        except ValueError as error:
            raise self._unreadable(kind, name, "is no JSON") from error
        if not isinstance(found, dict):
            raise self._unreadable(kind, name, "is no JSON object")
        return cast("JsonObject", found)

    def _unreadable(self, kind: Kind, name: str, fault: str) -> BadData:
        path = self._archive.folder / self._archive.place(kind, name)
        return BadData(f"{path} {fault}", hint="restore it from a backup, or remove it and run `ftsync archive` again")


def _entry(line: bytes) -> JsonObject:
    try:
        served = _parsed(line)
    except ValueError:
        served = line.decode(errors="replace").rstrip("\n")
    return entry_from(served)


def _parsed(content: bytes) -> object:
    if content.count(b"{") + content.count(b"[") > MOST_OBJECTS:
        raise ValueError(f"more than {MOST_OBJECTS:,} objects and lists")
    return parse(content)
