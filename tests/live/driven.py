"""A fine-tuning job that a test drives by hand: it changes its status and reports its steps when it is told to."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ft_sync.sandbox import SampleFile, SampleJob

if TYPE_CHECKING:
    from ft_sync.sandbox import World

START = 1_760_000_000
"""Unix second at which the jobs are created."""

HYPERPARAMETERS = {"n_epochs": 2, "batch_size": 1, "learning_rate_multiplier": 1.8}
UNDECIDED = dict.fromkeys(HYPERPARAMETERS, "auto")
EXAMPLES = b'{"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]}\n' * 3
TRAINING = SampleFile(
    id="file-train", filename="train.jsonl", purpose="fine-tune", content=EXAMPLES, created_at=START - 60
)


class Driven:
    """A supervised job that has just been made; it is in the world from now on.

    Attributes:
        told: The ids of its metrics events by their step.
    """

    def __init__(
        self, world: World, name: str = "driven", *, created: int = 0, status: str = "validating_files"
    ) -> None:
        self._world = world
        self._numbers = itertools.count(1)
        self.id = f"ftjob-{name}"
        self._created = START + created
        self.told: dict[int, str] = {}
        self._now = SampleJob(job=self._raw(status), files=[TRAINING])
        world.add(self._now)

    def is_now(self, status: str, **more: Any) -> None:  # noqa: ANN401 - JSON
        """Pass to a status that is not the end."""
        self._becomes(job={**self._now.job, **_decided(status), **more, "status": status})

    def says(self, message: str) -> None:
        """Add a message to the events."""
        self._becomes(events=[*self._now.events, self._event(message, self._second)])

    def reports(self, *steps: int, second: int | None = None, **metrics: float) -> None:
        """Add a metrics event for each of these steps, all at the same time, a second a step unless told otherwise."""
        self._becomes(events=[*self._now.events, *(self._metrics(step, second, metrics) for step in steps)])

    def reports_behind(self, step: int) -> None:
        """Add a metrics event of the second of the last event, behind which the service lists it."""
        *before, last = self._now.events
        self._becomes(events=[*before, self._metrics(step, last["created_at"] - self._created, {}), last])

    def ends(self, status: str = "succeeded", *, results: str | None = None) -> None:
        """Come to the end; `results` is the result file of a job that succeeded, else it is what the events say."""
        file = SampleFile(
            id=f"file-results-{self.id}",
            filename="step_metrics.csv",
            purpose="fine-tune-results",
            content=(results or self._told_as_table()).encode(),
            created_at=self._second,
            serve_base64=True,
        )
        is_success = status == "succeeded"
        self._becomes(
            job={
                **self._now.job,
                "status": status,
                "finished_at": self._second + 5,
                "fine_tuned_model": f"ft:gpt-4.1-mini:{self.id}" if is_success else None,
                "trained_tokens": 1_000 if is_success else None,
                "result_files": [file.id] if is_success else [],
                "error": {"code": "server_error", "message": "A sprocket slipped.", "param": None}
                if status == "failed"
                else {},
            },
            checkpoints=[self._checkpoint(max(self.told))] if is_success and self.told else [],
            files=[TRAINING, *([file] if is_success else [])],
        )

    @property
    def _second(self) -> int:
        return max((event["created_at"] for event in self._now.events), default=self._created) + 1

    def _becomes(self, **changes: Any) -> None:  # noqa: ANN401 - of several types
        self._now = replace(self._now, **changes)
        self._world.add(self._now)

    def _told_as_table(self) -> str:
        lines = [f"{step},{loss(step)}" for step in sorted(self.told)]
        return "\n".join(["step,train_loss", *lines, ""])

    def _metrics(self, step: int, second: int | None, metrics: dict[str, float]) -> dict[str, Any]:
        at = self._created + (10 + step if second is None else second)
        event = self._event(f"Step {step}", at, "metrics")
        self.told[step] = event["id"]
        return event | {"data": {"step": step, "total_steps": 100, **(metrics or {"train_loss": loss(step)})}}

    def _event(self, message: str, second: int, kind: str = "message") -> dict[str, Any]:
        return {
            "object": "fine_tuning.job.event",
            "id": f"ftevent-{self.id}-{next(self._numbers)}",
            "created_at": second,
            "level": "info",
            "message": message,
            "type": kind,
            "data": {},
        }

    def _checkpoint(self, step: int) -> dict[str, Any]:
        return {
            "object": "fine_tuning.job.checkpoint",
            "id": f"ftckpt-{self.id}-{step}",
            "created_at": self._second,
            "fine_tuned_model_checkpoint": f"ft:gpt-4.1-mini:{self.id}:ckpt-step-{step}",
            "step_number": step,
            "fine_tuning_job_id": self.id,
            "metrics": {"train_loss": loss(step)},
        }

    def _raw(self, status: str) -> dict[str, Any]:
        return {
            "object": "fine_tuning.job",
            "id": self.id,
            "created_at": self._created,
            "finished_at": None,
            "estimated_finish": None,
            "model": "gpt-4.1-mini-2025-04-14",
            "fine_tuned_model": None,
            "organization_id": "org-1",
            "result_files": [],
            "status": status,
            "training_file": TRAINING.id,
            "validation_file": None,
            "trained_tokens": None,
            "error": {},
            "integrations": [],
            "seed": 7,
            "metadata": None,
            "user_provided_suffix": None,
            **_decided(status),
        }


def loss(step: int) -> float:
    """What a step reports unless it is told otherwise: no two steps the same."""
    return round(2.0 / step + 0.1234567 * step, 7)


def _decided(status: str) -> dict[str, Any]:
    """The hyperparameters, which are not chosen before the job runs."""
    chosen = UNDECIDED if status in {"validating_files", "queued", "pending"} else HYPERPARAMETERS
    return {"hyperparameters": chosen, "method": {"type": "supervised", "supervised": {"hyperparameters": chosen}}}
