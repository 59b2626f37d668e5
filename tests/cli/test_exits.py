from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ft_sync import errors
from ft_sync.cli import exits
from ft_sync.compare import Differs, Identical, Missing, Unreadable, Verification
from ft_sync.diagnosis import Check
from ft_sync.errors import AuthError, BadData, ConfigError, FtSyncError, NotFound, NotLoggedIn, Unavailable, Unexpected
from ft_sync.models import Failed, JobId, JobStatus, RunId, Skipped, Synced, SyncReport

if TYPE_CHECKING:
    from ft_sync.compare import Verdict
    from ft_sync.models import JobOutcome

ONE = JobId("ftjob-1")
SYNCED = Synced(ONE, JobStatus("succeeded"), RunId("ftjob-1"), 3, "not in W&B yet")
SKIPPED = Skipped(ONE, "already complete")
IDENTICAL = Identical(ONE, RunId("ftjob-1"))


def failed(error: FtSyncError) -> Failed:
    return Failed(JobId("ftjob-2"), error)


def unreadable(error: FtSyncError) -> Unreadable:
    return Unreadable(ONE, "source", error)


def test_every_error_has_an_ending_of_its_own() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, FtSyncError)}
    assert set(exits.ENDINGS) == kinds - {FtSyncError}


def test_every_ending_is_in_the_table_of_exit_codes() -> None:
    assert {ending.exit_code for ending in exits.ENDINGS.values()} <= set(exits.MEANINGS)


def test_a_new_kind_of_error_ends_as_its_base_does() -> None:
    class ExpiredError(AuthError):
        pass

    assert exits.ending(ExpiredError("too late")) == exits.ENDINGS[AuthError]


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ((), 0),
        ((SYNCED, SKIPPED), 0),
        ((SYNCED, failed(Unavailable("gone"))), 3),
        ((SKIPPED, failed(AuthError("no"))), 3),
        ((failed(NotFound("which?")),), 3),
        ((failed(AuthError("no")), failed(NotLoggedIn("no key"))), 4),
        ((failed(Unavailable("gone")), failed(Unavailable("gone"))), 5),
        ((failed(Unavailable("gone")), failed(AuthError("no"))), 3),
        ((failed(BadData("what?")),), 3),
    ],
)
def test_outcomes_decide_the_exit_code(outcomes: tuple[JobOutcome, ...], code: int) -> None:
    assert exits.of_report(SyncReport(outcomes)) == code


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ((), 0),
        ((IDENTICAL, SKIPPED), 0),
        ((IDENTICAL, Missing(ONE, "not in W&B yet")), 3),
        ((IDENTICAL, Differs(ONE, RunId("ftjob-1"), ())), 3),
        ((IDENTICAL, unreadable(Unavailable("gone"))), 3),
        ((unreadable(Unavailable("gone")), unreadable(Unavailable("gone"))), 5),
        ((unreadable(AuthError("no")),), 4),
        ((unreadable(NotFound("which?")),), 3),
    ],
)
def test_verdicts_decide_the_exit_code(verdicts: tuple[Verdict, ...], code: int) -> None:
    assert exits.of_verification(Verification(verdicts)) == code


def test_a_job_that_ended_badly_weighs_more_than_one_still_running() -> None:
    assert exits.of_report(SyncReport((SKIPPED,), ended_badly=(ONE,), timed_out=(ONE,))) == 6


def test_a_failure_weighs_more_than_a_job_that_ended_badly() -> None:
    assert exits.of_report(SyncReport((SKIPPED, failed(NotFound("which?"))), ended_badly=(ONE,))) == 3


def test_running_out_of_time_is_8() -> None:
    assert exits.of_report(SyncReport((SKIPPED,), timed_out=(ONE,))) == 8


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ((), 0),
        ((NotFound("which?"),), 3),
        ((ConfigError("what?"), NotFound("which?")), 2),
        ((ConfigError("what?"), Unavailable("gone")), 5),
        ((Unavailable("gone"), AuthError("no"), ConfigError("what?")), 4),
        ((AuthError("no"), Unexpected("a bug")), 1),
    ],
)
def test_the_worst_failure_of_a_diagnosis_decides(given: tuple[FtSyncError, ...], code: int) -> None:
    failed = [Check("one", "failed", error.message, None, error) for error in given]
    fine = [Check("two", "ok", "well"), Check("three", "warning", "not quite"), Check("four", "skipped", "unchecked")]
    assert exits.of_diagnosis([*fine, *failed]) == code
