"""Shows the engine's events on stderr: live in a terminal, line by line in a pipe, not at all with `--quiet`."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.text import Text

from ft_sync.cli import journal
from ft_sync.cli.board import Board
from ft_sync.cli.live import Live
from ft_sync.cli.panel import COARSE, ENDS, FINE, columns_for, draw, has_room
from ft_sync.cli.render import console, figures, is_screen, place, safe, style_of, tell
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
from ft_sync.models import Destination, Enrich, Extend, Failed, Replace, Skip, Skipped, Synced, Wait

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

    from ft_sync.cli.options import Output
    from ft_sync.events import Event, Observer
    from ft_sync.models import JobId


@contextmanager
def watching(output: Output) -> Iterator[Observer]:
    """Yield the observer that suits stderr and the output options."""
    if output.quiet or output.jsonl:
        yield lines(output)
        return
    screen = console(sys.stderr, color=output.color)
    # A dumb terminal cannot move its cursor, so it gets plain lines.
    if is_screen(sys.stderr) and not screen.is_dumb_terminal:
        watched = _Watched(screen, verbose=output.verbose)
        with watched.live:
            try:
                yield watched
            finally:
                watched.leave()
    else:
        yield lines(output)


def lines(output: Output) -> Observer:
    """Return the observer for commands that take only a moment."""
    if output.jsonl:
        return journal.write
    return _silent if output.quiet else _Lines(verbose=output.verbose)


def _silent(event: Event) -> None:
    """Show nothing."""


class _Lines:
    """Prints one line per event; what recurs at every poll is printed again only after a change."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._last_said: dict[JobId, str] = {}
        self._addresses: dict[JobId, str] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case Planned(plans):
                tell(_overview(event))
                if self._verbose:
                    for plan in plans:
                        tell(f"{plan.job.id}: {plan.reason}")
            case Destination():
                _tell_each(_into(event))
            case ProviderGuessed() | Advanced() if not self._verbose:
                pass
            case Verified() | JobArchived():
                if self._verbose or _is_failure(event):
                    tell(_done(event))
            case Waiting():
                self._tell_state(event)
            case _:
                tell(_news(event))

    def _tell_state(self, event: Waiting) -> None:
        job_id, url, sentence = event.job.id, event.url, _state(event)
        if url is not None and self._addresses.get(job_id) != url:
            self._addresses[job_id] = url
            tell(f"{job_id}: see {place(url)}")
        if self._last_said.get(job_id) != sentence:
            self._last_said[job_id] = sentence
            tell(f"{job_id}: {sentence}")


class _Watched:
    """Shows progress in a live region of the terminal; messages that must stay are printed once above it."""

    def __init__(self, screen: Console, *, verbose: bool) -> None:
        self._verbose = verbose
        self._board = Board(time.time())
        self._screen = screen
        self._marks = FINE if screen.encoding.startswith("utf") else COARSE
        self._shown_urls: set[JobId] = set()
        self.live = Live(screen, self._draw)

    def __call__(self, event: Event) -> None:
        with self.live.lock:
            self._board.fold(event, time.time())
            for sentence, style in self._kept(event):
                self.live.say(Text(safe(sentence), style))

    def leave(self) -> None:
        """If the command was interrupted, print what was done so far, since no final table will follow."""
        board = self._board
        if board.is_interrupted and board.done:
            ends = ", ".join(f"{board.ends[name]} {name}" for name in ENDS if board.ends[name])
            self.live.say(Text(f"{ends}; {board.jobs - board.done} left"))

    def _draw(self, width: int, height: int) -> list[Text]:
        return draw(self._board, width, height, time.time(), self._marks)

    def _kept(self, event: Event) -> Iterator[tuple[str, str]]:
        """Yield the (text, style) lines of an event that must stay above the region."""
        match event:
            case Planned(plans) if self._verbose:
                yield from ((f"{plan.job.id}: {plan.reason}", "") for plan in plans)
            case Destination():
                yield from ((line, "") for line in _into(event))
            case Noted() | Interrupted():
                yield _news(event), style_of("notes")
            case ProviderGuessed() | Started() | Delayed() if self._verbose:
                yield _news(event), style_of("notes" if isinstance(event, Delayed) else "")
            case Settled(outcome) if self._verbose or isinstance(outcome, Failed):
                yield _news(event), style_of(type(outcome).__name__.lower())
            case Verified() | JobArchived() if self._verbose or _is_failure(event):
                yield _done(event), style_of("failed" if _is_failure(event) else "")
            case Waiting(job, url=str(url)) if job.id not in self._shown_urls:
                self._shown_urls.add(job.id)
                if not has_room(url, columns_for(self._screen.width - 1, len(job.id))):
                    yield f"see {place(url)}", style_of("running")
            case _:
                pass


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
    """Return an event as one line."""
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


def _tell_each(lines: Iterable[str]) -> None:
    for line in lines:
        tell(line)


def _into(destination: Destination) -> Iterator[str]:
    """Yield the lines that say where the runs go."""
    if destination.run_id is not None:
        yield f"into the run {destination.run_id} of {destination.path}"
    elif destination.folder is not None:
        yield f"into {place(destination.folder)} (offline, for {destination.path})"
    else:
        yield f"into {destination.path}{' (new project)' if destination.is_new else ''}"
    if destination.ignored is not None:
        yield f"note: {destination.ignored} is not read: --entity and --project say where runs go"


def _is_failure(event: Verified | JobArchived) -> bool:
    return isinstance(event.verdict, Unreadable) if isinstance(event, Verified) else isinstance(event.outcome, Failed)


def _done(event: Verified | JobArchived) -> str:
    """Return the result of a verified or archived job as one line."""
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
