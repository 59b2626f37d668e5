"""A damaged archive as a source: what cannot be read is named and costs nothing else."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from ft_sync import redaction
from ft_sync.archives import MANIFEST, Archive, writing
from ft_sync.errors import BadData, Refused
from ft_sync.models import TOO_DEEP, Failed, FileId, Job, JobId
from ft_sync.snapshot import snapshot
from ft_sync.sources.archive import ArchiveSource
from ft_sync.sources.redacted import RedactedSource
from tests.builders import readable

if TYPE_CHECKING:
    from pathlib import Path

    from ft_sync.archives import Kind

IDS = [f"ftjob-{number}" for number in range(4)]

NO_OBJECTS = {
    "null": b"null",
    "an array": b'[{"id": "ftjob-2"}]',
    "a text": b'"ftjob-2"',
    "a number": b"7",
    "NaN": b"NaN",
    "nothing": b"",
    "no JSON": b'{"id": ',
    "no UTF-8": b'{"id": "ftjob-2", "model": "\xff\xfe"}',
    "UTF-16": '{"id"'.encode("utf-16"),
    "NUL": b"\0",
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep and unclosed": b'{"id": ' + b"[" * 100_000,
}
"""JSON and other bytes that are no JSON object."""

NO_JOBS = {
    **NO_OBJECTS,
    "an empty object": b"{}",
    "no id": b'{"model": "gpt-4.1"}',
    "an empty id": b'{"id": ""}',
    "an id that leads upwards": b'{"id": ".."}',
    "an id that is a list": b'{"id": ["ftjob-2"]}',
    "a lone surrogate": b'{"id": "\\ud800"}',
    "another job": b'{"id": "ftjob-1"}',
}


def put(folder: Path, kind: Kind, name: str, content: bytes) -> None:
    """Store an item with its right sum."""
    with writing(folder) as archive:
        archive.store(kind, name, [content])


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of four jobs, each with its events and checkpoints."""
    path = tmp_path_factory.mktemp("template") / "a"
    with writing(path) as archive:
        for number, name in enumerate(IDS):
            job = {"id": name, "created_at": 1_760_000_000 + number, "status": "succeeded"}
            archive.store("job", name, [json.dumps(job).encode()])
            archive.store("events", name, [b'{"id": "e1", "message": "one"}\n{"id": "e2", "message": "two"}\n'])
            archive.store("checkpoints", name, [b'{"id": "c1", "step_number": 1}\n'])
    return path


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    """An archive of four jobs that a test may change."""
    return shutil.copytree(template, tmp_path / "a")


def split(folder: Path, limit: int | None = None) -> tuple[list[str], list[Failed]]:
    """Return the ids of the jobs, and the failures."""
    listed = list(ArchiveSource(Archive(folder)).jobs(limit=limit))
    return [one.id for one in listed if isinstance(one, Job)], [one for one in listed if isinstance(one, Failed)]


@pytest.mark.parametrize("content", NO_JOBS.values(), ids=NO_JOBS)
def test_a_job_that_is_none_fails_alone(folder: Path, content: bytes) -> None:
    put(folder, "job", "ftjob-2", content)
    jobs, (failed,) = split(folder)
    assert jobs == ["ftjob-3", "ftjob-1", "ftjob-0"]
    assert failed.job_id == "ftjob-2"
    assert isinstance(failed.error, BadData)
    assert not isinstance(failed.error, Refused)
    assert "jobs/ftjob-2/job.json" in failed.error.message


@pytest.mark.parametrize("damage", ["changed", "removed", "FIFO", "symbolic link", "folder exchanged"])
def test_a_job_whose_file_is_damaged_fails_alone(folder: Path, tmp_path: Path, damage: str) -> None:
    path = folder / "jobs/ftjob-2/job.json"
    if damage == "folder exchanged":
        path.parent.rename(tmp_path / "elsewhere")
        path.parent.symlink_to(tmp_path / "elsewhere")
    elif damage == "changed":
        path.write_bytes(b'{"id": "ftjob-2"}')
    else:
        path.rename(tmp_path / "elsewhere")
    if damage == "FIFO":
        os.mkfifo(path)
    if damage == "symbolic link":
        path.symlink_to(tmp_path / "elsewhere")
    jobs, (failed,) = split(folder)
    assert (jobs, failed.job_id) == (["ftjob-3", "ftjob-1", "ftjob-0"], "ftjob-2")
    with pytest.raises(BadData, match="ftjob-2"):
        ArchiveSource(Archive(folder)).job(JobId("ftjob-2"))


