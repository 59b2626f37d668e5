"""One run through the SDK: the facts of the SDK that writing relies on, and what it leaves behind."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import wandb
from wandb.sdk.lib.run_stopping import RunStopChecker
from wandb.util import get_core_path

from ft_sync.models import Create, Download, JobStatus, MetricRow, RunId
from ft_sync.sinks.offline import OfflineSink
from ft_sync.sinks.online import OnlineSink
from ft_sync.sinks.run import LIVE
from ft_sync.sinks.sdk import entry
from ft_sync.sinks.wandb import RunOptions, with_environment
from tests.builders import job, record, training_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from ft_sync.sinks.run import WandbRun
    from tests.wandb_backend import WandbBackend

LINES = b'{"prompt": "2+2?", "completion": "4"}\n'
RUNNING = job(status=JobStatus("running"))
STATUS_THREAD = "NetStatThr"


@pytest.fixture
def sink(workspace: Path, project: str) -> OnlineSink:
    return OnlineSink(RunOptions(project, None, "online", init={"dir": str(workspace)}))


def comes_true(fact: Callable[[], bool], within: float) -> bool:
    """Whether a fact becomes one within so many seconds."""
    give_up_at = time.monotonic() + within
    while time.monotonic() < give_up_at:
        if fact():
            return True
        time.sleep(0.005)
    return fact()


# What the SDK would do


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_an_entry_is_what_add_file_would_add(tmp_path: Path, size: int) -> None:
    path = tmp_path / "content"
    path.write_bytes(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    added = wandb.Artifact("name", type="dataset").add_file(str(path), name="in/here.jsonl", policy="immutable")
    ours = entry(path, "in/here.jsonl")
    assert (ours.path, ours.digest, ours.size) == (added.path, added.digest, added.size)
    artifact = wandb.Artifact("name", type="dataset")
    artifact.manifest.add_entry(ours)
    assert artifact.manifest.to_manifest_json()["contents"] == {
        "in/here.jsonl": {"digest": added.digest, "size": added.size}
    }


def test_the_digest_of_an_artifact_of_entries_is_that_of_one_of_added_files(tmp_path: Path) -> None:
    path = tmp_path / "content"
    path.write_bytes(LINES)
    ours, theirs = (wandb.Artifact("name", type="dataset") for _ in range(2))
    ours.manifest.add_entry(entry(path, "train.jsonl"))
    theirs.add_file(str(path), name="train.jsonl")
    assert ours.digest == theirs.digest


# Threads


def status_threads() -> int:
    return [thread.name for thread in threading.enumerate()].count(STATUS_THREAD)


def test_open_runs_have_no_thread_each(sink: OnlineSink, project: str) -> None:
    with wandb.init(project=project, id="plain", reinit="create_new"):
        assert status_threads() == 1  # the SDK's own way; had it another name by now, the rest would say nothing
    before = threading.active_count()
    with ExitStack() as opened:
        for number in range(20):
            opened.enter_context(sink.open(Create(RUNNING, RunId(f"ftjob-{number}"), "test"), record()))
        assert status_threads() == 0
        assert threading.active_count() < before + 5


def core_says_stop(run: wandb.Run, stop: Callable[[], None]) -> RunStopChecker:
    """Ask the SDK's core as often as can be whether the run was stopped, as the SDK itself does every 15 s."""
    asyncer = cast("Any", run)._run_status_checker._stop_checker._asyncer
    checker = RunStopChecker(asyncer, cast("Any", run)._interface, stop, poll_interval=0.01)
    checker.start()
    return checker


def test_stopping_a_run_in_wandb_stops_neither_the_process_nor_other_runs(
    sink: OnlineSink, backend: WandbBackend, project: str
) -> None:
    stopped = threading.Event()
    with sink.open(Create(RUNNING, RunId("ftjob-1"), "test"), record()) as writer:
        stop_fn = writer.run.settings.stop_fn
        assert stop_fn is not None  # None interrupts the main thread

        def stop() -> None:
            stop_fn()
            stopped.set()

        (run,) = backend.runs(project)
        run.stopped = True
        checker = core_says_stop(writer.run, stop)
        writer.log([MetricRow(1, {"train_loss": 1.0})])  # the answer to the rows tells the core
        assert stopped.wait(60)
        checker.stop_soon()
        writer.log([MetricRow(2, {"train_loss": 0.5})])
        writer.complete(record())
    assert [row["_step"] for row in run.history] == [1, 2]
    assert (run.state, run.summary["ftsync"]["version"] is not None) == ("finished", True)


