"""Writes one run through the wandb SDK, online and offline in the same way; it does not read runs back."""

from __future__ import annotations

import base64
import json
import shutil
from collections import Counter
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import wandb
from filelock import FileLock

from ft_sync import content, datasets, redaction
from ft_sync._version import __version__
from ft_sync.content import LOG, ONLY_OURS, ROWS, STATE, RunContent
from ft_sync.convert import STATUS_KEYS, best_of, model_content, portable
from ft_sync.datasets import DatasetFormat, DatasetSummary
from ft_sync.errors import AuthError, ConfigError, SinkRejected
from ft_sync.file_names import file_name
from ft_sync.models import Create, Enrich, Mark, Replace
from ft_sync.names import (
    DATASET_TYPES,
    MODEL_FILE,
    alias,
    artifact_name,
    dataset_name,
    display_name,
    table_file,
    table_key,
)
from ft_sync.sinks.locks import LOCK, locked
from ft_sync.sinks.sdk import abandon, await_closed, await_logged, end_status_thread, entry, in_batches, lend, use_draft
from ft_sync.sinks.session import require_session
from ft_sync.sinks.wandb import JOB_TYPE, SDK_ERRORS, RunOptions, elsewhere, listed, translate, translated
from ft_sync.table import write_table

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from ft_sync.content import Item
    from ft_sync.models import Download, JsonObject, MetricRow, RunFile, RunId, RunRecord, Split, TrainingFile, Write
    from ft_sync.once import Once

TABLE_FORMAT = 2
"""Version of the dataset tables; increment it when their columns change, so that datasets are uploaded again."""

LINES_AT_ONCE = 1_000
"""Lines of the console log per message to the SDK's core."""

PATIENCE = 300
"""Seconds, about, for which a request is retried while W&B is away or limits the rate."""

LIMITS: Mapping[str, object] = {
    # How often the SDK's core retries, and the shortest and longest pause in seconds; by default it retries for an
    # hour. If the server says how long to wait, each pause takes that long, and the number of retries is the same.
    "x_graphql_retry_max": 40,
    "x_graphql_retry_wait_min_seconds": 1.0,
    "x_graphql_retry_wait_max_seconds": 5.0,
    "x_file_transfer_retry_max": 30,
    "x_file_transfer_retry_wait_min_seconds": 1.0,
    "x_file_transfer_retry_wait_max_seconds": 10.0,
}

LEAN: Mapping[str, object] = {
    **LIMITS,
    # A description of this machine and process says nothing about a job that ran elsewhere, and costs requests.
    "console": "off",
    "disable_git": True,
    "save_code": False,
    "disable_job_creation": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
    # The links `latest-run` and `debug.log` lead to the caller's own newest run.
    "symlink": False,
    "init_timeout": PATIENCE,
    # If these retries ran out, the SDK would silently drop the rest of the history. There are so many of them that
    # closing the run gives up first, with an error.
    "x_file_stream_retry_max": 200,
    "x_file_stream_retry_wait_min_seconds": 1.0,
    "x_file_stream_retry_wait_max_seconds": 30.0,
    # Seconds after which closing a run gives up on a server that is away; by default it waits forever.
    "finish_timeout": float(PATIENCE),
    "finish_timeout_raises": True,
    # If a user stops one run in W&B, the SDK by default interrupts the whole process, and with it all other runs.
    "stop_fn": lambda: None,
}

LIVE: Mapping[str, object] = {
    # Seconds between two uploads of history rows, 15 by default: people watch the run while its job is running.
    "x_file_stream_transmit_interval": 1.0,
    # Seconds after which closing the run gives up on a server that is away. It is short so that an interrupted sync
    # ends soon; a later sync resumes the run and adds what is missing.
    "finish_timeout": 10.0,
}


@dataclass(frozen=True, slots=True)
class Held:
    """A dataset in W&B.

    Attributes:
        artifact: Its artifact.
        summary: The summary of its content.
        size: Bytes of its files as they were before the upload; None if that was not noted.
    """

    artifact: wandb.Artifact
    summary: DatasetSummary
    size: int | None = None


