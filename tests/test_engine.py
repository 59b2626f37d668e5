"""The engine against services in memory: what is asked, what is written, and that one job never costs another."""

from __future__ import annotations

import _thread
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ft_sync import arrival
from ft_sync.datasets import DatasetFormat, DatasetSummary
from ft_sync.engine import THREADS, sync
from ft_sync.errors import (
    Forbidden,
    FtSyncError,
    IdTaken,
    NotFound,
    RunExists,
    SinkRejected,
    Stopped,
    Unavailable,
    Unexpected,
)
from ft_sync.events import Advanced, Delayed, Event, Interrupted, Noted, Planned, Settled
from ft_sync.follow import Patience
from ft_sync.models import (
    Destination,
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
from ft_sync.planning import Request, Selection, Shard
from tests.builders import at, event, job
from tests.fakes import FakeClock, FakeSink, FakeSource, Gauge, complete_run

if TYPE_CHECKING:
    from collections.abc import Callable

RUNNING = JobStatus("running")
ONE = RunId("ftjob-1")
AGAIN = RunId("ftjob-1-r2")
WATCH = Request(patience=Patience(60, watch=True))


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


def synced_in(report: SyncReport) -> set[str]:
    return {outcome.job_id for outcome in report.synced}


def failed_in(report: SyncReport) -> dict[str, type[FtSyncError]]:
    return {outcome.job_id: type(outcome.error) for outcome in report.failed}


def test_every_job_arrives() -> None:
    sink = FakeSink()
    report = run(FakeSource(jobs(3)), sink)
    assert set(sink.runs) == synced_in(report) == {"ftjob-1", "ftjob-2", "ftjob-3"}


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
    assert synced_in(report) == {"ftjob-1", "ftjob-3"}
    assert failed_in(report) == {"ftjob-2": Unavailable}


def test_a_bug_met_in_one_job_stops_no_other() -> None:
    source = FakeSource(jobs(2))
    source.broken["ftjob-1"] = ZeroDivisionError("oops")
    report = run(source, FakeSink())
    assert isinstance(report.failed[0].error, Unexpected)
    assert isinstance(report.failed[0].error.__cause__, ZeroDivisionError)
    assert [outcome.job_id for outcome in report.synced] == ["ftjob-2"]


def test_a_named_job_that_cannot_be_had_is_an_outcome_beside_the_others() -> None:
    report = run(FakeSource(jobs(1)), FakeSink(), Request(Selection((JobId("ftjob-typo"), JobId("ftjob-1")))))
    assert [type(outcome) for outcome in report.outcomes] == [Failed, Synced]


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
    assert sink.runs[ONE].datasets == ["file-train"]


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
    assert clock.sleeps == list(arrival.PAUSES)


def test_a_run_that_is_not_held_completely_is_made_to_count_as_incomplete() -> None:
    sink = FakeSink()
    sink.lost_rows["ftjob-1"] = 1
    report = run(FakeSource(jobs(1)), sink)
    assert report.failed[0].error.message == "W&B does not hold all of the run ftjob-1: 1 of 2 rows"
    assert sink.did[-1] == "reject ftjob-1"
    assert not sink.held[ONE].is_complete


def test_a_run_that_cannot_be_rejected_fails_with_what_it_lacks() -> None:
    sink = FakeSink()
    sink.lost_rows["ftjob-1"] = 1

    def happens(words: str) -> None:
        if words.startswith("reject"):
            raise Unavailable("away")

    sink.happens = happens
    report = run(FakeSource(jobs(1)), sink)
    assert "1 of 2 rows" in report.failed[0].error.message


def test_a_run_whose_end_was_missed_is_ended_once_more() -> None:
    sink = FakeSink()
    sink.left_open = ["ftjob-1"]
    report = run(FakeSource(jobs(1)), sink)
    assert [outcome.run_id for outcome in report.synced] == ["ftjob-1"]
    assert (sink.held[ONE].state, sink.runs[ONE].steps) == ("finished", [1, 2])
    assert sink.did.count("open ftjob-1") == 2


def test_a_run_whose_end_arrives_while_it_is_to_be_ended_once_more_is_synced() -> None:
    sink = FakeSink()
    sink.left_open = ["ftjob-1"]

    def happens(words: str) -> None:
        if words == "open ftjob-1" and ONE in sink.held:
            sink.held[ONE] = replace(sink.held[ONE], state="finished")
            raise RunExists("it is complete", run=sink.held[ONE])

    sink.happens = happens
    report = run(FakeSource(jobs(1)), sink)
    assert [outcome.run_id for outcome in report.synced] == [ONE]


def test_a_run_whose_end_is_missed_again_is_incomplete_and_keeps_its_mark() -> None:
    sink = FakeSink()
    sink.left_open = ["ftjob-1"] * 2
    report = run(FakeSource(jobs(1)), sink)
    assert "has missed the end of the run ftjob-1" in report.failed[0].error.message
    assert (sink.held[ONE].is_complete, sink.held[ONE].holds_all) == (False, True)


def test_where_runs_cannot_be_resumed_a_missed_end_is_a_failure() -> None:
    sink = FakeSink()
    sink.left_open, sink.goes_on = ["ftjob-1"], False
    report = run(FakeSource(jobs(1)), sink)
    assert len(report.failed) == 1
    assert sink.did.count("open ftjob-1") == 1


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
    sink.taken |= {"ftjob-1", *(f"ftjob-1-r{number}" for number in range(2, 30))}
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
    source, sink, whole = FakeSource(jobs(1)), FakeSink([cut_off()]), FakeSink()
    run(source, whole)
    held = sink.runs[ONE]
    held.rows = whole.runs[ONE].rows[:1]
    (outcome,) = run(source, sink).synced
    assert (outcome.run_id, outcome.rows) == ("ftjob-1", 2)
    assert held.rows == whole.runs[ONE].rows


def test_a_run_that_was_cut_off_and_holds_something_else_is_replaced() -> None:
    sink = FakeSink([cut_off()])
    (outcome,) = run(FakeSource(jobs(1)), sink).synced
    assert outcome.run_id == "ftjob-1-r2"
    assert sink.deleted == ["ftjob-1"]


def test_a_run_of_openais_own_integration_gets_no_rows() -> None:
    sink = FakeSink([complete_run(job("ftjob-1"), origin=Origin.NATIVE, mark=None)])
    (outcome,) = run(FakeSource(jobs(1)), sink).synced
    assert outcome.run_id == "ftjob-1"
    assert sink.runs[ONE].steps == [0, 1]


def test_latest_is_the_newest_job_that_the_sink_holds() -> None:
    sink = FakeSink()
    run(FakeSource(jobs(3)), sink, Request(Selection(last=1)))
    run(FakeSource(jobs(3)), sink)
    assert sink.latest == "ftjob-3"


def test_a_sync_is_incomplete_while_latest_may_name_another_job_than_the_newest() -> None:
    sink = FakeSink()
    sink.broken_latest = Unavailable("away", hint="wait")
    report = run(FakeSource(jobs(3)), sink)
    assert [(failed.job_id, failed.error.hint) for failed in report.failed] == [("ftjob-3", "wait")]
    sink.broken_latest = None
    assert run(FakeSource(jobs(3)), sink).failed == ()
    assert sink.latest == "ftjob-3"


def test_the_models_of_synced_and_of_complete_jobs_are_linked() -> None:
    sink = FakeSink([complete_run(job("ftjob-1"))])
    run(FakeSource(jobs(2)), sink, Request(links=("model/support",), link_aliases=("production",)))
    assert sorted(sink.links) == [(job_id, "model/support", ("production",)) for job_id in ("ftjob-1", "ftjob-2")]


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


def test_outcomes_are_reported_in_the_order_of_the_selection_whichever_is_settled_first() -> None:
    heard: list[str] = []

    def observe(event: Event) -> None:
        if isinstance(event, Settled):
            heard.append(event.outcome.job_id)

    report = run(FakeSource(jobs(2)), FakeSink([complete_run(jobs(2)[1])]), observe=observe)
    assert heard == ["ftjob-2", "ftjob-1"]
    assert [outcome.job_id for outcome in report.outcomes] == ["ftjob-1", "ftjob-2"]


def test_observers_hear_the_plan_first_and_each_outcome_once() -> None:
    source = FakeSource(jobs(2))
    source.broken[FileId("file-train")] = NotFound("gone")
    heard: list[Event] = []
    report = run(source, FakeSink(), observe=heard.append)
    assert heard[0] == Destination("fakes", "me")
    assert isinstance(heard[1], Planned)
    told = [event.outcome for event in heard if isinstance(event, Settled)]
    assert (len(told), set(told)) == (2, set(report.outcomes))
    assert len([event for event in heard if isinstance(event, Noted)]) == 2


def test_observers_hear_where_a_run_is_to_be_seen_and_its_last_metrics() -> None:
    heard: list[Event] = []
    run(FakeSource(jobs(1)), FakeSink(), observe=heard.append)
    phases = [event for event in heard if isinstance(event, Advanced)]
    assert [event.phase for event in phases] == ["reading", "metrics", "datasets", "model", "verifying"]
    assert (phases[1].url, phases[1].metrics) == ("memory:ftjob-1", {"train_loss": 0.5})


# A run that is there by now


def exists(sink: FakeSink, *, state: RunState | None = None, of: str = "ftjob-1") -> Callable[[str], None]:
    """Have somebody make a run just before it is opened for the first time."""
    came = threading.Event()

    def happens(words: str) -> None:
        if words == f"open {of}" and not came.is_set():
            came.set()
            if state is None:
                raise RunExists("it is there, though it is not listed yet")
            sink.add(state)

    return happens


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (complete_run(job()), "already complete"),
        (complete_run(job(), mark=None, being_written=True), "being written by another process"),
        (complete_run(job(), mark=None, origin=Origin.OTHER), "made by something else"),
    ],
)
def test_a_run_that_somebody_else_made_meanwhile_is_left_alone(state: RunState, reason: str) -> None:
    sink = FakeSink()
    sink.happens = exists(sink, state=state)
    (outcome,) = run(FakeSource(jobs(1)), sink).skipped
    assert reason in outcome.reason
    assert (sink.held, sink.runs[ONE].steps) == ({ONE: state}, [0, 1])


