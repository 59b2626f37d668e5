"""When W&B is given up for all runs, with which word, and when it is tried again."""

from __future__ import annotations

import pytest

from ft_sync.errors import AuthError, CoreEnded, FtSyncError, SinkRejected, Stopped, Unavailable
from ft_sync.sinks.gate import LOST_IN_A_ROW, PAUSE, Gate


class Runs:
    """Runs that pass a gate, at a time; `begun` counts those that it let through."""

    def __init__(self) -> None:
        self.time = 100.0
        self.begun = 0
        self.gate = Gate(lambda: self.time)

    def end(self, error: FtSyncError | None = None) -> None:
        with self.gate.passing():
            self.begun += 1
            if error is not None:
                raise error

    def fail(self, error: FtSyncError, times: int = LOST_IN_A_ROW) -> None:
        for _ in range(times):
            with pytest.raises(type(error)):
                self.end(error)


AWAY = Unavailable("W&B is away", hint="run it again")


@pytest.mark.parametrize("error", [AWAY, AuthError("read-only", hint="another key"), CoreEnded("gone", hint="again")])
def test_what_fails_for_one_run_after_the_other_fails_for_the_next_at_once_and_alike(error: FtSyncError) -> None:
    runs = Runs()
    runs.fail(error)
    with pytest.raises(type(error), match=error.message) as raised:
        runs.end()
    assert raised.value.hint == error.hint
    assert runs.begun == LOST_IN_A_ROW


def test_one_run_that_fails_costs_no_other() -> None:
    runs = Runs()
    runs.fail(AWAY, LOST_IN_A_ROW - 1)
    runs.end()
    runs.fail(AWAY, LOST_IN_A_ROW - 1)
    runs.end()
    assert runs.begun == 2 * LOST_IN_A_ROW


@pytest.mark.parametrize("error", [SinkRejected("refused"), Stopped("told to end")])
def test_what_is_the_matter_with_a_run_alone_costs_no_other(error: FtSyncError) -> None:
    runs = Runs()
    runs.fail(error, 5)
    runs.end()
    assert runs.begun == 6


def test_after_a_pause_the_next_run_is_tried_and_opens_the_gate() -> None:
    runs = Runs()
    runs.fail(AWAY)
    runs.time += PAUSE
    runs.end()
    runs.end()
    assert runs.begun == LOST_IN_A_ROW + 2


def test_a_run_that_fails_after_the_pause_closes_it_again() -> None:
    runs = Runs()
    runs.fail(AWAY)
    runs.time += PAUSE
    runs.fail(AWAY, 1)
    with pytest.raises(Unavailable, match="not begun"):
        runs.end()