@dataclass(slots=True)
class WandbRun:
    """One run being written: a `RunWriter`.

    Attributes:
        held: The datasets that W&B is known to hold, by artifact name; shared by all runs, which add what they upload.
        rows: Number of history rows that the run will have when it is complete.
        left_alone: Summary keys that another program wrote and that must not be changed.
        step_metric: The metric against which all others are drawn; None for the run's own step.
        upload: When saved files are uploaded: immediately or when the run is closed.
        given: The arguments of `wandb.init` for the run.
        saved: Sizes in bytes of the files saved in the run, by path.
        lines: Lines that the run's console log already has; None if this W&B server does not return them.
        content: What the run contains, once it is complete.
        only: See `RunContent`.
        replacing: Entered around the upload of a dataset, with its draft; see `OnlineSink.renew`.
    """

    step_metric: ClassVar[str | None] = None
    upload: ClassVar[Literal["now", "end"]] = "end"

    run: wandb.Run
    options: RunOptions
    held: Once[str, Held]
    rows: int
    left_alone: frozenset[str] = frozenset()
    given: JsonObject = field(default_factory=dict)
    saved: dict[str, int] = field(default_factory=dict)
    lines: Collection[str] | None = ()
    content: RunContent = field(default_factory=RunContent)
    only: tuple[str, ...] = ()
    replacing: Callable[[wandb.Artifact], AbstractContextManager[object]] = nullcontext
    _defined: set[str] = field(default_factory=set)
    _models: list[wandb.Artifact] = field(default_factory=list)
    _model_ids: dict[str, str] = field(default_factory=dict)
    _used_datasets: dict[str, Held] = field(default_factory=dict)
    _config: dict[str, Any] = field(default_factory=dict)
    _summary: dict[str, Any] = field(default_factory=dict)
    _lines_written: int = 0

    @property
    def url(self) -> str | None:
        """The run's URL, or its folder when offline."""
        if self.options.mode == "offline":
            return str(Path(self.run.dir).parent)
        return self.run.url

    def log(self, rows: Iterable[MetricRow]) -> None:
        """Append rows to the history with the times at which the job reported them."""
        with in_batches(self.run):
            for row in rows:
                self.define(row.metrics)
                timestamp = {} if row.time is None else {"_timestamp": row.time}
                # Commit each row at once: otherwise the SDK would commit the last row after the summary was written,
                # and overwrite metrics in the summary.
                self.run.log({**row.metrics, **timestamp}, step=row.step, commit=True)

    def define(self, metrics: Iterable[str]) -> None:
        """Tell W&B, once per metric, whether its lowest or highest value is the best, and its step metric."""
        for metric in metrics:
            best = best_of(metric)
            # W&B takes a name with a star for a pattern.
            if metric not in self._defined and (best or self.step_metric) and "*" not in metric:
                self.run.define_metric(
                    metric.replace(".", "\\."),  # an unescaped dot separates nested keys
                    step_metric=self.step_metric,
                    summary=f"{best},last" if best else None,
                )
            self._defined.add(metric)

    def log_events(self, lines: Iterable[str]) -> None:
        """Append the lines that the console log lacks, once nothing but closing the run can fail any more.

        Log lines have no ids, so a run is resumed only if its lines are the first ones of the log.
        """
        self._await_models()
        rest = _without(lines, self.lines or ())
        while some := list(islice(rest, LINES_AT_ONCE)):
            self.run.write_logs("\n".join(some))
            self._lines_written += len(some)

    def save(self, files: Iterable[RunFile]) -> None:
        """Save files in the run."""
        for file in files:
            # Written to the run's own folder: for a file elsewhere the SDK makes a link, which breaks with the file.
            path = Path(self.run.dir) / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as out:
                out.writelines(file.chunks)
            self.run.save(path, base_path=self.run.dir, policy=self.upload, glob=False)
            self.saved[file.path] = path.stat().st_size

    def use_dataset(self, file: TrainingFile, download: Download | None) -> DatasetSummary:
        """Make the file's artifact, which includes a table of examples, an input of the run."""
        with translated(f"the {file.split} file {file.id}"):
            held = self._used(file, download)
            self._used_datasets[dataset_name(file)] = held
            self._show_table(file.split, held)
            self._config[f"n_{file.split}"] = held.summary.examples
            self.run.config.update(self._config, allow_val_change=True)
        return held.summary

    def log_model(self, record: RunRecord, inputs: Iterable[TrainingFile]) -> None:
        """Start logging `model_metadata.json` as an output artifact of the run."""
        if record.model_metadata is None:
            return
        content = model_content(record.model_metadata, self.run.id, inputs)
        for name in (self.options.model_artifact_name, *self.options.model_artifact_copies):
            artifact = self._model(artifact_name(name), content)
            with translated("the model artifact"):
                self._models.append(self.run.log_artifact(artifact, aliases=["latest", alias(record.job_id)]))

    def _model(self, name: str, content: JsonObject) -> wandb.Artifact:
        artifact = wandb.Artifact(name, type=self.options.model_artifact_type, metadata=filterable(content))
        path = self._own_file(name, MODEL_FILE)
        path.write_bytes(model_file(content))
        artifact.manifest.add_entry(entry(path, MODEL_FILE))
        return artifact

    def complete(self, record: RunRecord) -> RunContent:
        """Wait for the model artifact, then write the summary and, last of all, the mark: it vouches for the rest."""
        self._await_models()
        mark = Mark(__version__, record.digest, self.rows, datetime.now(UTC).isoformat(timespec="seconds"))
        summary = {key: value for key, value in record.summary.items() if key not in self.left_alone}
        with translated("the summary"):
            self.run.summary.update(summary)
            self.run.summary.update({"ftsync": asdict(mark)})
        self._summary |= {**summary, "ftsync": asdict(mark)}
        self.content = RunContent(dict(self._written(record)), only=self.only)
        return self.content

    def _written(self, record: RunRecord) -> Iterator[tuple[str, Item]]:
        """Yield what this process has written, as items that W&B should return."""
        given = self.given
        yield STATE, "finished" if record.failure is None else "failed"
        # `wandb.init` may have been told to leave some keys out.
        config = {key: value for key, value in given.get("config", {}).items() if key in self.run.config}
        yield from content.values("config", config | self._config)
        yield from content.values("summary", self._summary)
        yield from content.tagged(given.get("tags", ()))
        yield from content.texts(name=given.get("name"), notes=given.get("notes"))
        if self.options.mode == "offline":
            return  # W&B's reader returns no more of an offline run
        yield from content.texts(job_type=given.get("job_type"), group=given.get("group"))
        yield ROWS, self.rows
        if self.lines is not None:
            yield LOG, len(self.lines) + self._lines_written
        yield from ((f"file {path}", size) for path, size in self.saved.items())
        for name, held in self._used_datasets.items():
            # Not the artifact's own size: that is W&B's word.
            yield content.artifact(name, str(held.artifact.id), held.size)
        for model in self._models:
            yield content.artifact(model.name, self._model_ids[model.name], model.size)

    def _await_models(self) -> None:
        """Wait until W&B holds the model artifact: if its upload fails, the SDK still marks the run finished."""
        for model in self._models if self.options.mode == "online" else ():
            with translated("the model artifact"):
                self._model_ids[model.name] = await_logged(model)

    def _used(self, file: TrainingFile, download: Download | None) -> Held:
        """Make the file an input of the run; the first run that needs the file uploads it."""
        if self.options.mode == "offline":
            assert download is not None, "offline nothing is held"
            return self._upload(file, download)
        is_first = False

        def upload() -> Held:
            nonlocal is_first
            is_first = True
            assert download is not None, "only what the sink holds needs no download"
            with translated(f"the {file.split} file {file.id}"):
                return self._upload(file, download)

        while True:
            try:
                held = self.held.get(dataset_name(file), upload)
            except (AuthError, SinkRejected):
                if is_first:
                    raise
                continue  # another run's upload was refused; this run's may succeed
            if not is_first:
                self.run.use_artifact(held.artifact)
            return held

    def _upload(self, file: TrainingFile, download: Download) -> Held:
        dataset = datasets.read(download.path, limit=self.options.table_rows)
        # A temporary file, needed until it is uploaded or, offline, copied. Its name contains the run id, since
        # offline several runs may write the same table at once.
        table = download.path.with_name(f"{download.path.name}-{file.split}-{self.run.id[-100:]}")
        write_table(table, dataset.columns, dataset.rows())
        try:
            return self._log_dataset(file, download, table, dataset.summary)
        finally:
            table.unlink()

    def _log_dataset(self, file: TrainingFile, download: Download, table: Path, summary: DatasetSummary) -> Held:
        artifact = wandb.Artifact(
            dataset_name(file),
            type=DATASET_TYPES[file.split],
            metadata={
                "items": summary.examples,
                "format": str(summary.format),
                "sha256": download.sha256,
                "bytes": download.size,
                "table_bytes": table.stat().st_size,
                "table_rows": summary.rows,
                "table_truncated": summary.truncated,
                "table_format": TABLE_FORMAT,
                "broken_lines": list(summary.broken_lines),
                "broken": summary.broken,
                "file": portable(file.raw),
            },
        )
        size = size_of(artifact.metadata)
        is_online = self.options.mode == "online"
        for path, name in ((download.path, _file_name(file)), (table, table_file(file.split))):
            # Online, the files exist until they are uploaded. Offline, the upload may happen long after this process
            # has ended, so the files are copied.
            artifact.manifest.add_entry(entry(path if is_online else self._kept(path, file, name), name))
        aliases = ["latest", alias(file.id)]
        if is_online:
            with self.replacing(artifact):
                artifact = use_draft(self.run, artifact, aliases)
        else:
            # `use_artifact` raises an error offline. Online it calls `_log_artifact` as here; when the offline run is
            # uploaded, the artifact becomes its input.
            self.run._log_artifact(  # noqa: SLF001 - there is no public way; a contract test covers it
                artifact, aliases=aliases, is_user_created=True, use_after_commit=True
            )
        return Held(artifact, summary, size)

    def _kept(self, path: Path, file: TrainingFile, name: str) -> Path:
        """Copy a file into the folder of an offline run, where it stays until the run is uploaded."""
        return Path(shutil.copyfile(path, self._own_file(dataset_name(file), name)))

    def _own_file(self, artifact: str, name: str) -> Path:
        """Return the path for an artifact's file inside the run's folder, so that both can be uploaded together."""
        path = Path(self.run.dir).parent / "artifacts" / artifact / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _show_table(self, split: Split, held: Held) -> None:
        # The SDK writes such a reference for a table in an artifact; logging the table would upload it twice more.
        # It is set in the summary, since a history entry would take over the time of the last row.
        table = {
            "_type": "table-file",
            "artifact_path": f"{reference(held.artifact)}/{table_file(split)}",
            "ncols": len(datasets.COLUMNS[held.summary.format]),
            "nrows": held.summary.rows,
        }
        self.run.summary[table_key(split)] = self._summary[table_key(split)] = table


