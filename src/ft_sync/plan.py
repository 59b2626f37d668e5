"""Decides what to do for a job, given its runs and the user's rule, and why; pure, and the only place that decides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from ft_sync.convert import digest
from ft_sync.models import (
    UNKNOWN,
    UNREADABLE,
    UNSUCCESSFUL,
    Create,
    Enrich,
    Extend,
    Job,
    Origin,
    Plan,
    Replace,
    RunState,
    Skip,
    SyncState,
    Wait,
    Write,
)
from ft_sync.names import first_of, revision_of, run_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ft_sync.models import RunId


OnNative: TypeAlias = Literal["enrich", "skip", "replace"]
"""What to do with a run of OpenAI's own integration."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Which jobs to write, and how, as the user asked.

    Attributes:
        wait: Wait for jobs that have not ended, instead of skipping them.
        renew: Also rewrite runs that are out of date or were logged by another program (`resync`).
        overwrite: Also rewrite complete runs.
        include_unsuccessful: Also sync failed and cancelled jobs.
        on_native: What to do with runs of OpenAI's own integration.
        into: The caller's own run to write the job into; if set, no other run of the job is created or changed.
    """

    wait: bool = True
    renew: bool = False
    overwrite: bool = False
    include_unsuccessful: bool = False
    on_native: OnNative = "enrich"
    into: RunId | None = None


def plan(job: Job, runs: Sequence[RunState], rule: Rule) -> Plan:
    """Decide what to do for one job, given every run that W&B holds for it."""
    if not job.is_finished:
        return _unfinished(job, _named_after(runs), rule)
    return _finished(job, runs, rule) if rule.into is None else _into(rule.into, job, runs, rule)


def _unfinished(job: Job, runs: Sequence[RunState], rule: Rule) -> Wait | Skip:
    """Decide about a job that has not ended."""
    if job.status == UNKNOWN:  # waiting might never end
        return Skip(job, "the service does not tell its status", current(runs), unfinished=True)
    if rule.wait:
        return Wait(job, f"is {job.status}", _live(job, runs))
    return Skip(job, f"is {job.status}: not waited for", unfinished=True)


def _finished(job: Job, runs: Sequence[RunState], rule: Rule) -> Plan:
    """Decide about the run of a job that has ended."""
    runs = _named_after(runs)
    counts = current(runs)
    if job.status in UNSUCCESSFUL and not rule.include_unsuccessful and not _is_brought(counts):
        return _leave_unsuccessful(job)
    if foreign := next((run for run in runs if run.origin is Origin.OTHER), None):
        return Skip(job, _why_leave_foreign(foreign), foreign)
    if writing := next((run for run in runs if run.being_written), None):
        return Skip(job, f"its run {writing.run_id} is being written by another process right now", writing)
    if counts is None:
        return Create(job, _next_run_id(job, runs), "not in W&B yet")
    others = tuple(run for run in runs if run is not counts and not run.is_replaced)
    if reason := _why_write_again(job, counts, rule):
        return _write_again(job, runs, counts, rule, reason)
    return Skip(job, _why_leave(counts), counts, others)


def _into(own: RunId, job: Job, runs: Sequence[RunState], rule: Rule) -> Plan:
    """Write the job into the caller's run, unless that run or a run of the job's own is already complete."""
    callers = next((run for run in runs if run.run_id == own), None)
    counts = current(runs)
    if job.status in UNSUCCESSFUL and not rule.include_unsuccessful and not _is_brought(callers or counts):
        return _leave_unsuccessful(job)
    held = next((run for run in (callers, counts) if run is not None and run.is_complete), None)
    if held is not None and not rule.overwrite:
        return Skip(job, "already complete", held)
    return Create(job, own, "into a run of yours")


def under_next_id(step: Create | Replace | Extend) -> Create | Replace:
    """Return the plan with the next revision as run id: W&B does not give out the id of a deleted run for days."""
    if isinstance(step, Extend):
        step = step.otherwise
    following = run_id(step.job.id, revision_of(step.run_id) + 1)
    return replace(step, run_id=following, reason=f"{step.reason}, {step.run_id} cannot be had")


def reopened(step: Write) -> Extend | Enrich:
    """Return the plan that resumes a run which was written by `step` and only has to be ended again."""
    if isinstance(step, Enrich):
        return step
    job = step.job
    run = RunState(step.run_id, job.id, Origin.FTSYNC, "running", being_written=True)
    instead = Replace(job, run_id(job.id, revision_of(run.run_id) + 1), step.reason, (run, *step.replaced))
    return Extend(job, run.run_id, step.reason, run, instead, step.replaced)


def _live(job: Job, runs: Sequence[RunState]) -> Create | Extend | None:
    """Decide how to write the run of a job that has not ended."""
    counts = current(runs)
    if counts is None:
        return Create(job, _next_run_id(job, runs), f"is {job.status}")
    if any(run.origin is not Origin.FTSYNC or run.being_written for run in runs) or counts.is_complete:
        return None
    plan = _write_again(job, runs, counts, Rule(), f"is {job.status}")
    assert isinstance(plan, Extend), "what is ours and incomplete can be gone on with"
    return plan


def current(runs: Sequence[RunState]) -> RunState | None:
    """Return a job's current run: the newest complete one, otherwise the newest; None if it has no run."""
    counting = [run for run in _named_after(runs) if not run.is_replaced]
    return max(counting, key=lambda run: (run.is_complete, revision_of(run.run_id)), default=None)