def test_a_run_that_somebody_else_left_incomplete_meanwhile_is_gone_on_with() -> None:
    sink = FakeSink()
    sink.happens = exists(sink, state=complete_run(job(), mark=None, rows=0))
    (outcome,) = run(FakeSource(jobs(1)), sink).synced
    assert (outcome.run_id, sink.runs[ONE].steps) == (ONE, [1, 2])


def test_a_complete_run_that_is_not_listed_is_left_alone() -> None:
    sink = FakeSink([complete_run(job())])
    sink.unlisted.add("ftjob-1")
    (outcome,) = run(FakeSource(jobs(1)), sink).skipped
    assert (outcome.reason, list(sink.held)) == ("already complete", [ONE])


def test_a_run_that_is_not_listed_is_replaced_if_that_is_asked_for() -> None:
    sink = FakeSink([complete_run(job())])
    sink.unlisted.add("ftjob-1")
    (outcome,) = run(FakeSource(jobs(1)), sink, Request(rule=Rule(overwrite=True))).synced
    assert (outcome.run_id, list(sink.held), sink.deleted) == (AGAIN, [AGAIN], [ONE])


def test_incomplete_runs_that_are_never_listed_are_replaced_one_and_all() -> None:
    rewrites = [complete_run(job(), f"ftjob-1-r{number}", mark=None, rows=1) for number in (2, 3)]
    sink = FakeSink([complete_run(job()), *rewrites])
    sink.unlisted |= {"ftjob-1-r2", "ftjob-1-r3"}
    (outcome,) = run(FakeSource(jobs(1)), sink, Request(rule=Rule(overwrite=True))).synced
    assert (outcome.run_id, list(sink.held)) == ("ftjob-1-r4", ["ftjob-1-r4"])


