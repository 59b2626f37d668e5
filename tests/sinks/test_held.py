"""Reading a run back: all that it holds comes back through the SDK's public API, and no failure passes for nothing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from ft_sync.compare import NO_BYTES
from ft_sync.errors import AuthError, ConfigError
from ft_sync.models import Download, JobId, MetricRow, RunFile
from ft_sync.sinks.offline import OfflineSink
from ft_sync.sinks.online import OnlineSink
from ft_sync.sinks.wandb import RunOptions
from tests.builders import DATASET, digest_of, job, record, training_file
from tests.fakes import EXAMPLE, complete_run
from tests.sinks.test_contract import step
from tests.wandb_backend.store import HISTORY

if TYPE_CHECKING:
    from pathlib import Path

    from ft_sync.compare import HeldRun
    from tests.wandb_backend import Artifact, Run, WandbBackend

TRAIN = training_file()
ROWS = (MetricRow(1, {"train_loss": 0.123456789012345}, 1.5), MetricRow(10**12, {"train_loss": 1e-300}, 2.5))
RECORD = record(
    config={"fine_tune_job_id": "ftjob-1", "hyperparameters": {"n_epochs": 3}},
    rows=ROWS,
    files=(RunFile("fine_tuning/job.json", [b"{}"]),),
    log=("one", "two"),
    model_metadata={"fine_tuned_model": "ft:x", "created_at": "2026-01-01T00:00:00Z", "job_id": "ftjob-1"},
    notes=("a note",),
)


@pytest.fixture
def sink(workspace: Path, project: str) -> OnlineSink:
    return OnlineSink(RunOptions(project, None, "online", init={"dir": str(workspace)}))


@pytest.fixture
def run(sink: OnlineSink, tmp_path: Path, backend: WandbBackend, project: str) -> Run:
    """A run with everything that a run can have."""
    path = tmp_path / "download"
    path.write_bytes(EXAMPLE)
    with sink.open(step(), RECORD) as writer:
        writer.log_model(RECORD, [TRAIN])
        writer.save(RECORD.files)
        writer.log(RECORD.rows)
        writer.use_dataset(TRAIN, Download(path, len(EXAMPLE), hashlib.sha256(EXAMPLE).hexdigest()))
        writer.log_events(RECORD.log)
        writer.complete(RECORD)
    (run,) = backend.runs(project)
    return run


def read(sink: OnlineSink) -> HeldRun:
    ((state,),) = sink.states([JobId("ftjob-1")]).values()
    return sink.read_back(state)


def test_all_that_a_run_holds_comes_back(run: Run, sink: OnlineSink) -> None:
    held = read(sink)
    assert (held.run_id, held.state, held.tags, held.notes) == (run.id, "finished", ("openai",), "a note")
    assert held.rows == ROWS
    assert held.config == {**RECORD.config, "n_train": 1}
    assert held.summary["ftsync"]["rows"] == 2
    assert held.files == {"fine_tuning/job.json": digest_of(b"{}")}
    assert held.log == ("one", "two")


def test_a_dataset_comes_back_with_its_digests_and_the_rows_of_its_table(run: Run, sink: OnlineSink) -> None:
    (dataset,) = read(sink).datasets
    assert (dataset.name, dataset.type) == ("train-file-train", "training_files")
    assert set(dataset.aliases) == {"latest", "file-train"}
    assert dataset.files == {"train.jsonl": DATASET.content, "train_data.table.json": DATASET.table}
    assert dataset.table_rows == 1
    assert run.used


def test_the_rows_of_a_table_are_counted_in_its_file_and_not_taken_from_what_is_said_of_it(
    run: Run, sink: OnlineSink
) -> None:
    (artifact,) = run.used
    digest = artifact.entries["train_data.table.json"]["digest"]
    blobs = artifact.collection.blobs
    table = json.loads(blobs[digest].data)
    table["data"] = []
    blobs[digest] = type(blobs[digest])("train_data.table.json", json.dumps(table).encode(), artifact)
    (dataset,) = read(sink).datasets
    assert dataset.table_rows == 0


def test_the_model_comes_back_with_its_content_its_aliases_and_its_place(run: Run, sink: OnlineSink) -> None:
    model = read(sink).model
    assert model is not None
    assert (set(model.aliases), model.is_newest) == ({"latest", "ftjob-1"}, True)
    assert RECORD.model_metadata is not None
    assert model.content == {
        **RECORD.model_metadata,
        "run_id": run.id,
        "datasets": {"train": "train-file-train:file-train"},
    }


def test_a_model_whose_file_cannot_be_read_has_no_content(run: Run, sink: OnlineSink) -> None:
    (artifact,) = run.logged
    (blob,) = artifact.collection.blobs.values()
    artifact.collection.blobs = dict.fromkeys(artifact.collection.blobs, type(blob)(blob.name, b"{", artifact))
    model = read(sink).model
    assert model is not None
    assert model.content is None
    assert model.stored == digest_of(b"{")


def altered(artifact: Artifact, path: str, **changes: object) -> None:
    """Store something else of a file than what was uploaded."""
    digest = artifact.entries[path]["digest"]
    artifact.collection.blobs[digest] = replace(artifact.collection.blobs[digest], **changes)  # type: ignore[arg-type]


def test_files_come_back_as_they_are_stored_and_not_as_they_are_listed(run: Run, sink: OnlineSink) -> None:
    altered(run.used[0], "train.jsonl", data=b"{}")
    altered(run.used[0], "train_data.table.json", is_stored=False)
    altered(run.logged[0], "model_metadata.json", is_stored=False)
    run.files["fine_tuning/job.json"] = replace(run.files["fine_tuning/job.json"], data=b"[]")
    held = read(sink)
    (dataset,) = held.datasets
    assert dataset.files == {"train.jsonl": digest_of(b"{}"), "train_data.table.json": NO_BYTES}
    assert dataset.listed == {"train.jsonl": DATASET.content, "train_data.table.json": DATASET.table}
    assert dataset.table_rows is None
    assert held.files == {"fine_tuning/job.json": digest_of(b"[]")}
    assert held.model is not None
    assert (held.model.content, held.model.stored) == (None, NO_BYTES)


def test_without_content_a_dataset_is_as_listed_and_the_rest_is_as_stored(
    run: Run, sink: OnlineSink, backend: WandbBackend
) -> None:
    altered(run.used[0], "train.jsonl", data=b"{}")
    run.files["fine_tuning/job.json"] = replace(run.files["fine_tuning/job.json"], data=b"[]")
    ((state,),) = sink.states([JobId("ftjob-1")]).values()
    backend.requests.clear()
    held = sink.read_back(state, content=False)
    (dataset,) = held.datasets
    assert (dataset.files, dataset.was_read) == (dataset.listed, False)
    assert held.files == {"fine_tuning/job.json": digest_of(b"[]")}
    assert backend.count("download") == 2


def test_an_artifact_that_was_deleted_is_not_held_although_wb_goes_on_listing_it(run: Run, sink: OnlineSink) -> None:
    run.used[0].state = "DELETED"
    assert read(sink).datasets == ()


def test_an_artifact_that_was_never_committed_is_not_held(run: Run, sink: OnlineSink) -> None:
    run.used[0].state = run.logged[0].state = "PENDING"
    held = read(sink)
    assert (held.datasets, held.model) == ((), None)


@pytest.mark.parametrize("fault", [{"status": 404}, {"status": 200, "body": '{"data": {"project": null}}'}])
def test_an_artifact_whose_files_wb_cannot_list_holds_none(
    run: Run, sink: OnlineSink, backend: WandbBackend, fault: dict[str, Any]
) -> None:
    backend.fail("ArtifactMembershipFiles", **fault)
    held = read(sink)
    assert [dict(dataset.files) for dataset in held.datasets] == [{}]
    assert held.model is not None
    assert held.model.content is None
    assert run.id


@pytest.mark.parametrize("status", [401, 403])
def test_an_artifact_that_could_not_be_asked_for_is_not_taken_for_an_empty_one(
    run: Run, sink: OnlineSink, backend: WandbBackend, status: int
) -> None:
    backend.fail("ArtifactMembershipFiles", status=status)
    with pytest.raises(AuthError):
        read(sink)
    assert run.id


def test_a_row_that_has_lost_its_step_is_a_row_of_no_step(run: Run, sink: OnlineSink) -> None:
    run.streams[HISTORY][0] = '{"train_loss": 1}'
    assert [row.step for row in read(sink).rows] == [-1, 10**12]


def test_steps_that_lie_far_apart_cost_no_more_requests(run: Run, sink: OnlineSink, backend: WandbBackend) -> None:
    backend.requests.clear()
    assert read(sink).rows[-1].step == 10**12
    assert backend.count("HistoryPage") == 1
    assert run.history


def test_a_run_costs_about_ten_requests(run: Run, sink: OnlineSink, backend: WandbBackend) -> None:
    read(sink)
    backend.requests.clear()
    read(sink)
    asked = [request.operation for request in backend.requests]
    # The dataset is known by now, and two of each run are for the version of the server.
    known = {"ServerFeaturesQuery", "Runs"}
    assert asked.count("download") == 1
    assert len([operation for operation in asked if operation not in known]) <= 11, asked
    assert run.id


def test_a_server_that_does_not_give_the_console_log_back_costs_the_log_alone(
    run: Run, sink: OnlineSink, backend: WandbBackend
) -> None:
    backend.fail("RunConsoleLogPage", status=400)
    held = read(sink)
    assert held.log is None
    assert held.run_id == run.id


@pytest.mark.parametrize("operation", ["RunConsoleLogPage", "RunFiles", "RunInputArtifacts", "RunOutputArtifacts"])
def test_what_cannot_be_asked_is_not_taken_for_nothing(
    run: Run, sink: OnlineSink, backend: WandbBackend, operation: str
) -> None:
    ((state,),) = sink.states([JobId("ftjob-1")]).values()
    backend.fail(operation, status=403)
    with pytest.raises(AuthError):
        sink.read_back(state)
    assert run.id


def test_no_graphql_field_was_unknown_to_the_backend(run: Run, sink: OnlineSink, backend: WandbBackend) -> None:
    read(sink)
    assert backend.unknown_fields == set()
    assert run.id


def test_a_description_is_kept_with_the_file(run: Run, sink: OnlineSink) -> None:
    (artifact,) = run.used
    artifact.metadata["file"] = {"filename": "mine.jsonl", "bytes": 38}
    described = sink.described(training_file(filename=None, size=None))
    assert described is not None
    assert (described.filename, described.size) == ("mine.jsonl", 38)


@pytest.mark.parametrize("kept", [None, {}, "text"])
def test_without_a_description_there_is_none(run: Run, sink: OnlineSink, kept: object) -> None:
    (artifact,) = run.used
    artifact.metadata["file"] = kept
    assert sink.described(TRAIN) is None


def test_a_file_that_wb_does_not_hold_has_no_description(sink: OnlineSink) -> None:
    assert sink.described(TRAIN) is None


def test_an_offline_run_is_to_be_uploaded_first(workspace: Path, project: str) -> None:
    sink = OfflineSink(RunOptions(project, None, "offline", init={"dir": str(workspace)}))
    with pytest.raises(ConfigError) as refused:
        sink.read_back(complete_run(job()))
    assert "wandb sync" in str(refused.value.hint)
