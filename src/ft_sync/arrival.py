"""Verifies that W&B holds what was written: queries in bulk, and again since W&B's listing lags behind its writes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ft_sync.content import lacking, named, not_compared
from ft_sync.errors import FtSyncError, SinkRejected, Unavailable
from ft_sync.events import Advanced, Noted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ft_sync.content import Lack, RunContent
    from ft_sync.events import Observer
    from ft_sync.models import RunId, Synced, Write
    from ft_sync.ports import Clock, RunSink

PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds between repeated queries for a run that was just written."""

AT_ONCE = 100
"""Number of unverified runs from which on W&B is queried at once."""

LONGEST_WAIT = 5.0
"""Seconds after which W&B is queried for fewer runs, too."""

AGAIN = "run the same command again: it repairs what is incomplete"


@dataclass(frozen=True, slots=True)
class Written:
    """A run that was written but not verified yet.

    Attributes:
        synced: The job's outcome if W&B turns out to hold the run.
        content: What W&B should hold of the run.
        was_ended_again: W&B missed the end of the run, which was therefore ended once more.
        asked: Number of unsuccessful queries for the run so far.
    """

    step: Write
    synced: Synced
    content: RunContent
    was_ended_again: bool = False
    asked: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether W&B holds a run.

    Attributes:
        written: The run; notes on what could not be compared are added to its outcome.
        error: None if W&B holds the run.
        lacks: What W&B does not return of the run; empty if W&B holds it, or does not return it at all.
    """

    written: Written
    error: FtSyncError | None = None
    lacks: tuple[Lack, ...] = ()

    @property
    def is_open_end(self) -> bool:
        """Whether W&B has missed nothing but that the run has ended."""
        return bool(self.lacks) and all(lack.is_open_end for lack in self.lacks)


class Arrivals:
    """The written runs for which it is not known yet whether W&B holds them.

    Attributes:
        due: When to query W&B next, in the clock's seconds; infinite while there are no such runs.
    """

    def __init__(self, sink: RunSink, clock: Clock, observe: Observer) -> None:
        self.due = math.inf
        self._sink = sink
        self._clock = clock
        self._observe = observe
        self._written: dict[RunId, Written] = {}
        self._told: set[str] = set()

    def __len__(self) -> int:
        return len(self._written)

    def add(self, written: Written, *, is_last: bool) -> None:
        """Add a written run; `is_last` if no other run is being written, so that waiting for more is pointless."""
        self._observe(Advanced(written.synced.job_id, "verifying"))
        self._written[written.step.run_id] = written
        now = self._clock.now()
        self.due = min(self.due, now if is_last or len(self._written) >= AT_ONCE else now + LONGEST_WAIT)

    def ask(self, *, is_last: bool = False) -> list[Verdict]:
        """Query W&B for all runs at once and return the verdict on each that is decided.

        The others are kept for the next query. A run that is incomplete in the last listing is queried by itself, as
        listings may lag behind.

        Args:
            is_last: There will be no other query, so every run is decided.
        """
        asked, self._written, self.due = self._written, {}, math.inf
        judge = self._judge(asked)
        verdicts: list[Verdict] = []
        for run_id, written in asked.items():
            verdict = judge(written)
            if isinstance(verdict.error, SinkRejected | Unavailable) and not is_last and written.asked < len(PAUSES):
                self._written[run_id] = replace(written, asked=written.asked + 1)
                self.due = min(self.due, self._clock.now() + PAUSES[written.asked])
            elif isinstance(verdict.error, SinkRejected):
                verdicts.append(self._judge([run_id], singly=True)(written))
            else:
                verdicts.append(verdict)
        return verdicts

    def _judge(self, run_ids: Collection[RunId], *, singly: bool = False) -> Callable[[Written], Verdict]:
        """Query W&B for the runs and return a function that judges each of them by the answer."""
        try:
            found = self._sink.stored(run_ids, singly=singly)
        except FtSyncError as error:
            unknown = error
            return lambda written: Verdict(written, unknown)
        return lambda written: self._verdict(written, found.get(written.step.run_id))

    def _verdict(self, written: Written, found: RunContent | None) -> Verdict:
        run_id = written.step.run_id
        if found is None:
            return Verdict(written, SinkRejected(f"W&B took the run {run_id} but does not return it", hint=AGAIN))
        lacks = lacking(written.content, found)
        if not lacks:
            return Verdict(self._noted(written, found))
        verdict = Verdict(written, lacks=lacks)
        told = "has missed the end of" if verdict.is_open_end else "does not hold all of"
        return replace(verdict, error=SinkRejected(f"W&B {told} the run {run_id}: {named(lacks)}", hint=AGAIN))

    def _noted(self, written: Written, found: RunContent) -> Written:
        """Add to the outcome what could not be compared; the user is told once, as it is the same for all runs."""
        kinds = not_compared(written.content, found)
        if not kinds:
            return written
        note = f"not compared, since this W&B server does not return it: {', '.join(kinds)}"
        if note not in self._told:
            self._told.add(note)
            self._observe(Noted(written.synced.job_id, note))
        return replace(written, synced=replace(written.synced, notes=(*written.synced.notes, note)))
