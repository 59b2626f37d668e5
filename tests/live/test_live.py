"""Jobs that run while they are synced: what is to be seen meanwhile, and what is left in the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import ft_sync
from ft_sync.events import Delayed
from tests.live.conftest import POLL, polls, syncing, until
from tests.live.driven import Driven, loss
from tests.truth import of_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ft_sync.sandbox import Sandbox, World
    from tests.wandb_backend import Run, WandbBackend

pytestmark = pytest.mark.usefixtures("workspace")

SDK_SECONDS = 15
"""The SDK by itself sends rows so seldom."""


def steps(run: Run) -> list[int]:
    return [row["_step"] for row in run.history]


def of_the_finished_job(backend: WandbBackend) -> dict[str, Any]:
    """What a sync of the finished job gives, in a project of its own."""
    ft_sync.sync(project="finished", include_unsuccessful=True)
    (run,) = backend.runs("finished")
    found = of_run(run)
    backend.store.projects.pop((run.project.entity, "finished"))
    return found


def test_a_run_opens_with_its_job_and_shows_each_metric_soon(
    world: World, sandbox: Sandbox, backend: WandbBackend, project: str, run: Callable[[], Run]
) -> None:
    job = Driven(world)
    with syncing():
        polls(sandbox)
        job.is_now("queued")
        polls(sandbox)
        assert backend.runs(project) == []
        job.is_now("running")
        until(
            lambda: [run for run in backend.runs(project) if "model" in run.config]
        )  # it is created before it is begun
        assert (run().id, run().state, run().config["model"]) == (job.id, "running", "gpt-4.1-mini-2025-04-14")
        began = time.monotonic()
        for step in range(1, 4):
            job.reports(step)
            until(lambda step=step: steps(run())[-1:] == [step])  # type: ignore[misc]
        assert time.monotonic() - began < 2 * SDK_SECONDS
        assert [row["train_loss"] for row in run().history] == [loss(step) for step in range(1, 4)]
        job.ends()
    assert (run().state, steps(run())) == ("finished", [1, 2, 3])


def test_a_poll_asks_for_one_listing_and_for_the_new_events_of_jobs_that_run(world: World, sandbox: Sandbox) -> None:
    running, paused, queued = Driven(world, "runs"), Driven(world, "pauses"), Driven(world, "waits", status="queued")
    for job in (running, paused):
        job.is_now("running")
        job.reports(*range(1, 151))
    with syncing():
        until(lambda: sandbox.count(f"{paused.id}/events") >= 2)  # both pages, once
        paused.is_now("paused")
        polls(sandbox, 3)
        sandbox.forget()
        polls(sandbox, 5)
        paths = [request.path for request in sandbox.requests]
        listings = sum(path.endswith("/jobs") for path in paths)
        asked = {job: sum(path.endswith(f"{job.id}/events") for path in paths) for job in (running, paused, queued)}
        assert 1 <= asked[running] <= listings + 1
        assert asked[paused] <= 1  # when it had just paused
        assert asked[queued] == 0
        assert listings + sum(asked.values()) == len(paths)
        for job in (running, paused, queued):
            job.ends()


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_the_end_is_what_a_sync_of_the_finished_job_gives(
    world: World, backend: WandbBackend, run: Callable[[], Run], status: str
) -> None:
    job = Driven(world)
    job.is_now("running")
    job.says("Started.")
    with syncing() as sync:
        job.reports(1, 2)
        until(lambda: backend.count("file_stream") and steps(run()) == [1, 2])
        job.is_now("paused")
        job.is_now("running")
        job.reports(3, train_loss=loss(3), valid_loss=0.5)
        job.says("Ended.")
        job.ends(status)
    assert sync.report().ended_badly == (() if status == "succeeded" else (job.id,))
    assert (run().id, run().state) == (job.id, "finished" if status == "succeeded" else "failed")
    assert ft_sync.verify().counts == {"identical": 1}
    assert of_run(run()) == of_the_finished_job(backend)


def test_a_run_is_rewritten_once_when_the_result_file_shows_what_no_event_had(
    world: World, backend: WandbBackend, run: Callable[[], Run]
) -> None:
    job = Driven(world)
    job.is_now("running")
    with syncing():
        job.reports(2, 4)
        until(lambda: backend.count("file_stream") and steps(run()) == [2, 4])
        job.ends(results="step,train_loss\n1,9.0\n2,8.0\n3,7.0\n4,6.0\n")
    assert (run().id, steps(run())) == (f"{job.id}-r2", [1, 2, 3, 4])
    assert of_run(run()) == of_the_finished_job(backend)


def test_after_the_timeout_the_next_sync_goes_on_with_the_run(
    world: World, backend: WandbBackend, run: Callable[[], Run]
) -> None:
    job = Driven(world)
    job.is_now("running")
    job.reports(1, 2)
    report = ft_sync.sync(poll_interval=POLL, timeout=2)
    assert report.timed_out == (job.id,)
    assert (run().state, steps(run())) == ("failed", [1, 2])
    job.reports(3)
    job.ends()
    (outcome,) = ft_sync.sync().synced
    assert (outcome.run_id, run().id, steps(run())) == (job.id, job.id, [1, 2, 3])
    assert of_run(run()) == of_the_finished_job(backend)


def test_many_jobs_are_followed_by_few_threads_and_end_at_once_each_with_its_own_rows(
    world: World, backend: WandbBackend, project: str
) -> None:
    jobs = [Driven(world, f"{number}") for number in range(40)]
    for number, job in enumerate(jobs):
        job.is_now("running")
        job.reports(1, train_loss=float(number))
    before = threading.active_count()
    with syncing(concurrency=4):
        until(lambda: sum(len(run.history) for run in backend.runs(project)) == len(jobs), seconds=60)
        assert threading.active_count() - before < len(jobs)
        for number, job in enumerate(jobs):
            job.reports(2, train_loss=100.0 + number)
            job.ends(results=f"step,train_loss\n1,{number}.0\n2,{100 + number}.0\n")
    rows = {run.id: [row["train_loss"] for row in run.history] for run in backend.runs(project)}
    assert rows == {job.id: [float(number), 100.0 + number] for number, job in enumerate(jobs)}
    assert {run.state for run in backend.runs(project)} == {"finished"}


def test_a_service_that_limits_the_rate_slows_the_sync_down_and_fails_nobody(world: World, sandbox: Sandbox) -> None:
    jobs = [Driven(world, f"{number}", status="running") for number in range(3)]
    with syncing() as sync:
        polls(sandbox)
        sandbox.fail("/events|/jobs", status=429, headers={"Retry-After": "0.3"}, times=4)
        polls(sandbox)
        for job in jobs:
            job.ends()
    assert len(sync.report().synced) == len(jobs)
    assert any(isinstance(event, Delayed) for event in sync.heard)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_watch_takes_on_new_jobs_survives_an_outage_and_ends_on_a_signal(
    world: World, sandbox: Sandbox, backend: WandbBackend, workspace: Path, number: int
) -> None:
    project = os.environ["WANDB_PROJECT"]
    first = Driven(world, "first")
    first.ends()
    command = [sys.executable, "-m", "ft_sync", "sync", "--watch", "--poll-interval", "0.2"]
    with (workspace / "said").open("w") as said:
        watch = subprocess.Popen(command, stdout=said, stderr=said)
    until(lambda: [run.state for run in backend.runs(project)] == ["finished"], seconds=60)
    sandbox.fail("", status=503, times=6)
    away = backend.fail("*", status=503)
    second = Driven(world, "second", created=10)
    second.ends()
    until(lambda: away.hits > 1)
    backend.heal(away)
    third = Driven(world, "third", created=20)
    third.is_now("running")
    third.reports(1)
    until(lambda: len(backend.runs(project)) == 3, seconds=60)
    until(lambda: [run.state for run in backend.runs(project) if run.id != third.id] == ["finished"] * 2, seconds=60)
    watch.send_signal(number)
    assert watch.wait(60) == 0
    states = {run.display_name: run.state for run in backend.runs(project)}
    assert states == {first.id: "finished", second.id: "finished", third.id: "failed"}
    assert "Traceback" not in (workspace / "said").read_text()
