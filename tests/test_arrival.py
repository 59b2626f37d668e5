"""Whether W&B holds what was written: when that is asked, how often, and what counts as held."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ft_sync.arrival import AT_ONCE, LONGEST_WAIT, PAUSES, Arrivals, Written
from ft_sync.errors import AuthError, SinkRejected, Unavailable
from ft_sync.events import Advanced, Event
from ft_sync.models import Create, JobId, RunId, Synced
from tests.builders import job
from tests.fakes import FakeClock, FakeSink, complete_run


def written(number: int = 1) -> Written:
    one = job(f"ftjob-{number}")
    return Written(Create(one, RunId(one.id), "test"), Synced(one.id, one.status, RunId(one.id), rows=2, reason="test"))


class Setting:
    """Arrivals with a clock and a sink in memory; `heard` is what it tells."""

    def __init__(self, *held: int) -> None:
        self.clock = FakeClock(time=100.0)
        self.sink = FakeSink([complete_run(job(f"ftjob-{number}")) for number in held])
        self.heard: list[Event] = []
        self.arrivals = Arrivals(self.sink, self.clock, self.heard.append)


def test_with_nothing_written_nothing_is_due() -> None:
    setting = Setting()
    assert setting.arrivals.due == math.inf
    assert not setting.arrivals


def test_the_last_run_is_asked_for_at_once() -> None:
    setting = Setting()
    setting.arrivals.add(written(), is_last=True)
    assert setting.arrivals.due == setting.clock.now()


def test_while_others_are_written_the_first_waits_for_company_and_not_longer() -> None:
    setting = Setting()
    setting.arrivals.add(written(1), is_last=False)
    setting.clock.time += 3
    setting.arrivals.add(written(2), is_last=False)
    assert setting.arrivals.due == 100 + LONGEST_WAIT


def test_a_hundred_runs_are_worth_a_question() -> None:
    setting = Setting()
    for number in range(AT_ONCE):
        assert setting.arrivals.due > setting.clock.now()
        setting.arrivals.add(written(number), is_last=False)
    assert setting.arrivals.due == setting.clock.now()


def test_all_runs_are_asked_for_by_one_question() -> None:
    setting = Setting(1, 2, 3)
    for number in (1, 2, 3):
        setting.arrivals.add(written(number), is_last=False)
    settled = setting.arrivals.ask()
    assert [(one.synced.job_id, error) for one, error in settled] == [(f"ftjob-{n}", None) for n in (1, 2, 3)]
    assert setting.sink.questions == [{"ftjob-1", "ftjob-2", "ftjob-3"}]
    assert setting.heard == [Advanced(JobId(f"ftjob-{n}"), "verifying") for n in (1, 2, 3)]
    assert (len(setting.arrivals), setting.arrivals.due) == (0, math.inf)


def test_a_run_that_is_not_listed_yet_is_asked_for_again_after_growing_pauses_while_the_others_are_settled() -> None:
    setting = Setting(1)
    for number in (1, 2):
        setting.arrivals.add(written(number), is_last=True)
    assert [one.synced.job_id for one, _ in setting.arrivals.ask()] == ["ftjob-1"]
    pauses = []
    while setting.arrivals:
        pauses.append(setting.arrivals.due - setting.clock.now())
        setting.clock.time = setting.arrivals.due
        settled = setting.arrivals.ask()
    assert pauses == list(PAUSES)
    ((one, error),) = settled
    assert one.synced.job_id == "ftjob-2"
    assert isinstance(error, SinkRejected)
    assert "run the same command again" in (error.hint or "")


def test_a_run_that_is_listed_late_is_held() -> None:
    setting = Setting()
    setting.arrivals.add(written(), is_last=True)
    assert setting.arrivals.ask() == []
    setting.sink.add(complete_run(job()))
    ((_, error),) = setting.arrivals.ask()
    assert error is None


def test_when_there_is_no_time_to_ask_again_what_is_not_held_is_lost() -> None:
    setting = Setting()
    setting.arrivals.add(written(), is_last=True)
    ((_, error),) = setting.arrivals.ask(is_last=True)
    assert isinstance(error, SinkRejected)


@pytest.mark.parametrize("changes", [{"mark": None}, {"rows": 1}, {"run_id": RunId("ftjob-1-r2")}])
def test_a_run_that_lacks_its_mark_or_rows_or_is_another_is_not_held(changes: dict[str, object]) -> None:
    setting = Setting()
    setting.sink.add(replace(complete_run(job()), **changes))  # type: ignore[arg-type]
    setting.arrivals.add(written(), is_last=True)
    assert setting.arrivals.ask() == []
    assert len(setting.arrivals) == 1


def test_wandb_that_cannot_be_asked_is_an_error_of_each_run_and_not_its_absence() -> None:
    setting = Setting(1, 2)
    setting.sink.broken = Unavailable("away")
    for number in (1, 2):
        setting.arrivals.add(written(number), is_last=True)
    for _ in PAUSES:
        assert setting.arrivals.ask() == []
    assert [error for _, error in setting.arrivals.ask()] == [setting.sink.broken] * 2


def test_wandb_that_refuses_to_answer_is_not_asked_again() -> None:
    setting = Setting(1)
    setting.sink.broken = AuthError("the key was taken away")
    setting.arrivals.add(written(1), is_last=True)
    assert [error for _, error in setting.arrivals.ask()] == [setting.sink.broken]


def test_runs_that_come_meanwhile_do_not_put_off_those_that_are_asked_for_again() -> None:
    setting = Setting()
    setting.arrivals.add(written(1), is_last=True)
    setting.arrivals.ask()
    due = setting.arrivals.due
    setting.arrivals.add(written(2), is_last=False)
    assert setting.arrivals.due == due == 100 + PAUSES[0]
