"""A sync that is killed at any moment, and one more sync: what W&B holds is what an undisturbed sync leaves."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.conftest import Account, Command

POINTS = range(1, 241)
"""Requests to either service after which the process is killed; the sync of these jobs makes about as many."""


@pytest.fixture
def size() -> int:
    return 4


def killed(account: Account, start: Callable[..., Command], point: int) -> None:
    command: list[Command] = []
    # The process alone, so that the SDK's own process outlives it for a while, and both at once.
    account.at_request(point, lambda: command[0].signal(signal.SIGKILL, group=point % 2 == 0))
    command.append(start())
    code = command[0].end()
    assert code == -signal.SIGKILL or account.requests < point
    account.heal()
    again = start()
    assert again.end() == 0, again.said
    assert account.wrong() == {}, again.said


@pytest.mark.parametrize("point", POINTS[5::90])
def test_a_kill_loses_and_doubles_nothing(account_of: Account, start: Callable[..., Command], point: int) -> None:
    killed(account_of, start, point)


@pytest.mark.kill
@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_moment_loses_and_doubles_nothing(
    account_of: Account, start: Callable[..., Command], point: int
) -> None:
    killed(account_of, start, point)
