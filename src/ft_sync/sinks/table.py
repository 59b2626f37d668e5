"""A W&B table written to disk row by row: the SDK's own holds all of its rows in memory, several times over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from ft_sync.datasets import Cell


def write_table(path: Path, columns: Mapping[str, type], rows: Iterable[Sequence[Cell]]) -> None:
    """Write the file that `wandb.Table` would be stored as, byte for byte.

    Args:
        path: Where to write it; its name in an artifact ends in `.table.json`.
        columns: Their names, and whether they hold `str` or `int`.
        rows: One cell for each column.
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
    with path.open("w", encoding="utf-8") as out:
        out.write(json.dumps(head)[:-1] + ', "data": [')
        for count, row in enumerate(rows, 1):
            out.write((", " if count > 1 else "") + json.dumps(row))
        tail = {"log_mode": "IMMUTABLE", "ncols": len(columns), "nrows": count}
        out.write("], " + json.dumps(tail)[1:])


def _column_type(kind: type) -> dict[str, Any]:
    held = {"wb_type": "string" if kind is str else "number"}
    return {"params": {"allowed_types": [{"wb_type": "none"}, held]}, "wb_type": "union"}
