"""JobSnapshot -> RunRecord: what a job means in W&B's terms; pure."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from ft_sync.models import RunRecord
from ft_sync.results import merge

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ft_sync.models import Checkpoint, Job, JobSnapshot, TrainingFile

RECORD_FORMAT = 1
"""Raised when a job would be recorded differently than before, so that `resync` writes its run again."""

MAX_TAG = 64
"""W&B's limit, in characters."""


def digest(job: Job) -> str:
    """Return what tells whether a run is up to date: SHA-256 of the job as served and of the record's format.

    It needs the listing alone, so that planning costs no request a job; events and files of a job that has ended do
    not change.
    """
    canonical = json.dumps([RECORD_FORMAT, job.raw], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def record(snapshot: JobSnapshot) -> RunRecord:
    """Return what the run of this job should hold."""
    job = snapshot.job
    merged = merge(
        snapshot.result_files,
        snapshot.events,
        snapshot.checkpoints,
        started=_unix(job.created_at),
        finished=_unix(job.finished_at),
    )
    return RunRecord(
        job_id=job.id,
        config=_config(job, snapshot.training_files),
        summary=_summary(job),
        tags=tuple(_tag(tag) for tag in ("openai", job.base_model, job.method) if tag),
        rows=merged.rows,
        files=snapshot.training_files,
        model_metadata=_model_metadata(job, snapshot.checkpoints),
        digest=digest(job),
        failure=job.verdict,
        notes=snapshot.notes + merged.notes,
    )


def _config(job: Job, files: tuple[TrainingFile, ...]) -> dict[str, Any]:
    """Return the config: flat where people filter, without what is unknown."""
    config = {
        "fine_tune_job_id": job.id,
        "model": job.base_model,
        "method": job.method,
        "hyperparameters": dict(job.hyperparameters),
        "seed": job.seed,
        "suffix": job.suffix,
        "organization_id": job.organization_id,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
        "result_files": list(job.result_files),
        "created_at": _iso(job.created_at),
        "finished_at": _iso(job.finished_at),
        "metadata": dict(job.metadata),
        "grader": _grader(job.raw),
        "integrations": job.raw.get("integrations"),
    }
    for file in files:
        word = "training" if file.split == "train" else "validation"
        config[f"{word}_file_name"] = file.filename
        config[f"{word}_file_bytes"] = file.size
    return _known(config)


def _summary(job: Job) -> dict[str, Any]:
    error = job.error
    return _known(
        {
            "status": job.status,
            "fine_tuned_model": job.fine_tuned_model,
            "trained_tokens": job.trained_tokens,
            "duration_seconds": None if job.duration is None else job.duration.total_seconds(),
            "error": error and _known({"code": error.code, "message": error.message, "param": error.param}),
        }
    )


def _model_metadata(job: Job, checkpoints: tuple[Checkpoint, ...]) -> dict[str, Any] | None:
    """Return the content of `model_metadata.json`; None for a job that made no model."""
    if job.fine_tuned_model is None:
        return None
    return {
        "fine_tuned_model": job.fine_tuned_model,
        "base_model": job.base_model,
        "method": job.method,
        "hyperparameters": dict(job.hyperparameters),
        "checkpoints": [
            {"model": saved.model, "step": saved.step, "metrics": dict(saved.metrics)} for saved in checkpoints
        ],
        "job": dict(job.raw),
    }


def _grader(raw: Mapping[str, Any]) -> object:
    method = raw.get("method")
    reinforcement = method.get("reinforcement") if isinstance(method, dict) else None
    return reinforcement.get("grader") if isinstance(reinforcement, dict) else None


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is unknown or empty, at any depth of objects; zero and False are known."""
    known = {key: _known(value) if isinstance(value, dict) else value for key, value in values.items()}
    return {key: value for key, value in known.items() if value not in (None, "", [], {})}


def _tag(text: str) -> str:
    # Tags that start with openai/ tell runs of OpenAI's own integration, and a base model may be openai/gpt-oss-20b.
    return text.removeprefix("openai/")[:MAX_TAG]


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")


def _unix(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()
