"""The Python API, end to end: both services on loopback, real SDKs on both sides."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import openai
import pytest

import ft_sync
from ft_sync.errors import ConfigError
from ft_sync.events import Delayed, Event
from ft_sync.models import Failed, SyncState
from ft_sync.sandbox import API_KEY, Sandbox, World, samples
from tests.builders import readable
from tests.fakes import Gauge

if TYPE_CHECKING:
    from pathlib import Path

    from tests.wandb_backend import WandbBackend

pytestmark = pytest.mark.usefixtures("workspace")


def test_every_job_of_all_pages_arrives(world: World, backend: WandbBackend, project: str) -> None:
    world.add(*samples.many(23))
    report = ft_sync.sync(log_datasets=False)
    assert len(report.synced) == 23
    assert {run.id for run in backend.runs(project)} == {job.id for job in world.jobs}
    assert {len(run.history) for run in backend.runs(project)} == {4}


def test_a_second_sync_asks_for_the_listing_the_runs_and_the_latest_model_alone(
    world: World, sandbox: Sandbox, backend: WandbBackend
) -> None:
    world.add(*samples.many(6))
    ft_sync.sync(log_datasets=False)
    sandbox.forget()
    backend.requests.clear()
    report = ft_sync.sync()
    assert len(report.skipped) == 6
    assert [request.path for request in sandbox.requests] == ["/v1/fine_tuning/jobs"]
    once = {"Viewer", "GetViewer", "GetProject", "ServerFeaturesQuery", "Runs", "ArtifactMembershipByName"}
    assert {request.operation for request in backend.requests} <= once
    assert len(backend.requests) == len(once)


def test_one_broken_job_does_not_stop_the_others(world: World, sandbox: Sandbox) -> None:
    world.add(*samples.many(3))
    broken = world.jobs[1].id
    sandbox.fail(f"/fine_tuning/jobs/{broken}/events", status=400)
    report = ft_sync.sync(log_datasets=False)
    assert [outcome.job_id for outcome in report.failed] == [broken]
    assert len(report.synced) == 2


def test_overwrite_leaves_one_run_of_the_job(world: World, backend: WandbBackend, project: str) -> None:
    world.add(*samples.many(1))
    (job,) = world.jobs
    ft_sync.sync()
    ft_sync.sync(job.id, overwrite=True)
    assert [run.id for run in backend.runs(project)] == [f"{job.id}-r2"]
    assert ft_sync.sync().synced == ()


def test_the_users_arguments_reach_wandb_and_add_to_ours(world: World, backend: WandbBackend, project: str) -> None:
    world.add(*samples.many(1))
    ft_sync.sync(tags=["mine"], group="g", notes="n", config={"extra": 1}, log_datasets=False)
    (run,) = backend.runs(project)
    assert {"openai", "mine"} <= set(run.tags)
    assert (run.group, run.notes, run.config["extra"]) == ("g", "n", 1)
    assert run.config["fine_tune_job_id"] == run.id


def test_unsuccessful_jobs_come_as_failed_runs_when_asked_for(
    world: World, backend: WandbBackend, project: str
) -> None:
    world.add(*samples.many(1, status="failed"))
    assert ft_sync.sync().synced == ()
    assert len(ft_sync.sync(include_unsuccessful=True).synced) == 1
    (run,) = backend.runs(project)
    assert (run.state, run.summary["status"]) == ("failed", "failed")
    assert (run.notes or "").startswith("failed: ")
    assert ft_sync.sync(include_unsuccessful=True).synced == ()


def test_a_client_may_be_given(world: World, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add(*samples.many(1))
    monkeypatch.delenv("OPENAI_API_KEY")
    with openai.OpenAI(base_url=sandbox.url, api_key=API_KEY) as client:
        assert len(ft_sync.sync(openai_client=client, log_datasets=False).synced) == 1
        assert not client.is_closed()


def test_the_model_artifact_is_found_by_the_jobs_id(world: World, backend: WandbBackend, project: str) -> None:
    world.add(*samples.many(2))
    ft_sync.sync(log_datasets=False)
    newest = world.jobs[0]
    artifact = backend.artifact(f"{project}/model_metadata:{newest.id}")
    assert artifact is not None
    assert artifact.metadata["fine_tuned_model"] == newest.job["fine_tuned_model"]
    assert artifact is backend.artifact(f"{project}/model_metadata:latest")


def test_the_listing_knows_what_is_synced(world: World) -> None:
    world.add(*samples.many(3))
    synced = world.jobs[1].id
    ft_sync.sync(synced, log_datasets=False)
    states = {str(standing.job.id): standing.sync for standing in readable(ft_sync.list_jobs())}
    assert states.pop(synced) is SyncState.COMPLETE
    assert set(states.values()) == {SyncState.ABSENT}


def test_without_a_wandb_login_the_listing_says_unknown(
    world: World, monkeypatch: pytest.MonkeyPatch, workspace: Path
) -> None:
    world.add(*samples.many(2))
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(workspace / "none"))
    assert {standing.sync for standing in readable(ft_sync.list_jobs())} == {SyncState.UNKNOWN}


def test_a_preview_writes_nothing(world: World, backend: WandbBackend, project: str) -> None:
    world.add(*samples.many(2))
    assert len(ft_sync.preview().plans) == 2
    assert backend.project(project) is None


def test_a_job_in_depth_tells_its_newest_step(world: World) -> None:
    world.add(*samples.many(1, steps=7))
    (detail,) = ft_sync.job_details([world.jobs[0].id])
    assert not isinstance(detail, Failed)
    assert (detail.step, detail.total_steps) == (7, 7)
    assert "train_loss" in detail.metrics


def test_named_and_newest_jobs_exclude_each_other() -> None:
    with pytest.raises(ConfigError):
        ft_sync.sync("ftjob-1", num_fine_tunes=2)


def test_a_number_below_one_is_refused() -> None:
    with pytest.raises(ConfigError):
        ft_sync.sync(num_fine_tunes=0)


def test_importing_the_package_imports_neither_sdk() -> None:
    code = "import sys, ft_sync; print({'openai', 'wandb', 'pydantic', 'rich', 'typer'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_public_name_can_be_had() -> None:
    assert all(getattr(ft_sync, name) for name in ft_sync.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = ft_sync.nonsense


def test_observers_are_called_by_one_thread_at_a_time_also_with_news_of_the_source(
    world: World, sandbox: Sandbox
) -> None:
    world.add(*samples.many(6))
    sandbox.fail("/events", status=429, headers={"retry-after-ms": "1"}, times=3)
    gauge, heard = Gauge(), set[type[Event]]()

    def observe(event: Event) -> None:
        with gauge:
            heard.add(type(event))
        if isinstance(event, Delayed):
            with gauge:
                time.sleep(0.02)

    assert len(ft_sync.sync(log_datasets=False, observer=observe).synced) == 6
    assert Delayed in heard
    assert gauge.most == 1
