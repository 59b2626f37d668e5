"""What commands keep for the next TAB: private, apart by service and account, and never a reason to fail."""

from __future__ import annotations

import json
import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from ft_sync.cli import seen
from ft_sync.models import JobStatus
from ft_sync.sandbox import API_KEY, World, samples
from tests.builders import at, job

if TYPE_CHECKING:
    from pathlib import Path

    from ft_sync.providers import Provider
    from tests.cli.conftest import Ftsync


@pytest.fixture
def cache(workspace: Path) -> Path:
    assert workspace.is_dir()
    return seen.folder()


def ids(provider: Provider | None = None) -> list[str]:
    return [job.id for job in seen.known_jobs(provider, os.environ)]


@pytest.mark.parametrize("command", ["list", "status", "sync"])
def test_a_command_that_lists_jobs_keeps_them_and_where_runs_go(
    command: str, ftsync: Ftsync, world: World, project: str
) -> None:
    world.add(*samples.many(2, status="failed"))
    assert ftsync(command, "--offline").code == 0
    found = seen.known_jobs(None, os.environ)
    assert [job.id for job in found] == [made.id for made in samples.many(2, status="failed")]
    assert {job.status for job in found} == {"failed"}
    assert seen.known_places() == [seen.Place(project, os.environ.get("WANDB_ENTITY", ""))]


def test_a_job_is_kept_once_as_it_was_seen_last(cache: Path) -> None:
    seen.keep_jobs([job("ftjob-1", status=JobStatus("running"), fine_tuned_model=None)], "openai")
    seen.keep_jobs([job("ftjob-1"), job("ftjob-2", created_at=at(9))], "openai")
    known = seen.known_jobs("openai", os.environ)
    assert [(job.id, job.status) for job in known] == [("ftjob-2", "succeeded"), ("ftjob-1", "succeeded")]
    assert known[1].model == job("ftjob-1").fine_tuned_model
    assert len(list(cache.iterdir())) == 1


def test_the_newest_500_are_kept(cache: Path) -> None:
    seen.keep_jobs((job(f"ftjob-{number}", created_at=at(number)) for number in range(700)), "openai")
    assert cache.is_dir()
    assert ids() == [f"ftjob-{number}" for number in range(699, 199, -1)]


def test_services_and_accounts_do_not_mix(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen.keep_jobs([job("ftjob-ours")], "openai")
    seen.keep_jobs([job("ftjob-azure")], "azure")
    assert (ids(), ids("azure")) == (["ftjob-ours"], ["ftjob-azure"])
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("OPENAI_BASE_URL", "https://other.example/v1")
        assert ids() == []
    with monkeypatch.context() as other:
        other.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
        assert ids() == []
        seen.keep_jobs([job("ftjob-theirs")], "openai")
        assert ids() == ["ftjob-theirs"]
    assert ids() == ["ftjob-ours"]
    assert len(list(cache.iterdir())) == 2  # one for each address


def test_without_a_key_all_jobs_of_the_service_are_known(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen.keep_jobs([job("ftjob-ours")], "openai")
    monkeypatch.delenv("OPENAI_API_KEY")  # it is there for commands alone
    assert cache.is_dir()
    assert ids() == ["ftjob-ours"]


def test_neither_a_key_nor_an_address_can_be_read_in_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://user:password@host.example/v1?api-key=secret-in-query")
    seen.keep_jobs([job()], "openai")
    (file,) = cache.iterdir()
    held = file.name + file.read_text()
    assert not any(part in held for part in (API_KEY, "password", "secret-in-query", "host.example"))


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_it_is_for_its_user_alone(cache: Path) -> None:
    before = os.umask(0)
    try:
        seen.keep_jobs([job()], "openai")
    finally:
        os.umask(before)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in cache.iterdir()] == [0o600]


@pytest.mark.parametrize(
    "line", ["", "{", "[]", "null", "\x00\xff", '{"id": 1}', "9" * 5000, "[" * 100_000, '{"id": "x", "created": NaN}']
)
def test_what_others_wrote_there_is_passed_over(line: str, cache: Path) -> None:
    seen.keep_jobs([job("ftjob-1")], "openai")
    (file,) = cache.iterdir()
    file.write_text(f"{line}\n{file.read_text()}{line}\n", encoding="latin-1")
    assert ids() == ["ftjob-1"]
    seen.keep_jobs([job("ftjob-2")], "openai")
    assert sorted(ids()) == ["ftjob-1", "ftjob-2"]
    assert all(json.loads(line)["id"] for line in file.read_text().splitlines())


def test_no_file_however_large_is_read_to_its_end(cache: Path) -> None:
    seen.keep_jobs([job("ftjob-1")], "openai")
    (file,) = cache.iterdir()
    with file.open("a") as out:
        out.truncate(1 << 33)
    assert ids() == ["ftjob-1"]


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_a_pipe_in_its_place_is_not_waited_for(cache: Path) -> None:
    seen.keep_jobs([job("ftjob-1")], "openai")
    (file,) = cache.iterdir()
    file.unlink()
    os.mkfifo(file)
    assert ids() == []


def test_a_cache_that_cannot_be_written_fails_no_command(ftsync: Ftsync, world: World, cache: Path) -> None:
    world.add(*samples.many(1))
    cache.write_text("a file in the place of the folder")
    said = ftsync("list", "--offline")
    assert (said.code, len(said.rows)) == (0, 1)
    assert "cache" not in said.err


def test_those_who_write_at_the_same_time_leave_a_whole_file(cache: Path) -> None:
    writers = [
        threading.Thread(target=seen.keep_jobs, args=([job(f"ftjob-{one}-{two}") for two in range(50)], "openai"))
        for one in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    (file,) = cache.iterdir()
    assert len([json.loads(line) for line in file.read_text().splitlines()]) == len(ids()) >= 50


def test_services_that_were_asked_long_ago_are_forgotten(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(25):
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{number}/v1")
        seen.keep_jobs([job("ftjob-1")], "openai")
        for file in cache.glob("jobs-*"):
            os.utime(file, (file.stat().st_atime, file.stat().st_mtime - 1))
    assert len(list(cache.iterdir())) == 20
    assert ids() == ["ftjob-1"]
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:0/v1")
    assert ids() == []


def test_an_archive_is_no_service(ftsync: Ftsync, world: World, cache: Path) -> None:
    world.add(*samples.many(1))
    ftsync("archive", "kept")
    ftsync("list", "--offline", "--from-archive", "kept")
    assert cache.is_dir()
    assert ids() == []