@contextmanager
def opened(  # noqa: PLR0913 - what two sinks know of a run
    plan: Write,
    record: RunRecord,
    options: RunOptions,
    held: Once[str, Held],
    *,
    native: JsonObject | None = None,
    create: Callable[[RunId], None] | None = None,
    discard: Callable[[RunId], None] | None = None,
    api: wandb.Api | None = None,
) -> Iterator[WandbRun]:
    """Open the run; leaving the context normally marks it finished, leaving by an exception marks it failed.

    The run of a job that failed is always marked failed.

    Args:
        plan: Whether the run is created or resumed.
        record: What the run should hold.
        options: The options for all runs.
        held: See `WandbRun`.
        native: For a run to be enriched: its present `tags`, `notes`, `summary` and `log`; for one to be resumed, its
            `log` alone.
        create: Creates a run on the server, or raises `RunExists`.
        discard: Deletes a run that was just created and must not be written.
        api: The API object for the run's own requests to the server; not used by anything else.

    Raises:
        RunExists: A run that was to be created already exists.
        ConfigError: W&B opened another run than the planned one.
    """
    require_session()
    native = redaction.redacted(native or {})
    arguments = init_arguments(plan, record, options, native)
    with ExitStack() as stack:
        if options.mode == "online":
            stack.enter_context(locked(options, plan.run_id))
        run = _init(plan, arguments, options, create, discard)
        if api is not None:
            lend(api, run)
        if options.mode == "offline":
            stack.enter_context(FileLock(Path(run.dir).parent / LOCK, thread_local=False).acquire(blocking=False))
            stack.callback(await_closed)
        try:
            if not _is_new(plan):
                run.config.update(arguments["config"], allow_val_change=True)
            if isinstance(plan, Enrich):
                rows, left_alone = plan.run.rows or 0, frozenset(native.get("summary", ())) - STATUS_KEYS
            else:
                rows, left_alone = len(record.rows), frozenset()
            writer = WandbRun(run, options, held, rows, left_alone, arguments, lines=native.get("log", ()))
            if not isinstance(plan, Enrich):
                writer.only = ONLY_OURS
                writer.define(record.best)
            yield writer
        except BaseException as error:
            with suppress(*SDK_ERRORS):  # the first error is the one to report
                run.finish(exit_code=1)
            if isinstance(error, SDK_ERRORS):
                raise translate(error, f"the run {plan.run_id}") from error
            raise
        with translated(f"finishing the run {plan.run_id}"):
            run.finish(exit_code=0 if record.failure is None else 1)


