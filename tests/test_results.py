from __future__ import annotations

import base64
import contextlib
import csv
import io
import math
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ft_sync.errors import BadData
from ft_sync.models import MetricRow
from ft_sync.result_text import LONGEST_CELL, decode
from ft_sync.results import Merged, flatten, merge, parse
from tests.builders import CREATED, FINISHED, at, checkpoint, event, result_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ft_sync.models import JobEvent

CSV = "step,train_loss,train_accuracy,valid_loss\n1,2.5,0.5,\n2,1.25,0.75,1.5\n"
WEIGHTS = b"\x80\x02}q\x00(X\x05\x00\x00\x00layer" * 8


METRICS = ["train_loss", "rewards/margins", 'say "a, b"']
Table: TypeAlias = "dict[int, dict[str, float]]"
SOURCE: st.SearchStrategy[Table] = st.dictionaries(
    st.integers(0, 3),
    st.dictionaries(
        st.sampled_from(METRICS),
        st.floats(-2, 2).flatmap(lambda number: st.sampled_from([number, round(number, 3), round(number, 5)])),
    ),
)


def metrics(text: str) -> dict[int, Mapping[str, float]]:
    return {row.step: row.metrics for row in parse(text).rows}


def merged(content: str = "", **sources: object) -> Merged:
    files = [result_file(content.encode())] if content else []
    return merge(files, sources.get("events", ()), sources.get("checkpoints", ()))  # type: ignore[arg-type]


