"""Verifies that W&B holds the written runs: queries in bulk, and again since W&B's listing lags behind its writes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ft_sync.errors import FtSyncError, SinkRejected, Unavailable
from ft_sync.events import Advanced

if TYPE_CHECKING:
    from ft_sync.events import Observer
    from ft_sync.models import RunId, Synced, Write
    from ft_sync.ports import Clock, RunSink

PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds between repeated queries for a run that was just written."""

AT_ONCE = 100
"""Number of unverified runs from which on W&B is queried at once."""

LONGEST_WAIT = 5.0
"""Seconds after which W&B is queried for fewer runs, too."""


@dataclass(frozen=True, slots=True)
class Written:
    """A run that was written but not verified yet.

    Attributes:
        synced: The job's outcome if W&B turns out to hold the run.
        asked: Number of unsuccessful queries for the run so far.
    """

    step: Write
    synced: Synced
    asked: int = 0


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

    def __len__(self) -> int:
        return len(self._written)

    def add(self, written: Written, *, is_last: bool) -> None:
        """Add a written run; `is_last` if no other run is being written, so that waiting for more is pointless."""
        self._observe(Advanced(written.synced.job_id, "verifying"))
        self._written[written.step.run_id] = written
        now = self._clock.now()
        self.due = min(self.due, now if is_last or len(self._written) >= AT_ONCE else now + LONGEST_WAIT)

    def ask(self, *, is_last: bool = False) -> list[tuple[Written, FtSyncError | None]]:
        """Query W&B for all runs at once; return those that are decided, each with None if held or else the error.

        The others are kept for the next query.

        Args:
            is_last: There will be no other query, so every run is decided.
        """
        asked, self._written, self.due = self._written, {}, math.inf
        unknown: FtSyncError | None = None
        complete: set[RunId] = set()
        try:
            held = self._sink.states([written.synced.job_id for written in asked.values()])
        except FtSyncError as error:
            unknown = error
        else:
            complete = {run.run_id for runs in held.values() for run in runs if run.holds_all}
        settled: list[tuple[Written, FtSyncError | None]] = []
        for run_id, written in asked.items():
            if run_id in complete:
                settled.append((written, None))
            elif is_last or written.asked == len(PAUSES) or not isinstance(unknown, Unavailable | None):
                settled.append((written, unknown or _not_held(written)))
            else:
                self._written[run_id] = replace(written, asked=written.asked + 1)
                self.due = min(self.due, self._clock.now() + PAUSES[written.asked])
        return settled


def _not_held(written: Written) -> SinkRejected:
    return SinkRejected(
        f"W&B took the run {written.step.run_id} but does not hold all of it",
        hint="run the same command again: it repairs what is incomplete",
    )
