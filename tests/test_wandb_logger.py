"""The drop-in against wandb's class: the same signature, the same meaning, the same answers."""

# ruff: noqa: ANN401 - wandb's class cannot be imported where types are checked

from __future__ import annotations

import importlib
import inspect
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

import openai
import pytest
import wandb
from openai.types.fine_tuning.fine_tuning_job import Hyperparameters

import ft_sync
from ft_sync import WandbLogger
from ft_sync.errors import BadData, ConfigError, NotFound
from ft_sync.sandbox import API_KEY, Sandbox, World, samples
from ft_sync.sandbox.world import Live
from ft_sync.wandb_logger import DONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.wandb_backend import WandbBackend


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """wandb's class; what it computes with need not be there to look at it."""
    monkeypatch.setattr(wandb.util, "_not_importable", set())
    for name in ("numpy", "pandas"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    yield importlib.import_module("wandb.integration.openai.fine_tuning").WandbLogger
    sys.modules.pop("wandb.integration.openai.fine_tuning")


@pytest.fixture
def ids(workspace: Path, world: World) -> list[str]:
    """Four jobs of the account, newest first."""
    assert workspace.is_dir()
    world.add(*samples.many(4))
    return [job.id for job in world.jobs]


@pytest.fixture
def active(workspace: Path, project: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[wandb.Run]:
    """A run of the user's, in a project of its own, whose rows are sent soon."""
    assert workspace.is_dir()
    monkeypatch.setenv("WANDB__FILE_STREAM_TRANSMIT_INTERVAL", "1")
    with wandb.init(project=f"{project}-mine", config={"model": "mine", "lr": 0.1}) as run:
        yield run


# The signature


def test_the_signature_is_that_of_wandbs_class(peer: Any) -> None:
    def parameters(sync: Callable[..., object]) -> list[tuple[object, ...]]:
        return [(one.name, one.kind, one.default) for one in inspect.signature(sync).parameters.values()]

    assert parameters(WandbLogger.sync) == parameters(peer.sync)


def test_every_public_name_of_wandbs_class_is_there(peer: Any) -> None:
    assert {name for name in vars(peer) if name[0] != "_"} == {name for name in vars(WandbLogger) if name[0] != "_"}


@pytest.mark.parametrize("value", [{"a": 1, "b": (2,)}, [1, None, "x"], 7, Hyperparameters(n_epochs=3)])
def test_sanitize_gives_what_wandbs_class_gives(peer: Any, value: object) -> None:
    assert WandbLogger.sanitize(value) == peer.sanitize(value)


# Which jobs


def test_one_job_by_its_id(ids: list[str], backend: WandbBackend, project: str) -> None:
    assert WandbLogger.sync(ids[2], project=project) == DONE
    assert [run.id for run in backend.runs(project)] == [ids[2]]


def test_without_a_job_all_that_are_not_there_yet(ids: list[str], backend: WandbBackend, project: str) -> None:
    assert WandbLogger.sync(ids[1], project=project) == DONE
    assert WandbLogger.sync(project=project) == DONE
    assert sorted(run.id for run in backend.runs(project)) == sorted(ids)


def test_the_most_recent_ones(ids: list[str], backend: WandbBackend, project: str) -> None:
    assert WandbLogger.sync(num_fine_tunes=2, project=project) == DONE
    assert sorted(run.id for run in backend.runs(project)) == sorted(ids[:2])


def test_an_id_wins_over_a_number_and_an_empty_one_is_none(ids: list[str], backend: WandbBackend, project: str) -> None:
    assert WandbLogger.sync(ids[3], None, 2, project) == DONE
    assert [run.id for run in backend.runs(project)] == [ids[3]]
    assert WandbLogger.sync("", None, 1, project) == DONE
    assert {run.id for run in backend.runs(project)} == {ids[3], ids[0]}


# Where to, and what


def test_the_project_is_wandbs_unless_given_whatever_the_environment_says(
    ids: list[str], backend: WandbBackend, project: str
) -> None:
    assert WandbLogger.sync(ids[0], entity="team-rocket", overwrite=True) == DONE
    assert backend.runs(project) == []
    assert any(run.id.startswith(ids[0]) for run in backend.runs("OpenAI-Fine-Tune", "team-rocket"))


def test_an_instance_does_the_same(ids: list[str], project: str) -> None:
    assert WandbLogger().sync(fine_tune_job_id=ids[0], project=project) == DONE


def test_the_client_is_used_kept_and_left_open(
    ids: list[str], sandbox: Sandbox, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with openai.OpenAI(base_url=sandbox.url, api_key=API_KEY) as client:
        assert WandbLogger.sync(ids[0], client, project=project) == DONE
        assert WandbLogger.openai_client is client
        assert not client.is_closed()


def test_without_datasets_there_are_none(ids: list[str], backend: WandbBackend, project: str) -> None:
    WandbLogger.sync(ids[0], project=project, log_datasets=False)
    (run,) = backend.runs(project)
    assert "n_train" not in run.config


def test_the_model_artifact_has_wandbs_name_unless_given(ids: list[str], backend: WandbBackend, project: str) -> None:
    WandbLogger.sync(ids[0], project=project)
    WandbLogger.sync(ids[1], project=project, model_artifact_name="mine", model_artifact_type="llm")
    assert backend.artifact(f"{project}/model-metadata:{ids[0]}") is not None
    assert backend.artifact(f"{project}/model-metadata:{ids[1]}") is None
    mine = backend.artifact(f"{project}/mine:{ids[1]}")
    assert mine is not None
    assert mine.type == "llm"


def test_latest_is_the_newest_job_under_wandbs_name_and_under_the_documented_one(
    ids: list[str], backend: WandbBackend, project: str
) -> None:
    WandbLogger.sync(ids[0], project=project)
    WandbLogger.sync(project=project)
    for name in ("model-metadata", "model_metadata"):
        newest = backend.artifact(f"{project}/{name}:{ids[0]}")
        assert newest is not None
        assert newest is backend.artifact(f"{project}/{name}:latest")


def test_further_arguments_reach_wandb_init_and_what_is_done_anyway_does_no_harm(
    ids: list[str], backend: WandbBackend, project: str
) -> None:
    WandbLogger.sync(ids[0], project=project, tags=["mine"], group="g", reinit=True, resume="allow")
    (run,) = backend.runs(project)
    assert "mine" in run.tags
    assert run.group == "g"


def test_an_unknown_argument_is_refused(ids: list[str], project: str) -> None:
    with pytest.raises(ConfigError, match="no such argument"):
        WandbLogger.sync(ids[0], project=project, tagz=["x"])


def test_in_disabled_mode_nothing_is_done(
    ids: list[str], sandbox: Sandbox, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert WandbLogger.sync(ids[0], project=project, mode="disabled") == DONE
    monkeypatch.setenv("WANDB_MODE", "disabled")
    wandb.teardown()
    assert WandbLogger.sync(ids[0], project=project) == DONE
    assert sandbox.requests == []


# What it answers


def test_what_was_there_already_is_none(ids: list[str], project: str) -> None:
    assert WandbLogger.sync(ids[0], project=project) == DONE
    assert WandbLogger.sync(ids[0], project=project) is None


def test_an_account_without_jobs_is_no_failure(workspace: Path, project: str) -> None:
    assert workspace.is_dir()
    assert WandbLogger.sync(project=project) == DONE


def test_overwriting_writes_again(ids: list[str], backend: WandbBackend, project: str) -> None:
    WandbLogger.sync(ids[0], project=project)
    assert WandbLogger.sync(ids[0], project=project, overwrite=True) == DONE
    assert [run.id for run in backend.runs(project)] == [f"{ids[0]}-r2"]


def test_a_failed_job_is_left_out_and_no_failure_of_the_call(
    workspace: Path, world: World, backend: WandbBackend, project: str
) -> None:
    assert workspace.is_dir()
    world.add(*samples.many(1, status="failed"))
    assert WandbLogger.sync(world.jobs[0].id, project=project) == DONE
    assert backend.runs(project) == []


def test_an_unknown_job_raises_with_the_hint_as_a_note(workspace: Path, project: str) -> None:
    assert workspace.is_dir()
    with pytest.raises(NotFound, match="ftjob-typo") as caught:
        WandbLogger.sync("ftjob-typo", project=project)
    assert isinstance(caught.value.__cause__, openai.NotFoundError)
    assert any("ftsync list" in note for note in caught.value.__notes__)


def test_what_fails_is_raised_after_the_others_are_synced(
    ids: list[str], sandbox: Sandbox, backend: WandbBackend, project: str
) -> None:
    for broken in ids[1:3]:
        sandbox.fail(f"/fine_tuning/jobs/{broken}/events", status=400)
    with pytest.raises(BadData) as caught:
        WandbLogger.sync(project=project)
    assert len([note for note in caught.value.__notes__ if "too" in note]) == 1
    assert sorted(run.id for run in backend.runs(project)) == sorted([ids[0], ids[3]])


# Waiting


@pytest.fixture
def running(world: World, monkeypatch: pytest.MonkeyPatch) -> str:
    """A job that runs for a second more."""
    monkeypatch.setenv("FTSYNC_POLL_INTERVAL", "0.1")
    (job,) = samples.many(1)
    now = time.time()
    world.add(replace(job, live=Live(now - 2, now - 1, now + 1)))
    return job.id


@pytest.mark.usefixtures("workspace")
def test_a_job_that_runs_is_waited_for(running: str, backend: WandbBackend, project: str) -> None:
    assert WandbLogger.sync(running, project=project) == DONE
    (run,) = backend.runs(project)
    assert run.summary["status"] == "succeeded"


@pytest.mark.usefixtures("workspace")
def test_a_job_that_runs_is_left_out_if_not_to_be_waited_for(running: str, backend: WandbBackend, project: str) -> None:
    assert WandbLogger.sync(running, project=project, wait_for_job_success=False) == DONE
    assert backend.runs(project) == []


# The user's active run


def test_one_job_goes_into_the_active_run_which_stays_the_users(
    ids: list[str], active: wandb.Run, backend: WandbBackend, project: str
) -> None:
    assert WandbLogger.sync(ids[0], project=project) == DONE
    assert wandb.run is active
    (run,) = backend.runs(active.project)
    assert (run.id, run.state, len(run.history)) == (active.id, "running", 4)
    assert run.summary["status"] == "succeeded"
    assert backend.runs(project) == []
    active.log({"eval": 1.0})
    active.finish()
    assert (run.state, run.history[-1]["eval"]) == ("finished", 1.0)


def test_the_newest_job_goes_into_the_active_run(ids: list[str], active: wandb.Run, backend: WandbBackend) -> None:
    assert WandbLogger.sync(num_fine_tunes=1) == DONE
    active.finish()
    (run,) = backend.runs(active.project)
    assert run.config["fine_tune_job_id"] == ids[0]


def test_a_job_that_the_active_run_holds_is_there_already(ids: list[str], active: wandb.Run) -> None:
    assert WandbLogger.sync(ids[0]) == DONE
    assert wandb.run is active
    assert WandbLogger.sync(ids[0]) is None


def test_a_job_that_has_a_run_of_its_own_in_the_project_is_there_already(
    ids: list[str], active: wandb.Run, backend: WandbBackend
) -> None:
    ft_sync.sync(ids[0], project=active.project)
    assert WandbLogger.sync(ids[0]) is None
    assert {len(run.history) for run in backend.runs(active.project) if run.id == active.id} == {0}


def test_a_second_job_gets_a_run_of_its_own(
    ids: list[str], active: wandb.Run, backend: WandbBackend, project: str
) -> None:
    WandbLogger.sync(ids[0])
    assert WandbLogger.sync(ids[1], project=project) == DONE
    assert [run.id for run in backend.runs(project)] == [ids[1]]
    assert wandb.run is active


@pytest.mark.parametrize("selection", [{}, {"num_fine_tunes": 2}])
def test_several_jobs_get_runs_of_their_own_and_the_active_run_is_left_alone(
    ids: list[str], active: wandb.Run, backend: WandbBackend, project: str, selection: dict[str, int]
) -> None:
    assert WandbLogger.sync(**selection, project=project) == DONE  # type: ignore[arg-type]
    assert sorted(run.id for run in backend.runs(project)) == sorted(ids[: selection.get("num_fine_tunes")])
    (mine,) = backend.runs(active.project)
    assert (mine.state, mine.history, "fine_tune_job_id" in mine.config) == ("running", [], False)
    assert wandb.run is active


@pytest.mark.usefixtures("workspace")
def test_in_a_disabled_active_run_nothing_is_done(world: World, sandbox: Sandbox) -> None:
    world.add(*samples.many(1))
    with ExitStack() as opened:
        opened.callback(wandb.init(mode="disabled").finish)
        assert WandbLogger.sync(world.jobs[0].id) == DONE
    assert sandbox.requests == []
