from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
import wandb

from ft_sync.sandbox import Sandbox, World, samples

if TYPE_CHECKING:
    from tests.cli.conftest import Ftsync
    from tests.wandb_backend import WandbBackend


@pytest.fixture
def ids(world: World, ftsync: Ftsync, backend: WandbBackend, project: str) -> tuple[str, str, str]:
    """A job that is as it should be, one whose run has another seed, and one that was not brought; oldest first."""
    world.add(*samples.many(3))
    newest, middle, oldest = (job.id for job in world.jobs)
    assert ftsync("sync", "--job", oldest, "--job", middle).code == 0
    run = backend.run(backend.store.user, project, middle)
    assert run is not None
    run.raw_config["seed"]["value"] = "\x1b[31mred"
    return oldest, middle, newest


def test_a_pipe_gets_a_line_for_each_difference_and_no_control_codes(
    ftsync: Ftsync, ids: tuple[str, str, str], world: World
) -> None:
    said = ftsync("verify")
    seed = str(world.jobs[1].job["seed"])
    assert said.rows == [
        ["identical", ids[0], "-", "-", "-"],
        ["differs", ids[1], "config.seed", seed, "\\x1b[31mred"],
        ["missing", ids[2], "-", "-", "not in W&B yet"],
    ]
    assert said.code == 3
    assert said.err.splitlines()[-2] == "1 identical, 1 differs, 1 missing"
    assert "--repair" in said.err.splitlines()[-1]
    assert "\x1b" not in said.out + said.err


def test_json_is_one_document(ftsync: Ftsync, ids: tuple[str, str, str], world: World) -> None:
    document = ftsync("verify", "--json").json
    assert (document["schema"], document["command"], document["exit_code"]) == (1, "verify", 3)
    assert document["counts"] == {"identical": 1, "differs": 1, "missing": 1, "unreadable": 0, "skipped": 0}
    assert [verdict["job_id"] for verdict in document["verdicts"]] == list(ids)
    differs: dict[str, Any] = document["verdicts"][1]
    assert differs.pop("url").endswith(ids[1])
    assert differs == {
        "job_id": ids[1],
        "verdict": "differs",
        "run_id": ids[1],
        "differences": [{"item": "config.seed", "expected": world.jobs[1].job["seed"], "found": "\x1b[31mred"}],
        "lost": [],
        "side": None,
        "reason": None,
        "notes": [],
        "error": None,
    }


def test_quiet_is_the_ids_of_the_jobs_that_are_not_identical(ftsync: Ftsync, ids: tuple[str, str, str]) -> None:
    said = ftsync("verify", "-q")
    assert said.out.splitlines() == list(ids[1:])
    assert said.err == ""


def test_a_repair_tells_the_verdicts_after_it(ftsync: Ftsync, ids: tuple[str, str, str]) -> None:
    said = ftsync("verify", "--repair")
    assert [row[:2] for row in said.rows] == [["identical", job_id] for job_id in ids]
    assert said.code == 0
    assert said.err.splitlines()[-1] == "3 identical"


def test_jobs_are_selected_as_for_a_sync(ftsync: Ftsync, ids: tuple[str, str, str]) -> None:
    assert [row[1] for row in ftsync("verify", "--last", "2").rows] == list(ids[1:])
    assert ftsync("verify", "--job", ids[0]).code == 0
    said = ftsync("verify", "--job", ids[0], "--job", "ftjob-typo")
    assert said.rows[0][:3] == ["unreadable", "ftjob-typo", "source"]
    assert said.code == 3


def test_a_selection_twice_over_is_refused(ftsync: Ftsync) -> None:
    assert ftsync("verify", "--job", "ftjob-1", "--last", "1").code == 2


def test_no_ids_on_stdin_means_no_jobs(ftsync: Ftsync, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    said = ftsync("verify", "--job", "-")
    assert (said.code, said.out) == (0, "")
    assert sandbox.requests == []


def test_a_run_of_wandbs_own_logger_is_told_in_one_line(ftsync: Ftsync, world: World, project: str) -> None:
    world.add(*samples.many(1))
    (job,) = world.jobs
    with wandb.init(project=project, id=job.id, job_type="fine-tune", reinit="create_new") as theirs:
        theirs.log({"train_loss": 0.5})
    reason = "was written by wandb's WandbLogger; `ftsync resync` rewrites it"
    said = ftsync("verify")
    assert said.rows == [["differs", job.id, "run", "-", reason]]
    assert said.code == 3
    (verdict,) = ftsync("verify", "--json").json["verdicts"]
    assert (verdict["verdict"], verdict["reason"]) == ("differs", reason)
    assert verdict["differences"] == [{"item": "run", "expected": None, "found": reason}]
    assert ftsync("resync").code == 0
    assert ftsync("verify").code == 0


def test_a_config_of_ones_own_is_expected_where_it_is_given(ftsync: Ftsync, world: World) -> None:
    world.add(*samples.many(1))
    given = ("--init", 'config={"seed2": 7}')
    assert ftsync("sync", *given).code == 0
    assert ftsync("verify", *given).code == 0
    assert ftsync("verify").rows == [["differs", world.jobs[0].id, "config.seed2", "-", "7"]]


def test_a_long_value_is_shortened_but_not_in_the_document(
    ftsync: Ftsync, world: World, backend: WandbBackend, project: str
) -> None:
    world.add(*samples.many(1))
    ftsync("sync")
    (run,) = backend.runs(project)
    run.raw_config["seed"]["value"] = "x" * 1000
    ((*_, found),) = ftsync("verify").rows
    assert found == "x" * 100 + "…"
    assert ftsync("verify", "--json").json["verdicts"][0]["differences"][0]["found"] == "x" * 1000


def test_debug_shows_where_a_job_could_not_be_read(ftsync: Ftsync, world: World, sandbox: Sandbox) -> None:
    world.add(*samples.many(1))
    ftsync("sync")
    sandbox.fail("/events", status=400)
    said = ftsync("verify", "--debug")
    assert "Traceback" in said.err
    assert said.code == 3
