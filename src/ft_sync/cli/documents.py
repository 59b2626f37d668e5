"""Builds the JSON documents and journal lines, whose stable format shapes.py defines; pure."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal, cast

from ft_sync import events
from ft_sync.cli import exits
from ft_sync.cli.render import moment, seconds
from ft_sync.compare import Differs, Digest, Identical, Missing, Unreadable
from ft_sync.models import Archived, Failed, Skip, Skipped, Synced, Wait

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ft_sync.archives import Problem
    from ft_sync.cli import shapes
    from ft_sync.compare import Difference, Verdict, Verification
    from ft_sync.diagnosis import Check
    from ft_sync.errors import FtSyncError
    from ft_sync.events import Event
    from ft_sync.models import ArchiveOutcome, ArchiveReport, JobOutcome, Plan, SyncReport
    from ft_sync.overview import Detail, Standing
    from ft_sync.planning import Preview
    from ft_sync.reporting import ProjectReport


def of_report(report: SyncReport, command: str) -> shapes.SyncReport:
    """Return the document of a sync."""
    return {
        "command": cast("Literal['sync', 'resync', 'demo']", command),
        "dry_run": False,
        "outcomes": [of_outcome(outcome) for outcome in report.outcomes],
        "counts": {
            "synced": len(report.synced),
            "skipped": len(report.skipped),
            "failed": len(report.failed),
        },
        "ended_badly": list(report.ended_badly),
        "timed_out": list(report.timed_out),
        "exit_code": exits.of_report(report),
    }


def of_verification(verification: Verification) -> shapes.Verification:
    """Return the document of a verification."""
    counts = verification.counts
    return {
        "command": "verify",
        "verdicts": [_verdict(verdict) for verdict in verification.verdicts],
        "counts": {
            "identical": counts.get("identical", 0),
            "differs": counts.get("differs", 0),
            "missing": counts.get("missing", 0),
            "unreadable": counts.get("unreadable", 0),
            "skipped": counts.get("skipped", 0),
        },
        "exit_code": exits.of_verification(verification),
    }


def of_project_report(report: ProjectReport) -> shapes.ProjectReport:
    """Return the document of a W&B report."""
    return {
        "command": "report",
        "title": report.title,
        "report": {"url": report.report_url, "is_new": report.is_new},
        "workspace": {"url": report.workspace_url},
        "runs": len(report.run_ids),
        "job_ids": list(report.job_ids),
        "exit_code": exits.DONE,
    }


def of_archive(report: ArchiveReport, folder: str) -> shapes.ArchiveReport:
    """Return the document of an archiving."""
    return {
        "command": "archive",
        "check": False,
        "folder": folder,
        "outcomes": [_stored(outcome) for outcome in report.outcomes],
        "counts": {"archived": len(report.archived), "failed": len(report.failed), "lost": len(report.lost)},
        "exit_code": exits.of_archive(report),
    }


def of_check(folder: str, problems: Sequence[Problem]) -> shapes.ArchiveCheck:
    """Return the document of an archive check."""
    return {
        "command": "archive",
        "check": True,
        "folder": folder,
        "problems": [of_problem(problem) for problem in problems],
        "exit_code": exits.INCOMPLETE if problems else exits.DONE,
    }


def of_problem(problem: Problem) -> shapes.Problem:
    """Return one problem of an archive check."""
    path, what = problem
    return {"path": path, "problem": what}


def of_preview(preview: Preview, command: str, exit_code: int) -> shapes.SyncPreview:
    """Return the document of `--dry-run`."""
    return {
        "command": cast("Literal['sync', 'resync']", command),
        "dry_run": True,
        "plans": [_planned(plan) for plan in preview.plans],
        "unreadable": [of_outcome(failed) for failed in preview.unreadable],
        "counts": dict(Counter(action(plan) for plan in preview.plans)),
        "exit_code": exit_code,
    }


def of_standings(standings: Iterable[Standing], failures: Sequence[Failed] = ()) -> shapes.JobList:
    """Return the document of a listing, including the jobs that could not be read."""
    return {
        "command": "list",
        "jobs": [of_standing(standing) for standing in standings],
        "failed": [of_outcome(failed) for failed in failures],
        "exit_code": exits.INCOMPLETE if failures else exits.DONE,
    }


def of_counts(
    statuses: Counter[str], syncs: Counter[str], failures: Iterable[Failed] = (), exit_code: int = exits.DONE
) -> shapes.JobCounts:
    """Return the document with the numbers of jobs by kind, and the jobs that could not be read."""
    return {
        "command": "status",
        "jobs": statuses.total(),
        "counts": {"status": dict(statuses), "sync": dict(syncs)},
        "failed": [of_outcome(failed) for failed in failures],
        "exit_code": exit_code,
    }


def of_details(
    details: Iterable[tuple[Detail, float | None]], failures: Iterable[Failed], exit_code: int = exits.DONE
) -> shapes.JobsInDepth:
    """Return the document of jobs in detail, each with its remaining seconds, and of jobs that could not be fetched."""
    return {
        "command": "status",
        "jobs": [of_detail(detail, left) for detail, left in details],
        "failed": [of_outcome(failed) for failed in failures],
        "exit_code": exit_code,
    }


def of_diagnosis(checks: Sequence[Check]) -> shapes.Diagnosis:
    """Return the document of `doctor`'s checks."""
    counts = Counter(check.state for check in checks)
    return {
        "command": "doctor",
        "checks": [
            {"check": check.name, "state": check.state, "message": check.message, "hint": check.hint}
            for check in checks
        ],
        "counts": {
            "ok": counts["ok"],
            "warning": counts["warning"],
            "failed": counts["failed"],
            "skipped": counts["skipped"],
        },
        "exit_code": exits.of_diagnosis(checks),
    }


