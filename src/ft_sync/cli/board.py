"""What a command is at, at a moment: its events folded into rows and counts; pure, its caller brings the time."""

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
"""Through which a job goes that is written; each is a fifth of the way."""

LINGERING = 4.0
"""Seconds for which a job that is done keeps its row, unless another takes its place."""

FEW = 5
"""Jobs done before it can be told how long the others take."""

Stage: TypeAlias = Literal["at work", "waiting", "leaving", "done"]
"""Of a job: it is written or trained; it has not begun to train; it is left to W&B, and only asked for; it is over."""


@dataclass(slots=True)
class Row:
    """A job as it is shown.

    Attributes:
        state: In a few words, as a service may have sent it.
        brief: The same where there is little room.
        share: How much of the way is done, 0 to 1; None where that is unknown.
        ends: When it is expected to end, in Unix seconds.
        url: Of its run.
        since: When its stage began, in Unix seconds.
        first: The time of the first step that was heard of, and the step.
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
    """The rows that there is room for, and how many jobs are not among them, by what they are at."""

    rows: list[Row]
    hidden: dict[str, int]


class Board:
    """What is known so far.

    Attributes:
        doing: What the command does with the jobs, such as `syncing`.
        jobs: How many there are.
        ends: How many came to which end, such as `synced`.
        is_interrupted: Whether it was told to end.
        longest_id: Of all jobs that had a row, in characters: so the columns stay where they are.
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
        """How many jobs have come to an end."""
        return self.ends.total()

    def delay(self, now: float) -> tuple[str, float] | None:
        """Return why everybody waits, and for how many seconds more."""
        if self._delay is None or self._delay[1] <= now:
            return None
        return self._delay[0], self._delay[1] - now

    def left(self, now: float) -> float | None:
        """Return how many seconds the jobs still take, at the rate so far; None where that is a guess."""
        worked = self.done - self.ends["skipped"]
        if worked < FEW or self._kept_waiting or any(row.first for row in self._rows.values()):
            return None
        return (now - self.began) / worked * (self.jobs - self.done)

    def fold(self, event: Event, now: float) -> None:
        """Take in what happened."""
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
        """Return what is shown in so many lines: jobs at work first, each in its place, then those that wait."""
        self._clear(now)
        placed = [self._rows[job_id] for job_id in self._places]
        at_work = [row for row in placed if row.stage == "at work"]
        spare = max(0, room - len(at_work))
        # What is at work has the first right to a line; of the others those that are higher up.
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
        self.jobs += len(plans)  # a watch plans again and again

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
        """Set where a job stands; who comes to work takes the first place that nobody at work has."""
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
        """Take away the rows of jobs that have been done for a while."""
        for row in list(self._rows.values()):
            if row.stage == "done" and now - row.since >= LINGERING:
                self._forget(row.job_id)
        self._places = [job_id for job_id in self._places if job_id in self._rows]

    def _forget(self, job_id: JobId) -> None:
        """Forget a job that is done; one that is only left to W&B goes on without a place."""
        if self._rows[job_id].stage == "done":
            del self._rows[job_id]


def _expected_end(row: Row, step: int | None, total: int | None, now: float) -> float | None:
    """Return when a job ends that goes on as it has since it was first heard of."""
    if row.first is None or step is None or not total or step <= row.first[1]:
        return None
    begin, first = row.first
    return now + (now - begin) / (step - first) * (total - step)
