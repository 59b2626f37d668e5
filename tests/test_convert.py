"""What the run of a job should hold."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ft_sync import convert
from ft_sync.convert import best_of, digest, portable, record
from ft_sync.models import FileId, JobError, JobStatus, MetricRow
from ft_sync.sources.objects import checkpoint_from, event_from, job_from
from tests.builders import CREATED, at, checkpoint, event, job, result_file, snapshot, training_file

GRADER = {"type": "string_check", "name": "exact", "operation": "eq", "input": "{{sample.output_text}}"}


def config(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - as the builder it hands them to
    return dict(record(snapshot(job(**changes))).config)


def summary(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - as the builder it hands them to
    return dict(record(snapshot(job(**changes))).summary)


def test_the_digest_is_that_of_the_job_as_served_whatever_the_order_of_its_keys() -> None:
    raw = {"id": "ftjob-1", "seed": 1, "method": {"type": "dpo", "dpo": {}}}
    shuffled = {"method": {"dpo": {}, "type": "dpo"}, "seed": 1, "id": "ftjob-1"}
    assert digest(job(raw=raw)) == digest(job(raw=shuffled))


def test_the_digest_is_a_sha256_in_hex() -> None:
    assert len(bytes.fromhex(digest(job()))) == 32


def test_a_field_nobody_knows_changes_the_digest() -> None:
    assert digest(job(raw={"id": "ftjob-1", "new": 1})) != digest(job(raw={"id": "ftjob-1", "new": 2}))


def test_another_format_of_the_record_changes_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(job())
    monkeypatch.setattr(convert, "RECORD_FORMAT", convert.RECORD_FORMAT + 1)
    assert digest(job()) != before


def test_the_digest_of_odd_text_can_be_had() -> None:
    assert digest(job(raw={"suffix": "\ud800 é 🚲"}))


def test_the_record_has_the_digest_of_its_job() -> None:
    assert record(snapshot(job())).digest == digest(job())


def test_the_config_of_a_supervised_job() -> None:
    files = (training_file(), training_file("file-valid", "valid"))
    of = job(validation_file=FileId("file-valid"), suffix="bikes", metadata={"team": "shop"})
    assert record(snapshot(of, training_files=files)).config == {
        "fine_tune_job_id": "ftjob-1",
        "model": "gpt-4.1-mini-2025-04-14",
        "method": "supervised",
        "hyperparameters": {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8},
        "seed": 42,
        "suffix": "bikes",
        "organization_id": "org-1",
        "training_file": "file-train",
        "training_file_name": "train.jsonl",
        "training_file_bytes": 2048,
        "validation_file": "file-valid",
        "validation_file_name": "valid.jsonl",
        "validation_file_bytes": 2048,
        "result_files": ["file-result"],
        "created_at": "2025-10-09T08:53:20Z",
        "finished_at": "2025-10-09T09:03:20Z",
        "metadata": {"team": "shop"},
    }


def test_what_is_unknown_is_left_out_of_the_config() -> None:
    unknown: dict[str, Any] = dict.fromkeys(
        ("base_model", "method", "seed", "organization_id", "training_file", "created_at")
    )
    found = record(
        snapshot(job(**unknown, hyperparameters={}, result_files=(), finished_at=None, raw={}), training_files=())
    ).config
    assert found == {"fine_tune_job_id": "ftjob-1"}


def test_an_unknown_hyperparameter_is_left_out() -> None:
    assert config(hyperparameters={"n_epochs": 3, "beta": None})["hyperparameters"] == {"n_epochs": 3}


def test_a_hyperparameter_keeps_its_kind() -> None:
    served = {"beta": 0.1, "n_epochs": "auto", "batch_size": -1, "shuffle": False}
    assert config(hyperparameters=served)["hyperparameters"] == served


def test_a_seed_of_zero_is_a_seed() -> None:
    assert config(seed=0)["seed"] == 0


def test_a_base_model_that_was_fine_tuned_stays_as_served() -> None:
    assert config(base_model="ft:gpt-4.1:org:bikes:abc")["model"] == "ft:gpt-4.1:org:bikes:abc"


def test_the_grader_of_a_reinforcement_job_is_in_the_config() -> None:
    raw = {"method": {"type": "reinforcement", "reinforcement": {"grader": GRADER}}}
    assert config(method="reinforcement", raw=raw)["grader"] == GRADER


def test_what_is_empty_in_a_grader_was_meant_so() -> None:
    grader = {"name": "", "input": [], "response_format": {"required": [], "strict": None}}
    raw = {"method": {"type": "reinforcement", "reinforcement": {"grader": grader}}}
    assert config(raw=raw)["grader"] == {"name": "", "input": [], "response_format": {"required": []}}


@pytest.mark.parametrize("method", [None, "supervised", {}, {"reinforcement": None}, {"reinforcement": []}])
def test_a_job_without_a_grader_has_none_in_the_config(method: object) -> None:
    assert "grader" not in config(raw={"method": method})


def test_integrations_are_in_the_config_when_there_are_any() -> None:
    served = [{"type": "wandb", "wandb": {"project": "bikes"}}]
    assert config(raw={"integrations": served})["integrations"] == served


@pytest.mark.parametrize("none", [None, []])
def test_no_integrations_leave_no_trace(none: object) -> None:
    assert "integrations" not in config(raw={"integrations": none})


def test_the_summary_of_a_succeeded_job() -> None:
    assert dict(record(snapshot(result_files=())).summary) == {
        "status": "succeeded",
        "fine_tuned_model": "ft:gpt-4.1-mini-2025-04-14:org::ftjob-1",
        "trained_tokens": 12_000,
        "duration_seconds": 600.0,
    }


def test_the_summary_says_why_a_job_failed() -> None:
    error = JobError("invalid_file", "Line 3 is empty.")
    assert summary(status=JobStatus("failed"), error=error, fine_tuned_model=None)["error"] == {
        "code": "invalid_file",
        "message": "Line 3 is empty.",
    }


def test_a_job_that_ends_before_it_starts_has_no_duration() -> None:
    assert "duration_seconds" not in summary(finished_at=at(-1))
    assert summary(finished_at=at(0))["duration_seconds"] == 0


def test_the_mark_is_left_to_the_sink() -> None:
    assert "ftsync" not in summary()


def test_the_tags_are_the_service_the_base_model_and_the_method() -> None:
    assert record(snapshot(job())).tags == ("openai", "gpt-4.1-mini-2025-04-14", "supervised")


def test_what_is_unknown_is_no_tag() -> None:
    assert record(snapshot(job(base_model=None, method=None))).tags == ("openai",)


def test_a_tag_is_cut_where_wandb_would_refuse_it() -> None:
    assert record(snapshot(job(base_model="m" * 100))).tags[1] == "m" * 64


@pytest.mark.parametrize("model", ["openai/gpt-oss-20b", "openai/openai/gpt-oss-20b", " openai/ openai/gpt-oss-20b "])
def test_no_tag_makes_the_run_look_like_one_of_openais_own_integration(model: str) -> None:
    assert record(snapshot(job(base_model=model))).tags[1] == "gpt-oss-20b"


@pytest.mark.parametrize("model", ["ftsync-replaced", "openai/ftsync-replaced", " ftsync-replaced"])
def test_no_tag_makes_the_run_look_like_a_replaced_one(model: str) -> None:
    assert record(snapshot(job(base_model=model, method="dpo"))).tags == ("openai", "dpo")


def test_the_rows_are_those_of_all_sources_with_times_within_the_job() -> None:
    of = snapshot(
        result_files=(result_file(b"step,train_loss\n2,0.5\n"),),
        events=(event(1, created_at=at(0)),),
        checkpoints=(checkpoint(4),),
    )
    assert record(of).rows == (
        MetricRow(1, {"train_loss": 1.0}, CREATED),
        MetricRow(2, {"train_loss": 0.5}, CREATED + 200),
        MetricRow(4, {"full_valid_loss": 0.5}, CREATED + 600),
    )


def test_notes_of_the_source_come_before_those_of_the_rows() -> None:
    of = snapshot(result_files=(result_file(b"\x00", "file-w"),), notes=("this service keeps no events",))
    assert record(of).notes == (
        "this service keeps no events",
        "result file file-w: it is binary, not a table of metrics",
    )


def test_a_dataset_that_could_not_be_had_is_named_in_config_and_notes() -> None:
    made = record(snapshot(), {FileId("file-train"): "it is gone"})
    assert made.config["missing_files"] == {"file-train": "it is gone"}
    assert made.notes == ("file file-train could not be had: it is gone",)


def test_the_files_of_the_run_are_what_the_service_served() -> None:
    events = (event(None, id="e1", raw={"id": "e1", "é": "\ud800"}), event(1, id="e2", raw={"id": "e2"}))
    of = snapshot(
        job(raw={"id": "ftjob-1", "new": {"field": 1.5}}),
        events=events,
        checkpoints=(checkpoint(10, raw={"id": "c"}),),
        result_files=(result_file(b"c3RlcA==\r\n", "file-result"), result_file(b"\x00", "../evil/file")),
    )
    files = {file.path: b"".join(file.chunks) for file in record(of).files}
    assert json.loads(files.pop("fine_tuning/job.json")) == {"id": "ftjob-1", "new": {"field": 1.5}}
    assert [json.loads(line) for line in files.pop("fine_tuning/events.jsonl").splitlines()] == [
        {"id": "e1", "é": "\ud800"},
        {"id": "e2"},
    ]
    assert files == {
        "fine_tuning/checkpoints.jsonl": b'{"id": "c"}\n',
        "fine_tuning/result_files/file-result/step_metrics.csv": b"c3RlcA==\r\n",
        "fine_tuning/result_files/_evil_file-5aabdc26/step_metrics.csv": b"\x00",
    }


def test_the_events_are_lines_of_a_log() -> None:
    events = (event(message="Job\n\x1b started."), event(10, message="", level="warn", created_at=None))
    assert record(snapshot(events=events)).log == ("2025-10-09T08:53:20Z INFO Job started.", "WARN metrics")


def test_an_event_is_one_line_of_the_log_whatever_it_says() -> None:
    events = (event(level="in\nfo", message="a\r\nb"), event(level=" ", message="", type="\n", created_at=None))
    assert record(snapshot(events=events)).log == ("2025-10-09T08:53:20Z IN FO a b", "(nothing)")


def test_an_integer_that_wandb_would_make_a_float_of_is_kept_as_text() -> None:
    assert portable({"small": 2**63 - 1, "large": [2**63], "negative": -(2**70)}) == {
        "small": 2**63 - 1,
        "large": [str(2**63)],
        "negative": str(-(2**70)),
    }


@pytest.mark.parametrize(
    ("metric", "best"),
    [
        ("train_loss", "min"),
        ("full_valid_loss", "min"),
        ("pg_loss_sum", "min"),
        ("valid_mean_token_accuracy", "max"),
        ("training_sequence_accuracy", "max"),
        ("train_mean_reward", "max"),
        ("scores/graders/python/the loss/train_reward_mean", "max"),
        ("errors/graders/score_model/accuracy/train_sample_parse_error_mean", None),
        ("mean_unresponsive_rewards", None),
        ("sampling_duration", None),
        ("rewards/margins", "max"),
        ("rewards/accuracies", "max"),
        ("Train Loss", "min"),
        ("model_graders_token_usage/reward-model/train_prompt_tokens_mean", None),
    ],
)
def test_it_is_told_which_value_of_a_metric_is_the_best(metric: str, best: str | None) -> None:
    assert best_of(metric) == best


def test_the_summary_has_the_best_and_the_last_value_of_each_metric() -> None:
    rows = b"step,train_loss,train_mean_reward,total_duration\n1,0.5,1,10\n2,0.25,3,30\n3,0.75,2,20\n"
    summary = record(snapshot(result_files=(result_file(rows),))).summary
    assert summary["train_loss"] == {"min": 0.25, "last": 0.75}
    assert summary["train_mean_reward"] == {"max": 3.0, "last": 2.0}
    assert summary["total_duration"] == 20.0


def test_a_column_does_not_take_the_place_of_the_status() -> None:
    rows = result_file(b"step,status\n1,7\n")
    assert record(snapshot(result_files=(rows,))).summary["status"] == "succeeded"


def test_a_column_that_wandb_would_take_for_something_else_is_left_out_and_named() -> None:
    rows = result_file(b"step,_timestamp,train_data,loss\n1,5,6,7\n2,5,,\n")
    made = record(snapshot(result_files=(rows,)))
    assert [dict(row.metrics) for row in made.rows] == [{"loss": 7.0}]
    assert made.notes == ("metrics left out, whose names mean something else in a run: _timestamp, train_data",)


def test_a_number_that_was_served_as_text_is_a_number() -> None:
    given = {
        "n_epochs": "3",
        "learning_rate_multiplier": "1e-1",
        "batch_size": "auto",
        "compute_multiplier": "-1.5",
        "ids": "9" * 5000,
    }
    assert record(snapshot(job(hyperparameters=given))).config["hyperparameters"] == {
        "n_epochs": 3,
        "learning_rate_multiplier": 0.1,
        "batch_size": "auto",
        "compute_multiplier": -1.5,
        "ids": "9" * 5000,
    }


def test_what_wandb_does_not_take_is_replaced() -> None:
    made = record(snapshot(job(suffix="a\ud800b", base_model="\ud800", metadata={"\udfff": [math.inf]})))
    assert (made.config["suffix"], made.config["metadata"]) == ("a?b", {"?": ["inf"]})
    assert made.tags == ("openai", "?", "supervised")


def test_the_users_metadata_are_kept_as_they_are() -> None:
    assert record(snapshot(job(metadata={"empty": "", "zero": 0}))).config["metadata"] == {"empty": "", "zero": 0}


def test_the_model_metadata_tell_all_of_the_model() -> None:
    raw = {"id": "ftjob-1", "error": None, "usage_metrics": {"x": 1}}
    of = snapshot(job(raw=raw), checkpoints=(checkpoint(2),))
    assert record(of).model_metadata == {
        "fine_tuned_model": "ft:gpt-4.1-mini-2025-04-14:org::ftjob-1",
        "base_model": "gpt-4.1-mini-2025-04-14",
        "method": "supervised",
        "job_id": "ftjob-1",
        "status": "succeeded",
        "created_at": "2025-10-09T08:53:20Z",
        "finished_at": "2025-10-09T09:03:20Z",
        "trained_tokens": 12_000,
        "hyperparameters": {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8},
        "metrics": {"train_loss": {"min": 0.5, "last": 0.5}, "full_valid_loss": {"min": 0.5, "last": 0.5}},
        "checkpoints": [
            {
                "id": "ftckpt-2",
                "model": "ft:gpt-4.1-mini-2025-04-14:org::ftjob-1:ckpt-step-2",
                "step": 2,
                "created_at": "2025-10-09T08:53:22Z",
                "metrics": {"full_valid_loss": 0.5},
            }
        ],
        "job": raw,
    }


def test_a_job_that_made_no_model_has_no_model_metadata() -> None:
    assert record(snapshot(job(fine_tuned_model=None))).model_metadata is None


def test_a_base_model_that_has_no_name_of_its_own_is_no_tag() -> None:
    assert record(snapshot(job(base_model="openai/"))).tags == ("openai", "supervised")


TEXT = st.text(st.characters(exclude_categories=()), max_size=4)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT, st.sampled_from(["auto", "dpo", "metrics"])),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(TEXT, below, max_size=3)),
    max_leaves=6,
)


def served(*keys: str) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of these keys, and anything under them."""
    return st.dictionaries(st.sampled_from(keys), JSON, max_size=len(keys))


