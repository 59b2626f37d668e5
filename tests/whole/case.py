"""A job as it is served, and the truth of it: written down by hand, and never by the code that is tested."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ft_sync.sandbox.world import SampleFile, SampleJob

START = 1_760_000_000
"""Unix second at which the jobs are created: 2025-10-09T08:53:20Z."""

END = START + 1_000
"""Unix second at which they end: 2025-10-09T09:10:00Z."""

Json: TypeAlias = dict[str, Any]
Rows: TypeAlias = dict[int, dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A job and what must be found of it.

    Attributes:
        rows: The whole history: the metrics of each step.
        times: The Unix seconds of some of its steps.
        config: Entries that the config must hold; None means that there is no such entry.
        summary: The same for the summary.
        cells: Of the training file's table: cells of some rows, by the row's index.
        examples: In the training file.
        broken: Its lines that cannot be read.
        missing: Files that cannot be had, by id.
        notes: Phrases that the notes of the outcome must hold.
        tags: All of them.
        refusals: Status with which the service answers for a file's content, by the file's id.
    """

    job: SampleJob
    rows: Rows = field(default_factory=dict)
    times: dict[int, float] = field(default_factory=dict)
    config: Json = field(default_factory=dict)
    summary: Json = field(default_factory=dict)
    cells: dict[int, Json] = field(default_factory=dict)
    examples: int | None = None
    broken: list[int] = field(default_factory=list)
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ("openai", "gpt-4.1-mini-2025-04-14", "supervised")
    refusals: dict[str, int] = field(default_factory=dict)


def file(id: str, content: bytes | str, name: str = "data.jsonl", *, encoded: bool = False) -> SampleFile:  # noqa: A002
    """A file of the Files API; `encoded` is served in base64."""
    return SampleFile(
        id=f"file-{id}",
        filename=name,
        purpose="fine-tune",
        content=content.encode() if isinstance(content, str) else content,
        created_at=START - 100,
        serve_base64=encoded,
    )


def csv(id: str, content: bytes | str, name: str = "step_metrics.csv", *, encoded: bool = True) -> SampleFile:  # noqa: A002
    """A result file, in base64 as OpenAI serves it."""
    return file(id, content, name, encoded=encoded)


def wrapped(content: str, width: int, end: str = "\n") -> bytes:
    """Base64 in lines."""
    text = base64.b64encode(content.encode()).decode()
    return end.join(text[start : start + width] for start in range(0, len(text), width)).encode()


def event(number: int, after: float, data: Json | None = None, **more: Any) -> Json:  # noqa: ANN401 - JSON
    """An event so many seconds after the start; with data it is one of metrics."""
    return {
        "object": "fine_tuning.job.event",
        "id": f"ftevent-{number}",
        "created_at": START + after,
        "level": "info",
        "message": f"Step {data.get('step')}" if data else "A message.",
        "type": "metrics" if data else "message",
        "data": data or {},
    } | more


def checkpoint(job_id: str, step: int, after: float, **metrics: float | None) -> Json:
    """A checkpoint so many seconds after the start."""
    return {
        "object": "fine_tuning.job.checkpoint",
        "id": f"ftckpt-{job_id}-{step}",
        "created_at": START + after,
        "fine_tuned_model_checkpoint": f"ft:{job_id}:ckpt-step-{step}",
        "step_number": step,
        "fine_tuning_job_id": job_id,
        "metrics": metrics,
    }


def job(
    name: str,
    *,
    results: tuple[SampleFile, ...] = (),
    train: SampleFile | None = None,
    valid: SampleFile | None = None,
    events: tuple[Json, ...] = (),
    checkpoints: tuple[Json, ...] = (),
    without: tuple[SampleFile, ...] = (),
    **more: Any,  # noqa: ANN401 - JSON
) -> SampleJob:
    """A succeeded supervised job; `without` names files that it speaks of and that are gone."""
    raw: Json = {
        "object": "fine_tuning.job",
        "id": f"ftjob-{name}",
        "created_at": START,
        "finished_at": END,
        "estimated_finish": None,
        "model": "gpt-4.1-mini-2025-04-14",
        "fine_tuned_model": f"ft:gpt-4.1-mini:{name}",
        "organization_id": "org-1",
        "result_files": [one.id for one in results],
        "status": "succeeded",
        "training_file": train.id if train else None,
        "validation_file": valid.id if valid else None,
        "hyperparameters": {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8},
        "method": {
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8}},
        },
        "trained_tokens": 100,
        "error": {},
        "integrations": [],
        "seed": 7,
        "metadata": None,
        "user_provided_suffix": None,
    }
    held = [one for one in (*results, train, valid) if one is not None and one not in without]
    return SampleJob(job=raw | more, events=events, checkpoints=checkpoints, files=held)
