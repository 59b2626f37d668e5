"""What a training file becomes in a table, whatever is in it."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ft_sync.datasets import LINES_NAMED, Dataset, DatasetFormat, DatasetSummary, read

if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Hello?"}
ASSISTANT = {"role": "assistant", "content": "Hi."}
CALLING = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "call-1", "type": "function", "function": {"name": "clock", "arguments": '{"zone": "UTC"}'}}],
}
RESULT = {"role": "tool", "tool_call_id": "call-1", "content": "12:00"}

CHAT = {"messages": [SYSTEM, USER, ASSISTANT]}
PREFERENCE = {"input": {"messages": [USER]}, "preferred_output": [ASSISTANT], "non_preferred_output": [USER]}
REINFORCEMENT = {"messages": [SYSTEM, USER], "answer": "Hi."}
COMPLETION = {"prompt": "Hello?", "completion": "Hi."}


def write(folder: Path, *lines: object) -> Path:
    path = folder / "file.jsonl"
    path.write_bytes(
        b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    )
    return path


def cells(folder: Path, example: object) -> Mapping[str, object]:
    dataset = read(write(folder, example))
    (row,) = dataset.rows()
    return dict(zip(dataset.columns, row, strict=True))


def said(folder: Path, **message: object) -> object:
    return cells(folder, {"messages": [{"role": "assistant", **message}]})["assistant"]


def drained(dataset: Dataset) -> DatasetSummary:
    for _ in dataset.rows():
        pass
    return dataset.summary


@pytest.mark.parametrize(
    ("example", "expected"),
    [
        (CHAT, DatasetFormat.CHAT),
        ({**CHAT, "tools": [], "parallel_tool_calls": True, "functions": []}, DatasetFormat.CHAT),
        (PREFERENCE, DatasetFormat.PREFERENCE),
        (REINFORCEMENT, DatasetFormat.REINFORCEMENT),
        ({"messages": [USER]}, DatasetFormat.REINFORCEMENT),
        ({**CHAT, "id": 42, "metadata": {}}, DatasetFormat.CHAT),
        (COMPLETION, DatasetFormat.COMPLETION),
        ({"text": "free"}, DatasetFormat.OTHER),
        ({"messages": "none"}, DatasetFormat.OTHER),
    ],
)
def test_an_example_tells_its_format(tmp_path: Path, example: object, expected: DatasetFormat) -> None:
    assert read(write(tmp_path, example)).format == expected


def test_one_odd_example_does_not_change_the_format(tmp_path: Path) -> None:
    assert read(write(tmp_path, {"messages": [USER]}, CHAT, {"x": 1}, CHAT)).format is DatasetFormat.CHAT


def test_broken_lines_have_no_say_in_the_format(tmp_path: Path) -> None:
    assert read(write(tmp_path, *[b"{"] * 200, CHAT)).format is DatasetFormat.CHAT


@pytest.mark.parametrize("example", [CHAT, PREFERENCE, REINFORCEMENT, COMPLETION, {"text": "free"}])
def test_a_row_has_a_cell_for_each_column(tmp_path: Path, example: object) -> None:
    dataset = read(write(tmp_path, example))
    assert [len(row) for row in dataset.rows()] == [len(dataset.columns)]


def test_an_example_of_another_format_has_its_raw_line_in_the_table(tmp_path: Path) -> None:
    *_, last = read(write(tmp_path, CHAT, CHAT, COMPLETION)).rows()
    assert last[-1] == json.dumps(COMPLETION)


def test_a_chat_example_is_spread_over_its_columns(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "clock"}}, {"type": "function", "function": {"name": "map"}}]
    example = {"messages": [SYSTEM, USER, ASSISTANT], "tools": tools}
    assert cells(tmp_path, example) == {
        "index": 0,
        "system": "Be brief.",
        "user": "Hello?",
        "assistant": "Hi.",
        "conversation": "system: Be brief.\n\nuser: Hello?\n\nassistant: Hi.",
        "turns": 3,
        "tools": "clock, map",
        "raw": json.dumps(example),
    }


def test_a_preference_example_is_spread_over_its_columns(tmp_path: Path) -> None:
    assert cells(tmp_path, PREFERENCE) == {
        "index": 0,
        "prompt": "user: Hello?",
        "preferred": "assistant: Hi.",
        "non_preferred": "user: Hello?",
        "raw": json.dumps(PREFERENCE),
    }


def test_a_reinforcement_example_is_spread_over_its_columns(tmp_path: Path) -> None:
    assert cells(tmp_path, REINFORCEMENT) == {
        "index": 0,
        "system": "Be brief.",
        "prompt": "user: Hello?",
        "reference": '{"answer": "Hi."}',
        "raw": json.dumps(REINFORCEMENT),
    }


def test_a_completion_example_is_spread_over_its_columns(tmp_path: Path) -> None:
    assert cells(tmp_path, COMPLETION) == {
        "index": 0,
        "prompt": "Hello?",
        "completion": "Hi.",
        "raw": json.dumps(COMPLETION),
    }


def test_an_unknown_example_is_its_raw_line(tmp_path: Path) -> None:
    assert cells(tmp_path, {"text": "free"}) == {"index": 0, "raw": '{"text": "free"}'}


def test_of_several_turns_the_last_are_shown(tmp_path: Path) -> None:
    later = [{"role": "user", "content": "Bye?"}, {"role": "assistant", "content": "Bye."}]
    found = cells(tmp_path, {"messages": [USER, ASSISTANT, *later]})
    assert (found["user"], found["assistant"]) == ("Bye?", "Bye.")


def test_a_developer_counts_as_system(tmp_path: Path) -> None:
    developer = {"role": "developer", "content": "Be brief."}
    assert cells(tmp_path, {"messages": [developer, USER, ASSISTANT]})["system"] == "Be brief."


def test_several_instructions_are_all_shown(tmp_path: Path) -> None:
    messages = [{"role": role, "content": role[:3]} for role in ("system", "user", "developer", "assistant")]
    assert cells(tmp_path, {"messages": messages})["system"] == "sys\n\ndev"


def test_an_answer_to_no_known_call_goes_by_the_calls_id(tmp_path: Path) -> None:
    messages = [{"role": "tool", "tool_call_id": "call-9", "content": "?"}, {"role": "assistant", "content": "a"}]
    assert "tool call-9: ?" in str(cells(tmp_path, {"messages": messages})["conversation"])


def test_half_of_a_surrogate_pair_can_be_written(tmp_path: Path) -> None:
    row = cells(tmp_path, {"prompt": "a\ud800b", "completion": "c"})
    assert row["prompt"] == "a?b"
    assert all(str(cell).encode() for cell in row.values())


@pytest.mark.parametrize(
    ("answer", "shown"), [("No.", "No."), ({"role": "assistant", "content": "No."}, "assistant: No.")]
)
def test_an_answer_that_is_no_list_is_shown(tmp_path: Path, answer: object, shown: str) -> None:
    example = {"input": {"messages": []}, "preferred_output": answer, "non_preferred_output": []}
    assert cells(tmp_path, example)["preferred"] == shown


def test_tool_calls_and_their_results_are_readable(tmp_path: Path) -> None:
    assert cells(tmp_path, {"messages": [CALLING, RESULT, ASSISTANT]})["conversation"] == (
        'assistant: → clock({"zone": "UTC"})\n\ntool clock: 12:00\n\nassistant: Hi.'
    )


def test_a_message_without_weight_in_training_is_marked(tmp_path: Path) -> None:
    found = cells(tmp_path, {"messages": [{**ASSISTANT, "weight": 0}, USER, {**ASSISTANT, "weight": 1}]})
    assert found["conversation"] == "assistant (weight 0): Hi.\n\nuser: Hello?\n\nassistant: Hi."


def test_a_legacy_function_call_is_readable(tmp_path: Path) -> None:
    assert said(tmp_path, content=None, function_call={"name": "clock", "arguments": "{}"}) == "→ clock({})"


def test_legacy_functions_count_as_tools(tmp_path: Path) -> None:
    assert cells(tmp_path, {**CHAT, "functions": [{"name": "clock"}]})["tools"] == "clock"


def test_a_tool_without_a_name_is_not_listed(tmp_path: Path) -> None:
    assert cells(tmp_path, {**CHAT, "tools": [{"type": "function", "function": {}}, "x"]})["tools"] == ""


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("text", "text"),
        (None, ""),
        ([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}], "one\ntwo"),
        ([{"type": "image_url", "image_url": {"url": "https://a.test/b.png"}}], "[image: https://a.test/b.png]"),
        ([{"type": "image_url", "image_url": "https://a.test/b.png"}], "[image: https://a.test/b.png]"),
        ([{"type": "refusal", "refusal": "No."}], "[refusal: No.]"),
        ([{"type": "sound", "data": 1}], '{"type": "sound", "data": 1}'),
        ({"un": "expected"}, '{"un": "expected"}'),
    ],
)
def test_content_becomes_text(tmp_path: Path, content: object, expected: str) -> None:
    assert said(tmp_path, content=content) == expected


def test_a_prompt_in_pieces_is_read_without_quotes(tmp_path: Path) -> None:
    assert cells(tmp_path, {"prompt": ["Hello,", "you"], "completion": "Hi."})["prompt"] == "Hello,\nyou"


@pytest.mark.parametrize("role", [[], {}, None, 5])
def test_a_role_that_is_none_at_all_does_not_raise(tmp_path: Path, role: object) -> None:
    assert (
        cells(tmp_path, {"messages": [{"role": role, "content": "Hello?"}], "answer": 1})["reference"]
        == '{"answer": 1}'
    )


def test_an_image_in_the_file_itself_is_shortened(tmp_path: Path) -> None:
    url = "data:image/png;base64," + "A" * 10_000
    shown = said(tmp_path, content=[{"type": "image_url", "image_url": {"url": url}}])
    assert isinstance(shown, str)
    assert shown.startswith("[image: data:image/png;base64,AAA")
    assert len(shown) < 100


def test_a_refusal_is_readable(tmp_path: Path) -> None:
    assert said(tmp_path, content=None, refusal="No.") == "[refusal: No.]"


def test_raw_is_the_line_as_it_stands(tmp_path: Path) -> None:
    line = '{ "prompt":"é\\u00e9",  "completion":1.50 }'
    assert cells(tmp_path, line.encode())["raw"] == line


def test_separators_inside_strings_do_not_end_a_line(tmp_path: Path) -> None:
    line = json.dumps({"prompt": "a\u2028b\u2029c\x85d", "completion": ""}, ensure_ascii=False)
    assert cells(tmp_path, line.encode())["prompt"] == "a\u2028b\u2029c\x85d"


def test_bom_crlf_and_blank_lines_do_not_matter(tmp_path: Path) -> None:
    line = json.dumps(CHAT).encode()
    served = b"\xef\xbb\xbf" + line + b"\r\n\r\n  \n\n" + line
    path = tmp_path / "file.jsonl"
    path.write_bytes(served)
    assert drained(read(path)) == DatasetSummary(DatasetFormat.CHAT, examples=2, rows=2)


def test_files_with_bom_may_be_put_together(tmp_path: Path) -> None:
    line = b"\xef\xbb\xbf" + json.dumps(COMPLETION).encode()
    assert drained(read(write(tmp_path, line, line))) == DatasetSummary(DatasetFormat.COMPLETION, 2, 2)


@pytest.mark.parametrize("broken", [b"{", b'{"a": "\xff"}', b"[]", b"5", b"null", b"[" * 100_000])
def test_a_broken_line_is_counted_with_its_number_and_the_others_stay(tmp_path: Path, broken: bytes) -> None:
    summary = drained(read(write(tmp_path, CHAT, b"", broken, CHAT)))
    assert summary == DatasetSummary(DatasetFormat.CHAT, examples=2, rows=2, broken_lines=(3,), broken=1)


def test_rows_are_numbered_without_gaps_for_broken_lines(tmp_path: Path) -> None:
    assert [row[0] for row in read(write(tmp_path, CHAT, b"{", CHAT)).rows()] == [0, 1]


def test_of_many_broken_lines_the_first_are_named_and_all_are_counted(tmp_path: Path) -> None:
    summary = drained(read(write(tmp_path, *[b"{"] * 50)))
    assert (summary.broken_lines, summary.broken) == (tuple(range(1, LINES_NAMED + 1)), 50)


def test_rows_end_at_the_limit_and_examples_are_counted_to_the_end(tmp_path: Path) -> None:
    dataset = read(write(tmp_path, *[CHAT] * 5, b"{"), limit=2)
    assert len(list(dataset.rows())) == 2
    assert dataset.summary == DatasetSummary(DatasetFormat.CHAT, examples=5, rows=2, broken_lines=(6,), broken=1)


@pytest.mark.parametrize(("examples", "truncated"), [(2, False), (3, True)])
def test_a_table_is_truncated_beyond_the_limit(tmp_path: Path, examples: int, truncated: bool) -> None:
    assert drained(read(write(tmp_path, *[CHAT] * examples), limit=2)).truncated is truncated


def test_an_empty_file_has_no_examples(tmp_path: Path) -> None:
    assert drained(read(write(tmp_path))) == DatasetSummary(DatasetFormat.OTHER, examples=0, rows=0)


def test_a_file_can_be_read_twice(tmp_path: Path) -> None:
    dataset = read(write(tmp_path, CHAT, b"{"))
    assert list(dataset.rows()) == list(dataset.rows())
    assert (dataset.summary.examples, dataset.summary.broken) == (1, 1)


def test_a_line_of_a_megabyte_is_a_line(tmp_path: Path) -> None:
    example = {"prompt": "x" * 2**20, "completion": ""}
    assert cells(tmp_path, example)["prompt"] == example["prompt"]


@pytest.mark.parametrize("depth", range(900, 1000, 2))
def test_nesting_on_the_edge_of_what_can_be_parsed_does_not_raise(tmp_path: Path, depth: int) -> None:
    line = b'{"prompt":' + b"[" * depth + b"]" * depth + b',"completion":""}'
    summary = drained(read(write(tmp_path, line)))
    assert summary.examples + summary.broken == 1


WORDS = [
    "role",
    "content",
    "name",
    "weight",
    "tool_calls",
    "function",
    "arguments",
    "function_call",
    "refusal",
    "type",
    "text",
    "image_url",
    "url",
    "id",
]
NESTED: st.SearchStrategy[object] = st.deferred(
    lambda: st.one_of(
        st.none(),
        st.integers(),
        st.text(max_size=3),
        st.sampled_from(["system", "user", "assistant", "tool"]),
        st.lists(NESTED, max_size=3),
        st.dictionaries(st.sampled_from(WORDS), NESTED, max_size=4),
    )
)
EXAMPLES = st.dictionaries(
    st.sampled_from(
        [
            "messages",
            "tools",
            "functions",
            "input",
            "preferred_output",
            "non_preferred_output",
            "prompt",
            "completion",
            "answer",
        ]
    ),
    st.one_of(NESTED, st.lists(st.dictionaries(st.sampled_from(WORDS), NESTED, max_size=4), max_size=3)),
    max_size=5,
)


def outcome(content: bytes) -> tuple[list[tuple[Any, ...]], Dataset]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file.jsonl"
        path.write_bytes(content)
        dataset = read(path)
        return list(dataset.rows()), dataset


@given(st.lists(st.one_of(st.binary(max_size=20), EXAMPLES.map(lambda example: json.dumps(example).encode()))))
def test_no_bytes_raise_and_every_line_is_an_example_or_broken(lines: list[bytes]) -> None:
    content = b"\n".join(lines)
    rows, dataset = outcome(content)
    bare = [line.removeprefix(b"\xef\xbb\xbf").strip() for line in content.split(b"\n")]
    assert dataset.summary.examples + dataset.summary.broken == sum(map(bool, bare))
    assert all(len(row) == len(dataset.columns) for row in rows)


@given(st.lists(EXAMPLES, max_size=4))
def test_every_cell_is_text_or_a_number(examples: list[dict[str, object]]) -> None:
    rows, _ = outcome(b"\n".join(json.dumps(example).encode() for example in examples))
    assert all(isinstance(cell, str | int) for row in rows for cell in row)
    assert [json.loads(row[-1]) for row in rows] == examples
