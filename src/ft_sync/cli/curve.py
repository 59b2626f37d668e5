"""Draws training curves as text, turning series of points into lines of styled parts; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Point: TypeAlias = tuple[float, float]
Part: TypeAlias = tuple[str, int | None]
"""A piece of text and the index of the series that it belongs to; None for axes and labels."""

DOTS_ACROSS, DOTS_DOWN = 2, 4
"""Dots in a Braille character."""

BLANK: Part = (" ", None)

BRAILLE = 0x2800
DOT_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))

MARKS = {False: "○◆△", True: "o#^"}
"""Marks for the points of the second, third and fourth series (True: ASCII only); the first series is a line."""

LEAST_WIDTH, LEAST_HEIGHT = 24, 6
"""Minimum size of a chart, in characters; a smaller one would be unreadable."""

TICKS = 5
"""Approximate number of ticks on the value axis."""


@dataclass(frozen=True, slots=True)
class Series:
    """A named curve.

    Attributes:
        points: (step, value) pairs with ascending steps; values that are not finite are not drawn.
        best: Whether the lowest or the highest value is the best, if known.
    """

    name: str
    points: Sequence[Point]
    best: Literal["min", "max"] | None = None

    @property
    def finite(self) -> list[Point]:
        """The points that can be drawn."""
        return [point for point in self.points if all(map(math.isfinite, point))]


class Frame(NamedTuple):
    """The visible range of steps and values, and the size of the drawing in characters."""

    left: float
    right: float
    low: float
    high: float
    columns: int
    rows: int

    def dot(self, x: float, y: float) -> tuple[int, int]:
        """Return a point's dot coordinates, counted from the upper left."""
        across, down = self.columns * DOTS_ACROSS - 1, self.rows * DOTS_DOWN - 1
        column = 0 if self.right == self.left else round(_share(x, self.left, self.right) * across)
        return column, down - round(_share(y, self.low, self.high) * down)


def chart(series: Sequence[Series], width: int, height: int, *, is_plain: bool = False) -> list[list[Part]]:
    """Return the lines of a chart with axes and a legend below, one line per series; none if there is nothing to draw.

    Args:
        series: The first series is drawn as a line, the others as marks, so that they differ without colours.
        width: Maximum width of a line, in characters.
        height: Total number of lines.
        is_plain: Use only ASCII.
    """
    drawn = [one for one in series if one.finite][: 1 + len(MARKS[False])]
    rows = height - 2 - len(drawn)
    if not drawn or width < LEAST_WIDTH or rows < 2:  # noqa: PLR2004 - a chart needs two rows
        return []
    points = [point for one in drawn for point in one.finite]
    low, high = _range([value for _, value in points])
    labels = _ticks(low, high)
    margin = max(map(len, (*labels.values(), "step"))) + 2
    steps = [step for step, _ in points]
    frame = Frame(min(steps), max(steps), low, high, max(2, width - margin), rows)
    return [
        *_plot(drawn, frame, labels, margin, is_plain=is_plain),
        *_steps(frame, margin, is_plain=is_plain),
        *_legend(drawn, width, is_plain=is_plain),
    ]


