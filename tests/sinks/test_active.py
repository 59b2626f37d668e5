"""A job into a run that is open: what is added, what is left alone, and what happens to it afterwards."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import wandb

import ft_sync
from ft_sync.errors import AuthError, ConfigError, SinkRejected, Unavailable
from ft_sync.models import Create, JobId, MetricRow, RunFile, RunId
from ft_sync.sandbox import World, samples
from ft_sync.sinks import active
from ft_sync.sinks.wandb import RunOptions
from tests.builders import job, record
from tests.live.conftest import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ft_sync.models import RunRecord
    from tests.wandb_backend import Run, WandbBackend

ROWS = (MetricRow(1, {"train_loss": 0.9}, 100.0), MetricRow(10, {"train_loss": 0.5}, 200.0))


@pytest.fixture
def run(workspace: Path, project: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[wandb.Run]:
    """A run of the user's, whose rows are sent every second, the shortest interval that there is."""
    assert workspace.is_dir()
    monkeypatch.setenv("WANDB__FILE_STREAM_TRANSMIT_INTERVAL", "1")
    with wandb.init(project=project, config={"lr": 0.1, "model": "mine"}, tags=["t"], notes="n", name="nice") as run:
        yield run


def add(run: wandb.Run, record: RunRecord) -> None:
    """Add what the record says to the run, and wait for files alone to be sent: finishing the run sends the rest."""
    sink = active.sink(run, RunOptions(run.project, run.entity, "offline" if run.offline else "online"))
    step = Create(job(record.job_id), RunId(run.id), "into a run of yours")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as opened:
        if not record.files:
            patch.setattr(active, "UPLOAD_PAUSES", ())
        writer = opened.enter_context(sink.open(step, record))
        writer.log(record.rows)
        writer.log_events(record.log)
        writer.save(record.files)
        writer.log_model(record, ())
        writer.complete(record)


def held(backend: WandbBackend, run: wandb.Run) -> Run:
    """Finish the run, if it is not, and return what the server has of it."""
    run.finish()
    return on_server(backend, run)


def on_server(backend: WandbBackend, run: wandb.Run) -> Run:
    (found,) = [one for one in backend.runs(run.project) if one.id == run.id]
    return found


def history(backend: WandbBackend, run: wandb.Run) -> list[dict[str, Any]]:
    unknown = {"_runtime", "_timestamp"}
    return [{key: row[key] for key in row.keys() - unknown} for row in held(backend, run).history]


def test_in_a_run_without_rows_the_jobs_steps_are_the_runs(backend: WandbBackend, run: wandb.Run) -> None:
    add(run, record(rows=ROWS))
    assert history(backend, run) == [
        {"_step": 1, "fine_tune_step": 1, "train_loss": 0.9},
        {"_step": 10, "fine_tune_step": 10, "train_loss": 0.5},
    ]


def test_rows_keep_their_true_times(backend: WandbBackend, run: wandb.Run) -> None:
    add(run, record(rows=ROWS))
    assert [row["_timestamp"] for row in held(backend, run).history] == [100.0, 200.0]


def test_rows_come_after_those_of_the_user_also_after_one_that_is_not_committed(
    backend: WandbBackend, run: wandb.Run
) -> None:
    run.log({"mine": 1}, step=1000)
    add(run, record(rows=(MetricRow(0, {"train_loss": 1.0}), *ROWS)))
    run.log({"mine": 2})
    assert history(backend, run) == [
        {"_step": 1000, "mine": 1},
        {"_step": 1001, "fine_tune_step": 0, "train_loss": 1.0},
        {"_step": 1002, "fine_tune_step": 1, "train_loss": 0.9},
        {"_step": 1011, "fine_tune_step": 10, "train_loss": 0.5},
        {"_step": 1012, "mine": 2},
    ]


def test_the_jobs_metrics_are_drawn_against_its_own_steps(backend: WandbBackend, run: wandb.Run) -> None:
    add(run, record(rows=ROWS, best={"train_loss": "min"}))
    assert held(backend, run).summary["train_loss"] == {"min": 0.5, "last": 0.5}
    defined = {one["1"]: one for one in held(backend, run).raw_config["_wandb"]["value"]["m"]}
    step_metric = defined["train_loss"]["5"]
    assert list(defined)[step_metric - 1] == active.STEP


def test_what_the_user_has_set_stays(backend: WandbBackend, run: wandb.Run) -> None:
    add(run, record(config={"fine_tune_job_id": "ftjob-1", "model": "gpt-4o", "seed": 7}))
    there = held(backend, run)
    assert (there.display_name, there.tags, there.notes) == ("nice", ["t"], "n")
    assert there.config == {
        "lr": 0.1,
        "model": "mine",
        "fine_tune_model": "gpt-4o",
        "seed": 7,
        "fine_tune_job_id": "ftjob-1",
    }


def test_files_are_there_before_the_run_is_finished(backend: WandbBackend, run: wandb.Run) -> None:
    file = RunFile("fine_tuning/job.json", [b"{}"])
    add(run, record(files=(file,)))
    until(lambda: file.path in on_server(backend, run).files)
    assert on_server(backend, run).state == "running"


