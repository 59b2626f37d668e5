"""Jobs that are followed while they run, by whole syncs: when they are asked for, and what they end as."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from ft_sync.engine import THREADS, sync
from ft_sync.errors import Forbidden, FtSyncError, NotFound, Refused, Unavailable
from ft_sync.events import Delayed, Event, Noted, Waiting
from ft_sync.follow import Patience
from ft_sync.models import Failed, FileId, JobId, JobStatus, RunId, Skipped, Synced, SyncReport
from ft_sync.planning import Request, Selection
from tests.builders import at, event, job
from tests.fakes import FakeClock, FakeSink, FakeSource, complete_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from ft_sync.models import Job

RUNNING, FAILED, CANCELLED = (JobStatus(word) for word in ("running", "failed", "cancelled"))
ONE, AGAIN = RunId("ftjob-1"), RunId("ftjob-1-r2")
RESULT = FileId("file-result")
LOSSES = b"step,train_loss\n1,1.0\n2,1.0\n3,1.0\n"
"""What the events of the tests tell, too."""


def running(count: int) -> list[Job]:
    return [job(f"ftjob-{n}", status=RUNNING, created_at=at(n)) for n in range(1, count + 1)]


def run(
    source: FakeSource,
    sink: FakeSink,
    *polls: Callable[[], object],
    patience: Patience | None = None,
    heard: list[Event] | None = None,
    job_ids: tuple[JobId, ...] = (),
) -> tuple[SyncReport, FakeClock]:
    """Sync, with something happening before each poll."""
    to_come = iter(polls)

    def at_sleep() -> None:
        next(to_come, nothing)()

    clock = FakeClock(at_sleep=at_sleep)
    observe = (heard if heard is not None else []).append
    request = Request(Selection(job_ids or None), patience=patience or Patience())
    return sync(source, sink, clock, request, observe), clock


def become(source: FakeSource, *jobs: Job) -> Callable[[], None]:
    return lambda: source.jobs_by_id.update({one.id: one for one in jobs})


def nothing() -> None:
    """Let a poll find everything as it was."""


# Polls


def test_one_listing_a_poll_serves_all_jobs() -> None:
    source = FakeSource(running(20))
    report, clock = run(source, FakeSink(), patience=Patience(60, 180))
    assert clock.sleeps == [60, 60, 60]
    assert source.asked.count("jobs") == 1 + 3
    assert not [words for words in source.asked if words.startswith("job ")]
    assert len(report.timed_out) == 20


def test_each_poll_asks_for_the_new_events_of_running_jobs_alone() -> None:
    source = FakeSource([*running(1), job("ftjob-2", status=JobStatus("queued"))])
    source.events_by_id[JobId("ftjob-1")] = [event(1)]
    run(source, FakeSink(), patience=Patience(60, 90))
    assert [words for words in source.asked if words.startswith("events")] == [
        "events ftjob-1",
        "events ftjob-1 after ftevent-1",
    ]


def test_the_last_pause_is_cut_to_the_timeout() -> None:
    _, clock = run(FakeSource(running(1)), FakeSink(), patience=Patience(60, 90))
    assert clock.sleeps == [60, 30]


def test_a_listing_that_fails_is_told_and_asked_again() -> None:
    source, heard = FakeSource(running(1)), list[Event]()

    def goes_away() -> None:
        source.broken["jobs"] = Unavailable("away")

    def comes_back() -> None:
        source.broken.clear()
        source.jobs_by_id[JobId("ftjob-1")] = job()

    report, _ = run(source, FakeSink(), goes_away, nothing, comes_back, heard=heard)
    assert [outcome.status for outcome in report.synced] == ["succeeded"]
    assert [one for one in heard if isinstance(one, Delayed)] == [Delayed("away", 60)] * 2


@pytest.mark.parametrize("word", ["paused", "pending", "pausing", "resuming", "word-of-tomorrow"])
def test_unknown_states_are_waited_for_and_told(word: str) -> None:
    source, heard = FakeSource([job(status=JobStatus(word))]), list[Event]()
    report, _ = run(source, FakeSink(), nothing, become(source, job()), heard=heard)
    assert [one.job.status for one in heard if isinstance(one, Waiting)] == [word, word]
    assert [type(outcome) for outcome in report.outcomes] == [Synced]


def test_a_followed_job_beyond_the_first_page_is_found() -> None:
    source = FakeSource(running(1))
    listed: list[Job] = []
    source.jobs = lambda **_: iter(listed)  # type: ignore[method-assign]
    report, _ = run(source, FakeSink(), become(source, job()), job_ids=(JobId("ftjob-1"),))
    assert [outcome.job_id for outcome in report.synced] == ["ftjob-1"]


# From the first metric to the end


def live(
    *polls: Callable[[FakeSource], None], results: bytes = LOSSES, ended: Job | None = None
) -> tuple[FakeSource, FakeSink, SyncReport, list[list[int]]]:
    """Follow a job through polls and to its end; return also the steps that its run held before each poll."""
    source, sink = FakeSource(running(1)), FakeSink()
    source.results[RESULT] = results
    seen: list[list[int]] = []

    def seeing(poll: Callable[[FakeSource], None]) -> Callable[[], None]:
        def happens() -> None:
            seen.append(list(sink.runs[ONE].steps))
            poll(source)

        return happens

    def ends(of: FakeSource) -> None:
        become(of, ended or job())()

    report, _ = run(source, sink, *map(seeing, (*polls, ends)))
    return source, sink, report, seen


def reports(*steps: int) -> Callable[[FakeSource], None]:
    def poll(source: FakeSource) -> None:
        source.events_by_id[JobId("ftjob-1")] += [event(step) for step in steps]

    return poll


def content(sink: FakeSink, run_id: RunId) -> tuple[object, ...]:
    held = sink.runs[run_id]
    return held.rows, held.lines, held.files, held.datasets, held.has_model, held.mark, held.exit_code


def synced_at_its_end(source: FakeSource) -> tuple[object, ...]:
    """What the run of the job is when it is synced for the first time after its end."""
    fresh = FakeSink()
    run(source, fresh)
    return content(fresh, ONE)


def test_metrics_arrive_at_each_poll_and_the_end_completes_the_run() -> None:
    source, sink, report, seen = live(reports(1), reports(2), reports(3))
    assert seen == [[], [1], [1, 2], [1, 2, 3]]
    assert sink.did.count("open ftjob-1") == 2
    assert list(sink.held) == [ONE]
    assert sink.held[ONE].is_complete
    assert content(sink, ONE) == synced_at_its_end(source)
    assert [type(outcome) for outcome in report.outcomes] == [Synced]


def test_rows_that_no_event_had_are_added_at_the_end() -> None:
    source, sink, _, seen = live(reports(1))
    assert seen == [[], [1]]
    assert list(sink.held) == [ONE]
    assert content(sink, ONE) == synced_at_its_end(source)
    assert sink.runs[ONE].steps == [1, 2, 3]


def test_steps_that_came_with_the_end_are_brought_once() -> None:
    def last_ones_and_the_end(source: FakeSource) -> None:
        reports(2, 3)(source)
        become(source, job())()

    source, sink, _, _ = live(reports(1), last_ones_and_the_end)
    assert sink.runs[ONE].steps == [1, 2, 3]
    assert content(sink, ONE) == synced_at_its_end(source)


def test_a_run_to_which_the_end_adds_earlier_steps_is_written_again_once_and_the_old_one_goes() -> None:
    source, sink, report, seen = live(reports(2), reports(3))
    assert seen == [[], [2], [2, 3]]
    assert list(sink.held) == [AGAIN]
    assert sink.deleted == [ONE]
    assert sink.did.index("complete ftjob-1-r2") < sink.did.index("delete ftjob-1")
    assert content(sink, AGAIN) == synced_at_its_end(source)
    assert [outcome.run_id for outcome in report.synced] == [AGAIN]


@pytest.mark.parametrize("status", [FAILED, CANCELLED])
def test_a_job_that_ends_badly_while_it_is_followed_has_a_failed_run_with_all_that_there_was(status: JobStatus) -> None:
    ended = job(status=status, fine_tuned_model=None, result_files=())
    source, sink, report, _ = live(reports(1), reports(2), ended=ended)
    assert report.ended_badly == ("ftjob-1",)
    assert [outcome.status for outcome in report.synced] == [status]
    assert (sink.runs[ONE].steps, sink.runs[ONE].exit_code, sink.held[ONE].state) == ([1, 2], 1, "failed")
    assert sink.held[ONE].is_complete
    del source


def test_a_job_that_succeeds_without_a_live_run_is_synced_as_any_other() -> None:
    source, sink = FakeSource(running(1)), FakeSink()
    sink.goes_on = False
    writes: list[list[str]] = []
    report, _ = run(source, sink, lambda: writes.append(list(sink.did)), become(source, job()))
    assert writes == [[]]
    assert sink.did.count("open ftjob-1") == 1
    assert [type(outcome) for outcome in report.outcomes] == [Synced]


def test_a_run_that_was_cut_off_while_its_job_ran_is_gone_on_with() -> None:
    source, sink = FakeSource(running(1)), FakeSink()
    source.results[RESULT] = LOSSES
    reports(1)(source)
    run(source, sink, patience=Patience(60, 60))
    assert sink.held[ONE].state == "failed"
    reports(2)(source)
    run(source, sink, lambda: reports(3)(source), become(source, job()))
    assert list(sink.held) == [ONE]
    assert content(sink, ONE) == synced_at_its_end(source)


# How it ends otherwise


def test_the_timeout_abandons_live_runs() -> None:
    source, sink = FakeSource(running(2)), FakeSink()
    for one in source.jobs_by_id:
        source.events_by_id[one] = [event(1)]
    report, _ = run(source, sink, patience=Patience(60, 150))
    assert sorted(report.timed_out) == ["ftjob-1", "ftjob-2"]
    assert {type(outcome) for outcome in report.outcomes} == {Skipped}
    assert all(isinstance(outcome, Skipped) and outcome.unfinished for outcome in report.outcomes)
    assert [(held.steps, held.exit_code, held.mark) for held in sink.runs.values()] == [([1], 1, None)] * 2


def test_a_job_that_vanishes_fails_alone() -> None:
    source, sink = FakeSource(running(2)), FakeSink()

    def vanishes() -> None:
        del source.jobs_by_id[JobId("ftjob-1")]

    report, _ = run(source, sink, vanishes, nothing, become(source, job("ftjob-2")))
    outcomes = {outcome.job_id: outcome for outcome in report.outcomes}
    lost = outcomes[JobId("ftjob-1")]
    assert isinstance(lost, Failed)
    assert isinstance(lost.error, NotFound)
    assert isinstance(outcomes[JobId("ftjob-2")], Synced)
    assert (sink.runs[ONE].exit_code, source.asked.count("job ftjob-1")) == (1, 1)


@pytest.mark.parametrize("error", [Refused("400: no such job"), Forbidden("403: not yours")])
def test_a_job_that_is_refused_when_it_has_left_the_listing_fails_alone(error: FtSyncError) -> None:
    source, sink = FakeSource(running(2)), FakeSink()

    def vanishes() -> None:
        del source.jobs_by_id[JobId("ftjob-1")]
        source.broken["ftjob-1"] = error

    report, _ = run(source, sink, vanishes, become(source, job("ftjob-2")))
    assert [(failed.job_id, failed.error) for failed in report.failed] == [("ftjob-1", error)]
    assert [synced.job_id for synced in report.synced] == ["ftjob-2"]


def test_a_job_beyond_the_listing_that_cannot_be_had_for_now_holds_up_no_other() -> None:
    source, sink = FakeSource(running(2)), FakeSink()
    first = source.jobs_by_id[JobId("ftjob-1")]
    heard: list[Event] = []

    def vanishes() -> None:
        del source.jobs_by_id[first.id]
        source.broken[first.id] = Unavailable("502")
        source.jobs_by_id[JobId("ftjob-2")] = job("ftjob-2")

    def is_back() -> None:
        assert [run_id for run_id, held in sink.held.items() if held.is_complete] == ["ftjob-2"]
        del source.broken[first.id]
        source.jobs_by_id[first.id] = job("ftjob-1")

    report, _ = run(source, sink, vanishes, is_back, heard=heard)
    assert len(report.synced) == 2
    assert Noted(first.id, "502; trying again at the next poll") in heard


def test_finished_jobs_do_not_wait_for_unfinished_ones() -> None:
    source, sink = FakeSource([job("ftjob-old", status=RUNNING, created_at=at(0)), job()]), FakeSink()
    complete: list[list[RunId]] = []
    run(
        source,
        sink,
        lambda: complete.append([run_id for run_id, held in sink.held.items() if held.is_complete]),
        patience=Patience(60, 60),
    )
    assert complete == [[ONE]]


def test_64_jobs_that_end_at_the_same_poll_are_planned_and_verified_by_one_question_each() -> None:
    source, sink = FakeSource(running(64)), FakeSink()
    done = [job(one.id, created_at=one.created_at) for one in source.jobs_by_id.values()]
    report, _ = run(source, sink, nothing, become(source, *done))
    assert len(report.synced) == 64
    assert [len(question) for question in sink.questions] == [64, 64, 64]
    assert all(held.is_complete for held in sink.held.values())


def test_hundreds_of_jobs_are_followed_without_a_thread_for_each() -> None:
    source, sink = FakeSource(running(200)), FakeSink()
    before = threading.active_count()
    counts: list[int] = []
    run(source, sink, lambda: counts.append(threading.active_count() - before), patience=Patience(60, 60))
    assert counts
    assert max(counts) <= 2 * THREADS * Request().concurrency


def test_a_live_run_that_breaks_is_noted_and_the_job_arrives_in_the_end() -> None:
    source, sink, heard = FakeSource(running(1)), FakeSink(), list[Event]()

    def bug(words: str) -> None:
        if words == "open ftjob-1":
            raise ZeroDivisionError("oops")

    def ends() -> None:
        sink.happens = lambda _: None
        source.jobs_by_id[JobId("ftjob-1")] = job()

    sink.happens = bug
    report, _ = run(source, sink, nothing, ends, heard=heard)
    assert any("oops" in one.message for one in heard if isinstance(one, Noted))
    assert [type(outcome) for outcome in report.outcomes] == [Synced]


def test_wandb_that_is_away_when_jobs_end_costs_those_jobs_and_no_other() -> None:
    source, sink = FakeSource(running(2)), FakeSink([complete_run(job("ftjob-3"))])
    source.jobs_by_id[JobId("ftjob-3")] = job("ftjob-3", created_at=at(0))

    def ends() -> None:
        source.jobs_by_id[JobId("ftjob-1")] = job()
        sink.broken = Unavailable("away")

    def comes_back() -> None:
        sink.broken = None
        source.jobs_by_id[JobId("ftjob-2")] = job("ftjob-2")

    report, _ = run(source, sink, ends, comes_back)
    assert {outcome.job_id: type(outcome) for outcome in report.outcomes} == {
        "ftjob-1": Failed,
        "ftjob-2": Synced,
        "ftjob-3": Skipped,
    }


def test_the_clock_is_not_asked_all_the_time_while_runs_are_closed_after_the_timeout() -> None:
    class CountingClock(FakeClock):
        asked = 0

        def now(self) -> float:
            self.asked += 1
            return super().now()

    source, sink, clock = FakeSource(running(1)), FakeSink(), CountingClock()

    def closes_slowly(words: str) -> None:
        if words == "close ftjob-1":
            time.sleep(0.02)

    sink.happens = closes_slowly
    sync(source, sink, clock, Request(patience=Patience(60, 60)), lambda _: None)
    assert clock.asked < 50
