"""`ftsync archive` as it is typed, and what the other commands make of an archive."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from ft_sync.archives import MANIFEST, Archive, Stored, writing
from ft_sync.sandbox import Sandbox, World, samples, serve
from ft_sync.sources import pace
from tests.truth import of_run

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

    from ft_sync.archives import Kind
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
        problems = {problem for path, problem in Archive(Path("copy")).check() if path != "SHA256SUMS"}
        assert problems <= {"is not in the manifest"}
    assert ftsync("archive", "copy").code == 0
    archive = Archive(workspace / "copy")
    assert set(archive.entries("job")) == {job.id for job in world.jobs}
    assert {file.id: archive.read("content", file.id) for file in world.files(0.0)} == {
        file.id: file.served for file in world.files(0.0)
    }
    assert list(archive.check()) == []


@pytest.fixture
def copy(ftsync: Ftsync) -> Path:
    """An archive of all jobs, in the current folder."""
    assert ftsync("archive", "copy").code == 0
    return Path("copy")


def a_dataset(world: World) -> tuple[str, str]:
    """Return the id of a training file that one job alone uses, and the id of that job."""
    uses = Counter(str(job.job["training_file"]) for job in world.jobs)
    return next((file, job.id) for job in world.jobs if uses[file := str(job.job["training_file"])] == 1)


def damage(copy: Path, job_id: str, how: str) -> str:
    """Damage what the archive holds of a job; return the id under which a listing names that."""
    path = copy / "jobs" / job_id / "job.json"
    match how:
        case "changed":
            path.write_bytes(path.read_bytes() + b" ")
        case "FIFO":
            path.unlink()
            os.mkfifo(path)
        case "link":
            path.rename("elsewhere")
            path.symlink_to(Path("elsewhere").absolute())
        case "deep" | "no UTF-8" | "null":
            with writing(copy) as archive:
                content = {"deep": b"[" * 100_000, "no UTF-8": b'{"id": "\xff"}', "null": b"null"}[how]
                archive.store("job", job_id, [content])
        case "line":
            lines = (copy / MANIFEST).read_bytes().split(b"\n")
            number = next(no for no, line in enumerate(lines) if b'"job"' in line and job_id.encode() in line)
            lines[number] = b'{"kind": "job", "id": ["\xff"], "bytes": ' + b"9" * 9_999 + b"}"
            (copy / MANIFEST).write_bytes(b"\n".join(lines))
            return f"line {number + 1} of {MANIFEST}"
    return job_id


@pytest.mark.parametrize("how", ["changed", "FIFO", "link", "deep", "no UTF-8", "null", "line"])
def test_one_damaged_job_of_many_is_named_and_costs_no_other(
    ftsync: Ftsync, world: World, copy: Path, how: str
) -> None:
    victim, *others = (job.id for job in world.jobs)
    name = damage(copy, victim, how)
    listed = ftsync("list", "--all", "--offline", "--from-archive", "copy")
    assert (listed.code, [row[0] for row in listed.rows]) == (3, others)
    assert listed.err.startswith(f"{name}: ")
    document = ftsync("status", "--offline", "--from-archive", "copy", "--json").json
    assert (document["exit_code"], document["jobs"]) == (3, len(others))
    assert [one["job_id"] for one in document["failed"]] == [name]
    document = ftsync("status", victim, others[0], "--offline", "--from-archive", "copy", "--json").json
    assert (document["exit_code"], [job["job_id"] for job in document["jobs"]]) == (3, others[:1])
    checked = ftsync("archive", "copy", "--check")
    assert checked.code == 3
    assert any(row[0] in {MANIFEST, f"jobs/{victim}/job.json"} for row in checked.rows)
    assert all("Traceback" not in said.err and "bug" not in said.err for said in (listed, checked))


def test_jobs_beside_damaged_ones_are_synced_and_verified(ftsync: Ftsync, world: World, copy: Path) -> None:
    jobs = [job.id for job in world.jobs if job.job["status"] == "succeeded"]
    with writing(copy) as archive:
        archive.store("events", jobs[3], [b'{"id": "e"}\nnull\n\xff\n' + b"[" * 10_000 + b"\n"])
    named = {damage(copy, job_id, how) for job_id, how in zip(jobs, ("changed", "FIFO", "line"), strict=False)}
    document = ftsync("sync", "--from-archive", "copy", "--json").json
    outcomes = {one["job_id"]: one["outcome"] for one in document["outcomes"]}
    assert document["exit_code"] == 3
    assert {job_id for job_id, outcome in outcomes.items() if outcome == "failed"} == named
    assert {job_id for job_id, outcome in outcomes.items() if outcome == "synced"} == set(jobs[3:])
    document = ftsync("verify", "--from-archive", "copy", "--json").json
    verdicts = {one["job_id"]: one["verdict"] for one in document["verdicts"]}
    assert document["exit_code"] == 3
    assert {job_id for job_id, verdict in verdicts.items() if verdict == "unreadable"} == named
    assert {verdicts[job_id] for job_id in jobs[3:]} == {"identical"}


def test_an_archive_with_a_damaged_line_is_brought_up_to_date_and_the_line_named(
    ftsync: Ftsync, world: World, copy: Path
) -> None:
    victim = world.jobs[0].id
    name = damage(copy, victim, "line")
    said = ftsync("archive", "copy")
    assert said.code == 3
    assert [row[:2] for row in said.rows] == [["archived", victim], ["failed", name]]
    assert victim in Archive(copy).entries("job")


def test_a_check_names_what_the_service_refused_and_agrees_with_the_archiving(
    ftsync: Ftsync, world: World, sandbox: Sandbox
) -> None:
    training, _ = a_dataset(world)
    job = world.jobs[1].id
    sandbox.fail(f"{training}/content", status=404)
    sandbox.fail(f"{job}/events", status=403)
    assert ftsync("archive", "copy").code == 3
    said = ftsync("archive", "copy", "--check")
    assert said.code == 3
    assert {row[0] for row in said.rows} == {f"jobs/{job}/events.jsonl", f"files/{training}/"}
    assert all("refused by the service" in row[1] for row in said.rows)
    problems = ftsync("archive", "copy", "--check", "--json").json
    assert (problems["exit_code"], len(problems["problems"])) == (3, 2)


@pytest.mark.parametrize("kind", ["content", "file", "events", "checkpoints"])
def test_a_check_names_what_was_never_stored(ftsync: Ftsync, world: World, copy: Path, kind: str) -> None:
    training, job = a_dataset(world)
    name, path = {
        "content": (training, f"files/{training}/"),
        "file": (training, f"files/{training}/file.json"),
        "events": (job, f"jobs/{job}/events.jsonl"),
        "checkpoints": (job, f"jobs/{job}/checkpoints.jsonl"),
    }[kind]
    stored = Archive(copy).stored(cast("Kind", kind), name)
    (copy / stored.path).unlink()
    lines = (copy / MANIFEST).read_text().splitlines(keepends=True)
    (copy / MANIFEST).write_text("".join(line for line in lines if json.loads(line)["path"] != stored.path))
    said = ftsync("archive", "copy", "--check")
    assert (said.code, [row[0] for row in said.rows]) == (3, [path])
    assert f"never stored, but belongs to {job}" in said.rows[0][1]
    assert ftsync("archive", "copy").code == 0
    assert ftsync("archive", "copy", "--check").code == 0


def test_what_a_service_keeps_of_no_job_is_not_missing(
    world: World, ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(world, dialect="litellm") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        assert ftsync("archive", "copy", "--last", "2").code == 0
    said = ftsync("archive", "copy", "--check")
    assert (said.code, said.rows) == (0, [])


@pytest.mark.parametrize(
    ("path", "to"),
    [(".partial", "docs"), ("README.md", ".bashrc"), ("jobs", "docs"), ("files", "docs"), (".lock", ".bashrc")],
)
def test_a_prepared_folder_is_refused_as_a_wrong_argument(
    ftsync: Ftsync, workspace: Path, sandbox: Sandbox, path: str, to: str
) -> None:
    (workspace / "docs").mkdir()
    (workspace / "docs" / "thesis.txt").write_text("mine")
    (workspace / ".bashrc").write_text("mine")
    (workspace / "copy").mkdir()
    (workspace / "copy" / path).symlink_to(f"../{to}")
    (workspace / "copy" / MANIFEST).touch()
    said = ftsync("archive", "copy")
    assert said.code == 2
    assert f"copy/{path}: it is a symbolic link" in said.err
    assert sandbox.count("/content") == 0
    assert (workspace / ".bashrc").read_text() == "mine"
    assert {file.name: file.read_text() for file in (workspace / "docs").iterdir()} == {"thesis.txt": "mine"}


@pytest.mark.parametrize("path", ["copy", "copy/.partial", "copy/files"])
def test_folders_that_are_exchanged_during_a_download_lead_nowhere(
    ftsync: Ftsync, workspace: Path, world: World, sandbox: Sandbox, path: str
) -> None:
    training, _ = a_dataset(world)
    download = hashlib.sha256(training.encode()).hexdigest()[:16]
    mine = workspace / "mine"
    for folder in (mine, mine / ".partial", mine / training):
        folder.mkdir()
        (folder / download).write_text("mine")

    def exchange(_: object) -> bool:
        (workspace / path).rename(workspace / "away")
        (workspace / path).symlink_to(mine)
        return True

    sandbox.fail(f"{training}/content", when=exchange, times=1, delay=0.01)
    ftsync("archive", "copy", "--concurrency", "1")
    assert (workspace / "away").is_dir()
    files = {file.relative_to(mine).as_posix(): file.read_text() for file in mine.rglob("*") if file.is_file()}
    assert files == dict.fromkeys([download, f".partial/{download}", f"{training}/{download}"], "mine")


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from ft_sync.cli import main
main(["archive", "copy", "--json"])
"""


@pytest.mark.parametrize("limit", [200, 20_000])
def test_a_disk_without_room_is_incomplete_and_the_next_run_completes_it(
    ftsync: Ftsync, world: World, limit: int
) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(limit)], capture_output=True, check=False)
    document = json.loads(done.stdout)
    errors = (
        [document["error"]] if "error" in document else [one["error"] for one in document["outcomes"] if one["error"]]
    )
    assert done.returncode == 3
    assert {error["code"] for error in errors} == {"disk"}
    assert all("copy cannot be written to: File too large" in error["message"] for error in errors)
    assert ftsync("archive", "copy").code == 0
    assert set(Archive(Path("copy")).entries("job")) == {job.id for job in world.jobs}
    assert ftsync("archive", "copy", "--check").code == 0
