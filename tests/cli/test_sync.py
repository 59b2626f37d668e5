from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

import pytest

from ft_sync.sandbox import Sandbox, World, samples

if TYPE_CHECKING:
    from tests.cli.conftest import Ftsync
    from tests.wandb_backend import WandbBackend


def add_one_of_each(world: World) -> tuple[str, str]:
    """Add a succeeded and a failed job; return their ids."""
    (good,), (bad,) = samples.many(1), samples.many(2, status="failed", newest=1_750_000_000)[1:]
    world.add(good, bad)
    return good.id, bad.id


def test_a_pipe_gets_a_line_for_each_outcome_and_no_control_codes(
    ftsync: Ftsync, world: World, backend: WandbBackend, project: str
) -> None:
    good, bad = add_one_of_each(world)
    said = ftsync("sync")
    (run,) = backend.runs(project)
    assert said.code == 0
    assert said.rows == [
        ["synced", good, "4 rows", f"{backend.url}/{backend.store.user}/{project}/runs/{run.id}", "not in W&B yet"],
        ["skipped", bad, "-", "-", "failed: A sprocket slipped. (--include-unsuccessful brings it)"],
    ]
    assert said.err.splitlines()[-1] == "1 synced, 1 skipped"
    assert "\x1b" not in said.out + said.err


def test_json_is_one_document(ftsync: Ftsync, world: World, project: str) -> None:
    good, bad = add_one_of_each(world)
    document = ftsync("sync", "--json").json
    outcomes = {outcome["job_id"]: outcome for outcome in document["outcomes"]}
    assert (document["schema"], document["command"], document["exit_code"]) == (1, "sync", 0)
    assert document["counts"] == {"synced": 1, "skipped": 1, "failed": 0}
    assert project in outcomes[good].pop("url")
    assert outcomes[good] == {
        "job_id": good,
        "outcome": "synced",
        "status": "succeeded",
        "run_id": good,
        "rows": 4,
        "reason": "not in W&B yet",
        "notes": [],
        "error": None,
    }
    assert outcomes[bad]["outcome"] == "skipped"
    assert outcomes[bad]["status"] == "failed"


def test_quiet_is_the_ids_of_the_synced_jobs_alone(ftsync: Ftsync, world: World) -> None:
    good, _ = add_one_of_each(world)
    said = ftsync("sync", "-q")
    assert (said.code, said.out, said.err) == (0, f"{good}\n", "")


def test_one_broken_job_is_named_with_what_to_do_and_stops_no_other(
    ftsync: Ftsync, world: World, sandbox: Sandbox
) -> None:
    world.add(*samples.many(3))
    broken = world.jobs[1].id
    sandbox.fail(f"/fine_tuning/jobs/{broken}/events", status=400)
    said = ftsync("sync")
    assert said.code == 3
    assert [row[:2] for row in said.rows if row[0] == "failed"] == [["failed", broken]]
    assert "2 synced, 1 failed" in said.err
    assert said.err.splitlines()[-1].startswith("  next: ")


def test_debug_shows_where_a_job_failed(ftsync: Ftsync, world: World, sandbox: Sandbox) -> None:
    world.add(*samples.many(1))
    sandbox.fail("/events", status=400)
    assert "Traceback" not in ftsync("sync").err
    assert "ft_sync.errors.BadData" in ftsync("sync", "--debug").err


def test_a_dry_run_tells_the_plan_with_its_reasons_and_writes_nothing(
    ftsync: Ftsync, world: World, backend: WandbBackend, project: str
) -> None:
    good, bad = add_one_of_each(world)
    said = ftsync("sync", "--dry-run")
    assert said.code == 0
    assert sorted(said.rows) == [
        ["create", good, "not in W&B yet"],
        ["skip", bad, "failed: A sprocket slipped. (--include-unsuccessful brings it)"],
    ]
    document = ftsync("resync", "--dry-run", "--json").json
    assert (document["command"], document["dry_run"]) == ("resync", True)
    assert document["counts"] == {"create": 1, "skip": 1}
    assert ftsync("sync", "--dry-run", "-q").out == f"{good}\n"
    assert backend.project(project) is None


def test_a_dry_run_names_jobs_that_do_not_exist(ftsync: Ftsync) -> None:
    said = ftsync("sync", "--dry-run", "--job", "ftjob-typo")
    assert said.code == 3
    assert said.rows == [["unreadable", "ftjob-typo", "OpenAI has no job ftjob-typo"]]


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_no_ids_on_stdin_means_no_jobs_and_not_every_job(
    more: tuple[str, ...], ftsync: Ftsync, world: World, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(*samples.many(2))
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    said = ftsync("sync", "--job", "-", *more)
    assert (said.code, said.out) == (0, "")
    assert sandbox.requests == []


def test_overwrite_writes_again_and_resync_alone_leaves_what_is_up_to_date(
    ftsync: Ftsync, world: World, backend: WandbBackend, project: str
) -> None:
    world.add(*samples.many(1))
    assert ftsync("sync").rows[0][0] == "synced"
    assert ftsync("resync").rows[0][0] == "skipped"
    assert ftsync("resync", "--overwrite").rows[0][0] == "synced"
    assert [run.id for run in backend.runs(project)] == [f"{world.jobs[0].id}-r2"]


def test_a_running_job_is_skipped_with_no_wait(ftsync: Ftsync, world: World) -> None:
    world.add(samples.live_job(time.time()))
    said = ftsync("sync", "--no-wait")
    assert said.code == 0
    assert "not waited for" in said.rows[0][4]


def test_running_out_of_time_exits_8_and_says_how_to_wait_on(ftsync: Ftsync, world: World) -> None:
    world.add(samples.live_job(time.time()))
    said = ftsync("sync", "--timeout", "0.3s", "--poll-interval", "0.1")
    assert said.code == 8
    assert "wait for the unfinished jobs" in said.err


def test_what_a_service_says_reaches_no_terminal_raw(ftsync: Ftsync, world: World, sandbox: Sandbox) -> None:
    world.add(*samples.many(1))
    sandbox.fail("/events", status=400, body={"error": {"message": "\x1b]0;owned\x07[bold]\u202egnp"}})
    said = ftsync("sync")
    assert said.code == 3
    assert not {"\x1b", "\x07", "\u202e"} & {*said.out, *said.err}


def test_arguments_of_wandb_init_arrive_in_the_run(
    ftsync: Ftsync, world: World, backend: WandbBackend, project: str
) -> None:
    world.add(*samples.many(1))
    assert ftsync("sync", "--init", "group=nightly", "--init", 'tags=["mine"]').code == 0
    (run,) = backend.runs(project)
    assert run.group == "nightly"
    assert "mine" in run.tags
