"""The real command, mostly as a process of its own, between a service with 45 jobs and a W&B server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import wandb

from ft_sync.cli import run
from ft_sync.sandbox import Sandbox, World, samples

if TYPE_CHECKING:
    from pathlib import Path

    from tests.wandb_backend import WandbBackend

pytestmark = pytest.mark.usefixtures("workspace")

FTSYNC = [sys.executable, "-m", "ft_sync"]


def ftsync(*arguments: str, stdin: str = "") -> tuple[int, dict[str, Any]]:
    """Run a command with `--json`; return its exit code and its document."""
    # With an SDK process of its own.
    env = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    command = [*FTSYNC, *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, input=stdin, env=env)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def test_an_account_of_45_jobs(world: World, sandbox: Sandbox, backend: WandbBackend, project: str) -> None:
    world.add(*samples.many(45))
    ids = [job.id for job in world.jobs]

    code, newest = ftsync("sync", "--last", "5", "--no-wait")
    assert code == 0
    assert [outcome["job_id"] for outcome in newest["outcomes"]] == ids[4::-1]

    broken = ids[30]
    sandbox.fail(f"/fine_tuning/jobs/{broken}/events", status=400)
    code, most = ftsync("sync", "--no-wait")
    assert code == 3
    assert {one.id for one in backend.runs(project)} == set(ids) - {broken}
    assert [outcome["job_id"] for outcome in most["outcomes"] if outcome["outcome"] == "failed"] == [broken]

    sandbox.heal()
    assert run(["sync", "--no-wait", "--quiet"]) == 0
    assert {one.id for one in backend.runs(project)} == set(ids)

    sandbox.forget()
    backend.requests.clear()
    code, nothing = ftsync("sync", "--no-wait")
    assert code == 0
    assert {outcome["outcome"] for outcome in nothing["outcomes"]} == {"skipped"}
    assert len(sandbox.requests) == 1
    assert backend.count("UpsertBucket") == 0
    assert backend.count("Runs") == 1
    assert backend.unknown_fields == set()


def test_ids_from_a_listing_can_be_piped_into_a_sync(world: World, backend: WandbBackend, project: str) -> None:
    world.add(*samples.many(3))
    listing = subprocess.run([*FTSYNC, "list", "--unsynced", "-q"], capture_output=True, text=True, check=True).stdout
    code, _ = ftsync("sync", "--job", "-", stdin=listing)
    assert code == 0
    assert len(backend.runs(project)) == 3


def test_a_run_of_the_users_that_names_a_job_in_its_config_stays_as_it_is(
    world: World, backend: WandbBackend, project: str
) -> None:
    world.add(*samples.many(1))
    (job,) = world.jobs
    with wandb.init(project=project, id="my-eval", config={"fine_tune_job_id": job.id}, reinit="create_new") as mine:
        mine.log({"score": 1.0})
    for command in (["sync"], ["sync"], ["resync", "--overwrite"]):
        assert run([*command, "--quiet"]) == 0
    theirs, ours = backend.runs(project)
    assert (theirs.id, theirs.config, [row["score"] for row in theirs.history]) == (
        "my-eval",
        {"fine_tune_job_id": job.id},
        [1.0],
    )
    assert ours.id == f"{job.id}-r2"


def test_an_interrupted_sync_says_so_and_the_next_one_carries_on(
    world: World, sandbox: Sandbox, backend: WandbBackend, project: str, workspace: Path
) -> None:
    world.add(*samples.many(6))
    sandbox.latency = 0.2
    with (workspace / "stderr").open("w") as stderr:
        process = subprocess.Popen([*FTSYNC, "sync"], stdout=subprocess.DEVNULL, stderr=stderr)
        deadline = time.monotonic() + 60
        while not backend.count("UpsertBucket") and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    told = (workspace / "stderr").read_text()
    assert "interrupted" in told
    assert "Traceback" not in told

    sandbox.latency = 0
    assert run(["sync", "--quiet"]) == 0
    runs = backend.runs(project)
    assert len(runs) == 6
    assert {(len(one.history), "ftsync" in one.summary) for one in runs} == {(4, True)}
