"""What a job tells of itself: its timetable, and events and checkpoints as the API's JSON; pure."""

# ruff: noqa: S311 - seeded on purpose: a sample must come out the same every time

import math
import random
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ft_sync.sandbox.samples.curves import Row


def identifier(prefix: str, source: str, *, length: int) -> str:
    """An id in OpenAI's look: the prefix and letters and digits, always the same for the same source."""
    rng = random.Random(f"{prefix}{source}")
    return prefix + "".join(rng.choices(string.ascii_letters + string.digits, k=length))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """When things happen, in Unix seconds.

    Attributes:
        ends_at: A whole second, so that no event, whose time is whole, comes before the status changes.
    """

    created_at: int
    queued_at: int
    starts_at: int
    seconds_per_step: float
    ends_at: int

    def step(self, step: int) -> int:
        """The second in which a step is done."""
        return self.starts_at + math.floor(step * self.seconds_per_step)


class History:
    """Collects the events of one job in the order in which they happen."""

    def __init__(self, job_id: str, *, data_of_messages: Mapping[str, Any] | None) -> None:
        self.events: list[dict[str, Any]] = []
        self._job_id = job_id
        self._data_of_messages = data_of_messages

    def say(self, time: int, message: str, *, level: str = "info") -> None:
        """Add a message."""
        self._add(time, message, level=level, kind="message", data=self._data_of_messages)

    def metrics(self, time: int, row: Row, data: Mapping[str, Any]) -> None:
        """Add the metrics of a step.

        Args:
            time: When the step was done.
            row: The metrics under flat names, for the sentence.
            data: The metrics as the event carries them.
        """
        names = {
            "training loss": "train_loss",
            "validation loss": "valid_loss",
            "full validation loss": "full_valid_loss",
            "training reward": "train_mean_reward",
            "validation reward": "full_valid_mean_reward",
        }
        told = ", ".join(f"{name}={row[key]:.2f}" for name, key in names.items() if key in row)
        message = f"Step {data['step']}/{data['total_steps']}: {told}"
        self._add(time, message, level="info", kind="metrics", data=data)

    def keep_metrics(self, newest: int) -> None:
        """Forget the older metrics events, as happens to old jobs."""
        metrics = [event for event in self.events if event["type"] == "metrics"]
        forgotten = {event["id"] for event in metrics[: max(0, len(metrics) - newest)]}
        self.events = [event for event in self.events if event["id"] not in forgotten]

    def _add(self, time: int, message: str, *, level: str, kind: str, data: Mapping[str, Any] | None) -> None:
        self.events.append(
            {
                "object": "fine_tuning.job.event",
                "id": identifier("ftevent-", f"{self._job_id}/{len(self.events)}", length=24),
                "created_at": time,
                "level": level,
                "message": message,
                "type": kind,
                "data": data,
            }
        )


def checkpoint(job_id: str, *, model: str, created_at: int, row: Row) -> dict[str, Any]:
    """The checkpoint after a step; its metrics are those of the step that concern quality."""
    step = row["step"]
    quality = ("step", "train_", "valid_", "full_valid_")
    return {
        "object": "fine_tuning.job.checkpoint",
        "id": identifier("ftckpt_", f"{job_id}/{step}", length=24),
        "created_at": created_at,
        "fine_tuned_model_checkpoint": f"{model}:ckpt-step-{step}",
        "fine_tuning_job_id": job_id,
        "metrics": {name: value for name, value in row.items() if name.startswith(quality)},
        "step_number": step,
    }