def test_files_that_wandb_refuses_are_told(
    backend: WandbBackend, run: wandb.Run, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(active, "UPLOAD_PAUSES", (0.0, 0.5))
    backend.fail("CreateRunFiles", status=403)
    monkeypatch.setattr("ft_sync.arrival.PAUSES", (0.05,))
    world.add(*samples.many(1))
    (failed,) = ft_sync.sync(world.jobs[0].id, run=run).failed
    assert "file fine_tuning/job.json, file " in failed.error.message
    assert held(backend, run).summary["ftsync"] == "incomplete"


def test_the_console_log_stays_the_users(backend: WandbBackend, run: wandb.Run) -> None:
    add(run, record(log=("a line of the job",)))
    assert not any("a line of the job" in line for line in held(backend, run).lines("output.log"))


def test_writing_it_again_adds_no_row_twice(backend: WandbBackend, run: wandb.Run) -> None:
    known = record(rows=ROWS, config={"fine_tune_job_id": "ftjob-1"})
    add(run, replace(known, rows=ROWS[:1]))
    add(run, known)
    assert [row["fine_tune_step"] for row in history(backend, run)] == [1, 10]


def test_another_job_is_refused(run: wandb.Run) -> None:
    add(run, record(config={"fine_tune_job_id": "ftjob-1"}))
    with pytest.raises(SinkRejected, match="ftjob-1"):
        add(run, record(job_id=JobId("ftjob-2")))


def test_a_job_that_failed_does_not_fail_the_run(backend: WandbBackend, run: wandb.Run) -> None:
    add(run, record(failure="failed: no", summary={"status": "failed"}))
    assert (held(backend, run).state, held(backend, run).summary["status"]) == ("finished", "failed")


def test_offline_it_is_added_to_the_runs_folder(workspace: Path, project: str) -> None:
    assert workspace.is_dir()
    with wandb.init(project=project, mode="offline") as run:
        sink = active.sink(run, RunOptions(project, None, "offline"))
        known = record(rows=ROWS, config={"fine_tune_job_id": "ftjob-1"})
        assert sink.states([known.job_id]) == {}
        add(run, known)
        (state,) = sink.states([known.job_id])[known.job_id]
        assert (state.run_id, state.is_complete, state.url) == (run.id, True, str(Path(run.dir).parent))


# Through ft_sync.sync


def test_a_run_that_is_not_the_active_one_may_be_given(
    workspace: Path, world: World, backend: WandbBackend, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert workspace.is_dir()
    monkeypatch.setenv("WANDB__FILE_STREAM_TRANSMIT_INTERVAL", "1")
    world.add(*samples.many(1))
    with wandb.init(project=project, reinit="create_new") as run:
        (synced,) = ft_sync.sync(world.jobs[0].id, run=run).synced
        assert (synced.run_id, synced.rows, synced.url) == (run.id, 4, run.url)
        assert {artifact.type for artifact in held(backend, run).used} >= {"training_files", "validation_files"}


def test_an_interrupted_write_leaves_the_run_open_and_is_gone_on_with(
    run: wandb.Run, world: World, backend: WandbBackend
) -> None:
    world.add(*samples.many(1))
    backend.fail("CreateArtifact", status=403, times=1)
    (failed,) = ft_sync.sync(world.jobs[0].id, run=run).failed
    assert isinstance(failed.error, AuthError | Unavailable | SinkRejected)
    assert on_server(backend, run).state == "running"
    backend.heal()
    (synced,) = ft_sync.sync(world.jobs[0].id, run=run).synced
    assert (synced.rows, len(history(backend, run))) == (4, 4)


def test_rows_that_do_not_arrive_are_told(
    run: wandb.Run, world: World, backend: WandbBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(active, "UPLOAD_PAUSES", (0.0, 0.1))
    monkeypatch.setattr("ft_sync.arrival.PAUSES", (0.05,))
    world.add(*samples.many(1))
    backend.fail("file_stream", status=404)
    (failed,) = ft_sync.sync(world.jobs[0].id, run=run).failed
    assert isinstance(failed.error, SinkRejected)


def test_a_job_that_was_waited_for_and_failed_is_in_the_run_and_does_not_fail_it(
    run: wandb.Run, world: World, backend: WandbBackend
) -> None:
    world.add(*samples.many(1, status="failed"))
    assert len(ft_sync.sync(world.jobs[0].id, run=run, include_unsuccessful=True).synced) == 1
    assert (on_server(backend, run).state, held(backend, run).state) == ("running", "finished")
    assert on_server(backend, run).summary["status"] == "failed"


@pytest.mark.parametrize("selection", [{}, {"num_fine_tunes": 2}, {"fine_tune_job_id": ["a", "b"]}])
def test_an_open_run_takes_one_job(run: wandb.Run, selection: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="one job"):
        ft_sync.sync(**selection, run=run)


def test_an_open_run_takes_no_arguments_of_init(run: wandb.Run) -> None:
    with pytest.raises(ConfigError, match="tags"):
        ft_sync.sync("ftjob-1", run=run, tags=["x"])


def test_a_run_that_is_tagged_as_replaced_is_refused(run: wandb.Run) -> None:
    run.tags = (*(run.tags or ()), "ftsync-replaced")
    with pytest.raises(ConfigError, match="tags of the run"):
        ft_sync.sync("ftjob-1", run=run)


def test_a_disabled_run_is_refused(workspace: Path) -> None:
    assert workspace.is_dir()
    run = wandb.init(mode="disabled")
    with pytest.raises(ConfigError, match="disabled"):
        ft_sync.sync("ftjob-1", run=run)
    run.finish()
