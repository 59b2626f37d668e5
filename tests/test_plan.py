"""What is decided for a job, given the runs that W&B holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ft_sync.models import (
    UNKNOWN,
    UNREADABLE,
    Create,
    Enrich,
    Extend,
    JobError,
    JobStatus,
    Mark,
    Origin,
    Replace,
    RunId,
    RunState,
    Skip,
    SyncState,
    Wait,
)
from ft_sync.names import run_id
from ft_sync.plan import Rule, current, plan, sync_state
from tests.builders import job
from tests.fakes import complete_run

SYNC = Rule()
RESYNC = Rule(renew=True)
OVERWRITE = Rule(overwrite=True)


def run(origin: Origin, run_id: str = "ftjob-1", status: str | None = None, mark: Mark | None = None) -> RunState:
    return RunState(RunId(run_id), job().id, origin, "finished", status, mark, 0, "url")


def test_a_job_without_a_run_is_created_under_its_own_id() -> None:
    assert plan(job(), (), SYNC) == Create(job(), RunId("ftjob-1"), "not in W&B yet")


@pytest.mark.parametrize("status", ["running", "queued", "validating_files", "paused", "never-seen-before"])
def test_a_job_in_any_unfinished_state_is_waited_for(status: str) -> None:
    assert isinstance(plan(job(status=JobStatus(status)), (), SYNC), Wait)


def test_an_unfinished_job_is_skipped_when_waiting_is_not_wanted() -> None:
    step = plan(job(status=JobStatus("running")), (), Rule(wait=False))
    assert isinstance(step, Skip)
    assert step.unfinished


def test_a_failed_job_is_skipped_with_the_reason_that_the_service_gives() -> None:
    failed = job(status=JobStatus("failed"), error=JobError("invalid", "line 17 is broken"))
    assert plan(failed, (), SYNC) == Skip(failed, "failed: line 17 is broken (--include-unsuccessful brings it)")


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_an_unsuccessful_job_is_created_when_it_is_asked_for(status: str) -> None:
    assert isinstance(plan(job(status=JobStatus(status)), (), Rule(include_unsuccessful=True)), Create)


def test_an_unsuccessful_job_that_is_there_already_is_left_alone() -> None:
    failed = job(status=JobStatus("failed"))
    assert isinstance(plan(failed, (complete_run(failed),), Rule(include_unsuccessful=True)), Skip)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_an_unsuccessful_job_that_was_brought_once_is_treated_like_any_other(status: str) -> None:
    failed = job(status=JobStatus(status))
    held = complete_run(failed)
    assert plan(failed, (held,), SYNC) == Skip(failed, "already complete", held)
    assert isinstance(plan(failed, (run(Origin.FTSYNC),), SYNC), Extend)
    assert isinstance(plan(failed, (held,), OVERWRITE), Replace)


def test_an_unsuccessful_job_that_others_logged_is_brought_only_when_it_is_asked_for() -> None:
    failed = job(status=JobStatus("failed"))
    assert isinstance(plan(failed, (run(Origin.NATIVE),), SYNC), Skip)
    assert isinstance(plan(failed, (run(Origin.NATIVE),), Rule(include_unsuccessful=True)), Enrich)


@pytest.mark.parametrize("rule", [SYNC, RESYNC, OVERWRITE])
@pytest.mark.parametrize("run_id", ["my-eval", "ftjob-1-eval", "ftjob-10", "eval-ftjob-1-r2"])
def test_a_run_of_the_users_that_names_the_job_in_its_config_is_none_of_the_jobs(rule: Rule, run_id: str) -> None:
    theirs = replace(run(Origin.FTSYNC, run_id), being_written=True)
    assert plan(job(), (theirs,), rule) == Create(job(), RunId("ftjob-1"), "not in W&B yet")
    assert sync_state((theirs,)) is SyncState.ABSENT
    held = complete_run(job())
    assert current((theirs, held)) == held
    assert plan(job(), (held, theirs), rule) == plan(job(), (held,), rule)


@pytest.mark.parametrize("state", ["running", "crashed"])
def test_a_run_that_holds_all_and_was_never_closed_is_gone_on_with(state: str) -> None:
    assert isinstance(plan(job(), (replace(complete_run(job()), state=state),), SYNC), Extend)


def test_a_run_that_cannot_be_read_is_left_alone_and_its_place_named() -> None:
    damaged = RunState(RunId("ftjob-1"), job().id, Origin.OTHER, UNREADABLE, url="wandb/offline-run-1")
    step = plan(job(), (damaged,), SYNC)
    assert isinstance(step, Skip)
    assert step.reason == "its run in wandb/offline-run-1 cannot be read: move that folder away"


@pytest.mark.parametrize("rule", [SYNC, RESYNC])
def test_a_complete_run_is_left_alone(rule: Rule) -> None:
    assert isinstance(plan(job(), (complete_run(job()),), rule), Skip)


def test_overwrite_replaces_a_complete_run_under_a_new_id() -> None:
    old = complete_run(job())
    step = plan(job(), (old,), OVERWRITE)
    assert isinstance(step, Replace)
    assert (step.run_id, step.replaced) == (RunId("ftjob-1-r2"), (old,))


def test_a_new_id_is_higher_than_every_id_used_before() -> None:
    step = plan(job(), (complete_run(job(), "ftjob-1-r9"), complete_run(job(), "ftjob-1-r10")), OVERWRITE)
    assert isinstance(step, Replace)
    assert step.run_id == "ftjob-1-r11"


def test_a_job_whose_id_cannot_be_a_runs_has_one_run_id_and_its_revisions() -> None:
    strange = job("ft:job/1?")
    first = complete_run(strange, run_id(strange.id))
    step = plan(strange, (first,), OVERWRITE)
    assert isinstance(step, Replace)
    assert (step.run_id, step.replaced) == (run_id(strange.id, 2), (first,))


def test_a_run_without_a_mark_is_gone_on_with_or_else_replaced() -> None:
    cut_off = run(Origin.FTSYNC)
    step = plan(job(), (cut_off,), SYNC)
    assert isinstance(step, Extend)
    assert (step.run_id, step.run) == ("ftjob-1", cut_off)
    assert (step.otherwise.run_id, step.otherwise.replaced) == ("ftjob-1-r2", (cut_off,))


def test_a_run_with_fewer_rows_than_its_mark_says_is_gone_on_with() -> None:
    assert isinstance(plan(job(), (complete_run(job(), rows=1),), SYNC), Extend)


@pytest.mark.parametrize("rule", [SYNC, RESYNC, OVERWRITE])
@pytest.mark.parametrize("origin", Origin)
def test_a_run_that_is_being_written_is_left_alone(rule: Rule, origin: Origin) -> None:
    assert isinstance(plan(job(), (replace(run(origin), being_written=True),), rule), Skip)


def test_a_kept_run_that_was_replaced_counts_no_more_and_its_id_is_not_used_again() -> None:
    kept = complete_run(job(), "ftjob-1-r3", is_replaced=True)
    assert plan(job(), (kept,), SYNC) == Create(job(), RunId("ftjob-1-r4"), "not in W&B yet")
    counts = complete_run(job(), "ftjob-1-r4")
    step = plan(job(), (kept, counts), SYNC)
    assert isinstance(step, Skip)
    assert (step.run, step.leftovers) == (counts, ())
    assert sync_state((kept,)) is SyncState.ABSENT


def test_a_rewrite_replaces_every_run_but_the_kept_ones() -> None:
    kept, counts = complete_run(job(), is_replaced=True), complete_run(job(), "ftjob-1-r2")
    step = plan(job(), (kept, counts), OVERWRITE)
    assert isinstance(step, Replace)
    assert step.replaced == (counts,)


def test_a_run_made_from_another_job_object_is_out_of_date_for_resync_only() -> None:
    outdated = complete_run(job(trained_tokens=1))
    assert isinstance(plan(job(), (outdated,), SYNC), Skip)
    assert isinstance(plan(job(), (outdated,), RESYNC), Replace)


def test_a_finished_run_of_the_predecessor_counts_for_sync_and_is_renewed_by_resync() -> None:
    theirs = run(Origin.WANDB_LOGGER, status="succeeded")
    assert isinstance(plan(job(), (theirs,), SYNC), Skip)
    assert isinstance(plan(job(), (theirs,), RESYNC), Replace)


def test_an_unfinished_run_of_the_predecessor_is_written_again_by_sync() -> None:
    assert isinstance(plan(job(), (run(Origin.WANDB_LOGGER),), SYNC), Replace)


@pytest.mark.parametrize("rule", [SYNC, RESYNC, OVERWRITE])
def test_a_run_of_openais_own_integration_is_enriched(rule: Rule) -> None:
    native = run(Origin.NATIVE)
    step = plan(job(), (native,), rule)
    assert isinstance(step, Enrich)
    assert (step.run_id, step.run) == ("ftjob-1", native)


@pytest.mark.parametrize("rule", [SYNC, RESYNC, OVERWRITE])
def test_a_run_of_openais_own_integration_is_skipped_or_replaced_when_told(rule: Rule) -> None:
    native = (run(Origin.NATIVE),)
    assert isinstance(plan(job(), native, replace(rule, on_native="skip")), Skip)
    assert isinstance(plan(job(), native, replace(rule, on_native="replace")), Replace)


def test_a_run_that_was_enriched_is_left_alone_until_its_job_changes() -> None:
    enriched = complete_run(job(), origin=Origin.NATIVE)
    outdated = complete_run(job(trained_tokens=1), origin=Origin.NATIVE)
    assert isinstance(plan(job(), (enriched,), RESYNC), Skip)
    assert isinstance(plan(job(), (outdated,), SYNC), Skip)
    assert isinstance(plan(job(), (outdated,), RESYNC), Enrich)


def test_an_enriched_run_is_replaced_by_a_resync_that_is_told_to() -> None:
    enriched = complete_run(job(), origin=Origin.NATIVE)
    assert isinstance(plan(job(), (enriched,), replace(SYNC, on_native="replace")), Skip)
    step = plan(job(), (enriched,), replace(RESYNC, on_native="replace"))
    assert isinstance(step, Replace)
    assert step.replaced == (enriched,)


@pytest.mark.parametrize("rule", [SYNC, RESYNC, OVERWRITE])
def test_a_run_that_something_else_made_is_never_touched(rule: Rule) -> None:
    assert isinstance(plan(job(), (run(Origin.OTHER),), rule), Skip)


def test_runs_left_by_a_rewrite_that_was_cut_off_are_named_for_removal() -> None:
    good, cut_off = complete_run(job()), run(Origin.FTSYNC, "ftjob-1-r2")
    step = plan(job(), (good, cut_off), SYNC)
    assert isinstance(step, Skip)
    assert step.leftovers == (cut_off,)


def test_the_newest_complete_run_is_the_one_that_counts() -> None:
    old, new = complete_run(job()), complete_run(job(), "ftjob-1-r2")
    assert current((old, new, run(Origin.FTSYNC, "ftjob-1-r3"))) == new


def test_the_state_of_a_job_is_that_of_its_best_run() -> None:
    incomplete = run(Origin.FTSYNC)
    assert sync_state(()) is SyncState.ABSENT
    assert sync_state((incomplete,)) is SyncState.INCOMPLETE
    assert sync_state((incomplete, complete_run(job()))) is SyncState.COMPLETE


# Into a run of the caller's


INTO = Rule(into=RunId("mine"))


def test_a_run_of_the_callers_takes_a_job_that_has_no_run() -> None:
    assert plan(job(), (), INTO) == Create(job(), RunId("mine"), "into a run of yours")


def test_a_run_of_the_callers_takes_a_job_whose_own_run_is_incomplete() -> None:
    assert isinstance(plan(job(), (run(Origin.FTSYNC),), INTO), Create)


@pytest.mark.parametrize("run_id", ["mine", "ftjob-1"])
def test_a_job_that_is_complete_there_or_in_its_own_run_is_skipped_unless_it_is_to_be_overwritten(run_id: str) -> None:
    complete = replace(complete_run(job()), run_id=RunId(run_id))
    assert plan(job(), (complete,), INTO) == Skip(job(), "already complete", complete)
    assert isinstance(plan(job(), (complete,), replace(INTO, overwrite=True)), Create)


def test_a_failed_job_does_not_go_into_a_run_of_the_callers_unless_it_is_asked_for() -> None:
    failed = job(status=JobStatus("failed"))
    assert isinstance(plan(failed, (), INTO), Skip)
    assert isinstance(plan(failed, (), replace(INTO, include_unsuccessful=True)), Create)


def test_a_job_whose_status_is_not_told_is_not_waited_for() -> None:
    assert plan(job(status=UNKNOWN), (), SYNC) == Skip(
        job(status=UNKNOWN), "the service does not tell its status", unfinished=True
    )
