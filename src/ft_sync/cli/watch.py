"""`ftsync status --watch`: shows jobs until they end, redrawn in place in a terminal, one line per change in a pipe."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.style import Style
from rich.table import Table
from rich.text import Text

from ft_sync import api
from ft_sync.cli import documents, exits, render
from ft_sync.cli.live import Live
from ft_sync.cli.panel import about, headline
from ft_sync.cli.portrait import CHART_HEIGHT, lines_of, portrait
from ft_sync.cli.status import facts, seconds_left, show_portraits
from ft_sync.models import UNSUCCESSFUL, Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ft_sync.cli.options import Output
    from ft_sync.models import JobId
    from ft_sync.overview import Detail

IN_SHORT = frozenset({"job", "status", "error", "progress", "metrics", "in W&B", "run"})
"""The facts that are shown if the screen is too small for all."""

FEWEST_LINES = 9
"""Minimum number of lines of a chart."""


class Watch:
    """The state of the watched jobs.

    Attributes:
        details: The latest details of each job.
        away: For jobs that cannot be fetched at the moment, the reason.
        failures: The jobs that the last poll could not fetch.
    """

    def __init__(self, output: Output) -> None:
        self.details: dict[JobId, Detail] = {}
        self.away: str | None = None
        self.failures: list[Failed] = []
        self._output = output
        self._said: dict[JobId, tuple[object, ...]] = {}
        self._said_away: str | None = None

    def learn(self, found: list[Detail | Failed]) -> None:
        """Update the state with the result of a poll."""
        self.failures = [one for one in found if isinstance(one, Failed)]
        self.details |= {one.standing.job.id: one for one in found if not isinstance(one, Failed)}
        if self.failures and not self.details:
            raise self.failures[0].error
        messages = dict.fromkeys(f"{failed.job_id}: {failed.error.message}" for failed in self.failures)
        self.away = "; ".join(messages) or None

    @property
    def exit_code(self) -> int:
        """The exit code for the state of the jobs."""
        if self.failures:
            return exits.INCOMPLETE
        ended = {detail.standing.job.status for detail in self.details.values()}
        return exits.ENDED_BADLY if ended & UNSUCCESSFUL else exits.DONE

    def tell_changes(self) -> None:
        """Write a line for each job that has changed since its last line."""
        for job_id, detail in self.details.items():
            row = _row(detail)
            if self._said.get(job_id) != row:
                self._said[job_id] = row
                self._tell(detail, row)
        if self.away and self.away != self._said_away:
            render.tell(f"{self.away}; trying again")
        self._said_away = self.away

    def _tell(self, detail: Detail, row: tuple[object, ...]) -> None:
        if self._output.jsonl:
            render.line("job", documents.of_detail(detail, seconds_left(detail, time.time())))
        else:
            render.lines([row])

    def draw(self, width: int, height: int) -> list[Text]:
        """Return the lines for a screen of this size."""
        details, now = list(self.details.values()), time.time()
        screen = render.console(sys.stdout, color=self._output.color)
        if len(details) != 1:
            lines = lines_of(_rows(details, now), screen, width)[: height - 2]
        else:
            (detail,) = details
            known = list(facts(detail, now, is_brief=True))
            lines = portrait(known, detail, screen)
            if len(lines) > height - 2:
                short = [fact for fact in known if fact[0] in IN_SHORT]
                room = min(CHART_HEIGHT, max(FEWEST_LINES, height - len(short) - 4))
                lines = portrait(short, detail, screen, room)[: height - 2]
        if self.away:
            lines.append(Text(render.safe(self.away), render.style_of("notes"), no_wrap=True))
        return lines


def watch(job_ids: list[str], arguments: dict[str, Any], output: Output) -> int:
    """Show the jobs until they have ended; return the exit code."""
    known = Watch(output)
    try:
        with _showing(known, output) as learn:
            for found in api.watch_jobs(job_ids, **arguments):
                learn(found)
    finally:
        # Also after an interruption, so that the last known state stays on the screen.
        if render.is_screen(sys.stdout) and not (output.is_json or output.quiet):
            show_portraits(known.details.values(), time.time(), output)
    if output.json:
        timed = [(detail, None) for detail in known.details.values()]
        render.document(documents.of_details(timed, known.failures, known.exit_code))
    elif output.jsonl:
        end = documents.of_end("status", len(known.details), len(known.failures), known.exit_code)
        render.line("end", end)
    elif output.quiet:
        render.lines([job_id] for job_id in known.details)
    for failed in known.failures:
        render.tell(f"{failed.job_id}: {failed.error.message}")
    return known.exit_code


@contextmanager
def _showing(known: Watch, output: Output) -> Iterator[Callable[[list[Detail | Failed]], None]]:
    """Yield a function that updates the state with a poll's result and shows it."""
    screen = render.console(sys.stdout, color=output.color)
    if render.is_screen(sys.stdout) and not screen.is_dumb_terminal and not (output.is_json or output.quiet):
        with Live(screen, known.draw) as live:

            def learn(found: list[Detail | Failed]) -> None:
                with live.lock:
                    known.learn(found)

            yield learn
        return

    def tell(found: list[Detail | Failed]) -> None:
        known.learn(found)
        if not (output.json or output.quiet):
            known.tell_changes()

    yield tell


def _row(detail: Detail) -> tuple[object, ...]:
    """Return the cells of a job's line in a pipe."""
    job = detail.standing.job
    step = f"step {detail.step}" + (f" of {detail.total_steps}" if detail.total_steps else "") if detail.step else None
    return job.id, job.status, step, render.figures(detail.metrics) or None, detail.standing.sync


def _rows(details: list[Detail], now: float) -> Table:
    """Return a table with one line per job."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in ("job", "status", "progress", "newest", "in W&B"):
        table.add_column(header, no_wrap=header == "job")
    for detail in details:
        job = detail.standing.job
        left = seconds_left(detail, now)
        newest = ", ".join(f"{label} {value:.3g}" for label, value in headline(detail.metrics))
        done = f"{detail.step}/{detail.total_steps}" if detail.step and detail.total_steps else detail.step
        progress = None if job.is_finished or done is None else f"{done}, {about(left)} left" if left else f"{done}"
        cells = (job.id, job.status, progress, newest or None, str(detail.standing.sync))
        run = detail.standing.run
        links = [None] * 4 + [run.url if run else None]
        table.add_row(
            *(
                Text(render.NOTHING if cell is None else render.safe(cell), render.linked(link) + style)
                for cell, link in zip(cells, links, strict=True)
                for style in [Style.parse(render.style_of(cell))]
            )
        )
    return table
