from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from ft_sync.sandbox import World, samples

if TYPE_CHECKING:
    from tests.cli.conftest import Ftsync
    from tests.wandb_backend import WandbBackend


@pytest.fixture(autouse=True)
def _jobs(world: World) -> None:
    world.add(
        *samples.many(3),
        *samples.many(5, status="failed", newest=1_750_000_000)[3:],
        samples.live_job(time.time()),
    )


def ids(world: World) -> list[str]:
    return [job.id for job in world.jobs]


def test_a_misspelt_status_is_told_with_those_that_there_are(ftsync: Ftsync) -> None:
    said = ftsync("list", "--status", "succeded")
    assert (said.code, said.out) == (0, "")
    assert re.search("^no job is succeded; there are jobs that are failed, .*succeeded", said.err)
    assert ftsync("list", "--status", "succeded", "-q").err == ""


def test_a_pipe_gets_ten_columns_newest_first(ftsync: Ftsync, world: World) -> None:
    said = ftsync("list")
    assert said.code == 0
    assert [row[0] for row in said.rows] == ids(world)
    running, newest = said.rows[:2]
    assert running[1] == "running" or running[1] in {"queued", "validating_files"}
    assert newest[1:4] == ["succeeded", "supervised", world.jobs[1].job["model"]]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", newest[5])
    assert newest[6].isdigit()
    assert newest[7].isdigit()
    assert newest[8:] == ["absent", "-"]


def test_json_has_the_run_of_a_synced_job(ftsync: Ftsync, world: World, backend: WandbBackend, project: str) -> None:
    synced = ids(world)[1]
    assert ftsync("sync", "--job", synced).code == 0
    document = ftsync("list", "--json").json
    jobs = {job["job_id"]: job for job in document["jobs"]}
    assert (document["schema"], document["command"]) == (1, "list")
    assert jobs[synced]["sync"] == "complete"
    assert jobs[synced]["run_id"] == synced
    assert jobs[synced]["url"] == f"{backend.url}/{backend.store.user}/{project}/runs/{synced}"
    assert jobs[synced]["plan"] == {"action": "skip", "reason": "already complete"}
    assert jobs[ids(world)[2]]["url"] is None


def test_a_limit_says_that_there_are_more(ftsync: Ftsync, world: World) -> None:
    said = ftsync("list", "-q", "--limit", "2")
    assert said.out.split() == ids(world)[:2]
    said = ftsync("list", "--limit", "2")
    assert said.err == "the newest 2; --all shows every job\n"
    assert ftsync("list", "--limit", "6").err == ""


def test_twenty_are_shown_and_all_with_all(ftsync: Ftsync, world: World) -> None:
    world.add(*samples.many(30))
    assert len(ftsync("list").rows) == 20
    assert len(ftsync("list", "--all").rows) == len(ids(world))
    assert ftsync("list", "--all", "--limit", "3").code == 2


def test_statuses_filter_before_the_limit_counts(ftsync: Ftsync, world: World) -> None:
    failed = [job.id for job in world.jobs if job.job["status"] == "failed"]
    assert ftsync("list", "-q", "--status", "failed", "--limit", "5").out.split() == failed
    both = ftsync("list", "-q", "--status", "failed", "--status", "succeeded")
    assert len(both.out.split()) == 5


def test_unsynced_are_the_succeeded_jobs_that_wandb_does_not_hold(ftsync: Ftsync, world: World) -> None:
    succeeded = ids(world)[1:4]
    assert ftsync("sync", "--job", succeeded[0], "-q").code == 0
    assert ftsync("list", "-q", "--unsynced").out.split() == succeeded[1:]


def test_without_a_login_the_sync_state_is_unknown_and_unsynced_an_error(
    ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    assert {row[8] for row in ftsync("list").rows} == {"unknown"}
    said = ftsync("list", "--unsynced", "--json")
    assert said.code == 4
    assert said.json["error"]["code"] == "auth"
