"""Every job of the set arrives whole, online and through an offline run that is uploaded later."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import wandb

import ft_sync
from ft_sync.compare import LATEST, Differs, Identical
from ft_sync.sandbox import API_KEY, Sandbox, World, serve
from tests.wandb_backend import Artifact, Run, WandbBackend, serving
from tests.whole import metrics, objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ft_sync.compare import Verification
    from ft_sync.models import SyncReport
    from ft_sync.sandbox.world import SampleFile
    from tests.whole.case import Case

CASES = {case.job.id: case for case in (*metrics.cases(), *objects.cases())}
"""By the job's id."""

PROJECT = "whole"
OWN = {"_step", "_timestamp", "_runtime"}


@dataclass(frozen=True)
class Arrived:
    """What became of the set in one way of syncing it."""

    mode: str
    backend: WandbBackend
    report: SyncReport
    downloads: list[str]
    verification: Verification

    def run(self, job_id: str) -> Run:
        """The run of a job."""
        (run,) = [run for run in self.backend.runs(PROJECT) if run.display_name == job_id]
        return run

    def notes(self, job_id: str) -> str:
        """The notes of its outcome."""
        (outcome,) = [outcome for outcome in self.report.synced if outcome.job_id == job_id]
        return "\n".join(outcome.notes)


@pytest.fixture(scope="module", params=["online", "offline"])
def arrived(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arrived]:
    """The whole set, synced into a server that holds nothing else."""
    home = tmp_path_factory.mktemp("whole")
    (home / "work").mkdir()
    world = World(case.job for case in CASES.values())
    with serving() as backend, serve(world) as sandbox, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("OPENAI_", "WANDB_", "FTSYNC_"))]:
            patch.delenv(name)
        for name, value in {**backend.env(home), "OPENAI_BASE_URL": sandbox.url, "OPENAI_API_KEY": API_KEY}.items():
            patch.setenv(name, value)
        patch.delenv("WANDB_DIR", raising=False)
        patch.chdir(home / "work")
        wandb.teardown()
        yield _synced(request.param, backend, sandbox)
        wandb.teardown()
        assert (backend.errors, backend.unknown_fields) == ([], set())


def _synced(mode: str, backend: WandbBackend, sandbox: Sandbox) -> Arrived:
    for case in CASES.values():
        for file_id, status in case.refusals.items():
            sandbox.fail(f"/files/{file_id}/content", status=status)
    report = ft_sync.sync(project=PROJECT, include_unsuccessful=True, mode=mode, tags=["mine"], group="all")
    if mode == "offline":
        # One at a time: of two uploads of one dataset at once, each makes a version, and the aliases stay with one.
        folders = sorted(map(str, Path("wandb").glob("offline-run-*")))
        environment = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
        command = [sys.executable, "-m", "wandb", "sync", "--yes", "-n", "1", *folders]
        subprocess.run(command, check=True, capture_output=True, env=environment)
    paths = [request.path for request in sandbox.requests]
    verification = ft_sync.verify(project=PROJECT, include_unsuccessful=True)
    return Arrived(mode, backend, report, [path for path in paths if path.endswith("/content")], verification)


def of_every_job(fact: Callable[[Case, Arrived], None]) -> Callable[..., None]:
    """Make a test of a fact: it is so of each job of the set, and each of which it is not is told."""

    def test(arrived: Arrived, subtests: pytest.Subtests) -> None:
        for case in CASES.values():
            with subtests.test(job=case.job.id):
                fact(case, arrived)

    test.__name__ = fact.__name__
    return test


def files_of(case: Case) -> dict[str, SampleFile]:
    """The files that belong to the job and exist, by id."""
    return {file.id: file for file in case.job.files}


def datasets_of(case: Case) -> dict[str, SampleFile]:
    """The training and the validation file that can be had, by the word for them in W&B."""
    named = {"train": case.job.job["training_file"], "valid": case.job.job["validation_file"]}
    return {split: files_of(case)[id_] for split, id_ in named.items() if id_ is not None and id_ not in case.missing}


def test_no_job_is_lost(arrived: Arrived) -> None:
    assert arrived.report.failed == ()
    assert {outcome.job_id for outcome in arrived.report.synced} == set(CASES)
    assert {run.display_name for run in arrived.backend.runs(PROJECT)} == set(CASES)


@of_every_job
def test_the_run_is_named_tagged_grouped_and_in_the_jobs_state(case: Case, arrived: Arrived) -> None:
    run = arrived.run(case.job.id)
    succeeded = case.job.job["status"] == "succeeded"
    assert (run.id, run.job_type, run.group) == (case.job.id, "fine-tune", "all")
    assert run.tags == [*case.tags, "mine"]
    assert run.state == ("finished" if succeeded else "failed")
    if not succeeded:
        assert str(case.job.job["status"]) in str(run.notes)