class TestParse:
    def test_older_names_become_the_current_ones(self) -> None:
        assert metrics("step,train_accuracy,validation_mean_token_accuracy\n1,0.5,0.25\n") == {
            1: {"train_mean_token_accuracy": 0.5, "valid_mean_token_accuracy": 0.25}
        }

    def test_a_file_with_both_spellings_keeps_both(self) -> None:
        assert metrics("step,train_accuracy,train_mean_token_accuracy\n1,0.5,0.25\n") == {
            1: {"train_accuracy": 0.5, "train_mean_token_accuracy": 0.25}
        }

    def test_an_unknown_column_keeps_its_name(self) -> None:
        assert metrics("step,some/new metric\n1,0.5\n") == {1: {"some/new metric": 0.5}}

    def test_a_quoted_name_may_hold_commas_quotes_and_slashes(self) -> None:
        name = 'scores/graders/python/say "a, b"/train_reward_mean'
        assert metrics('step,"scores/graders/python/say ""a, b""/train_reward_mean"\n1,0.5\n') == {1: {name: 0.5}}

    def test_numbers_keep_all_their_digits(self) -> None:
        assert metrics("step,train_loss\n1,0.12345678901234567\n") == {1: {"train_loss": 0.12345678901234567}}

    def test_blank_cells_are_left_out(self) -> None:
        assert metrics("step,train_loss,valid_loss\n1,0.5,\n2, ,0.25\n") == {
            1: {"train_loss": 0.5},
            2: {"valid_loss": 0.25},
        }

    def test_text_is_left_out_and_named_once(self) -> None:
        parsed = parse("step,loss,phase,mood\n1,0.5,warm-up,good\n2,0.4,main,bad\n")
        assert parsed.notes == ("columns with text, which is left out: phase, mood",)

    def test_a_row_of_text_keeps_its_numbers(self) -> None:
        assert metrics("step,loss,phase\n1,0.5,main\n") == {1: {"loss": 0.5}}

    def test_nan_and_infinity_are_left_out_and_named_once(self) -> None:
        parsed = parse("step,loss,reward\n1,NaN,0.5\n2,inf,1e999\n")
        assert parsed.rows == (MetricRow(1, {"reward": 0.5}),)
        assert parsed.notes == ("columns with NaN or infinity, which is left out: loss, reward",)

    def test_pythons_underscored_digits_are_text(self) -> None:
        assert metrics("step,loss,id\n1,0.5,1_000\n") == {1: {"loss": 0.5}}

    @pytest.mark.parametrize("step", ["1", "1.0", "1e0", " 1 ", '"1"'])
    def test_step_one_may_be_spelled(self, step: str) -> None:
        assert metrics(f"step,loss\n{step},0.5\n") == {1: {"loss": 0.5}}

    def test_step_zero_is_a_step(self) -> None:
        assert metrics("step,loss\n0,0.5\n") == {0: {"loss": 0.5}}

    def test_steps_need_not_be_consecutive(self) -> None:
        assert list(metrics("step,loss\n1,1\n10,2\n19,3\n")) == [1, 10, 19]

    def test_rows_come_out_by_step_whatever_their_order(self) -> None:
        assert [row.step for row in parse("step,loss\n3,1\n1,2\n2,3\n").rows] == [1, 2, 3]

    def test_rows_of_one_step_become_one(self) -> None:
        assert metrics("step,loss,reward\n1,0.5,\n1,,0.25\n") == {1: {"loss": 0.5, "reward": 0.25}}

    def test_of_two_numbers_for_one_step_the_later_stands(self) -> None:
        assert metrics("step,loss\n1,0.5\n1,0.25\n") == {1: {"loss": 0.25}}

    def test_a_file_without_any_usable_step_is_numbered_by_row(self) -> None:
        assert [row.step for row in parse("step,loss\n-1,0.5\n-1,0.25\n").rows] == [1, 2]

    def test_a_negative_step_is_left_out_with_a_note(self) -> None:
        parsed = parse("step,loss\n-1,0.5\n1,0.25\n")
        assert parsed.rows == (MetricRow(1, {"loss": 0.25}),)
        assert parsed.notes == ("lines left out, without a step or with a negative one: 2",)

    @pytest.mark.parametrize("step", ["", "x", "1.5", "nan", "1e300"])
    def test_a_line_without_a_usable_step_is_left_out_with_a_note(self, step: str) -> None:
        parsed = parse(f"step,loss\n1,0.5\n{step},0.25\n")
        assert parsed.rows == (MetricRow(1, {"loss": 0.5}),)
        assert parsed.notes == ("lines left out, without a step or with a negative one: 3",)

    def test_a_file_without_steps_is_numbered_by_row(self) -> None:
        parsed = parse("train_loss\n0.5\n0.25\n")
        assert parsed.rows == (MetricRow(1, {"train_loss": 0.5}), MetricRow(2, {"train_loss": 0.25}))
        assert parsed.notes == ("it has no usable column of steps: its rows are numbered from 1",)

    def test_a_column_of_blank_steps_is_no_column_of_steps(self) -> None:
        assert metrics("step,loss\n,0.5\n,0.25\n") == {1: {"loss": 0.5}, 2: {"loss": 0.25}}

    def test_a_short_line_keeps_the_cells_it_has(self) -> None:
        parsed = parse("step,loss,reward\n1,0.5\n2,0.4,0.3\n")
        assert parsed.rows == (MetricRow(1, {"loss": 0.5}), MetricRow(2, {"loss": 0.4, "reward": 0.3}))
        assert parsed.notes == ("lines with more or fewer cells than the header: 2",)

    def test_a_long_line_keeps_the_cells_that_have_a_name(self) -> None:
        parsed = parse("step,loss\n1,0.5,7\n")
        assert parsed.rows == (MetricRow(1, {"loss": 0.5}),)
        assert parsed.notes == ("lines with more or fewer cells than the header: 2",)

    def test_a_number_that_was_cut_off_with_the_file_is_not_believed(self) -> None:
        parsed = parse("step,loss,reward\n1,0.5,0.25\n2,0.1")
        assert parsed.rows == (MetricRow(1, {"loss": 0.5, "reward": 0.25}),)
        assert parsed.notes == ("lines with more or fewer cells than the header: 3",)

    def test_blank_lines_are_nothing(self) -> None:
        assert parse("\nstep,loss\n\n1,0.5\n   \n2,0.25\n\n").notes == ()

    def test_a_column_without_a_name_is_left_out_with_a_note(self) -> None:
        parsed = parse(",step,loss\n0,1,0.5\n1,2,0.25\n")
        assert parsed.rows == (MetricRow(1, {"loss": 0.5}), MetricRow(2, {"loss": 0.25}))
        assert parsed.notes == ("columns left out for want of a name: 1",)

    def test_the_column_that_is_spelt_so_is_that_of_the_steps(self) -> None:
        assert metrics("Step,step,loss\n7,1,0.5\n7,2,0.25\n") == {
            1: {"Step": 7, "loss": 0.5},
            2: {"Step": 7, "loss": 0.25},
        }

    def test_columns_of_the_same_name_hide_nothing(self) -> None:
        assert metrics("step,loss,loss,loss.1\n1,0.5,0.25,0.125\n") == {
            1: {"loss": 0.5, "loss.1": 0.25, "loss.1.1": 0.125}
        }

    @pytest.mark.parametrize("text", ["", "\n\n"])
    def test_an_empty_file_has_no_rows_and_a_note(self, text: str) -> None:
        assert parse(text) == parse("")
        assert parse(text).notes == ("it is empty",)

    def test_a_header_alone_has_no_rows_and_a_note(self) -> None:
        assert parse("step,loss\n").notes == ("it has no rows below its header",)

    @pytest.mark.parametrize("line", ['2,"0.25', '2,"0.25,said', '2,0.25,"he said', '2,0.25,5" of it', '2,0.25,"a""'])
    def test_a_quote_that_never_closes_costs_no_other_line(self, line: str) -> None:
        assert metrics(f"step,loss,said\n1,0.5,\n{line}\n3,0.125,\n{line}\n4,1.5,\n") == {
            1: {"loss": 0.5},
            3: {"loss": 0.125},
            4: {"loss": 1.5},
        } | ({} if line.startswith('2,"') else {2: {"loss": 0.25}})

    def test_a_quote_that_closes_far_below_is_none(self) -> None:
        parsed = parse('step,loss\n1,0.5\n2,"0.5\n' + "3,1\n" * LONGEST_CELL + '4,"2\n')
        assert parsed.rows == (MetricRow(1, {"loss": 0.5}), MetricRow(3, {"loss": 1.0}))

    def test_a_cell_may_go_on_in_the_next_lines(self) -> None:
        text = 'step,said,loss\n1,"he said\n""no"",\n3,4,5\n",0.5\n2,,0.25\n'
        assert metrics(text) == {1: {"loss": 0.5}, 2: {"loss": 0.25}}

    @pytest.mark.parametrize("quote", ["", '"'])
    def test_a_long_text_costs_no_line(self, quote: str) -> None:
        text = quote + "x" * 2**18 + quote
        assert metrics(f"step,loss,said\n1,0.5,{text}\n2,0.25,\n") == {1: {"loss": 0.5}, 2: {"loss": 0.25}}

    @pytest.mark.parametrize("cell", ["0.", "1e", "-", "+."])
    def test_what_can_only_be_the_beginning_of_a_last_number_is_none(self, cell: str) -> None:
        assert metrics(f"step,loss,accuracy\n1,0.5,0.75\n2,0.25,{cell}") == {
            1: {"loss": 0.5, "accuracy": 0.75},
            2: {"loss": 0.25},
        }

    def test_a_long_list_in_a_note_is_cut_short(self) -> None:
        parsed = parse("step,loss\n1,1\n" + "x,1\n" * 9)
        assert parsed.notes == ("lines left out, without a step or with a negative one: 3, 4, 5, 6, 7 and 4 more",)

    @given(
        st.lists(st.text("abc/,\" '.é", min_size=1).map(lambda name: f"m{name}m"), min_size=1, max_size=5, unique=True),
        st.data(),
    )
    def test_no_number_is_dropped(self, names: list[str], data: st.DataObject) -> None:
        number = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
        cells = st.lists(number, min_size=len(names), max_size=len(names))
        table = data.draw(st.dictionaries(st.integers(0, 10**6), cells, max_size=8))
        text = io.StringIO()
        csv.writer(text).writerows([["step", *names], *([step, *row] for step, row in table.items())])
        rows = {step: {n: c for n, c in zip(names, row, strict=True) if c is not None} for step, row in table.items()}
        assert metrics(text.getvalue()) == {step: row for step, row in sorted(rows.items()) if row}


