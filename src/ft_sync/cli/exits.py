"""The one table from errors and outcomes to exit codes, names in JSON and titles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ft_sync import errors

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ft_sync.cli import shapes
    from ft_sync.compare import Verification
    from ft_sync.diagnosis import Check
    from ft_sync.errors import FtSyncError
    from ft_sync.models import ArchiveReport, SyncReport

DONE = 0
UNEXPECTED = 1
USAGE = 2
INCOMPLETE = 3
NOT_ALLOWED = 4
UNAVAILABLE = 5
ENDED_BADLY = 6
STILL_RUNNING = 8
INTERRUPTED = 130

MEANINGS = {
    DONE: "done, or nothing to do",
    UNEXPECTED: "unexpected error: a bug",
    USAGE: "usage or configuration",
    INCOMPLETE: "incomplete: of some jobs something failed, is missing or differs; the rest is done",
    NOT_ALLOWED: "not authenticated or not allowed",
    UNAVAILABLE: "a service is unreachable or rate-limiting: run again later",
    ENDED_BADLY: "a job that was waited for ended failed or cancelled; its run is there all the same",
    STILL_RUNNING: "still running when --timeout ran out, or status --exit-code on an unfinished job",
    INTERRUPTED: "interrupted; running it again carries on",
}

EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:3}  {meaning}" for code, meaning in MEANINGS.items())
"""The end of each command's help; `\\b` keeps the line breaks."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an error ends the command: `code` is its name in JSON, `title` its name for people."""

    exit_code: int
    code: str
    title: str


ENDINGS: dict[type[FtSyncError], Ending] = {
    errors.ConfigError: Ending(USAGE, "config", "bad argument or setting"),
    errors.AuthError: Ending(NOT_ALLOWED, "auth", "not allowed"),
    errors.NotLoggedIn: Ending(NOT_ALLOWED, "auth", "not authenticated"),
    errors.Forbidden: Ending(NOT_ALLOWED, "auth", "not allowed"),
    errors.NotFound: Ending(INCOMPLETE, "not_found", "not found"),
    errors.NotOffered: Ending(INCOMPLETE, "not_found", "not found"),
    errors.Unavailable: Ending(UNAVAILABLE, "unavailable", "service unavailable"),
    errors.Stopped: Ending(INTERRUPTED, "interrupted", "interrupted"),
    errors.BadData: Ending(INCOMPLETE, "bad_data", "unreadable answer"),
    errors.TooLarge: Ending(INCOMPLETE, "too_large", "answer too large"),
    errors.Refused: Ending(INCOMPLETE, "refused", "refused by the service"),
    errors.SinkRejected: Ending(INCOMPLETE, "rejected", "not accepted by W&B"),
    errors.RunExists: Ending(INCOMPLETE, "rejected", "not accepted by W&B"),
    errors.BeingWritten: Ending(INCOMPLETE, "rejected", "not accepted by W&B"),
    errors.IdTaken: Ending(INCOMPLETE, "rejected", "not accepted by W&B"),
    errors.CoreEnded: Ending(UNAVAILABLE, "unavailable", "wandb-core has ended"),
    errors.DiskError: Ending(INCOMPLETE, "disk", "not written on this machine"),
    errors.Unexpected: Ending(UNEXPECTED, "unexpected", "unexpected error"),
}


def ending(error: FtSyncError) -> Ending:
    """Return the `Ending` of an error; a class without an entry uses that of its base class."""
    return next(ENDINGS[kind] for kind in type(error).__mro__ if kind in ENDINGS)


def described(error: FtSyncError) -> shapes.Error:
    """Return the error as it appears in JSON documents."""
    end = ending(error)
    return {
        "code": end.code,
        "title": end.title,
        "message": error.message,
        "hint": error.hint,
        "exit_code": end.exit_code,
    }


def of_verification(verification: Verification) -> int:
    """Return the exit code of a verification: 0 if every job that a sync would write is identical."""
    from ft_sync.compare import Unreadable  # noqa: PLC0415 - `--help` does without

    if verification.is_identical:
        return DONE
    codes = {ending(one.error).exit_code if isinstance(one, Unreadable) else None for one in verification.verdicts}
    return NOT_ALLOWED if codes == {NOT_ALLOWED} else UNAVAILABLE if codes == {UNAVAILABLE} else INCOMPLETE


def of_archive(report: ArchiveReport) -> int:
    """Return the exit code of an archiving: 0 if the archive has everything that the service keeps of the jobs."""
    if report.failed and not report.archived:
        codes = {ending(failed.error).exit_code for failed in report.failed}
        return codes.pop() if codes in ({NOT_ALLOWED}, {UNAVAILABLE}) else INCOMPLETE
    return INCOMPLETE if report.failed or report.lost else DONE


def of_diagnosis(checks: Iterable[Check]) -> int:
    """Return the exit code of the worst failure, the one that takes the most effort to fix."""
    codes = {ending(check.error).exit_code for check in checks if check.error is not None}
    worst_first = (UNEXPECTED, NOT_ALLOWED, UNAVAILABLE, USAGE)
    return next((code for code in worst_first if code in codes), INCOMPLETE if codes else DONE)


def of_report(report: SyncReport) -> int:
    """Return the exit code of a sync."""
    if report.failed:
        codes = {ending(failed.error).exit_code for failed in report.failed}
        if USAGE in codes:
            return USAGE  # a setting is wrong for all jobs that are left, even if others were synced before
        if report.synced or report.skipped:
            return INCOMPLETE
        return codes.pop() if codes in ({NOT_ALLOWED}, {UNAVAILABLE}) else INCOMPLETE
    if report.ended_badly:
        return ENDED_BADLY
    return STILL_RUNNING if report.timed_out else DONE
