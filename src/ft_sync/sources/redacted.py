"""A `JobSource` that removes the user's keys from all that another one serves.

Whatever is written to a run or printed comes through here, from an archive, too. An archive is written without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ft_sync.models import Failed
from ft_sync.redaction import redacted
from ft_sync.result_text import without_keys
from ft_sync.sources.objects import checkpoint_from, event_from, file_from, job_from, listed_from
from ft_sync.spool import each

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from ft_sync.models import Checkpoint, Download, File, FileId, Job, JobEvent, JobId, JsonObject
    from ft_sync.ports import JobSource

    _Read = TypeVar("_Read", Job, JobEvent, Checkpoint, File)


class RedactedSource:
    """Serves what `source` serves, without keys; training and validation files are served as they are."""

    def __init__(self, source: JobSource) -> None:
        self._source = source

    def jobs(self, *, limit: int | None = None) -> Iterator[Job | Failed]:
        """Yield jobs newest first."""
        for position, job in enumerate(self._source.jobs(limit=limit), 1):
            if isinstance(job, Failed) or (raw := redacted(job.raw)) is job.raw:
                yield job
            else:
                yield listed_from(raw, position)

    def job(self, job_id: JobId) -> Job:
        """Return one job."""
        return _without_keys(self._source.job(job_id), job_from)

    def events(self, job_id: JobId, *, after: str | None = None, limit: int | None = None) -> Collection[JobEvent]:
        """Return the events newer than `after`, oldest first, at most the `limit` newest."""
        events = self._source.events(job_id, after=after, limit=limit)
        # Looked through once, since a long list of events is read again and again, each time from disk.
        if all(redacted(event.raw) is event.raw for event in events):
            return events
        return each(lambda event: _without_keys(event, event_from), events)

    def checkpoints(self, job_id: JobId) -> tuple[Checkpoint, ...]:
        """Return the job's checkpoints, in the order of the service."""
        return tuple(_without_keys(one, checkpoint_from) for one in self._source.checkpoints(job_id))

    def file(self, file_id: FileId) -> File:
        """Return a file's description."""
        return _without_keys(self._source.file(file_id), lambda raw: file_from(file_id, raw))

    def content(self, file_id: FileId, *, limit: int) -> bytes | None:
        """Return a result file's content; None if it is larger than `limit` bytes."""
        content = self._source.content(file_id, limit=limit)
        return None if content is None else without_keys(content)

    def download(self, file_id: FileId, to: Path) -> Download:
        """Stream a file's content to `to`, byte for byte."""
        return self._source.download(file_id, to)


def _without_keys(served: _Read, read: Callable[[JsonObject], _Read]) -> _Read:
    """Read an object anew from its JSON without keys; one that holds none is returned as it is."""
    raw = redacted(served.raw)
    return served if raw is served.raw else read(raw)
