"""A sync that is told to end, once or twice, and one more sync."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.conftest import Account, Command


@pytest.fixture
def size() -> int:
    return 4


def told_to_end(
    account: Account, start: Callable[..., Command], number: signal.Signals, point: int, times: int
) -> None:
    command: list[Command] = []

    def tell() -> None:
        command[0].signal(number)
        if times == 2:
            # Apart, since two of the same signal that are pending are one; too late for a process that has ended.
            threading.Timer(0.2, command[0].signal, [number]).start()

    account.at_request(point, tell)
    command.append(start())
    # The second one may come when the interpreter is at its end and hears no signals any more.
    assert command[0].end() in {130, *([-number] if times == 2 else [])}
    assert times == 2 or "run the same command again" in command[0].said
    account.heal()
    again = start()
    assert again.end() == 0, again.said
    assert account.wrong() == {}, again.said


@pytest.mark.parametrize(
    ("number", "point", "times"), [(signal.SIGINT, 60, 1), (signal.SIGTERM, 2, 1), (signal.SIGINT, 2, 2)]
)
def test_a_sync_that_is_told_to_end_says_how_to_go_on_and_the_next_one_does(
    account_of: Account, start: Callable[..., Command], number: signal.Signals, point: int, times: int
) -> None:
    told_to_end(account_of, start, number, point, times)


@pytest.mark.kill
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("point", [2, 20, 60, 100])
@pytest.mark.parametrize("times", [1, 2])
def test_a_sync_may_be_told_to_end_at_any_moment(
    account_of: Account, start: Callable[..., Command], number: signal.Signals, point: int, times: int
) -> None:
    told_to_end(account_of, start, number, point, times)
