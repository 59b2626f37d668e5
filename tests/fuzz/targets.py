"""What must be so of any bytes whatever; a target raises where it is not."""

from __future__ import annotations

import base64
import json
import math
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ft_sync import datasets, result_text, results
from ft_sync.errors import BadData
from ft_sync.models import FileId, ResultFile
from ft_sync.sandbox import samples
from ft_sync.table import count_rows, write_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ft_sync.models import MetricRow

STARTED, FINISHED = 1_000.0, 2_000.0
DICTIONARY = (
    *(
        "step",
        "loss",
        ",",
        '"',
        "\n",
        "1e400",
        "nan",
        "-1",
        "1.0",
        "_",
        "\ufeff",
        "\x00",
        "\\ud800",
        "[",
        "]",
        "{",
        "}",
        ":",
    ),
    *("messages", "role", "assistant", "content", "tool_calls", "function", "preferred_output", "non_preferred_output"),
    *("prompt", "completion", "image_url", "null", "true"),
)
"""Words that a fuzzer would take long to find."""


def check_results(content: bytes) -> None:
    """A result file gives sound rows or is refused, and base64 of it gives the same."""
    merged = results.merge([ResultFile(FileId("file-1"), content)], [], [], started=STARTED, finished=FINISHED)
    _check_rows(merged.rows)
    assert all(row.time is not None and STARTED <= row.time <= FINISHED for row in merged.rows)
    try:
        text = result_text.decode(content)
    except BadData:
        assert not merged.rows
        return
    parsed = results.parse(text)
    assert [(row.step, row.metrics) for row in parsed.rows] == [(row.step, row.metrics) for row in merged.rows]
    assert all("\n" not in note for note in parsed.notes)
    if ("," in text or "\n" in text) and not text.startswith("\ufeff"):
        assert results.parse(result_text.decode(base64.b64encode(text.encode()))) == parsed


def check_datasets(content: bytes) -> None:
    """Every line of a training file is an example or broken, and the table holds the examples as they stand."""
    with TemporaryDirectory(dir=_memory()) as folder:
        path, table = Path(folder, "data.jsonl"), Path(folder, "table")
        path.write_bytes(content)
        dataset = datasets.read(path, limit=5)
        rows = list(dataset.rows())
        summary = dataset.summary
        lines = [line.removeprefix(b"\xef\xbb\xbf").strip() for line in content.split(b"\n")]
        assert summary.examples + summary.broken == sum(map(bool, lines))
        assert summary.rows == len(rows) == min(5, summary.examples)
        assert [row[0] for row in rows] == list(range(len(rows)))
        kinds = list(dataset.columns.values())
        for row in rows:
            assert list(map(type, row)) == kinds
            assert isinstance(json.loads(str(row[-1])), dict)
            "".join(map(str, row)).encode()
        write_table(table, dataset.columns, iter(rows))
        with table.open("rb") as written:
            assert count_rows(written) == len(rows)


TARGETS: dict[str, Callable[[bytes], None]] = {"results": check_results, "datasets": check_datasets}


def seeds(target: str) -> Iterator[bytes]:
    """Yield the files of the sample jobs, small enough to be changed a lot, and in each encoding."""
    for job in samples.finished_jobs():
        for file in job.files:
            if file.filename.endswith(".jsonl") == (target == "datasets"):
                content = b"".join(file.content.splitlines(keepends=True)[:6])
                yield content
                yield b"\xef\xbb\xbf" + content
                if target == "results":
                    yield base64.b64encode(content)


def _check_rows(rows: Iterable[MetricRow]) -> None:
    assert all(before.step < after.step for before, after in pairwise(rows))
    for row in rows:
        assert 0 <= row.step <= results.MAX_STEP
        assert row.metrics
        assert all(name and math.isfinite(number) for name, number in row.metrics.items())
        json.dumps(row.metrics, ensure_ascii=False).encode()


def _memory() -> str | None:
    """Return a folder that is no disk, where the system has one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
