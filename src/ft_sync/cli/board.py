"""Folds a command's events into the rows and counts of its progress display; pure: the caller passes the time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from ft_sync.events import (
    Advanced,
    Delayed,
    Interrupted,
    JobArchived,
    Planned,
    Selected,
    Settled,
    Started,
    Verified,
    Waiting,
)
from ft_sync.models import Failed, Skipped, Synced

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ft_sync.events import Event
    from ft_sync.models import JobId, JobOutcome, Plan

PHASES = ("reading", "metrics", "datasets", "model", "verifying")
"""The phases of a job that is being written; each counts for a fifth of its progress."""

LINGERING = 4.0
"""Seconds for which a finished job keeps its row, unless another job takes its place."""

FEW = 5
"""Number of jobs that must be done before the remaining time is estimated."""

Stage: TypeAlias = Literal["at work", "waiting", "leaving", "done"]
"""The stage of a job: being written or training; not training yet; written, to be confirmed by W&B; finished."""


@dataclass(slots=True)
class Row:
    """One job in the display.

    Attributes:
        state: The state in a few words; may contain unescaped text from a service.
        brief: A shorter `state` for narrow terminals.
        share: Progress from 0 to 1; None if unknown.
        ends: Expected end, in Unix seconds.
        url: URL of the job's run.
        since: Begin of the current stage, in Unix seconds.
        first: Unix time and step of the first progress report, for estimating the rate.
    """

    job_id: JobId
    stage: Stage = "at work"
    state: str = ""
    brief: str = ""
    share: float | None = None
    ends: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    url: str | None = None
    since: float = 0.0
    first: tuple[float, int] | None = None


class View(NamedTuple):
    """The rows that fit on the screen, and the numbers of hidden jobs by stage."""

    rows: list[Row]
    hidden: dict[str, int]


class Board:
    """The state of the display, updated by `fold`.

    Attributes:
        doing: What the command does with the jobs, such as `syncing`.
        jobs: Total number of jobs.
        ends: Number of finished jobs by outcome, such as `synced`.
        is_interrupted: Whether the user has interrupted the command.
        longest_id: Length of the longest id ever shown, in characters, so that columns do not move.
    """

    def __init__(self, now: float) -> None:
        self.began = now
        self.doing = "looking for jobs"
        self.jobs = 0
        self.ends: Counter[str] = Counter()
        self.is_interrupted = False
        self.longest_id = 0
        self._delay: tuple[str, float] | None = None
        self._rows: dict[JobId, Row] = {}
        self._places: list[JobId] = []
        self._kept_waiting: dict[JobId, None] = {}

    @property
    def done(self) -> int:
        """Number of finished jobs."""
        return self.ends.total()

    def delay(self, now: float) -> tuple[str, float] | None:
        """Return why all requests are paused, and for how many more seconds; None if they are not."""
        if self._delay is None or self._delay[1] <= now:
            return None
        return self._delay[0], self._delay[1] - now

    def left(self, now: float) -> float | None:
        """Return the estimated remaining seconds at the rate so far; None if there is too little to go by."""
        worked = self.done - self.ends["skipped"]
        if worked < FEW or self._kept_waiting or any(row.first for row in self._rows.values()):
            return None
        return (now - self.began) / worked * (self.jobs - self.done)

    def fold(self, event: Event, now: float) -> None:
        """Update the state with an event."""
        match event:
            case Planned(plans):
                self._plan(plans)
            case Started(plan):
                row = self._enter(plan.job.id, now, stage="at work", state="reading", share=0.0)
                row.ends = row.first = None
            case Advanced():
                self._advance(event, now)
            case Waiting():
                self._wait(event, now)
            case Settled(outcome):
                self._settle(outcome, now)
            case Delayed(message, seconds):
                self._delay = (message, now + seconds)
            case Interrupted():
                self.is_interrupted = True
            case Selected(jobs, to):
                self.doing, self.jobs = {"verify": "verifying", "archive": "archiving"}[to], jobs
                self.ends.clear()
            case Verified(result) | JobArchived(result):
                self._end(type(result).__name__.lower())
            case _:
                pass

    def view(self, room: int, now: float) -> View:
        """Return what fits in `room` lines: jobs at work first, each in its fixed place, then the others."""
        self._clear(now)
        placed = [self._rows[job_id] for job_id in self._places]
        at_work = [row for row in placed if row.stage == "at work"]
        spare = max(0, room - len(at_work))
        # Jobs at work come first; of the others, those that are higher up.
        others = [row for row in placed if row.stage != "at work"][:spare]
        shown = [row for row in placed if row.stage == "at work" or row in others][:room]
        waiting = [self._rows[job_id] for job_id in self._kept_waiting]
        shown += waiting[: room - len(shown)]
        told = {id(row) for row in shown}
        unseen = [row.stage for row in self._rows.values() if id(row) not in told]
        known = sum(row.stage != "done" for row in self._rows.values())
        hidden = {
            "more at work": unseen.count("at work"),
            "to be verified": unseen.count("leaving"),
            "more waiting": unseen.count("waiting"),
            "left for the next time" if self.is_interrupted else "still to come": max(0, self.jobs - self.done - known),
        }
        return View(shown, {name: number for name, number in hidden.items() if number})

    def _plan(self, plans: tuple[Plan, ...]) -> None:
        self.doing = "syncing"
        self.jobs += len(plans)  # --watch plans repeatedly

    def _advance(self, event: Advanced, now: float) -> None:
        stage: Stage = "leaving" if event.phase == "verifying" else "at work"
        share = PHASES.index(event.phase) / len(PHASES)
        row = self._enter(event.job_id, now, stage=stage, state=event.phase, share=share)
        row.url = event.url or row.url
        row.metrics = event.metrics or row.metrics

    def _wait(self, event: Waiting, now: float) -> None:
        job, step, total = event.job, event.step, event.total_steps
        stage: Stage = "at work" if job.status == "running" or job.is_finished else "waiting"
        share = min(1.0, step / total) if step is not None and total else None
        done = None if step is None else f"{step}/{total}" if total else str(step)
        state = f"step {done}" if done else str(job.status).replace("_", " ")
        row = self._enter(job.id, now, stage=stage, state=state, share=share)
        row.brief = done or state
        row.metrics = event.metrics or row.metrics
        row.url = event.url or row.url
        if step is not None:
            row.first = row.first or (now, step)
        row.ends = job.estimated_finish.timestamp() if job.estimated_finish else _expected_end(row, step, total, now)

    def _settle(self, outcome: JobOutcome, now: float) -> None:
        self._end(type(outcome).__name__.lower())
        if outcome.job_id not in self._rows:
            return
        match outcome:
            case Synced(rows=rows):
                state = f"synced, {rows} rows"
            case Skipped() | Failed():
                state = type(outcome).__name__.lower()
        share = self._rows[outcome.job_id].share if isinstance(outcome, Failed) else 1.0
        row = self._enter(outcome.job_id, now, stage="done", state=state, share=share)
        row.brief = type(outcome).__name__.lower()
        row.url = row.url if isinstance(outcome, Failed) else outcome.url or row.url

    def _end(self, name: str) -> None:
        self.ends[name] += 1
        self.jobs = max(self.jobs, self.done)

    def _enter(self, job_id: JobId, now: float, *, stage: Stage, state: str, share: float | None) -> Row:
        """Set a job's stage; a job that comes to work takes the first place not used by another job at work."""
        row = self._rows.setdefault(job_id, Row(job_id))
        self.longest_id = max(self.longest_id, len(job_id))
        if row.stage != stage:
            row.since = now
        row.stage, row.state, row.brief, row.share = stage, state, state, share
        if stage == "waiting":
            self._kept_waiting[job_id] = None
            return row
        self._kept_waiting.pop(job_id, None)
        if stage == "at work" and job_id not in self._places:
            self._place(job_id)
        return row

    def _place(self, job_id: JobId) -> None:
        for number, holder in enumerate(self._places):
            if self._rows[holder].stage != "at work":
                self._places[number] = job_id
                self._forget(holder)
                return
        self._places.append(job_id)

    def _clear(self, now: float) -> None:
        """Remove the rows of jobs that finished some seconds ago, see `LINGERING`."""
        for row in list(self._rows.values()):
            if row.stage == "done" and now - row.since >= LINGERING:
                self._forget(row.job_id)
        self._places = [job_id for job_id in self._places if job_id in self._rows]

    def _forget(self, job_id: JobId) -> None:
        """Remove a finished job; one that still awaits W&B's confirmation only loses its place."""
        if self._rows[job_id].stage == "done":
            del self._rows[job_id]


def _expected_end(row: Row, step: int | None, total: int | None, now: float) -> float | None:
    """Extrapolate a job's end, in Unix seconds, from its rate of steps since the first progress report."""
    if row.first is None or step is None or not total or step <= row.first[1]:
        return None
    begin, first = row.first
    return now + (now - begin) / (step - first) * (total - step)
