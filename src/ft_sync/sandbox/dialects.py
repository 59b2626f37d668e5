"""Dialects of OpenAI's API in other services: what they rename, add or leave out; pure.

Based on observation, since none of them documents all of its differences.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from ft_sync.sandbox.world import AUTO, SampleFile

Json: TypeAlias = dict[str, Any]

BOM: Final = b"\xef\xbb\xbf"
RESULTS: Final = "fine-tune-results"
AZURE_STATUSES: Final = {"validating_files": "pending", "queued": "pending", "cancelled": "canceled"}
AZURE_EVENT_STEPS: Final = 10
AZURE_UNDECIDED: Final = -1
NEBIUS_STEPS: Final = 100
BARE_JOB: Final = ("id", "status", "model", "created_at", "fine_tuned_model", "training_file", "result_files")


def _same(served: Any) -> Any:  # noqa: ANN401 - JSON, or a file
    return served


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The dialect of one service.

    Attributes:
        environment: Variables that point ftsync at it; `{root}` and `{key}` stand for the server's address and key.
        prefix: The prefix of all routes.
        key_header: A header that may carry the key instead of `Authorization`.
        needs: A required query parameter, with the status and the message of the refusal if it is missing.
        lacks: Suffixes of routes that the service does not have.
        no_route: The body of the answer for those; `{method}` and `{path}` stand for those of the request.
        is_brief: Pages hold only their entries, without `has_more` and the like.
        job, events, checkpoint, file: Convert OpenAI's objects to the dialect's.
        described: Makes the JSON of its file objects.
    """

    environment: Mapping[str, str]
    prefix: str = "/v1"
    key_header: str | None = None
    needs: tuple[str, int, str] | None = None
    lacks: tuple[str, ...] = ()
    no_route: Json | None = None
    is_brief: bool = False
    job: Callable[[Json], Json] = _same
    events: Callable[[Sequence[Json]], list[Json]] = list
    checkpoint: Callable[[Json], Json] = _same
    file: Callable[[SampleFile], SampleFile] = _same
    described: Callable[[Json], Json] = _same


def _azure_job(job: Json) -> Json:
    decided: Json = _decided(job)
    return decided | {
        "status": AZURE_STATUSES.get(job["status"], job["status"]),
        "fine_tuned_model": job["fine_tuned_model"] and _azure_model(job["fine_tuned_model"]),
        "organization_id": None,
        "error": job["error"] if job["status"] == "failed" else None,
    }


def _decided(value: Any) -> Any:  # noqa: ANN401 - JSON
    """The same with the number that stands for what is chosen later, at any depth."""
    if isinstance(value, dict):
        return {name: _decided(below) for name, below in value.items()}
    return AZURE_UNDECIDED if value == AUTO else value


def _azure_model(name: str) -> str:
    """`gpt-4.1-mini-2025-04-14.ft-…` for `ft:gpt-4.1-mini-2025-04-14:…`."""
    tuned, colon, step = name.partition(":ckpt-")
    _, base, *rest = tuned.split(":")
    return f"{base}.ft-{'-'.join(rest)}{colon}{step}"


def _azure_events(events: Sequence[Json]) -> list[Json]:
    """Every tenth step, and none tells how many there will be."""
    told = []
    for event in events:
        data = event.get("data") or {}
        if data.get("step", 0) % AZURE_EVENT_STEPS == 0:
            told.append(event | {"data": {name: value for name, value in data.items() if name != "total_steps"}})
    return told


def _azure_checkpoint(checkpoint: Json) -> Json:
    return checkpoint | {
        "id": checkpoint["id"].replace("ftckpt_", "ftchkpt-"),
        "fine_tuned_model_checkpoint": _azure_model(checkpoint["fine_tuned_model_checkpoint"]),
    }


def _azure_file(file: SampleFile) -> SampleFile:
    name = "results.csv" if file.purpose == RESULTS else file.filename
    return replace(file, filename=name, content=BOM + file.content, serve_base64=False)


def _nebius_job(job: Json) -> Json:
    return job | {"trained_steps": NEBIUS_STEPS if job["fine_tuned_model"] else 0, "total_steps": NEBIUS_STEPS}


def _nebius_file(file: SampleFile) -> SampleFile:
    if file.purpose != RESULTS:
        return file
    return replace(file, filename="adapter_model.safetensors", content=bytes(range(256)) * 64, serve_base64=False)


def _bare_job(job: Json) -> Json:
    return {name: job[name] for name in BARE_JOB}


def _bare_events(events: Sequence[Json]) -> list[Json]:
    return [{name: event[name] for name in ("id", "created_at", "message")} for event in events]


def _bare_checkpoint(checkpoint: Json) -> Json:
    return {"id": checkpoint["id"], "step_number": checkpoint["step_number"]}


def _bare_file(described: Json) -> Json:
    return {"id": described["id"], "filename": described["filename"]}


_OPENAI: Final = {"OPENAI_BASE_URL": "{root}/v1", "OPENAI_API_KEY": "{key}"}
_AZURE: Final = {"FTSYNC_PROVIDER": "azure", "AZURE_OPENAI_ENDPOINT": "{root}", "AZURE_OPENAI_API_KEY": "{key}"}
_AZURE_V1: Final = Dialect(
    environment=_AZURE,
    prefix="/openai/v1",
    key_header="api-key",
    no_route={"error": {"code": "404", "message": "Resource not found"}},
    job=_azure_job,
    events=_azure_events,
    checkpoint=_azure_checkpoint,
    file=_azure_file,
)

DIALECTS: Final[Mapping[str, Dialect]] = {
    "openai": Dialect(environment=_OPENAI),
    "azure-v1": _AZURE_V1,
    "azure-dated": replace(
        _AZURE_V1,
        environment=_AZURE | {"OPENAI_API_VERSION": "2024-10-21"},
        prefix="/openai",
        needs=("api-version", 404, "Resource not found"),
    ),
    # LiteLLM takes the end of these routes for a part of the job's id, and asks its backend for such a job.
    "litellm": Dialect(
        environment=_OPENAI | {"OPENAI_BASE_URL": "{root}/v1?custom_llm_provider=openai"},
        needs=("custom_llm_provider", 400, "Invalid request, no custom_llm_provider provided."),
        lacks=("/events", "/checkpoints"),
        no_route={"error": {"message": "Error code: 404 - Invalid URL ({method} {path})", "code": "404"}},
    ),
    "nebius": Dialect(environment=_OPENAI, job=_nebius_job, file=_nebius_file),
    "bare": Dialect(
        environment=_OPENAI,
        no_route={"detail": "Not Found"},
        is_brief=True,
        job=_bare_job,
        events=_bare_events,
        checkpoint=_bare_checkpoint,
        described=_bare_file,
    ),
}
"""By name; the keys of `ftsync demo --dialect`."""
