"""Each argument of the Python API, by what it changes in W&B or in the answer."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import wandb

import ft_sync
from ft_sync.api import _settings_in, watch_jobs
from ft_sync.errors import ConfigError
from ft_sync.events import Started
from ft_sync.models import Create, Failed, Skip, SyncState, Wait
from ft_sync.sandbox import Sandbox, World, samples
from ft_sync.sandbox.world import Live
from tests.builders import readable

if TYPE_CHECKING:
    from ft_sync.events import Event
    from tests.wandb_backend import WandbBackend

pytestmark = pytest.mark.usefixtures("workspace")

FAR = 1e12
"""A time that does not come."""


@pytest.fixture
def ids(world: World) -> list[str]:
    """Three jobs of the account, newest first."""
    world.add(*samples.many(3))
    return [job.id for job in world.jobs]


@pytest.fixture
def running(world: World) -> str:
    """A job that runs and runs."""
    (job,) = samples.many(1)
    world.add(replace(job, live=Live(0, 0, FAR)))
    return job.id


# sync


def test_several_jobs_may_be_named(ids: list[str]) -> None:
    report = ft_sync.sync(iter([ids[2], ids[0]]), log_datasets=False)
    assert [outcome.job_id for outcome in report.outcomes] == [ids[2], ids[0]]


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [("num_fine_tune", "num_fine_tunes"), ("projct", "project"), ("log_dataset", "log_datasets")],
)
def test_a_misspelt_argument_is_not_taken_for_one_of_wandb_init(misspelt: str, meant: str) -> None:
    arguments: dict[str, Any] = {misspelt: 1}
    for function in (ft_sync.sync, ft_sync.preview, ft_sync.verify):
        with pytest.raises(ConfigError, match=f"^{misspelt}: there is no such argument$") as raised:
            function(**arguments)
        assert raised.value.hint == f"did you mean {meant}?"


def test_no_argument_of_wandb_init_is_taken_for_a_misspelt_one() -> None:
    ours = inspect.signature(ft_sync.sync).parameters
    theirs = {name: None for name in inspect.signature(wandb.init).parameters if name not in ours}
    assert _settings_in(theirs) == {"mode": None, "dir": None}


def test_the_newest_are_taken(ids: list[str]) -> None:
    report = ft_sync.sync(num_fine_tunes=2, log_datasets=False)
    assert [outcome.job_id for outcome in report.outcomes] == ids[1::-1]


def test_project_and_entity_say_where_the_runs_go(ids: list[str], backend: WandbBackend, project: str) -> None:
    ft_sync.sync(ids[0], project=f"{project}-b", entity="team-rocket", log_datasets=False)
    assert [run.id for run in backend.runs(f"{project}-b", "team-rocket")] == [ids[0]]
    assert backend.runs(project) == []


def test_the_model_artifact_has_the_given_names_and_type(ids: list[str], backend: WandbBackend, project: str) -> None:
    ft_sync.sync(ids[0], model_artifact_name="a", model_artifact_type="llm", model_artifact_copies=["b"])
    assert {run.type for name in "ab" if (run := backend.artifact(f"{project}/{name}:{ids[0]}"))} == {"llm"}


def test_table_rows_cut_the_table_and_not_the_file(ids: list[str], backend: WandbBackend, project: str) -> None:
    ft_sync.sync(ids[0], table_rows=2)
    (run,) = backend.runs(project)
    assert run.summary["train_data"]["nrows"] == 2
    assert run.config["n_train"] > 2


def test_an_unfinished_job_is_skipped_if_not_to_be_waited_for(running: str) -> None:
    (skipped,) = ft_sync.sync(running, wait_for_job_success=False).skipped
    assert skipped.unfinished


def test_waiting_ends_when_its_time_is_over(running: str) -> None:
    report = ft_sync.sync(running, poll_interval=0.05, timeout=0.1, log_datasets=False)
    assert report.timed_out == (running,)


def test_a_run_of_openais_own_integration_is_left_if_it_is_to_be(
    ids: list[str], backend: WandbBackend, project: str
) -> None:
    ft_sync.sync(ids[0], log_datasets=False)
    (run,) = backend.runs(project)
    run.tags.append("openai/finetune")
    run.summary.pop("ftsync")
    assert len(ft_sync.sync(ids[0], on_native="skip").skipped) == 1
    assert len(ft_sync.sync(ids[0], on_native="replace", log_datasets=False).synced) == 1
    assert [one.id for one in backend.runs(project)] == [f"{ids[0]}-r2"]


def test_what_is_out_of_date_is_renewed_and_the_run_before_kept_if_asked_for(
    ids: list[str], world: World, backend: WandbBackend, project: str
) -> None:
    ft_sync.sync(ids[0], log_datasets=False)
    job = world.jobs[0]
    world.remove(job.id)
    world.add(replace(job, job=job.job | {"trained_tokens": 1}))
    assert ft_sync.sync(ids[0]).synced == ()
    assert len(ft_sync.sync(ids[0], renew=True, keep_replaced=True, log_datasets=False).synced) == 1
    assert {run.id: "ftsync-replaced" in run.tags for run in backend.runs(project)} == {
        ids[0]: True,
        f"{ids[0]}-r2": False,
    }


def test_models_are_linked_into_the_registry(ids: list[str], backend: WandbBackend, project: str) -> None:
    ft_sync.sync(ids[0], link=[f"model/{project}"], link_alias=["production"], log_datasets=False)
    artifact = backend.artifact(f"{project}/model_metadata:{ids[0]}")
    assert artifact is not None
    assert [collection.name for collection in artifact.links] == [project]


def test_one_at_a_time_is_one_at_a_time(ids: list[str]) -> None:
    heard: list[Event] = []
    ft_sync.sync(concurrency=1, observer=heard.append, log_datasets=False)
    assert [event.plan.job.id for event in heard if isinstance(event, Started)] == ids[::-1]


def test_mode_and_dir_choose_offline_runs_and_where_they_lie(ids: list[str], tmp_path: Path) -> None:
    (synced,) = ft_sync.sync(ids[0], mode="offline", dir=str(tmp_path), log_datasets=False).synced
    assert synced.url is not None
    assert Path(synced.url).parent == tmp_path / "wandb"


@pytest.mark.parametrize(
    "arguments",
    [
        {"watch": True, "fine_tune_job_id": "ftjob-1"},
        {"watch": True, "wait_for_job_success": False},
        {"watch": True, "timeout": 1.0},
        {"concurrency": 0},
        {"poll_interval": 0.0},
        {"table_rows": 0},
        {"model_artifact_name": "not/a name"},
        {"on_native": "delete"},
        {"link": ["nowhere"]},
        {"link_alias": ["production"]},
        {"link": ["model/a"], "mode": "offline"},
        {"keep_replaced": True, "mode": "offline"},
        {"tagz": ["mine"]},
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused_before_anything_is_asked(arguments: dict[str, Any], sandbox: Sandbox) -> None:
    with pytest.raises(ConfigError):
        ft_sync.sync(**arguments)
    assert sandbox.requests == []


def test_no_ids_are_no_jobs(ids: list[str], backend: WandbBackend) -> None:
    assert ids
    assert ft_sync.sync([], overwrite=True).outcomes == ()
    assert ft_sync.preview([]).plans == ()
    assert ft_sync.verify([]).verdicts == ()
    assert [request.operation for request in backend.requests] == []


# preview


def test_a_preview_says_what_the_same_arguments_would_do(ids: list[str]) -> None:
    ft_sync.sync(ids[0], log_datasets=False)
    plans = ft_sync.preview([ids[0], ids[1], "ftjob-typo"])
    assert [type(plan) for plan in plans.plans] == [Skip, Create]
    assert [failed.job_id for failed in plans.unreadable] == ["ftjob-typo"]
    assert not isinstance(ft_sync.preview(ids[0], overwrite=True).plans[0], Skip)
    assert isinstance(ft_sync.preview(ids[0], project="another").plans[0], Create)
    assert len(ft_sync.preview(num_fine_tunes=2).plans) == 2


def test_an_argument_of_sync_that_plays_no_part_in_a_plan_is_told_as_such() -> None:
    arguments: dict[str, Any] = {"table_rows": 5}
    with pytest.raises(ConfigError, match=r"^table_rows: there is no such argument$") as raised:
        ft_sync.preview(**arguments)
    assert raised.value.hint == "it is one of sync, and changes nothing here"


def test_a_preview_knows_what_would_be_waited_for(running: str) -> None:
    assert isinstance(ft_sync.preview(running).plans[0], Wait)
    assert isinstance(ft_sync.preview(running, wait_for_job_success=False).plans[0], Skip)


# list_jobs, job_details


def test_the_listing_ends_at_its_limit(ids: list[str]) -> None:
    assert [standing.job.id for standing in readable(ft_sync.list_jobs(2))] == ids[:2]


def test_the_listing_asks_the_given_project_entity_and_mode(ids: list[str], project: str) -> None:
    ft_sync.sync(ids[0], entity="team-rocket", log_datasets=False)
    places: list[dict[str, Any]] = [{"entity": "team-rocket"}, {}, {"project": f"{project}-b"}, {"mode": "offline"}]
    found = [next(readable(ft_sync.list_jobs(1, **place))).sync for place in places]
    assert found == [SyncState.COMPLETE, SyncState.ABSENT, SyncState.ABSENT, SyncState.ABSENT]


def test_a_job_that_cannot_be_had_is_failed_in_its_place(ids: list[str]) -> None:
    lost, detail = ft_sync.job_details(["ftjob-typo", ids[0]], mode="offline")
    assert isinstance(lost, Failed)
    assert not isinstance(detail, Failed)
    assert detail.standing.sync is SyncState.ABSENT


def test_the_metrics_of_all_steps_come_with_a_job_if_they_are_asked_for(ids: list[str]) -> None:
    for with_rows in (False, True):
        (detail,) = ft_sync.job_details(ids[:1], mode="offline", with_rows=with_rows)
        assert not isinstance(detail, Failed)
        assert [row.step for row in detail.rows] == ([1, 2, 3, 4] if with_rows else [])


def test_jobs_are_watched_until_they_have_ended(running: str, world: World) -> None:
    looks = watch_jobs([running, "ftjob-typo"], mode="offline", poll_interval=0.01, with_rows=True)
    (waits, lost), job = next(looks), world.job(running)
    assert job is not None
    world.add(replace(job, live=None))
    *_, (ended, still_lost) = looks
    assert [one.standing.job.status for one in readable([waits, ended])] == ["running", "succeeded"]
    assert isinstance(lost, Failed)
    assert isinstance(still_lost, Failed)