# A run that is followed


def test_a_row_of_a_job_that_runs_is_in_wandb_within_two_seconds(
    sink: OnlineSink, backend: WandbBackend, project: str
) -> None:
    assert LIVE
    with sink.open(Create(RUNNING, RunId("ftjob-1"), "test"), record()) as writer:
        (run,) = backend.runs(project)
        for step in (1, 2):
            writer.log([MetricRow(step, {"train_loss": 1.0}, 1_700_000_000.0 + step)])
            assert comes_true(lambda step=step: len(run.history) == step, within=10)  # type: ignore[misc]
        assert run.state == "running"


def test_a_run_is_opened_in_one_thread_and_closed_in_another(
    sink: OnlineSink, backend: WandbBackend, project: str
) -> None:
    opened = ExitStack()
    step = Create(RUNNING, RunId("ftjob-1"), "test")

    def open_it() -> None:
        writer: WandbRun = opened.enter_context(sink.open(step, record()))
        writer.log([MetricRow(1, {"train_loss": 1.0})])

    for task in (open_it, opened.close):
        thread = threading.Thread(target=task)
        thread.start()
        thread.join()
    (run,) = backend.runs(project)
    assert ([row["_step"] for row in run.history], run.state) == ([1], "finished")


# Offline


def test_the_files_of_offline_artifacts_lie_in_the_runs_own_folder(workspace: Path, tmp_path: Path) -> None:
    content = tmp_path / "content"
    content.write_bytes(LINES)
    sink = OfflineSink(RunOptions("p", None, "offline", init={"dir": str(workspace)}))
    run = record(model_metadata={"fine_tuned_model": "ft:x"})
    with sink.open(Create(job(), RunId("ftjob-1"), "test"), run) as writer:
        writer.use_dataset(training_file(), Download(content, len(LINES), "0" * 64))
        writer.log_model(run, ())
        writer.complete(run)
    content.unlink()
    (log,) = (workspace / "wandb").glob("offline-run-*/run-*.wandb")
    inspect = [get_core_path(), "leet", "inspect", "--no-observability", "--json", "--run-file", str(log)]
    done = subprocess.run([*inspect, str(log.parent.parent)], capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    folder = log.parent.resolve()
    kept = {
        (record["artifact"]["name"], entry["path"]): Path(entry["local_path"])
        for record in records
        if record["type"] == "artifact"
        for entry in record["artifact"]["manifest"]["contents"]
    }
    assert set(kept) == {
        ("train-file-train", "train.jsonl"),
        ("train-file-train", "train_data.table.json"),
        ("model_metadata", "model_metadata.json"),
    }
    assert [path for path in kept.values() if not path.resolve().is_relative_to(folder)] == []
    assert kept["train-file-train", "train.jsonl"].read_bytes() == LINES


def test_rows_handed_over_in_batches_arrive_all_and_in_order(
    sink: OnlineSink, backend: WandbBackend, project: str
) -> None:
    rows = tuple(MetricRow(step, {"train_loss": 1 / step}, 1_700_000_000.0 + step) for step in range(1, 1_051))
    with sink.open(Create(job(), RunId("ftjob-1"), "test"), record(rows=rows)) as writer:
        writer.log(rows[:1000])
        writer.log(rows[1000:])
    (run,) = backend.runs(project)
    assert [(row["_step"], row["train_loss"]) for row in run.history] == [(row.step, 1 / row.step) for row in rows]


def test_tags_and_notes_of_the_environment_are_added_also_to_a_failed_jobs_run(
    workspace: Path, backend: WandbBackend, project: str
) -> None:
    assert workspace.is_dir()
    given = with_environment({}, {"WANDB_TAGS": "nightly, eu,", "WANDB_NOTES": "by cron"})
    sink = OnlineSink(RunOptions(project, None, "online", init=given))
    failed = record(tags=("openai",), failure="failed: no credit")
    with sink.open(Create(job(), RunId("ftjob-1"), "test"), failed) as writer:
        writer.complete(failed)
    (run,) = backend.runs(project)
    assert (run.tags, run.notes) == (["openai", "nightly", "eu"], "by cron\n\nfailed: no credit")
