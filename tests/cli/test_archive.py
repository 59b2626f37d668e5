"""`ftsync archive` as it is typed, and what the other commands make of an archive."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ft_sync.archives import MANIFEST, Archive, Stored
from ft_sync.sandbox import Sandbox, World, samples, serve
from ft_sync.sources import pace
from tests.truth import of_run

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

    from tests.cli.conftest import Ftsync
    from tests.wandb_backend import WandbBackend


@pytest.fixture(autouse=True)
def _jobs(world: World) -> None:
    world.add(*samples.finished_jobs())


def test_everything_is_archived_and_then_left_as_it_is(ftsync: Ftsync, world: World, sandbox: Sandbox) -> None:
    said = ftsync("archive", "copy")
    assert said.code == 0
    assert {tuple(row[:2]) for row in said.rows} == {("archived", job.id) for job in world.jobs}
    sandbox.forget()
    said = ftsync("archive", "copy")
    assert (said.code, said.rows, sandbox.count()) == (0, [], 1)
    assert f"{len(world.jobs)} as they were" in said.err


def test_the_document_names_each_job(ftsync: Ftsync, world: World) -> None:
    document = ftsync("archive", "copy", "--json").json
    assert {outcome["job_id"] for outcome in document["outcomes"]} == {job.id for job in world.jobs}
    assert document["counts"] == {"archived": len(world.jobs), "failed": 0, "lost": 0}


def test_jobs_can_be_chosen(ftsync: Ftsync, world: World) -> None:
    assert ftsync("archive", "copy", "--last", "2", "-q").code == 0
    assert set(Archive(Path("copy")).entries("job")) == {job.id for job in world.jobs[:2]}
    assert ftsync("archive", "copy", "--job", world.jobs[4].id, "-q").out == f"{world.jobs[4].id}\n"


def test_what_is_not_to_be_had_is_listed_and_makes_exit_code_3_the_next_time_too(
    ftsync: Ftsync, world: World, sandbox: Sandbox
) -> None:
    training = next(str(job.job["training_file"]) for job in world.jobs if job.job["training_file"])
    sandbox.fail(f"{training}/content", status=404)
    for _ in range(2):
        said = ftsync("archive", "copy")
        assert said.code == 3
        assert ["lost", training] in [row[:2] for row in said.rows]
        assert "1 parts not to be had" in said.err


def test_what_a_service_keeps_of_no_job_is_said_once_and_is_no_failure(
    world: World, ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(world, dialect="litellm") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        for _ in range(2):
            said = ftsync("archive", "copy", "--last", "2")
            assert (said.code, said.out.count("lost")) == (0, 0)
            assert said.err.count("note: this service keeps no events\n") == 1
            assert said.err.count("note: this service keeps no checkpoints\n") == 1
        document = ftsync("archive", "copy", "--last", "2", "--json").json
    assert (document["exit_code"], document["counts"]["lost"]) == (0, 0)
    assert [one["kind"] for one in document["outcomes"][0]["lost"]] == ["events", "checkpoints"]


def test_quiet_tells_what_is_not_to_be_had_all_the_same(ftsync: Ftsync, world: World, sandbox: Sandbox) -> None:
    training = next(str(job.job["training_file"]) for job in world.jobs if job.job["training_file"])
    sandbox.fail(f"{training}/content", status=404)
    said = ftsync("archive", "copy", "--job", "ftjob-typo", *(f"--job={job.id}" for job in world.jobs), "-q")
    failed, lost = said.err.splitlines()
    assert said.code == 3
    assert failed.startswith("ftjob-typo: failed: ")
    assert lost.startswith(f"{training}: content: ")


def test_a_service_that_is_away_is_exit_code_5(ftsync: Ftsync, sandbox: Sandbox) -> None:
    sandbox.fail("/jobs", status=503)
    assert ftsync("archive", "copy").code == 5


def test_a_check_needs_no_service_and_finds_what_is_damaged(
    ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox
) -> None:
    ftsync("archive", "copy")
    monkeypatch.delenv("OPENAI_API_KEY")
    sandbox.forget()
    assert ftsync("archive", "copy", "--check").code == 0
    victim = next(entry for entry in Archive(Path("copy")).entries("content").values() if isinstance(entry, Stored))
    Path("copy", victim.path).write_bytes(b"spoilt")
    said = ftsync("archive", "copy", "--check")
    assert (said.code, said.rows[0][0], sandbox.count()) == (3, victim.path, 0)
    assert ftsync("archive", "copy", "--check", "--json").json["problems"][0]["path"] == victim.path


@pytest.mark.parametrize("command", ["list", "status", "sync", "resync", "verify"])
def test_what_is_no_archive_is_said_by_every_command(ftsync: Ftsync, command: str) -> None:
    said = ftsync(command, "--from-archive", "nowhere")
    assert said.code == 2
    assert "nowhere is no archive" in said.err


def runs(backend: WandbBackend, project: str) -> dict[str, Any]:
    return {run.id: of_run(run) for run in backend.runs(project)}


def test_runs_made_from_the_archive_are_those_made_from_the_service(
    ftsync: Ftsync, backend: WandbBackend, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox
) -> None:
    ftsync("archive", "copy")
    assert ftsync("sync", "--include-unsuccessful", "--project", "from-service").code == 0
    assert ftsync("verify", "--include-unsuccessful", "--project", "from-service", "--from-archive", "copy").code == 0
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name)
    sandbox.forget()
    archived = ("--from-archive", "copy", "--project", "from-archive")
    assert ftsync("sync", "--include-unsuccessful", *archived).code == 0
    assert ftsync("list", *archived, "--unsynced", "-q").out == ""
    assert ftsync("verify", "--include-unsuccessful", *archived).code == 0
    assert runs(backend, "from-archive") == runs(backend, "from-service")
    assert sandbox.count() == 0


def test_nothing_is_waited_for_in_an_archive(ftsync: Ftsync, world: World) -> None:
    world.add(samples.live_job(time.time()))
    ftsync("archive", "copy")
    said = ftsync("sync", "--last", "1", "--from-archive", "copy")
    assert said.code == 0
    assert "not waited for" in said.out
    assert ftsync("sync", "--watch", "--from-archive", "copy").code == 2


def test_a_download_that_was_cut_off_goes_on_where_it_was(
    ftsync: Ftsync, workspace: Path, world: World, sandbox: Sandbox
) -> None:
    big = max(world.files(0.0), key=lambda file: len(file.served))
    sandbox.fail(f"{big.id}/content", truncate=1000, times=1)
    assert ftsync("archive", "copy").code == 0
    ranges = [one.headers.get("range") for one in sandbox.requests if one.matches(f"{big.id}/content")]
    assert ranges == [None, "bytes=1000-"]
    assert Archive(workspace / "copy").read("content", big.id) == big.served


@pytest.mark.parametrize(("serves_ranges", "left"), [(True, 4000), (False, 1000)])
def test_what_an_earlier_command_left_is_gone_on_with(
    ftsync: Ftsync,
    workspace: Path,
    world: World,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    *,
    serves_ranges: bool,
    left: int,
) -> None:
    monkeypatch.setattr(pace, "FIRST_PAUSE", 0.01)
    world.serves_ranges = serves_ranges
    big = max(world.files(0.0), key=lambda file: len(file.served))
    sandbox.fail(f"{big.id}/content", truncate=1000)
    assert ftsync("archive", "copy").code == 3
    sandbox.heal()
    sandbox.forget()
    assert ftsync("archive", "copy").code == 0
    (again,) = [one.headers.get("range") for one in sandbox.requests if one.matches(f"{big.id}/content")]
    assert again == f"bytes={left}-"  # after four attempts
    assert Archive(workspace / "copy").read("content", big.id) == big.served


def often(*points: int) -> list[ParameterSet]:
    """Moments of a kill that are met when all of them are."""
    return [pytest.param(point, marks=pytest.mark.kill) for point in points]


@pytest.mark.parametrize("after", [17, 33, *often(1, 9, 25, 41, 49)])
def test_whenever_it_is_killed_the_next_run_completes_the_archive(
    ftsync: Ftsync, workspace: Path, world: World, sandbox: Sandbox, after: int
) -> None:
    sandbox.latency = 0.01
    command = [sys.executable, "-m", "ft_sync", "archive", str(workspace / "copy"), "-q"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while sandbox.count() < after and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    process.kill()
    process.wait()
    sandbox.heal()
    if Path("copy", MANIFEST).exists():
        assert {problem for _, problem in Archive(Path("copy")).check()} <= {"is not in the manifest"}
    assert ftsync("archive", "copy").code == 0
    archive = Archive(workspace / "copy")
    assert set(archive.entries("job")) == {job.id for job in world.jobs}
    assert {file.id: archive.read("content", file.id) for file in world.files(0.0)} == {
        file.id: file.served for file in world.files(0.0)
    }
    assert list(archive.check()) == []
