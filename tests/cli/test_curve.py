"""Curves in characters: as large as asked for, whatever the numbers, and nothing told by colour alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ft_sync.cli.curve import Series, chart

if TYPE_CHECKING:
    from collections.abc import Sequence

DECAY = Series("train_loss", [(step, 2 * math.exp(-step / 30)) for step in range(1, 91)], "min")
VALID = Series("valid_loss", [(30, 1.0), (60, 0.5), (90, 0.6)], "min")


def drawn(series: Sequence[Series], width: int = 60, height: int = 12, *, is_plain: bool = False) -> list[str]:
    return ["".join(text for text, _ in line) for line in chart(series, width, height, is_plain=is_plain)]


def test_a_falling_curve_falls() -> None:
    plot = [line[5:].ljust(54) for line in drawn([DECAY])[:-3]]
    tops = [min(row for row, line in enumerate(plot) if line[column] != " ") for column in range(1, 54)]
    assert tops == sorted(tops)
    assert (tops[0], tops[-1]) == (0, len(plot) - 1)


def test_axes_and_legend_say_what_is_what() -> None:
    lines = drawn([DECAY, VALID])
    assert [line.split("┤")[0].strip() for line in lines if "┤" in line] == ["1.5", "1.0", "0.5"]
    assert lines[-3].split() == ["step", "1", "46", "90"]
    assert lines[-2] == "  ⣀⠔ train_loss  last 0.09957  lowest 0.09957 at step 90"
    assert lines[-1] == "  ○  valid_loss  last 0.6  lowest 0.5 at step 60"
    assert sum(line.count("○") for line in lines[:-1]) == 3


def test_rewards_have_a_highest_value_and_unknown_metrics_none() -> None:
    points = [(1, 0.5), (2, 0.25)]
    assert drawn([Series("reward", points, "max")])[-1].endswith("last 0.25  highest 0.5 at step 1")
    assert drawn([Series("other", points)])[-1].endswith("other  last 0.25")


def test_many_marks_leave_the_line_under_them_to_be_seen() -> None:
    every = Series("valid_loss", DECAY.points)
    marks = sum(line.count("○") for line in drawn([DECAY, every])[:-1])
    assert 5 < marks <= 20


def test_ten_thousand_points_fit_too_and_a_single_high_one_is_seen() -> None:
    points = [(float(step), 0.0) for step in range(10_000)]
    points[5_000] = (5_000.0, 1.0)
    lines = drawn([Series("loss", points)])
    assert lines[0].split("│")[-1].split("┤")[-1].strip()


def test_a_plain_chart_is_ascii() -> None:
    lines = drawn([DECAY, VALID], is_plain=True)
    assert "".join(lines).isascii()
    assert sum(line.count("o") for line in lines[:-3]) == 3


@pytest.mark.parametrize("points", [[], [(1, math.nan)], [(1, math.inf), (2, -math.inf)]])
def test_what_is_no_number_is_not_drawn(points: list[tuple[float, float]]) -> None:
    assert chart([Series("loss", points)], 60, 12) == []


@pytest.mark.parametrize(("width", "height"), [(20, 12), (60, 4)])
def test_where_there_is_no_room_there_is_no_chart(width: int, height: int) -> None:
    assert chart([DECAY], width, height) == []


def test_one_point_and_values_that_are_all_the_same_are_drawn() -> None:
    for points in ([(3, 0.5)], [(1, 0.0), (2, 0.0)], [(1, -7.0), (9, -7.0)]):
        lines = drawn([Series("loss", points)])
        assert any(0x2800 < ord(char) < 0x2900 for line in lines[:-1] for char in line)


@given(
    values=st.lists(st.floats(), max_size=40),
    more=st.lists(st.floats(allow_nan=False), max_size=5),
    width=st.integers(0, 130),
    height=st.integers(0, 30),
    is_plain=st.booleans(),
)
def test_whatever_the_numbers_the_chart_keeps_to_its_size(
    values: list[float], more: list[float], width: int, height: int, is_plain: bool
) -> None:
    series = [Series("train_loss", list(enumerate(values)), "min"), Series("valid_loss", list(enumerate(more)), "max")]
    lines = drawn(series, width, height, is_plain=is_plain)
    assert len(lines) in {0, height}
    assert all(len(line) <= width for line in lines)
