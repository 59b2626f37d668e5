"""Whether W&B holds what was written: when that is asked, how often, and what counts as held."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from ft_sync.arrival import AT_ONCE, LONGEST_WAIT, PAUSES, Arrivals, Verdict, Written
from ft_sync.content import RunContent
from ft_sync.convert import digest
from ft_sync.errors import AuthError, SinkRejected, Unavailable
from ft_sync.events import Advanced, Event, Noted
from ft_sync.models import Create, JobId, RunId, Synced
from tests.builders import job
from tests.fakes import FakeClock, FakeSink, complete_run


def written(number: int = 1) -> Written:
    one = job(f"ftjob-{number}")
    synced = Synced(one.id, one.status, RunId(one.id), rows=2, reason="test")
    items: dict[str, str | int | None] = {"state": "finished", "rows": 2, "summary.ftsync": digest(one)}
    return Written(Create(one, RunId(one.id), "test"), synced, RunContent(items))


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
    assert [(one.written.synced.job_id, one.error) for one in settled] == [(f"ftjob-{n}", None) for n in (1, 2, 3)]
    assert setting.sink.questions == [{"ftjob-1", "ftjob-2", "ftjob-3"}]
    assert setting.heard == [Advanced(JobId(f"ftjob-{n}"), "verifying") for n in (1, 2, 3)]
    assert (len(setting.arrivals), setting.arrivals.due) == (0, math.inf)


def test_a_run_that_is_not_listed_yet_is_asked_for_again_after_growing_pauses_while_the_others_are_settled() -> None:
    setting = Setting(1)
    for number in (1, 2):
        setting.arrivals.add(written(number), is_last=True)
    assert [one.written.synced.job_id for one in setting.arrivals.ask()] == ["ftjob-1"]
    pauses = []
    while setting.arrivals:
        pauses.append(setting.arrivals.due - setting.clock.now())
        setting.clock.time = setting.arrivals.due
        settled = setting.arrivals.ask()
    assert pauses == list(PAUSES)
    (verdict,) = settled
    assert verdict.written.synced.job_id == "ftjob-2"
    assert isinstance(verdict.error, SinkRejected)
    assert "run the same command again" in (verdict.error.hint or "")


def test_a_run_that_is_listed_late_is_held() -> None:
    setting = Setting()
    setting.arrivals.add(written(), is_last=True)
    assert setting.arrivals.ask() == []
    setting.sink.add(complete_run(job()))
    (verdict,) = setting.arrivals.ask()
    assert verdict.error is None


def test_when_there_is_no_time_to_ask_again_what_is_not_held_is_lost() -> None:
    setting = Setting()
    setting.arrivals.add(written(), is_last=True)
    (verdict,) = setting.arrivals.ask(is_last=True)
    assert isinstance(verdict.error, SinkRejected)


def decided(setting: Setting) -> Verdict:
    """Ask until the only written run is decided."""
    while not (settled := setting.arrivals.ask()):
        pass
    (verdict,) = settled
    return verdict


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mark": None}, "does not hold all of the run ftjob-1: summary.ftsync"),
        ({"rows": 1}, "does not hold all of the run ftjob-1: 1 of 2 rows"),
        ({"rows": 3}, "does not hold all of the run ftjob-1: 3 of 2 rows"),
        ({"state": "failed"}, r"does not hold all of the run ftjob-1: state finished \(it is failed\)"),
        ({"run_id": RunId("ftjob-1-r2")}, "took the run ftjob-1 but does not return it"),
    ],
)
def test_what_a_run_lacks_is_named(changes: dict[str, object], told: str) -> None:
    setting = Setting()
    setting.sink.add(replace(complete_run(job()), **changes))  # type: ignore[arg-type]
    setting.arrivals.add(written(), is_last=True)
    verdict = decided(setting)
    assert isinstance(verdict.error, SinkRejected)
    assert re.search(told, verdict.error.message)
    assert not verdict.is_open_end


def test_a_run_whose_end_was_missed_is_told_apart() -> None:
    setting = Setting()
    setting.sink.add(complete_run(job(), state="running"))
    setting.arrivals.add(written(), is_last=True)
    verdict = decided(setting)
    assert isinstance(verdict.error, SinkRejected)
    assert verdict.is_open_end


def test_a_run_that_no_listing_returns_is_held_if_it_is_returned_by_itself() -> None:
    setting = Setting(1)
    setting.sink.unlisted.add("ftjob-1")
    setting.arrivals.add(written(), is_last=True)
    assert decided(setting).error is None
    assert (len(setting.sink.questions), setting.sink.single_questions) == (1 + len(PAUSES), [{"ftjob-1"}])


def test_what_a_server_does_not_return_is_noted_for_each_run_and_told_once() -> None:
    setting = Setting(1, 2)
    setting.sink.not_returned = frozenset({"rows"})
    for number in (1, 2):
        setting.arrivals.add(written(number), is_last=True)
    note = "not compared, since this W&B server does not return it: rows"
    assert [(one.written.synced.notes, one.error) for one in setting.arrivals.ask()] == [((note,), None)] * 2
    assert [event for event in setting.heard if isinstance(event, Noted)] == [Noted(JobId("ftjob-1"), note)]


def test_wandb_that_cannot_be_asked_is_an_error_of_each_run_and_not_its_absence() -> None:
    setting = Setting(1, 2)
    setting.sink.broken = Unavailable("away")
    for number in (1, 2):
        setting.arrivals.add(written(number), is_last=True)
    for _ in PAUSES:
        assert setting.arrivals.ask() == []
    assert [verdict.error for verdict in setting.arrivals.ask()] == [setting.sink.broken] * 2


def test_wandb_that_refuses_to_answer_is_not_asked_again() -> None:
    setting = Setting(1)
    setting.sink.broken = AuthError("the key was taken away")
    setting.arrivals.add(written(1), is_last=True)
    assert [verdict.error for verdict in setting.arrivals.ask()] == [setting.sink.broken]


def test_runs_that_come_meanwhile_do_not_put_off_those_that_are_asked_for_again() -> None:
    setting = Setting()
    setting.arrivals.add(written(1), is_last=True)
    setting.arrivals.ask()
    due = setting.arrivals.due
    setting.arrivals.add(written(2), is_last=False)
    assert setting.arrivals.due == due == 100 + PAUSES[0]
