"""Parses OpenAI's JSON objects into models; fields that are missing or of the wrong type count as unknown; pure."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ft_sync.errors import Refused
from ft_sync.models import (
    TOO_DEEP,
    UNKNOWN,
    Checkpoint,
    Failed,
    File,
    FileId,
    Job,
    JobError,
    JobEvent,
    JobId,
    JobStatus,
)
from ft_sync.redaction import redact

if TYPE_CHECKING:
    from ft_sync.models import JsonObject

OPEN = (None, "auto", -1)
"""Values of a hyperparameter that the service has not chosen yet; Azure uses -1."""


NO_OBJECT = "not an object"
"""The key under which an entry of a list that is not a JSON object is wrapped."""

DEEPEST = 100
"""Maximum nesting depth that is kept; deeper JSON could exceed Python's recursion limit here and in later readers."""

LONGEST_INTEGER = 300
"""Maximum number of digits; Python refuses to parse thousands, and larger numbers exceed a float's range."""

LARGEST = 2**63
"""Integers beyond this do not occur in services' fields, and W&B would store them as a different number."""

_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
"""Matches a bracket or a string, one that is not closed up to the end, so that its quotes are not tried one by one."""


def parse(content: bytes) -> Any:  # noqa: ANN401 - JSON
    """Parse JSON, replacing what is nested too deeply by a placeholder.

    Raises:
        ValueError: The content is not JSON.
    """
    try:
        # Decoded first, as `json.loads` would: in UTF-16, brackets and quotes are not single bytes.
        text = content.decode(json.detect_encoding(content), "surrogatepass")
        return json.loads(_shallow(text), parse_int=_whole)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None


def entry_from(served: object) -> JsonObject:
    """Return an entry of a list; one that is not an object is wrapped, so that it is kept."""
    return served if isinstance(served, dict) else {NO_OBJECT: served}


def job_from(raw: JsonObject) -> Job:
    """Parse a job object; fields that are missing or of the wrong type count as unknown.

    Raises:
        Refused: The job has no id, or one that cannot be part of a URL.
    """
    job_id = _identifier(raw.get("id"))
    if job_id is None:
        # Redacted before it is cut, since a part of a key would not be found any more.
        said = {name: redact(str(raw.get(name) or "")) for name in ("created_at", "model")}
        known = ", ".join(f"{name} {value[:60]}" for name, value in said.items() if value)
        raise Refused(f"a job has no usable id{f' ({known})' if known else ''}", hint="report this to the service")
    method, hyperparameters = _method(raw)
    return Job(
        id=JobId(job_id),
        status=_status(raw.get("status")),
        base_model=text(raw.get("model")),
        method=method,
        fine_tuned_model=text(raw.get("fine_tuned_model")),
        created_at=_time(raw.get("created_at")),
        finished_at=_time(raw.get("finished_at")),
        estimated_finish=_time(raw.get("estimated_finish")),
        trained_tokens=_integer(raw.get("trained_tokens")),
        seed=_integer(raw.get("seed")),
        suffix=text(raw.get("user_provided_suffix")),
        organization_id=text(raw.get("organization_id")),
        hyperparameters=hyperparameters,
        training_file=_file_id(raw.get("training_file")),
        validation_file=_file_id(raw.get("validation_file")),
        result_files=tuple(dict.fromkeys(filter(None, map(_file_id, _list(raw.get("result_files")))))),
        error=_job_error(raw.get("error")),
        metadata=_object(raw.get("metadata")),
        raw=raw,
    )


def listed_from(raw: JsonObject, position: int) -> Job | Failed:
    """Parse a job from the listing; one that cannot be read becomes a `Failed` with its 1-based position as id."""
    try:
        return job_from(raw)
    except Refused as error:
        return Failed(JobId(f"no. {position} of the list"), error)


def event_from(raw: JsonObject) -> JobEvent:
    """Parse an event object."""
    return JobEvent(
        id=text(raw.get("id")) or "",
        created_at=_time(raw.get("created_at")),
        level=text(raw.get("level")) or "info",
        message=text(raw.get("message")) or "",
        type=text(raw.get("type")) or "message",
        data=_object(raw.get("data")),
        raw=raw,
    )


def checkpoint_from(raw: JsonObject) -> Checkpoint:
    """Parse a checkpoint object."""
    metrics = _object(raw.get("metrics"))
    step = _integer(raw.get("step_number"))
    return Checkpoint(
        id=text(raw.get("id")) or "",
        model=text(raw.get("fine_tuned_model_checkpoint")),
        step=_integer(metrics.get("step")) if step is None else step,
        created_at=_time(raw.get("created_at")),
        metrics=metrics,
        raw=raw,
    )


def file_from(file_id: FileId, raw: JsonObject) -> File:
    """Parse a file object."""
    return File(file_id, text(raw.get("filename")), _integer(raw.get("bytes")), _time(raw.get("created_at")), raw)


def _status(value: object) -> JobStatus:
    """Normalize a status: services differ in case, and Azure sometimes spells "canceled"."""
    word = (text(value) or UNKNOWN).lower()
    return JobStatus("cancelled" if word == "canceled" else word)


def _method(raw: JsonObject) -> tuple[str | None, JsonObject]:
    """Return the method's name and the effective hyperparameters, which newer jobs nest below the method."""
    method = _object(raw.get("method"))
    name = text(method.get("type"))
    below = _object(_object(method.get(name)).get("hyperparameters")) if name else {}
    above = _object(raw.get("hyperparameters"))
    return name, above | {key: value for key, value in below.items() if value not in OPEN or above.get(key) in OPEN}


def _job_error(value: object) -> JobError | None:
    error = value if isinstance(value, dict) else {"message": value}
    found = JobError(text(error.get("code")), text(error.get("message")), text(error.get("param")))
    return None if found == JobError(None, None) else found


def text(value: object) -> str | None:
    """Return a non-empty string; None for anything else."""
    return value if isinstance(value, str) and value else None


def _file_id(value: object) -> FileId | None:
    known = _identifier(value)
    return None if known is None else FileId(known)


def _identifier(value: object) -> str | None:
    """Return an id that can be a URL path segment: no lone surrogates, and not `.` or `..`; else None."""
    known = text(value)
    if known in (None, ".", "..") or any("\ud800" <= character <= "\udfff" for character in known):
        return None
    return known


def _integer(value: object) -> int | None:
    """Return an integer, also from a float such as 1.0; None for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not -LARGEST <= value < LARGEST:
        return None
    return int(value) if value == int(value) else None


def _time(value: object) -> datetime | None:
    """Parse Unix seconds; a time that `datetime` cannot represent counts as unknown."""
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


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= LONGEST_INTEGER else math.copysign(math.inf, float(digits))


def _shallow(content: str) -> str:
    """Return JSON with a placeholder for each value that is nested too deeply."""
    if content.count("[") + content.count("{") <= DEEPEST:
        return content
    kept: list[str] = []
    depth = begin = 0
    for token in _TOKEN.finditer(content):
        match token[0]:
            case "[" | "{":
                depth += 1
                if depth == DEEPEST + 1:
                    kept += content[begin : token.start()], json.dumps(TOO_DEEP)
            case "]" | "}":
                depth -= 1
                if depth == DEEPEST:
                    begin = token.end()
    # JSON whose brackets are never closed stays unclosed, so that parsing still fails.
    return "".join(kept if depth > DEEPEST else [*kept, content[begin:]])
