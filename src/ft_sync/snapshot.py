"""Collects everything that a source knows about a job; what the source will not give is named in the notes."""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ft_sync.errors import REFUSALS, NotFound, NotOffered
from ft_sync.models import (
    NO_CHECKPOINTS,
    NO_CONTENT,
    NO_EVENTS,
    TOO_DEEP,
    WEIGHTS,
    Checkpoint,
    File,
    JobEvent,
    JobSnapshot,
    ResultFile,
    TrainingFile,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from ft_sync.models import FileId, Job, Split
    from ft_sync.ports import JobSource

MAX_RESULT_BYTES = 64 * 2**20
"""Maximum size of a metrics file in bytes; larger result files are model weights, which some services list there."""

OF_WEIGHTS = frozenset({".bin", ".ckpt", ".gguf", ".gz", ".pt", ".pth", ".safetensors", ".tar", ".zip"})
"""File name suffixes of model weights."""


def snapshot(
    source: JobSource, job: Job, held: Callable[[TrainingFile], TrainingFile | None] = lambda _: None
) -> JobSnapshot:
    """Return the job with its events, checkpoints, result files and file descriptions.

    Args:
        source: The source to ask.
        job: The job as listed.
        held: Returns the stored description of a training or validation file that the source no longer has, or None.
    """
    notes = list(_misread(job))
    events: Collection[JobEvent] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    with _or_note(notes, NO_EVENTS):
        events = source.events(job.id)
    with _or_note(notes, NO_CHECKPOINTS):
        checkpoints = source.checkpoints(job.id)
    missing: dict[FileId, str] = {}
    result_files = tuple(result_files_of(source, job, missing, notes))
    training_files = tuple(_training_files(source, job, held, notes))
    return JobSnapshot(job, events, checkpoints, result_files, training_files, missing, tuple(dict.fromkeys(notes)))


def result_files_of(source: JobSource, job: Job, missing: dict[FileId, str], notes: list[str]) -> Iterator[ResultFile]:
    """Yield the readable result files; add refused ones and their reasons to `missing`, skipped ones to `notes`."""
    for file_id in job.result_files:
        file = File(file_id)
        with suppress(*REFUSALS):  # the content may still be available
            file = source.file(file_id)
        size = file.size or 0
        if file.filename and PurePosixPath(file.filename).suffix.lower() in OF_WEIGHTS:
            notes.append(WEIGHTS)
            continue
        try:
            content = None if size > MAX_RESULT_BYTES else source.content(file_id, limit=MAX_RESULT_BYTES)
        except NotOffered:
            missing[file_id] = NO_CONTENT
            continue
        except REFUSALS as error:
            # Services delete old result files; the events of the job may still hold its metrics.
            missing[file_id] = error.message
            continue
        if content is None:
            what = f"{size} bytes" if size else f"more than {MAX_RESULT_BYTES} bytes"
            notes.append(f"result file {file_id} was not read: {what} are not a table of metrics")
            continue
        yield ResultFile(file_id, content, file.filename)


def _training_files(
    source: JobSource, job: Job, held: Callable[[TrainingFile], TrainingFile | None], notes: list[str]
) -> Iterator[TrainingFile]:
    splits: tuple[tuple[Split, FileId | None], ...] = (("train", job.training_file), ("valid", job.validation_file))
    for split, file_id in splits:
        if file_id is None:
            continue
        try:
            file = source.file(file_id)
        except REFUSALS as error:
            unknown = TrainingFile(file_id, split)
            described = held(unknown)
            # A service without file descriptions may still give contents; if it does not, that gets a note of its own.
            if described is None and not isinstance(error, NotOffered):
                notes.append(f"{split} file {file_id} could not be described: {error.message}")
            yield described or unknown
        else:
            yield TrainingFile(file_id, split, file.filename, file.size, file.created_at, file.raw)


def _misread(job: Job) -> Iterator[str]:
    """Yield notes on fields of the job object whose values have the wrong type or are nested too deeply."""
    read = {
        "model": job.base_model,
        "fine_tuned_model": job.fine_tuned_model,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "trained_tokens": job.trained_tokens,
        "seed": job.seed,
        "user_provided_suffix": job.suffix,
        "organization_id": job.organization_id,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
        "result_files": job.result_files,
        "metadata": job.metadata,
    }
    unread = [name for name, value in read.items() if job.raw.get(name) and not value]
    if unread:
        yield f"fields left out, whose values are not of their kind: {', '.join(unread)}"
    if TOO_DEEP in json.dumps(job.raw):
        yield "what the job nests too deeply was left out"


@contextmanager
def _or_note(notes: list[str], note: str) -> Iterator[None]:
    """Treat `NotFound` as an empty answer and add a note: the job exists, so the service lacks the route."""
    try:
        yield
    except NotFound:
        notes.append(note)
