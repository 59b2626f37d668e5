"""Verify between the two loopback services: runs of every origin, what users add, and what the source has lost."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import wandb

import ft_sync
from ft_sync.compare import Difference, Differs, Identical, Missing, Unreadable, Verdict
from ft_sync.errors import ConfigError, SinkRejected
from ft_sync.models import Skipped
from ft_sync.sandbox import Sandbox, World, samples

if TYPE_CHECKING:
    from ft_sync.sandbox import SampleJob
    from tests.wandb_backend import Run, WandbBackend

pytestmark = pytest.mark.usefixtures("workspace")


@pytest.fixture
def job(world: World) -> SampleJob:
    """A job with 90 steps, events, checkpoints, a training and a validation file."""
    (support,) = [one for one in samples.finished_jobs() if one.id == "ftjob-1LdB563SfkhvH8pUo541MPmi"]
    world.add(support)
    return support


@pytest.fixture
def run(job: SampleJob, backend: WandbBackend, project: str) -> Run:
    """Its run, synced."""
    assert ft_sync.sync().synced
    (run,) = backend.runs(project)
    assert run.id == job.id
    return run


def verdict(*, repair: bool = False) -> Verdict:
    (verdict,) = ft_sync.verify(repair=repair).verdicts
    return verdict


def items(*, repair: bool = False) -> list[str]:
    found = verdict(repair=repair)
    assert isinstance(found, Differs)
    return [one.item for one in found.differences]


def test_a_job_that_was_synced_is_identical(run: Run) -> None:
    found = verdict()
    assert isinstance(found, Identical)
    assert (found.job_id, found.run_id, found.notes) == (run.id, run.id, ())
    assert str(found.url).endswith(run.id)


def test_what_users_add_is_no_difference(run: Run) -> None:
    run.tags.append("mine")
    run.summary["mine"] = 1
    run.notes = f"{run.notes or ''}\n\nmine"
    run.display_name = "my best run"
    (model,) = run.logged
    model.collection.aliases["mine"] = model
    assert isinstance(verdict(), Identical)


def test_a_config_key_that_the_job_does_not_have_is_named_and_repaired(run: Run) -> None:
    run.raw_config["seed2"] = {"value": 7}
    run.raw_config["hyperparameters"]["value"]["theirs"] = {"deep": 1}
    found = verdict()
    assert isinstance(found, Differs)
    assert found.differences == (
        Difference("config.hyperparameters.theirs", None, {"deep": 1}),
        Difference("config.seed2", None, 7),
    )
    assert isinstance(verdict(repair=True), Identical)


def test_the_config_of_ones_own_is_expected_by_who_gives_it(job: SampleJob) -> None:
    config = {
        "team": "bikes",
        "plan": {"a": None, "b": {}, "c": [1, None]},
        "empty": {},
        "when": datetime(2026, 1, 2, tzinfo=UTC),
    }
    assert ft_sync.sync(config=config).synced
    assert ft_sync.verify(config=config).is_identical
    assert items() == ["config.plan", "config.team", "config.when"]
    assert not ft_sync.verify(config={**config, "team": "cars"}).is_identical
    assert ft_sync.verify(config=config, repair=True).is_identical
    assert job


METADATA: list[dict[str, Any]] = [
    {"a": None},
    {"a": {}},
    {"a": {"b": None, "c": {"d": {}}}},
    {"a": [None, {}, {"b": None}], "c": "", "d": []},
    {"a": float("nan"), "b": 2**70, "c": -(2**63), "d": 1e400, "e": "\ud800", "f": -0.0, "g": 5e-324},
]


@pytest.mark.parametrize("metadata", METADATA, ids=str)
def test_a_value_that_wb_does_not_store_is_no_difference(
    world: World, backend: WandbBackend, project: str, metadata: dict[str, Any]
) -> None:
    (one,) = samples.many(1)
    world.add(replace(one, job=one.job | {"metadata": metadata}))
    assert ft_sync.sync().synced
    assert isinstance(verdict(repair=True), Identical)
    (run,) = backend.runs(project)
    assert run.id == one.id
    assert json.loads(run.files["fine_tuning/job.json"].data)["metadata"].keys() == metadata.keys()


def test_a_run_that_was_cut_off_and_gone_on_with_is_identical(
    job: SampleJob, backend: WandbBackend, project: str
) -> None:
    failure = backend.fail("CommitArtifact", status=403)
    assert ft_sync.sync().failed
    backend.heal(failure)
    assert ft_sync.sync().synced
    assert [run.id for run in backend.runs(project)] == [job.id]
    assert isinstance(verdict(), Identical)


def test_of_a_run_of_openais_own_integration_what_was_added_counts_and_its_history_is_its_own(
    job: SampleJob, backend: WandbBackend, project: str
) -> None:
    config = {"model": "x", "hyperparameters": {"n_epochs": "auto", "theirs": 1}}
    with wandb.init(
        project=project, id=job.id, tags=["openai/fine-tune"], config=config, reinit="create_new"
    ) as native:
        native.log({"train_loss": 9.5, "theirs": 1})
    found = verdict()
    assert isinstance(found, Differs)
    assert not [one for one in found.differences if one.item.startswith("row")]
    assert ft_sync.sync().synced
    assert isinstance(verdict(), Identical)

    (run,) = backend.runs(project)
    run.summary["status"] = "running"
    del run.files["fine_tuning/job.json"]
    assert items() == ["summary.status", "file fine_tuning/job.json"]
    assert isinstance(verdict(repair=True), Identical)
    assert run.history[0]["train_loss"] == 9.5


def test_a_run_of_wandbs_own_logger_differs_until_it_is_repaired(
    job: SampleJob, backend: WandbBackend, project: str
) -> None:
    with wandb.init(project=project, id=job.id, job_type="fine-tune", reinit="create_new") as theirs:
        theirs.log({"train_loss": 0.5}, step=1)
        theirs.summary["status"] = "succeeded"
    found = verdict()
    assert isinstance(found, Differs)
    assert found.reason == "was written by wandb's WandbLogger; `ftsync resync` rewrites it"
    assert found.differences == (Difference("run", None, found.reason),)
    assert isinstance(verdict(repair=True), Identical)
    assert [run.display_name for run in backend.runs(project)] == [job.id]


def test_a_run_of_wandbs_own_logger_with_steps_that_the_source_has_no_more_is_left_alone(
    job: SampleJob, project: str, backend: WandbBackend
) -> None:
    with wandb.init(project=project, id=job.id, job_type="fine-tune", reinit="create_new") as theirs:
        theirs.log({"train_loss": 0.5}, step=91)
        theirs.summary["status"] = "succeeded"
    found = verdict(repair=True)
    assert isinstance(found, Differs)
    assert found.lost == ("the metrics of 1 steps",)
    assert len(backend.runs(project)) == 1


def test_a_job_without_a_run_is_missing_until_it_is_repaired(job: SampleJob) -> None:
    assert isinstance(verdict(), Missing)
    assert isinstance(verdict(repair=True), Identical)
    assert verdict().job_id == job.id


def test_jobs_that_a_sync_would_not_bring_are_skipped_with_the_reason(world: World) -> None:
    world.add(*samples.many(1, status="failed"), samples.live_job(time.time()))
    verification = ft_sync.verify(repair=True)
    assert verification.is_identical
    assert {type(one) for one in verification.verdicts} == {Skipped}
    assert ft_sync.verify(include_unsuccessful=True).counts == {"missing": 1, "skipped": 1}


def test_a_failed_job_that_was_brought_is_verified_like_any_other(world: World) -> None:
    world.add(*samples.many(1, status="failed"))
    assert ft_sync.sync(include_unsuccessful=True).synced
    assert isinstance(verdict(), Identical)


def test_a_training_file_that_is_gone_from_the_source_is_a_note(job: SampleJob, run: Run, world: World) -> None:
    file_id = str(job.job["training_file"])
    world.remove(file_id)
    found = verdict()
    assert isinstance(found, Identical)
    assert found.notes == (f"train file {file_id}: the source does not give it any more, so it was not compared",)
    assert found.run_id == run.id


def test_a_run_written_again_keeps_the_name_and_the_size_of_a_training_file_that_is_gone(
    job: SampleJob, run: Run, world: World, backend: WandbBackend, project: str
) -> None:
    world.remove(str(job.job["training_file"]))
    run.raw_config["seed"]["value"] = -1
    assert items() == ["config.seed"]
    assert isinstance(verdict(repair=True), Identical)
    (again,) = backend.runs(project)
    assert again.id == f"{job.id}-r2"
    kept = ("training_file_name", "training_file_bytes", "n_train")
    assert [again.config[key] for key in kept] == [run.config[key] for key in kept]
    assert {one.collection.name for one in again.used} == {one.collection.name for one in run.used}


@pytest.mark.parametrize("what", ["result file", "events", "checkpoints", "half of the events"])
def test_what_the_source_has_lost_is_not_repaired_away(job: SampleJob, run: Run, world: World, what: str) -> None:
    lacking: dict[str, Any] = {"events": {"events": ()}, "checkpoints": {"checkpoints": ()}}
    lacking["half of the events"] = {"events": job.events[len(job.events) // 2 :]}
    if what == "result file":
        world.remove(job.job["result_files"][0])
    else:
        world.add(replace(job, **lacking[what]))
    found = verdict(repair=True)
    assert isinstance(found, Differs)
    assert what.rsplit(maxsplit=1)[-1] in " ".join(found.lost)
    assert found.notes[-1].startswith("left alone")
    assert list(run.project.runs.values()) == [run]


def test_a_side_that_cannot_be_read_is_named_and_stops_no_other_job(
    world: World, sandbox: Sandbox, backend: WandbBackend
) -> None:
    world.add(*samples.many(3))
    first, second, third = (job.id for job in world.jobs)
    assert len(ft_sync.sync().synced) == 3
    sandbox.fail(f"/fine_tuning/jobs/{first}/events", status=400)
    backend.fail("RunFiles", status=403, when=lambda request: request.run == second)
    verdicts: dict[str, Verdict] = {one.job_id: one for one in ft_sync.verify().verdicts}
    assert [type(verdicts[job_id]) for job_id in (first, second, third)] == [Unreadable, Unreadable, Identical]
    sides = [one.side for job_id in (first, second) if isinstance(one := verdicts[job_id], Unreadable)]
    assert sides == ["source", "W&B"]


def test_without_wb_there_is_no_verdict_at_all(job: SampleJob, backend: WandbBackend) -> None:
    backend.fail("*", status=400)
    with pytest.raises(SinkRejected):
        ft_sync.verify()
    assert job


def test_runs_that_are_kept_offline_are_to_be_uploaded_first() -> None:
    with pytest.raises(ConfigError) as refused:
        ft_sync.verify(mode="offline")
    assert "wandb sync" in str(refused.value.hint)


def test_datasets_that_were_not_to_be_logged_are_not_missed(job: SampleJob) -> None:
    assert ft_sync.sync(log_datasets=False).synced
    assert items() == ["train dataset: artifact", "valid dataset: artifact", "model_metadata.json: datasets"]
    assert ft_sync.verify(log_datasets=False).is_identical
    assert job


def test_a_table_is_expected_to_be_as_long_as_asked_for(job: SampleJob) -> None:
    assert ft_sync.sync(table_rows=10).synced
    assert ft_sync.verify(table_rows=10).is_identical
    assert "train dataset: rows of train_data.table.json" in items()
    assert job
