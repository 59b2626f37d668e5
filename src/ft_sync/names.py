"""Ids and names of runs, artifacts and aliases in W&B, within its rules; pure."""

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

NATIVE_TAG = "openai/"
"""Prefix of the tags that identify runs of OpenAI's own integration."""

REPLACED_TAG = "ftsync-replaced"
"""The tag of a run that was replaced but kept."""

MODEL_FILE = "model_metadata.json"
"""The only file in a model artifact."""

FOLDER = "fine_tuning"
"""The folder in a run for copies of what the service served; named like the first part of the API's routes."""

JOB_FILE = f"{FOLDER}/job.json"
"""The job itself, in that folder."""

EVENTS = f"{FOLDER}/events.jsonl"
CHECKPOINTS = f"{FOLDER}/checkpoints.jsonl"
"""Files in that folder that hold lists which a service may truncate later."""


LONGEST = 100
"""Maximum length of an id within a name: W&B allows 128 characters, and a prefix or suffix may be added."""

LONGEST_NAME = 128

ORDINARY = re.compile(rf"[A-Za-z0-9_-][A-Za-z0-9_.-]{{0,{LONGEST - 1}}}")
"""Ids that W&B accepts unchanged, for runs, artifacts and aliases alike."""

TAKEN = re.compile(r"latest|v\d+|.*(-r\d+|\.[0-9a-f]{16})")
"""Names that already have a meaning: W&B's own aliases, revisions of runs, and names that `safe` makes."""


def safe(served_id: str) -> str:
    """Return an id that W&B accepts: an ordinary id unchanged, any other escaped with a digest that keeps it unique."""
    if ORDINARY.fullmatch(served_id) and not TAKEN.fullmatch(served_id):
        return served_id
    digest = hashlib.sha256(served_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', served_id)[:LONGEST]}.{digest}"


def run_id(job_id: JobId, revision: int = 1) -> RunId:
    """Return the id of a job's run; each rewrite of the job has the next `revision`, counted from 1."""
    return RunId(safe(job_id) if revision == 1 else f"{safe(job_id)}-r{revision}")


def first_of(run: RunId) -> RunId:
    """Return the run id without its revision suffix."""
    return RunId(re.sub(r"-r\d+$", "", run))


def revision_of(run: RunId) -> int:
    """Return a run id's revision, 1 if it has no suffix."""
    found = re.search(r"-r(\d+)$", run)
    return int(found[1]) if found else 1


def display_name(job_id: JobId) -> str:
    """Return the display name of a job's run: the job's id, truncated to W&B's limit."""
    return job_id[:LONGEST_NAME]


def artifact_name(name: str) -> str:
    """Return a valid artifact name: other characters replaced by `_`, truncated to W&B's limit."""
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
