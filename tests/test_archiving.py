"""Bringing an archive up to date: what is asked for, what is not, and that no part costs another."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING

import pytest

from ft_sync import events
from ft_sync.archives import Archive, writing
from ft_sync.archiving import archive
from ft_sync.errors import AuthError, DiskError, Forbidden, NotFound, NotOffered, Refused, Unavailable
from ft_sync.models import (
    NO_CHECKPOINTS,
    NO_EVENTS,
    Archived,
    ArchiveReport,
    Download,
    Failed,
    File,
    FileId,
    Job,
    JobId,
    Lost,
)
from ft_sync.planning import Selection
from tests.builders import event, job
from tests.fakes import EXAMPLE, FakeClock, FakeSource

if TYPE_CHECKING:
    from pathlib import Path

    from ft_sync.events import Event


def run(
    source: FakeSource, folder: Path, selection: Selection | None = None, heard: list[Event] | None = None
) -> ArchiveReport:
    observe = heard.append if heard is not None else lambda _: None
    with writing(folder) as writer:
        return archive(source, writer, FakeClock(), selection or Selection(), 4, observe)


def one() -> Job:
    return job(raw={"id": "ftjob-1", "status": "succeeded"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def test_a_job_comes_with_its_events_checkpoints_and_files(folder: Path) -> None:
    source = FakeSource([one()])
    source.events_by_id[JobId("ftjob-1")] = [event(1)]
    (outcome,) = run(source, folder).outcomes
    assert outcome == Archived(JobId("ftjob-1"), one().status, is_news=True)
    held = Archive(folder)
    assert held.read("job", "ftjob-1") == b'{\n  "id": "ftjob-1",\n  "status": "succeeded"\n}'
    assert held.read("events", "ftjob-1").count(b"\n") == 1
    assert held.read("checkpoints", "ftjob-1") == b""
    assert held.read("content", "file-train") == EXAMPLE


def test_a_second_run_asks_for_the_listing_alone(folder: Path) -> None:
    source = FakeSource([one()])
    run(source, folder)
    source.asked.clear()
    (outcome,) = run(source, folder).outcomes
    assert source.asked == ["jobs"]
    assert outcome == Archived(JobId("ftjob-1"), one().status, is_news=False)


def test_a_file_of_many_jobs_is_asked_for_once(folder: Path) -> None:
    source = FakeSource([job(f"ftjob-{number}", result_files=()) for number in range(8)])
    run(source, folder)
    assert source.asked.count("download file-train") == 1


def test_a_job_that_has_not_ended_is_asked_for_again_and_so_is_one_that_has_changed(folder: Path) -> None:
    running = job(status="running", result_files=(), raw={"status": "running"})
    source = FakeSource([running])
    for events_so_far in range(3):
        source.events_by_id[running.id] = [event(number) for number in range(events_so_far)]
        run(source, folder)
        assert Archive(folder).read("events", "ftjob-1").count(b"\n") == events_so_far
    source.jobs_by_id[running.id] = one()
    assert run(source, folder).archived[0].is_news
    assert b"succeeded" in Archive(folder).read("job", "ftjob-1")
    assert Archive(folder).read("content", "file-result") == EXAMPLE


def test_a_job_that_the_service_has_deleted_stays(folder: Path) -> None:
    source = FakeSource([one()])
    run(source, folder)
    source.jobs_by_id.clear()
    assert run(source, folder).outcomes == ()
    assert "ftjob-1" in Archive(folder).entries("job")


def test_what_is_refused_is_listed_with_its_reason_and_costs_nothing_else(folder: Path) -> None:
    source = FakeSource([one()])
    source.broken["file-train"] = NotFound("no such file")
    report = run(source, folder)
    assert report.lost == (Lost("content", "file-train", "no such file"),)
    assert Archive(folder).read("content", "file-result") == EXAMPLE
    assert report.failed == ()


@pytest.mark.parametrize(("error", "times"), [(NotFound("gone"), 1), (Forbidden("not yours"), 2), (Refused("no"), 2)])
def test_what_is_gone_is_not_asked_for_again_and_what_may_be_allowed_is(
    folder: Path, error: Exception, times: int
) -> None:
    source = FakeSource([one()])
    source.broken["file-train"] = error
    for _ in range(2):
        assert len(run(source, folder).lost) == 1
    assert source.asked.count("download file-train") == times
    source.broken.clear()
    run(source, folder)
    assert ("file-train" in {lost.id for lost in run(source, folder).lost}) == isinstance(error, NotFound)


def test_events_that_are_gone_are_lost(folder: Path) -> None:
    source = FakeSource([one()])
    source.broken["ftjob-1"] = NotFound("gone")
    report = run(source, folder)
    assert [lost.kind for lost in report.lost] == ["events", "checkpoints"]
    assert report.lacking == ()


def test_a_service_that_keeps_no_events_is_no_failure(folder: Path) -> None:
    source = FakeSource([one()])
    source.broken["ftjob-1"] = NotOffered("no route")
    report = run(source, folder)
    assert (report.failed, report.lost, report.lacking) == ((), (), (NO_EVENTS, NO_CHECKPOINTS))
    assert [lost.kind for lost in report.archived[0].lost] == ["events", "checkpoints"]
    assert "ftjob-1" in Archive(folder).entries("job")


def test_what_cannot_be_asked_for_now_fails_its_job_and_comes_the_next_time(folder: Path) -> None:
    source = FakeSource([one(), job("ftjob-2", training_file=None, result_files=())])
    source.broken["file-train"] = Unavailable("away")
    report = run(source, folder)
    assert {outcome.job_id: type(outcome) for outcome in report.outcomes} == {"ftjob-1": Failed, "ftjob-2": Archived}
    assert Archive(folder).read("content", "file-result") == EXAMPLE
    source.broken.clear()
    assert run(source, folder).failed == ()
    assert Archive(folder).read("content", "file-train") == EXAMPLE


def test_a_job_whose_events_could_not_be_had_is_asked_for_again(folder: Path) -> None:
    source = FakeSource([one()])
    source.broken["ftjob-1"] = Unavailable("away")
    assert len(run(source, folder).failed) == 1
    source.broken.clear()
    source.events_by_id[JobId("ftjob-1")] = [event(1)]
    run(source, folder)
    assert Archive(folder).read("events", "ftjob-1").count(b"\n") == 1


def test_a_file_that_was_removed_from_the_archive_is_fetched_again(folder: Path) -> None:
    source = FakeSource([one()])
    run(source, folder)
    for entry in (Archive(folder).stored("content", "file-train"), Archive(folder).stored("job", "ftjob-1")):
        (folder / entry.path).unlink()
    assert run(source, folder).archived[0].is_news
    assert list(Archive(folder).check()) == []


class Sized(FakeSource):
    """Says how large its files are."""

    size = len(EXAMPLE)

    def file(self, file_id: FileId) -> File:
        return File(file_id, "train.jsonl", self.size, raw={})


def test_a_body_that_ended_early_is_not_taken_for_the_file(folder: Path) -> None:
    source = Sized([one()])
    source.size = len(EXAMPLE) + 1
    (failed,) = run(source, folder).failed
    assert f"{len(EXAMPLE)} of {len(EXAMPLE) + 1} bytes" in failed.error.message
    source.size -= 1
    assert run(source, folder).failed == ()


@pytest.mark.parametrize("size", [0, 3])
def test_a_body_may_be_longer_than_the_service_says(folder: Path, size: int) -> None:
    source = Sized([one()])
    source.size = size
    assert run(source, folder).failed == ()
    assert Archive(folder).read("content", "file-train") == EXAMPLE


def test_a_full_disk_is_named_and_no_bug(folder: Path) -> None:
    source = FakeSource([one()])

    def happens(words: str) -> None:
        if words.startswith("download file-train"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    source.happens = happens
    (failed,) = run(source, folder).failed
    assert isinstance(failed.error, DiskError)
    assert "No space left on device" in failed.error.message
    assert Archive(folder).read("content", "file-result") == EXAMPLE


def test_named_jobs_that_cannot_be_had_fail_alone(folder: Path) -> None:
    report = run(FakeSource([one()]), folder, Selection((JobId("ftjob-9"), JobId("ftjob-1"))))
    assert [type(outcome) for outcome in report.outcomes] == [Failed, Archived]


def test_a_key_that_is_refused_ends_it(folder: Path) -> None:
    source = FakeSource([one()])
    source.broken["jobs"] = AuthError("no")
    with pytest.raises(AuthError):
        run(source, folder)


def test_observers_hear_how_many_there_are_and_each_outcome_once(folder: Path) -> None:
    heard: list[Event] = []
    run(FakeSource([job(f"ftjob-{number}", result_files=()) for number in range(5)]), folder, heard=heard)
    assert heard[0] == events.Selected(5, "archive")
    done = [one.outcome.job_id for one in heard if isinstance(one, events.JobArchived)]
    assert sorted(done) == sorted({f"ftjob-{number}" for number in range(5)})


def test_an_interruption_brings_what_has_begun_to_its_end_and_nothing_new(folder: Path) -> None:
    source = FakeSource([job(f"ftjob-{number:02}", result_files=()) for number in range(20)])
    begun, go_on = threading.Event(), threading.Event()

    def happens(words: str) -> None:
        if words.startswith("events"):
            begun.set()
            assert go_on.wait(60)

    def let_go_on() -> None:
        begun.wait(60)
        go_on.set()

    def observe(heard: Event) -> None:
        if isinstance(heard, events.Selected):
            threading.Thread(target=let_go_on).start()
        if isinstance(heard, events.JobArchived):
            raise KeyboardInterrupt

    source.happens = happens
    with writing(folder) as writer, pytest.raises(KeyboardInterrupt):
        archive(source, writer, FakeClock(), Selection(), 2, observe)
    assert 1 <= len(Archive(folder).entries("job")) < 20
    assert list(Archive(folder).check()) == []
    assert len(run(source, folder).archived) == 20


@pytest.mark.parametrize("path", ["jobs/ftjob-1", "files/file-train"])
def test_a_link_in_the_way_of_one_job_stops_no_other(folder: Path, tmp_path: Path, path: str) -> None:
    (tmp_path / "mine").mkdir()
    with writing(folder):
        pass
    (folder / path).parent.mkdir()
    (folder / path).symlink_to(tmp_path / "mine")
    source = FakeSource([one(), job("ftjob-2", training_file=None, result_files=())])
    (failed,) = run(source, folder).failed
    assert failed.job_id == "ftjob-1"
    assert "it is a symbolic link" in failed.error.message
    assert set(Archive(folder).entries("job")) >= {"ftjob-2"}
    assert list((tmp_path / "mine").iterdir()) == []
    (folder / path).unlink()
    assert run(source, folder).failed == ()


@pytest.mark.parametrize("is_empty", [True, False])
@pytest.mark.parametrize(
    "path",
    ["jobs/ftjob-1/job.json", "jobs/ftjob-1/events.jsonl", "files/file-train/content", "files/file-train/file.json"],
)
def test_a_folder_in_the_place_of_a_file_fails_its_job_alone_until_it_is_moved(
    folder: Path, path: str, *, is_empty: bool
) -> None:
    source = FakeSource([one(), job("ftjob-2", training_file=None, result_files=())])
    run(source, folder)
    (folder / path).unlink()
    (folder / path).mkdir()
    if not is_empty:
        (folder / path / "thesis.txt").write_text("mine")
    for _ in range(3):
        (failed,) = run(source, folder).failed
        assert failed.job_id == "ftjob-1"
        assert failed.error.message == f"{folder / path} cannot be written to: it is a folder"
        assert failed.error.hint == "move it elsewhere, then run the same command again"
        assert path in {named for named, _ in Archive(folder).check()}
    (folder / path).rename(folder.parent / "elsewhere")
    assert run(source, folder).failed == ()
    assert list(Archive(folder).check()) == []


@pytest.mark.parametrize("trap", ["symlink_to", "hardlink_to", "mkfifo"])
def test_a_download_that_is_exchanged_for_something_else_meanwhile_is_not_stored(
    folder: Path, tmp_path: Path, trap: str
) -> None:
    (tmp_path / "mine").write_bytes(EXAMPLE)

    class Exchanging(FakeSource):
        def download(self, file_id: FileId, to: Path) -> Download:
            done = super().download(file_id, to)
            to.unlink()
            if trap == "mkfifo":
                os.mkfifo(to)
            else:
                getattr(to, trap)(tmp_path / "mine")
            return done

    source = Exchanging([one(), job("ftjob-2", training_file=None, result_files=())])
    assert [failed.job_id for failed in run(source, folder).failed] == ["ftjob-1"]
    assert (tmp_path / "mine").read_bytes() == EXAMPLE
    assert "ftjob-2" in Archive(folder).entries("job")