class TestFlatten:
    def test_supervised_data_passes_without_step_and_total(self) -> None:
        assert flatten({"step": 1, "total_steps": 9, "train_loss": 0.5, "valid_loss": 1}) == {
            "train_loss": 0.5,
            "valid_loss": 1.0,
        }

    def test_only_finite_numbers_pass(self) -> None:
        data: dict[str, object] = {
            "a": None,
            "b": True,
            "c": "0.5",
            "d": math.nan,
            "e": math.inf,
            "f": 10**400,
            "g": [],
            "h": {},
        }
        assert flatten(data) == {}

    def test_rewards_get_the_names_of_the_result_file(self) -> None:
        assert flatten({"scores": {"train_reward_mean": 0.5, "valid_reward_mean": 0.25}}) == {
            "train_mean_reward": 0.5,
            "full_valid_mean_reward": 0.25,
        }

    def test_a_number_under_both_its_names_comes_once(self) -> None:
        data = {"scores": {"train_reward_mean": 0.5}, "train_mean_reward": 0.5001}
        assert flatten(data) == {"train_mean_reward": 0.5001}

    def test_two_numbers_under_the_two_names_of_one_both_come(self) -> None:
        data = {"scores": {"train_reward_mean": 0.71}, "train_mean_reward": 0.5}
        assert flatten(data) == {"train_mean_reward": 0.5, "scores/train_reward_mean": 0.71}

    def test_of_one_number_under_two_names_the_more_precise_comes(self) -> None:
        data = {"scores": {"train_reward_mean": 0.123456}, "train_mean_reward": 0.12}
        assert flatten(data) == {"train_mean_reward": 0.123456}

    def test_a_grader_goes_by_type_and_name(self) -> None:
        grader = {"name": "is/it, right?", "type": "python", "train_reward_mean": 0.5}
        assert flatten({"scores": {"graders": [grader]}, "errors": {"graders": [grader]}}) == {
            "scores/graders/python/is/it, right?/train_reward_mean": 0.5,
            "errors/graders/python/is/it, right?/train_reward_mean": 0.5,
        }

    def test_an_entry_without_a_name_goes_by_its_position(self) -> None:
        assert flatten({"usage": [{"tokens": 1}, 2]}) == {"usage/0/tokens": 1, "usage/1": 2}

    def test_graders_of_the_same_name_hide_nothing(self) -> None:
        graders = [{"name": "it", "type": "python", "x": 1}, {"name": "it", "type": "python", "x": 2}]
        assert flatten({"graders": graders}) == {"graders/python/it/x": 1, "graders/python/it/1/x": 2}

    def test_two_numbers_under_two_spellings_both_come_in_any_order(self) -> None:
        both = {"train_accuracy": 0.25, "train_mean_token_accuracy": 0.5}
        assert flatten(both) == flatten(dict(reversed(both.items()))) == both

    def test_a_name_that_cannot_be_written_is_made_writable(self) -> None:
        assert flatten({"a\ud800b": 1}) == {"a?b": 1}

    def test_other_nesting_becomes_a_path(self) -> None:
        data = {"timing": {"step": {"sampling": 61.5, "eval": None}}, "usage": {"samples": {"tokens": 7}}}
        assert flatten(data) == {"sampling_duration": 61.5, "usage/samples/tokens": 7}

    def test_the_times_of_a_step_go_by_azures_names(self) -> None:
        step = {"sampling": 1, "training": 2, "eval": 3, "full_iteration": 6}
        assert flatten({"timing": {"step": step, "graders": []}}) == {
            "sampling_duration": 1,
            "training_duration": 2,
            "eval_duration": 3,
            "total_duration": 6,
        }

    def test_older_names_become_the_current_ones(self) -> None:
        assert flatten({"validation_mean_token_accuracy": 0.5}) == {"valid_mean_token_accuracy": 0.5}


