"""JobSnapshot -> RunRecord: expresses a job in W&B's terms, without keys; performs no I/O."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

from ft_sync.file_names import file_name, folder_name
from ft_sync.models import OF_SERVICE, RunFile, RunRecord
from ft_sync.names import CHECKPOINTS, EVENTS, FOLDER, JOB_FILE, NATIVE_TAG, REPLACED_TAG, alias, dataset_name
from ft_sync.redaction import redact, redacted
from ft_sync.results import merge
from ft_sync.spool import each

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from ft_sync.models import Best, Checkpoint, FileId, Job, JobEvent, JobSnapshot, JsonObject, MetricRow, TrainingFile

RECORD_FORMAT = 4
"""Version of the record; incremented when the same job gives a different record, so that `resync` rewrites its run."""

MAX_TAG = 64
"""Maximum length of a tag in W&B, in characters."""

LARGEST = 2**63
"""W&B turns integers of this size and larger into floats."""

CONTROL = re.compile(r"[\x00-\x1f\x7f]")

TAKEN = frozenset({"_step", "_timestamp", "_runtime", "_wandb", "ftsync", "train_data", "valid_data"})
"""Reserved keys of a run's history and summary, which cannot be names of metrics."""

Values: TypeAlias = tuple[float, float, float]
"""The lowest, the highest and the last value of a metric."""

STATUS_KEYS = frozenset({"status", "fine_tuned_model", "trained_tokens", "duration_seconds", "error"})
"""Summary keys that ftsync sets even where a run of OpenAI's own integration already has an older value."""


