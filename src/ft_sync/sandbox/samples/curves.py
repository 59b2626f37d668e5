"""Metric curves that look like training: noisy decay of the loss, rising accuracies and rewards; pure."""

import csv
import io
import math
import random
from collections.abc import Sequence
from typing import Any, Final

Row = dict[str, Any]

CLASSIC: Final = ("step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy")
"""The columns of OpenAI's result files for years."""

NEWER: Final = (
    "step",
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
)
"""The columns of later supervised result files."""

PREFERENCE: Final = ("step", "train_loss", "train_reward_margin", "train_preference_accuracy", "valid_loss")
"""Columns for DPO. OpenAI has published no list; these stand for names that nobody foresaw."""

Grader = tuple[str, str]
"""A grader's type and name."""

JUDGE: Final = "gpt-4.1-mini-2025-04-14"
"""The model behind graders of type `score_model`."""


def epoch_ends(steps: int, epochs: int) -> list[int]:
    """The last step of each epoch; the steps count from 1."""
    return sorted({max(1, round(steps * epoch / epochs)) for epoch in range(1, epochs + 1)})


def supervised_rows(rng: random.Random, steps: int, *, validated: Sequence[int]) -> list[Row]:
    """Rows in the words of the events, with validation metrics at the given steps only."""
    rows = []
    first, floor = rng.uniform(1.8, 2.6), rng.uniform(0.25, 0.5)
    for step in range(1, steps + 1):
        loss, accuracy = _fit(rng, first, floor, step / steps)
        row: Row = {"step": step, "train_loss": loss, "train_mean_token_accuracy": accuracy}
        if step in validated:
            row["valid_loss"], row["valid_mean_token_accuracy"] = _fit(rng, first, floor + 0.12, step / steps)
            full = _fit(rng, first, floor + 0.1, step / steps)
            row["full_valid_loss"], row["full_valid_mean_token_accuracy"] = full
        rows.append(row)
    return rows


def preference_rows(rng: random.Random, steps: int, *, validated: Sequence[int]) -> list[Row]:
    """Rows of a DPO job: the loss starts at ln 2, where the model is of two minds."""
    rows = []
    for step in range(1, steps + 1):
        done = step / steps
        margin = 2.4 * (1 - math.exp(-3 * done)) + rng.gauss(0, 0.08)
        loss = math.log1p(math.exp(-margin))
        row: Row = {
            "step": step,
            "train_loss": loss,
            "train_reward_margin": margin,
            "train_preference_accuracy": _share(0.5 + 0.45 * done + rng.gauss(0, 0.03)),
        }
        if step in validated:
            row["valid_loss"] = loss + abs(rng.gauss(0.03, 0.01))
        rows.append(row)
    return rows


def reinforcement_rows(
    rng: random.Random, steps: int, *, graders: Sequence[Grader], validated: Sequence[int]
) -> list[Row]:
    """Rows of a reinforcement job, in the spelling of its result file."""
    rows = []
    for step in range(1, steps + 1):
        done = step / steps
        scores = [_share(0.2 + 0.65 * (1 - math.exp(-2.5 * done)) + rng.gauss(0, 0.04)) for _ in graders]
        sampling, training = rng.uniform(60, 90), rng.uniform(20, 30)
        row: Row = {
            "step": step,
            "train_mean_reward": sum(scores) / len(scores),
            "completion_tokens_mean": rng.gauss(420 + 160 * done, 12),
            "reasoning_tokens_mean": rng.gauss(300 + 150 * done, 12),
            "mean_unresponsive_rewards": _share(0.06 * (1 - done) + rng.uniform(0, 0.01)),
            "sampling_duration": sampling,
            "training_duration": training,
            "total_duration": sampling + training,
        }
        if step in validated:
            row["full_valid_mean_reward"] = _share(row["train_mean_reward"] - rng.uniform(0.01, 0.05))
            row["eval_duration"] = rng.uniform(30, 40)
            row["total_duration"] += row["eval_duration"]
        for (kind, name), score in zip(graders, scores, strict=True):
            row[f"scores/graders/{kind}/{name}/train_reward_mean"] = score
            row[f"errors/graders/{kind}/{name}/train_other_error_mean"] = 0.0
        rows.append(row)
    return rows


def reinforcement_columns(graders: Sequence[Grader]) -> tuple[str, ...]:
    """The header of a reinforcement job's result file."""
    return (
        "step",
        "train_mean_reward",
        "full_valid_mean_reward",
        "completion_tokens_mean",
        "reasoning_tokens_mean",
        "mean_unresponsive_rewards",
        "sampling_duration",
        "training_duration",
        "eval_duration",
        "total_duration",
        *(f"scores/graders/{kind}/{name}/train_reward_mean" for kind, name in graders),
        *(f"errors/graders/{kind}/{name}/train_other_error_mean" for kind, name in graders),
    )


def nested_reinforcement(row: Row, *, graders: Sequence[Grader]) -> Row:
    """A reinforcement row as its metrics event nests it."""
    scores: Row = {"train_reward_mean": row["train_mean_reward"], "graders": []}
    if "full_valid_mean_reward" in row:
        scores["valid_reward_mean"] = row["full_valid_mean_reward"]
    errors: Row = {"graders": []}
    for kind, name in graders:
        score = row[f"scores/graders/{kind}/{name}/train_reward_mean"]
        error = row[f"errors/graders/{kind}/{name}/train_other_error_mean"]
        scores["graders"].append({"name": name, "type": kind, "train_reward_mean": score})
        errors["graders"].append({"name": name, "type": kind, "train_other_error_mean": error})
    judged = {JUDGE: {"train_prompt_tokens_mean": row["completion_tokens_mean"]}}
    return {
        "step": row["step"],
        "scores": scores,
        "errors": errors,
        "usage": {
            "samples": {
                "train_completion_tokens_mean": row["completion_tokens_mean"],
                "train_reasoning_tokens_mean": row["reasoning_tokens_mean"],
            },
            "graders": [],
        },
        "timing": {
            "step": {
                "sampling": row["sampling_duration"],
                "training": row["training_duration"],
                "eval": row.get("eval_duration"),
                "full_iteration": row["total_duration"],
            },
            "graders": [],
        },
        "model_graders_token_usage": judged if any(kind == "score_model" for kind, _ in graders) else {},
    }


def result_csv(rows: Sequence[Row], columns: Sequence[str], *, decimals: int | None) -> bytes:
    """The rows as a result file; a metric that a row lacks is an empty cell.

    Args:
        rows: In the words of the events.
        columns: `train_accuracy` is the old name of `train_mean_token_accuracy` and filled from it.
        decimals: Older files are rounded to 5; None leaves the numbers as they are.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        named = row | {"train_accuracy": row.get("train_mean_token_accuracy")}
        writer.writerow(_cell(named.get(column), decimals) for column in columns)
    return text.getvalue().encode()


def _cell(value: float | None, decimals: int | None) -> float | str:
    if value is None:
        return ""
    return round(value, decimals) if isinstance(value, float) and decimals is not None else value


def _fit(rng: random.Random, first: float, floor: float, done: float) -> tuple[float, float]:
    """Loss and token accuracy after a part of the training; the noise dies down with the loss."""
    loss = floor + (first - floor) * math.exp(-4 * done)
    loss *= math.exp(rng.gauss(0, 0.06))
    return loss, _share(math.exp(-0.42 * loss) + rng.gauss(0, 0.008))


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))
