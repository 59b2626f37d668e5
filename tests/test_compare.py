"""The comparison alone: what is an item, what is nobody's difference, and what the source has lost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from ft_sync.compare import (
    NO_BYTES,
    ROWS_NAMED,
    Difference,
    Digest,
    Expected,
    beyond_repair,
    differences,
    lost,
    stale,
)
from ft_sync.models import MetricRow, RunFile
from tests.builders import DATASET, digest_of, held_dataset, held_run, record, training_file

if TYPE_CHECKING:
    from ft_sync.compare import HeldRun, Stored

ROWS = tuple(MetricRow(step, {"train_loss": 1 / step}, 1_700_000_000.0 + step) for step in range(1, 11))
FILES = (
    RunFile("fine_tuning/job.json", [b"{}"]),
    RunFile("fine_tuning/events.jsonl", [b"1\n2\n3\n"]),
    RunFile("fine_tuning/result_files/file-r/metrics.csv", [b"step,train_loss\n"]),
)
RECORD = record(
    config={"model": "gpt", "hyperparameters": {"n_epochs": 3}},
    summary={"status": "succeeded", "train_loss": {"min": 0.1, "last": 0.1}},
    tags=("openai", "supervised"),
    rows=ROWS,
    files=FILES,
    log=("one", "two", "three"),
    model_metadata={"fine_tuned_model": "ft:x", "checkpoints": [{"step": 5}]},
    notes=("a note",),
)
TRAIN = training_file()


def expected(*, is_native: bool = False, without: str | None = None, **changes: Any) -> Expected:  # noqa: ANN401
    made = replace(RECORD, **changes)
    files = tuple(file for file in made.files if without is None or without not in file.path)
    digests = {file.path: digest_of(b"".join(file.chunks)) for file in files}
    return Expected(replace(made, files=files), ((TRAIN, DATASET),), digests, is_native)


def held(**changes: Any) -> HeldRun:  # noqa: ANN401 - a builder
    return held_run(RECORD, inputs=(TRAIN,), **changes)


def items(run: HeldRun, wanted: Expected | None = None) -> list[str]:
    return [one.item for one in differences(wanted or expected(), run)]


def test_a_run_as_it_was_written_does_not_differ() -> None:
    assert differences(expected(), held()) == ()


def test_a_difference_tells_what_was_expected_and_what_was_found() -> None:
    run = held(config={**held().config, "model": "other"})
    assert differences(expected(), run) == (Difference("config.model", "gpt", "other"),)


def test_what_is_gone_was_found_as_nothing() -> None:
    (found,) = differences(expected(), held(tags=("openai",)))
    assert found == Difference("tag supervised", "supervised", None)


def test_a_nested_key_too_many_is_a_difference_in_a_run_of_ours_and_none_in_one_that_was_added_to() -> None:
    run = held(config={**held().config, "hyperparameters": {"n_epochs": 3, "theirs": 1}})
    assert differences(expected(), run) == (Difference("config.hyperparameters.theirs", None, 1),)
    assert items(run, expected(is_native=True)) == []


@pytest.mark.parametrize(
    ("config", "difference"),
    [
        ({"seed2": 7}, Difference("config.seed2", None, 7)),
        ({"_theirs": 1}, Difference("config._theirs", None, 1)),
        ({"hyperparameters": {"n_epochs": 4}}, Difference("config.hyperparameters.n_epochs", 3, 4)),
        ({"hyperparameters": {}}, Difference("config.hyperparameters.n_epochs", 3, None)),
        ({"hyperparameters": "gone"}, Difference("config.hyperparameters", {"n_epochs": 3}, "gone")),
        ({"n_train": DATASET.summary.examples + 1}, Difference("config.n_train", 1, 2)),
    ],
)
def test_a_config_that_says_something_else_of_the_job_differs(config: dict[str, Any], difference: Difference) -> None:
    assert differences(expected(), held(config={**held().config, **config})) == (difference,)


def test_a_config_key_of_a_dataset_is_none_too_many_although_the_dataset_is_not_asked_for() -> None:
    run = held(config={**held().config, "n_valid": 3})
    assert items(run) == []


def test_the_config_that_the_user_gives_to_every_run_is_expected() -> None:
    given = replace(expected(), given={"team": {"name": "a"}, "any": None, "model": "theirs"})
    config = {**held().config, "team": {"name": "a"}, "any": "<object>"}
    assert items(held(config=config), given) == []
    assert items(held(config={**config, "team": {"name": "b", "size": 3}}), given) == [
        "config.team.name",
        "config.team.size",
    ]
    assert items(held(), given) == ["config.team"]


def test_files_that_are_not_stored_are_named_with_what_was_found() -> None:
    files = {"data.jsonl": NO_BYTES, "train_data.table.json": Digest(2, "other")}
    run = held(datasets=(held_dataset(TRAIN, files=files, table_rows=None),))
    assert differences(expected(), run) == (
        Difference("train dataset: file data.jsonl", DATASET.content, NO_BYTES),
        Difference("train dataset: file train_data.table.json", DATASET.table, Digest(2, "other")),
    )
    assert stale(expected(), run) == (TRAIN,)


def test_a_model_that_cannot_be_read_is_one_difference() -> None:
    model = held().model
    assert model is not None
    for stored, found in ((NO_BYTES, NO_BYTES), (Digest(1, "m"), "1 bytes, MD5 m"), (None, None)):
        run = held(model=replace(model, content=None, stored=stored))
        assert differences(expected(), run) == (Difference("model_metadata.json", "a JSON object", found),)


def test_a_model_whose_bytes_say_the_same_otherwise_differs() -> None:
    model = held().model
    assert model is not None
    assert items(held(model=replace(model, stored=Digest(1, "other")))) == ["model_metadata.json"]


def test_a_damaged_file_that_the_source_does_not_give_any_more_is_beyond_repair() -> None:
    gone = replace(expected(), datasets=((TRAIN, None),))
    run = held(datasets=(held_dataset(TRAIN, files={"data.jsonl": DATASET.content}),))
    assert items(run, gone) == ["train dataset: file train_data.table.json"]
    assert beyond_repair(gone, run) == ("train dataset: file train_data.table.json",)
    assert stale(gone, run) == ()
    assert beyond_repair(expected(), run) == ()


def test_a_dataset_without_any_file_is_damaged_too() -> None:
    gone = replace(expected(), datasets=((TRAIN, None),))
    assert items(held(datasets=(held_dataset(TRAIN, files={}, listed={}),)), gone) == ["train dataset: file"]


def test_a_file_without_bytes_is_nothing_that_could_be_lost() -> None:
    files = {**held().files, FILES[2].path: NO_BYTES}
    assert lost(expected(without="result_files"), held(files=files)) == ()


def test_the_first_rows_that_differ_are_named_and_the_others_counted() -> None:
    run = held(rows=tuple(replace(row, metrics={"train_loss": 0.0}) for row in ROWS))
    *named, last = differences(expected(), run)
    assert [one.item for one in named] == [f"row {step}: train_loss" for step in range(1, ROWS_NAMED + 1)]
    assert last == Difference("rows", "10 rows", "10 rows, 5 more of them differ")


def test_a_row_without_a_time_of_its_own_has_whatever_time() -> None:
    timeless = tuple(replace(row, time=None) for row in ROWS)
    assert items(held(), expected(rows=timeless)) == []


def test_rows_in_another_order_are_the_same_rows() -> None:
    assert items(held(rows=ROWS[::-1])) == []


def test_a_step_that_is_there_twice_is_a_row_too_many() -> None:
    assert differences(expected(), held(rows=(*ROWS, ROWS[0]))) == (Difference("row 1", None, {"train_loss": 1.0}),)


def test_a_note_that_was_lengthened_still_is_there() -> None:
    assert items(held(notes="mine\n\na note, and more")) == []
    assert items(held(notes="mine")) == ["notes"]


def test_a_console_log_that_cannot_be_read_back_is_no_difference() -> None:
    assert items(held(log=None)) == []


def test_a_console_log_of_another_length_is_one_difference() -> None:
    assert differences(expected(), held(log=("one",))) == (Difference("console log", "3 lines", "1 lines"),)


def test_lines_of_a_run_that_was_added_to_are_among_its_own() -> None:
    native = expected(is_native=True)
    assert items(held(log=("theirs", *RECORD.log)), native) == []
    (found,) = differences(native, held(log=("theirs", "one")))
    assert found.found == "2 of 3 lines are missing"


def test_the_mark_must_be_of_this_job_and_these_rows() -> None:
    assert items(held(summary={**held().summary, "ftsync": {"digest": "other", "rows": 10}})) == ["mark"]
    assert items(held(summary={**held().summary, "ftsync": {"digest": RECORD.digest, "rows": 9}})) == ["mark"]
    assert items(held(summary={**held().summary, "ftsync": "gone"})) == ["mark"]


@pytest.mark.parametrize(
    ("changes", "item"),
    [
        ({"files": {}}, "train dataset: file"),
        ({"table_rows": 7}, "train dataset: rows of train_data.table.json"),
        ({"aliases": ("latest",)}, "train dataset: alias"),
        ({"type": "dataset"}, "train dataset: type"),
    ],
)
def test_a_dataset_that_is_not_as_it_was_is_to_be_brought_again(changes: dict[str, Any], item: str) -> None:
    run = held(datasets=(held_dataset(TRAIN, **changes),))
    assert item in items(run)
    assert stale(expected(), run) == (TRAIN,)


def test_of_two_versions_the_one_that_is_called_after_the_file_counts() -> None:
    other = held_dataset(TRAIN, aliases=(), table_rows=0)
    assert items(held(datasets=(other, held_dataset(TRAIN), other))) == []


def test_a_dataset_that_the_source_does_not_give_any_more_is_there_and_not_compared() -> None:
    gone = replace(expected(), datasets=((TRAIN, None),))
    assert items(held(datasets=(held_dataset(TRAIN, table_rows=0),)), gone) == []
    assert items(held(datasets=()), gone) == ["train dataset: artifact"]


def test_latest_is_missed_at_the_newest_model_alone() -> None:
    model = held().model
    assert model is not None
    elsewhere = replace(model, aliases=("ftjob-1",))
    assert items(held(model=elsewhere)) == ["model alias latest"]
    assert items(held(model=replace(elsewhere, is_newest=False))) == []


def test_the_content_of_a_model_is_compared_key_by_key() -> None:
    model = held().model
    assert model is not None
    content = {**(model.content or {}), "run_id": "another", "mine": 1}
    assert items(held(model=replace(model, content=content))) == [
        "model_metadata.json: run_id",
        "model_metadata.json: mine",
    ]


def test_a_model_that_the_job_does_not_have_is_a_difference_and_would_be_lost() -> None:
    without = expected(model_metadata=None)
    assert "model artifact" in items(held(), without)
    assert lost(without, held()) == ("the model",)


def test_nothing_is_lost_where_the_source_gives_all_that_wb_holds() -> None:
    assert lost(expected(), held()) == ()
    assert lost(expected(), held(files={}, log=(), rows=(), model=None)) == ()


def test_a_result_file_that_is_gone_from_the_source_would_be_lost() -> None:
    assert lost(expected(without="result_files"), held()) == (FILES[2].path,)


def test_a_file_that_the_source_gives_under_another_name_is_not_lost() -> None:
    path = "fine_tuning/result_files/file-r/content"
    digests = {file.path: digest_of(b"".join(file.chunks)) for file in FILES}
    assert lost(expected(), held(files={**digests, path: digests.pop(FILES[2].path)})) == ()


def test_events_that_are_gone_from_the_source_would_be_lost() -> None:
    fewer = (FILES[0], RunFile("fine_tuning/events.jsonl", [b"3\n"]), *FILES[2:])
    assert lost(expected(log=("three",), files=fewer), held()) == ("2 events",)
    assert lost(expected(without="events", log=()), held()) == ("fine_tuning/events.jsonl",)


def test_checkpoints_that_are_gone_from_the_source_would_be_lost() -> None:
    path = "fine_tuning/checkpoints.jsonl"
    fewer = expected(model_metadata={"checkpoints": []}, files=(*FILES, RunFile(path, [b""])))
    assert lost(fewer, held(files={**held().files, path: digest_of(b"5\n")})) == ("1 checkpoints",)


def test_lines_that_somebody_else_wrote_to_the_console_are_none_of_the_sources() -> None:
    assert lost(expected(), held(log=("theirs", *RECORD.log))) == ()
    assert lost(expected(), held(log=("theirs",) * 9, files={})) == ()


def test_a_row_that_never_was_the_sources_is_nothing_to_be_kept() -> None:
    run = held(rows=(*ROWS, MetricRow(99, {"train_loss": 9.0})))
    assert items(run) == ["row 99"]
    assert lost(expected(), run) == ()


def test_a_row_that_may_have_been_the_sources_would_be_lost() -> None:
    run = held(rows=(*ROWS, MetricRow(99, {"train_loss": 9.0})), files={})
    assert lost(expected(), run) == ("the metrics of 1 steps",)


@pytest.mark.parametrize("path", [file.path for file in FILES])
@pytest.mark.parametrize("stored", [NO_BYTES, digest_of(b"")])
def test_a_step_that_was_altered_is_not_lost_by_the_source_though_a_file_is_damaged(path: str, stored: Stored) -> None:
    rows = (*ROWS[:-1], replace(ROWS[-1], step=99))
    assert lost(expected(), held(rows=rows, files={**held().files, path: stored})) == ()


def test_a_job_that_is_served_otherwise_now_is_no_evidence_of_lost_metrics() -> None:
    run = held(rows=(*ROWS, MetricRow(99, {"train_loss": 9.0})))
    assert lost(expected(files=(RunFile(FILES[0].path, [b""]), *FILES[1:])), run) == ()


def test_steps_of_a_longer_result_file_would_be_lost() -> None:
    run = held(rows=(*ROWS[:-1], replace(ROWS[-1], step=99)))
    shorter = (*FILES[:2], RunFile(FILES[2].path, [b"step"]))
    assert lost(expected(files=shorter), run) == ("the metrics of 1 steps",)


def test_the_history_of_a_run_that_is_only_added_to_is_its_own() -> None:
    native = expected(is_native=True)
    assert items(held(rows=ROWS[:3]), native) == []
    assert lost(native, held(rows=(MetricRow(99, {}),), files={}, log=("theirs",) * 9)) == ()
