"""An archive as a `JobSource`: serves again what the service once served, including its refusals; no network."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

from ft_sync.errors import NotFound
from ft_sync.models import Download, JobId
from ft_sync.sources.objects import checkpoint_from, event_from, file_from, job_from
from ft_sync.spool import made

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from ft_sync.archives import Archive, Kind
    from ft_sync.models import Checkpoint, File, FileId, Job, JobEvent


class ArchiveSource:
    """Reads jobs, events, checkpoints and files from an archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def jobs(self, *, limit: int | None = None) -> Iterator[Job]:
        """Yield jobs newest first."""
        jobs = [self.job(JobId(name)) for name in self._archive.entries("job")]
        yield from sorted(jobs, key=lambda job: job.newness, reverse=True)[:limit]

    def job(self, job_id: JobId) -> Job:
        """Return one job."""
        if self._archive.entry("job", job_id) is None:
            raise NotFound(
                f"the archive {self._archive.folder} has no job {job_id}",
                hint=f"`ftsync list --all --from-archive {self._archive.folder}` shows those that it has",
            )
        return job_from(self._json("job", job_id))

    def events(self, job_id: JobId, *, after: str | None = None, limit: int | None = None) -> Collection[JobEvent]:
        """Return the events newer than `after`, oldest first, at most the `limit` newest."""
        lines = self._archive.lines("events", job_id)

        def events() -> Iterator[JobEvent]:
            return map(event_from, map(json.loads, lines))

        known = 0 if after is None else next((no for no, event in enumerate(events(), 1) if event.id == after), 0)
        begin = known if limit is None else max(known, len(lines) - limit)
        return made(len(lines) - begin, lambda: islice(events(), begin, None))

    def checkpoints(self, job_id: JobId) -> tuple[Checkpoint, ...]:
        """Return the job's checkpoints, in the order of the service."""
        return tuple(checkpoint_from(json.loads(line)) for line in self._archive.lines("checkpoints", job_id))

    def file(self, file_id: FileId) -> File:
        """Return a file's description."""
        return file_from(file_id, self._json("file", file_id))

    def content(self, file_id: FileId, *, limit: int) -> bytes | None:
        """Return a file's content; None if it is larger than `limit` bytes."""
        is_small = self._archive.stored("content", file_id).bytes <= limit
        return self._archive.read("content", file_id) if is_small else None

    def download(self, file_id: FileId, to: Path) -> Download:
        """Copy a file's content to `to`."""
        stored = self._archive.copy(file_id, to)
        return Download(to, stored.bytes, stored.sha256)

    def _json(self, kind: Kind, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self._archive.read(kind, name))
        return content