def _is_new(plan: Write) -> bool:
    return isinstance(plan, Create | Replace)


def _init(
    plan: Write,
    arguments: dict[str, Any],
    options: RunOptions,
    create: Callable[[RunId], None] | None,
    discard: Callable[[RunId], None] | None,
) -> wandb.Run:
    """Open the run, and refuse it if it is not the planned one; the arguments are described in `opened`."""
    with translated(f"the run {plan.run_id}"):
        if _is_new(plan) and create is not None:
            create(plan.run_id)
        run = wandb.init(**(arguments if _is_new(plan) else {**arguments, "config": None}))
        end_status_thread(run)
    try:
        _require_place(run, plan.run_id, options)
    except ConfigError:
        abandon(run)
        if _is_new(plan) and discard is not None:
            discard(plan.run_id)
        raise
    return run


def init_arguments(plan: Write, record: RunRecord, options: RunOptions, native: JsonObject) -> dict[str, Any]:
    """Return the arguments of `wandb.init` for a run: the user's, and those that ftsync has to set itself.

    Args:
        plan: Whether the run is created or resumed.
        record: What the run should hold.
        options: The options for all runs.
        native: See `opened`.
    """
    init = redaction.redacted(dict(options.init))
    settings = init.pop("settings", None) or {}
    tags = [*native.get("tags", ()), *record.tags, *listed(init.get("tags"))]
    names = {} if isinstance(plan, Enrich) else {"name": display_name(record.job_id), "job_type": JOB_TYPE}
    live = {} if plan.job.is_finished else LIVE
    goes_on = options.mode == "online" and not isinstance(plan, Create | Replace)
    return {
        **names,
        **init,
        "id": plan.run_id,
        "project": options.project,
        "entity": options.entity,
        "mode": options.mode,
        "tags": list(dict.fromkeys(tags)),
        "notes": notes_of(init, record, native.get("notes") or "") or None,
        "config": {**(init.get("config") or {}), **record.config},
        "resume": _resume(plan) if goes_on else None,
        "reinit": "create_new",
        # One settings object per run: with a shared one, threads would mix up their run ids.
        "settings": wandb.Settings(**{**LEAN, **live, **_given(settings)}),
    }


