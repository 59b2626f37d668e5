"""What the sandbox server has to tell: jobs and files as plain data; no network, no clock of its own."""

import base64
import math
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

AUTO: Final = "auto"
NEWEST_CHECKPOINTS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFile:
    """A file of the Files API together with its content.

    Attributes:
        content: The plain bytes.
        serve_base64: Send the content base64-encoded, as OpenAI does with result files since 2024.
    """

    id: str
    filename: str
    purpose: str
    content: bytes
    created_at: int
    serve_base64: bool = False

    @property
    def served(self) -> bytes:
        """The bytes that `files/{id}/content` sends."""
        return base64.b64encode(self.content) if self.serve_base64 else self.content

    def as_json(self) -> dict[str, Any]:
        """The file object of the Files API."""
        return {
            "object": "file",
            "id": self.id,
            "bytes": len(self.served),
            "created_at": self.created_at,
            "expires_at": None,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


@dataclass(frozen=True, slots=True)
class Live:
    """When a job passes from one status to the next, in Unix seconds.

    Before `queued_at` it is validating its files; from `ends_at` on it is as its `SampleJob.job` says.
    """

    queued_at: float
    starts_at: float
    ends_at: float

    def status(self, now: float) -> str | None:
        """The status at a time, or None once the job has ended."""
        if now < self.queued_at:
            return "validating_files"
        if now < self.starts_at:
            return "queued"
        if now < self.ends_at:
            return "running"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleJob:
    """A fine-tuning job with everything that belongs to it.

    Attributes:
        job: The job's JSON as the API gives it once the job has ended.
        events: The events' JSON, oldest first.
        checkpoints: The checkpoints' JSON, oldest first.
        files: Training, validation and result files; jobs may share one.
        live: Makes the job unfold with time. Without it, everything is visible always.
    """

    job: dict[str, Any]
    events: Sequence[dict[str, Any]] = ()
    checkpoints: Sequence[dict[str, Any]] = ()
    files: Sequence[SampleFile] = ()
    live: Live | None = None

    @property
    def id(self) -> str:
        """The job's id; for one without, what no other has."""
        served = self.job.get("id")
        return served if isinstance(served, str) and served else f"without an id: {id(self)}"

    @property
    def created_at(self) -> int:
        """The job's creation time in Unix seconds; 0 for one that does not tell."""
        served = self.job.get("created_at")
        return int(served) if isinstance(served, int | float) and math.isfinite(served) else 0

    def job_at(self, now: float) -> dict[str, Any]:
        """The job's JSON at a time."""
        status = self.live.status(now) if self.live else None
        if status is None or self.live is None:
            return self.job
        unknown_yet: dict[str, Any] = {
            "status": status,
            "finished_at": None,
            "estimated_finish": None,
            "fine_tuned_model": None,
            "trained_tokens": None,
            "result_files": [],
            "error": {},
        }
        if status == "running":
            return self.job | unknown_yet | {"estimated_finish": int(self.live.ends_at)}
        return undecided(self.job) | unknown_yet

    def events_at(self, now: float) -> list[dict[str, Any]]:
        """The events that have happened by a time, newest first."""
        events = list(self.events)
        if self.live and now < self.live.ends_at:
            times = _times_within_seconds(events)
            events = [event for event, time in zip(events, times, strict=True) if time <= now]
        return events[::-1]

    def checkpoints_at(self, now: float) -> list[dict[str, Any]]:
        """The checkpoints that exist at a time, newest first."""
        checkpoints = list(self.checkpoints)
        if self.live and now < self.live.ends_at:
            made = [checkpoint for checkpoint in checkpoints if checkpoint["created_at"] <= now]
            checkpoints = made[-NEWEST_CHECKPOINTS:]
        return checkpoints[::-1]

    def files_to_come(self, now: float) -> set[str]:
        """The ids of files that do not exist yet: result files, until the job has ended."""
        return set(self.job["result_files"]) if self.live and now < self.live.ends_at else set()


class World:
    """All jobs and files of one imaginary organisation.

    A test may change it while the server is running: a lock keeps each change whole.

    Attributes:
        serves_ranges: Whether a part of a file's content can be asked for.
    """

    def __init__(self, jobs: Iterable[SampleJob] = (), files: Iterable[SampleFile] = ()) -> None:
        self.serves_ranges = True
        self._lock = threading.Lock()
        self._jobs: dict[str, SampleJob] = {}
        self._files: dict[str, SampleFile] = {}
        self.add(*jobs, *files)

    def add(self, *additions: SampleJob | SampleFile) -> None:
        """Add jobs with their files, or files; one with a known id takes the place of the earlier one."""
        with self._lock:
            for addition in additions:
                if isinstance(addition, SampleJob):
                    self._jobs[addition.id] = addition
                    self._files |= {file.id: file for file in addition.files}
                else:
                    self._files[addition.id] = addition

    def remove(self, identifier: str) -> None:
        """Delete a job (its files stay) or a file (jobs go on naming it), as users do to make room."""
        with self._lock:
            self._jobs.pop(identifier, None)
            self._files.pop(identifier, None)

    @property
    def jobs(self) -> list[SampleJob]:
        """All jobs, newest first."""
        with self._lock:
            jobs = list(self._jobs.values())
        return sorted(jobs, key=lambda job: (job.created_at, job.id), reverse=True)

    def job(self, job_id: str) -> SampleJob | None:
        """The job with this id."""
        with self._lock:
            return self._jobs.get(job_id)

    def files(self, now: float) -> list[SampleFile]:
        """All files that exist at a time, newest first."""
        with self._lock:
            to_come = self._files_to_come(now)
            files = [file for file in self._files.values() if file.id not in to_come]
        return sorted(files, key=lambda file: (file.created_at, file.id), reverse=True)

    def file(self, file_id: str, now: float) -> SampleFile | None:
        """The file with this id, if it exists at a time."""
        with self._lock:
            return None if file_id in self._files_to_come(now) else self._files.get(file_id)

    def _files_to_come(self, now: float) -> set[str]:
        return {file_id for job in self._jobs.values() for file_id in job.files_to_come(now)}


def undecided(job: dict[str, Any]) -> dict[str, Any]:
    """The job as it is before its start, when no hyperparameter has been chosen yet."""
    early = dict(job)
    if job.get("hyperparameters"):
        early["hyperparameters"] = dict.fromkeys(job["hyperparameters"], AUTO)
    method = job.get("method")
    if method:
        settings = method[method["type"]]
        undecided = dict.fromkeys(settings["hyperparameters"], AUTO)
        early["method"] = method | {method["type"]: settings | {"hyperparameters": undecided}}
    return early


def _times_within_seconds(events: Sequence[dict[str, Any]]) -> list[float]:
    """When each event appears: events carry whole seconds, so those of one second are spread over it."""
    in_second = Counter(event["created_at"] for event in events)
    so_far: Counter[int] = Counter()
    times = []
    for event in events:
        second = event["created_at"]
        times.append(second + so_far[second] / in_second[second])
        so_far[second] += 1
    return times
