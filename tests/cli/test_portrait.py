"""A job in depth: its facts, and the curves that tell most of it, beside them or below."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ft_sync.cli.portrait import panels, portrait
from ft_sync.models import MetricRow, SyncState
from ft_sync.overview import Detail, Standing
from tests.builders import job

SUPERVISED = tuple(
    MetricRow(
        step,
        {
            "train_loss": 2 / step,
            "train_mean_token_accuracy": 1 - 1 / step,
            **({"valid_loss": 2 / step + 0.1, "full_valid_loss": 2 / step + 0.2} if step % 10 == 0 else {}),
        },
    )
    for step in range(1, 31)
)
REINFORCED = (
    MetricRow(1, {"train_mean_reward": 0.1, "mean_unresponsive_rewards": 0.5, "scores/a/train_reward_mean": 0.2}),
    MetricRow(2, {"train_mean_reward": 0.2, "full_valid_mean_reward": 0.2, "loss_of_some_kind": 3.0}),
)
FACTS = [("job", "ftjob-1"), ("status", "succeeded"), ("event", "one"), ("event", "two\x1b[2J")]


def names(rows: tuple[MetricRow, ...], method: str) -> list[list[str]]:
    return [[series.name for series in panel] for panel in panels(rows, method)]


def shown(rows: tuple[MetricRow, ...], width: int, encoding: str = "utf-8") -> list[str]:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    screen = Console(file=stream, force_terminal=True, width=width, legacy_windows=False)
    detail = Detail(Standing(job(), SyncState.ABSENT), (), None, None, {}, rows=rows)
    return [line.plain for line in portrait(FACTS, detail, screen)]


def test_losses_come_first_and_then_accuracies_training_before_validation() -> None:
    assert names(SUPERVISED, "supervised") == [
        ["train_loss", "valid_loss", "full_valid_loss"],
        ["train_mean_token_accuracy"],
    ]


def test_of_reinforcement_it_is_the_rewards() -> None:
    assert names(REINFORCED, "reinforcement") == [["train_mean_reward", "full_valid_mean_reward"]]


def test_at_80_columns_one_chart_stands_below_the_facts() -> None:
    lines = shown(SUPERVISED, 80)
    assert lines[:5] == ["job     ftjob-1", "status  succeeded", "event   one", r"        two\x1b[2J", ""]
    assert len(lines) == 5 + 18
    assert max(map(len, lines)) <= 80
    assert "train_mean_token_accuracy" not in "".join(lines)


def test_at_200_columns_two_charts_stand_beside_them() -> None:
    lines = shown(SUPERVISED, 200)
    assert len(lines) == 18 + 1 + 18
    assert lines[0].startswith("job     ftjob-1  ")
    assert max(map(len, lines)) <= 200
    assert any("train_mean_token_accuracy" in line for line in lines)


@pytest.mark.parametrize("width", [80, 200])
def test_without_metrics_there_are_facts_alone(width: int) -> None:
    assert len(shown((), width)) == 4


def test_a_terminal_that_knows_no_braille_gets_ascii() -> None:
    assert "".join(shown(SUPERVISED, 100, "ascii")).isascii()
