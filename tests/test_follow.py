"""Waiting: what it asks, what it tells, and that a service which is away does not end it."""

from __future__ import annotations

import pytest

from ft_sync.errors import BadData, NotFound, Unavailable
from ft_sync.events import Event, Noted, Waiting
from ft_sync.follow import Patience, until_finished
from ft_sync.models import Job, JobId, JobStatus
from tests.builders import event, job
from tests.fakes import FakeClock, FakeSource

RUNNING = JobStatus("running")
MINUTE = Patience(60, 180)


def running(count: int) -> list[Job]:
    return [job(f"ftjob-{n}", status=RUNNING) for n in range(1, count + 1)]


def test_one_listing_a_poll_serves_all_jobs() -> None:
    source = FakeSource(running(20))
    list(until_finished(running(20), source, FakeClock(), MINUTE, lambda _: None))
    assert source.asked.count("jobs") == 3


def test_only_new_events_are_asked_for_and_only_of_running_jobs() -> None:
    waiting = [job("ftjob-1", status=RUNNING), job("ftjob-2", status=JobStatus("queued"))]
    source = FakeSource(waiting)
    list(until_finished(waiting, source, FakeClock(), Patience(60, 60), lambda _: None))
    assert "events ftjob-2" not in source.asked
    assert "events ftjob-1" in source.asked


def test_progress_tells_the_newest_step_and_its_metrics() -> None:
    source = FakeSource(running(1))
    source.events_by_id[JobId("ftjob-1")] = [
        event(4, data={"step": 4, "total_steps": 30, "train_loss": 0.5}),
        event(5, data={"step": 5, "total_steps": 30, "train_loss": 0.25}),
    ]
    heard: list[Event] = []
    list(until_finished(running(1), source, FakeClock(), Patience(60, 60), heard.append))
    first = heard[0]
    assert isinstance(first, Waiting)
    assert (first.step, first.total_steps, first.metrics) == (5, 30, {"train_loss": 0.25})


def test_the_last_pause_is_cut_to_the_timeout() -> None:
    clock = FakeClock()
    list(until_finished(running(1), FakeSource(running(1)), clock, Patience(60, 90), lambda _: None))
    assert clock.sleeps == [60, 30]


def test_a_listing_that_fails_is_told_and_asked_again() -> None:
    source = FakeSource(running(1))
    source.broken["jobs"] = Unavailable("away")

    def comes_back() -> None:
        if len(clock.sleeps) == 2:
            del source.broken["jobs"]
            source.jobs_by_id[JobId("ftjob-1")] = job()

    clock = FakeClock(at_sleep=comes_back)
    heard: list[Event] = []
    ended = list(until_finished(running(1), source, clock, Patience(60), heard.append))
    assert [one.status for one in ended] == ["succeeded"]
    assert any(isinstance(one, Noted) and "away" in one.message for one in heard)


@pytest.mark.parametrize("error", [Unavailable("away"), BadData("garbled"), NotFound("no such route")])
def test_events_that_cannot_be_had_do_not_end_the_wait(error: Exception) -> None:
    source = FakeSource(running(1))
    source.broken["ftjob-1"] = error
    heard: list[Event] = []
    list(until_finished(running(1), source, FakeClock(), Patience(60, 60), heard.append))
    assert any(isinstance(one, Waiting) for one in heard)
