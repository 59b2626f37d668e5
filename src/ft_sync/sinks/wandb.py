"""Writes one run through the wandb SDK, the same way online and offline; reading back is not its business."""

from __future__ import annotations

import difflib
import inspect
import json
import re
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import wandb
from wandb.sdk.lib.service.service_connection import WandbApiFailedError
from wandb.sdk.mailbox.mailbox_handle import ServerResponseError

from ft_sync import datasets
from ft_sync._version import __version__
from ft_sync.errors import AuthError, ConfigError, FtSyncError, SinkRejected, Unavailable
from ft_sync.models import Mark

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ft_sync.datasets import DatasetSummary
    from ft_sync.models import Download, JsonObject, MetricRow, RunRecord, Split, TrainingFile, Write

SDK_ERRORS = (wandb.Error, WandbApiFailedError, ServerResponseError, ConnectionError, TimeoutError)
"""What the SDK raises on purpose; the second and third are not `wandb.Error`s."""

CANCEL_SECONDS = 0.5
"""Time for the SDK's core to answer the request that it was told to cancel, before anything else happens.

When the process ends first, the core loses the word to end, and the process waits for it for ever (wandb 0.31.0).
"""

JOB_TYPE = "fine-tune"
ARTIFACT_TYPES: Mapping[Split, str] = {"train": "training_files", "valid": "validation_files"}

SET_BY_US = {
    "id": "the job's id is the run's id: choose jobs with --job",
    "project": "use --project",
    "entity": "use --entity",
    "resume": "ftsync decides that itself: --overwrite writes a run again",
    "resume_from": "ftsync decides that itself: --overwrite writes a run again",
    "fork_from": "a synced run starts from nothing",
    "reinit": "ftsync gives every job a run of its own",
}

LEAN: Mapping[str, object] = {
    # What describes this machine and process says nothing about a job that ran elsewhere, and costs requests.
    "console": "off",
    "disable_git": True,
    "save_code": False,
    "disable_job_creation": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
}

Mode = Literal["online", "offline"]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How runs are made.

    Attributes:
        init: Further arguments of `wandb.init`, already checked by `check_init`.
    """

    project: str
    entity: str | None
    mode: Mode
    model_artifact_name: str = "model_metadata"
    model_artifact_type: str = "model"
    init: JsonObject = field(default_factory=dict)


def check_init(init: Mapping[str, object]) -> None:
    """Refuse arguments that `wandb.init` does not know or that are not the user's to set.

    Raises:
        ConfigError: Naming the flag to use instead, or the nearest known arguments.
    """
    known = [name for name in inspect.signature(wandb.init).parameters if name not in SET_BY_US]
    for key, value in init.items():
        if key in SET_BY_US:
            raise ConfigError(f"--init {key}=… cannot be set", hint=SET_BY_US[key])
        if key not in known:
            near = difflib.get_close_matches(key, known, n=3, cutoff=0.5) or sorted(known)
            raise ConfigError(f"--init {key}=…: wandb.init has no such argument", hint=f"there is {', '.join(near)}")
        if key in {"config", "settings"} and not isinstance(value, dict | wandb.Settings):
            raise ConfigError(f"--init {key}=… needs a JSON object", hint=f"""for example --init '{key}={{"a": 1}}'""")
    if init.get("mode") not in {None, "online", "offline"}:
        raise ConfigError(f"--init mode={init['mode']} would write nothing", hint="use online or offline")


class WandbRun:
    """One run being written: a `RunWriter`."""

    def __init__(self, run: wandb.Run, options: RunOptions) -> None:
        self._run = run
        self._options = options

    @property
    def url(self) -> str | None:
        """The run's URL, or its folder when offline."""
        if self._options.mode == "offline":
            return str(Path(self._run.dir).parent)
        return self._run.url

    def log(self, row: MetricRow) -> None:
        """Append a row under its true time."""
        timestamp = {} if row.time is None else {"_timestamp": row.time}
        self._run.log({**row.metrics, **timestamp}, step=row.step)

    def use_dataset(self, file: TrainingFile, content: Path, download: Download) -> DatasetSummary:
        """Log the file's bytes and its table as an artifact that is an input of the run."""
        key = f"{file.split}_data"
        dataset = datasets.read(content)
        table = wandb.Table(columns=list(dataset.columns))
        for row in dataset.rows():
            table.add_data(*row)
        summary = dataset.summary
        artifact = wandb.Artifact(
            _artifact_name(f"{file.split}-{file.id}"),
            type=ARTIFACT_TYPES[file.split],
            metadata={
                "items": summary.examples,
                "format": str(summary.format),
                "sha256": download.sha256,
                "bytes": download.size,
                "table_rows": summary.rows,
                "table_truncated": summary.truncated,
                "file": dict(file.raw),
            },
        )
        artifact.add_file(str(content), name=_file_name(file))
        artifact.add(table, key)
        with translated(f"the {file.split} file {file.id}"):
            self._use(artifact, ["latest", _alias(file.id)])
            # Through the summary and not the history: a logged table would take the last row's time for its own.
            self._run.summary[key] = table
            self._run.config.update({f"n_{file.split}": summary.examples})
        return summary

    def log_model(self, record: RunRecord) -> None:
        """Log `model_metadata.json` as an artifact that is an output of the run."""
        content = record.model_metadata
        if content is None:
            return
        filterable = {key: value for key, value in content.items() if key not in {"job", "checkpoints"}}
        artifact = wandb.Artifact(
            _artifact_name(self._options.model_artifact_name),
            type=self._options.model_artifact_type,
            metadata=filterable,
        )
        with artifact.new_file("model_metadata.json", mode="w", encoding="utf-8") as out:
            json.dump(content, out, indent=2, ensure_ascii=False)
        with translated("the model artifact"):
            logged = self._run.log_artifact(artifact, aliases=["latest", _alias(record.job_id)])
            if self._options.mode == "online":
                logged.wait()

    def complete(self, record: RunRecord) -> None:
        """Write the summary and then the mark: what comes after it would not be covered by it."""
        mark = Mark(__version__, record.digest, len(record.rows), datetime.now(UTC).isoformat(timespec="seconds"))
        with translated("the summary"):
            self._run.summary.update(dict(record.summary))
            self._run.summary.update({"ftsync": asdict(mark)})

    def _use(self, artifact: wandb.Artifact, aliases: list[str]) -> None:
        if self._options.mode == "online":
            self._run.use_artifact(artifact, aliases=aliases)
        else:
            # `use_artifact` refuses offline; this is what it calls online, and the upload records the use.
            self._run._log_artifact(  # noqa: SLF001 - no public way; a contract test watches it
                artifact, aliases=aliases, is_user_created=True, use_after_commit=True
            )