def losses(lines: str, *events: JobEvent) -> list[float]:
    return [row.metrics["train_loss"] for row in merged(f"step,train_loss\n{lines}", events=events).rows]


class TestMerge:
    def test_steps_of_all_sources_are_united_in_order(self) -> None:
        found = merged("step,train_loss\n2,0.5\n", events=[event(3), event(1)], checkpoints=[checkpoint(4)])
        assert [row.step for row in found.rows] == [1, 2, 3, 4]

    def test_a_step_has_the_metrics_of_all_sources(self) -> None:
        found = merged(
            "step,train_loss\n1,0.5\n",
            events=[event(1, metrics={"full_valid_loss": 0.25})],
            checkpoints=[checkpoint(1, metrics={"full_valid_mean_token_accuracy": 0.75, "step": 1.0})],
        )
        assert [dict(row.metrics) for row in found.rows] == [
            {"train_loss": 0.5, "full_valid_loss": 0.25, "full_valid_mean_token_accuracy": 0.75}
        ]

    @pytest.mark.parametrize(
        ("file", "told", "kept"),
        [
            ("0.12346", 0.123456789, 0.123456789),
            ("0.123456789", 0.12346, 0.123456789),
            ("0.12347", 0.123456789, 0.12347),
            ("1.0", 0.9999996, 0.9999996),
            ("0.0", 0.0000012, 0.0000012),
            ("0.0", 0.3, 0.0),
            ("0.50000", 0.500003, 0.500003),
            ("2", 3, 2.0),
            ("0.12345", 0.123456789, 0.123456789),
            ("0.123", 0.123456789, 0.123456789),
            ("0.00001", 0.0000098, 0.0000098),
            ("1.2e-07", 5e-06, 1.2e-07),
            ("1.0", 0.97, 1.0),
            ("0.5", 0.46, 0.46),
            ("0.75", 0.7512, 0.7512),
            ("0.5", 0.56, 0.5),
            ("123", 123.4, 123.0),
            ("-2.12346", -2.123456789, -2.123456789),
        ],
        ids=[
            "event has more digits",
            "file has more digits",
            "they disagree",
            "rounded to one",
            "rounded to zero",
            "zero and something else",
            "rounded to fewer digits than it was written with",
            "as many digits",
            "cut off instead of rounded",
            "rounded to three decimals",
            "a small number in a file of five decimals",
            "a small number and a larger one",
            "nearly one",
            "rounded to one decimal",
            "rounded to two decimals",
            "a half and something else",
            "nearly a whole number",
            "below zero",
        ],
    )
    def test_digits_decide_and_then_the_file(self, file: str, told: float, kept: float) -> None:
        found = merged(f"step,train_loss\n1,{file}\n", events=[event(1, metrics={"train_loss": told})])
        assert [row.metrics["train_loss"] for row in found.rows] == [kept]

    def test_a_last_number_that_may_be_cut_gives_way_to_any_other(self) -> None:
        whole = event(2, metrics={"train_loss": 0.75})
        assert losses("1,0.5\n2,0.7", whole) == [0.5, 0.75]
        assert losses("1,0.5\n2,0.1", whole) == [0.5, 0.75]
        assert losses("1,0.5\n2,0.1\n", whole) == [0.5, 0.1]
        assert losses("1,0.5\n2,0.7") == [0.5, 0.7]

    def test_the_later_of_two_events_of_a_step_stands(self) -> None:
        found = merged(events=[event(1, metrics={"loss": 0.5}), event(1, metrics={"loss": 0.25})])
        assert [row.metrics["loss"] for row in found.rows] == [0.25]

    def test_the_later_of_two_events_of_a_step_is_told_by_their_times(self) -> None:
        late, early = event(1, metrics={"loss": 0.5}, created_at=at(9)), event(1, metrics={"loss": 0.25})
        assert merged(events=[late, early]).rows == (MetricRow(1, {"loss": 0.5}, CREATED + 9),)

    def test_a_message_is_no_metrics_event(self) -> None:
        assert merged(events=[event(type="message", data={"step": 1, "tokens": 9})]).rows == ()

    def test_events_that_belong_to_no_step_are_noted(self) -> None:
        found = merged(events=[event(1), event(-2), event(3, data={"train_loss": 0.5})])
        assert [row.step for row in found.rows] == [1]
        assert found.notes == ("metrics events left out, without a step or with a negative one: no. 2, no. 3",)

    def test_what_is_no_number_in_an_event_is_named_once(self) -> None:
        odd = {"loss": math.nan, "tokens": 10**400, "phase": "warm-up", "empty": None, "flag": True}
        found = merged(events=[event(1, metrics={"reward": 1, **odd}), event(2, metrics=odd)])
        assert found.rows == (MetricRow(1, {"reward": 1.0}, CREATED + 1),)
        assert found.notes == (
            "metrics events with NaN or infinity, which is left out: loss, tokens",
            "metrics events with text, which is left out: phase",
        )

    def test_a_checkpoint_without_a_step_is_noted(self) -> None:
        assert merged(checkpoints=[checkpoint(step=None, id="ftckpt-1")]).notes == (
            "checkpoints left out, without a step or with a negative one: no. 1",
        )

    def test_a_file_that_cannot_be_read_is_a_note_that_names_it(self) -> None:
        found = merge([result_file(WEIGHTS, "file-w"), result_file(b"step,loss\n1,0.5\n")], [], [])
        assert found.rows == (MetricRow(1, {"loss": 0.5}),)
        assert found.notes == ("result file file-w: it is binary, not a table of metrics",)

    def test_two_files_are_united(self) -> None:
        files = [result_file(b"step,loss\n1,0.5\n"), result_file(b"step,loss,reward\n1,0.7,0.3\n2,0.25,\n")]
        assert merge(files, [], []).rows == (MetricRow(1, {"loss": 0.5, "reward": 0.3}), MetricRow(2, {"loss": 0.25}))

    @given(SOURCE, SOURCE, SOURCE)
    def test_every_number_of_every_source_is_there_or_a_finer_one(self, file: Table, told: Table, saved: Table) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, ["step", *METRICS])
        writer.writeheader()
        writer.writerows({"step": step, **metrics} for step, metrics in file.items())
        found = merged(
            text.getvalue(),
            events=[event(step, metrics=metrics) for step, metrics in told.items()],
            checkpoints=[checkpoint(step, metrics=metrics) for step, metrics in saved.items()],
        )
        rows = {row.step: row.metrics for row in found.rows}
        served = [(step, *number) for one in (file, told, saved) for step, row in one.items() for number in row.items()]
        assert {(step, name) for step, row in rows.items() for name in row} == {
            (step, name) for step, name, _ in served
        }
        assert all((step, name, number) in served for step, row in rows.items() for name, number in row.items())
        assert all(
            abs(rows[step][name] - number) < max(1e-3, 0.5 * 10 ** -len(repr(number).partition(".")[2]))
            for step, metrics in file.items()
            for name, number in metrics.items()
            if abs(number) < 1
        )


