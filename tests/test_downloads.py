"""Files on disk while they are needed: downloaded once for many jobs at a time, and gone after the last."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from ft_sync.downloads import Downloads
from ft_sync.errors import AuthError, Forbidden, FtSyncError, NotFound, Refused, Unavailable
from ft_sync.models import FileId
from tests.builders import job
from tests.fakes import EXAMPLE, FakeSource, wait_for_company

if TYPE_CHECKING:
    from pathlib import Path

    from ft_sync.models import Download, Job

FILE = FileId("file-train")
THREADS = 6


class Setting:
    """Downloads of a source in memory into a folder."""

    def __init__(self, folder: Path, *jobs: Job) -> None:
        self.source = FakeSource()
        self.downloads = Downloads(self.source, folder)
        self.downloads.expect(jobs)

    @property
    def asked(self) -> int:
        return self.source.asked.count(f"download {FILE}")

    def by_many(self) -> list[Download | FtSyncError]:
        """What threads that ask at the same time get, a file or an error."""
        self.source.happens = lambda _: wait_for_company(self.downloads._answers, FILE, THREADS - 1)

        def get(_: int) -> Download | FtSyncError:
            try:
                return self.downloads.get(FILE)
            except FtSyncError as error:
                return error

        with ThreadPoolExecutor(THREADS) as pool:
            answers = list(pool.map(get, range(THREADS)))
        self.source.happens = lambda _: None
        return answers


def test_a_file_is_there_as_it_was_served(tmp_path: Path) -> None:
    download = Setting(tmp_path).downloads.get(FILE)
    assert download.path.read_bytes() == EXAMPLE
    assert download.size == len(EXAMPLE)


def test_many_that_ask_at_once_get_one_download(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    assert len(set(setting.by_many())) == 1
    assert (setting.asked, len(list(tmp_path.iterdir()))) == (1, 1)


def test_a_failure_is_shared_by_those_who_wait_and_asked_for_again_later(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    away = setting.source.broken[FILE] = Unavailable("away")
    assert set(setting.by_many()) == {away}
    assert setting.asked == 1
    setting.source.broken.clear()
    assert setting.downloads.get(FILE).size == len(EXAMPLE)
    assert setting.asked == 2


@pytest.mark.parametrize("error", [NotFound("gone"), Forbidden("not yours"), Refused("no")])
def test_a_refusal_is_not_asked_for_again(tmp_path: Path, error: FtSyncError) -> None:
    setting = Setting(tmp_path, job())
    setting.source.broken[FILE] = error
    assert set(setting.by_many()) == {error}
    setting.downloads.done(job())
    with pytest.raises(type(error)):
        setting.downloads.get(FILE)
    assert setting.asked == 1


def test_a_key_that_is_refused_may_be_right_the_next_time(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    setting.source.broken[FILE] = AuthError("refused")
    for _ in range(2):
        with pytest.raises(AuthError):
            setting.downloads.get(FILE)
    assert setting.asked == 2


def test_a_file_goes_after_its_last_user_and_not_before(tmp_path: Path) -> None:
    first, last = job("ftjob-1"), job("ftjob-2")
    setting = Setting(tmp_path, first, last)
    path = setting.downloads.get(FILE).path
    setting.downloads.done(first)
    assert path.exists()
    setting.downloads.done(last)
    assert not path.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_both_splits_of_a_job_is_one_file(tmp_path: Path) -> None:
    both = job(validation_file=FILE)
    setting = Setting(tmp_path, both)
    assert setting.downloads.get(FILE) == setting.downloads.get(FILE)
    setting.downloads.done(both)
    assert list(tmp_path.iterdir()) == []


def test_who_comes_after_the_last_user_gets_a_download_of_his_own(tmp_path: Path) -> None:
    setting = Setting(tmp_path, job())
    setting.downloads.get(FILE)
    setting.downloads.done(job())
    setting.downloads.expect([job()])
    assert setting.downloads.get(FILE).path.exists()
    assert setting.asked == 2


def test_a_job_that_asked_for_nothing_leaves_nothing(tmp_path: Path) -> None:
    setting = Setting(tmp_path, job())
    setting.downloads.done(job())
    setting.downloads.done(job(training_file=None))
    assert (setting.asked, list(tmp_path.iterdir())) == (0, [])