def test_a_job_whose_id_is_taken_by_a_run_that_is_not_listed_is_written_under_the_next() -> None:
    sink = FakeSink()
    sink.happens = exists(sink)
    (outcome,) = run(FakeSource(jobs(1)), sink).synced
    assert outcome.run_id == AGAIN
    assert list(sink.held) == [AGAIN]


def test_a_run_whose_rewrite_has_an_id_that_is_taken_is_written_again_under_the_next() -> None:
    sink = FakeSink([cut_off()])
    sink.happens = exists(sink, of="ftjob-1-r2")
    (outcome,) = run(FakeSource(jobs(1)), sink).synced
    assert outcome.run_id == "ftjob-1-r3"
    assert list(sink.held) == ["ftjob-1-r3"]


# Many at once


def of_their_own(count: int) -> FakeSource:
    """So many jobs, each with a result file of other numbers."""
    source = FakeSource()
    for number in range(count):
        file_id = FileId(f"file-{number}")
        one = job(f"ftjob-{number}", created_at=at(number), result_files=(file_id,))
        source.jobs_by_id[one.id] = one
        source.results[file_id] = f"step,train_loss\n{number},{number}.5\n{number + 1},{number}.75\n".encode()
    return source


def test_many_jobs_at_once_never_mix() -> None:
    source, sink = of_their_own(60), FakeSink()
    report = run(source, sink)
    assert synced_in(report) == set(source.jobs_by_id)
    for number in range(60):
        held = sink.runs[RunId(f"ftjob-{number}")]
        assert [(row.step, dict(row.metrics)) for row in held.rows] == [
            (number, {"train_loss": number + 0.5}),
            (number + 1, {"train_loss": number + 0.75}),
        ]
        assert list(held.files) == ["fine_tuning/job.json", f"fine_tuning/result_files/file-{number}/content"]
        assert (held.mark is not None, held.exit_code, held.datasets) == (True, 0, ["file-train"])


