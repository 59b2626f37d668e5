"""Jobs, events and snapshots for tests: a test names only the fields that it is about."""

# ruff: noqa: ANN401 - a builder takes every field of what it builds, by keyword

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ft_sync import datasets
from ft_sync.compare import Dataset, Digest, HeldDataset, HeldModel, HeldRun
from ft_sync.convert import model_content
from ft_sync.models import (
    SUCCEEDED,
    Checkpoint,
    Failed,
    FileId,
    Job,
    JobEvent,
    JobId,
    JobSnapshot,
    ResultFile,
    RunId,
    RunRecord,
    TrainingFile,
)
from ft_sync.table import write_table
from tests.fakes import EXAMPLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ft_sync.models import Split

T = TypeVar("T")

CREATED = 1_760_000_000
"""Unix second at which the jobs of the tests are created."""

FINISHED = CREATED + 600
"""Unix second at which they end."""


def digest_of(content: bytes) -> Digest:
    """Size and MD5, as W&B has them."""
    return Digest(len(content), base64.b64encode(hashlib.md5(content).digest()).decode())


def _dataset() -> Dataset:
    with tempfile.TemporaryDirectory() as folder:
        path, table = Path(folder, "data.jsonl"), Path(folder, "table")
        path.write_bytes(EXAMPLE)
        read = datasets.read(path)
        write_table(table, read.columns, read.rows())
        return Dataset(digest_of(EXAMPLE), digest_of(table.read_bytes()), read.summary)


DATASET = _dataset()
"""The training file that the services of the fakes hold."""


def at(seconds: float) -> datetime:
    """The UTC time so many seconds after a test's job was created."""
    return datetime.fromtimestamp(CREATED + seconds, UTC)


def readable(listed: Iterable[T | Failed]) -> Iterator[T]:
    """What is listed, given that all of it can be read."""
    for one in listed:
        assert not isinstance(one, Failed)
        yield one


def job(id: str = "ftjob-1", **changes: Any) -> Job:  # noqa: A002 - the field's own name
    """A succeeded supervised job; unless given, `raw` is made to agree with the other fields."""
    fields: dict[str, Any] = {
        "status": SUCCEEDED,
        "base_model": "gpt-4.1-mini-2025-04-14",
        "method": "supervised",
        "fine_tuned_model": f"ft:gpt-4.1-mini-2025-04-14:org::{id}",
        "created_at": at(0),
        "finished_at": at(600),
        "trained_tokens": 12_000,
        "seed": 42,
        "organization_id": "org-1",
        "hyperparameters": {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8},
        "training_file": FileId("file-train"),
        "result_files": (FileId("file-result"),),
    }
    fields |= changes
    fields.setdefault("raw", _raw(id, fields))
    return Job(id=JobId(id), **fields)


def event(step: int | None = None, **changes: Any) -> JobEvent:
    """A metrics event of the step, or without one a message event; `metrics` go into its data."""
    metrics = changes.pop("metrics", {"train_loss": 1.0})
    fields: dict[str, Any] = {
        "id": f"ftevent-{step}",
        "created_at": at(step or 0),
        "level": "info",
        "message": "Job started." if step is None else f"Step {step}",
        "type": "message" if step is None else "metrics",
        "data": {} if step is None else {"step": step, **metrics},
    }
    fields |= changes
    fields.setdefault("raw", {"object": "fine_tuning.job.event", "id": fields["id"], "message": fields["message"]})
    return JobEvent(**fields)


def checkpoint(step: int | None = 10, **changes: Any) -> Checkpoint:
    """A checkpoint of the step."""
    fields: dict[str, Any] = {
        "id": f"ftckpt-{step}",
        "model": f"ft:gpt-4.1-mini-2025-04-14:org::ftjob-1:ckpt-step-{step}",
        "step": step,
        "created_at": at(step or 0),
        "metrics": {"full_valid_loss": 0.5},
        "raw": {"object": "fine_tuning.job.checkpoint", "id": f"ftckpt-{step}"},
    }
    return Checkpoint(**(fields | changes))


def result_file(content: bytes = b"step,train_loss\n1,1.0\n2,0.5\n", id: str = "file-result") -> ResultFile:  # noqa: A002
    """A result file, as served."""
    return ResultFile(FileId(id), content, "step_metrics.csv")