@given(
    served("created_at", "finished_at", "status", "model", "fine_tuned_model", "error", "metadata", "integrations")
    | served("hyperparameters", "seed", "trained_tokens", "suffix", "result_files", "training_file", "method"),
    st.fixed_dictionaries({"hyperparameters": JSON, "grader": JSON}) | JSON,
    st.lists(served("id", "created_at", "level", "message", "data"), max_size=3),
    st.lists(served("id", "created_at", "step_number", "metrics", "fine_tuned_model_checkpoint"), max_size=2),
)
def test_whatever_is_served_becomes_a_record_that_can_be_written(
    raw: dict[str, Any], method: object, events: list[dict[str, Any]], checkpoints: list[dict[str, Any]]
) -> None:
    of = job_from({"method": {"type": "dpo", "dpo": method}, **raw, "id": "ftjob-1"})
    told = tuple(event_from({**one, "type": "metrics"}) for one in events)
    made = record(snapshot(of, events=told, checkpoints=tuple(map(checkpoint_from, checkpoints))))
    rows = [{**row.metrics, "_step": row.step, "_timestamp": row.time} for row in made.rows]
    written = [made.config, made.summary, made.model_metadata, rows, made.tags, made.notes, made.log, made.failure]
    assert json.dumps(written, allow_nan=False, ensure_ascii=False).encode()


def test_all_that_goes_into_the_run_is_json() -> None:
    made = record(snapshot(job(estimated_finish=at(1)), checkpoints=(checkpoint(),)))
    for part in (made.config, made.summary, made.model_metadata):
        assert json.loads(json.dumps(part)) == part