def sync_state(runs: Sequence[RunState]) -> SyncState:
    """Return whether W&B holds the job, given the job's runs."""
    run = current(runs)
    if run is None:
        return SyncState.ABSENT
    return SyncState.COMPLETE if run.is_complete else SyncState.INCOMPLETE


def _why_write_again(job: Job, run: RunState, rule: Rule) -> str | None:
    if run.origin is Origin.NATIVE and rule.on_native == "skip":
        return None
    if rule.overwrite:
        return "to be overwritten"
    if run.origin is Origin.NATIVE and (run.mark is None or (rule.renew and rule.on_native == "replace")):
        return f"was logged by {run.origin}"
    if not run.is_complete:
        return f"its run {run.run_id} is incomplete"
    if rule.renew and run.origin is Origin.WANDB_LOGGER:
        return f"was logged by {run.origin}"
    if rule.renew and run.mark is not None and run.mark.digest != digest(job):
        return "its run is out of date"
    return None


def _write_again(job: Job, runs: Sequence[RunState], run: RunState, rule: Rule, reason: str) -> Plan:
    """Choose how: enrich a run of OpenAI's own integration, resume an interrupted one, replace any other."""
    counting = tuple(one for one in runs if not one.is_replaced)
    others = tuple(one for one in counting if one is not run)
    if run.origin is Origin.NATIVE and rule.on_native == "enrich":
        return Enrich(job, run.run_id, reason, run, others)
    instead = Replace(job, _next_run_id(job, runs), reason, counting)
    if run.origin is Origin.FTSYNC and not run.is_complete and not rule.overwrite:
        return Extend(job, run.run_id, reason, run, instead, others)
    return instead


def _named_after(runs: Sequence[RunState]) -> tuple[RunState, ...]:
    """Keep the runs whose id is the job's or a revision of it; a user's own run may name the job in its config."""
    return tuple(run for run in runs if first_of(run.run_id) == run_id(run.job_id))


def _leave_unsuccessful(job: Job) -> Skip:
    return Skip(job, f"{job.verdict} (--include-unsuccessful brings it)")


def _is_brought(run: RunState | None) -> bool:
    """Return whether ftsync has written the job before, even if only in part."""
    return run is not None and (run.origin is Origin.FTSYNC or run.mark is not None)


def _why_leave_foreign(run: RunState) -> str:
    if run.state == UNREADABLE:
        return f"its run in {run.url} cannot be read: move that folder away"
    return f"a run with the id {run.run_id} was made by something else"


def _why_leave(run: RunState) -> str:
    if run.origin is Origin.NATIVE and run.mark is None:
        return f"its run was logged by {run.origin}: --on-native enrich adds to it"
    return "already complete"


def _next_run_id(job: Job, runs: Sequence[RunState]) -> RunId:
    # W&B cannot overwrite a run and blocks the id of a deleted one for days, so each rewrite needs a new id.
    return run_id(job.id, max((revision_of(run.run_id) for run in runs), default=0) + 1)
