"""Renders a board as lines that fit a given width and height; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.style import Style
from rich.text import Text

from ft_sync.cli.render import MINUTE, SHORT_ID, linked, place, safe, shortened, span, style_of
from ft_sync.convert import best_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ft_sync.cli.board import Board, Row

LINES_BESIDE_ROWS = 4
"""Screen lines besides the rows: the summary, the reason of a pause, the count of hidden jobs, and the cursor."""

ENDS = ("synced", "archived", "identical", "skipped", "missing", "differs", "unreadable", "failed")
"""Outcomes of jobs, in the order in which they are shown."""

LONG_MINUTES = 100
LONG_HOURS = 48

WIDE = 110
"""Minimum terminal width at which a run's whole URL may fit."""

LAYOUTS = ((WIDE, 20, 8, 24), (92, 14, 8, 13), (72, 8, 8, 13), (60, 8, 8, 0), (50, 8, 0, 0), (0, 0, 0, 0))
"""(minimum terminal width, width of the bar, of the remaining time, of the newest metrics); 0 omits the column."""

STATE, LONG_STATE = 11, 20
"""Minimum width of a state, such as `step 20/360`, without and with a URL in the line."""

LABELS = {
    "train_loss": "loss",
    "train_mean_reward": "reward",
    "full_valid_loss": "valid",
    "valid_loss": "valid",
    "full_valid_mean_reward": "valid",
}
"""Short labels for the metrics that may be shown in a job's line, by preference."""


class Marks(NamedTuple):
    """The characters for bars, spinners and truncated text."""

    done: str
    rest: str
    turning: str
    cut: str


