"""Runs that are there already, online: gone on with, added to, kept, or left alone; and which model is the latest."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import wandb

from ft_sync.errors import IdTaken, NotFound, RunExists
from ft_sync.models import (
    Create,
    Download,
    Enrich,
    Extend,
    JobId,
    JobStatus,
    MetricRow,
    Origin,
    Replace,
    RunFile,
    RunId,
    RunState,
)
from ft_sync.names import REPLACED_TAG
from ft_sync.sinks.online import OnlineSink
from ft_sync.sinks.sdk import create_run
from ft_sync.sinks.wandb import RunOptions
from tests.builders import at, job, record, training_file

if TYPE_CHECKING:
    from pathlib import Path

    from ft_sync.models import Job, RunRecord, Write
    from tests.wandb_backend import Run, WandbBackend

ONE = JobId("ftjob-1")
ROWS = tuple(MetricRow(step, {"train_loss": 1 / step}, 1_700_000_000.25 + step) for step in range(1, 6))
LINES = b'{"prompt": "2+2?", "completion": "4"}\n'
NOW = {"fine_tune_job_id": "ftjob-1", "model": "gpt", "seed": 1, "hyperparameters": {"n_epochs": 3}}


@pytest.fixture
def options(workspace: Path, project: str) -> RunOptions:
    return RunOptions(project, None, "online", init={"dir": str(workspace), "config": {"mine": 1}})


@pytest.fixture
def sink(options: RunOptions) -> OnlineSink:
    return OnlineSink(options)


def full(job_id: str = "ftjob-1", **changes: Any) -> RunRecord:  # noqa: ANN401 - a builder
    return record(
        job_id,
        **{
            "config": {"fine_tune_job_id": job_id, "model": "gpt", "seed": 1},
            "rows": ROWS,
            "best": {"train_loss": "min"},
            "summary": {"status": "succeeded", "train_loss": {"min": 0.2, "last": 0.2}},
            "model_metadata": {"fine_tuned_model": "ft:x", "job_id": job_id},
        }
        | changes,
    )


def write(sink: OnlineSink, step: Write, run: RunRecord, rows: tuple[MetricRow, ...] | None = None) -> None:
    with sink.open(step, run) as writer:
        writer.log(run.rows if rows is None else rows)
        writer.log_model(run, ())
        writer.save(run.files)
        writer.log_events(run.log)
        writer.complete(run)


def create(run_id: str = "ftjob-1") -> Create:
    return Create(job(), RunId(run_id), "test")


def state_of(sink: OnlineSink) -> RunState:
    (state,) = sink.states([ONE])[ONE]
    return state


def extend(run: RunState) -> Extend:
    return Extend(job(), run.run_id, "test", run, Replace(job(), RunId("ftjob-1-r2"), "test", (run,)))


def the_run(backend: WandbBackend, project: str, run_id: str = "ftjob-1") -> Run:
    (run,) = [run for run in backend.runs(project) if run.id == run_id]
    return run


def rows_in(run: Run) -> list[tuple[int, float, float]]:
    return [(row["_step"], row["train_loss"], row["_timestamp"]) for row in run.history]


def break_off(sink: OnlineSink, after: int, **changes: Any) -> None:  # noqa: ANN401 - a builder
    with sink.open(create(), full(**changes)) as writer:
        writer.log(ROWS[:after])
        raise ZeroDivisionError


@pytest.mark.parametrize("after", [0, 1, 3, 5])
def test_a_run_that_was_cut_off_is_gone_on_with_to_what_a_fresh_one_is(
    sink: OnlineSink, backend: WandbBackend, project: str, after: int
) -> None:
    write(sink, create("fresh"), full())
    with pytest.raises(ZeroDivisionError):
        break_off(sink, after)
    cut_off = state_of_run(sink, "ftjob-1")
    held = sink.held_rows(cut_off, full(), ())
    assert held == after
    write(sink, extend(cut_off), full(), ROWS[held:])
    fresh, mended = (the_run(backend, project, run_id) for run_id in ("fresh", "ftjob-1"))
    assert rows_in(mended) == rows_in(fresh) == [(row.step, 1 / row.step, row.time) for row in ROWS]
    assert mended.config == fresh.config
    assert mended.summary["train_loss"] == fresh.summary["train_loss"] == {"min": 0.2, "last": 0.2}
    assert (mended.state, sorted(mended.tags)) == ("finished", sorted(fresh.tags))
    assert state_of_run(sink, "ftjob-1").is_complete


def state_of_run(sink: OnlineSink, run_id: str) -> RunState:
    return next(state for state in sink.states([ONE])[ONE] if state.run_id == run_id)


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": (MetricRow(1, {"train_loss": 0.5}, ROWS[0].time), *ROWS[1:])},
        {"rows": (MetricRow(1, {"train_loss": 1.0}, 5.0), *ROWS[1:])},
        {"rows": ROWS[1:]},
        {"rows": ROWS[:1]},
        {"config": {"fine_tune_job_id": "ftjob-1", "model": "gpt"}},
        {"config": NOW | {"hyperparameters": {"batch_size": 1}}},
        {"config": NOW | {"hyperparameters": {}}},
    ],
)
def test_a_run_that_holds_something_else_is_no_beginning(sink: OnlineSink, changes: dict[str, Any]) -> None:
    with pytest.raises(ZeroDivisionError):
        break_off(sink, 2, config=NOW)
    assert sink.held_rows(state_of(sink), full(**{"config": NOW} | changes), ()) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 2},
        {"seed": None},
        {"hyperparameters": {"n_epochs": "auto"}},
        {"hyperparameters": {"n_epochs": {"start": 1}}},
        {"hyperparameters": "unknown"},
    ],
)
def test_a_cut_off_run_with_older_values_in_its_config_is_gone_on_with_and_has_the_fresh_ones(
    sink: OnlineSink, backend: WandbBackend, project: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(ZeroDivisionError):
        break_off(sink, 2, config=NOW | changes)
    cut_off = state_of(sink)
    held = sink.held_rows(cut_off, full(config=NOW), ())
    assert held == 2
    write(sink, extend(cut_off), full(config=NOW), ROWS[held:])
    run = the_run(backend, project)
    assert run.config == {**NOW, "mine": 1}
    assert [step for step, *_ in rows_in(run)] == [1, 2, 3, 4, 5]


def test_a_native_run_gets_what_it_lacks_and_keeps_what_it_has(
    sink: OnlineSink, backend: WandbBackend, project: str
) -> None:
    with wandb.init(
        project=project,
        id="ftjob-1",
        name="theirs",
        tags=["openai/fine-tune"],
        notes="a note",
        config={"model": "gpt", "hyperparameters": {"n_epochs": "auto"}, "theirs": 1},
        reinit="create_new",
    ) as native:
        for step in (1, 2):
            native.log({"train_loss": 9.0, "_timestamp": 1_600_000_000.0 + step}, step=step)
        native.summary["kept"] = "yes"
    before = rows_in(the_run(backend, project))
    state = state_of(sink)
    assert state.origin is Origin.NATIVE
    enriched = full(config={"fine_tune_job_id": "ftjob-1", "model": "gpt", "hyperparameters": {"n_epochs": 3}})
    write(sink, Enrich(job(), state.run_id, "test", state), enriched, ())
    run = the_run(backend, project)
    assert rows_in(run) == before
    assert (run.display_name, run.notes) == ("theirs", "a note")
    assert set(run.tags) == {"openai/fine-tune", "openai"}
    assert run.config["hyperparameters"] == {"n_epochs": 3}
    assert (run.config["theirs"], run.config["fine_tune_job_id"]) == (1, "ftjob-1")
    assert (run.summary["kept"], run.summary["train_loss"], run.summary["status"]) == ("yes", 9.0, "succeeded")
    assert [artifact.collection.name for artifact in run.logged] == ["model_metadata"]
    again = state_of(sink)
    assert (again.origin, again.is_complete) == (Origin.NATIVE, True)


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_a_run_with_the_first_lines_of_its_log_is_gone_on_with_and_no_line_is_there_twice(
    sink: OnlineSink, backend: WandbBackend, project: str, kept: int
) -> None:
    whole = full(log=("one", "two", "one"))
    write(sink, create(), whole)
    run = the_run(backend, project)
    run.streams["output.log"] = dict(list(run.streams["output.log"].items())[:kept])
    run.exit_code, run.heartbeat_at = None, at(0)  # its writer was killed long ago
    cut_off = state_of(sink)
    assert sink.held_rows(cut_off, whole, ()) == len(ROWS)
    write(sink, extend(cut_off), whole, ())
    assert (run.console, run.state, len(run.history)) == (["one", "two", "one"], "finished", len(ROWS))


@pytest.mark.parametrize("log", [("two", "one", "one"), ("one", "two"), ()])
def test_a_run_with_other_lines_in_its_log_is_no_beginning(sink: OnlineSink, log: tuple[str, ...]) -> None:
    write(sink, create(), full(log=("one", "two", "one")))
    sink.reject(RunId("ftjob-1"), ONE)
    assert sink.held_rows(state_of(sink), full(log=log), ()) is None


def test_a_run_that_lost_its_config_and_was_rejected_is_an_incomplete_run_of_its_job(
    sink: OnlineSink, backend: WandbBackend, project: str
) -> None:
    write(sink, create("ftjob-1-r2"), full())
    the_run(backend, project, "ftjob-1-r2").raw_config = {}
    assert sink.states([ONE]) == {}
    sink.reject(RunId("ftjob-1-r2"), ONE)
    rejected = state_of(sink)
    assert (rejected.origin, rejected.mark, rejected.is_complete) == (Origin.FTSYNC, None, False)


def test_a_run_that_is_complete_by_now_is_neither_extended_nor_enriched(sink: OnlineSink) -> None:
    write(sink, create(), full())
    complete = state_of(sink)
    listed = replace(complete, mark=None)
    with pytest.raises(RunExists) as raised:
        sink.held_rows(listed, full(), ())
    assert raised.value.run == complete
    with pytest.raises(RunExists) as raised:
        write(sink, Enrich(job(), listed.run_id, "test", listed), full(), ())
    assert raised.value.run == complete


def test_a_native_run_that_is_enriched_again_gets_the_new_lines_and_keeps_no_old_file(
    sink: OnlineSink, backend: WandbBackend, project: str
) -> None:
    with wandb.init(project=project, id="ftjob-1", tags=["openai/fine-tune"], reinit="create_new") as native:
        native.log({"train_loss": 9.0}, step=1)
    old, new = (RunFile(f"fine_tuning/{name}", [b"{}"]) for name in ("old.json", "new.json"))
    state = state_of(sink)
    first = Enrich(job(), state.run_id, "test", state)
    write(sink, first, full(files=(old,), log=("one", "one", "two")), ())
    sink.reject(state.run_id, ONE)
    state = state_of(sink)
    assert state.mark is None
    grown = full(files=(new,), log=("one", "one", "two", "two", "three"))
    write(sink, Enrich(job(), state.run_id, "test", state), grown, ())
    run = the_run(backend, project)
    assert [line.content for line in wandb.Api().run(f"{project}/ftjob-1").console_logs()] == [*grown.log]
    assert [name for name in run.files if name.startswith("fine_tuning/")] == [new.path]


def test_what_a_cut_off_run_would_keep_of_the_first_try_makes_it_no_beginning(sink: OnlineSink, tmp_path: Path) -> None:
    file = RunFile("fine_tuning/job.json", [b"{}"])
    content = tmp_path / "content"
    content.write_bytes(LINES)

    def begin(record: RunRecord) -> None:
        with sink.open(create(), record) as writer:
            writer.log_model(record, [training_file()])
            writer.save(record.files)
            writer.log(ROWS[:2])
            writer.use_dataset(training_file(), Download(content, len(LINES), "0" * 64))
            raise ZeroDivisionError

    whole = full(files=(file,), notes=("a file is gone",))
    with pytest.raises(ZeroDivisionError):
        begin(whole)
    run = state_of(sink)
    assert sink.held_rows(run, whole, [training_file()]) == 2
    assert sink.held_rows(run, replace(whole, notes=("another file is gone",)), [training_file()]) == 2
    assert sink.held_rows(run, replace(whole, notes=()), [training_file()]) is None
    assert sink.held_rows(run, replace(whole, files=()), [training_file()]) is None
    assert sink.held_rows(run, whole, []) is None
    other = replace(whole, model_metadata={"fine_tuned_model": "ft:y", "job_id": "ftjob-1"})
    assert sink.held_rows(run, other, [training_file()]) is None


def test_a_run_that_was_created_and_never_begun_names_its_job(sink: OnlineSink, project: str) -> None:
    with pytest.raises(ZeroDivisionError), sink.open(create(), full()):
        raise ZeroDivisionError
    create_run(wandb.Api(), project, "ftjob-1-r2", {"fine_tune_job_id": "ftjob-1"})
    assert {state.run_id for state in sink.states([ONE])[ONE] if state.origin is Origin.FTSYNC} == {
        "ftjob-1",
        "ftjob-1-r2",
    }


@pytest.mark.parametrize("state", ["running", "crashed", "killed"])
def test_a_run_that_was_not_closed_is_not_complete(sink: OnlineSink, state: str) -> None:
    write(sink, create(), full())
    assert state_of(sink).is_complete
    assert not replace(state_of(sink), state=state).is_complete


def test_the_id_of_a_run_that_was_deleted_is_taken(workspace: Path, project: str) -> None:
    init = {"dir": str(workspace), "settings": {"init_timeout": 3}}
    sink = OnlineSink(RunOptions(project, None, "online", init=init))
    write(sink, create(), full())
    sink.delete(state_of(sink))
    with pytest.raises(IdTaken, match="ftjob-1"):
        write(sink, create(), full())
    write(sink, create("ftjob-1-r2"), full())
    assert state_of(sink).is_complete


def test_a_kept_run_is_tagged_and_otherwise_as_it_was(sink: OnlineSink, backend: WandbBackend, project: str) -> None:
    write(sink, create(), full())
    run = the_run(backend, project)
    hidden = run.raw_config["_wandb"]["value"]
    config, summary, history = run.config, dict(run.summary), run.history
    sink.keep(state_of(sink))
    assert run.tags == ["openai", REPLACED_TAG]
    assert (run.config, run.summary, run.history, run.state) == (config, summary, history, "finished")
    assert run.raw_config["_wandb"]["value"] == hidden
    assert state_of(sink).is_replaced


WRITER = """
import os, sys, wandb
run = wandb.init(project=sys.argv[1], id="ftjob-1", settings=wandb.Settings(x_disable_stats=True))
print("up", flush=True)
sys.stdin.read()
os._exit(0)
"""


def test_a_run_that_another_process_is_writing_is_told_from_one_whose_writer_was_killed(
    sink: OnlineSink, project: str, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, project],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=elsewhere,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        assert state_of(sink).being_written
        child.kill()


def test_a_run_that_another_machine_was_quicker_to_make_is_being_written_there(
    sink: OnlineSink, backend: WandbBackend, project: str
) -> None:
    write(sink, create(), full())
    state_of(sink)  # it has ended, which its lock does not outlive
    there = the_run(backend, project)
    there.exit_code, there.heartbeat_at = None, datetime.now(UTC)  # as it is while it is written
    with pytest.raises(RunExists):
        write(sink, create(), full())
    assert state_of(sink).being_written


KILLED = """
import os, signal, sys
from ft_sync.models import Create, MetricRow, RunId
from ft_sync.sinks.online import OnlineSink
from ft_sync.sinks.sdk import create_run
from ft_sync.sinks.wandb import RunOptions
from tests.builders import job, record
sink = OnlineSink(RunOptions(sys.argv[1], None, "online", init={"dir": sys.argv[2]}))
with sink.open(Create(job(), RunId("ftjob-1"), "test"), record()):
    print("up", flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_whose_writer_was_killed_here_may_be_mended_at_once(
    sink: OnlineSink, workspace: Path, project: str, pytestconfig: pytest.Config
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, project, str(workspace)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=pytestconfig.rootpath,
    )
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        assert state_of(sink).being_written
        child.stdin.write("die\n")
        child.stdin.flush()
        child.wait(timeout=60)
    state = state_of(sink)
    assert (state.state, state.being_written) == ("running", False)


def metadata(of: Job) -> dict[str, Any]:
    created = of.created_at
    assert created is not None
    return {
        "fine_tuned_model": f"ft:{of.id}",
        "job_id": of.id,
        "status": of.status,
        "created_at": created.isoformat().replace("+00:00", "Z"),
    }


def write_model(sink: OnlineSink, of: Job, run_id: str | None = None) -> None:
    write(sink, Create(of, RunId(run_id or of.id), "test"), full(of.id, model_metadata=metadata(of)))


def latest(backend: WandbBackend, project: str) -> str:
    artifact = backend.artifact(f"{project}/model_metadata:latest")
    assert artifact is not None
    return str(artifact.metadata["job_id"])


OLD, MIDDLE, NEW = (job(f"ftjob-{name}", created_at=at(time)) for name, time in (("c", 0), ("b", 10), ("a", 20)))


@pytest.mark.parametrize("order", [(OLD, NEW), (NEW, OLD), (MIDDLE, NEW, OLD), (NEW, OLD, MIDDLE)])
def test_latest_is_the_newest_job_in_whatever_order_they_are_written(
    sink: OnlineSink, backend: WandbBackend, project: str, order: tuple[Job, ...]
) -> None:
    for one in order:
        write_model(sink, one)
    sink.point_latest(order)
    assert latest(backend, project) == NEW.id


def test_latest_stays_with_a_newer_job_of_an_earlier_command(
    options: RunOptions, backend: WandbBackend, project: str
) -> None:
    write_model(OnlineSink(options), NEW)
    later = OnlineSink(options)
    write_model(later, OLD)
    assert latest(backend, project) == OLD.id
    later.point_latest([OLD])
    assert latest(backend, project) == NEW.id


def test_latest_stays_with_the_newest_job_when_runs_are_written_again(
    options: RunOptions, backend: WandbBackend, project: str
) -> None:
    for one in (NEW, OLD):
        write_model(OnlineSink(options), one)
    again = OnlineSink(options)
    write_model(again, NEW, "ftjob-a-r2")
    write_model(again, OLD, "ftjob-c-r2")
    again.point_latest([OLD, NEW])
    artifact = backend.artifact(f"{project}/model_metadata:latest")
    assert artifact is not None
    assert artifact.created_by is not None
    assert artifact.created_by.id == "ftjob-a-r2"
    assert set(artifact.aliases) == {"latest", NEW.id}


def test_latest_is_a_job_that_succeeded_also_when_a_newer_one_has_a_model(
    sink: OnlineSink, backend: WandbBackend, project: str
) -> None:
    write_model(sink, OLD)
    cancelled = replace(NEW, status=JobStatus("cancelled"))
    write_model(sink, cancelled)
    assert latest(backend, project) == NEW.id
    sink.point_latest([OLD, cancelled])
    assert latest(backend, project) == OLD.id


def test_latest_that_was_taken_away_comes_back(options: RunOptions, backend: WandbBackend, project: str) -> None:
    for one in (NEW, OLD):
        write_model(OnlineSink(options), one)
    held = wandb.Api().artifact(f"{project}/model_metadata:latest")
    held.aliases.remove("latest")
    held.save()
    assert backend.artifact(f"{project}/model_metadata:latest") is None
    OnlineSink(options).point_latest([OLD])
    assert latest(backend, project) == NEW.id


def test_there_is_no_latest_where_no_model_is(sink: OnlineSink, backend: WandbBackend, project: str) -> None:
    sink.point_latest([OLD])
    assert backend.artifact(f"{project}/model_metadata:latest") is None


def test_nothing_is_asked_twice_about_latest_when_it_is_right(sink: OnlineSink, backend: WandbBackend) -> None:
    write_model(sink, NEW)
    backend.requests.clear()
    sink.point_latest([OLD, NEW])
    assert backend.count("ProjectArtifacts") == 1
    backend.requests.clear()
    sink.point_latest([OLD, NEW])
    assert [request.operation for request in backend.requests] == ["ArtifactMembershipByName"]


def test_a_model_is_linked_into_the_registry_with_its_aliases_and_only_once(
    sink: OnlineSink, backend: WandbBackend
) -> None:
    write_model(sink, NEW)
    for _ in range(2):
        sink.link(NEW, "model/support", ["production"])
    held = backend.store.project(backend.store.organization_entity, "wandb-registry-model")
    assert held is not None
    collection = held.collections["support"]
    assert [artifact.metadata["job_id"] for artifact in collection.versions.values()] == [NEW.id]
    assert set(collection.aliases) == {"latest", "production"}


def test_a_model_that_is_not_in_wandb_cannot_be_linked(sink: OnlineSink) -> None:
    write_model(sink, NEW)
    with pytest.raises(NotFound, match=OLD.id):
        sink.link(OLD, "model/support", [])


def test_a_file_that_wandb_holds_is_used_by_further_runs_without_its_bytes(
    options: RunOptions, backend: WandbBackend, project: str, tmp_path: Path
) -> None:
    content = tmp_path / "content"
    content.write_bytes(LINES)
    file = training_file()
    first = OnlineSink(options)
    assert first.dataset(file) is None
    with first.open(create(), full()) as writer:
        summary = writer.use_dataset(file, Download(content, len(LINES), "0" * 64))
    content.unlink()
    later = OnlineSink(options)
    for number, sink in enumerate((first, later, later)):
        backend.requests.clear()
        assert sink.dataset(file) == summary
        with sink.open(create(f"again-{number}"), full()) as writer:
            assert writer.use_dataset(file, None) == summary
        assert backend.count("CreateArtifact") == 0
        run = the_run(backend, project, f"again-{number}")
        assert [artifact.collection.name for artifact in run.used] == ["train-file-train"]
        assert run.config["n_train"] == 1
        assert run.summary["train_data"] == the_run(backend, project).summary["train_data"]
    assert json.loads(run.used[0].files["train_data.table.json"])["data"][0][1:3] == ["2+2?", "4"]


def test_a_file_whose_table_is_cut_elsewhere_is_not_as_it_would_be_written(
    options: RunOptions, workspace: Path, project: str, tmp_path: Path
) -> None:
    content = tmp_path / "content"
    content.write_bytes(LINES * 3)
    sink = OnlineSink(options)
    with sink.open(create(), full()) as writer:
        writer.use_dataset(training_file(), Download(content, 3 * len(LINES), "0" * 64))
    init = {"dir": str(workspace)}
    assert OnlineSink(RunOptions(project, None, "online", table_rows=2, init=init)).dataset(training_file()) is None
    assert OnlineSink(RunOptions(project, None, "online", table_rows=3, init=init)).dataset(training_file()) is not None
