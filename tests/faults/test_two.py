"""Two syncs of the same jobs at once: one of them writes a run, the other says why it skips it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.conftest import Account, Command

RACES = range(12)
SKIPPED = "is being written by another process"


@pytest.fixture
def size() -> int:
    return 4


def raced(account: Account, commands: list[Command]) -> None:
    codes = [command.end() for command in commands]
    said = "\n".join(command.said for command in commands)
    assert codes == [0, 0], said
    assert account.wrong() == {}, said
    assert SKIPPED in said


def test_on_one_machine_nothing_is_doubled(account_of: Account, start: Callable[..., Command]) -> None:
    raced(account_of, [start(), start()])


def test_on_two_machines_nothing_is_doubled(account_of: Account, start: Callable[..., Command], tmp_path: Path) -> None:
    account_of.backend.latency = 0.1
    raced(account_of, [start(machine=tmp_path / name) for name in ("here", "there")])


@pytest.mark.kill
@pytest.mark.parametrize("race", RACES)
def test_on_two_machines_nothing_is_doubled_whoever_comes_first(
    account_of: Account, start: Callable[..., Command], tmp_path: Path, race: int
) -> None:
    account_of.backend.latency = 0.02 * race
    raced(account_of, [start(machine=tmp_path / name) for name in ("here", "there")])
