"""Who writes a run on this machine, while others write it, end with it and look."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from ft_sync.errors import BeingWritten
from ft_sync.sinks.locks import forget_lock, is_being_written, locked
from ft_sync.sinks.wandb import RunOptions

if TYPE_CHECKING:
    from pathlib import Path

LONG_AGO = "2020-01-01T00:00:00"


@pytest.fixture
def options(workspace: Path, project: str) -> RunOptions:
    return RunOptions(project, None, "online", init={"dir": str(workspace)})


def test_a_run_is_being_written_while_its_lock_is_held_and_not_when_its_writer_has_gone(options: RunOptions) -> None:
    with locked(options, "ftjob-1"):
        assert is_being_written(options, "ftjob-1", LONG_AGO)
        with pytest.raises(BeingWritten), locked(options, "ftjob-1"):
            pass
    assert not is_being_written(options, "ftjob-1", LONG_AGO)
    assert is_being_written(options, "ftjob-1", "2999-01-01T00:00:00")


def test_a_run_that_was_not_written_here_is_being_written_elsewhere(options: RunOptions) -> None:
    assert is_being_written(options, "ftjob-1", LONG_AGO)


def test_a_lock_that_goes_while_it_is_looked_at_is_no_failure(options: RunOptions) -> None:
    is_over = threading.Event()

    def come_and_go() -> None:
        while not is_over.is_set():
            with suppress(BeingWritten), locked(options, "ftjob-1"):
                pass
            forget_lock(options, "ftjob-1")

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        assert {is_being_written(options, "ftjob-1", LONG_AGO) for _ in range(2_000)} <= {True, False}
    finally:
        is_over.set()
        other.join()
