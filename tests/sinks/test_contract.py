"""One contract for both sinks: what goes in can be read back by a reader that is not ours."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import wandb

from ft_sync import __version__
from ft_sync.content import lacking
from ft_sync.models import Create, Download, JobId, MetricRow, Origin, RunFile, RunId, RunRecord
from ft_sync.sinks.offline import OfflineSink
from ft_sync.sinks.online import OnlineSink
from ft_sync.sinks.wandb import RunOptions
from tests.builders import job, record, training_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ft_sync.content import RunContent
    from ft_sync.ports import RunSink
    from tests.wandb_backend import WandbBackend

LINES = b"".join(
    [
        b'{"prompt": "2+2?", "completion": "4"}\n',
        b"broken\n",
        '{"prompt": "\u05e9\u05dc\u05d5\u05dd", "completion": "\u2028"}\n'.encode(),
    ]
)
ROWS = (
    MetricRow(1, {"train_loss": 0.123456789012345, 'graders/a, "b"/c': 1.0}, 1_700_000_000.5),
    MetricRow(3, {"train_loss": 1e-9}, 1_700_000_060.0),
)
FILES = (RunFile("fine_tuning/job.json", [b"{}"]), RunFile("fine_tuning/result_files/f/[a] *.csv", [bytes(range(256))]))
LOG = ("2026-01-01T00:00:00Z INFO Job started.", "2026-01-01T00:00:00Z WARN \u05e9\u05dc\u05d5\u05dd \u2028 end")


class Reader(Protocol):
    """Reads runs back, without a line of the code that wrote them."""

    def history(self, run_id: str) -> list[dict[str, Any]]: ...
    def config(self, run_id: str) -> Mapping[str, Any]: ...
    def summary(self, run_id: str) -> Mapping[str, Any]: ...
    def state(self, run_id: str) -> str: ...
    def notes(self, run_id: str) -> str: ...
    def artifact_names(self, run_id: str) -> set[str]: ...
    def file(self, run_id: str, path: str) -> bytes: ...
    def console(self, run_id: str) -> list[str]: ...


@dataclass
class OfflineReader:
    """`wandb leet inspect`, W&B's own reader of run files."""

    folder: Path

    def history(self, run_id: str) -> list[dict[str, Any]]:
        return [record["history"]["item"] for record in self._records(run_id) if record["type"] == "history"]

    def config(self, run_id: str) -> Mapping[str, Any]:
        return dict(self._summary(run_id)["config"])

    def summary(self, run_id: str) -> Mapping[str, Any]:
        return dict(self._summary(run_id)["summary"])

    def state(self, run_id: str) -> str:
        return str(self._summary(run_id)["state"])

    def notes(self, run_id: str) -> str:
        return str(self._summary(run_id)["notes"])

    def artifact_names(self, run_id: str) -> set[str]:
        records = [record["artifact"] for record in self._records(run_id) if record["type"] == "artifact"]
        return {record["name"] for record in records if record["type"] != "run_table"}

    def file(self, run_id: str, path: str) -> bytes:
        noted = [record["files"]["files"] for record in self._records(run_id) if record["type"] == "files"]
        assert path in {file["path"] for files in noted for file in files}
        (folder,) = self.folder.glob(f"offline-run-*-{run_id}")
        return (folder / "files" / path).read_bytes()

    def console(self, run_id: str) -> list[str]:
        written = [
            record["output_logger"]["line"] for record in self._records(run_id) if record["type"] == "output_logger"
        ]
        return "".join(written).removesuffix("\n").split("\n")

    def _records(self, run_id: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._inspect(run_id).splitlines()]

    def _summary(self, run_id: str) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self._inspect(run_id, "--summary"))

    def _inspect(self, run_id: str, *flags: str) -> str:
        (folder,) = self.folder.glob(f"offline-run-*-{run_id}")
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", *flags, str(folder)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@dataclass
class OnlineReader:
    """The public API."""

    project: str
    backend: WandbBackend

    def history(self, run_id: str) -> list[dict[str, Any]]:
        return list(self._run(run_id).scan_history(use_cache=False))

    def config(self, run_id: str) -> Mapping[str, Any]:
        return dict(self._run(run_id).config)

    def summary(self, run_id: str) -> Mapping[str, Any]:
        return dict(self._run(run_id).summary_metrics)

    def state(self, run_id: str) -> str:
        return str(self._run(run_id).state)

    def notes(self, run_id: str) -> str:
        return str(self._run(run_id).notes)

    def artifact_names(self, run_id: str) -> set[str]:
        run = self._run(run_id)
        artifacts = [*run.logged_artifacts(), *run.used_artifacts()]
        return {artifact.name.split(":")[0] for artifact in artifacts if artifact.type != "run_table"}

    def file(self, run_id: str, path: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder, self._run(run_id).file(path).download(folder) as file:
            return Path(file.name).read_bytes()

    def console(self, run_id: str) -> list[str]:
        (run,) = [run for run in self.backend.runs(self.project) if run.id == run_id]
        return run.console

    def _run(self, run_id: str) -> Any:  # noqa: ANN401 - untyped
        return wandb.Api().run(f"{self.project}/{run_id}")


@dataclass
class Side:
    """A sink and its reader."""

    sink: RunSink
    reader: Reader
    mode: str


@pytest.fixture(params=["offline", "online"])
def side(request: pytest.FixtureRequest, workspace: Path, project: str, backend: WandbBackend) -> Side:
    options = RunOptions(project, None, request.param, init={"dir": str(workspace), "tags": ["mine"]})
    if request.param == "offline":
        return Side(OfflineSink(options), OfflineReader(workspace / "wandb"), "offline")
    return Side(OnlineSink(options), OnlineReader(project, backend), "online")


def step(run_id: str = "ftjob-1") -> Create:
    return Create(job(), RunId(run_id), "test")


def full_record(**changes: Any) -> RunRecord:  # noqa: ANN401 - a builder
    changes = {"rows": ROWS, "model_metadata": {"fine_tuned_model": "ft:x"}, "files": FILES, "log": LOG} | changes
    return record(config={"fine_tune_job_id": "ftjob-1", "model": "gpt", "hyperparameters": {"n": 3}}, **changes)


def write(side: Side, run: RunRecord, run_id: str = "ftjob-1", content: Path | None = None) -> RunContent:
    with side.sink.open(step(run_id), run) as writer:
        writer.log(run.rows)
        writer.log_events(run.log)
        writer.save(run.files)
        if content is not None:
            writer.use_dataset(training_file(), Download(content, len(LINES), hashlib.sha256(LINES).hexdigest()))
        writer.log_model(run, ())
        return writer.complete(run)


def test_rows_keep_their_step_their_time_and_every_digit(side: Side) -> None:
    write(side, full_record())
    rows = side.reader.history("ftjob-1")
    assert [row["_step"] for row in rows] == [1, 3]
    assert [row["_timestamp"] for row in rows] == [1_700_000_000.5, 1_700_000_060.0]
    assert [row["train_loss"] for row in rows] == [0.123456789012345, 1e-9]
    assert rows[0]['graders/a, "b"/c'] == 1.0


def test_config_summary_and_mark_arrive(side: Side) -> None:
    write(side, full_record())
    assert side.reader.config("ftjob-1")["hyperparameters"] == {"n": 3}
    summary = side.reader.summary("ftjob-1")
    assert summary["status"] == "succeeded"
    assert (summary["ftsync"]["version"], summary["ftsync"]["rows"]) == (__version__, 2)
    assert side.reader.state("ftjob-1") == "finished"


def test_a_dataset_adds_an_artifact_a_table_and_a_count_but_no_row(side: Side, tmp_path: Path) -> None:
    content = tmp_path / "content"
    content.write_bytes(LINES)
    write(side, full_record(), content=content)
    assert side.reader.artifact_names("ftjob-1") == {"train-file-train", "model_metadata"}
    assert side.reader.config("ftjob-1")["n_train"] == 2
    assert side.reader.summary("ftjob-1")["train_data"]["nrows"] == 2
    assert [row["_timestamp"] for row in side.reader.history("ftjob-1")] == [1_700_000_000.5, 1_700_000_060.0]


def test_files_and_console_lines_arrive_as_they_are(side: Side) -> None:
    write(side, full_record())
    assert [side.reader.file("ftjob-1", file.path) for file in FILES] == [b"".join(file.chunks) for file in FILES]
    assert side.reader.console("ftjob-1") == list(LOG)


def test_metrics_are_summed_up_by_their_best_and_last_value(side: Side) -> None:
    summed = {"min": 1e-9, "last": 1e-9}
    write(side, full_record(best={"train_loss": "min", "of*no": "max"}, summary={"train_loss": summed}))
    assert side.reader.summary("ftjob-1")["train_loss"] == summed


def test_a_complete_run_is_found_complete(side: Side) -> None:
    write(side, full_record())
    (state,) = side.sink.states([JobId("ftjob-1"), JobId("ftjob-2")])[JobId("ftjob-1")]
    assert state.is_complete
    assert (state.run_id, state.origin, state.status) == ("ftjob-1", Origin.FTSYNC, "succeeded")
    assert state.mark is not None
    assert state.mark.digest == full_record().digest


ODD: dict[str, Any] = {
    "null": None,
    "empty": {},
    "nested": {"null": None, "list": [1.0, None, {"a": None}], "empty": {}},
    "float": 1.0,
    "tiny": 5e-324,
    "large": 2**62 + 1,
    "text": "\u05e9\u2028 \x07",
    "dotted.key": {"a.b": True},
    "star *": [],
}
"""JSON values that W&B stores in a way of its own, or not at all."""


@pytest.mark.parametrize("failure", [None, "failed: line 17 is broken"])
def test_a_complete_run_lacks_nothing_of_what_was_written(side: Side, tmp_path: Path, failure: str | None) -> None:
    content = tmp_path / "content"
    content.write_bytes(LINES)
    config = {"fine_tune_job_id": "ftjob-1", **ODD}
    run = replace(full_record(summary={"status": "failed", **ODD}, failure=failure, notes=("a note",)), config=config)
    written = write(side, run, content=content)
    bulk = side.sink.stored([RunId("ftjob-1"), RunId("ftjob-2")])
    by_itself = side.sink.stored([RunId("ftjob-1")], singly=True)
    for held in (bulk, by_itself):
        assert {name: lacking(written, found) for name, found in held.items()} == {"ftjob-1": ()}
    kinds = {item.partition(" ")[0].partition(".")[0] for item in written.items}
    everywhere = {"state", "config", "summary", "tag", "name", "notes"}
    only_online = {"rows", "console", "file", "artifact", "job"}
    assert kinds == (everywhere | only_online if side.mode == "online" else everywhere)


def test_jobs_without_a_run_are_left_out(side: Side) -> None:
    assert side.sink.states([JobId("ftjob-1")]) == {}


def break_off(side: Side) -> None:
    with side.sink.open(step(), full_record()) as writer:
        writer.log([ROWS[0]])
        raise ZeroDivisionError


def test_a_run_left_by_an_exception_is_failed_and_incomplete(side: Side) -> None:
    with pytest.raises(ZeroDivisionError):
        break_off(side)
    (state,) = side.sink.states([JobId("ftjob-1")])[JobId("ftjob-1")]
    assert not state.is_complete
    assert state.origin is Origin.FTSYNC
    assert side.reader.state("ftjob-1") == "failed"


def test_the_run_of_a_failed_job_is_failed_and_complete_and_says_why(side: Side) -> None:
    write(side, full_record(failure="failed: line 17 is broken", model_metadata=None))
    assert side.reader.state("ftjob-1") == "failed"
    assert side.reader.notes("ftjob-1") == "failed: line 17 is broken"
    assert side.reader.summary("ftjob-1")["ftsync"]["rows"] == 2


def test_a_rewritten_run_is_found_under_its_job(side: Side) -> None:
    write(side, full_record())
    write(side, full_record(), "ftjob-1-r2")
    states = side.sink.states([JobId("ftjob-1")])[JobId("ftjob-1")]
    assert {state.run_id for state in states} == {"ftjob-1", "ftjob-1-r2"}


def test_a_deleted_run_is_gone(side: Side) -> None:
    write(side, full_record())
    (state,) = side.sink.states([JobId("ftjob-1")])[JobId("ftjob-1")]
    side.sink.delete(state)
    assert side.sink.states([JobId("ftjob-1")]) == {}


def test_a_job_that_made_no_model_gets_no_model_artifact(side: Side) -> None:
    write(side, full_record(model_metadata=None))
    assert side.reader.artifact_names("ftjob-1") == set()


def test_no_graphql_field_was_unknown_to_the_backend(side: Side, backend: WandbBackend, tmp_path: Path) -> None:
    content = tmp_path / "content"
    content.write_bytes(LINES)
    write(side, full_record(), content=content)
    side.sink.states([JobId("ftjob-1")])
    assert backend.unknown_fields == set()
    assert side.mode == "online" or backend.requests == []