@pytest.mark.parametrize("concurrency", [1, 3])
def test_as_many_jobs_as_asked_for_are_read_and_written_at_once_and_no_more(concurrency: int) -> None:
    source, sink = FakeSource(jobs(6)), FakeSink()
    reading, writing = Gauge(), Gauge()
    together = {"checkpoints": threading.Barrier(concurrency), "save": threading.Barrier(concurrency)}

    def at_once(gauge: Gauge) -> Callable[[str], None]:
        def happens(words: str) -> None:
            if barrier := together.get(words.split(maxsplit=1)[0]):
                with gauge:
                    barrier.wait(timeout=60)

        return happens

    source.happens, sink.happens = at_once(reading), at_once(writing)
    assert len(run(source, sink, Request(concurrency=concurrency)).synced) == 6
    assert (reading.most, writing.most) == (concurrency, concurrency)


def test_observers_are_called_by_many_threads_but_by_one_at_a_time() -> None:
    gauge, threads = Gauge(), set()

    def observe(_: Event) -> None:
        threads.add(threading.get_ident())
        with gauge:
            pass

    run(FakeSource(jobs(8)), FakeSink(), observe=observe)
    assert len(threads) > 1
    assert gauge.most == 1


def test_a_hundred_runs_are_worth_a_question_while_others_are_still_written() -> None:
    source, sink = FakeSource(jobs(arrival.AT_ONCE + 1)), FakeSink()
    asked = threading.Event()

    def last_one_waits(words: str) -> None:
        if words == f"save ftjob-{arrival.AT_ONCE + 1}":
            asked.wait(60)

    def observe(heard: Event) -> None:
        if isinstance(heard, Settled):
            asked.set()

    sink.happens = last_one_waits
    run(source, sink, Request(concurrency=2), observe=observe)
    assert [len(question) for question in sink.questions] == [arrival.AT_ONCE + 1, arrival.AT_ONCE, 1]


