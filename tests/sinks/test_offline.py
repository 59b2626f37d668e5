"""The offline sink: which folders count, and what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ft_sync.errors import ConfigError, SinkRejected
from ft_sync.models import UNREADABLE, JobId, Origin, RunState
from ft_sync.sinks.offline import OfflineSink
from ft_sync.sinks.wandb import RunOptions
from tests.builders import record
from tests.sinks.test_contract import step

if TYPE_CHECKING:
    from pathlib import Path

ONE = JobId("ftjob-1")


def sink(root: Path, project: str = "p", entity: str | None = None) -> OfflineSink:
    return OfflineSink(RunOptions(project, entity, "offline", init={"dir": str(root)}))


def write(into: OfflineSink) -> RunState:
    run = record()
    with into.open(step(), run) as writer:
        writer.complete(run)
    (state,) = into.states([ONE])[ONE]
    return state


def test_runs_of_another_project_or_entity_do_not_count(workspace: Path) -> None:
    write(sink(workspace))
    assert sink(workspace, "another").states([ONE]) == {}
    assert sink(workspace, "p", "somebody").states([ONE]) == {}


def test_a_run_that_was_uploaded_is_not_removed_behind_the_servers_back(workspace: Path) -> None:
    ours = sink(workspace)
    state = write(ours)
    (log,) = (workspace / "wandb").glob("offline-run-*/run-*.wandb")
    log.with_name(f"{log.name}.synced").touch()
    with pytest.raises(SinkRejected, match="already been uploaded"):
        ours.delete(state)
    assert log.exists()


def test_a_folder_in_which_nothing_was_written_does_not_count(workspace: Path) -> None:
    (workspace / "wandb" / "offline-run-20260101_000000-ftjob-1").mkdir(parents=True)
    assert sink(workspace).states([ONE]) == {}


def test_a_run_file_that_is_no_run_file_is_a_run_that_cannot_be_read_and_not_an_absent_one(workspace: Path) -> None:
    folder = workspace / "wandb" / "offline-run-20260101_000000-ftjob-1"
    folder.mkdir(parents=True)
    (folder / "run-ftjob-1.wandb").write_bytes(b"not a run")
    (state,) = sink(workspace).states([ONE])[ONE]
    assert (state.state, state.origin, state.url) == (UNREADABLE, Origin.OTHER, str(folder))


def test_a_folder_that_cannot_be_written_to_is_refused_at_once(workspace: Path) -> None:
    (workspace / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written to") as raised:
        sink(workspace / "file")
    assert "--init dir=" in (raised.value.hint or "")
