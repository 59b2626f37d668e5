"""A shard is a fixed part of the jobs, wherever jobs are selected: several processes take all of them, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ft_sync
from ft_sync.engine import sync
from ft_sync.errors import ConfigError, FtSyncError, NotFound
from ft_sync.follow import Patience
from ft_sync.models import Failed, Job, JobId
from ft_sync.overview import standings
from ft_sync.plan import Rule
from ft_sync.planning import WHOLE, Request, Selection, Shard, selected, shard
from ft_sync.sandbox import World, samples
from tests.builders import at, job, readable
from tests.fakes import FakeClock, FakeSink, FakeSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

IDS = [f"ftjob-{n}" for n in range(1, 9)]
OF_TWO = (["ftjob-2", "ftjob-4", "ftjob-6", "ftjob-7"], ["ftjob-1", "ftjob-3", "ftjob-5", "ftjob-8"])
"""What is in the two halves, as `sha256sum` says; other processes and later versions rely on it."""

HALVES = [Shard(1, 2), Shard(2, 2)]


def jobs(ids: Iterable[str] = IDS) -> list[Job]:
    return [job(job_id, created_at=at(int(job_id.rpartition("-")[2]))) for job_id in ids]


def chosen(selection: Selection, source: FakeSource | None = None) -> list[str]:
    return [one.id for one in selected(source or FakeSource(jobs()), selection).jobs]


@given(st.sets(st.text()), st.integers(1, 40))
def test_shards_have_nothing_in_common_and_are_together_all(ids: set[str], number: int) -> None:
    holders = [[index for index in range(1, number + 1) if Shard(index, number).holds(JobId(job_id))] for job_id in ids]
    assert [len(held) for held in holders] == [1] * len(ids)


@pytest.mark.parametrize("index", [1, 2])
def test_a_shard_is_the_same_in_every_process(index: int) -> None:
    assert [job_id for job_id in IDS if Shard(index, 2).holds(JobId(job_id))] == OF_TWO[index - 1]


@given(st.integers(1, 999_999_999), st.data())
def test_a_shard_is_read_as_it_is_written(number: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(1, number))
    assert shard(f"{index}/{number}") == Shard(index, number)


@pytest.mark.parametrize(
    "text", ["", "1", "0/4", "5/4", "1/0", "-1/4", "1/4/5", " 1/4", "1/4\n", "a/b", "1.0/4", "\u0661/\u0664"]
)
def test_anything_else_is_no_shard(text: str) -> None:
    with pytest.raises(ValueError, match="should be I/N"):
        shard(text)


# Where jobs are selected


@pytest.mark.parametrize("half", HALVES)
def test_every_job_is_narrowed_to_the_shard_in_the_order_of_the_account(half: Shard) -> None:
    assert chosen(Selection(shard=half)) == OF_TWO[half.index - 1]


def test_the_last_n_are_those_of_the_account_of_which_a_shard_takes_its_part() -> None:
    assert [chosen(Selection(last=3, shard=half)) for half in HALVES] == [["ftjob-6", "ftjob-7"], ["ftjob-8"]]


def test_named_jobs_are_narrowed_in_the_order_given() -> None:
    named = tuple(map(JobId, ["ftjob-3", "ftjob-2", "ftjob-1"]))
    assert chosen(Selection(named, shard=HALVES[1])) == ["ftjob-3", "ftjob-1"]


def test_named_jobs_that_are_all_in_other_shards_are_no_jobs_and_not_all() -> None:
    source = FakeSource(jobs())
    assert chosen(Selection((JobId("ftjob-1"),), shard=HALVES[0]), source) == []
    assert source.asked == []


@pytest.mark.parametrize("half", HALVES)
def test_an_unknown_job_is_reported_by_the_shard_that_it_would_be_in(half: Shard) -> None:
    unreadable = selected(FakeSource(), Selection((JobId("ftjob-1"),), shard=half)).unreadable
    assert [failed.job_id for failed in unreadable] == ([] if half.index == 1 else ["ftjob-1"])


def test_a_job_that_cannot_be_read_is_reported_by_one_shard() -> None:
    broken = Failed(JobId("ftjob-1"), NotFound("garbled"))
    assert [[*half.part([broken])] for half in HALVES] == [[], [broken]]


@pytest.mark.parametrize("half", [*HALVES, WHOLE])
def test_a_listing_shows_as_many_of_the_shard_as_asked_for(half: Shard) -> None:
    mine = [job_id for job_id in IDS[::-1] if half.holds(JobId(job_id))]
    listed = readable(standings(FakeSource(jobs()), FakeSink(), Rule(), limit=2, shard=half))
    assert [standing.job.id for standing in listed] == mine[:2]


# A watch


def watched(source: FakeSource, half: Shard, *changes: Callable[[], object]) -> set[str]:
    """Watch through polls, each of which finds a change, and return the jobs that were brought."""
    to_come = iter(changes)

    def at_sleep() -> None:
        change = next(to_come, None)
        if change is None:
            raise KeyboardInterrupt
        change()

    request = Request(Selection(shard=half), patience=Patience(60, watch=True))
    report = sync(source, FakeSink(), FakeClock(at_sleep=at_sleep), request, lambda _: None)
    return {outcome.job_id for outcome in report.synced}


def arrive(source: FakeSource, *ids: str) -> Callable[[], None]:
    return lambda: source.jobs_by_id.update({one.id: one for one in jobs(ids)})


@pytest.mark.parametrize("half", HALVES)
def test_a_watch_takes_on_new_jobs_of_its_shard_alone(half: Shard) -> None:
    source = FakeSource(jobs(IDS[:2]))
    brought = watched(source, half, arrive(source, *IDS[2:5]), arrive(source, *IDS[5:]), lambda: None)
    assert brought == set(OF_TWO[half.index - 1])


def test_a_watch_does_not_list_the_jobs_of_other_shards_at_every_poll_again() -> None:
    source, listed = FakeSource(jobs(OF_TWO[1])), []
    listing = source.jobs

    def counted(*, limit: int | None = None) -> object:
        listed.append(0)
        for one in listing(limit=limit):
            listed[-1] += 1
            yield one

    source.jobs = counted  # type: ignore[method-assign, assignment]
    assert watched(source, HALVES[0], lambda: None, lambda: None) == set()
    assert listed == [4, 1, 1]


# The Python API


@pytest.fixture
def ids(workspace: Path, world: World) -> list[str]:
    """Six jobs of the account, newest first."""
    assert workspace.is_dir()
    world.add(*samples.many(6))
    return [one.id for one in world.jobs]


def part(ids: Iterable[str], index: int) -> list[str]:
    return [job_id for job_id in ids if Shard(index, 2).holds(JobId(job_id))]


def test_two_syncs_bring_each_job_once(ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTSYNC_SHARD", "1/2")
    first = ft_sync.sync(log_datasets=False, mode="offline")
    second = ft_sync.sync(log_datasets=False, mode="offline", shard="2/2")
    assert [outcome.job_id for outcome in first.synced] == part(ids[::-1], 1)
    assert [outcome.job_id for outcome in second.synced] == part(ids[::-1], 2)


def test_every_function_that_selects_jobs_takes_a_shard(ids: list[str], tmp_path: Path) -> None:
    mine = part(ids, 2)
    oldest_first = mine[::-1]
    assert 0 < len(mine) < len(ids)
    assert [plan.job.id for plan in ft_sync.preview(mode="offline", shard="2/2").plans] == oldest_first
    assert [verdict.job_id for verdict in ft_sync.verify(shard="2/2").verdicts] == oldest_first
    assert [one.job_id for one in ft_sync.archive(tmp_path / "copy", shard="2/2").outcomes] == oldest_first
    assert [one.job.id for one in readable(ft_sync.list_jobs(mode="offline", shard="2/2"))] == mine
    details = readable(ft_sync.job_details(ids, mode="offline", shard="2/2"))
    assert [detail.standing.job.id for detail in details] == mine


def test_what_is_no_shard_is_refused_with_where_it_comes_from(ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"--shard: should be I/N .*, not '3/2'"):
        ft_sync.sync(ids[0], shard="3/2")
    monkeypatch.setenv("FTSYNC_SHARD", "0/2")
    with pytest.raises(FtSyncError, match="FTSYNC_SHARD"):
        ft_sync.preview(mode="offline")