# Interrupted


def interrupted_at(job_id: str, wait_for: threading.Event) -> Callable[[Event], None]:
    """Press Ctrl-C when this job is settled, after something else has happened."""

    def observe(heard: Event) -> None:
        if isinstance(heard, Settled) and heard.outcome.job_id == job_id:
            assert wait_for.wait(60)
            raise KeyboardInterrupt

    return observe


def while_the_first_is_read(source: FakeSource, clock: FakeClock) -> threading.Event:
    """Have the first job be read until the sync is stopped; return what says that it has begun."""
    begun, stopped = threading.Event(), threading.Event()

    def happens(words: str) -> None:
        if words == "checkpoints ftjob-1":
            begun.set()
            stopped.wait(60)
            time.sleep(0.01)

    source.happens, clock.at_stop = happens, stopped.set
    return begun


def test_an_interruption_finishes_and_verifies_what_is_being_written_starts_nothing_new_and_is_raised_again() -> None:
    source, sink, clock = FakeSource(jobs(9)), FakeSink([complete_run(jobs(9)[-1])]), FakeClock()
    heard: list[Event] = []
    interrupt = interrupted_at("ftjob-9", while_the_first_is_read(source, clock))

    def observe(event: Event) -> None:
        heard.append(event)
        interrupt(event)

    with pytest.raises(KeyboardInterrupt):
        run(source, sink, Request(concurrency=1), clock, observe)
    settled = {one.outcome.job_id: one.outcome for one in heard if isinstance(one, Settled)}
    assert isinstance(settled[JobId("ftjob-1")], Synced)
    assert sink.held[ONE].is_complete
    # So many threads hold the first jobs; the next ones wait for a thread.
    waiting = {f"checkpoints ftjob-{number}" for number in range(THREADS + 1, 9)}
    assert waiting
    assert not waiting & set(source.asked)
    assert [type(one) for one in heard if isinstance(one, Interrupted)] == [Interrupted]


def test_an_interruption_drops_the_run_that_a_finished_one_replaces() -> None:
    source, clock = FakeSource(jobs(2)), FakeClock()
    sink = FakeSink([complete_run(jobs(1)[0], mark=None), complete_run(jobs(2)[1])])
    heard: list[Event] = []
    interrupt = interrupted_at("ftjob-2", while_the_first_is_read(source, clock))

    def observe(event: Event) -> None:
        heard.append(event)
        interrupt(event)

    with pytest.raises(KeyboardInterrupt):
        run(source, sink, Request(links=("model/support",)), clock, observe)
    assert sink.deleted == [ONE]
    assert sink.held[AGAIN].is_complete
    assert [link[0] for link in sink.links] == ["ftjob-2", "ftjob-1"]
    assert [one.outcome.job_id for one in heard if isinstance(one, Settled)] == ["ftjob-2", "ftjob-1"]


@pytest.mark.parametrize("request_", [Request(), WATCH])
def test_an_interruption_closes_the_runs_that_are_followed(request_: Request) -> None:
    source, sink = FakeSource([job(status=RUNNING)]), FakeSink()
    source.events_by_id[JobId("ftjob-1")] = [event(1)]

    def interrupt() -> None:
        raise KeyboardInterrupt

    clock = FakeClock(at_sleep=interrupt)
    try:
        run(source, sink, request_, clock)
    except KeyboardInterrupt:
        assert not request_.patience.watch
    else:
        assert request_.patience.watch
    assert (sink.runs[ONE].steps, sink.runs[ONE].exit_code, sink.held[ONE].mark) == ([1], 1, None)


