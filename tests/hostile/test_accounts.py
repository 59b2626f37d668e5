"""Whole accounts of hostile jobs, from a real service into W&B: each good job among them is as it is without them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import ft_sync
from ft_sync.models import Failed
from ft_sync.names import run_id
from ft_sync.sources.objects import job_from
from tests.hostile.mutations import jobs, nested
from tests.whole.case import START, checkpoint, csv, event, file, job

if TYPE_CHECKING:
    from pathlib import Path

    from ft_sync.sandbox import SampleJob, Sandbox, World
    from tests.cli.conftest import Ftsync
    from tests.wandb_backend import Run, WandbBackend

LINE = '{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}\n'
GOOD = [
    job(
        f"good-{number}",
        results=(csv(f"good-{number}", "step,train_loss\n1,2.5\n2,1.5\n"),),
        train=file(f"train-{number}", LINE * number),
        events=(event(1, 5), event(2, 9, {"step": 3, "train_loss": number})),
        checkpoints=(checkpoint(f"ftjob-good-{number}", 3, 10, full_valid_loss=1.0),),
    )
    for number in (1, 2)
]

IDS = [
    *(
        "ft/slash",
        "a:b;c,d#e?f'g",
        'quote"s',
        "new\nline",
        "\x00\x1b[31m",
        "x" * 1_000,
        "é→😀",
        " space ",
        "latest",
        "v3",
    ),
    *("a", "a-r2", "%2F", "a%20b", "*?[x]", "\u202eabc", "../a", "a.b", run_id(job_from({"id": "ft/slash"}).id)),
]
"""Ids that one service or another takes for something else."""


@dataclass(frozen=True)
class Held:
    """What W&B holds of a job."""

    rows: object
    config: object
    summary: object
    tags: object
    files: object
    used: object
    logged: object

    @classmethod
    def of(cls, run: Run) -> Held:
        """Read a run as the server has it, without the moment at which it was written."""
        summary = run.summary | {"ftsync": {**run.summary["ftsync"], "time": None}, "_wandb": None, "train_data": None}
        summary = {key: value for key, value in summary.items() if key != "_runtime"}
        rows = [{key: value for key, value in row.items() if key != "_runtime"} for row in run.history]
        served = {path: blob.data for path, blob in run.files.items() if path.startswith("fine_tuning/")}
        used = [(one.name.partition(":")[0], sorted(one.aliases), one.digest) for one in run.used]
        return cls(
            rows, run.config, summary, run.tags, served, used, [one.name.partition(":")[0] for one in run.logged]
        )


def good_runs(backend: WandbBackend, project: str) -> dict[str, Held]:
    wanted = {one.id for one in GOOD}
    return {run.id: Held.of(run) for run in backend.runs(project) if run.id in wanted}


@pytest.fixture
def alone(world: World, backend: WandbBackend, project: str, workspace: Path) -> dict[str, Held]:
    """The good jobs' runs without hostile neighbours."""
    del workspace
    world.add(*GOOD)
    assert ft_sync.sync(project=f"{project}-alone").failed == ()
    return good_runs(backend, f"{project}-alone")


def forget(world: World) -> None:
    for one in world.jobs:
        world.remove(one.id)
    world.add(*GOOD)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
def test_good_jobs_are_as_they_are_without_hostile_ones(
    alone: dict[str, Held], world: World, backend: WandbBackend, project: str
) -> None:
    numbers = iter(range(1_000))

    @settings(
        max_examples=3,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(jobs(), min_size=5, max_size=5))
    def accounts(hostile: list[SampleJob]) -> None:
        forget(world)
        world.add(*hostile)
        name = f"{project}-{next(numbers)}"
        report = ft_sync.sync(project=name, include_unsuccessful=True, wait_for_job_success=False)
        assert good_runs(backend, name) == alone
        assert {type(failed.error).__name__ for failed in report.failed} <= {"Refused"}
        for run in backend.runs(name):
            json.dumps([run.config, run.summary, run.history], allow_nan=False)

    accounts()