@of_every_job
def test_every_row_is_there_exactly(case: Case, arrived: Arrived) -> None:
    run = arrived.run(case.job.id)
    rows = {row["_step"]: {key: value for key, value in row.items() if key not in OWN} for row in run.history}
    assert rows == case.rows
    assert len(run.history) == len(case.rows)
    assert [row["_step"] for row in run.history] == sorted(case.rows)


@of_every_job
def test_rows_have_the_times_of_the_training(case: Case, arrived: Arrived) -> None:
    run = arrived.run(case.job.id)
    times = {row["_step"]: row["_timestamp"] for row in run.history}
    assert {step: times[step] for step in case.times} == pytest.approx(case.times, abs=1e-3)
    start, end = (case.job.job[key] for key in ("created_at", "finished_at"))
    if isinstance(start, int) and isinstance(end, int) and end > 0:
        assert all(start <= time <= end for time in times.values())
        assert list(times.values()) == sorted(times.values())


@of_every_job
def test_the_config_is_flat_complete_and_without_what_is_unknown(case: Case, arrived: Arrived) -> None:
    run = arrived.run(case.job.id)
    assert {key: run.config.get(key) for key in case.config} == case.config
    assert not {key for key, value in run.config.items() if value in (None, {}, [])}
    assert set(run.config.get("missing_files", {})) == set(case.missing)


@of_every_job
def test_the_summary_tells_status_model_metrics_and_mark(case: Case, arrived: Arrived) -> None:
    run = arrived.run(case.job.id)
    assert {key: run.summary.get(key) for key in case.summary} == case.summary
    assert run.summary["status"] == case.job.job["status"]
    assert run.summary["ftsync"]["rows"] == len(case.rows)
    last = {name: number for row in dict(sorted(case.rows.items())).values() for name, number in row.items()}
    shown = {name: run.summary[name] for name in last if name not in case.summary and name != "status"}
    assert {name: value["last"] if isinstance(value, dict) else value for name, value in shown.items()} == {
        name: last[name] for name in shown
    }


@of_every_job
def test_what_was_left_out_is_said_in_the_outcome_and_in_the_run(case: Case, arrived: Arrived) -> None:
    run = arrived.run(case.job.id)
    for phrase in case.notes:
        assert phrase in arrived.notes(case.job.id)
        if "no JSON objects" not in phrase:  # known after the notes are written: the dataset's metadata say it
            assert phrase in str(run.notes)


@of_every_job
def test_the_record_is_kept_as_it_was_served(case: Case, arrived: Arrived) -> None:
    run = arrived.run(case.job.id)
    kept = {name: blob.data for name, blob in run.files.items() if name.startswith("fine_tuning/")}
    assert json.loads(kept.pop("fine_tuning/job.json")) == case.job.job
    for name, served in {"events": case.job.events, "checkpoints": case.job.checkpoints}.items():
        lines = kept.pop(f"fine_tuning/{name}.jsonl", b"").splitlines()
        assert sorted(map(json.loads, lines), key=lambda one: one["id"]) == sorted(served, key=lambda one: one["id"])
    results = [files_of(case)[id_] for id_ in case.job.job["result_files"] or () if id_ in files_of(case)]
    assert sorted(kept.values()) == sorted(file.served for file in results)


@of_every_job
def test_the_events_are_the_console_log(case: Case, arrived: Arrived) -> None:
    run = arrived.run(case.job.id)
    expected = [
        f"{datetime.fromtimestamp(event['created_at'], UTC):%Y-%m-%dT%H:%M:%SZ} "
        f"{event['level'].upper()} {event['message']}"
        for event in case.job.events
    ]
    assert run.console == expected


@of_every_job
def test_the_datasets_are_inputs_with_their_bytes_unchanged(case: Case, arrived: Arrived) -> None:
    run = arrived.run(case.job.id)
    used = {artifact.collection.name: artifact for artifact in run.used}
    assert set(used) == {f"{split}-{file.id}" for split, file in datasets_of(case).items()}
    for split, file in datasets_of(case).items():
        artifact = used[f"{split}-{file.id}"]
        kinds = {"train": "training_files", "valid": "validation_files"}
        assert (artifact.type, set(artifact.aliases)) == (kinds[split], {"latest", file.id})
        (name,) = [name for name in artifact.files if name != f"{split}_data.table.json"]
        assert artifact.files[name] == file.content
        assert ".." not in name.split("/")
        assert artifact.metadata["sha256"] == hashlib.sha256(file.content).hexdigest()
        assert artifact.metadata["bytes"] == len(file.content)
        assert artifact.metadata["file"] == file.as_json()


