"""How things are called in W&B, within what it allows; pure."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from ft_sync.models import RunId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ft_sync.models import JobId, Split, TrainingFile

DATASET_TYPES: Mapping[Split, str] = {"train": "training_files", "valid": "validation_files"}
"""The types of the artifacts that hold training and validation files."""

MODEL_FILE = "model_metadata.json"
"""The one file of a model artifact."""

FOLDER = "fine_tuning"
"""Where a run keeps what the service served: the first part of the API's routes."""

EVENTS = f"{FOLDER}/events.jsonl"
CHECKPOINTS = f"{FOLDER}/checkpoints.jsonl"
"""Of these, the lists that a service may shorten."""


LONGEST = 100
"""Characters of an id in a name: W&B takes 128, and something is put before or after."""

LONGEST_NAME = 128

ORDINARY = re.compile(rf"[A-Za-z0-9_-][A-Za-z0-9_.-]{{0,{LONGEST - 1}}}")
"""Ids that W&B takes as they are, for runs, artifacts and aliases alike."""

TAKEN = re.compile(r"latest|v\d+|.*(-r\d+|\.[0-9a-f]{16})")
"""Of these, what means something already: W&B's own aliases, revisions of runs, and names made of other ids."""


def safe(served_id: str) -> str:
    """Return an id as W&B takes it; an ordinary one stays as it is, and different ones stay different."""
    if ORDINARY.fullmatch(served_id) and not TAKEN.fullmatch(served_id):
        return served_id
    digest = hashlib.sha256(served_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', served_id)[:LONGEST]}.{digest}"


def run_id(job_id: JobId, revision: int = 1) -> RunId:
    """Return the id of the run that a job is written as for the first, second, … time."""
    return RunId(safe(job_id) if revision == 1 else f"{safe(job_id)}-r{revision}")


def first_of(run: RunId) -> RunId:
    """Return the id of which another one may be a revision."""
    return RunId(re.sub(r"-r\d+$", "", run))


def revision_of(run: RunId) -> int:
    """Return how often the job had been written when it was written as this run."""
    found = re.search(r"-r(\d+)$", run)
    return int(found[1]) if found else 1


def display_name(job_id: JobId) -> str:
    """Return what a job's run is called: as the job."""
    return job_id[:LONGEST_NAME]


def artifact_name(name: str) -> str:
    """Return the name as W&B allows artifacts to be called."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:LONGEST_NAME]


def dataset_name(file: TrainingFile) -> str:
    """Return the name of a dataset's artifact."""
    return f"{file.split}-{safe(file.id)}"


def alias(served_id: str) -> str:
    """Return the alias for a job's or a file's artifact."""
    return safe(served_id)


def table_key(split: Split) -> str:
    """Return the key of a dataset's table in the run's summary."""
    return f"{split}_data"


def table_file(split: Split) -> str:
    """Return the name of the table's file in the dataset's artifact."""
    return f"{table_key(split)}.table.json"