FINE = Marks("━", "─", "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "…")
COARSE = Marks("#", ".", "|/-\\", "~")
"""ASCII marks, for terminals whose encoding lacks the others."""

TURNS_A_SECOND = 8


class Columns(NamedTuple):
    """The width of each part of a job's line; 0 for a part that is omitted."""

    id: int
    bar: int
    state: int
    left: int
    figures: int
    url: int


def draw(board: Board, width: int, height: int, now: float, marks: Marks = FINE) -> list[Text]:
    """Return the lines: the summary, the reason of a pause, one line per visible job, and the count of hidden ones."""
    view = board.view(max(1, height - LINES_BESIDE_ROWS), now)
    lines = [_whole(board, width, now, marks)]
    if delay := board.delay(now):
        message, seconds = delay
        lines.append(_line([(f"  {message}: going on in {seconds:.0f} s", style_of("notes"))], width, marks))
    if board.is_interrupted:
        sentence = "  finishing the jobs that are at work; Ctrl-C once more ends at once"
        lines.append(_line([(sentence, style_of("notes"))], width, marks))
    columns = columns_for(width, board.longest_id)
    names = shortened([row.job_id for row in view.rows], columns.id, marks.cut)
    lines += [_job(row, names[row.job_id], columns, now, marks) for row in view.rows]
    if view.hidden:
        told = ", ".join(f"{number} {name}" for name, number in view.hidden.items())
        lines.append(_line([(f"  {told}", "dim")], width, marks))
    return lines


def columns_for(width: int, longest_id: int) -> Columns:
    """Divide a terminal's width among the parts of a job's line; the state gets the rest."""
    bar, left, figures = next(parts for least, *parts in LAYOUTS if width >= least)
    beside = 2 + sum(part + 2 for part in (bar, figures) if part) + (left + 1 if left else 0)
    job_id = max(SHORT_ID, min(longest_id, width - beside - STATE - 2))
    state = max(0, width - beside - job_id - 2)
    if width < WIDE:
        return Columns(job_id, bar, state, left, figures, 0)
    long_state = min(state, LONG_STATE)
    return Columns(job_id, bar, long_state, left, figures, max(0, state - long_state - 2))


def headline(metrics: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return the main metrics with short labels: the training loss or reward, and the one in validation."""
    told: dict[str, float] = {}
    for name, label in LABELS.items():
        if name in metrics:
            told.setdefault(label, metrics[name])
    if told:
        return list(told.items())[:2]
    return [(name.rsplit("/", 1)[-1], value) for name, value in metrics.items() if best_of(name)][:1]


def about(seconds: float) -> str:
    """Return an estimated time in a single unit."""
    if seconds < MINUTE:
        return f"{seconds:.0f}s"
    minutes = round(seconds / MINUTE)
    if minutes < LONG_MINUTES:
        return f"{minutes}m"
    hours = round(minutes / 60)
    return f"{hours}h" if hours < LONG_HOURS else f"{round(hours / 24)}d"


def bar(share: float | None, width: int, marks: Marks, style: str) -> list[tuple[str, str]]:
    """Return a progress bar of `width` cells; empty if the share is unknown."""
    full = int((share or 0.0) * width)
    return [(marks.done * full, style), (marks.rest * (width - full), "dim")]


def _whole(board: Board, width: int, now: float, marks: Marks) -> Text:
    """Draw the summary line of all jobs."""
    turn = marks.turning[int(now * TURNS_A_SECOND) % len(marks.turning)]
    elapsed = span(now - board.began) or ""
    if not board.jobs:
        return _line([(f"{turn} ", style_of("running")), (board.doing, ""), (f"  {elapsed}", "dim")], width, marks)
    parts = [(f"{turn} ", style_of("running")), (f"{board.doing} {board.done} of {board.jobs}  ", "bold")]
    parts += bar(board.done / board.jobs, max(8, min(40, width // 6)), marks, style_of("running"))
    parts.append(("  ", ""))
    ends = [(name, board.ends[name]) for name in ENDS if board.ends[name]]
    for number, (name, count) in enumerate(ends):
        parts += [(", " if number else "", ""), (f"{count} {name}", style_of(name))]
    left = board.left(now)
    end = elapsed if left is None or width < WIDE else f"{elapsed}, about {about(left)} left"
    line = _line(parts, max(1, width - len(end) - 2), marks)
    line.append(f"{end:>{max(0, width - line.cell_len)}}", "dim")
    return line


def _job(row: Row, name: str, columns: Columns, now: float, marks: Marks) -> Text:
    """Draw the line of one job."""
    style = _style(row)
    line = Text("  ", no_wrap=True)
    link = linked(row.url)
    line.append(_cell(safe(name), columns.id, marks), Style.parse(style if row.stage == "waiting" else "") + link)
    if columns.bar:
        line.append("  ")
        for text, look in bar(row.share, columns.bar, marks, style):
            line.append(text, look)
    state = row.state if cell_len(safe(row.state)) <= columns.state else row.brief
    line.append("  ").append(_cell(safe(state), columns.state, marks), style)
    if columns.left:
        left = "" if row.ends is None else f"{about(max(0.0, row.ends - now))} left"
        line.append(" ").append(_cell(left, columns.left, marks), "dim")
    if columns.figures:
        told = headline(row.metrics)[: 2 if columns.url else 1]
        figures = ", ".join(f"{safe(label)} {value:.3g}" for label, value in told)
        line.append("  ").append(_cell(figures, columns.figures, marks))
    if row.url and has_room(row.url, columns):
        line.append("  ").append(safe(place(row.url)), Style(dim=True) + link)
    line.rstrip()
    return line


def has_room(url: str, columns: Columns) -> bool:
    """Return whether the whole URL fits in its job's line; URLs are never truncated."""
    return cell_len(safe(place(url))) <= columns.url


def _style(row: Row) -> str:
    if row.stage == "done":
        return style_of(row.brief)
    return style_of("running") if row.stage == "at work" else "dim"


def _cell(text: str, width: int, marks: Marks) -> str:
    """Return a text truncated or padded to exactly `width` cells."""
    return set_cell_size(_cut(text, width, marks), width)


def _cut(text: str, width: int, marks: Marks) -> str:
    """Return a text in at most `width` cells, with a mark if it was truncated."""
    if cell_len(text) <= width:
        return text
    return f"{set_cell_size(text, width - 1)}{marks.cut}" if width > 0 else ""


def _line(parts: Sequence[tuple[str, str]], width: int, marks: Marks) -> Text:
    """Return a line of at most `width` cells."""
    line = Text(no_wrap=True)
    for text, style in parts:
        line.append(_cut(safe(text), width - line.cell_len, marks), style)
    return line
