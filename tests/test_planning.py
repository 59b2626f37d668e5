"""What a sync would do: which jobs are chosen, in which order, and that nothing is written."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from ft_sync.errors import AuthError, Forbidden, FtSyncError, NotFound, Unavailable
from ft_sync.models import Create, Job, JobId, JobStatus, Skip, Wait
from ft_sync.plan import Rule
from ft_sync.planning import JOBS_A_PAGE, Preview, Selection, plan_all, preview, with_links
from tests.builders import at, job
from tests.fakes import FakeSink, FakeSource, complete_run

if TYPE_CHECKING:
    from collections.abc import Iterator


def jobs(count: int) -> list[Job]:
    """So many succeeded jobs, oldest first."""
    return [job(f"ftjob-{n}", created_at=at(n)) for n in range(1, count + 1)]


def named(*ids: str) -> Selection:
    return Selection(tuple(map(JobId, ids)))


def ids_of(planned: Preview) -> list[str]:
    return [step.job.id for step in planned.plans]


def test_without_a_selection_every_job_is_planned_oldest_first() -> None:
    assert ids_of(preview(FakeSource(jobs(3)), FakeSink(), Selection(), Rule())) == ["ftjob-1", "ftjob-2", "ftjob-3"]


def test_the_last_n_are_the_newest_oldest_first() -> None:
    assert ids_of(preview(FakeSource(jobs(9)), FakeSink(), Selection(last=2), Rule())) == ["ftjob-8", "ftjob-9"]


def test_named_jobs_are_taken_once_and_in_the_order_given() -> None:
    planned = preview(FakeSource(jobs(3)), FakeSink(), named("ftjob-3", "ftjob-1", "ftjob-3"), Rule())
    assert ids_of(planned) == ["ftjob-3", "ftjob-1"]


def test_one_named_job_is_asked_for_by_its_id() -> None:
    source = FakeSource(jobs(3))
    preview(source, FakeSink(), named("ftjob-1"), Rule())
    assert source.asked == ["job ftjob-1"]


def test_several_named_jobs_are_found_in_the_listing() -> None:
    source = FakeSource(jobs(3))
    preview(source, FakeSink(), named("ftjob-1", "ftjob-3"), Rule())
    assert source.asked == ["jobs"]


def test_named_jobs_that_are_not_listed_are_asked_for_by_their_ids() -> None:
    source = FakeSource(jobs(1))
    planned = preview(source, FakeSink(), named("ftjob-0", "ftjob-1"), Rule())
    assert source.asked == ["jobs", "job ftjob-0"]
    assert ([failed.job_id for failed in planned.unreadable], ids_of(planned)) == (["ftjob-0"], ["ftjob-1"])


def test_no_more_of_the_listing_is_read_than_asking_for_each_job_would_cost() -> None:
    source, given = FakeSource(), []

    def endless() -> Iterator[Job]:
        for number in count():
            given.append(number)
            yield job(f"ftjob-new-{number}")

    source.jobs = lambda **_: endless()  # type: ignore[method-assign]
    source.jobs_by_id = {one.id: one for one in jobs(2)}
    assert ids_of(preview(source, FakeSink(), named("ftjob-1", "ftjob-2"), Rule())) == ["ftjob-1", "ftjob-2"]
    assert len(given) == 2 * JOBS_A_PAGE


def test_a_preview_asks_each_service_once_and_writes_nothing() -> None:
    source, sink = FakeSource(jobs(3)), FakeSink()
    planned = preview(source, sink, Selection(), Rule())
    assert [type(step) for step in planned.plans] == [Create] * 3
    assert (source.asked, len(sink.questions), sink.did) == (["jobs"], 1, [])


def test_each_job_is_planned_by_its_own_runs() -> None:
    one, two, three = jobs(3)
    running = job("ftjob-3", status=JobStatus("running"), created_at=three.created_at)
    planned = preview(FakeSource([one, two, running]), FakeSink([complete_run(one)]), Selection(), Rule())
    assert [type(step) for step in planned.plans] == [Skip, Create, Wait]


@pytest.mark.parametrize("error", [NotFound("none"), Unavailable("down"), Forbidden("not this one")])
def test_a_named_job_that_cannot_be_had_is_unreadable_and_the_others_are_planned(error: FtSyncError) -> None:
    source = FakeSource([jobs(2)[1]])
    source.broken["ftjob-1"] = error
    planned = preview(source, FakeSink(), named("ftjob-1", "ftjob-2"), Rule())
    assert ids_of(planned) == ["ftjob-2"]
    assert [(failed.job_id, failed.error) for failed in planned.unreadable] == [("ftjob-1", error)]


def test_a_refused_key_is_an_error_at_once() -> None:
    source = FakeSource()
    source.broken["ftjob-1"] = AuthError("refused")
    with pytest.raises(AuthError):
        preview(source, FakeSink(), named("ftjob-1", "ftjob-2"), Rule())
    assert source.asked == ["jobs", "job ftjob-1"]


def test_a_listing_that_fails_is_an_error() -> None:
    source = FakeSource(jobs(2))
    source.broken["jobs"] = Unavailable("down")
    with pytest.raises(Unavailable):
        preview(source, FakeSink(), Selection(), Rule())


def test_without_jobs_wandb_is_not_asked() -> None:
    sink = FakeSink()
    assert plan_all([], sink, Rule()) == ()
    assert sink.questions == []


def test_a_preview_says_which_models_of_complete_jobs_would_be_linked() -> None:
    one, without = job("ftjob-1"), job("ftjob-2", fine_tuned_model=None)
    sink = FakeSink([complete_run(one), complete_run(without)])
    planned = preview(FakeSource([one, without, job("ftjob-3")]), sink, Selection(), Rule())
    reasons = {step.job.id: step.reason for step in with_links(planned, ("model/support",)).plans}
    assert reasons == {
        "ftjob-1": "already complete, its model is linked to model/support",
        "ftjob-2": "already complete",
        "ftjob-3": "not in W&B yet",
    }
    assert with_links(planned, ()) is planned