class TestTimes:
    def times(self, steps: list[int], known: dict[int, float], **ends: float) -> list[float | None]:
        content = "step,loss\n" + "".join(f"{step},1\n" for step in steps)
        events = [event(step, created_at=at(seconds)) for step, seconds in known.items()]
        found = merge([result_file(content.encode())], events, [], **ends)
        return [None if row.time is None else row.time - CREATED for row in found.rows]

    def test_a_row_has_the_time_of_its_event(self) -> None:
        assert self.times([1, 2], {1: 100.5, 2: 107}) == [100.5, 107]

    def test_a_row_between_events_lies_between_their_times(self) -> None:
        assert self.times([10, 12, 20], {10: 100, 20: 200}) == [100, 120, 200]

    def test_rows_outside_the_events_lie_within_the_job(self) -> None:
        assert self.times([5, 10, 20], {10: 100}, started=CREATED, finished=FINISHED) == [50, 100, 600]

    def test_rows_of_a_job_without_events_are_spread_over_it(self) -> None:
        assert self.times([0, 5, 10], {}, started=CREATED, finished=FINISHED) == [0, 300, 600]

    def test_one_end_alone_is_the_time_of_all(self) -> None:
        assert self.times([1, 2], {}, started=CREATED) == [0, 0]

    def test_no_row_is_after_the_last_event_where_the_end_is_unknown(self) -> None:
        assert self.times([1, 2, 3], {1: 10, 2: 20}) == [10, 20, 20]

    def test_a_job_that_ends_before_it_starts_is_over_at_once(self) -> None:
        assert self.times([1, 2], {}, started=CREATED, finished=CREATED - 5) == [0, 0]

    def test_nothing_known_is_none(self) -> None:
        assert self.times([1, 2], {}) == [None, None]

    def test_an_event_outside_the_job_keeps_its_time(self) -> None:
        known = {1: -5.0, 2: 700.0}
        assert self.times([1, 2, 3], known, started=CREATED, finished=FINISHED) == [-5, 700, 700]

    def test_an_event_without_a_time_lends_none(self) -> None:
        assert [row.time for row in merged(events=[event(1, created_at=None)]).rows] == [None]

    @given(
        st.sets(st.integers(0, 1000), min_size=1, max_size=12),
        st.sets(st.integers(0, 600), max_size=6).map(sorted),
        st.data(),
    )
    def test_times_rise_with_the_steps_within_the_job(
        self, steps: set[int], seconds: list[int], data: st.DataObject
    ) -> None:
        told = sorted(data.draw(st.sets(st.sampled_from(sorted(steps)), max_size=len(seconds))))
        known = dict(zip(told, map(float, seconds), strict=False))
        times = self.times(sorted(steps), known, started=CREATED, finished=FINISHED)
        numbers = [time for time in times if time is not None]
        assert len(numbers) == len(steps)
        assert numbers == sorted(numbers)
        assert 0 <= numbers[0] <= numbers[-1] <= 600


CSVISH = st.text('step,los"1.-e\n\r naif\0\u2028', max_size=60)
KEYS = st.sampled_from(["step", "scores", "graders", "name", "type", "train_reward_mean", "x"])
JSON: st.SearchStrategy[object] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(KEYS, below, max_size=3)),
    max_leaves=8,
)


class TestAnything:
    @given(st.one_of(st.binary(), CSVISH.map(str.encode), st.binary().map(base64.b64encode)))
    def test_no_bytes_raise_anything_but_bad_data(self, content: bytes) -> None:
        with contextlib.suppress(BadData):
            parse(decode(content))
        merge([result_file(content)], [], [])

    @given(CSVISH)
    def test_no_text_raises_in_parse(self, text: str) -> None:
        steps = [row.step for row in parse(text).rows]
        assert steps == sorted(set(steps))

    @given(st.lists(st.dictionaries(KEYS, JSON, max_size=4), max_size=4))
    def test_no_event_data_raises_and_every_metric_is_finite(self, data: list[dict[str, object]]) -> None:
        events = [event(1, data=entry) for entry in data]
        saved = [checkpoint(1, metrics=entry) for entry in data]
        rows = merge([], events, saved).rows
        assert all(math.isfinite(number) for row in rows for number in row.metrics.values())
