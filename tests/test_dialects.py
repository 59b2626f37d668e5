"""Jobs of every kind of service arrive: through the real client, over the sandbox in that service's dialect."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import wandb

import ft_sync
from ft_sync.events import Event, Noted
from ft_sync.models import NO_CHECKPOINTS, NO_EVENTS, WEIGHTS
from ft_sync.sandbox import API_KEY, DIALECTS, Sandbox, World, samples, serve
from tests.wandb_backend import Run, WandbBackend, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ft_sync.models import SyncReport
    from ft_sync.sandbox import SampleJob

PROJECT = "dialects"
OWN = {"_step", "_timestamp", "_runtime"}
JOBS = samples.finished_jobs()
_OLD, SUPPORT, STOCK, KINDNESS, TORQUE, BROKEN, CANCELLED = JOBS
LACKS = {"litellm": {NO_EVENTS, NO_CHECKPOINTS}, "nebius": {WEIGHTS}}


@dataclass(frozen=True)
class Arrived:
    """What became of the jobs of one service."""

    dialect: str
    backend: WandbBackend
    sandbox: Sandbox
    report: SyncReport
    told: tuple[str, ...]

    def run(self, job: SampleJob) -> Run:
        """The run of a job."""
        (run,) = [run for run in self.backend.runs(PROJECT) if run.display_name == job.id]
        return run

    def rows(self, job: SampleJob) -> dict[int, dict[str, Any]]:
        """Its history without what W&B adds."""
        return {
            row["_step"]: {name: value for name, value in row.items() if name not in OWN}
            for row in self.run(job).history
        }


def _sync(dialect: str, home: Path, backend: WandbBackend, patch: pytest.MonkeyPatch) -> Iterator[Arrived]:
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "AZURE_", "WANDB_", "FTSYNC_"))]:
        patch.delenv(name)
    with serve(World(JOBS), dialect=dialect) as sandbox:
        for name, value in {**backend.env(home), **sandbox.environment}.items():
            patch.setenv(name, value)
        patch.delenv("WANDB_DIR", raising=False)
        patch.chdir(home)
        events: list[Event] = []
        wandb.teardown()
        report = ft_sync.sync(project=PROJECT, include_unsuccessful=True, observer=events.append)
        wandb.teardown()
        told = tuple(event.message for event in events if isinstance(event, Noted))
        yield Arrived(dialect, backend, sandbox, report, told)


@pytest.fixture(scope="module", params=DIALECTS)
def arrived(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arrived]:
    """The jobs of one service, synced into a server that holds nothing else."""
    home = tmp_path_factory.mktemp("dialect")
    with serving() as backend, pytest.MonkeyPatch.context() as patch:
        yield from _sync(request.param, home, backend, patch)
        assert backend.errors == []


def csv(job: SampleJob) -> dict[int, dict[str, float]]:
    """The metrics of the job's result file."""
    (file,) = [file for file in job.files if file.id in job.job["result_files"]]
    names, *lines = [line.split(",") for line in file.content.decode().splitlines()]
    table = [{name: float(cell) for name, cell in zip(names, line, strict=True) if cell} for line in lines]
    renamed = [
        {name.replace("train_accuracy", "train_mean_token_accuracy"): row[name] for name in row} for row in table
    ]
    return {int(row.pop("step")): row for row in renamed}


def test_no_job_is_lost(arrived: Arrived) -> None:
    assert arrived.report.failed == ()
    assert {outcome.job_id for outcome in arrived.report.synced} == {job.id for job in JOBS}
    assert [arrived.run(job).state for job in JOBS] == ["finished"] * 5 + ["failed"] * 2


@pytest.mark.parametrize("job", [SUPPORT, STOCK, KINDNESS], ids=["support", "stock", "kindness"])
def test_every_step_has_the_metrics_that_its_service_tells(arrived: Arrived, job: SampleJob) -> None:
    expected = csv(job)
    found = arrived.rows(job)
    assert sorted(found) == sorted(expected)
    for step, metrics in expected.items():
        assert {name: found[step].get(name) for name in metrics} == pytest.approx(metrics, abs=1e-5)


def test_metrics_of_a_reinforcement_job_have_one_name_on_every_service(arrived: Arrived) -> None:
    rewards = {step: row["train_mean_reward"] for step, row in arrived.rows(TORQUE).items()}
    assert sorted(rewards) == list(range(1, 31))


def test_the_status_has_one_spelling(arrived: Arrived) -> None:
    assert arrived.run(CANCELLED).summary["status"] == "cancelled"


def test_hyperparameters_are_those_that_the_service_knows(arrived: Arrived) -> None:
    known = {"n_epochs": 3, "batch_size": SUPPORT.job["hyperparameters"]["batch_size"]}
    found = arrived.run(SUPPORT).config.get("hyperparameters")
    if arrived.dialect == "bare":
        assert found is None
    else:
        assert found is not None
        assert {name: found[name] for name in known} == known


def test_the_model_is_named_as_the_service_names_it(arrived: Arrived) -> None:
    model = arrived.run(SUPPORT).summary["fine_tuned_model"]
    assert model.startswith("gpt-4.1-mini-2025-04-14.ft-" if "azure" in arrived.dialect else "ft:gpt-4.1-mini")


def test_checkpoints_are_kept_where_there_are_any(arrived: Arrived) -> None:
    lines = arrived.run(SUPPORT).files.get("fine_tuning/checkpoints.jsonl")
    if arrived.dialect == "litellm":
        assert lines is None
    else:
        assert lines is not None
        assert len(lines.data.splitlines()) == 3


def test_datasets_have_their_examples(arrived: Arrived) -> None:
    assert arrived.run(SUPPORT).config["n_train"] == 120
    used = {artifact.collection.name for artifact in arrived.run(SUPPORT).used}
    assert f"train-{SUPPORT.job['training_file']}" in used


def test_what_the_service_lacks_is_told_once_and_noted_in_each_run(arrived: Arrived) -> None:
    lacks = LACKS.get(arrived.dialect, set())
    told = Counter(note for note in arrived.told if note.startswith("this service"))
    assert told == Counter(lacks)
    for note in lacks:
        assert note in str(arrived.run(SUPPORT).notes)
        assert note in str(arrived.run(STOCK).notes)


def test_weights_are_not_downloaded(arrived: Arrived) -> None:
    results = [file for job in JOBS for file in job.job["result_files"]]
    asked = sum(arrived.sandbox.count(f"/files/{file}/content") for file in results)
    assert (asked == 0) == (arrived.dialect == "nebius")


def test_every_request_shows_the_key_as_the_service_wants_it(arrived: Arrived) -> None:
    header = "api-key" if "azure" in arrived.dialect else "authorization"
    assert all(API_KEY in request.headers.get(header, "") for request in arrived.sandbox.requests)


def test_only_dated_routes_have_a_version(arrived: Arrived) -> None:
    versions = {"api-version=2024-10-21" in request.query for request in arrived.sandbox.requests}
    assert versions == {arrived.dialect == "azure-dated"}
