"""The engine against services in memory: what is asked, what is written, and that one job never costs another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ft_sync import verify
from ft_sync.datasets import DatasetFormat, DatasetSummary
from ft_sync.engine import sync
from ft_sync.errors import AuthError, IdTaken, NotFound, SinkRejected, Unavailable, Unexpected
from ft_sync.events import Event, Noted, Planned, Settled
from ft_sync.follow import Patience
from ft_sync.models import (
    Create,
    Failed,
    FileId,
    Job,
    JobId,
    JobStatus,
    Origin,
    RunId,
    RunState,
    Skipped,
    Synced,
    SyncReport,
)
from ft_sync.plan import Rule
from ft_sync.planning import Request, Selection, preview
from tests.builders import at, job
from tests.fakes import FakeClock, FakeSink, FakeSource, complete_run

if TYPE_CHECKING:
    from collections.abc import Callable

RUNNING = JobStatus("running")


def jobs(count: int) -> list[Job]:
    """So many succeeded jobs, oldest first."""
    return [job(f"ftjob-{n}", created_at=at(n)) for n in range(1, count + 1)]


def run(
    source: FakeSource,
    sink: FakeSink,
    request: Request | None = None,
    clock: FakeClock | None = None,
    observe: Callable[[Event], None] = lambda _: None,
) -> SyncReport:
    return sync(source, sink, clock or FakeClock(), request or Request(), observe)


def test_every_job_arrives_oldest_first() -> None:
    sink = FakeSink()
    report = run(FakeSource(jobs(3)), sink)
    assert list(sink.runs) == ["ftjob-1", "ftjob-2", "ftjob-3"]
    assert [outcome.job_id for outcome in report.synced] == ["ftjob-1", "ftjob-2", "ftjob-3"]


def test_a_run_gets_rows_dataset_model_and_mark() -> None:
    sink = FakeSink()
    run(FakeSource(jobs(1)), sink)
    written = sink.runs[next(iter(sink.runs))]
    assert [(row.step, dict(row.metrics)) for row in written.rows] == [
        (1, {"train_loss": 0.9}),
        (2, {"train_loss": 0.5}),
    ]
    assert (written.datasets, written.has_model, written.exit_code) == (["file-train"], True, 0)
    assert set(written.files) == {"fine_tuning/job.json", "fine_tuning/result_files/file-result/content"}
    assert written.mark is not None
    assert written.mark.rows == 2


def test_the_last_n_are_the_newest() -> None:
    sink = FakeSink()
    run(FakeSource(jobs(9)), sink, Request(Selection(last=2)))
    assert list(sink.runs) == ["ftjob-8", "ftjob-9"]


def test_named_jobs_are_taken_once_and_in_the_order_given() -> None:
    sink = FakeSink()
    run(FakeSource(jobs(3)), sink, Request(Selection((JobId("ftjob-3"), JobId("ftjob-1"), JobId("ftjob-3")))))
    assert list(sink.runs) == ["ftjob-3", "ftjob-1"]


def test_syncing_twice_is_syncing_once() -> None:
    source, sink = FakeSource(jobs(3)), FakeSink()
    run(source, sink)
    source.asked.clear()
    sink.questions.clear()
    report = run(source, sink)
    assert {type(outcome) for outcome in report.outcomes} == {Skipped}
    assert (source.asked, len(sink.questions)) == (["jobs"], 1)


def test_a_job_that_cannot_be_read_stops_no_other() -> None:
    source, sink = FakeSource(jobs(3)), FakeSink()
    source.broken["ftjob-2"] = Unavailable("down")
    report = run(source, sink)
    assert [outcome.job_id for outcome in report.synced] == ["ftjob-1", "ftjob-3"]
    assert [outcome.job_id for outcome in report.failed] == ["ftjob-2"]


def test_a_bug_met_in_one_job_stops_no_other() -> None:
    source = FakeSource(jobs(2))
    source.broken["ftjob-1"] = ZeroDivisionError("oops")
    report = run(source, FakeSink())
    assert isinstance(report.failed[0].error, Unexpected)
    assert isinstance(report.failed[0].error.__cause__, ZeroDivisionError)
    assert [outcome.job_id for outcome in report.synced] == ["ftjob-2"]


def test_an_unknown_job_is_a_failure_of_its_own() -> None:
    source = FakeSource(jobs(1))
    source.broken["ftjob-typo"] = NotFound("no such job")
    report = run(source, FakeSink(), Request(Selection((JobId("ftjob-typo"), JobId("ftjob-1")))))
    assert [type(outcome) for outcome in report.outcomes] == [Failed, Synced]


def test_a_refused_key_ends_the_sync_at_once() -> None:
    source = FakeSource(jobs(1))
    source.broken["ftjob-1"] = AuthError("no")
    with pytest.raises(AuthError):
        run(source, FakeSink(), Request(Selection((JobId("ftjob-1"),))))


def test_a_sink_that_cannot_be_asked_is_an_error_and_nothing_is_written() -> None:
    sink = FakeSink()
    sink.broken = Unavailable("down")
    with pytest.raises(Unavailable):
        run(FakeSource(jobs(1)), sink)
    assert sink.runs == {}


def test_a_dataset_that_cannot_be_had_costs_only_itself_and_is_named() -> None:
    source, sink = FakeSource(jobs(1)), FakeSink()
    source.broken["file-train"] = NotFound("gone")
    (outcome,) = run(source, sink).outcomes
    assert isinstance(outcome, Synced)
    assert outcome.notes == ("file file-train could not be had: gone",)


def test_a_dataset_that_may_be_had_later_costs_the_job_so_that_it_is_synced_again() -> None:
    source, sink = FakeSource(jobs(1)), FakeSink()
    source.broken["file-train"] = Unavailable("down")
    assert [outcome.job_id for outcome in run(source, sink).failed] == ["ftjob-1"]
    assert sink.runs == {}


def test_a_file_of_many_jobs_is_downloaded_once() -> None:
    source, sink = FakeSource(jobs(3)), FakeSink()
    sink.forgets_datasets = True  # such as offline
    run(source, sink)
    assert source.asked.count("download file-train") == 1
    assert [written.datasets for written in sink.runs.values()] == [["file-train"]] * 3


def test_a_file_that_is_refused_is_asked_for_once() -> None:
    source = FakeSource(jobs(3))
    source.broken["file-train"] = NotFound("gone")
    run(source, FakeSink())
    assert source.asked.count("download file-train") == 1


def test_a_file_that_the_sink_holds_is_not_downloaded() -> None:
    source, sink = FakeSource(jobs(1)), FakeSink()
    sink.datasets["train", FileId("file-train")] = DatasetSummary(DatasetFormat.CHAT, 1, 1)
    run(source, sink)
    assert "download file-train" not in source.asked
    assert sink.runs[RunId("ftjob-1")].datasets == ["file-train"]


def test_without_datasets_no_file_is_downloaded() -> None:
    source = FakeSource(jobs(1))
    run(source, FakeSink(), Request(log_datasets=False))
    assert "download file-train" not in source.asked


def test_a_run_that_the_sink_does_not_hold_afterwards_is_a_failure() -> None:
    sink, clock = FakeSink(), FakeClock()
    sink.loses.add("ftjob-1")
    report = run(FakeSource(jobs(2)), sink, clock=clock)
    assert isinstance(report.failed[0].error, SinkRejected)
    assert [outcome.job_id for outcome in report.synced] == ["ftjob-2"]
    assert clock.sleeps == list(verify.PAUSES)


def test_the_runs_just_written_are_asked_for_at_once() -> None:
    sink = FakeSink()
    run(FakeSource(jobs(5)), sink)
    assert len(sink.questions) == 2


def test_a_replaced_run_goes_only_after_the_new_one_is_verified() -> None:
    sink = FakeSink([complete_run(job("ftjob-1"))])
    run(FakeSource(jobs(1)), sink, Request(rule=Rule(overwrite=True)))
    assert sink.deleted == ["ftjob-1"]
    assert list(sink.held) == ["ftjob-1-r2"]


def test_a_replaced_run_stays_when_the_new_one_is_lost() -> None:
    sink = FakeSink([complete_run(job("ftjob-1"))])
    sink.loses.add("ftjob-1-r2")
    run(FakeSource(jobs(1)), sink, Request(rule=Rule(overwrite=True)))
    assert sink.deleted == []


def test_a_job_whose_run_was_deleted_arrives_under_the_next_free_id() -> None:
    sink = FakeSink()
    sink.taken |= {"ftjob-1", "ftjob-1-r2"}
    (outcome,) = run(FakeSource(jobs(1)), sink).synced
    assert outcome.run_id == "ftjob-1-r3"
    assert "ftjob-1 cannot be had" in outcome.reason


def test_a_job_of_which_every_id_is_taken_fails() -> None:
    sink = FakeSink()
    sink.taken |= {"ftjob-1", *(f"ftjob-1-r{number}" for number in range(2, 20))}
    (failure,) = run(FakeSource(jobs(1)), sink).failed
    assert isinstance(failure.error, IdTaken)


def test_a_replaced_run_is_kept_when_that_is_asked_for() -> None:
    sink = FakeSink([complete_run(job("ftjob-1"))])
    run(FakeSource(jobs(1)), sink, Request(rule=Rule(overwrite=True), keep_replaced=True))
    assert sink.deleted == []
    assert [state.is_replaced for state in sink.held.values()] == [True, False]


def cut_off() -> RunState:
    return complete_run(job("ftjob-1"), mark=None, rows=1)


def test_a_run_that_was_cut_off_gets_the_rows_that_it_lacks() -> None:
    sink = FakeSink([cut_off()])
    sink.prefixes[RunId("ftjob-1")] = 1
    (outcome,) = run(FakeSource(jobs(1)), sink).synced
    assert (outcome.run_id, outcome.rows) == ("ftjob-1", 2)
    assert [row.step for row in sink.runs[RunId("ftjob-1")].rows] == [2]


def test_a_run_that_was_cut_off_and_holds_something_else_is_replaced() -> None:
    sink = FakeSink([cut_off()])
    (outcome,) = run(FakeSource(jobs(1)), sink).synced
    assert outcome.run_id == "ftjob-1-r2"
    assert sink.deleted == ["ftjob-1"]


def test_a_run_of_openais_own_integration_gets_no_rows() -> None:
    sink = FakeSink([complete_run(job("ftjob-1"), origin=Origin.NATIVE, mark=None)])
    (outcome,) = run(FakeSource(jobs(1)), sink).synced
    assert outcome.run_id == "ftjob-1"
    assert sink.runs[RunId("ftjob-1")].rows == []


def test_latest_is_the_newest_job_that_the_sink_holds() -> None:
    sink = FakeSink()
    run(FakeSource(jobs(3)), sink, Request(Selection(last=1)))
    run(FakeSource(jobs(3)), sink)
    assert sink.latest == "ftjob-3"


def test_the_models_of_synced_and_of_complete_jobs_are_linked() -> None:
    sink = FakeSink([complete_run(job("ftjob-1"))])
    run(FakeSource(jobs(2)), sink, Request(links=("model/support",), link_aliases=("production",)))
    assert sink.links == [(job_id, "model/support", ("production",)) for job_id in ("ftjob-1", "ftjob-2")]


def test_a_job_that_cannot_be_linked_has_failed() -> None:
    sink = FakeSink()
    sink.broken_link = NotFound("no such registry")
    report = run(FakeSource(jobs(1)), sink, Request(links=("model/support",)))
    assert [failed.error.message for failed in report.failed] == ["no such registry"]


def test_leftovers_of_a_rewrite_that_was_cut_off_are_removed() -> None:
    old, new = complete_run(job("ftjob-1")), complete_run(job("ftjob-1"), "ftjob-1-r2")
    sink = FakeSink([old, new])
    run(FakeSource(jobs(1)), sink)
    assert sink.deleted == ["ftjob-1"]


def test_a_job_that_succeeds_while_it_is_waited_for_is_synced() -> None:
    source, sink = FakeSource([job(status=RUNNING)]), FakeSink()
    clock = FakeClock(at_sleep=lambda: source.jobs_by_id.update({JobId("ftjob-1"): job()}))
    report = run(source, sink, clock=clock)
    assert [type(outcome) for outcome in report.outcomes] == [Synced]


def test_a_job_that_fails_while_it_is_waited_for_is_reported_as_ended_badly() -> None:
    source = FakeSource([job(status=RUNNING)])
    failed = job(status=JobStatus("failed"))
    clock = FakeClock(at_sleep=lambda: source.jobs_by_id.update({failed.id: failed}))
    report = run(source, FakeSink(), clock=clock)
    assert report.ended_badly == ("ftjob-1",)
    assert [outcome.status for outcome in report.synced] == ["failed"]


def test_a_job_still_running_at_the_timeout_is_reported_as_timed_out() -> None:
    report = run(FakeSource([job(status=RUNNING)]), FakeSink(), Request(patience=Patience(60, 150)))
    assert report.timed_out == ("ftjob-1",)
    assert [type(outcome) for outcome in report.outcomes] == [Skipped]


def test_finished_jobs_do_not_wait_for_unfinished_ones() -> None:
    source, sink = FakeSource([job("ftjob-old", status=RUNNING, created_at=at(0)), *jobs(1)]), FakeSink()
    written_before_waiting: list[str] = []
    clock = FakeClock(
        at_sleep=lambda: written_before_waiting.extend(run_id for run_id, held in sink.runs.items() if held.mark)
    )
    run(source, sink, Request(patience=Patience(60, 60)), clock)
    assert written_before_waiting == ["ftjob-1"]


def test_a_preview_says_what_would_be_done_and_writes_nothing() -> None:
    sink = FakeSink()
    planned = preview(FakeSource(jobs(2)), sink, Selection(), Rule())
    assert [type(step) for step in planned.plans] == [Create, Create]
    assert sink.runs == {}


def test_observers_hear_the_plan_first_and_each_outcome_once() -> None:
    source = FakeSource(jobs(2))
    source.broken[FileId("file-train")] = NotFound("gone")
    heard: list[Event] = []
    report = run(source, FakeSink(), observe=heard.append)
    assert isinstance(heard[0], Planned)
    assert tuple(event.outcome for event in heard if isinstance(event, Settled)) == report.outcomes
    assert len([event for event in heard if isinstance(event, Noted)]) == 2
