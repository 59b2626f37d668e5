"""What every `JobSource` does: the same account, from the service and from its archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openai
import pytest

from ft_sync import archiving
from ft_sync.archives import Archive, writing
from ft_sync.convert import record
from ft_sync.errors import REFUSALS, NotFound
from ft_sync.models import FileId, JobId
from ft_sync.planning import Selection
from ft_sync.sandbox import Sandbox, World, samples
from ft_sync.snapshot import snapshot
from ft_sync.sources.archive import ArchiveSource
from ft_sync.sources.bounds import PAGE
from ft_sync.sources.openai import OpenAISource
from ft_sync.sources.pace import Pace
from ft_sync.sources.redacted import RedactedSource
from tests.builders import readable
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ft_sync.ports import JobSource


@pytest.fixture
def served(world: World, sandbox: Sandbox) -> Iterator[OpenAISource]:
    world.add(*samples.finished_jobs())
    with openai.OpenAI(base_url=sandbox.url, api_key=sandbox.api_key) as client:
        yield OpenAISource(client, Pace(FakeClock(), lambda _: None))


def archived(source: OpenAISource, folder: Path) -> ArchiveSource:
    with writing(folder) as archive:
        archiving.archive(source, archive, FakeClock(), Selection(), 2, lambda _: None)
    return ArchiveSource(Archive(folder))


@pytest.fixture(params=["service", "archive", "redacted"])
def source(request: pytest.FixtureRequest, served: OpenAISource, tmp_path: Path) -> JobSource:
    match request.param:
        case "archive":
            return archived(served, tmp_path / "archive")
        case "redacted":
            return RedactedSource(served)
        case _:
            return served


def test_jobs_come_newest_first_and_no_more_than_asked_for(source: JobSource, world: World) -> None:
    ids = [job.id for job in world.jobs]
    assert [job.id for job in readable(source.jobs())] == ids
    assert [job.id for job in readable(source.jobs(limit=2))] == ids[:2]


def test_a_job_is_what_the_listing_has(source: JobSource) -> None:
    for job in readable(source.jobs()):
        assert source.job(job.id) == job


def test_events_come_oldest_first_from_one_on_or_the_newest(source: JobSource, world: World) -> None:
    job_id = JobId("ftjob-1LdB563SfkhvH8pUo541MPmi")
    events = tuple(source.events(job_id))
    assert len(events) == len([job for job in world.jobs if job.id == job_id][0].events)  # noqa: RUF015 - the only one
    assert list(events) == sorted(events, key=lambda event: str(event.created_at))
    assert tuple(source.events(job_id, after=events[4].id)) == events[5:]
    assert tuple(source.events(job_id, after=events[-1].id)) == ()
    assert tuple(source.events(job_id, after="gone")) == events
    assert tuple(source.events(job_id, limit=3)) == events[-3:]


def test_a_file_has_its_description_and_its_bytes(source: JobSource, world: World, tmp_path: Path) -> None:
    for file in world.files(0.0):
        file_id = FileId(file.id)
        described = source.file(file_id)
        assert (described.filename, described.size) == (file.filename, len(file.served))
        assert source.content(file_id, limit=10**9) == file.served
        assert source.content(file_id, limit=len(file.served) - 1) is None
        download = source.download(file_id, tmp_path / file.id)
        assert (download.path.read_bytes(), download.size) == (file.served, len(file.served))


@pytest.mark.parametrize(
    "ask",
    [lambda source: source.job(JobId("nope")), lambda source: source.job(JobId("../nope"))],
)
def test_what_is_not_there_is_not_found(source: JobSource, ask: Callable[[JobSource], object]) -> None:
    with pytest.raises(NotFound):
        ask(source)


def test_the_archive_gives_the_very_records_that_the_service_gives(served: OpenAISource, tmp_path: Path) -> None:
    kept = archived(served, tmp_path / "archive")
    for job in readable(served.jobs()):
        assert snapshot(kept, kept.job(job.id)) == snapshot(served, job)


@pytest.mark.parametrize("status", [400, 403, 404])
@pytest.mark.parametrize("refused", ["/events", "/checkpoints", "/files/file-[^/]+$", "/content"])
def test_what_the_service_refused_the_archive_refuses_too(
    served: OpenAISource, sandbox: Sandbox, tmp_path: Path, status: int, refused: str
) -> None:
    sandbox.fail(refused, status=status)
    assert_as_archived(served, tmp_path)


@pytest.mark.parametrize("refused", ["/events", "/checkpoints", "/files/file-[^/]+$"])
def test_what_was_too_large_for_the_archive_is_so_in_the_archive(
    served: OpenAISource, sandbox: Sandbox, tmp_path: Path, refused: str
) -> None:
    sandbox.fail(refused, body=b" " * (PAGE + 1))
    assert_as_archived(served, tmp_path)


def assert_as_archived(served: OpenAISource, folder: Path) -> None:
    kept = archived(served, folder / "archive")

    def of(source: JobSource) -> object:
        job = served.job(JobId("ftjob-1LdB563SfkhvH8pUo541MPmi"))
        try:
            return record(snapshot(source, job))
        except REFUSALS as error:
            return type(error), error.message

    assert of(kept) == of(served)
