"""Following one job: what is asked, what is told, and what its run holds while the job runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ft_sync.errors import BadData, NotFound, RunExists, Unavailable
from ft_sync.events import Event, Noted, Waiting
from ft_sync.follow import Follower
from ft_sync.models import Create, JobId, JobStatus, Origin, RunId, Skip, Wait
from ft_sync.plan import Rule, plan
from tests.builders import event, job
from tests.fakes import FakeSink, FakeSource, complete_run

if TYPE_CHECKING:
    from ft_sync.models import Job, JobEvent, RunState

QUEUED, RUNNING, PAUSED = (JobStatus(word) for word in ("queued", "running", "paused"))
SUCCEEDED, FAILED = JobStatus("succeeded"), JobStatus("failed")
ONE, AGAIN = RunId("ftjob-1"), RunId("ftjob-1-r2")


def in_state(status: JobStatus) -> Job:
    return job(status=status)


class Setting:
    """A follower of one job among services in memory; `heard` is what it has told."""

    def __init__(self, status: JobStatus = RUNNING, *held: RunState, goes_on: bool = True) -> None:
        self.source, self.sink = FakeSource([in_state(status)]), FakeSink(held)
        self.heard: list[Event] = []
        step = plan(in_state(status), held, Rule())
        assert isinstance(step, Wait)
        live = step.live if goes_on else None
        self.follower = Follower(step.job, live, self.source, self.sink, self.heard.append)

    @property
    def steps(self) -> list[int]:
        return self.sink.runs[ONE].steps

    def happen(self, *events: JobEvent) -> None:
        self.source.events_by_id[JobId("ftjob-1")] += events

    def look(self, *events: JobEvent, status: JobStatus = RUNNING) -> None:
        """Look at the job after further events, in this state."""
        self.happen(*events)
        self.follower.job = in_state(status)
        self.follower.look()

    def close(self, *events: JobEvent, status: JobStatus = SUCCEEDED) -> None:
        self.happen(*events)
        self.follower.job = in_state(status)
        self.follower.close()


# What is asked and told


def test_the_events_of_a_job_that_does_not_run_yet_are_not_asked_for() -> None:
    setting = Setting(QUEUED)
    setting.look(status=QUEUED)
    setting.look(status=JobStatus("validating_files"))
    assert (setting.source.asked, setting.sink.did) == ([], [])
    assert [one.job.status for one in setting.heard if isinstance(one, Waiting)] == ["queued", "validating_files"]


def test_only_new_events_are_asked_for() -> None:
    setting = Setting()
    setting.look(event(1), event(2))
    setting.look()
    setting.look(event(3))
    setting.look()
    assert setting.source.asked == [
        "events ftjob-1",
        "events ftjob-1 after ftevent-2",
        "events ftjob-1 after ftevent-2",
        "events ftjob-1 after ftevent-3",
    ]


def test_the_events_of_a_paused_job_are_asked_for_once() -> None:
    setting = Setting()
    setting.look(event(1))
    setting.look(event(2), status=PAUSED)
    setting.look(status=PAUSED)
    setting.look(status=PAUSED)
    assert len(setting.source.asked) == 2
    assert (setting.steps, setting.follower.is_writing) == ([1, 2], True)


def test_events_that_could_not_be_had_when_a_job_was_paused_are_asked_for_until_they_are() -> None:
    setting = Setting()
    setting.look(event(1))
    setting.source.broken["ftjob-1"] = Unavailable("503")
    setting.look(event(2), status=PAUSED)
    setting.source.broken.clear()
    setting.look(status=PAUSED)
    setting.look(status=PAUSED)
    assert (setting.steps, len(setting.source.asked)) == ([1, 2], 3)


def test_a_job_that_was_paused_goes_on_in_its_run() -> None:
    setting = Setting()
    setting.look(event(1))
    setting.look(status=PAUSED)
    setting.look(event(2))
    assert (setting.steps, setting.sink.did) == ([1, 2], ["open ftjob-1"])


def test_progress_tells_the_newest_step_and_its_metrics() -> None:
    setting = Setting()
    of_all = {"total_steps": 30, "train_loss": 0.5}
    setting.look(event(4, data={"step": 4, **of_all}), event(5, data={"step": 5, **of_all, "train_loss": 0.25}))
    setting.look(event())
    told = [(one.step, one.total_steps, one.metrics) for one in setting.heard if isinstance(one, Waiting)]
    assert told == [(5, 30, {"train_loss": 0.25})] * 2


def test_where_the_run_is_to_be_seen_is_told_once_it_is_open() -> None:
    setting = Setting(QUEUED)
    setting.look(status=QUEUED)
    setting.look(event(1))
    assert [one.url for one in setting.heard if isinstance(one, Waiting)] == [None, "memory:ftjob-1"]


@pytest.mark.parametrize("error", [Unavailable("away"), BadData("garbled")])
def test_events_that_cannot_be_had_are_noted_and_asked_for_again(error: Exception) -> None:
    setting = Setting()
    setting.source.broken["ftjob-1"] = error
    setting.look(event(1))
    assert [type(one) for one in setting.heard] == [Noted, Waiting]
    setting.source.broken.clear()
    setting.look(event(2))
    assert setting.steps == [1, 2]


def test_a_service_that_keeps_no_events_is_waited_for_in_silence() -> None:
    setting = Setting()
    setting.source.broken["ftjob-1"] = NotFound("no such route")
    setting.look()
    assert [type(one) for one in setting.heard] == [Waiting]
    assert setting.sink.did == []


# What the run holds


def test_the_run_opens_when_the_job_runs_and_not_before() -> None:
    setting = Setting(QUEUED)
    setting.look(status=QUEUED)
    assert setting.sink.did == []
    setting.look()
    assert (setting.steps, setting.sink.held[ONE].state) == ([], "running")


def test_each_look_brings_the_rows_that_are_new_once_and_ascending() -> None:
    setting = Setting()
    seen = []
    for events in ([event(1)], [], [event(2), event(3)], [event(), event(4)]):
        setting.look(*events)
        seen.append(list(setting.steps))
    assert seen == [[1], [1], [1, 2, 3], [1, 2, 3, 4]]


def test_a_metric_that_comes_late_for_a_step_is_not_logged_behind_newer_ones() -> None:
    setting = Setting()
    setting.look(event(1), event(2))
    setting.look(event(1, id="late", metrics={"full_valid_loss": 0.5}), event(3))
    assert setting.steps == [1, 2, 3]
    assert "full_valid_loss" not in setting.sink.runs[ONE].rows[0].metrics


def written_so_far(*events: JobEvent) -> Setting:
    """Somebody has followed the job up to these events and was cut off."""
    before = Setting()
    before.look(*events)
    before.follower.abandon()
    return before


def after(before: Setting) -> Setting:
    """Follow the job again, with the run as it was left."""
    setting = Setting(RUNNING, before.sink.held[ONE])
    setting.sink.runs[ONE].rows = before.sink.runs[ONE].rows
    setting.happen(*before.source.events_by_id[JobId("ftjob-1")])
    return setting


def test_a_run_that_was_cut_off_is_gone_on_with() -> None:
    setting = after(written_so_far(event(1), event(2)))
    setting.look(event(3))
    setting.look(event(4))
    assert setting.steps == [1, 2, 3, 4]
    assert setting.sink.did == ["open ftjob-1"]


def test_a_run_that_holds_something_else_is_replaced() -> None:
    setting = Setting(RUNNING, complete_run(job(), mark=None, rows=2))
    setting.look(event(1))
    setting.look(event(2))
    assert (setting.steps, setting.sink.runs[AGAIN].steps) == ([0, 1], [1, 2])
    assert set(setting.sink.held) == {ONE, AGAIN}  # the old one goes when the new one is verified


def test_a_run_whose_id_was_deleted_opens_under_the_next() -> None:
    setting = Setting()
    setting.sink.taken.add(ONE)
    setting.look(event(1))
    setting.look(event(2))
    assert setting.sink.runs[AGAIN].steps == [1, 2]


@pytest.mark.parametrize(
    "held",
    [
        complete_run(job(), origin=Origin.NATIVE, mark=None),
        complete_run(job(), origin=Origin.OTHER, mark=None),
        complete_run(job(), mark=None, being_written=True),
        complete_run(job()),
    ],
)
def test_a_run_that_is_not_ours_to_go_on_with_is_left_alone_and_the_job_followed(held: RunState) -> None:
    setting = Setting(RUNNING, held)
    setting.look(event(1))
    assert (setting.sink.did, setting.sink.held) == ([], {ONE: held})
    assert [one.step for one in setting.heard if isinstance(one, Waiting)] == [1]


def test_without_a_run_to_write_live_the_events_are_told_all_the_same() -> None:
    setting = Setting(goes_on=False)
    setting.look(event(1))
    setting.close(event(2))
    assert (setting.sink.did, setting.follower.is_writing) == ([], False)
    assert [one.step for one in setting.heard if isinstance(one, Waiting)] == [1]


def test_a_run_that_exists_by_now_ends_live_writing() -> None:
    setting = Setting()
    tries = []

    def happens(words: str) -> None:
        tries.append(words)
        raise RunExists("somebody was quicker")

    setting.sink.happens = happens
    setting.look(event(1))
    setting.look(event(2))
    assert tries == ["open ftjob-1"]
    assert (setting.follower.live, setting.follower.is_writing) == (None, False)
    assert [one.step for one in setting.heard if isinstance(one, Waiting)][-1] == 2


def test_wandb_that_is_away_is_noted_and_the_run_opens_at_the_next_poll() -> None:
    setting = Setting()

    def away(_: str) -> None:
        raise Unavailable("away")

    setting.sink.happens = away
    setting.look(event(1))
    assert "away" in next(one.message for one in setting.heard if isinstance(one, Noted))
    setting.sink.happens = lambda _: None
    setting.look(event(2))
    assert setting.steps == [1, 2]


# How it ends


def test_closing_brings_the_last_rows_and_marks_the_run_finished_but_not_complete() -> None:
    setting = Setting()
    setting.look(event(1))
    setting.close(event(2))
    state = setting.sink.held[ONE]
    assert (setting.steps, state.state, state.is_complete) == ([1, 2], "finished", False)
    assert not setting.follower.is_writing


def test_closing_a_run_whose_last_events_cannot_be_had_closes_it_all_the_same() -> None:
    setting = Setting()
    setting.look(event(1))
    setting.source.broken["ftjob-1"] = Unavailable("away")
    setting.close(event(2), status=FAILED)
    assert (setting.steps, setting.sink.held[ONE].state) == ([1], "finished")


def test_closing_what_was_never_opened_asks_nothing() -> None:
    setting = Setting(QUEUED)
    setting.look(status=QUEUED)
    setting.close(status=FAILED)
    assert (setting.source.asked, setting.sink.did) == ([], [])


def test_abandoning_marks_the_run_failed_and_asks_nothing() -> None:
    setting = Setting()
    setting.look(event(1))
    setting.follower.abandon()
    assert (setting.sink.held[ONE].state, setting.sink.runs[ONE].exit_code) == ("failed", 1)
    assert (setting.source.asked, setting.follower.is_writing) == (["events ftjob-1"], False)


def test_abandoning_twice_or_what_was_never_opened_does_nothing() -> None:
    setting = Setting()
    setting.follower.abandon()
    setting.look(event(1))
    setting.follower.abandon()
    setting.follower.abandon()
    assert setting.sink.did == ["open ftjob-1", "close ftjob-1"]


def test_the_run_of_an_unfinished_job_is_planned_anew_at_its_end() -> None:
    before = written_so_far(event(1))
    step = plan(job(), [before.sink.held[ONE]], Rule())
    assert not isinstance(step, Skip | Wait | Create)
    assert step.run_id == ONE