def test_after_an_interruption_nobody_waits_for_a_run_that_is_not_listed_yet() -> None:
    source, sink, clock = FakeSource(jobs(2)), FakeSink([complete_run(jobs(2)[1])]), FakeClock()
    sink.loses.add("ftjob-1")
    observe = interrupted_at("ftjob-2", while_the_first_is_read(source, clock))
    with pytest.raises(KeyboardInterrupt):
        run(source, sink, clock=clock, observe=observe)
    assert clock.sleeps == []


# A watch


def watch(
    source: FakeSource, sink: FakeSink, *changes: Callable[[], object], request: Request = WATCH
) -> tuple[SyncReport, list[Event]]:
    """Watch through polls, each of which finds a change of the world, and interrupt it then."""
    heard: list[Event] = []
    to_come = iter(changes)

    def at_sleep() -> None:
        change = next(to_come, None)
        if change is None:
            raise KeyboardInterrupt
        change()

    return run(source, sink, request, FakeClock(at_sleep=at_sleep), heard.append), heard


def nothing() -> None:
    """Leave the world as it is."""


def test_a_watch_takes_on_new_jobs_and_ends_with_a_report_when_it_is_interrupted() -> None:
    source, sink = FakeSource(jobs(1)), FakeSink()
    late = {one.id: one for one in jobs(3)[1:]}
    report, _ = watch(source, sink, lambda: source.jobs_by_id.update(late), nothing)
    assert synced_in(report) == {"ftjob-1", "ftjob-2", "ftjob-3"}
    assert source.asked.count("jobs") == 3
    assert source.asked.count("checkpoints ftjob-1") == 1


def test_a_watch_that_has_nothing_at_work_ends_with_a_report_too() -> None:
    stopped = threading.Event()

    def at_sleep() -> None:
        _thread.interrupt_main()
        assert stopped.wait(60)
        raise Stopped("stopped")

    report = run(FakeSource(jobs(1)), FakeSink(), WATCH, FakeClock(at_sleep=at_sleep, at_stop=stopped.set))
    assert synced_in(report) == {"ftjob-1"}


def test_a_watch_of_an_empty_account_waits_for_its_first_job() -> None:
    source, sink = FakeSource(), FakeSink()
    report, _ = watch(source, sink, nothing, lambda: source.jobs_by_id.update({JobId("ftjob-1"): job()}))
    assert synced_in(report) == {"ftjob-1"}


def test_a_watch_follows_new_jobs_to_their_end() -> None:
    source, sink = FakeSource(), FakeSink()
    running, done = job(status=RUNNING), job()
    source.events_by_id[done.id] = [event(1, metrics={"train_loss": 0.9})]
    report, _ = watch(
        source,
        sink,
        lambda: source.jobs_by_id.update({running.id: running}),
        lambda: source.jobs_by_id.update({done.id: done}),
    )
    assert synced_in(report) == {"ftjob-1"}
    assert sink.did.count("open ftjob-1") == 2


def test_a_watch_tries_failures_again_and_reports_each_job_once() -> None:
    source, sink = FakeSource(jobs(2)), FakeSink()
    source.broken["ftjob-1"] = Unavailable("down")
    report, _ = watch(source, sink, nothing, source.broken.clear)
    assert sorted(outcome.job_id for outcome in report.outcomes) == ["ftjob-1", "ftjob-2"]
    assert synced_in(report) == {"ftjob-1", "ftjob-2"}
    assert source.asked.count("checkpoints ftjob-2") == 1


def test_a_watch_does_not_ask_again_for_what_was_refused() -> None:
    source, sink = FakeSource(jobs(1)), FakeSink()
    source.broken["ftjob-1"] = Forbidden("not yours")
    report, _ = watch(source, sink, nothing, nothing)
    assert failed_in(report) == {"ftjob-1": Forbidden}
    assert source.asked.count("events ftjob-1") == 1


