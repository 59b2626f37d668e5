"""Downloads training and validation files once each and deletes them when no job needs them any more."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from typing import TYPE_CHECKING

from ft_sync.errors import REFUSALS, FtSyncError
from ft_sync.once import Once

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ft_sync.models import Download, FileId, Job
    from ft_sync.ports import JobSource


class Downloads:
    """Files of `source` in `folder`, reference-counted by job: call `expect` first and `done` after each job."""

    def __init__(self, source: JobSource, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._names = itertools.count()
        self._lock = threading.Lock()
        self._users: Counter[FileId] = Counter()
        self._answers: Once[FileId, Download | FtSyncError] = Once()

    def expect(self, jobs: Iterable[Job]) -> None:
        """Register jobs: their files are kept until `done` has been called for the last job that uses them."""
        with self._lock:
            for job in jobs:
                self._users.update(_files(job))

    def get(self, file_id: FileId) -> Download:
        """Return the file, downloading it at the first call.

        Raises:
            NotFound, Forbidden, Refused: The service will not give the file; cached, so it is not asked again.
            Unavailable: The download failed; a later call tries again.
        """
        answer = self._answers.get(file_id, lambda: self._ask(file_id))
        if isinstance(answer, FtSyncError):
            raise answer
        return answer

    def done(self, job: Job) -> None:
        """Delete those files of the job that no other registered job needs."""
        with self._lock:
            self._users.subtract(_files(job))
            for file_id in [file_id for file_id in _files(job) if self._users[file_id] <= 0]:
                answer = self._answers.known(file_id)
                if answer is not None and not isinstance(answer, FtSyncError):
                    answer.path.unlink()
                    self._answers.forget(file_id)

    def _ask(self, file_id: FileId) -> Download | FtSyncError:
        try:
            return self._source.download(file_id, self._folder / str(next(self._names)))
        except REFUSALS as error:
            return error


def _files(job: Job) -> set[FileId]:
    return {file_id for file_id in (job.training_file, job.validation_file) if file_id is not None}