def training_file(id: str = "file-train", split: Split = "train", **changes: Any) -> TrainingFile:  # noqa: A002
    """The description of a training file."""
    fields: dict[str, Any] = {"filename": f"{split}.jsonl", "size": 2048, "created_at": at(-60)}
    return TrainingFile(id=FileId(id), split=split, **(fields | changes))


def snapshot(of: Job | None = None, **changes: Any) -> JobSnapshot:
    """A snapshot with two steps in its result file and its training file's description."""
    fields: dict[str, Any] = {
        "job": of or job(),
        "result_files": (result_file(),),
        "training_files": (training_file(),),
    }
    return JobSnapshot(**(fields | changes))


def record(job_id: str = "ftjob-1", **changes: Any) -> RunRecord:
    """A run record with little in it, for what stands to the right of `convert`."""
    fields: dict[str, Any] = {
        "job_id": JobId(job_id),
        "config": {"fine_tune_job_id": job_id},
        "summary": {"status": "succeeded"},
        "tags": ("openai",),
        "rows": (),
        "model_metadata": None,
        "digest": "0" * 64,
    }
    return RunRecord(**(fields | changes))


def held_run(of: RunRecord, run_id: str = "ftjob-1", *, inputs: Sequence[TrainingFile] = (), **changes: Any) -> HeldRun:
    """What W&B holds of a run that was written whole; each of its inputs holds DATASET."""
    model = None
    if of.model_metadata is not None:
        content = model_content(of.model_metadata, run_id, inputs)
        file = digest_of(json.dumps(content).encode())
        aliases = ("latest", of.job_id)
        model = HeldModel(aliases, json.loads(json.dumps(content)), is_newest=True, listed=file, stored=file)
    mark = {"version": "1", "digest": of.digest, "rows": len(of.rows), "time": "2026-01-01T00:00:00+00:00"}
    rows = DATASET.summary.rows
    fields: dict[str, Any] = {
        "state": "finished" if of.failure is None else "failed",
        "config": {**of.config, **{f"n_{file.split}": DATASET.summary.examples for file in inputs}},
        "summary": {**of.summary, "ftsync": mark, **{f"{file.split}_data": {"nrows": rows} for file in inputs}},
        "tags": of.tags,
        "notes": "\n\n".join(filter(None, (of.failure, *of.notes))),
        "rows": of.rows,
        "files": {file.path: digest_of(b"".join(file.chunks)) for file in of.files},
        "log": of.log,
        "datasets": tuple(map(held_dataset, inputs)),
        "model": model,
    }
    return HeldRun(RunId(run_id), **(fields | changes))


def held_dataset(file: TrainingFile, **changes: Any) -> HeldDataset:
    """The artifact of a file, with what DATASET holds."""
    fields: dict[str, Any] = {
        "type": "training_files" if file.split == "train" else "validation_files",
        "aliases": ("latest", file.id),
        "files": {"data.jsonl": DATASET.content, f"{file.split}_data.table.json": DATASET.table},
        "table_rows": DATASET.summary.rows,
        "listed": {"data.jsonl": DATASET.content, f"{file.split}_data.table.json": DATASET.table},
    }
    return HeldDataset(f"{file.split}-{file.id}", **(fields | changes))


def _raw(job_id: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The job object as a service serves it."""
    method = fields["method"]
    return {
        "id": job_id,
        "object": "fine_tuning.job",
        "status": fields["status"],
        "model": fields["base_model"],
        "fine_tuned_model": fields["fine_tuned_model"],
        "created_at": _unix(fields["created_at"]),
        "finished_at": _unix(fields["finished_at"]),
        "hyperparameters": dict(fields["hyperparameters"]),
        "method": {"type": method, method: {"hyperparameters": dict(fields["hyperparameters"])}} if method else None,
        "training_file": fields["training_file"],
        "validation_file": fields.get("validation_file"),
        "result_files": list(fields["result_files"]),
        "trained_tokens": fields["trained_tokens"],
        "seed": fields["seed"],
        "organization_id": fields["organization_id"],
        "user_provided_suffix": fields.get("suffix"),
        "metadata": dict(fields.get("metadata", {})),
        "error": {"code": None, "message": None, "param": None},
    }


def _unix(time: datetime | None) -> int | None:
    return None if time is None else int(time.timestamp())