def test_a_watch_brings_a_job_whose_other_writer_has_gone_and_tells_of_it_once() -> None:
    (one,) = jobs(1)
    state = replace(complete_run(one), mark=None, rows=0, being_written=True, state="running")
    source, sink = FakeSource([one]), FakeSink([state])

    def gone() -> None:
        sink.held[state.run_id] = replace(state, being_written=False, state="crashed")

    report, heard = watch(source, sink, nothing, gone, nothing)
    assert synced_in(report) == {"ftjob-1"}
    assert [type(event.outcome) for event in heard if isinstance(event, Settled)] == [Skipped, Synced]


def test_a_watch_survives_that_openai_is_away_from_the_start() -> None:
    source, sink = FakeSource(jobs(2)), FakeSink()
    source.broken["jobs"] = Unavailable("away")
    report, heard = watch(source, sink, nothing, source.broken.clear)
    assert synced_in(report) == {"ftjob-1", "ftjob-2"}
    assert [one for one in heard if isinstance(one, Delayed)] == [Delayed("away", 60)] * 2


def test_a_watch_of_the_newest_jobs_takes_on_no_older_ones_when_openai_is_away_at_first() -> None:
    source, sink = FakeSource(jobs(7)), FakeSink()
    source.broken["jobs"] = Unavailable("away")
    report, _ = watch(source, sink, source.broken.clear, nothing, request=replace(WATCH, selection=Selection(last=2)))
    assert synced_in(report) == {"ftjob-6", "ftjob-7"}


@pytest.mark.parametrize("shard", [Shard(1, 2), Shard(2, 2)])
def test_a_watch_of_a_shard_takes_on_no_job_that_is_older_than_those_selected(shard: Shard) -> None:
    newest = JobId("ftjob-7")
    request = replace(WATCH, selection=Selection(last=1, shard=shard))
    report, _ = watch(FakeSource(jobs(7)), FakeSink(), nothing, request=request)
    assert synced_in(report) == ({newest} if shard.holds(newest) else set())


def test_a_watch_survives_that_wandb_is_away() -> None:
    source, sink = FakeSource(jobs(1)), FakeSink()

    def goes_away() -> None:
        source.jobs_by_id |= {one.id: one for one in jobs(2)}
        sink.broken = Unavailable("away")

    def comes_back() -> None:
        sink.broken = None

    report, heard = watch(source, sink, goes_away, nothing, comes_back)
    assert synced_in(report) == {"ftjob-1", "ftjob-2"}
    assert len([one for one in heard if isinstance(one, Delayed)]) == 2


def test_a_job_that_fails_while_wandb_is_away_is_brought_when_it_is_back() -> None:
    queued, failed = job(status=JobStatus("queued")), job(status=JobStatus("failed"))
    source, sink = FakeSource([queued]), FakeSink()

    def fails_meanwhile() -> None:
        source.jobs_by_id[failed.id] = failed
        sink.broken = Unavailable("away")

    def comes_back() -> None:
        sink.broken = None

    report, _ = watch(source, sink, fails_meanwhile, comes_back)
    assert [outcome.status for outcome in report.synced] == ["failed"]


def test_a_watch_reports_no_job_as_ended_badly() -> None:
    failed = job(status=JobStatus("failed"))
    source = FakeSource([job(status=RUNNING)])
    report, _ = watch(source, FakeSink(), lambda: source.jobs_by_id.update({failed.id: failed}))
    assert (report.ended_badly, synced_in(report)) == ((), {"ftjob-1"})


def test_without_a_watch_the_jobs_are_listed_once_however_long_it_takes() -> None:
    source, sink = FakeSource(jobs(1)), FakeSink()
    sink.loses.add("ftjob-1")
    run(source, sink, Request(patience=Patience(0.1)))
    assert source.asked.count("jobs") == 1