def _require_place(run: wandb.Run, run_id: RunId, options: RunOptions) -> None:
    """Refuse a run that is another than the planned one, before anything is written to it.

    The settings of a session leave the SDK no choice, so the server has chosen.

    Raises:
        ConfigError: Naming what differs.
    """
    host = wandb.setup().settings.base_url
    wanted = {"id": run_id, "project": options.project, "entity": options.entity, "host": host}
    found = {"id": run.id, "project": run.project, "entity": run.entity or None, "host": run.settings.base_url}
    for name, value in wanted.items():
        if found[name] != value:
            raise elsewhere(name, value, found[name])


def notes_of(init: Mapping[str, Any], record: RunRecord, had: str = "") -> str:
    """Return the run's notes: its present ones (`had`), the user's and those of the record, without duplicates."""
    said = (init.get("notes"), record.failure, *record.notes)
    return "\n\n".join(note for note in (had, *said) if note and (note == had or note not in had))


def _resume(plan: Write) -> Literal["allow", "must"]:
    """Return the `resume` argument for an existing run; "must" rejects a run that was created but never written."""
    return "must" if isinstance(plan, Enrich) else "allow"


def _without(lines: Iterable[str], there: Iterable[str]) -> Iterator[str]:
    """Yield the lines that are missing from `there`; repeated lines are matched one by one."""
    left = Counter(there)
    for line in lines:
        if left[line]:
            left[line] -= 1
        else:
            yield line


