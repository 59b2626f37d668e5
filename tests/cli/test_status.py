from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from ft_sync.cli.status import seconds_left
from ft_sync.models import JobStatus, SyncState
from ft_sync.overview import Detail, Standing
from ft_sync.sandbox import World, samples
from tests.builders import at, event, job

if TYPE_CHECKING:
    from tests.cli.conftest import Ftsync

NOW = at(0).timestamp()


def facts(rows: list[list[str]]) -> dict[str, str]:
    return {name: value for _, name, value in rows}


def running(**changes: Any) -> Detail:  # noqa: ANN401 - any field of a job
    fields = {"status": JobStatus("running"), "finished_at": None, "estimated_finish": None, **changes}
    events = (event(10, created_at=at(0)), event(20, created_at=at(50)))
    return Detail(Standing(job(**fields), SyncState.ABSENT), events, 20, 40, {})


def test_the_service_knows_best_how_long_a_job_takes() -> None:
    assert seconds_left(running(estimated_finish=at(90)), NOW + 60) == 30


def test_without_its_word_the_rate_of_the_steps_tells() -> None:
    assert seconds_left(running(), NOW + 60) == 90


def test_a_late_job_has_no_time_left_rather_than_less() -> None:
    assert seconds_left(running(estimated_finish=at(90)), NOW + 600) == 0
    assert seconds_left(running(), NOW + 600) == 0


def test_one_report_is_no_rate() -> None:
    detail = running()
    assert seconds_left(Detail(detail.standing, detail.events[:1], 10, 40, {}), NOW) is None
    assert seconds_left(Detail(detail.standing, (), None, None, {}), NOW) is None


def test_a_finished_job_has_nothing_left() -> None:
    assert seconds_left(running(status=JobStatus("succeeded")), NOW) is None


def test_a_job_in_depth(ftsync: Ftsync, world: World) -> None:
    sample = samples.finished_jobs()[1]
    world.add(sample)
    assert ftsync("sync", "-q").code == 0
    said = ftsync("status", sample.id)
    told = facts(said.rows)
    assert said.code == 0
    assert {row[0] for row in said.rows} == {sample.id}
    assert told["fine-tuned model"] == sample.job["fine_tuned_model"]
    assert told["took"] == "13m 05s"
    assert told["metrics"].startswith("train_loss 0.3963")
    assert [row[1] for row in said.rows].count("event") == 5
    assert told["result file"] == sample.job["result_files"][0]
    assert told["in W&B"] == "complete"
    assert told["sync would"] == "skip: already complete"


def test_a_failed_job_says_why(ftsync: Ftsync, world: World) -> None:
    sample = samples.finished_jobs()[5]
    world.add(sample)
    told = facts(ftsync("status", sample.id).rows)
    assert told["error"].endswith("line 17 is not JSON.")
    error = ftsync("status", sample.id, "--json").json["jobs"][0]["error"]
    assert error == sample.job["error"]


def test_json_has_progress_metrics_events_and_files(ftsync: Ftsync, world: World) -> None:
    sample = samples.live_job(time.time() - 3)
    world.add(sample)
    (told,) = ftsync("status", sample.id, "--json").json["jobs"]
    assert told["progress"]["total_steps"] == samples.LIVE_STEPS
    assert 0 < told["progress"]["step"] < samples.LIVE_STEPS
    assert 0 < told["progress"]["seconds_left"] < 30
    assert "train_loss" in told["metrics"]
    assert {"created_at", "level", "message"} == set(told["events"][0])
    assert told["files"]["training"] == sample.job["training_file"]
    assert told["plan"]["action"] == "wait"


def test_without_ids_all_jobs_are_counted(ftsync: Ftsync, world: World) -> None:
    world.add(*samples.many(120), *samples.many(122, status="cancelled")[120:])
    said = ftsync("status", "--json").json
    assert said["jobs"] == 122
    assert said["counts"] == {"status": {"succeeded": 120, "cancelled": 2}, "sync": {"absent": 122}}
    assert ["status", "succeeded", "120"] in ftsync("status").rows
    assert len(ftsync("status", "-q").rows) == 122


@pytest.mark.parametrize("named", [True, False])
def test_exit_code_8_is_for_unfinished_jobs_and_only_if_asked_for(named: bool, ftsync: Ftsync, world: World) -> None:
    (done,), live = samples.many(1), samples.live_job(time.time())
    world.add(done)
    assert ftsync("status", "--exit-code").code == 0
    world.add(live)
    arguments = [done.id, live.id] if named else []
    assert ftsync("status", *arguments).code == 0
    assert ftsync("status", *arguments, "--exit-code").code == 8


def test_one_unknown_job_hides_no_other(ftsync: Ftsync, world: World) -> None:
    sample = samples.finished_jobs()[1]
    world.add(sample)
    said = ftsync("status", "ftjob-typo", sample.id, "--json")
    assert said.code == 3
    assert [one["job_id"] for one in said.json["jobs"]] == [sample.id]
    assert [one["error"]["code"] for one in said.json["failed"]] == ["not_found"]
    assert "ftjob-typo" in said.err