@of_every_job
def test_the_training_files_table_is_shown_and_not_uploaded_twice(case: Case, arrived: Arrived) -> None:
    run = arrived.run(case.job.id)
    if "train" not in datasets_of(case):
        assert "train_data" not in run.summary
        return
    table = table_of(arrived.backend, run)
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert len(rows) == case.examples == run.config["n_train"] == run.summary["train_data"]["nrows"]
    assert {index: {key: rows[index][key] for key in wanted} for index, wanted in case.cells.items()} == case.cells
    (artifact,) = [artifact for artifact in run.used if artifact.type == "training_files"]
    assert (artifact.metadata["items"], artifact.metadata["broken_lines"]) == (case.examples, case.broken)
    assert not [name for name in run.files if name.startswith("media/")]
    assert not [artifact for artifact in run.logged if artifact.type == "run_table"]


def table_of(backend: WandbBackend, run: Run) -> Any:  # noqa: ANN401 - JSON
    """The table that the run shows, found as the server finds it: by the reference to an artifact's file."""
    scheme, _, path = run.summary["train_data"]["artifact_path"].partition("://")
    owner, _, name = path.partition("/")
    identity = base64.b64encode(bytes.fromhex(owner)).decode() if scheme == "wandb-artifact" else owner
    artifact = backend.store.objects[identity]
    assert isinstance(artifact, Artifact)
    assert artifact in run.used
    return json.loads(artifact.files[name])


@of_every_job
def test_the_model_is_an_output_that_tells_all_of_itself(case: Case, arrived: Arrived) -> None:
    run = arrived.run(case.job.id)
    raw = case.job.job
    artifact = arrived.backend.artifact(f"{PROJECT}/model_metadata:{case.job.id}")
    if raw["fine_tuned_model"] is None:
        assert (artifact, run.logged) == (None, [])
        return
    assert artifact is not None
    assert run.logged == [artifact]
    assert artifact.type == "model"
    content = json.loads(artifact.files["model_metadata.json"])
    assert content["fine_tuned_model"] == artifact.metadata["fine_tuned_model"] == raw["fine_tuned_model"]
    assert json.dumps(content["job"]) == json.dumps(raw).replace("\\ud800", "?").replace("\\udfff", "?")
    assert content.get("hyperparameters") == run.config.get("hyperparameters")
    assert content["datasets"] == {split: f"{split}-{file.id}:{file.id}" for split, file in datasets_of(case).items()}
    saved = [(one["id"], one["model"], one["step"]) for one in content.get("checkpoints", [])]
    served = [(one["id"], one["fine_tuned_model_checkpoint"], one["step_number"]) for one in case.job.checkpoints]
    assert sorted(saved) == sorted(served)
    assert set(content.get("metrics", {})) == {name for row in case.rows.values() for name in row}


def test_a_file_of_many_jobs_is_downloaded_once(arrived: Arrived) -> None:
    assert arrived.downloads.count("/v1/files/file-shared/content") == 1
    assert len(set(arrived.downloads)) == len(arrived.downloads)


def test_the_documented_way_to_the_newest_model_works(arrived: Arrived, tmp_path: Path) -> None:
    if arrived.backend.artifact(f"{PROJECT}/model_metadata:ftjob-newest") is None:
        pytest.fail("there is no such artifact")
    with wandb.init(project=PROJECT, id=f"reader-{tmp_path.name}", reinit="create_new") as reader:
        artifact = reader.use_artifact(f"{arrived.backend.store.user}/{PROJECT}/model_metadata:ftjob-newest")
        metadata = json.loads(Path(artifact.download(str(tmp_path)), "model_metadata.json").read_text())
    assert metadata["fine_tuned_model"] == "ft:gpt-4.1-mini:newest"


def test_latest_is_the_newest_job_after_a_sync_online(arrived: Arrived) -> None:
    ft_sync.sync(project=PROJECT, include_unsuccessful=True, wait_for_job_success=False)
    latest = arrived.backend.artifact(f"{PROJECT}/model_metadata:latest")
    assert latest is not None
    assert latest.metadata["job_id"] == "ftjob-newest"


def test_verify_finds_them_all_identical_but_for_latest_which_an_upload_may_move(arrived: Arrived) -> None:
    assert {one.job_id for one in arrived.verification.verdicts} == set(CASES)
    differing = {
        one.job_id: [difference.item for difference in one.differences] if isinstance(one, Differs) else one
        for one in arrived.verification.verdicts
        if not isinstance(one, Identical)
    }
    # `wandb sync` uploads several runs at once, and `latest` is the model that comes last.
    assert differing == {} or (arrived.mode == "offline" and differing == {"ftjob-newest": [LATEST]})
