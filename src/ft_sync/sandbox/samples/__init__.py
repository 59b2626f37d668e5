"""Sample jobs that look like OpenAI's: the eight of the demo, and recipes for more; pure."""

import math
from datetime import UTC, datetime
from typing import Final

from ft_sync.sandbox.samples import datasets
from ft_sync.sandbox.samples.curves import CLASSIC, NEWER
from ft_sync.sandbox.samples.history import identifier
from ft_sync.sandbox.samples.recipes import (
    Preference,
    Recipe,
    Reinforcement,
    Supervised,
    dataset,
    many,
    shared_training_file,
    shared_validation_file,
)
from ft_sync.sandbox.world import SampleJob, World

__all__ = [
    "CLASSIC",
    "NEWER",
    "Preference",
    "Recipe",
    "Reinforcement",
    "Supervised",
    "dataset",
    "finished_jobs",
    "live_job",
    "many",
    "shared_training_file",
    "shared_validation_file",
    "world",
]

LIVE_STEPS: Final = 36
LIVE_SECONDS_PER_STEP: Final = 0.48


def world(now: float) -> World:
    """All sample jobs, of which one is running now.

    Args:
        now: Unix seconds. Only the running job depends on it.
    """
    return World([*finished_jobs(), live_job(now)])


def live_job(now: float) -> SampleJob:
    """A supervised job that starts to train now, and succeeds in 18 seconds with three checkpoints.

    Its id follows from the time: whoever runs the demo twice sees a new job, not an old one changed.
    """
    start = math.floor(now)
    return Supervised(
        id=identifier("ftjob-", f"live since {start}", length=24),
        created_at=start - 20,
        suffix="night-shift",
        seed=8,
        steps=LIVE_STEPS,
        training_file=dataset("night-shift.jsonl", datasets.chat(48, seed=81), created_at=_date(2026, 10, 30)),
        validation_file=dataset("night-shift-valid.jsonl", datasets.chat(12, seed=82), created_at=_date(2026, 10, 30)),
        metadata={"team": "workshop", "stage": "nightly"},
        columns=NEWER,
        validating_seconds=5,
        queued_seconds=15,
        seconds_per_step=LIVE_SECONDS_PER_STEP,
        closing_seconds=0,
        live=True,
    ).build()


def finished_jobs() -> list[SampleJob]:
    """The sample jobs that have ended, oldest first; their dates are fixed."""
    recipes = (_old(), _support(), _stock(), _kindness(), _torque(), _broken(), _cancelled())
    return [recipe.build() for recipe in recipes]


def _date(year: int, month: int, day: int, hour: int = 9, minute: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp())


def _old() -> Recipe:
    """From the first weeks of the API: old id, plain-text result file, early metrics events gone."""
    created_at = _date(2023, 9, 14)
    return Supervised(
        id=identifier("ft-", "the first one", length=24),
        created_at=created_at,
        model="gpt-3.5-turbo-0613",
        seed=0,
        steps=40,
        epochs=4,
        training_file=dataset("letters.jsonl", datasets.chat(40, seed=21), created_at=created_at - 300),
        decimals=5,
        serve_base64=False,
        metrics_events=15,
        legacy=True,
    )


def _support() -> Recipe:
    """The everyday case: chat with validation, base64 result file with mostly blank validation cells."""
    created_at = _date(2026, 3, 2, 8, 15)
    return Supervised(
        id=identifier("ftjob-", "support", length=24),
        created_at=created_at,
        suffix="support",
        seed=1207,
        steps=90,
        training_file=dataset("support.jsonl", datasets.chat(120, seed=11), created_at=created_at - 300),
        validation_file=dataset("support-valid.jsonl", datasets.chat(30, seed=12), created_at=created_at - 200),
        metadata={"team": "workshop", "stage": "production"},
        decimals=5,
        more={"usage_metrics": None, "shared_with_openai": False},
    )


def _stock() -> Recipe:
    """Tool calls in the training file, and the newer columns in the result file."""
    created_at = _date(2026, 4, 20, 16, 40)
    return Supervised(
        id=identifier("ftjob-", "stock", length=24),
        created_at=created_at,
        model="gpt-4.1-nano-2025-04-14",
        suffix="stock",
        seed=31,
        steps=60,
        epochs=2,
        training_file=dataset("stock.jsonl", datasets.tool_calls(60, seed=31), created_at=created_at - 300),
        validation_file=dataset("stock-valid.jsonl", datasets.tool_calls(30, seed=32), created_at=created_at - 200),
        metadata={"team": "counter"},
        columns=NEWER,
        more={"shared_with_openai": False},
    )


def _kindness() -> Recipe:
    created_at = _date(2026, 6, 9, 11, 5)
    return Preference(
        id=identifier("ftjob-", "kindness", length=24),
        created_at=created_at,
        suffix="kindness",
        seed=77,
        steps=48,
        epochs=2,
        training_file=dataset("kindness.jsonl", datasets.preferences(48, seed=41), created_at=created_at - 300),
        validation_file=dataset("kindness-valid.jsonl", datasets.preferences(30, seed=42), created_at=created_at - 200),
        metadata={"team": "counter"},
        error={"code": None, "message": None, "param": None},
    )


def _torque() -> Recipe:
    created_at = _date(2026, 8, 18, 7, 30)
    return Reinforcement(
        id=identifier("ftjob-", "torque", length=24),
        created_at=created_at,
        suffix="torque",
        seed=5,
        steps=30,
        epochs=2,
        training_file=dataset("torque.jsonl", datasets.graded(60, seed=51), created_at=created_at - 300),
        validation_file=dataset("torque-valid.jsonl", datasets.graded(30, seed=52), created_at=created_at - 200),
        metadata={"team": "workshop"},
        seconds_per_step=118.0,
        more={"eval_id": identifier("eval_", "torque", length=24)},
    )


def _broken() -> Recipe:
    """Failed at the check of its files."""
    created_at = _date(2026, 9, 3, 22, 10)
    message = "The training file is not valid: line 17 is not JSON."
    return Supervised(
        id=identifier("ftjob-", "broken", length=24),
        created_at=created_at,
        suffix="late-night",
        seed=6,
        training_file=dataset(
            "late-night.jsonl", datasets.broken(30, seed=61, bad_line=17), created_at=created_at - 300
        ),
        metadata={"team": "workshop"},
        status="failed",
        error={"code": "invalid_training_file", "message": message, "param": "training_file"},
    )


def _cancelled() -> Recipe:
    """Cancelled in its second epoch, with the checkpoint of the first."""
    created_at = _date(2026, 10, 12, 14, 0)
    return Supervised(
        id=identifier("ftjob-", "cancelled", length=24),
        created_at=created_at,
        suffix="winter",
        seed=9,
        steps=60,
        training_file=dataset("winter.jsonl", datasets.chat(80, seed=71), created_at=created_at - 300),
        metadata={"team": "workshop", "stage": "draft"},
        status="cancelled",
        stop_at=26,
    )