def test_a_limit_is_one_of_jobs_and_hides_no_failure(folder: Path) -> None:
    for name in ("ftjob-0", "ftjob-3"):
        put(folder, "job", name, b"null")
    with (folder / MANIFEST).open("ab") as manifest:
        manifest.write(b"?\n")
    jobs, failures = split(folder, limit=1)
    assert jobs == ["ftjob-2"]
    assert [failed.job_id for failed in failures] == ["line 14 of manifest.jsonl", "ftjob-0", "ftjob-3"]


@pytest.mark.parametrize(
    "name", ["", "..", ".", "a/b", "../../x", "\0", "x" * 10_000, "\ud800", "\x1b[31m", "ftjob-1 "]
)
def test_an_odd_id_fails_alone(folder: Path, name: str) -> None:
    put(folder, "job", name, b'{"id": ".."}')
    jobs, (failed,) = split(folder)
    assert (jobs, failed.job_id) == (IDS[::-1], name)


@pytest.mark.parametrize("line", NO_OBJECTS.values(), ids=NO_OBJECTS)
@pytest.mark.parametrize("kind", ["events", "checkpoints"])
def test_a_line_that_is_no_object_is_kept_and_costs_no_other(folder: Path, kind: Kind, line: bytes) -> None:
    put(folder, kind, "ftjob-2", b'{"id": "a"}\n' + line + b'\n{"id": "b"}\n')
    source = ArchiveSource(Archive(folder))
    found = source.events(JobId("ftjob-2")) if kind == "events" else source.checkpoints(JobId("ftjob-2"))
    first, odd, last = found
    assert (first.id, odd.id, last.id) == ("a", "", "b")
    assert list(odd.raw) == ["not an object"]
    snapshot(source, source.job(JobId("ftjob-2")))


def test_huge_and_odd_numbers_are_read_as_from_a_service(folder: Path) -> None:
    deep = b"[" * 1000 + b"]" * 1000
    content = (
        b'{"id": "ftjob-2", "seed": ' + b"9" * 10_000 + b', "trained_tokens": NaN, "metadata": {"a": ' + deep + b"}}"
    )
    put(folder, "job", "ftjob-2", content)
    job = ArchiveSource(Archive(folder)).job(JobId("ftjob-2"))
    assert (job.seed, job.trained_tokens) == (None, None)
    assert TOO_DEEP in json.dumps(job.metadata)


def test_too_many_objects_are_not_parsed(folder: Path) -> None:
    many = b'{"id": "ftjob-2", "model": [' + b"[]," * 1_000_000 + b"0]}"
    put(folder, "job", "ftjob-2", many)
    put(folder, "events", "ftjob-1", many + b"\n")
    assert [failed.job_id for failed in split(folder)[1]] == ["ftjob-2"]
    (event,) = ArchiveSource(Archive(folder)).events(JobId("ftjob-1"))
    assert list(event.raw) == ["not an object"]


@pytest.mark.parametrize("content", NO_OBJECTS.values(), ids=NO_OBJECTS)
def test_the_description_of_a_file_that_is_none_is_bad_data(folder: Path, content: bytes) -> None:
    put(folder, "file", "file-1", content)
    with pytest.raises(BadData, match=r"files/file-1/file\.json is no JSON"):
        ArchiveSource(Archive(folder)).file(FileId("file-1"))


def test_whoever_has_put_a_key_into_an_archive_does_not_see_it_come_out(folder: Path) -> None:
    redaction.learn("sk-archived-key-1234")
    put(folder, "job", "ftjob-2", b'{"id": "ftjob-2", "model": "sk-archived-key-1234"}')
    put(folder, "events", "ftjob-2", b'{"id": "e", "message": "sk-archived-key-1234"}\n"sk-archived-key-1234"\n')
    source = RedactedSource(ArchiveSource(Archive(folder)))
    first, second = source.events(JobId("ftjob-2"))
    assert (source.job(JobId("ftjob-2")).base_model, first.message) == ("***", "***")
    assert second.raw == {"not an object": "***"}


def test_jobs_that_are_whole_are_all_there(folder: Path) -> None:
    assert [job.id for job in readable(ArchiveSource(Archive(folder)).jobs())] == IDS[::-1]
