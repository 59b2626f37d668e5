"""The sample jobs as data."""

import csv
import json
from typing import Any, Literal

import pytest

from ft_sync.sandbox import SampleJob, World, samples

NOW = 1_795_000_000.0
JOBS = {job.job.get("user_provided_suffix"): job for job in samples.world(NOW).jobs}


def _table(job: SampleJob) -> list[dict[str, str]]:
    (content,) = (file.content for file in job.files if file.id in job.job["result_files"])
    return list(csv.DictReader(content.decode().splitlines()))


def _metrics(job: SampleJob) -> list[dict[str, Any]]:
    return [event["data"] for event in job.events if event["type"] == "metrics"]


def test_two_worlds_of_one_moment_are_equal() -> None:
    assert samples.world(NOW).jobs == samples.world(NOW).jobs


def test_finished_jobs_do_not_depend_on_the_moment() -> None:
    assert samples.world(NOW).jobs[1:] == samples.world(NOW + 99_999).jobs[1:]


def test_a_later_demo_has_another_live_job() -> None:
    assert samples.live_job(NOW).id != samples.live_job(NOW + 60).id


def test_all_ids_are_different() -> None:
    jobs = [*samples.world(NOW).jobs, *samples.many(100)]
    ids = [job.id for job in jobs]
    ids += [part["id"] for job in jobs for part in (*job.events, *job.checkpoints)]
    ids += [file_id for job in jobs for file_id in job.job["result_files"]]
    assert len(ids) == len(set(ids))


def test_every_status_and_method_occurs() -> None:
    jobs = [job.job for job in JOBS.values()]
    assert {job["status"] for job in jobs} == {"succeeded", "failed", "cancelled"}
    assert {job["method"]["type"] for job in jobs if "method" in job} == {
        "supervised",
        "dpo",
        "reinforcement",
    }


def test_losses_fall_and_accuracies_rise() -> None:
    rows = _metrics(JOBS["support"])
    assert rows[-1]["train_loss"] < rows[0]["train_loss"] / 2
    assert rows[-1]["train_mean_token_accuracy"] > rows[0]["train_mean_token_accuracy"]


def test_validation_cells_are_mostly_blank() -> None:
    told = [row["step"] for row in _table(JOBS["support"]) if row["valid_loss"]]
    assert told == ["30", "60", "90"]


def test_events_tell_what_the_result_file_lacks() -> None:
    assert "full_valid_loss" not in _table(JOBS["support"])[0]
    assert "full_valid_loss" in _metrics(JOBS["support"])[-1]


def test_the_old_job_has_steps_whose_events_are_gone() -> None:
    old = JOBS[None]
    assert len(_table(old)) == 40
    assert [row["step"] for row in _metrics(old)] == list(range(26, 41))


def test_dpo_has_its_hyperparameters_in_the_method_only() -> None:
    job = JOBS["kindness"].job
    assert job["hyperparameters"]["n_epochs"] == "auto"
    assert job["method"]["dpo"]["hyperparameters"]["n_epochs"] == 2


def test_reinforcement_nests_in_events_what_the_result_file_has_flat() -> None:
    job = JOBS["torque"]
    grader = _metrics(job)[-1]["scores"]["graders"][0]
    column = f"scores/graders/{grader['type']}/{grader['name']}/train_reward_mean"
    assert float(_table(job)[-1][column]) == grader["train_reward_mean"]
    assert job.job["hyperparameters"] is None


def test_a_failed_job_says_why_and_has_no_results() -> None:
    job = JOBS["late-night"]
    assert job.job["error"]["param"] == "training_file"
    assert job.job["result_files"] == []
    assert [event["level"] for event in job.events][-2:] == ["error", "error"]


def test_the_broken_line_is_where_the_error_says() -> None:
    lines = JOBS["late-night"].files[0].content.splitlines()
    with pytest.raises(json.JSONDecodeError):
        json.loads(lines[16])
    assert all(json.loads(line) for number, line in enumerate(lines, 1) if number != 17)


def test_training_files_are_json_lines_with_any_alphabet() -> None:
    content = JOBS["support"].files[0].content
    assert len([json.loads(line) for line in content.splitlines()]) == 120
    assert all(word in content.decode() for word in ("הגלגל", "دراجتي", "🚲", "ブレーキ"))


def test_tool_calls_are_answered_and_weighted() -> None:
    line = json.loads(JOBS["stock"].files[0].content.splitlines()[0])
    call, result = line["messages"][2], line["messages"][3]
    assert call["tool_calls"][0]["id"] == result["tool_call_id"]
    assert {message["weight"] for message in line["messages"] if "weight" in message} == {0, 1}
    assert line["tools"][0]["function"]["name"] == call["tool_calls"][0]["function"]["name"]


def test_many_jobs_share_their_datasets() -> None:
    jobs = samples.many(1000)
    assert len({job.id for job in jobs}) == 1000
    assert len({file.id for job in jobs for file in job.files if file.purpose == "fine-tune"}) == 2
    assert [job.id for job in World(jobs).jobs] == [job.id for job in jobs]


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_many_jobs_may_have_ended_badly(status: Literal["failed", "cancelled"]) -> None:
    assert {job.job["status"] for job in samples.many(3, status=status)} == {status}


def test_a_recipe_takes_what_it_is_given() -> None:
    file = samples.dataset("mine.jsonl", b"{}\n" * 12)
    job = samples.Supervised(id="ftjob-mine", steps=6, created_at=5, training_file=file, more={"x": 1}).build()
    assert (job.id, job.created_at, job.job["training_file"], job.job["x"]) == ("ftjob-mine", 5, file.id, 1)
    assert len(_metrics(job)) == 6
    assert job.job["hyperparameters"]["batch_size"] == 6


def test_a_world_takes_files_of_their_own() -> None:
    file = samples.dataset("loose.jsonl", b"{}\n")
    world = World(files=[file])
    assert world.file(file.id, NOW) == file
    world.remove(file.id)
    assert world.file(file.id, NOW) is None
