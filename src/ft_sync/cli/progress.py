"""Shows on stderr what the engine reports: live in a terminal, line by line in a pipe, not at all when quiet."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Column

from ft_sync.cli import journal
from ft_sync.cli.render import console, figures, is_screen, safe, tell
from ft_sync.compare import Unreadable
from ft_sync.events import (
    Advanced,
    Delayed,
    Interrupted,
    JobArchived,
    Noted,
    Planned,
    ProviderGuessed,
    Selected,
    Settled,
    Started,
    Verified,
    Waiting,
)
from ft_sync.models import Enrich, Extend, Failed, Replace, Skip, Skipped, Synced, Wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from ft_sync.cli.options import Output
    from ft_sync.events import Event, Observer
    from ft_sync.models import JobId


@contextmanager
def watching(output: Output) -> Iterator[Observer]:
    """Give the observer that fits stderr and the user's wish."""
    if output.quiet or output.jsonl:
        yield lines(output)
        return
    screen = console(sys.stderr, color=output.color)
    # A dumb terminal cannot move its cursor.
    if is_screen(sys.stderr) and not screen.is_dumb_terminal:
        with _Live(screen, verbose=output.verbose) as live:
            yield live
    else:
        yield lines(output)


def lines(output: Output) -> Observer:
    """Give the observer for what takes but a moment."""
    if output.jsonl:
        return journal.write
    return _silent if output.quiet else _Lines(verbose=output.verbose)


def _silent(event: Event) -> None:
    """Show nothing."""


