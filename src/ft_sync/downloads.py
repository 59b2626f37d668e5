"""Training and validation files on disk while a command needs them: downloaded once, gone afterwards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ft_sync.errors import REFUSALS, FtSyncError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ft_sync.models import Download, FileId, Job
    from ft_sync.ports import JobSource


@dataclass(slots=True)
class Downloads:
    """Files of `source` in `folder`; expect the jobs that will ask for some, and say when each is done."""

    source: JobSource
    folder: Path
    _users: Counter[FileId] = field(default_factory=Counter)
    _answers: dict[FileId, Download | FtSyncError] = field(default_factory=dict)

    def expect(self, jobs: Iterable[Job]) -> None:
        """Keep the files of these jobs until the last of them is done."""
        for job in jobs:
            self._users.update(_files(job))

    def get(self, file_id: FileId) -> Download:
        """Return the file, downloaded when first asked for.

        Raises:
            NotFound, Forbidden, Refused: The service will not give it, and is not asked again.
            Unavailable: It could not be had this time.
        """
        if file_id not in self._answers:
            try:
                self._answers[file_id] = self.source.download(file_id, self.folder / str(len(self._answers)))
            except REFUSALS as error:
                self._answers[file_id] = error
        answer = self._answers[file_id]
        if isinstance(answer, FtSyncError):
            raise answer
        return answer

    def done(self, job: Job) -> None:
        """Remove the files that no expected job will ask for."""
        for file_id in _files(job):
            self._users[file_id] -= 1
            answer = self._answers.get(file_id)
            if self._users[file_id] <= 0 and answer is not None and not isinstance(answer, FtSyncError):
                answer.path.unlink()
                del self._answers[file_id]


def _files(job: Job) -> set[FileId]:
    return {file_id for file_id in (job.training_file, job.validation_file) if file_id is not None}
