"""How things are called in W&B, within what it allows; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ft_sync.models import Split, TrainingFile

DATASET_TYPES: Mapping[Split, str] = {"train": "training_files", "valid": "validation_files"}
"""The types of the artifacts that hold training and validation files."""

MODEL_FILE = "model_metadata.json"
"""The one file of a model artifact."""

FOLDER = "fine_tuning"
"""Where a run keeps what the service served: the first part of the API's routes."""

EVENTS = f"{FOLDER}/events.jsonl"
CHECKPOINTS = f"{FOLDER}/checkpoints.jsonl"
"""Of these, the lists that a service may shorten."""


def artifact_name(name: str) -> str:
    """Return the name as W&B allows artifacts to be called."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:128]


def dataset_name(file: TrainingFile) -> str:
    """Return the name of a dataset's artifact."""
    return artifact_name(f"{file.split}-{file.id}")


def alias(name: str) -> str:
    """Return the name as W&B allows it for an alias."""
    return re.sub(r"[/:]", "_", name)


def table_key(split: Split) -> str:
    """Return the key of a dataset's table in the run's summary."""
    return f"{split}_data"


def table_file(split: Split) -> str:
    """Return the name of the table's file in the dataset's artifact."""
    return f"{table_key(split)}.table.json"
