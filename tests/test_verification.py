"""Verifying jobs between two services in memory: who is asked, what one failure costs, and what a repair writes."""

from __future__ import annotations

import _thread
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ft_sync.compare import NO_BYTES, Differs, Identical, Missing, Unreadable, Verification
from ft_sync.errors import Forbidden, NotFound, Unavailable, Unexpected
from ft_sync.events import Event, Selected, Verified
from ft_sync.models import FileId, JobId, JobStatus, MetricRow, Origin, RunId, RunState, Skipped
from ft_sync.planning import Request, Selection
from ft_sync.verification import repair, verify
from tests.builders import at, held_dataset, job, training_file
from tests.fakes import FakeClock, FakeSink, FakeSource, complete_run

if TYPE_CHECKING:
    from ft_sync.models import Job


def jobs(count: int) -> list[Job]:
    return [job(f"ftjob-{number}", created_at=at(number)) for number in range(1, count + 1)]


class Setting:
    """Both services, with the runs of so many jobs written; `heard` is what is told."""

    def __init__(self, count: int) -> None:
        self.source, self.sink = FakeSource(jobs(count)), FakeSink()
        self.request = Request(concurrency=4)
        self.heard: list[Event] = []
        self.repair()
        self.sink.did.clear()
        self.sink.contents.clear()
        self.source.asked.clear()
        self.heard.clear()

    def verify(self) -> Verification:
        return verify(self.source, self.sink, FakeClock(), self.request, self.heard.append)

    def repair(self) -> Verification:
        return repair(self.source, self.sink, FakeClock(), self.request, self.heard.append, self.verify())

    def kinds(self) -> list[type]:
        return [type(one) for one in self.verify().verdicts]


def test_what_was_written_is_identical_in_the_order_of_the_selection() -> None:
    setting = Setting(3)
    found = setting.verify()
    assert [one.job_id for one in found.verdicts] == ["ftjob-1", "ftjob-2", "ftjob-3"]
    assert found.is_identical
    assert found.counts == {"identical": 3}
    assert setting.sink.did == []


def test_each_verdict_is_told_once() -> None:
    setting = Setting(3)
    found = setting.verify()
    assert setting.heard[0] == Selected(3, "verify")
    told = [event.verdict for event in setting.heard if isinstance(event, Verified)]
    assert sorted(told, key=lambda one: one.job_id) == list(found.verdicts)


def test_a_file_that_many_jobs_share_is_downloaded_once() -> None:
    setting = Setting(5)
    setting.verify()
    assert setting.source.asked.count("download file-train") == 1


def test_the_two_sides_that_cannot_be_read_are_told_apart() -> None:
    setting = Setting(3)
    setting.source.broken["ftjob-1"] = Unavailable("no answer")
    setting.sink.unreadable["ftjob-2"] = Unavailable("no answer")
    first, second, third = setting.verify().verdicts
    assert isinstance(first, Unreadable)
    assert isinstance(second, Unreadable)
    assert (first.side, second.side) == ("source", "W&B")
    assert isinstance(third, Identical)


def test_a_bug_met_in_one_job_costs_no_other() -> None:
    setting = Setting(2)
    setting.sink.unreadable["ftjob-1"] = ZeroDivisionError()
    first, second = setting.verify().verdicts
    assert isinstance(first, Unreadable)
    assert isinstance(first.error, Unexpected)
    assert isinstance(second, Identical)


def test_a_job_that_does_not_exist_is_unreadable() -> None:
    setting = Setting(1)
    setting.request = replace(setting.request, selection=Selection((JobId("ftjob-1"), JobId("ftjob-typo"))))
    verdicts = {one.job_id: type(one) for one in setting.verify().verdicts}
    assert verdicts == {"ftjob-1": Identical, "ftjob-typo": Unreadable}


def test_jobs_without_a_run_that_could_be_compared() -> None:
    running, failed = (job(f"ftjob-{status}", status=JobStatus(status)) for status in ("running", "failed"))
    foreign, written = job("ftjob-foreign"), job("ftjob-written")
    setting = Setting(0)
    setting.source.jobs_by_id = {one.id: one for one in (running, failed, foreign, written)}
    setting.sink.add(RunState(RunId("ftjob-foreign"), foreign.id, Origin.OTHER, "finished"))
    setting.sink.add(RunState(RunId("ftjob-written"), written.id, Origin.FTSYNC, "running", being_written=True))
    kinds = {one.job_id: type(one) for one in setting.verify().verdicts}
    assert kinds == {running.id: Skipped, failed.id: Skipped, foreign.id: Missing, written.id: Unreadable}


def test_a_repair_writes_what_is_missing_or_differs_and_nothing_else() -> None:
    setting = Setting(2)
    setting.sink.spoiled["ftjob-2"] = {"tags": ()}
    third = job("ftjob-3", created_at=at(9))
    setting.source.jobs_by_id[third.id] = third
    assert setting.kinds() == [Identical, Differs, Missing]
    assert setting.repair().is_identical
    opened = {words for words in setting.sink.did if words.startswith("open")}
    assert opened == {"open ftjob-2-r2", "open ftjob-3"}
    assert setting.sink.deleted == ["ftjob-2"]