def summary_of(metadata: Mapping[str, Any], table_rows: int) -> DatasetSummary | None:
    """Read the summary of a dataset from its artifact's metadata; None if this ftsync would write the table anew."""
    try:
        summary = DatasetSummary(
            DatasetFormat(metadata["format"]),
            examples=metadata["items"],
            rows=metadata["table_rows"],
            broken_lines=tuple(metadata["broken_lines"]),
            broken=metadata["broken"],
        )
        as_now = metadata["table_format"] == TABLE_FORMAT and summary.rows == min(summary.examples, table_rows)
    except (KeyError, ValueError, TypeError):
        return None
    return summary if as_now else None


def size_of(metadata: Mapping[str, Any]) -> int | None:
    """Read from a dataset's metadata how many bytes its files had before the upload; None if that was not noted."""
    data, table = metadata.get("bytes"), metadata.get("table_bytes")
    return data + table if isinstance(data, int) and isinstance(table, int) else None


def described(file: TrainingFile, raw: object) -> TrainingFile | None:
    """Return the file with the description stored in its artifact; None if there is none."""
    if not isinstance(raw, dict) or not raw:
        return None
    name, size = raw.get("filename"), raw.get("bytes")
    return replace(
        file,
        filename=name if isinstance(name, str) else None,
        size=size if isinstance(size, int) else None,
        raw=raw,
    )


def model_file(content: JsonObject) -> bytes:
    """Return the content as `model_metadata.json`."""
    return json.dumps(content, indent=2, ensure_ascii=False).encode()


def filterable(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model artifact's metadata, by which W&B filters: the content without details for programs only."""
    models = [{key: saved.get(key) for key in ("step", "model")} for saved in content.get("checkpoints", ())]
    kept = {key: value for key, value in content.items() if key not in {"job", "checkpoints"}}
    return kept | ({"checkpoints": models} if models else {})


def reference(artifact: wandb.Artifact) -> str:
    """Return the URL by which tables in a run's summary refer to the artifact."""
    if artifact.is_draft():  # offline; the server resolves this id after the upload
        return f"wandb-client-artifact://{artifact._client_id}"  # noqa: SLF001 - the SDK's own tables use this reference
    assert artifact.id is not None
    return f"wandb-artifact://{base64.b64decode(artifact.id).hex()}"


def _file_name(file: TrainingFile) -> str:
    """Return the file's name, sanitized: a server chose it, and the path must stay inside the artifact."""
    name = file_name(file.filename or file.id)
    # The dataset's table has such a name, too, and some file systems ignore case.
    return f"file_{name}" if name.lower().endswith(".table.json") else name


def _given(settings: dict[str, object] | wandb.Settings) -> dict[str, Any]:
    if isinstance(settings, wandb.Settings):
        return settings.model_dump(exclude_unset=True)
    return settings
