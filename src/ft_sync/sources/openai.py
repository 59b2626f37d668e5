"""OpenAI's fine-tuning API as a `JobSource`: paging, raw JSON into models, SDK errors into ours."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import httpx2  # openai's own transport: its errors escape the SDK while a body is streamed
import openai

from ft_sync.errors import (
    REFUSALS,
    AuthError,
    BadData,
    Forbidden,
    FtSyncError,
    NotFound,
    NotLoggedIn,
    Refused,
    Unavailable,
)
from ft_sync.models import (
    Checkpoint,
    Download,
    FileId,
    Job,
    JobError,
    JobEvent,
    JobId,
    JobSnapshot,
    JobStatus,
    ResultFile,
    Split,
    TrainingFile,
)
from ft_sync.once import Once

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ft_sync.models import JsonObject
    from ft_sync.sources.pace import Pace

PAGE_SIZE = 100
"""The most the API gives at once."""

MAX_RESULT_BYTES = 64 * 2**20
"""A result file beyond this is not metrics: some services list the weights there."""

TIMEOUT = 60.0
"""Seconds without a byte after which a request counts as unanswered; the SDK's own default is ten minutes."""

OPEN = (None, "auto", -1)
"""What stands for a hyperparameter that the service has yet to choose; -1 on Azure."""

RUN_HINT = "check OPENAI_BASE_URL and the network, then run the same command again"

TRANSLATIONS: tuple[tuple[type[openai.OpenAIError], type[FtSyncError], str, str], ...] = (
    (
        openai.AuthenticationError,
        AuthError,
        "OpenAI refused the API key when asked for {what}",
        "check OPENAI_API_KEY (and OPENAI_BASE_URL: keys belong to one service)",
    ),
    (
        openai.PermissionDeniedError,
        Forbidden,
        "OpenAI does not allow this key to read {what}: {served}",
        "ask for read access to fine-tuning and files, or use another key",
    ),
    (openai.NotFoundError, NotFound, "OpenAI has no {what}", "`ftsync list --all` shows every job this key can see"),
    (openai.APITimeoutError, Unavailable, "OpenAI took too long to answer for {what}", RUN_HINT),
    (openai.APIConnectionError, Unavailable, "OpenAI could not be reached for {what}", RUN_HINT),
    (
        openai.RateLimitError,
        Unavailable,
        "OpenAI is rate-limiting, last for {what}",
        "run the same command again later",
    ),
    (openai.InternalServerError, Unavailable, "OpenAI failed for {what}: {served}", RUN_HINT),
    (openai.APIResponseValidationError, BadData, "OpenAI's answer for {what} cannot be read", RUN_HINT),
    (openai.APIStatusError, Refused, "OpenAI refused {what}: {served}", RUN_HINT),
)
"""The SDK's errors, special ones before general ones -> ours, the sentence and what to do next."""