def _plot(
    drawn: Sequence[Series], frame: Frame, labels: dict[float, str], margin: int, *, is_plain: bool
) -> Iterator[list[Part]]:
    cells = _cells(drawn, frame, is_plain=is_plain)
    at = {frame.dot(frame.left, mark)[1] // DOTS_DOWN: label for mark, label in labels.items()}
    wall, tick = ("|", "+") if is_plain else ("│", "┤")
    for row in range(frame.rows):
        label = at.get(row)
        yield [
            (f"{label or '':>{margin - 2}} {tick if label else wall}", None),
            *(cells.get((column, row), BLANK) for column in range(frame.columns)),
        ]


def _cells(drawn: Sequence[Series], frame: Frame, *, is_plain: bool) -> dict[tuple[int, int], Part]:
    """Return the parts of the drawing that are not blank, by (column, row)."""
    line, *others = drawn
    cells: dict[tuple[int, int], Part] = {}
    bits: dict[tuple[int, int], int] = {}
    for x, y in _traced(line.finite, frame):
        cell = (x // DOTS_ACROSS, y // DOTS_DOWN)
        bits[cell] = bits.get(cell, 0) | DOT_BITS[y % DOTS_DOWN][x % DOTS_ACROSS]
    for cell, dots in bits.items():
        cells[cell] = ("*" if is_plain else chr(BRAILLE + dots), 0)
    for number, one in enumerate(others, 1):
        for x, y in _thinned([frame.dot(*point) for point in one.finite]):
            column, row = x // DOTS_ACROSS, y // DOTS_DOWN
            # Place it beside a mark of another series rather than over it.
            around = [near for near in (column, column - 1, column + 1) if 0 <= near < frame.columns]
            free = [near for near in around if cells.get((near, row), BLANK)[1] in {None, 0}]
            cells[(free or around)[0], row] = (MARKS[is_plain][number - 1], number)
    return cells


def _traced(points: Sequence[Point], frame: Frame) -> Iterator[tuple[int, int]]:
    """Yield the dots of a line through all points; points in the same dot column become a vertical range."""
    ends: list[tuple[int, int]] = []
    by_column: dict[int, list[int]] = {}
    for x, y in (frame.dot(*point) for point in points):
        by_column.setdefault(x, []).append(y)
    for x, ys in by_column.items():
        ends += [(x, y) for y in dict.fromkeys((ys[0], min(ys), max(ys), ys[-1]))]
    yield from ends[:1]
    for (x, y), (to_x, to_y) in pairwise(ends):
        far = max(abs(to_x - x), abs(to_y - y))
        yield from ((x + round((to_x - x) * i / far), y + round((to_y - y) * i / far)) for i in range(1, far + 1))


def _thinned(dots: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the dots that are far enough from the previous one to leave the line below visible, and the last one."""
    last = None
    waiting = None
    for x, y in dots:
        if last is None or x - last >= 3 * DOTS_ACROSS:
            yield x, y
            last, waiting = x, None
        else:
            waiting = (x, y)
    if waiting is not None:
        yield waiting


def _steps(frame: Frame, margin: int, *, is_plain: bool) -> Iterator[list[Part]]:
    """Yield the step axis and the labels below it."""
    corner, rule, tick = ("+", "-", "+") if is_plain else ("└", "─", "┬")
    ends = [frame.left, frame.right] if frame.right > frame.left else [frame.left]
    middle = round((frame.left + frame.right) / 2)
    axis, numbers = [rule] * frame.columns, [" "] * frame.columns
    places = {0: ends[0], frame.columns - 1: ends[-1]}
    if len(ends) > 1 and frame.left < middle < frame.right:
        places[frame.dot(middle, frame.low)[0] // DOTS_ACROSS] = middle
    for column, step in places.items() if len(ends) > 1 else [(0, ends[0])]:
        axis[column] = tick
        text = f"{step:.0f}"
        start = max(0, min(frame.columns - len(text), column - len(text) // 2))
        if not "".join(numbers[max(0, start - 1) : start + len(text) + 1]).strip():
            numbers[start : start + len(text)] = text
    yield [(" " * (margin - 1) + corner + "".join(axis), None)]
    yield [(f"{'step':>{margin - 2}}  {''.join(numbers)}".rstrip(), None)]


def _legend(drawn: Sequence[Series], width: int, *, is_plain: bool) -> Iterator[list[Part]]:
    longest = max(len(one.name) for one in drawn)
    for number, one in enumerate(drawn):
        mark = (("**" if is_plain else "⣀⠔") if number == 0 else MARKS[is_plain][number - 1]).ljust(2)
        step, last = one.finite[-1]
        told = f"{one.name:<{longest}}  last {last:.4g}"
        if one.best is not None:
            chosen = min if one.best == "min" else max
            step, value = chosen(one.finite, key=lambda point: point[1])
            word = "lowest" if one.best == "min" else "highest"
            told += f"  {word} {value:.4g} at step {step:.0f}"
        yield [(f"  {mark} ", number), (told[: max(0, width - 5)], None)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of values; if all are equal, widened so that it is not empty."""
    low, high = min(values), max(values)
    if high - low <= abs(high) * 1e-9:
        room = abs(high) * 0.5 or 1.0
        return low - room, high + room
    return low, high


def _ticks(low: float, high: float) -> dict[float, str]:
    """Return round numbers between `low` and `high`, each with its label."""
    rough = high / TICKS - low / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((power * factor for factor in (1, 2, 2.5, 5) if power * factor >= rough), power * 10)
    marks = [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
    if step < 1e-4 or max(map(abs, marks)) >= 1e6:  # noqa: PLR2004 - scientific notation beyond these
        return {mark: f"{mark:.3g}" for mark in marks}
    figures = max(0, -math.floor(math.log10(step)))
    figures += round(step * 10**figures, 9) % 1 > 0
    return {mark: f"{mark:.{figures}f}" for mark in marks}


def _share(value: float, low: float, high: float) -> float:
    """Return a value's relative position in a range, 0 to 1; halves the operands so that no difference overflows."""
    return min(1.0, max(0.0, (value / 2 - low / 2) / (high / 2 - low / 2)))
