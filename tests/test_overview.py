"""Where jobs stand, and that an account which cannot be asked is never taken for an empty one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ft_sync.errors import AuthError, FtSyncError, NotFound, NotLoggedIn, Unavailable
from ft_sync.models import Create, Failed, FileId, JobId, JobStatus, Skip, SyncState
from ft_sync.overview import EVENTS_FOR_ROWS, JOBS_A_QUESTION, detail, details, standings, watch
from ft_sync.plan import Rule
from tests.builders import at, event, job, readable
from tests.fakes import FakeClock, FakeSink, FakeSource, complete_run

ONE = JobId("ftjob-1")
RULE = Rule()


def test_each_job_comes_with_what_is_held_and_what_a_sync_would_do() -> None:
    held, absent = job("ftjob-1", created_at=at(1)), job("ftjob-2", created_at=at(2))
    newest, oldest = readable(standings(FakeSource([held, absent]), FakeSink([complete_run(held)]), RULE))
    assert (newest.job, newest.sync, type(newest.plan)) == (absent, SyncState.ABSENT, Create)
    assert (oldest.job, oldest.sync, type(oldest.plan)) == (held, SyncState.COMPLETE, Skip)
    assert oldest.run == complete_run(held)


def test_wandb_is_asked_once_a_page() -> None:
    sink = FakeSink()
    jobs = [job(f"ftjob-{n}", created_at=at(n)) for n in range(JOBS_A_QUESTION + 1)]
    list(standings(FakeSource(jobs), sink, RULE))
    assert [len(question) for question in sink.questions] == [JOBS_A_QUESTION, 1]


def test_no_jobs_ask_nothing_of_wandb() -> None:
    sink = FakeSink()
    assert list(standings(FakeSource(), sink, RULE)) == []
    assert sink.questions == []


def test_without_a_login_the_state_is_unknown() -> None:
    sink = FakeSink()
    sink.broken = NotLoggedIn("not logged in")
    (standing,) = readable(standings(FakeSource([job()]), sink, RULE))
    assert (standing.sync, standing.run, standing.plan) == (SyncState.UNKNOWN, None, None)


@pytest.mark.parametrize("error", [AuthError("refused"), Unavailable("down")])
def test_a_refusal_or_an_outage_is_an_error(error: FtSyncError) -> None:
    sink = FakeSink()
    sink.broken = error
    with pytest.raises(type(error)):
        list(standings(FakeSource([job()]), sink, RULE))


def test_a_job_in_depth_tells_the_newest_step_and_its_metrics() -> None:
    source = FakeSource([job()])
    source.events_by_id[ONE] = [
        event(1, data={"step": 1, "total_steps": 9, "train_loss": 2.0}),
        event(2, data={"step": 2, "total_steps": 9, "train_loss": 1.0}),
        event(),
    ]
    found = detail(source, FakeSink(), RULE, ONE)
    assert (found.step, found.total_steps, found.metrics) == (2, 9, {"train_loss": 1.0})
    assert len(found.events) == 3


def test_a_job_without_metrics_has_no_step() -> None:
    found = detail(FakeSource([job()]), FakeSink(), RULE, ONE)
    assert (found.step, found.total_steps, found.metrics) == (None, None, {})


def test_a_step_that_is_none_is_not_told() -> None:
    source = FakeSource([job()])
    source.events_by_id[ONE] = [event(1, data={"step": 1, "total_steps": 1e400}), event(2, data={"step": True})]
    found = detail(source, FakeSink(), RULE, ONE)
    assert (found.step, found.total_steps) == (1, None)


def test_a_job_that_cannot_be_had_costs_no_other() -> None:
    source = FakeSource([job()])
    source.broken["ftjob-typo"] = NotFound("no such job")
    missing, found = details(source, FakeSink(), RULE, [JobId("ftjob-typo"), ONE])
    assert isinstance(missing, Failed)
    assert not isinstance(found, Failed)


def test_a_refused_key_ends_the_look_at_once() -> None:
    source = FakeSource([job()])
    source.broken["ftjob-1"] = AuthError("refused")
    with pytest.raises(AuthError):
        list(details(source, FakeSink(), RULE, [ONE]))


RESULTS = FileId("file-results")


def with_results(name: str = "ftjob-1") -> FakeSource:
    source = FakeSource([job(name, result_files=(RESULTS,))])
    source.results[RESULTS] = b"step,train_loss\n1,2.0\n2,1.0\n"
    source.events_by_id[JobId(name)] = [event(3, data={"step": 3, "train_loss": 0.5})]
    return source


def test_all_steps_come_with_a_job_only_if_they_are_asked_for() -> None:
    assert detail(with_results(), FakeSink(), RULE, ONE).rows == ()
    rows = detail(with_results(), FakeSink(), RULE, ONE, with_rows=True).rows
    assert [(row.step, row.metrics) for row in rows] == [
        (1, {"train_loss": 2.0}),
        (2, {"train_loss": 1.0}),
        (3, {"train_loss": 0.5}),
    ]


def test_where_no_result_file_tells_of_the_steps_the_events_do_as_far_as_they_may_be_asked_for() -> None:
    source = FakeSource([job(result_files=())])
    source.events_by_id[ONE] = [event(step, data={"step": step, "train_loss": 1.0}) for step in range(1, 2101)]
    rows = detail(source, FakeSink(), RULE, ONE, with_rows=True).rows
    assert [row.step for row in rows] == list(range(2101 - EVENTS_FOR_ROWS, 2101))


def test_a_result_file_that_cannot_be_had_is_noted() -> None:
    source = with_results()
    source.broken[RESULTS] = NotFound("gone")
    (note,) = detail(source, FakeSink(), RULE, ONE, with_rows=True).notes
    assert note.startswith("result file file-results could not be had")


def test_jobs_are_watched_until_all_have_ended() -> None:
    clock = FakeClock()
    done, live = job("ftjob-1"), job("ftjob-2", status=JobStatus("running"))
    source = FakeSource([done, live])
    looks = watch(source, FakeSink(), RULE, clock, [done.id, live.id], poll_interval=60)
    first = next(looks)
    source.jobs_by_id[live.id] = replace(live, status=JobStatus("cancelled"))
    (second,) = looks
    assert [one.standing.job.status for one in readable(first)] == ["succeeded", "running"]
    assert [one.standing.job.status for one in readable(second)] == ["succeeded", "cancelled"]
    assert clock.now() == 60


def test_a_service_that_is_away_is_asked_again_and_a_job_that_is_unknown_is_not() -> None:
    clock = FakeClock()
    source = FakeSource([job()])
    source.broken["ftjob-1"] = Unavailable("away")
    looks = watch(source, FakeSink(), RULE, clock, [ONE, JobId("ftjob-typo")], poll_interval=60)
    assert [isinstance(one, Failed) for one in next(looks)] == [True, True]
    del source.broken["ftjob-1"]
    assert [isinstance(one, Failed) for one in next(looks)] == [False, True]
    assert list(looks) == []