@contextmanager
def opened(plan: Write, record: RunRecord, options: RunOptions) -> Iterator[WandbRun]:
    """Make the run; leaving normally marks it finished (failed if the job did), leaving by an exception failed."""
    init = dict(options.init)
    tags = [*record.tags, *(init.pop("tags", None) or ())]
    config = {**(init.pop("config", None) or {}), **record.config}
    settings = init.pop("settings", None) or {}
    notes = [note for note in (init.pop("notes", None), record.failure) if note]
    with translated(f"the run {plan.run_id}"):
        run = wandb.init(
            **{
                "name": record.job_id,
                "job_type": JOB_TYPE,
                **init,
                "id": plan.run_id,
                "project": options.project,
                "entity": options.entity,
                "mode": options.mode,
                "tags": list(dict.fromkeys(tags)),
                "notes": "\n\n".join(notes) or None,
                "config": config,
                "reinit": "create_new",
                # One object a run: a shared one mixes run ids up between threads.
                "settings": wandb.Settings(**{**LEAN, **_given(settings)}),
            }
        )
    try:
        yield WandbRun(run, options)
    except BaseException:
        run.finish(exit_code=1)
        raise
    with translated(f"finishing the run {plan.run_id}"):
        run.finish(exit_code=0 if record.failure is None else 1)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the SDK's errors into ours; `what` names what was being written or asked for."""
    try:
        yield
    except SDK_ERRORS as error:
        if http_status(error) is None:
            time.sleep(CANCEL_SECONDS)
        raise translate(error, what) from error
    except ValueError as error:
        # `Artifact.wait` reports a refused upload so.
        raise SinkRejected(f"W&B refused {what}: {error}", hint="run the same command again") from error


def translate(error: Exception, what: str) -> FtSyncError:
    """Return our error for one of the SDK's."""
    status = http_status(error)
    # `wandb.init` gives the core's sentence alone, without the status.
    refused = re.search(r"\b40[13]\b|permission denied", str(error), re.IGNORECASE)
    if status in {401, 403} or (status is None and refused):
        return AuthError(
            f"W&B refused the key, or it may not do this: {what} ({_one_line(error)})",
            hint="`wandb login --relogin`, or check WANDB_API_KEY, WANDB_BASE_URL and --entity",
        )
    return Unavailable(
        f"W&B could not be reached or failed: {what} ({_one_line(error)})",
        hint="check WANDB_BASE_URL and the network, then run the same command again",
    )


def http_status(error: BaseException | None) -> int | None:
    """Return the HTTP status behind an SDK error, following its causes."""
    while error is not None:
        if isinstance(error, WandbApiFailedError) and error.response is not None and error.response.http_status:
            return int(error.response.http_status)
        error = error.__cause__
    return None


def mark_from(value: object) -> Mark | None:
    """Read a mark back from a run's summary; anything else in its place is no mark."""
    if not isinstance(value, dict) and not hasattr(value, "items"):
        return None
    fields: dict[str, Any] = dict(value.items())
    if not isinstance(fields.get("digest"), str) or not isinstance(fields.get("rows"), int):
        return None
    return Mark(str(fields.get("version")), fields["digest"], fields["rows"], str(fields.get("time")))


def _given(settings: dict[str, object] | wandb.Settings) -> dict[str, Any]:
    if isinstance(settings, wandb.Settings):
        return settings.model_dump(exclude_unset=True)
    return settings


def _artifact_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:128]


def _alias(name: str) -> str:
    return re.sub(r"[/:]", "_", name)


def _file_name(file: TrainingFile) -> str:
    """Return the file's own name, made safe: it comes from a server and must stay inside the artifact."""
    name = re.sub(r"[^\w.-]", "_", file.filename or "").lstrip(".")
    return name or str(file.id)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
