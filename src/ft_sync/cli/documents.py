"""The JSON documents: what other programs may rely on; pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, get_args

from ft_sync.cli import exits
from ft_sync.cli.render import moment, seconds
from ft_sync.compare import Differs, Digest, Identical, Missing, Unreadable
from ft_sync.diagnosis import State
from ft_sync.models import Archived, Failed, Skip, Skipped, Synced, Wait

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ft_sync.archives import Problem
    from ft_sync.compare import Difference, Verdict, Verification
    from ft_sync.diagnosis import Check
    from ft_sync.models import ArchiveOutcome, ArchiveReport, JobOutcome, Plan, SyncReport
    from ft_sync.overview import Detail, Standing
    from ft_sync.planning import Preview
    from ft_sync.reporting import ProjectReport


VERDICTS = ("identical", "differs", "missing", "unreadable", "skipped")


def of_report(report: SyncReport, command: str) -> dict[str, Any]:
    """Return what a sync did."""
    return {
        "command": command,
        "outcomes": [_outcome(outcome) for outcome in report.outcomes],
        "counts": {
            "synced": len(report.synced),
            "skipped": len(report.skipped),
            "failed": len(report.failed),
        },
        "ended_badly": list(report.ended_badly),
        "timed_out": list(report.timed_out),
        "exit_code": exits.of_report(report),
    }


def of_verification(verification: Verification) -> dict[str, Any]:
    """Return what came of a verification."""
    return {
        "command": "verify",
        "verdicts": [_verdict(verdict) for verdict in verification.verdicts],
        "counts": {kind: verification.counts.get(kind, 0) for kind in VERDICTS},
        "exit_code": exits.of_verification(verification),
    }


def of_project_report(report: ProjectReport) -> dict[str, Any]:
    """Return where a report is, and what it is about."""
    return {
        "command": "report",
        "title": report.title,
        "report": {"url": report.report_url, "is_new": report.is_new},
        "workspace": {"url": report.workspace_url},
        "runs": len(report.run_ids),
        "job_ids": list(report.job_ids),
        "exit_code": exits.DONE,
    }


def of_archive(report: ArchiveReport, folder: str) -> dict[str, Any]:
    """Return what an archiving did."""
    return {
        "command": "archive",
        "folder": folder,
        "outcomes": [_stored(outcome) for outcome in report.outcomes],
        "counts": {"archived": len(report.archived), "failed": len(report.failed), "lost": len(report.lost)},
        "exit_code": exits.of_archive(report),
    }


def of_check(folder: str, problems: Sequence[Problem]) -> dict[str, Any]:
    """Return what is wrong with an archive."""
    return {
        "command": "archive",
        "check": True,
        "folder": folder,
        "problems": [{"path": path, "problem": problem} for path, problem in problems],
        "exit_code": exits.INCOMPLETE if problems else exits.DONE,
    }


def of_preview(preview: Preview, command: str, exit_code: int) -> dict[str, Any]:
    """Return what a sync would do."""
    return {
        "command": command,
        "dry_run": True,
        "plans": [_planned(plan) for plan in preview.plans],
        "unreadable": [_outcome(failed) for failed in preview.unreadable],
        "counts": dict(Counter(action(plan) for plan in preview.plans)),
        "exit_code": exit_code,
    }


def of_standings(standings: Iterable[Standing], failures: Iterable[Failed] = ()) -> dict[str, Any]:
    """Return a listing, and what could not be read of it."""
    return {
        "command": "list",
        "jobs": [_standing(standing) for standing in standings],
        "failed": [_outcome(failed) for failed in failures],
    }


def of_counts(statuses: Counter[str], syncs: Counter[str], failures: Iterable[Failed] = ()) -> dict[str, Any]:
    """Return how many jobs there are of each kind, and those that could not be read."""
    return {
        "command": "status",
        "failed": [_outcome(failed) for failed in failures],
        "jobs": statuses.total(),
        "counts": {"status": dict(statuses), "sync": dict(syncs)},
    }


def of_details(details: Iterable[tuple[Detail, float | None]], failures: Iterable[Failed]) -> dict[str, Any]:
    """Return jobs in depth, each with the seconds that it still takes, and those that could not be had."""
    return {
        "command": "status",
        "jobs": [_detail(detail, left) for detail, left in details],
        "failed": [_outcome(failed) for failed in failures],
    }


def of_diagnosis(checks: Sequence[Check]) -> dict[str, Any]:
    """Return what came of each check."""
    counts = Counter(check.state for check in checks)
    return {
        "command": "doctor",
        "checks": [
            {"check": check.name, "state": check.state, "message": check.message, "hint": check.hint}
            for check in checks
        ],
        "counts": {state: counts[state] for state in get_args(State)},
        "exit_code": exits.of_diagnosis(checks),
    }


def action(plan: Plan) -> str:
    """Name what is to be done: create, extend, enrich, replace, wait or skip."""
    return type(plan).__name__.lower()


def _outcome(outcome: JobOutcome) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "job_id": outcome.job_id,
        "outcome": type(outcome).__name__.lower(),
        "status": None,
        "run_id": None,
        "url": None,
        "rows": None,
        "reason": None,
        "notes": [],
        "error": None,
    }
    match outcome:
        case Synced():
            fields |= {
                "status": outcome.status,
                "run_id": outcome.run_id,
                "url": outcome.url,
                "rows": outcome.rows,
                "reason": outcome.reason,
                "notes": list(outcome.notes),
            }
        case Skipped():
            fields |= {"status": outcome.status, "url": outcome.url, "reason": outcome.reason}
        case Failed():
            fields |= {"reason": outcome.error.message, "error": exits.described(outcome.error)}
    return fields


def _verdict(verdict: Verdict) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "job_id": verdict.job_id,
        "verdict": type(verdict).__name__.lower(),
        "run_id": None,
        "url": None,
        "differences": [],
        "lost": [],
        "side": None,
        "reason": None,
        "notes": [],
        "error": None,
    }
    match verdict:
        case Identical():
            fields |= {"run_id": verdict.run_id, "url": verdict.url, "notes": list(verdict.notes)}
        case Differs():
            fields |= {"run_id": verdict.run_id, "url": verdict.url, "notes": list(verdict.notes)}
            fields |= {"differences": [_difference(one) for one in verdict.differences], "lost": list(verdict.lost)}
        case Missing():
            fields |= {"reason": verdict.reason, "notes": list(verdict.notes)}
        case Unreadable(error=error):
            fields |= {"side": verdict.side, "reason": error.message, "error": exits.described(error)}
        case Skipped():
            fields |= {"url": verdict.url, "reason": verdict.reason}
    return fields


def _difference(one: Difference) -> dict[str, Any]:
    return {"item": one.item, "expected": _plain(one.expected), "found": _plain(one.found)}


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a value of either side as JSON: what comes from W&B may be of the SDK's own types."""
    match value:
        case Digest():
            return {"bytes": value.size, "md5": value.md5}
        case list():
            return [_plain(entry) for entry in value]
        case None | bool() | int() | float() | str():
            return value
        case _ if hasattr(value, "items"):
            return {str(key): _plain(below) for key, below in value.items()}
        case _:
            return str(value)