class _Lines:
    """One line for each thing that happens; what is said at every poll is said again only when it changed."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._last_said: dict[JobId, str] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case Planned(plans):
                tell(_overview(event))
                if self._verbose:
                    for plan in plans:
                        tell(f"{plan.job.id}: {plan.reason}")
            case ProviderGuessed() | Advanced():
                if self._verbose:
                    tell(_news(event))
            case Verified() | JobArchived():
                if self._verbose or _is_failure(event):
                    tell(_done(event))
            case Waiting(job):
                sentence = _state(event)
                if self._last_said.get(job.id) != sentence:
                    self._last_said[job.id] = sentence
                    tell(f"{job.id}: {sentence}")
            case _:
                tell(_news(event))


LINES_BESIDE_JOBS = 3
"""Of the screen: the bar of the whole sync, and room for the cursor."""


class _Live:
    """A bar for the whole sync and a line for each job in work or waited for, redrawn in place."""

    PHASES = ("reading", "metrics", "datasets", "model")

    def __init__(self, screen: Console, *, verbose: bool) -> None:
        self._verbose = verbose
        self._bars: dict[JobId, TaskID] = {}
        self._selected = 0
        self._settled = 0
        self._verifying: set[JobId] = set()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=20, table_column=Column(min_width=20)),
            # The one column that gives way where the terminal is narrow.
            TextColumn("{task.fields[state]}", markup=False, table_column=Column(no_wrap=True, ratio=1)),
            console=screen,
            transient=True,
            expand=True,
        )
        self._whole = self._progress.add_task("planning", total=None, state="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        match event:
            case Planned(plans):
                self._selected += len(plans)  # a watch plans again and again
                self._progress.update(
                    self._whole, description="jobs settled", total=self._selected, state=_overview(event)
                )
            case Started(plan):
                self._show(plan.job.id, _beginning(event), 0, len(self.PHASES))
            case Advanced(job_id, "verifying"):
                self._verifying.add(job_id)
                self._drop(job_id)
            case Advanced(job_id, phase):
                self._show(job_id, phase, self.PHASES.index(phase), len(self.PHASES))
            case Waiting(job, step, total):
                self._show(job.id, _state(event), step or 0, total)
            case Selected() | Verified() | JobArchived():
                self._count(event)
            case Noted() | Delayed() | Interrupted():
                self._progress.console.print(safe(_news(event)), style="yellow")
            case ProviderGuessed() if self._verbose:
                self._progress.console.print(safe(_news(event)))
            case Settled():
                self._settle(event)

    def _show(self, job_id: JobId, state: str, completed: int, total: int | None) -> None:
        if job_id not in self._bars:
            self._bars[job_id] = self._progress.add_task(safe(job_id), total=total, state="")
            self._fit()
        self._progress.update(self._bars[job_id], completed=completed, total=total, state=safe(state))

    def _fit(self) -> None:
        """Show as many jobs as the screen has lines for: what is redrawn in place must not be higher than that."""
        room = max(1, self._progress.console.height - LINES_BESIDE_JOBS)
        for number, bar in enumerate(self._bars.values()):
            self._progress.update(bar, visible=number < room)
        state = f"{self._settled} of {self._selected}"
        if self._verifying:
            state += f", {len(self._verifying)} to verify"
        if len(self._bars) > room:
            state += f", {len(self._bars) - room} more at work"
        self._progress.update(self._whole, state=state)

    def _settle(self, event: Settled) -> None:
        self._settled += 1
        self._progress.update(self._whole, completed=self._settled)
        self._verifying.discard(event.outcome.job_id)
        self._drop(event.outcome.job_id)
        if self._verbose or isinstance(event.outcome, Failed):
            self._progress.console.print(safe(_news(event)))

    def _count(self, event: Selected | Verified | JobArchived) -> None:
        """Show how many of the jobs are done, where each takes no time worth a line of its own."""
        if isinstance(event, Selected):
            self._settled, self._selected = 0, event.jobs
            self._progress.update(self._whole, description=f"jobs to {event.to}", completed=0, total=event.jobs)
        else:
            self._settled += 1
            self._progress.update(self._whole, completed=self._settled)
            if self._verbose or _is_failure(event):
                self._progress.console.print(safe(_done(event)))
        self._fit()

    def _drop(self, job_id: JobId) -> None:
        if (bar := self._bars.pop(job_id, None)) is not None:
            self._progress.remove_task(bar)
        self._fit()


def _overview(event: Planned) -> str:
    waits = sum(isinstance(plan, Wait) for plan in event.plans)
    skips = sum(isinstance(plan, Skip) for plan in event.plans)
    writes = len(event.plans) - waits - skips
    return f"{writes} to write, {waits} to wait for, {skips} to skip"


def _beginning(event: Started) -> str:
    match event.plan:
        case Replace():
            doing = "writing again"
        case Extend():
            doing = "going on"
        case Enrich():
            doing = "adding what it lacks"
        case _:
            doing = "writing"
    return f"{doing}: {event.plan.reason}"


def _state(event: Waiting) -> str:
    state = str(event.job.status)
    if event.step is not None:
        state += f", step {event.step}" + (f" of {event.total_steps}" if event.total_steps else "")
    return f"{state}, {figures(event.metrics)}" if event.metrics else state


def _news(event: ProviderGuessed | Advanced | Selected | Started | Noted | Delayed | Interrupted | Settled) -> str:
    """Return what happened, in one line."""
    match event:
        case ProviderGuessed(provider, reason):
            return f"provider {provider}: {reason}"
        case Advanced(job_id, phase):
            return f"{job_id}: {phase}"
        case Selected(jobs, to):
            return f"{jobs} to {to}"
        case Started(plan):
            return f"{plan.job.id}: {_beginning(event)}"
        case Noted(job_id, message):
            return f"{job_id}: note: {message}"
        case Delayed(message, seconds):
            return f"{message}: going on in {f'{seconds:.0f}' if seconds >= 1 else f'{seconds:.1f}'} s"
        case Interrupted():
            return "interrupted: finishing the jobs that are at work; once more ends at once"
        case Settled(outcome):
            return f"{outcome.job_id}: {_end(event)}"


def _is_failure(event: Verified | JobArchived) -> bool:
    return isinstance(event.verdict, Unreadable) if isinstance(event, Verified) else isinstance(event.outcome, Failed)


def _done(event: Verified | JobArchived) -> str:
    """Return what became of a job that was verified or archived, in one line."""
    result = event.verdict if isinstance(event, Verified) else event.outcome
    sentence = f"{result.job_id}: {type(result).__name__.lower()}"
    return f"{sentence}: {result.error.message}" if isinstance(result, Unreadable | Failed) else sentence


def _end(event: Settled) -> str:
    match event.outcome:
        case Synced(rows=rows):
            return f"synced, {rows} rows"
        case Skipped(reason=reason):
            return f"skipped: {reason}"
        case Failed(error=error):
            return f"failed: {error.message}"