class OpenAISource:
    """Reads jobs, events, checkpoints and files through an `openai` client.

    The SDK's models drop or misread some fields (a job that did not fail gets a truthy error, graders change their
    type), so every answer is read as the JSON that was served.
    """

    def __init__(self, client: openai.OpenAI, pace: Pace) -> None:
        self._client = client.with_options(max_retries=0)  # the pace asks again: one for all workers
        self._pace = pace
        self._files: Once[FileId, JsonObject] = Once()

    def jobs(self, *, limit: int | None = None) -> Iterator[Job]:
        """Yield jobs newest first, page by page."""
        for raw in self._pages("/fine_tuning/jobs", "the list of jobs", limit):
            yield job_from(raw)

    def job(self, job_id: JobId) -> Job:
        """Return one job."""
        return job_from(self._get(f"/fine_tuning/jobs/{job_id}", f"job {job_id}"))

    def events(self, job_id: JobId, *, after: str | None = None, limit: int | None = None) -> tuple[JobEvent, ...]:
        """Return the events newer than `after`, oldest first, at most the `limit` newest."""
        newest_first: list[JobEvent] = []
        for raw in self._pages(f"/fine_tuning/jobs/{job_id}/events", f"the events of {job_id}", limit):
            event = event_from(raw)
            if event.id == after:
                break
            newest_first.append(event)
        return tuple(reversed(newest_first))

    def snapshot(self, job: Job) -> JobSnapshot:
        """Return the job with its events, checkpoints, result files and file descriptions."""
        notes: list[str] = []
        events: tuple[JobEvent, ...] = ()
        checkpoints: list[Checkpoint] = []
        with _or_note(notes, "this service keeps no events"):
            events = self.events(job.id)
        with _or_note(notes, "this service keeps no checkpoints"):
            path = f"/fine_tuning/jobs/{job.id}/checkpoints"
            checkpoints = [checkpoint_from(raw) for raw in self._pages(path, f"the checkpoints of {job.id}")]
        return JobSnapshot(
            job,
            events,
            tuple(checkpoints),
            tuple(self._result_files(job, notes)),
            tuple(self._training_files(job, notes)),
            tuple(notes),
        )

    def download(self, file_id: FileId, to: Path) -> Download:
        """Stream a file's content to `to`."""
        with _translated(f"file {file_id}"):
            return self._pace(lambda: self._streamed(file_id, to))

    def _streamed(self, file_id: FileId, to: Path) -> Download:
        digest = hashlib.sha256()
        size = 0
        with self._client.files.with_streaming_response.content(file_id) as response, to.open("wb") as out:
            for chunk in response.iter_bytes():
                out.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        return Download(to, size, digest.hexdigest())

    def _result_files(self, job: Job, notes: list[str]) -> Iterator[ResultFile]:
        for file_id in job.result_files:
            described: JsonObject = {}
            with suppress(*REFUSALS):  # the content may be there all the same
                described = self._file(file_id)
            size = _integer(described.get("bytes")) or 0
            try:
                content = None if size > MAX_RESULT_BYTES else self._content(file_id)
            except REFUSALS as error:
                # Old result files get deleted; the events of the job may still hold its metrics.
                notes.append(f"result file {file_id} could not be had: {error.message}")
                continue
            if content is None:
                what = f"{size} bytes" if size else f"more than {MAX_RESULT_BYTES} bytes"
                notes.append(f"result file {file_id} was not read: {what} are not a table of metrics")
                continue
            yield ResultFile(file_id, content, _text(described.get("filename")))

    def _content(self, file_id: FileId) -> bytes | None:
        """Return a result file, None if it is too large to be one."""

        def read() -> bytes | None:
            content = bytearray()
            with self._client.files.with_streaming_response.content(file_id) as response:
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > MAX_RESULT_BYTES:
                        return None
            return bytes(content)

        with _translated(f"result file {file_id}"):
            return self._pace(read)

    def _training_files(self, job: Job, notes: list[str]) -> Iterator[TrainingFile]:
        splits: tuple[tuple[Split, FileId | None], ...] = (
            ("train", job.training_file),
            ("valid", job.validation_file),
        )
        for split, file_id in splits:
            if file_id is None:
                continue
            try:
                raw = self._file(file_id)
            except REFUSALS as error:
                notes.append(f"{split} file {file_id} could not be described: {error.message}")
                raw = {}
            yield TrainingFile(
                file_id,
                split,
                _text(raw.get("filename")),
                _integer(raw.get("bytes")),
                _time(raw.get("created_at")),
                raw,
            )

    def _file(self, file_id: FileId) -> JsonObject:
        """Return a file object, asked for once: many jobs share a training file, and it never changes."""
        return self._files.get(file_id, lambda: self._get(f"/files/{file_id}", f"file {file_id}"))

    def _pages(self, path: str, what: str, limit: int | None = None) -> Iterator[JsonObject]:
        """Yield the entries of a cursor-paged list; no page is asked for before it is needed."""
        size = PAGE_SIZE if limit is None else min(PAGE_SIZE, limit)
        given = 0
        after: str | None = None
        while limit is None or given < limit:
            page = self._get(path, what, {"limit": size} | ({"after": after} if after else {}))
            entries = page.get("data")
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise BadData(f"{what}: the service answered with something other than a list", hint=RUN_HINT)
            yield from entries[: None if limit is None else limit - given]
            given += len(entries)
            last = _text(entries[-1].get("id")) if entries else None
            # A service that ignores the cursor would give the same page for ever.
            if not page.get("has_more") or last == after:
                return
            if last is None:
                raise BadData(f"{what} goes on, but its last entry has no id to go on from", hint=RUN_HINT)
            after = last

    def _get(self, path: str, what: str, params: Mapping[str, object] | None = None) -> JsonObject:
        with _translated(what):
            answer = self._pace(lambda: self._client.get(path, cast_to=object, options={"params": params or {}}))
        if not isinstance(answer, dict):
            raise BadData(f"{what}: the service answered with something other than a JSON object", hint=RUN_HINT)
        return cast("JsonObject", answer)


@contextmanager
def connected(pace: Pace) -> Iterator[OpenAISource]:
    """Open a source from `OPENAI_API_KEY`, `OPENAI_BASE_URL`, `OPENAI_ORG_ID` and `OPENAI_PROJECT_ID`."""
    try:
        client = openai.OpenAI(timeout=TIMEOUT)
    except openai.OpenAIError as error:
        raise NotLoggedIn(
            "no OpenAI API key: OPENAI_API_KEY is not set", hint="export OPENAI_API_KEY=… and run the command again"
        ) from error
    with client:
        yield OpenAISource(client, pace)