def of_end(command: Literal["list", "status"], jobs: int, failed: int, exit_code: int) -> shapes.End:
    """Return the last line of a listing."""
    return {"command": command, "jobs": jobs, "failed": failed, "exit_code": exit_code}


def of_failure(error: FtSyncError) -> shapes.Failure:
    """Return the document of a command that failed."""
    return {"error": exits.described(error)}


def of_event(event: Event) -> Mapping[str, object]:
    """Return the fields of an event's journal line."""
    match event:
        case events.Planned(plans):
            return {"plans": [_planned(plan) for plan in plans]}
        case events.Started(plan):
            return _planned(plan)
        case events.Advanced(job_id, phase, url, metrics):
            return {"job_id": job_id, "phase": phase, "url": url, "metrics": dict(metrics or {})}
        case events.Waiting(job, step, total, metrics, url):
            return {
                "job_id": job.id,
                "status": job.status,
                "step": step,
                "total_steps": total,
                "metrics": dict(metrics or {}),
                "url": url,
            }
        case events.Settled(outcome):
            return of_outcome(outcome)
        case events.Verified(verdict):
            return _verdict(verdict)
        case events.JobArchived(stored):
            return _stored(stored)
        case _:
            return {field.name: getattr(event, field.name) for field in fields(event)}


def action(plan: Plan) -> shapes.Action:
    """Return a plan's action: create, extend, enrich, replace, wait or skip."""
    return cast("shapes.Action", type(plan).__name__.lower())


def of_outcome(outcome: JobOutcome) -> shapes.Outcome:
    """Return the outcome of a job."""
    nothing: shapes.Outcome = {
        "job_id": outcome.job_id,
        "outcome": "failed",
        "status": None,
        "run_id": None,
        "url": None,
        "rows": None,
        "reason": "",
        "notes": [],
        "error": None,
    }
    match outcome:
        case Synced(_, status, run_id, rows, reason, url, notes):
            return {
                **nothing,
                "outcome": "synced",
                "status": status,
                "run_id": run_id,
                "url": url,
                "rows": rows,
                "reason": reason,
                "notes": list(notes),
            }
        case Skipped(_, reason, status, url):
            return {**nothing, "outcome": "skipped", "status": status, "url": url, "reason": reason}
        case Failed(_, error):
            return {**nothing, "reason": error.message, "error": exits.described(error)}


def _verdict(verdict: Verdict) -> shapes.Verdict:
    nothing: shapes.Verdict = {
        "job_id": verdict.job_id,
        "verdict": "identical",
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
        case Identical(_, run_id, url, notes):
            return {**nothing, "run_id": run_id, "url": url, "notes": list(notes)}
        case Differs(_, run_id, found, url, notes, lost, reason=reason):
            known: shapes.Verdict = {**nothing, "run_id": run_id, "url": url, "notes": list(notes), "reason": reason}
            differences = [_difference(one) for one in found]
            return {**known, "verdict": "differs", "differences": differences, "lost": list(lost)}
        case Missing(_, reason, notes):
            return {**nothing, "verdict": "missing", "reason": reason, "notes": list(notes)}
        case Unreadable(_, side, error):
            described = exits.described(error)
            return {**nothing, "verdict": "unreadable", "side": side, "reason": error.message, "error": described}
        case Skipped(_, reason, _, url):
            return {**nothing, "verdict": "skipped", "url": url, "reason": reason}


def _difference(one: Difference) -> shapes.Difference:
    return {"item": one.item, "expected": _plain(one.expected), "found": _plain(one.found)}


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a compared value as plain JSON; values from W&B may have the SDK's own types."""
    match value:
        case Digest():
            return {"bytes": value.size, "md5": value.md5}
        case list():
            return [_plain(entry) for entry in value]
        case float() if not math.isfinite(value):
            return str(value)  # JSON has no NaN or infinity
        case None | bool() | int() | float() | str():
            return value
        case _ if hasattr(value, "items"):
            return {str(key): _plain(below) for key, below in value.items()}
        case _:
            return str(value)


def _stored(outcome: ArchiveOutcome) -> shapes.Stored:
    match outcome:
        case Archived(job_id, status, is_news, lost):
            return {
                "job_id": job_id,
                "outcome": "archived",
                "status": status,
                "is_news": is_news,
                "lost": [{"kind": one.kind, "id": one.id, "reason": one.reason} for one in lost],
                "error": None,
            }
        case Failed(job_id, error):
            return {
                "job_id": job_id,
                "outcome": "failed",
                "status": None,
                "is_news": False,
                "lost": [],
                "error": exits.described(error),
            }


def _planned(plan: Plan) -> shapes.Plan:
    return {
        "job_id": plan.job.id,
        "action": action(plan),
        "status": plan.job.status,
        "reason": plan.reason,
        "run_id": None if isinstance(plan, Skip | Wait) else plan.run_id,
        "replaces": [] if isinstance(plan, Skip | Wait) else [run.run_id for run in plan.replaced],
    }


def of_standing(standing: Standing) -> shapes.Job:
    """Return a job of a listing."""
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
        "sync": standing.sync.value,
        "run_id": run.run_id if run else None,
        "url": run.url if run else None,
        "plan": {"action": action(plan), "reason": plan.reason} if plan else None,
    }


def of_detail(detail: Detail, left: float | None) -> shapes.JobInDepth:
    """Return a job in detail, with its remaining seconds."""
    job = detail.standing.job
    error = job.error
    return {
        **of_standing(detail.standing),
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
