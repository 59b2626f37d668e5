"""Renders one job in detail for a terminal: its facts and, beside or below them, its training curves."""

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
"""Colours of the curves; each curve also has its own mark."""

WIDE = 130
"""Minimum terminal width at which curves are placed beside the facts."""

MOST_COLUMNS, CHART_HEIGHT = 100, 18
"""Maximum size of a chart; larger ones show no more detail."""

SPLITS = ("train", "valid", "full_valid")
"""Prefixes of metric names, in the order in which the curves are drawn."""

Fact = tuple[str, object]


def panels(rows: Sequence[MetricRow], method: str | None) -> list[list[Series]]:
    """Return the curves grouped by panel: first loss or reward, then accuracies."""
    names = list(dict.fromkeys(name for row in rows for name in row.metrics if "/" not in name and best_of(name)))
    kinds = {kind: [name for name in names if kind in name.lower()] for kind in ("loss", "mean_reward", "accurac")}
    first = ("mean_reward", "loss") if method == "reinforcement" else ("loss", "mean_reward")
    chosen = [*[kinds[kind] for kind in first if kinds[kind]][:1], kinds["accurac"]]
    return [[_series(name, rows) for name in sorted(names, key=_order)] for names in chosen if names]


def portrait(facts: Iterable[Fact], detail: Detail, screen: Console, height: int = CHART_HEIGHT) -> list[Text]:
    """Return the lines for a job: its facts, and curves if there are any points.

    Args:
        facts: (name, value) pairs.
        detail: The job in detail.
        screen: The console on which the lines will be shown.
        height: Number of lines of a chart.
    """
    curves = panels(detail.rows, detail.standing.job.method)
    is_wide = screen.width >= WIDE
    width = min(MOST_COLUMNS, screen.width * 55 // 100 if is_wide else screen.width - 1)
    is_plain = not screen.encoding.startswith("utf")
    # Below the facts there is room for one chart; beside them, for two on top of each other.
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
    """Render an object into lines of text."""
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
        # Repeated names are shown only once.
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
