from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from ft_sync.errors import NotFound
from ft_sync.models import JobId, Mark, RunId
from ft_sync.planning import Selection
from ft_sync.reporting import heading_of, report
from tests.test_outline import held

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ft_sync.outline import Heading, Held, Outline

EVERY = Selection()


@dataclass
class FakeReportSink:
    """A `ReportSink` that holds `runs`; `written` are the headings and outlines in their order."""

    runs: list[Held]
    written: list[tuple[Heading, Outline]] = field(default_factory=list)

    @property
    def place(self) -> str:
        return "ada/project"

    def held(self) -> Iterator[Held]:
        yield from self.runs

    def write(self, heading: Heading, outline: Outline) -> tuple[str, str, bool]:
        is_new = heading not in [before for before, _ in self.written]
        self.written.append((heading, outline))
        return "https://w/report", "https://w/view", is_new


def named(run: Held, run_id: str, *, complete: bool = False, replaced: bool = False) -> Held:
    mark = Mark("1", "0" * 64, 0, "2026-01-01T00:00:00+00:00") if complete else None
    return replace(run, state=replace(run.state, run_id=RunId(run_id), mark=mark, is_replaced=replaced))


@pytest.fixture
def sink() -> FakeReportSink:
    """Three jobs; the second is the newest."""
    times = {"1": "2026-01-01T00:00:00Z", "2": "2026-03-01T00:00:00Z", "3": "2026-02-01T00:00:00+00:00"}
    return FakeReportSink([held(name, created_at=time) for name, time in times.items()])


def test_a_report_is_about_every_job_the_newest_first(sink: FakeReportSink) -> None:
    made = report(sink, EVERY)
    assert made.job_ids == ("ftjob-2", "ftjob-3", "ftjob-1")
    assert (made.report_url, made.workspace_url, made.is_new) == ("https://w/report", "https://w/view", True)
    assert sink.written[0][1].run_ids is None


def test_the_newest_jobs_are_the_newest_of_those_that_wandb_holds(sink: FakeReportSink) -> None:
    assert report(sink, Selection(last=2)).job_ids == ("ftjob-2", "ftjob-3")
    assert sink.written[0][1].run_ids == ("ftjob-2", "ftjob-3")


def test_named_jobs_are_taken_once_each(sink: FakeReportSink) -> None:
    ids = (JobId("ftjob-1"), JobId("ftjob-2"), JobId("ftjob-1"))
    assert report(sink, Selection(ids)).job_ids == ("ftjob-2", "ftjob-1")


def test_a_job_that_is_not_there_is_named_with_the_way_to_bring_it(sink: FakeReportSink) -> None:
    with pytest.raises(NotFound, match="ftjob-x: not in ada/project") as told:
        report(sink, Selection((JobId("ftjob-1"), JobId("ftjob-x"))))
    assert "`ftsync sync --job ftjob-x`" in (told.value.hint or "")
    assert sink.written == []


def test_no_job_at_all_is_no_report() -> None:
    with pytest.raises(NotFound, match="no run in ada/project") as told:
        report(FakeReportSink([]), EVERY)
    assert "`ftsync sync`" in (told.value.hint or "")


def test_one_run_of_a_job_counts_the_newest_complete_one() -> None:
    runs = [named(held(), "ftjob-1", complete=True), named(held(), "ftjob-1-r2", complete=True)]
    runs += [named(held(), "ftjob-1-r3"), named(held(), "ftjob-1-r4", complete=True, replaced=True)]
    assert report(FakeReportSink(runs), EVERY).run_ids == ("ftjob-1-r2",)


def test_a_run_of_the_users_counts_where_it_took_the_job_but_not_where_it_names_it_alone() -> None:
    assert report(FakeReportSink([named(held(), "my-run", complete=True)]), EVERY).run_ids == ("my-run",)
    with pytest.raises(NotFound):
        report(FakeReportSink([named(held(), "my-eval")]), EVERY)


@pytest.mark.parametrize("time", [None, 5, "yesterday", ["2026"]])
def test_a_job_that_does_not_say_when_it_was_made_is_the_oldest(sink: FakeReportSink, time: object) -> None:
    sink.runs.insert(0, held("9", created_at=time))
    assert report(sink, EVERY).job_ids[-1] == "ftjob-9"


def test_each_selection_has_a_report_of_its_own_and_the_same_has_the_same() -> None:
    ids = tuple(JobId(f"ftjob-{n}") for n in range(5))
    selections = [EVERY, Selection(last=1), Selection(last=2), Selection(ids), Selection(ids[:1])]
    assert len({heading_of(one).mark for one in selections}) == len(selections)
    assert len({heading_of(one).title for one in selections}) == len(selections)
    assert heading_of(Selection(ids[::-1])) == heading_of(Selection(ids))


def test_a_title_is_short_and_fits_into_a_url() -> None:
    long = tuple(JobId(f"ftjob/{n}?#{'x' * 90}") for n in range(1000))
    title = heading_of(Selection(long)).title
    assert title.endswith(" and 997 more")
    assert len(title) == 128
    assert not set(title) & set("/?#")