def digest(job: Job) -> str:
    """Return the digest that tells whether a run is up to date: SHA-256 of the job as served and the record's format.

    Only the job listing is needed, so planning costs no request per job; the events and files of a job that has ended
    do not change.
    """
    canonical = json.dumps([RECORD_FORMAT, job.raw], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def record(snapshot: JobSnapshot, missing: Mapping[FileId, str] | None = None) -> RunRecord:
    """Return what the run of this job should hold.

    Args:
        snapshot: The job with its events, checkpoints and files.
        missing: Training and validation files that could not be fetched, each with the reason.
    """
    job = snapshot.job
    missing = missing or {}
    merged = merge(
        snapshot.result_files,
        snapshot.events,
        snapshot.checkpoints,
        started=_unix(job.created_at),
        finished=_unix(job.finished_at or _last_event(snapshot)),
    )
    values = _values(merged.rows)
    taken = sorted(TAKEN & values.keys())
    rows = _without(merged.rows, taken) if taken else merged.rows
    values = {name: known for name, known in values.items() if name not in taken}
    best = {name: kind for name in values if (kind := best_of(name))}
    metrics = _metrics(values, best)
    model = _model_metadata(job, snapshot.checkpoints, metrics)
    left_out = [f"metrics left out, whose names mean something else in a run: {', '.join(taken)}"] if taken else []
    lost = (*could_not_be_had(snapshot.missing, "result file"), *could_not_be_had(missing, "file"))
    gone = {**snapshot.missing, **missing}
    # All is redacted once more where texts were joined, since a key may have been in parts of it.
    return RunRecord(
        job_id=job.id,
        config=redacted(storable(_config(snapshot) | ({"missing_files": gone} if gone else {}))),
        summary=redacted(storable(metrics | _summary(job))),  # the job's values win over a metric called "status"
        tags=tuple(filter(None, map(_tag, ("openai", job.base_model, job.method)))),
        rows=rows,
        model_metadata=redacted(portable(model)) if model else None,
        digest=digest(job),
        best=best,
        files=tuple(_files(snapshot)),
        log=each(_line, snapshot.events),
        failure=job.verdict and redact(_text(job.verdict)),
        notes=redacted(tuple(dict.fromkeys(map(_text, (*snapshot.notes, *merged.notes, *left_out, *lost))))),
    )


def could_not_be_had(missing: Mapping[FileId, str], what: str) -> list[str]:
    """Return a note for each missing file, with the reason."""
    return [
        reason if reason in OF_SERVICE else f"{what} {file_id} could not be had: {reason}"
        for file_id, reason in missing.items()
    ]


def model_content(model: JsonObject, run_id: str, inputs: Iterable[TrainingFile]) -> dict[str, Any]:
    """Return the content of `model_metadata.json` in the artifact that a run logs.

    It includes the run's id: W&B deduplicates artifact versions by content, and a version is the output of one run.
    """
    used = {file.split: f"{dataset_name(file)}:{alias(file.id)}" for file in inputs}
    return {**model, "run_id": run_id, "datasets": used}


def newness(content: Mapping[str, Any], job_id: object) -> tuple[float, str]:
    """Return `Job.newness`, read back from a config or a model's metadata; an unknown creation time sorts lowest."""
    created_at = content.get("created_at")
    try:
        created = datetime.fromisoformat(created_at).timestamp() if created_at else 0.0
    except (TypeError, ValueError):
        created = 0.0
    return (created, str(job_id or ""))


def best_of(metric: str) -> Best | None:
    """Return whether a metric's lowest or highest value is its best; None if its name does not tell."""
    parts = metric.lower().split("/")
    name = f"{parts[0]} {parts[-1]}"  # the parts between them are names of graders: arbitrary text
    if "loss" in name:
        return "min"
    if "accurac" in name or ("reward" in name and "unresponsive" not in name):
        return "max"
    return None


def _last_event(snapshot: JobSnapshot) -> datetime | None:
    """Return the time of the last event, as the end of a finished job without `finished_at`; None if unfinished."""
    if not snapshot.job.is_finished:
        return None
    return max((event.created_at for event in snapshot.events if event.created_at), default=None)


def _without(rows: Iterable[MetricRow], names: Collection[str]) -> tuple[MetricRow, ...]:
    kept = (replace(row, metrics={k: v for k, v in row.metrics.items() if k not in names}) for row in rows)
    return tuple(row for row in kept if row.metrics)


def _values(rows: Iterable[MetricRow]) -> dict[str, Values]:
    """Return the lowest, the highest and the last value of each metric."""
    found: dict[str, Values] = {}
    for row in rows:
        for name, number in row.metrics.items():
            low, high, _ = found.get(name, (number, number, number))
            found[name] = (min(low, number), max(high, number), number)
    return found


def _metrics(values: Mapping[str, Values], best: Mapping[str, Best]) -> dict[str, Any]:
    """Return each metric's last value and, where `best` tells it, its best value, in the form of W&B's own summary."""
    return {
        name: {best[name]: low if best[name] == "min" else high, "last": last} if name in best else last
        for name, (low, high, last) in values.items()
    }


def _config(snapshot: JobSnapshot) -> dict[str, Any]:
    """Return the config without unknown values; keys that users filter by are at the top level."""
    job = snapshot.job
    config = {
        "fine_tune_job_id": job.id,
        "model": job.base_model,
        "method": job.method,
        "hyperparameters": {name: _number(value) for name, value in job.hyperparameters.items()},
        "seed": job.seed,
        "suffix": job.suffix,
        "organization_id": job.organization_id,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
        "result_files": list(job.result_files),
        "created_at": _iso(job.created_at),
        "finished_at": _iso(job.finished_at),
        "integrations": job.raw.get("integrations"),
    }
    for file in snapshot.training_files:
        word = "training" if file.split == "train" else "validation"
        config[f"{word}_file_name"] = file.filename
        config[f"{word}_file_bytes"] = file.size
    # Empty values inside these are the user's own, so they are kept, as far as W&B stores them.
    return _known(config) | {"grader": _grader(job.raw), "metadata": dict(job.metadata)}


def _summary(job: Job) -> dict[str, Any]:
    error = job.error
    duration = None if job.duration is None else job.duration.total_seconds()
    return _known(
        {
            "status": job.status,
            "fine_tuned_model": job.fine_tuned_model,
            "trained_tokens": job.trained_tokens,
            "duration_seconds": duration,
            "error": error and {"code": error.code, "message": error.message, "param": error.param},
        }
    )


def _model_metadata(job: Job, checkpoints: Iterable[Checkpoint], metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the content of `model_metadata.json`; None for a job that made no model."""
    if job.fine_tuned_model is None:
        return None
    known = {
        "fine_tuned_model": job.fine_tuned_model,
        "base_model": job.base_model,
        "method": job.method,
        "job_id": job.id,
        "status": job.status,
        "created_at": _iso(job.created_at),
        "finished_at": _iso(job.finished_at),
        "trained_tokens": job.trained_tokens,
        "hyperparameters": {name: _number(value) for name, value in job.hyperparameters.items()},
        "metrics": dict(metrics),
        "checkpoints": [
            {
                "id": saved.id,
                "model": saved.model,
                "step": saved.step,
                "created_at": _iso(saved.created_at),
                "metrics": dict(saved.metrics),
            }
            for saved in checkpoints
        ],
    }
    return _known(known) | {"job": dict(job.raw)}


def _files(snapshot: JobSnapshot) -> Iterator[RunFile]:
    """Yield copies of what the service served: unchanged JSON objects, and result files byte for byte."""
    yield RunFile(JOB_FILE, [_json(snapshot.job.raw, indent=2)])
    if snapshot.events:
        yield RunFile(EVENTS, each(_json_line, snapshot.events))
    if snapshot.checkpoints:
        yield RunFile(CHECKPOINTS, each(_json_line, snapshot.checkpoints))
    for file in snapshot.result_files:
        name = f"{folder_name(file.id)}/{file_name(PurePosixPath(file.filename or 'content').name)}"
        yield RunFile(f"{FOLDER}/result_files/{redact(name)}", [file.content])


def _json_line(one: JobEvent | Checkpoint) -> bytes:
    return _json(one.raw) + b"\n"


def _line(event: JobEvent) -> str:
    """Return the event as a log line: time, level, message."""
    level, message, kind = (
        " ".join(CONTROL.sub(" ", said).split()) for said in (event.level.upper(), event.message, event.type)
    )
    return redact(_text(" ".join(filter(None, (_iso(event.created_at), level, message or kind or "(nothing)")))))


def _grader(raw: Mapping[str, Any]) -> object:
    method = raw.get("method")
    reinforcement = method.get("reinforcement") if isinstance(method, dict) else None
    return reinforcement.get("grader") if isinstance(reinforcement, dict) else None


def _known(values: Mapping[str, Any], unknown: Sequence[object] = (None, "", [], {})) -> dict[str, Any]:
    """Drop unknown and empty values at any depth; zero and False are kept."""

    def known(value: Any) -> Any:  # noqa: ANN401 - JSON
        if isinstance(value, dict):
            return _known(value, unknown)
        return [known(entry) for entry in value] if isinstance(value, list) else value

    return {key: value for key, below in values.items() if (value := known(below)) not in unknown}


def storable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config or a summary as W&B stores it: without nulls and empty objects, at any depth (wandb 0.31.0)."""
    return _known(portable(values), unknown=(None, {}))


def portable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace JSON values that W&B cannot store: lone surrogates, NaN, infinity and huge integers."""

    def below(value: Any) -> Any:  # noqa: ANN401 - JSON
        match value:
            case dict():
                return portable(value)
            case list():
                return [below(entry) for entry in value]
            case str():
                return _text(value)
            case float() if not math.isfinite(value):
                return str(value)
            case int() if not -LARGEST <= value < LARGEST:
                return str(value)
            case _:
                return value

    return {_text(key): below(value) for key, value in values.items()}


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _number(value: object) -> object:
    """Parse a number that the service sent as a string; return any other value unchanged."""
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,300}(\.\d+)?([eE][+-]?\d+)?", value):
        return float(value) if re.search(r"[.eE]", value) else int(value)
    return value


def _json(value: JsonObject, indent: int | None = None) -> bytes:
    return json.dumps(value, indent=indent).encode()


def _tag(text: str | None) -> str:
    # A base model may be called openai/gpt-oss-20b, and the service may choose any name.
    tag = redact(_text((text or "").strip()))
    while tag.startswith(NATIVE_TAG):
        tag = tag.removeprefix(NATIVE_TAG).strip()
    return "" if tag == REPLACED_TAG else tag[:MAX_TAG]


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")


def _unix(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()