def _stored(outcome: ArchiveOutcome) -> dict[str, Any]:
    fields: dict[str, Any] = {"job_id": outcome.job_id, "outcome": type(outcome).__name__.lower()}
    match outcome:
        case Archived():
            lost = [{"kind": lost.kind, "id": lost.id, "reason": lost.reason} for lost in outcome.lost]
            return fields | {"status": outcome.status, "is_news": outcome.is_news, "lost": lost, "error": None}
        case Failed():
            return fields | {"status": None, "is_news": False, "lost": [], "error": exits.described(outcome.error)}


def _planned(plan: Plan) -> dict[str, Any]:
    return {
        "job_id": plan.job.id,
        "action": action(plan),
        "status": plan.job.status,
        "reason": plan.reason,
        "run_id": None if isinstance(plan, Skip | Wait) else plan.run_id,
        "replaces": [] if isinstance(plan, Skip | Wait) else [run.run_id for run in plan.replaced],
    }


def _standing(standing: Standing) -> dict[str, Any]:
    job, run, plan = standing.job, standing.run, standing.plan
    return {
        "job_id": job.id,
        "status": job.status,
        "method": job.method,
        "base_model": job.base_model,
        "fine_tuned_model": job.fine_tuned_model,
        "created_at": moment(job.created_at),
        "finished_at": moment(job.finished_at),
        "duration_seconds": seconds(job.duration),
        "trained_tokens": job.trained_tokens,
        "sync": str(standing.sync),
        "run_id": run.run_id if run else None,
        "url": run.url if run else None,
        "plan": {"action": action(plan), "reason": plan.reason} if plan else None,
    }


def _detail(detail: Detail, left: float | None) -> dict[str, Any]:
    job = detail.standing.job
    error = job.error
    return {
        **_standing(detail.standing),
        "progress": {
            "step": detail.step,
            "total_steps": detail.total_steps,
            "seconds_left": None if left is None else round(left),
        },
        "metrics": dict(detail.metrics),
        "events": [
            {"created_at": moment(event.created_at), "level": event.level, "message": event.message}
            for event in detail.events
        ],
        "error": {"code": error.code, "message": error.message, "param": error.param} if error else None,
        "files": {
            "training": job.training_file,
            "validation": job.validation_file,
            "results": list(job.result_files),
        },
        "notes": list(detail.notes),
    }
