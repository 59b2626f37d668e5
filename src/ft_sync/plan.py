"""Job + run states + rule -> what to do, each with its reason; pure, and the only place where that is decided."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ft_sync.convert import digest
from ft_sync.models import (
    UNSUCCESSFUL,
    Create,
    Job,
    Origin,
    Plan,
    Replace,
    RunId,
    RunState,
    Skip,
    SyncState,
    Wait,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Rule:
    """What the user asked for.

    Attributes:
        wait: Wait for jobs that have not ended, instead of skipping them.
        renew: Write again what is out of date or was logged by something else (`resync`).
        overwrite: Write again what is complete, too.
        include_unsuccessful: Bring failed and cancelled jobs, too.
    """

    wait: bool = True
    renew: bool = False
    overwrite: bool = False
    include_unsuccessful: bool = False


def plan(job: Job, runs: Sequence[RunState], rule: Rule) -> Plan:
    """Decide what to do for one job, given every run that W&B holds for it."""
    if not job.is_finished:
        if rule.wait:
            return Wait(job, f"is {job.status}")
        return Skip(job, f"is {job.status}: not waited for", unfinished=True)
    if job.status in UNSUCCESSFUL and not rule.include_unsuccessful:
        return Skip(job, f"{job.verdict} (--include-unsuccessful brings it)")
    if not runs:
        return Create(job, RunId(job.id), "not in W&B yet")
    if foreign := next((run for run in runs if run.origin is Origin.OTHER), None):
        return Skip(job, f"a run with the id {foreign.run_id} was made by something else", foreign.url)
    counts = current(runs)
    if reason := _why_write_again(job, counts, rule):
        return Replace(job, _next_run_id(job, runs), tuple(runs), reason)
    leftovers = tuple(run for run in runs if run is not counts)
    return Skip(job, _why_leave(counts), counts.url, leftovers)


def current(runs: Sequence[RunState]) -> RunState:
    """Return the one run of a job that counts: the newest complete one, or else the newest."""
    return max(runs, key=lambda run: (run.is_complete, _revision(run)))


def sync_state(runs: Sequence[RunState]) -> SyncState:
    """Return whether W&B holds the job that these are the runs of."""
    if not runs:
        return SyncState.ABSENT
    return SyncState.COMPLETE if current(runs).is_complete else SyncState.INCOMPLETE


def _why_write_again(job: Job, run: RunState, rule: Rule) -> str | None:
    if rule.overwrite:
        return "to be overwritten"
    if run.origin is Origin.NATIVE:
        return None  # its live history is the user's; only an explicit overwrite may take it away
    if not run.is_complete:
        return f"its run {run.run_id} is incomplete"
    if rule.renew and run.origin is not Origin.FTSYNC:
        return f"was logged by {run.origin}"
    if rule.renew and run.mark is not None and run.mark.digest != digest(job):
        return "its run is out of date"
    return None


def _why_leave(run: RunState) -> str:
    if run.origin is Origin.NATIVE:
        return f"its run was logged by {run.origin}: --overwrite replaces it"
    return "already complete"


def _next_run_id(job: Job, runs: Sequence[RunState]) -> RunId:
    # W&B neither overwrites a run nor takes a deleted id again for days, so a rewrite needs an id of its own.
    return RunId(f"{job.id}-r{max(map(_revision, runs)) + 1}")


def _revision(run: RunState) -> int:
    match = re.fullmatch(r"-r(\d+)", run.run_id.removeprefix(run.job_id))
    return int(match[1]) if match else 1
