"""The online sink: bulk questions, whose runs they are, and that no refusal passes for an empty answer."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import wandb

from ft_sync.errors import AuthError, FtSyncError, NotLoggedIn, SinkRejected, Unavailable
from ft_sync.models import JobId, MetricRow, Origin
from ft_sync.sinks.online import JOBS_A_QUERY, OnlineSink
from ft_sync.sinks.wandb import RunOptions
from tests.builders import record
from tests.sinks.test_contract import step

if TYPE_CHECKING:
    from ft_sync.models import RunState
    from tests.wandb_backend import WandbBackend

ONE = JobId("ftjob-1")
QUICK = {"x_file_stream_retry_max": 1, "x_graphql_retry_max": 1, "x_file_transfer_retry_max": 1, "init_timeout": 10}


@pytest.fixture
def sink(workspace: Path, project: str) -> OnlineSink:
    return OnlineSink(RunOptions(project, None, "online", init={"dir": str(workspace), "settings": QUICK}))


def write(sink: OnlineSink, **changes: Any) -> None:  # noqa: ANN401 - a builder
    run = record(rows=(MetricRow(1, {"train_loss": 1.0}),), **changes)
    with sink.open(step(), run) as writer:
        writer.log(run.rows)
        writer.log_model(run, ())
        writer.complete(run)


def made_by_others(project: str, **init: Any) -> None:  # noqa: ANN401 - arguments of wandb.init
    with wandb.init(project=project, id="ftjob-1", reinit="create_new", **init) as run:
        run.log({"loss": 1.0})


def the_run(sink: OnlineSink) -> RunState:
    (state,) = sink.states([ONE])[ONE]
    return state


def test_hundreds_of_jobs_are_asked_for_in_a_few_queries(sink: OnlineSink, backend: WandbBackend) -> None:
    write(sink)
    backend.requests.clear()
    sink.states([ONE, *(JobId(f"ftjob-x{n}") for n in range(3 * JOBS_A_QUERY - 1))])
    assert backend.count("Runs") == 3
    assert len(backend.requests) <= 3 + 3


def test_a_project_that_does_not_exist_holds_nothing(sink: OnlineSink) -> None:
    assert sink.states([ONE]) == {}


@pytest.mark.parametrize(
    ("init", "origin"),
    [
        ({"tags": ["openai/fine-tune"]}, Origin.NATIVE),
        ({"job_type": "fine-tune"}, Origin.WANDB_LOGGER),
        ({}, Origin.OTHER),
    ],
)
def test_it_is_told_who_made_a_run(sink: OnlineSink, project: str, init: dict[str, Any], origin: Origin) -> None:
    made_by_others(project, **init)
    assert the_run(sink).origin is origin


def test_a_display_name_chosen_by_the_user_hides_no_run(workspace: Path, project: str) -> None:
    sink = OnlineSink(RunOptions(project, None, "online", init={"dir": str(workspace), "name": "my run"}))
    write(sink)
    assert the_run(sink).is_complete


def test_a_wrong_key_is_refused(sink: OnlineSink, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del workspace
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    with pytest.raises(AuthError, match="refused"):
        sink.states([ONE])


def test_without_a_key_there_is_nothing_to_ask_with_and_no_prompt(
    sink: OnlineSink, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(workspace / "no-netrc"))
    with pytest.raises(NotLoggedIn, match="not logged in"):
        sink.states([ONE])


def test_a_run_of_the_callers_own_is_left_alone(sink: OnlineSink, project: str, backend: WandbBackend) -> None:
    with wandb.init(project=f"{project}-mine", id="mine") as run:
        write(sink)
        run.log({"mine": 1})
    assert the_run(sink).is_complete
    mine = backend.run("ada", f"{project}-mine", "mine")
    assert mine is not None
    assert [row["mine"] for row in mine.history] == [1]


def test_a_refused_question_is_no_empty_answer(sink: OnlineSink, backend: WandbBackend) -> None:
    write(sink)
    backend.fail("runs", status=403)
    with pytest.raises(AuthError):
        sink.states([ONE])


def test_a_refused_run_is_an_error(sink: OnlineSink, backend: WandbBackend) -> None:
    backend.fail("upsertBucket", status=403)
    with pytest.raises(FtSyncError):
        write(sink)


def test_a_refused_history_post_shows_in_the_state_though_the_sdk_says_nothing(
    sink: OnlineSink, backend: WandbBackend
) -> None:
    backend.fail("file_stream", status=403)
    write(sink)
    assert not the_run(sink).is_complete


def test_a_refused_artifact_is_an_error_and_leaves_no_mark(sink: OnlineSink, backend: WandbBackend) -> None:
    backend.fail("createArtifact", status=403)
    with pytest.raises((SinkRejected, AuthError)):
        write(sink, model_metadata={"fine_tuned_model": "ft:x"})
    assert the_run(sink).mark is None


def test_a_server_that_is_not_there_is_unavailable(sink: OnlineSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(wandb.Api, "_HTTP_TIMEOUT", 1)  # read from the environment once, at import
    wandb.teardown()
    with pytest.raises(Unavailable):
        sink.states([ONE])


def test_reading_runs_leaves_no_folders(sink: OnlineSink, project: str) -> None:
    write(sink)
    assert the_run(sink).run_id == "ftjob-1"
    assert sink.held_rows(the_run(sink), record(), ()) is None
    assert list(Path(tempfile.gettempdir()).glob(f"*/{project}")) == []