def translate(error: openai.OpenAIError, what: str) -> FtSyncError:
    """Return our error for one of the SDK's; `what` names what was asked for."""
    for theirs, ours, sentence, hint in TRANSLATIONS:
        if isinstance(error, theirs):
            return ours(sentence.format(what=what, served=_served(error)), hint=hint)
    return Unavailable(f"asking OpenAI for {what} failed: {type(error).__name__}", hint=RUN_HINT)


def job_from(raw: JsonObject) -> Job:
    """Read a job object; what is missing or of another type counts as unknown."""
    job_id = _text(raw.get("id"))
    if job_id is None:
        raise BadData("a job in the list has no id", hint="report this to the service")
    method, hyperparameters = _method(raw)
    return Job(
        id=JobId(job_id),
        status=JobStatus(_text(raw.get("status")) or "unknown"),
        base_model=_text(raw.get("model")),
        method=method,
        fine_tuned_model=_text(raw.get("fine_tuned_model")),
        created_at=_time(raw.get("created_at")),
        finished_at=_time(raw.get("finished_at")),
        estimated_finish=_time(raw.get("estimated_finish")),
        trained_tokens=_integer(raw.get("trained_tokens")),
        seed=_integer(raw.get("seed")),
        suffix=_text(raw.get("user_provided_suffix")),
        organization_id=_text(raw.get("organization_id")),
        hyperparameters=hyperparameters,
        training_file=_file_id(raw.get("training_file")),
        validation_file=_file_id(raw.get("validation_file")),
        result_files=tuple(FileId(entry) for entry in _list(raw.get("result_files")) if _text(entry)),
        error=_job_error(raw.get("error")),
        metadata=_object(raw.get("metadata")),
        raw=raw,
    )


def event_from(raw: JsonObject) -> JobEvent:
    """Read an event object."""
    return JobEvent(
        id=_text(raw.get("id")) or "",
        created_at=_time(raw.get("created_at")),
        level=_text(raw.get("level")) or "info",
        message=_text(raw.get("message")) or "",
        type=_text(raw.get("type")) or "message",
        data=_object(raw.get("data")),
        raw=raw,
    )


def checkpoint_from(raw: JsonObject) -> Checkpoint:
    """Read a checkpoint object."""
    metrics = _object(raw.get("metrics"))
    step = _integer(raw.get("step_number"))
    return Checkpoint(
        id=_text(raw.get("id")) or "",
        model=_text(raw.get("fine_tuned_model_checkpoint")),
        step=_integer(metrics.get("step")) if step is None else step,
        created_at=_time(raw.get("created_at")),
        metrics=metrics,
        raw=raw,
    )


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except openai.OpenAIError as error:
        raise translate(error, what) from error
    except httpx2.HTTPError as error:
        raise Unavailable(f"OpenAI broke off while sending {what}", hint=RUN_HINT) from error
    except ValueError as error:  # a body that is not the JSON it claims to be
        raise BadData(f"OpenAI's answer for {what} cannot be read", hint=RUN_HINT) from error


@contextmanager
def _or_note(notes: list[str], note: str) -> Iterator[None]:
    """Take a missing route for an empty answer: the job itself is known to exist."""
    try:
        yield
    except NotFound:
        notes.append(note)


def _served(error: openai.OpenAIError) -> str:
    """Return what the service said, in its own words where it used any."""
    if not isinstance(error, openai.APIStatusError):
        return "no answer"
    body: object = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return f"{message} ({error.status_code})" if isinstance(message, str) else f"status {error.status_code}"


def _method(raw: JsonObject) -> tuple[str | None, JsonObject]:
    """Return the method's name and the hyperparameters that count: newer jobs hide them below the method."""
    method = _object(raw.get("method"))
    name = _text(method.get("type"))
    below = _object(_object(method.get(name)).get("hyperparameters")) if name else {}
    above = _object(raw.get("hyperparameters"))
    return name, above | {key: value for key, value in below.items() if value not in OPEN or above.get(key) in OPEN}


def _job_error(value: object) -> JobError | None:
    error = value if isinstance(value, dict) else {"message": value}
    found = JobError(_text(error.get("code")), _text(error.get("message")), _text(error.get("param")))
    return None if found == JobError(None, None) else found


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _file_id(value: object) -> FileId | None:
    text = _text(value)
    return None if text is None else FileId(text)


def _integer(value: object) -> int | None:
    """Read a whole number; 1.0 is one, too."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _time(value: object) -> datetime | None:
    """Read Unix seconds; a time outside the calendar counts as unknown."""
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
