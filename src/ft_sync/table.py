"""Streams W&B tables to and from disk row by row; `wandb.Table` would hold all rows in memory, several times over."""

from __future__ import annotations

import io
import json
import re
from typing import IO, TYPE_CHECKING, Any

from ft_sync.scratch import private

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TextIO

    from ft_sync.datasets import Cell


CHUNK = 2**20
"""Number of characters to read at once."""

DATA = re.compile(r'"data":\s*\[\s*(?P<end>\])?')
NEXT = re.compile(r"\s*(?:(?P<end>\])|,\s*)")
"""The text before the first row, and between rows; the group `end` matches after the last row."""


def write_table(path: Path, columns: Mapping[str, type], rows: Iterable[Sequence[Cell]]) -> None:
    """Write a table file, byte for byte as `wandb.Table` would.

    Args:
        path: Where to write the file; its name in an artifact must end in `.table.json`.
        columns: Column names and types, `str` or `int`.
        rows: Rows with one cell per column.
    """
    head = {
        "_type": "table",
        "column_types": {
            "params": {"type_map": {name: _column_type(kind) for name, kind in sorted(columns.items())}},
            "wb_type": "typedDict",
        },
        "columns": list(columns),
    }
    count = 0
    with open(path, "w", encoding="utf-8", opener=private) as out:
        out.write(json.dumps(head)[:-1] + ', "data": [')
        for count, row in enumerate(rows, 1):
            out.write((", " if count > 1 else "") + json.dumps(row))
        tail = {"log_mode": "IMMUTABLE", "ncols": len(columns), "nrows": count}
        out.write("], " + json.dumps(tail)[1:])


def count_rows(content: IO[bytes]) -> int | None:
    """Count the rows in a table file, whatever its `nrows` says; None if the file is not a table."""
    text = io.TextIOWrapper(content, encoding="utf-8")
    try:
        return sum(1 for _ in _rows(text))
    except (ValueError, RecursionError):  # not JSON, not text at all, or nested too deeply
        return None
    finally:
        text.detach()


def _rows(file: TextIO) -> Iterator[object]:
    decoder = json.JSONDecoder()
    text, position = "", 0
    expected = DATA
    while True:
        found = expected.search(text, position) if expected is DATA else expected.match(text, position)
        if found and found["end"]:
            return
        try:
            if found is None:
                raise ValueError("no table")  # noqa: TRY301 - or cut off here
            row, position = decoder.raw_decode(text, found.end())
        except ValueError:
            if not (more := file.read(max(CHUNK, len(text)))):
                raise
            text, position = text[position:] + more, 0
        else:
            expected = NEXT
            yield row


def _column_type(kind: type) -> dict[str, Any]:
    held = {"wb_type": "string" if kind is str else "number"}
    return {"params": {"allowed_types": [{"wb_type": "none"}, held]}, "wb_type": "union"}
