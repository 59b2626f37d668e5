"""Builds a `SampleJob` from a few keywords; the same keywords always give the same job; pure."""

# ruff: noqa: S311 - seeded on purpose: a sample must come out the same every time

import abc
import functools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from ft_sync.sandbox.samples import curves, datasets
from ft_sync.sandbox.samples.curves import Grader, Row
from ft_sync.sandbox.samples.history import History, Timetable, checkpoint, identifier
from ft_sync.sandbox.world import AUTO, NEWEST_CHECKPOINTS, Live, SampleFile, SampleJob, undecided

ORGANIZATION: Final = "org-RustySprocketBicycles001"
SOME_TIME: Final = 1_760_000_000
EVAL_INTERVAL: Final = 5


def dataset(filename: str, content: bytes, *, created_at: int = SOME_TIME - 600) -> SampleFile:
    """A training or validation file; its id follows from its name."""
    return SampleFile(
        id=identifier("file-", filename, length=22),
        filename=filename,
        purpose="fine-tune",
        content=content,
        created_at=created_at,
    )


@functools.cache
def shared_training_file() -> SampleFile:
    """The training file of every recipe that names no other."""
    return dataset("workshop-letters.jsonl", datasets.chat(30, seed=1))


@functools.cache
def shared_validation_file() -> SampleFile:
    """A validation file to go with it."""
    return dataset("workshop-letters-valid.jsonl", datasets.chat(10, seed=2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(abc.ABC):
    """What all methods of fine-tuning have in common. `build()` makes the job.

    Attributes:
        id: Of the job; follows from the seed when left out. Everything random follows from the id.
        steps: Planned steps.
        stop_at: Steps done before the job failed or was cancelled. A job that stops at 0 never got started.
        error: The job's `error`; empty or with null fields unless the job failed.
        more: Further fields of the job, documented or not; they win over the built ones.
        seconds_per_step: May be a fraction.
        closing_seconds: From the last step to the end.
        live: Let the job unfold by the server's clock, instead of being there complete.
        columns: Header of the result file; the method's own when left out.
        decimals: Rounding of the result file.
        serve_base64: Whether the result file is served base64-encoded.
        metrics_events: How many metrics events are left, the newest ones; None means all.
        legacy: Leave out the fields that the first jobs did not have.
    """

    id: str = ""
    created_at: int = SOME_TIME
    model: str = "gpt-4.1-mini-2025-04-14"
    suffix: str | None = None
    seed: int = 42
    steps: int = 30
    epochs: int = 3
    training_file: SampleFile = field(default_factory=shared_training_file)
    validation_file: SampleFile | None = None
    metadata: Mapping[str, str] | None = None
    status: Literal["succeeded", "failed", "cancelled"] = "succeeded"
    stop_at: int = 0
    error: Mapping[str, str | None] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    validating_seconds: int = 30
    queued_seconds: int = 60
    seconds_per_step: float = 7.5
    closing_seconds: int = 20
    live: bool = False
    columns: Sequence[str] | None = None
    decimals: int | None = None
    serve_base64: bool = True
    metrics_events: int | None = None
    legacy: bool = False

    @abc.abstractmethod
    def _method(self) -> dict[str, Any]:
        """The job's `method`, with real hyperparameters."""

    @abc.abstractmethod
    def _hyperparameters(self) -> dict[str, Any] | None:
        """The job's top-level `hyperparameters`."""

    @abc.abstractmethod
    def _rows(self, rng: random.Random) -> list[Row]:
        """The metrics of all planned steps."""

    @abc.abstractmethod
    def _columns(self) -> Sequence[str]:
        """The usual header of the result file."""

    def _event_data(self, row: Row) -> dict[str, Any]:
        """The row as a metrics event carries it."""
        return dict(row)

    def _checkpoint_steps(self) -> Sequence[int]:
        """The steps after which a checkpoint is made."""
        return curves.epoch_ends(self.steps, self.epochs)

    def _best(self, rows: list[Row]) -> list[Row]:
        """Those of the checkpoints' rows whose checkpoints are kept."""
        return rows[-NEWEST_CHECKPOINTS:]

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.id or identifier("ftjob-", str(self.seed), length=24)

    @property
    def tuned_model(self) -> str:
        """The name that the model gets."""
        return f"ft:{self.model}:acme:{self.suffix or ''}:{identifier('', self.job_id, length=8)}"

    @property
    def batch_size(self) -> int:
        """Follows from the number of examples, epochs and steps."""
        return max(1, round(self.training_file.content.count(b"\n") * self.epochs / self.steps))

    def validated_steps(self) -> Sequence[int]:
        """The steps that carry validation metrics."""
        return curves.epoch_ends(self.steps, self.epochs) if self.validation_file else ()

    def build(self) -> SampleJob:
        """Make the job with its events, checkpoints and files."""
        done = self.steps if self.status == "succeeded" else self.stop_at
        rows = self._rows(random.Random(self.job_id))[:done]
        table = self._timetable(done)
        saved = self._best([row for row in rows if row["step"] in self._checkpoint_steps()])
        files = [self.training_file, *([self.validation_file] if self.validation_file else [])]
        result = self._result_file(rows, table) if self.status == "succeeded" else None
        return SampleJob(
            job=self._job(table, result, started=done > 0),
            events=self._events(rows, table),
            checkpoints=[
                checkpoint(self.job_id, model=self.tuned_model, created_at=table.step(row["step"]), row=row)
                for row in saved
            ],
            files=[*files, *([result] if result else [])],
            live=Live(table.queued_at, table.starts_at, table.ends_at) if self.live else None,
        )

    def _timetable(self, done: int) -> Timetable:
        queued_at = self.created_at + self.validating_seconds
        starts_at = queued_at + self.queued_seconds
        ends_at = starts_at + math.ceil(done * self.seconds_per_step) + self.closing_seconds
        return Timetable(
            created_at=self.created_at,
            queued_at=queued_at,
            starts_at=starts_at,
            seconds_per_step=self.seconds_per_step,
            # A job that never started ends with the check of its files.
            ends_at=ends_at if done else queued_at,
        )

    def _job(self, table: Timetable, result: SampleFile | None, *, started: bool) -> dict[str, Any]:
        succeeded = result is not None
        job: dict[str, Any] = {
            "object": "fine_tuning.job",
            "id": self.job_id,
            "model": self.model,
            "created_at": self.created_at,
            "finished_at": table.ends_at if succeeded else None,
            "fine_tuned_model": self.tuned_model if succeeded else None,
            "organization_id": ORGANIZATION,
            "result_files": [result.id] if result else [],
            "status": self.status,
            "validation_file": self.validation_file.id if self.validation_file else None,
            "training_file": self.training_file.id,
            "hyperparameters": self._hyperparameters(),
            "trained_tokens": len(self.training_file.content) // 4 * self.epochs if succeeded else None,
            "error": dict(self.error),
            "seed": self.seed,
            "integrations": [],
        }
        if not self.legacy:
            job |= {
                "estimated_finish": None,
                "user_provided_suffix": self.suffix,
                "metadata": dict(self.metadata) if self.metadata else None,
                "method": self._method(),
            }
        return (job if started else undecided(job)) | dict(self.more)

    def _result_file(self, rows: Sequence[Row], table: Timetable) -> SampleFile:
        return SampleFile(
            id=identifier("file-", f"{self.job_id}/results", length=22),
            filename="step_metrics.csv",
            purpose="fine-tune-results",
            content=curves.result_csv(rows, self.columns or self._columns(), decimals=self.decimals),
            created_at=table.ends_at,
            serve_base64=self.serve_base64,
        )

    def _events(self, rows: Sequence[Row], table: Timetable) -> list[dict[str, Any]]:
        history = History(self.job_id, data_of_messages=None if self.legacy else {})
        history.say(table.created_at, f"Fine-tuning job {self.job_id} created")
        history.say(table.created_at, f"Checking training file {self.training_file.id}")
        if self.validation_file:
            history.say(table.created_at, f"Checking validation file {self.validation_file.id}")
        if rows:
            history.say(table.queued_at, "Files are valid, the job is queued")
            history.say(table.starts_at, "Training started")
        for row in rows:
            step = row["step"]
            time = table.step(step)
            history.metrics(time, row, self._event_data(row) | {"total_steps": self.steps})
            if step in self._checkpoint_steps():
                history.say(time, f"Checkpoint created at step {step}")
        if self.status == "succeeded":
            history.say(table.ends_at, f"New fine-tuned model created: {self.tuned_model}")
            history.say(table.ends_at, "The job has succeeded")
        elif self.status == "cancelled":
            history.say(table.ends_at, "The job was cancelled on request", level="warn")
        else:
            history.say(table.ends_at, self.error.get("message") or "Something broke", level="error")
            history.say(table.ends_at, "The job has failed", level="error")
        if self.metrics_events is not None:
            history.keep_metrics(self.metrics_events)
        return history.events


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervised(Recipe):
    """A supervised job."""

    learning_rate_multiplier: float = 1.8

    def _hyperparameters(self) -> dict[str, Any]:
        return {
            "n_epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate_multiplier": self.learning_rate_multiplier,
        }

    def _method(self) -> dict[str, Any]:
        return {"type": "supervised", "supervised": {"hyperparameters": self._hyperparameters()}}

    def _rows(self, rng: random.Random) -> list[Row]:
        return curves.supervised_rows(rng, self.steps, validated=self.validated_steps())

    def _columns(self) -> Sequence[str]:
        return curves.CLASSIC


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference(Recipe):
    """A DPO job: the top-level hyperparameters stay "auto", the method has the real ones."""

    beta: float = 0.1

    def _hyperparameters(self) -> dict[str, Any]:
        return {"n_epochs": AUTO, "batch_size": AUTO, "learning_rate_multiplier": AUTO}

    def _method(self) -> dict[str, Any]:
        settings = {
            "beta": self.beta,
            "n_epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate_multiplier": 1.0,
        }
        return {"type": "dpo", "dpo": {"hyperparameters": settings}}

    def _rows(self, rng: random.Random) -> list[Row]:
        return curves.preference_rows(rng, self.steps, validated=self.validated_steps())

    def _columns(self) -> Sequence[str]:
        return curves.PREFERENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Reinforcement(Recipe):
    """A reinforcement job: no top-level hyperparameters, nested events, the three best checkpoints."""

    model: str = "o4-mini-2025-04-16"
    graders: Sequence[Grader] = (
        ("string_check", "torque, exact"),
        ("score_model", 'tone: "kind" / human'),
    )

    def validated_steps(self) -> Sequence[int]:
        """Every fifth step and the last one."""
        return sorted({*range(EVAL_INTERVAL, self.steps + 1, EVAL_INTERVAL), self.steps})

    def _checkpoint_steps(self) -> Sequence[int]:
        return self.validated_steps()

    def _best(self, rows: list[Row]) -> list[Row]:
        best = sorted(rows, key=lambda row: row["full_valid_mean_reward"])[-NEWEST_CHECKPOINTS:]
        return sorted(best, key=lambda row: row["step"])

    def _hyperparameters(self) -> None:
        return None

    def _method(self) -> dict[str, Any]:
        settings = {
            "n_epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate_multiplier": 1.0,
            "compute_multiplier": 1.0,
            "eval_interval": EVAL_INTERVAL,
            "eval_samples": 2,
        }
        parts = {f"part_{number}": _grader(kind, name) for number, (kind, name) in enumerate(self.graders)}
        grader = {
            "type": "multi",
            "name": "workshop verdict",
            "graders": parts,
            "calculate_output": " + ".join(f"{1 / len(parts)} * {part}" for part in parts),
        }
        return {"type": "reinforcement", "reinforcement": {"grader": grader, "hyperparameters": settings}}

    def _rows(self, rng: random.Random) -> list[Row]:
        return curves.reinforcement_rows(rng, self.steps, graders=self.graders, validated=self.validated_steps())

    def _event_data(self, row: Row) -> dict[str, Any]:
        return curves.nested_reinforcement(row, graders=self.graders)

    def _columns(self) -> Sequence[str]:
        return curves.reinforcement_columns(self.graders)


def many(
    count: int,
    *,
    status: Literal["succeeded", "failed", "cancelled"] = "succeeded",
    newest: int = SOME_TIME,
    spacing: int = 3600,
    steps: int = 4,
) -> list[SampleJob]:
    """Small supervised jobs which share their training and validation files, newest first.

    Args:
        count: How many.
        status: Of all of them.
        newest: When the newest was created, in Unix seconds.
        spacing: Seconds between the creations of two jobs.
        steps: Steps of each job.
    """
    return [
        Supervised(
            id=identifier("ftjob-", f"one of many, number {number}", length=24),
            created_at=newest - number * spacing,
            steps=steps,
            epochs=min(2, steps),
            validation_file=shared_validation_file(),
            status=status,
            error={"code": "server_error", "message": "A sprocket slipped.", "param": None}
            if status == "failed"
            else {},
        ).build()
        for number in range(count)
    ]


def _grader(kind: str, name: str) -> dict[str, Any]:
    if kind == "string_check":
        return {
            "type": kind,
            "name": name,
            "input": "{{sample.output_text}}",
            "reference": "{{item.reference_torque}}",
            "operation": "ilike",
        }
    question = "How kind is this answer, from 0 to 1? {{sample.output_text}}"
    return {
        "type": kind,
        "name": name,
        "model": curves.JUDGE,
        "input": [{"role": "user", "content": question}],
        "range": [0.0, 1.0],
    }
