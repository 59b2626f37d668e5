"""One job in depth as people see it: its facts, and beside or below them its training curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from ft_sync.cli.curve import Series, chart
from ft_sync.cli.render import NOTHING, QUIET, linked, safe, style_of
from ft_sync.convert import best_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console, RenderableType

    from ft_sync.cli.curve import Part
    from ft_sync.models import MetricRow
    from ft_sync.overview import Detail

COLORS = ("cyan", "yellow", "magenta", "green")
"""Of the curves; each has a mark of its own, too."""

WIDE = 130
"""Columns from which on curves stand beside the facts."""

MOST_COLUMNS, CHART_HEIGHT = 100, 18
"""Of a chart: wider or higher ones say no more."""

SPLITS = ("train", "valid", "full_valid")
"""How the names of metrics begin, in the order in which they are drawn."""

Fact = tuple[str, object]


def panels(rows: Sequence[MetricRow], method: str | None) -> list[list[Series]]:
    """Return the curves to draw, those of one panel together: the loss or reward first, then accuracies."""
    names = list(dict.fromkeys(name for row in rows for name in row.metrics if "/" not in name and best_of(name)))
    kinds = {kind: [name for name in names if kind in name.lower()] for kind in ("loss", "mean_reward", "accurac")}
    first = ("mean_reward", "loss") if method == "reinforcement" else ("loss", "mean_reward")
    chosen = [*[kinds[kind] for kind in first if kinds[kind]][:1], kinds["accurac"]]
    return [[_series(name, rows) for name in sorted(names, key=_order)] for names in chosen if names]


def portrait(facts: Iterable[Fact], detail: Detail, screen: Console, height: int = CHART_HEIGHT) -> list[Text]:
    """Return the lines that show a job: facts, and curves where there is anything to draw.

    Args:
        facts: Names and values.
        detail: What is known of the job.
        screen: Where it is to be shown.
        height: Lines of a chart.
    """
    curves = panels(detail.rows, detail.standing.job.method)
    is_wide = screen.width >= WIDE
    width = min(MOST_COLUMNS, screen.width * 55 // 100 if is_wide else screen.width - 1)
    is_plain = not screen.encoding.startswith("utf")
    # Under the facts there is room for one; beside them they stand one below the other.
    charts = [chart(panel, width, height, is_plain=is_plain) for panel in curves[: 2 if is_wide else 1]]
    drawn = [_text(line) for number, lines in enumerate(charts) for line in [*[[]] * (number > 0), *lines]]
    table = _facts(facts)
    if not drawn:
        return lines_of(table, screen, screen.width)
    if not is_wide:
        return [*lines_of(table, screen, screen.width), Text(), *drawn]
    beside = Table.grid(padding=(0, 3, 0, 0))
    beside.add_column(width=screen.width - width - 4)
    beside.add_column(width=width, no_wrap=True)
    beside.add_row(table, Text("\n").join(drawn))
    return lines_of(beside, screen, screen.width)


def lines_of(shown: RenderableType, screen: Console, width: int) -> list[Text]:
    """Return what is shown as lines of text."""
    options = screen.options.update(width=width)
    lines = [
        Text.assemble(*((segment.text, segment.style or "") for segment in line), no_wrap=True)
        for line in screen.render_lines(shown, options, pad=False)
    ]
    for line in lines:
        line.rstrip()
    return lines


def _facts(facts: Iterable[Fact]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True, style=QUIET)
    table.add_column(overflow="fold")
    last = None
    for name, value in facts:
        text = NOTHING if value is None else safe(value)
        # A name stands once for all that it is the name of.
        table.add_row("" if name == last else name, Text(text, linked(value) if name == "run" else style_of(value)))
        last = name
    return table


def _series(name: str, rows: Iterable[MetricRow]) -> Series:
    points = [(float(row.step), row.metrics[name]) for row in rows if name in row.metrics]
    return Series(safe(name), points, best_of(name))


def _order(name: str) -> tuple[int, str]:
    found = [number for number, split in enumerate(SPLITS) if name.startswith(split)]
    return (found[0] if found else len(SPLITS)), name


def _text(line: Sequence[Part]) -> Text:
    text = Text(no_wrap=True)
    for part, number in line:
        text.append(part, "" if number is None else COLORS[number])
    return text
