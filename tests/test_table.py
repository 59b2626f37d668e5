"""Tables written row by row: the very bytes that `wandb.Table` is stored as, in an artifact and for a reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import wandb

from ft_sync import datasets
from ft_sync.datasets import COLUMNS, DatasetFormat
from ft_sync.table import count_rows, write_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ft_sync.datasets import Dataset

ODD = 'שלום \u2028\u2029 "quotes" \\ back\nslash \x7f \x00 😀 </script> é'
"""Text at which JSON writers differ."""

CHAT = {"messages": [{"role": "system", "content": ODD}, {"role": "user", "content": ODD}]}
ANSWER = {
    "role": "assistant",
    "content": ODD,
    "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}],
}
TOOLS = [{"type": "function", "function": {"name": "f"}}]

EXAMPLES: dict[DatasetFormat, list[dict[str, Any]]] = {
    DatasetFormat.CHAT: [{"messages": [*CHAT["messages"], ANSWER], "tools": TOOLS}, {"messages": [ANSWER]}],
    DatasetFormat.PREFERENCE: [{"input": CHAT, "preferred_output": [ANSWER], "non_preferred_output": [ANSWER]}],
    DatasetFormat.REINFORCEMENT: [{**CHAT, "answer": {"value": ODD, "float": 1e-9, "int": 2**70}}],
    DatasetFormat.COMPLETION: [{"prompt": ODD, "completion": ODD}, {"prompt": "", "completion": ""}],
    DatasetFormat.OTHER: [{"text": ODD}, {"number": 1.5}],
}


def dataset_of(folder: Path, examples: list[dict[str, Any]]) -> Dataset:
    path = folder / "content.jsonl"
    path.write_text("".join(json.dumps(example, ensure_ascii=False) + "\n" for example in examples), encoding="utf-8")
    return datasets.read(path)


def as_wandb_stores(columns: Mapping[str, type], rows: list[tuple[Any, ...]]) -> bytes:
    """The file that a table becomes when it is added to an artifact."""
    table = wandb.Table(columns=list(columns), dtype=list(columns.values()), optional=True)
    for row in rows:
        table.add_data(*row)
    artifact = wandb.Artifact("name", type="dataset")
    entry = artifact.add(table, "data")
    assert entry.local_path is not None
    return Path(entry.local_path).read_bytes()


DEEP = b'{"data": ' + b"[" * 10**5


def rows_in(path: Path) -> int | None:
    with path.open("rb") as content:
        return count_rows(content)


def test_there_are_examples_of_every_format(tmp_path: Path) -> None:
    assert set(EXAMPLES) == set(DatasetFormat)
    assert {kind: dataset_of(tmp_path, examples).format for kind, examples in EXAMPLES.items()} == {
        kind: kind for kind in DatasetFormat
    }


@pytest.mark.parametrize("kind", list(DatasetFormat))
@pytest.mark.parametrize("times", [1, 3])
def test_a_table_is_written_as_wandb_would_store_it(tmp_path: Path, kind: DatasetFormat, times: int) -> None:
    dataset = dataset_of(tmp_path, EXAMPLES[kind] * times)
    written = tmp_path / "data.table.json"
    write_table(written, dataset.columns, dataset.rows())
    assert written.read_bytes() == as_wandb_stores(dataset.columns, list(dataset.rows()))


@pytest.mark.parametrize("kind", list(DatasetFormat))
def test_a_table_without_rows_is_written_as_wandb_would_store_it(tmp_path: Path, kind: DatasetFormat) -> None:
    columns = {name: int if name in datasets.NUMBERS else str for name in COLUMNS[kind]}
    written = tmp_path / "data.table.json"
    write_table(written, columns, [])
    assert written.read_bytes() == as_wandb_stores(columns, [])


@pytest.mark.parametrize("kind", [DatasetFormat.CHAT, None])
def test_wandb_reads_the_table_back(tmp_path: Path, kind: DatasetFormat | None) -> None:
    dataset = dataset_of(tmp_path, EXAMPLES[kind] if kind else [])
    write_table(tmp_path / "data.table.json", dataset.columns, dataset.rows())
    artifact = wandb.Artifact("name", type="dataset")
    stored = json.loads((tmp_path / "data.table.json").read_text(encoding="utf-8"))
    table = wandb.Table.from_json(stored, artifact)
    assert table.columns == list(dataset.columns)
    assert [tuple(row) for row in table.data] == list(dataset.rows())


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_rows_are_counted_as_they_are_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr("ft_sync.table.CHUNK", 7)
    path = tmp_path / "t.table.json"
    write_table(path, {"index": int, "text": str}, [(number, '], "data": [[\u2028é') for number in range(count)])
    assert rows_in(path) == count


def test_rows_of_a_table_written_otherwise_are_counted_too(tmp_path: Path) -> None:
    path = tmp_path / "t.table.json"
    path.write_text('{"data":[[1],\n [2] , [3]]}')
    assert rows_in(path) == 3


@pytest.mark.parametrize("content", [b"", b"{}", b'{"data": [[1], [2]', b'{"data": [[1], x]}', b"\xff\xfe", DEEP])
def test_what_is_no_table_has_no_number_of_rows(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.table.json"
    path.write_bytes(content)
    assert rows_in(path) is None