def test_what_cannot_be_repaired_says_why() -> None:
    setting = Setting(1)
    setting.sink.spoiled["ftjob-1"] = {"tags": ()}
    setting.sink.loses.add("ftjob-1-r2")
    (verdict,) = setting.repair().verdicts
    assert isinstance(verdict, Differs)
    assert verdict.notes[-1].startswith("it could not be repaired")


def test_what_the_source_has_lost_is_left_alone_and_said() -> None:
    setting = Setting(1)
    setting.source.broken["file-result"] = NotFound("it is gone")
    (verdict,) = setting.repair().verdicts
    assert isinstance(verdict, Differs)
    assert verdict.lost == ("fine_tuning/result_files/file-result/content", "the metrics of 2 steps")
    assert verdict.notes[-1] == "left alone: written again, its run would lose that"
    assert setting.sink.did == []


def test_a_dataset_that_differs_is_brought_again() -> None:
    setting = Setting(1)
    setting.sink.spoiled["ftjob-1"] = {"summary": {}, "datasets": ()}
    repaired = setting.repair()
    assert repaired.is_identical
    assert setting.sink.renewed_files == ["file-train"]
    assert setting.sink.rewritten == {"ftjob-1"}
    assert [one.notes for one in repaired.verdicts if isinstance(one, Identical)] == [("told of file-train",)]


def test_runs_that_are_kept_are_among_those_that_get_a_renewed_file() -> None:
    setting = Setting(1)
    setting.request = replace(setting.request, keep_replaced=True)
    setting.sink.spoiled["ftjob-1"] = {"datasets": ()}
    setting.repair()
    assert setting.sink.rewritten == frozenset()


def test_a_damaged_file_that_the_source_does_not_give_any_more_costs_no_rewrite() -> None:
    setting = Setting(1)
    setting.source.broken["file-train"] = NotFound("it is gone")
    damaged = held_dataset(training_file(), files={"data.jsonl": NO_BYTES})
    setting.sink.spoiled["ftjob-1"] = {"datasets": (damaged,)}
    (verdict,) = setting.repair().verdicts
    assert isinstance(verdict, Differs)
    assert verdict.notes[-1] == "left alone: the source does not give the damaged files any more"
    assert (setting.sink.did, setting.sink.renewed_files) == ([], [])
    # Another difference is repaired all the same, and the damage stays named.
    setting.sink.spoiled["ftjob-1"] |= {"tags": ()}
    setting.sink.spoiled["ftjob-1-r2"] = {"datasets": (damaged,)}
    (verdict,) = setting.repair().verdicts
    assert isinstance(verdict, Differs)
    assert verdict.run_id == "ftjob-1-r2"
    assert [one.item for one in verdict.differences] == list(verdict.beyond_repair)


def test_the_bytes_of_datasets_are_read_unless_they_are_not_asked_for() -> None:
    setting = Setting(1)
    setting.verify()
    setting.request = replace(setting.request, content=False)
    setting.verify()
    assert setting.sink.contents == [True, False]


@pytest.mark.parametrize("refusal", [NotFound("it is gone"), Forbidden("no")])
def test_a_dataset_that_wb_alone_has_is_noted_and_not_compared(refusal: Exception) -> None:
    setting = Setting(1)
    setting.source.broken["file-train"] = refusal
    (verdict,) = setting.verify().verdicts
    assert isinstance(verdict, Identical)
    assert "file-train" in verdict.notes[0]


def test_a_model_that_lacks_latest_alone_is_not_written_again() -> None:
    setting = Setting(1)
    model = setting.sink.runs[RunId("ftjob-1")].held().model
    assert model is not None
    setting.sink.spoiled["ftjob-1"] = {"model": replace(model, aliases=("ftjob-1",))}
    setting.sink.latest = JobId("none")
    setting.repair()
    assert [setting.sink.latest] == ["ftjob-1"]
    assert setting.sink.did == []


def test_a_run_that_holds_nothing_of_the_job_is_left_alone_if_the_source_has_less() -> None:
    one = job(result_files=())
    setting = Setting(0)
    setting.source.jobs_by_id = {one.id: one}
    setting.sink.add(complete_run(one, origin=Origin.WANDB_LOGGER, mark=None))
    setting.sink.runs[RunId(one.id)].rows = [MetricRow(1, {"train_loss": 1.0})]
    (verdict,) = setting.repair().verdicts
    assert isinstance(verdict, Differs)
    assert verdict.lost == ("the metrics of 1 steps",)


def test_an_interruption_ends_it_without_waiting_for_the_jobs_whose_turn_has_not_come() -> None:
    setting = Setting(20)
    stopped = threading.Event()
    clock = FakeClock(at_stop=stopped.set)

    def interrupt(words: str) -> None:
        if words == "read back ftjob-1":
            _thread.interrupt_main()
        if words.startswith("read back"):
            assert stopped.wait(60)

    setting.sink.happens = interrupt
    with pytest.raises(KeyboardInterrupt):
        verify(setting.source, setting.sink, clock, setting.request, setting.heard.append)
    assert clock.stopped


def test_a_description_from_wb_stands_in_for_one_that_the_source_refuses() -> None:
    setting = Setting(1)
    described = training_file(filename="mine.jsonl", size=40)
    setting.sink.descriptions[FileId("file-train")] = described
    setting.source.broken["describe file-train"] = NotFound("it is gone")
    (verdict,) = setting.verify().verdicts
    assert isinstance(verdict, Differs)
    assert [one.expected for one in verdict.differences] == ["mine.jsonl", 40]