def test_each_id_has_a_run_of_its_own_that_is_found_again(
    world: World, backend: WandbBackend, project: str, workspace: Path
) -> None:
    del workspace
    for number, served in enumerate(IDS, 1):
        metrics = csv(f"csv/{number}", f"step,train_loss\n1,{number}\n")
        world.add(job("odd", id=served, results=(metrics,), train=file(f"of/{number}", LINE * number)))
    report = ft_sync.sync()
    assert (len(report.synced), report.failed) == (len(IDS), ())
    runs = {run.config["fine_tune_job_id"]: run for run in backend.runs(project)}
    assert {job_id: run.history[0]["train_loss"] for job_id, run in runs.items()} == {
        job_id: number for number, job_id in enumerate(IDS, 1)
    }
    assert {job_id: run.config["n_train"] for job_id, run in runs.items()} == {
        job_id: number for number, job_id in enumerate(IDS, 1)
    }
    assert {run.display_name for run in runs.values()} == {job_id[:128] for job_id in IDS}
    assert len(ft_sync.sync().skipped) == len(IDS)
    assert ft_sync.verify().is_identical


@pytest.mark.parametrize("served", ["ft/slash", "new\nline", "a-r2", "a:b;c,d#e?f'g"])
def test_a_job_with_an_odd_id_can_be_named_and_written_again(
    served: str, ftsync: Ftsync, world: World, backend: WandbBackend, project: str
) -> None:
    world.add(job("odd", id=served))
    name = run_id(job_from({"id": served}).id)
    assert ftsync("sync", "--job", served).code == 0
    assert ftsync("resync", "--overwrite", "--job", served).code == 0
    assert [run.id for run in backend.runs(project)] == [f"{name}-r2"]
    assert ftsync("status", served, "--json").json["jobs"][0]["run_id"] == f"{name}-r2"


@pytest.mark.parametrize("unusable", [None, "", 5, ["x"], "\ud800", ".."])
def test_a_job_without_a_usable_id_costs_only_itself(
    unusable: object, ftsync: Ftsync, world: World, backend: WandbBackend, project: str
) -> None:
    world.add(*GOOD, job("odd", id=unusable, created_at=START + 1))
    for command in (("list", "--json"), ("status", "--json"), ("sync", "--dry-run", "--json"), ("sync", "--json")):
        said = ftsync(*command)
        assert said.code == 3
        assert "no. 1 of the list" in json.dumps(said.json)
    assert {run.id for run in backend.runs(project)} == {one.id for one in GOOD}


def test_what_is_no_object_in_a_list_costs_only_itself(world: World, sandbox: Sandbox, workspace: Path) -> None:
    del workspace
    world.add(*GOOD)
    page = {"object": "list", "has_more": False, "data": [None, GOOD[0].job, 5, [GOOD[1].job], "x", GOOD[1].job]}
    sandbox.fail("/fine_tuning/jobs", times=1, status=200, body=page)
    report = ft_sync.sync()
    assert {synced.job_id for synced in report.synced} == {one.id for one in GOOD}
    assert [failed.job_id for failed in report.failed] == [f"no. {place} of the list" for place in (5, 4, 3, 1)]


def test_what_is_nested_too_deeply_costs_only_itself(
    world: World, sandbox: Sandbox, backend: WandbBackend, project: str, workspace: Path
) -> None:
    del workspace
    world.add(*GOOD, job("deep"))
    deep = job("deep", metadata={"deep": "HERE", "after": 1, "fifty": nested(50)}).job
    page = json.dumps({"has_more": False, "data": [deep, *(one.job for one in GOOD)]})
    sandbox.fail("/fine_tuning/jobs", times=1, status=200, body=page.replace('"HERE"', "[" * 2_000 + "]" * 2_000))
    report = ft_sync.sync()
    assert report.failed == ()
    (synced,) = [one for one in report.synced if one.job_id == "ftjob-deep"]
    assert synced.notes == ("what the job nests too deeply was left out",)
    (run,) = [run for run in backend.runs(project) if run.id == "ftjob-deep"]
    assert run.config["metadata"]["after"] == 1
    assert run.config["metadata"]["fifty"] == nested(50)


def test_a_number_of_any_size_is_read(sandbox: Sandbox, world: World, workspace: Path) -> None:
    del workspace
    world.add(*GOOD)
    text = json.dumps({"has_more": False, "data": [one.job for one in GOOD]})
    huge = text.replace('"seed": 7', f'"seed": {"9" * 5_000}, "odd": 1e400, "odder": {"9" * 30}', 1)
    sandbox.fail("/fine_tuning/jobs", times=1, status=200, body=huge)
    report = ft_sync.sync()
    assert (len(report.synced), report.failed) == (2, ())


def test_failures_of_a_listing_are_in_the_public_listing(world: World, workspace: Path) -> None:
    del workspace
    world.add(*GOOD, job("odd", id=None))
    assert [one.job_id for one in ft_sync.list_jobs() if isinstance(one, Failed)] == ["no. 1 of the list"]
