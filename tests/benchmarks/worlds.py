"""What the benchmarks have OpenAI's side hold; each function makes the jobs of one figure; pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ft_sync.sandbox.samples import Supervised, dataset, many, shared_validation_file
from ft_sync.sandbox.samples.history import identifier
from ft_sync.sandbox.samples.recipes import SOME_TIME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ft_sync.sandbox import SampleJob

MB = 1_000_000
SECONDS_APART = 3600


def finished(count: int, steps: Sequence[int] = range(90, 290)) -> list[SampleJob]:
    """Jobs with two shared datasets, a result file and three checkpoints; about ten events more than steps.

    Args:
        count: How many.
        steps: The numbers of steps that occur, by turns.
    """
    return [
        Supervised(
            id=identifier("ftjob-", f"benchmark {number}", length=24),
            created_at=SOME_TIME + number * SECONDS_APART,
            steps=steps[number * 53 % len(steps)],
            validation_file=shared_validation_file(),
        ).build()
        for number in range(count)
    ]


def small(count: int) -> list[SampleJob]:
    """Jobs of four steps with two shared datasets, for figures that are about their number."""
    return many(count)


def with_training_file(size: int, rows: int) -> list[SampleJob]:
    """One job with a training file of about so many bytes in so many lines.

    Each line has three messages: of others, the peer would show nothing in its table.
    """
    answer = " ".join(identifier("", str(word), length=7) for word in range(size // rows // 8 + 8))
    overhead = len(_line(0, ""))
    length = max(1, size // rows - overhead)
    lines = (_line(row, answer[row % 8 :][:length]) for row in range(rows))
    file = dataset(f"{size}-bytes.jsonl", b"".join(lines))
    return [Supervised(id=f"ftjob-{size}bytes", steps=100, training_file=file).build()]


def with_rows(count: int) -> list[SampleJob]:
    """One job with a result file of so many rows, whose metric events are gone: reading them is another matter."""
    return [Supervised(id=f"ftjob-{count}rows", steps=count, seconds_per_step=1, metrics_events=0).build()]


def _line(number: int, answer: str) -> bytes:
    said = (("system", "Answer briefly."), ("user", f"Question number {number:8}?"), ("assistant", answer))
    return json.dumps({"messages": [{"role": role, "content": text} for role, text in said]}).encode() + b"\n"
