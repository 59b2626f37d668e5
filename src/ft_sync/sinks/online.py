"""Runs on a W&B server: asked for in bulk and kept in order through the public API, written through the SDK."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import wandb

from ft_sync.compare import differ
from ft_sync.convert import model_content, newness
from ft_sync.errors import FtSyncError, NotFound, SinkRejected
from ft_sync.models import SUCCEEDED, Enrich, JobId, Origin, RunId, RunState
from ft_sync.names import alias, artifact_name, dataset_name, first_of, run_id
from ft_sync.once import Once
from ft_sync.sinks.apis import Apis
from ft_sync.sinks.gate import Gate
from ft_sync.sinks.held import A_PAGE, Reader, collection, console_log, history, run_files
from ft_sync.sinks.locks import forget_lock, is_being_written
from ft_sync.sinks.run import Held, described, filterable, notes_of, opened, summary_of
from ft_sync.sinks.sdk import create_run, remove_folder, unread_run
from ft_sync.sinks.wandb import JOB_TYPE, NATIVE_TAG, SDK_ERRORS, RunOptions, mark_from, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from wandb.apis.public import Run, Runs

    from ft_sync.compare import HeldRun
    from ft_sync.datasets import DatasetSummary
    from ft_sync.models import Job, JsonObject, RunRecord, TrainingFile, Write
    from ft_sync.sinks.run import WandbRun

JOBS_A_QUERY = 200
RUNS_A_PAGE = 300
"""Room for the runs of one query, with some of them written more than once."""

PATIENCE_IN_BULK = 60
"""Seconds for which the question for all runs waits for a W&B that is away or limits the rate: everything else does."""

PAUSES = (0.5, 1.0, 2.0)
"""Seconds between looking for a run's files and looking again."""

REPLACED_TAG = "ftsync-replaced"
"""On a run that was kept when another took its place."""

JOB_ID = "fine_tune_job_id"
"""Names the job in a run's config."""

COUNTS = frozenset({"n_train", "n_valid"})
TABLES = frozenset({"train_data", "valid_data"})
"""What the datasets add to a run's config and summary."""

_Answer = TypeVar("_Answer")

_Rank: TypeAlias = tuple[bool, float, str]


class OnlineSink:
    """A `RunSink` on the server that the wandb SDK is logged in to."""

    def __init__(self, options: RunOptions) -> None:
        self._options = options
        self._apis = Apis(options.entity)
        self._held: Once[str, Held] = Once()
        self._found: Once[str, Held | None] = Once()
        self._has_moved_latest = False
        self._reader = Reader(self._model, Once())
        self._newest: Once[str, wandb.Artifact | None] = Once()
        self._gate = Gate(time.monotonic)

    @property
    def can_go_on(self) -> bool:
        """True: W&B resumes runs."""
        return True

    def states(self, job_ids: Collection[JobId]) -> Mapping[JobId, tuple[RunState, ...]]:
        """Return the runs of each job, by one query for every 200 jobs."""
        found: dict[JobId, list[RunState]] = defaultdict(list)
        for wanted in _batched(job_ids):
            for run in self._runs(wanted):
                state = self._state(run, wanted)
                found[state.job_id].append(state)
        return {job_id: tuple(states) for job_id, states in found.items()}

    def held_rows(self, run: RunState, record: RunRecord, inputs: Collection[TrainingFile]) -> int | None:
        """Return how many rows the run holds if all it holds is a beginning of the record; None if it is not."""
        with translated(f"the run {run.run_id}"):
            there = self._run(run.run_id)
            held = history(there)
            config = {**(self._options.init.get("config") or {}), **record.config}
            metrics = {name for row in record.rows for name in row.metrics}
            summary = {key for key in there.summary_metrics if not key.startswith("_")}
            is_beginning = (
                _has_keys_of(config | dict.fromkeys(COUNTS), there.config)  # the values are set again
                and summary <= {*record.summary, *metrics, *TABLES}
                and not (there.notes and not notes_of(self._options.init, record))  # they can be set again, not removed
                and len(held) <= len(record.rows)
                and (there.summary_metrics.get("_step") or 0) <= (held[-1].step if held else 0)  # it would drop rows
                and not any(map(differ, record.rows, held))
                and {file.name for file in run_files(there)} <= {file.path for file in record.files}
                and self._has_artifacts_of(there, record, inputs)
                and not console_log(there)
            )
        return len(held) if is_beginning else None

    def _has_artifacts_of(self, there: Run, record: RunRecord, inputs: Collection[TrainingFile]) -> bool:
        """Whether the run used and logged no artifacts but those that it should."""
        used = {collection(one) for one in there.used_artifacts(A_PAGE)}
        model = record.model_metadata and filterable(model_content(record.model_metadata, there.id, inputs))
        return used <= set(map(dataset_name, inputs)) and all(
            one.metadata == model for one in there.logged_artifacts(A_PAGE)
        )

    def dataset(self, file: TrainingFile) -> DatasetSummary | None:
        """Return what W&B holds of the file, asked once for each."""
        name = dataset_name(file)
        held = self._held.known(name) or self._found.get(name, lambda: self._find(file))
        return held.summary if held else None

    def described(self, file: TrainingFile) -> TrainingFile | None:
        """Return the file as its artifact describes it."""
        artifact = self._artifact(f"{dataset_name(file)}:{alias(file.id)}")
        return described(file, artifact.metadata.get("file")) if artifact else None

    def renew(self, file: TrainingFile) -> None:
        """Have the next run that uses the file upload it, whatever W&B holds of it."""
        name = dataset_name(file)
        self._held.forget(name)
        self._found.forget(name)
        self._found.get(name, lambda: None)

    def read_back(self, run: RunState) -> HeldRun:
        """Read a run back, by about ten requests."""
        api = self._apis.get()
        api.flush()  # it would answer from its cache
        with self._gate.passing(), translated(f"what the run {run.run_id} holds"):
            return self._reader.read(self._run(run.run_id), self._newest_model)

    @contextmanager
    def open(self, plan: Write, record: RunRecord) -> Iterator[WandbRun]:
        """Open the run on the server, unless that has just failed for others; see that its files arrive."""
        with self._gate.passing():
            with self._opened(plan, record) as run:
                yield run
            try:
                missing = self._missing_files(plan.run_id, run.saved)
            except FtSyncError:
                with suppress(FtSyncError):
                    self._unmark(plan.run_id)
                raise
            if missing:
                self._unmark(plan.run_id)
                raise not_taken(plan.run_id, missing)
            if isinstance(plan, Enrich):
                self._drop_files(plan.run_id, but=run.saved)

    def _opened(self, plan: Write, record: RunRecord) -> AbstractContextManager[WandbRun]:
        self._has_moved_latest |= record.model_metadata is not None
        self._newest.forget(self._model)
        native = None
        if isinstance(plan, Enrich):
            with translated(f"the run {plan.run_id}"):
                there = self._run(plan.run_id)
                native = {
                    "tags": there.tags,
                    "notes": there.notes,
                    "summary": dict(there.summary_metrics),
                    "log": console_log(there) or (),
                }
        return opened(
            plan,
            record,
            self._options,
            self._held,
            native=native,
            create=lambda run_id: self._create(run_id, plan.job.id),
            api=self._apis.new(),
        )

    def _create(self, run_id: RunId, job_id: JobId) -> bool:
        """Create the run, as its only writer; return whether that is so.

        It names its job at once: whoever finds it unfinished knows whose it is.
        """
        with self._apis.lent():
            if self._config(run_id) is not None:  # to create it again would set it running
                return False
            claim = {JOB_ID: job_id}
            if create_run(self._apis.get(), self._path, run_id, claim):
                return True
            # Somebody was quicker, and begins it now; or W&B's answer got lost, and it was asked again.
            for pause in PAUSES:
                time.sleep(pause)
                if (self._config(run_id) or claim) != claim:
                    return False
            return True

    def _config(self, run_id: RunId) -> JsonObject | None:
        """Return the config of a run; None if there is no such run."""
        self._apis.get().flush()  # it would answer from its cache
        run = _if_there(lambda: self._run(run_id))
        return None if run is None else run.config

    def delete(self, run: RunState) -> None:
        """Delete the run; its artifacts stay, other runs may use them."""
        with translated(f"the replaced run {run.run_id}"):
            self._run(run.run_id).delete()

    def keep(self, run: RunState) -> None:
        """Tag the run as replaced."""
        with translated(f"the replaced run {run.run_id}"):
            there = self._run(run.run_id)
            there.tags.append(REPLACED_TAG)
            there.update()

    def link(self, job: Job, collection: str, aliases: Collection[str]) -> None:
        """Link the job's model artifact to a collection of the registry."""
        what = f"the link of {job.id} to {collection}"
        artifact = self._artifact(f"{self._model}:{alias(job.id)}")
        if artifact is None:
            raise NotFound(
                f"the model artifact of {job.id} is not in W&B, so it cannot be linked",
                hint=f"`ftsync resync --overwrite --job {job.id}` writes it again",
            )
        with translated(what):
            artifact.link(f"wandb-registry-{collection}", aliases=list(aliases))

    def point_latest(self, jobs: Iterable[Job]) -> None:
        """Have `latest` name the model artifact of the newest succeeded job, of these and of what it named before."""
        best = max((job.status == SUCCEEDED, *job.newness) for job in jobs)
        with translated("the alias `latest`"):
            for model in (self._model, *map(artifact_name, self._options.model_artifact_copies)):
                self._point_latest(model, best)
        self._has_moved_latest = False

    def _point_latest(self, model: str, best: _Rank) -> None:
        kind = self._options.model_artifact_type
        if not self._has_moved_latest:
            named = self._artifact(f"{model}:latest")
            if named is not None and best <= _rank(named):
                return
            if named is None and not self._apis.get().artifact_collection_exists(f"{self._path}/{model}", kind):
                return
            kind = named.type if named else kind
        newest = self._newest_of(kind, model)
        if newest is not None and "latest" not in newest.aliases:
            newest.aliases.append("latest")
            newest.save()

    def _newest_model(self, kind: str) -> str | None:
        """Return the id of the artifact that `latest` should name."""
        newest = self._newest.get(self._model, lambda: self._newest_of(kind, self._model))
        return newest.id if newest else None

    def _newest_of(self, kind: str, model: str) -> wandb.Artifact | None:
        """Return the model artifact of the newest job, one that succeeded if there is any.

        Another command may write at the same time, and one may have been cut off: the versions alone tell.
        """
        versions = self._apis.get().artifacts(kind, f"{self._path}/{model}", per_page=100)
        return max((one for one in versions if one.aliases), key=_rank, default=None)

    def _state(self, run: Run, wanted: Mapping[RunId, JobId]) -> RunState:
        config, summary = run.config, run.summary_metrics
        ours = config.get(JOB_ID)
        if run.state != "running":
            forget_lock(self._options, run.id)
        named = wanted.get(first_of(RunId(run.id)), JobId(run.id))
        job_id = JobId(ours) if isinstance(ours, str) and ours in wanted.values() else named
        return RunState(
            run_id=RunId(run.id),
            job_id=job_id,
            origin=_origin(run, written_by_us=ours == job_id),
            state=run.state,
            status=summary.get("status"),
            mark=mark_from(summary.get("ftsync")),
            rows=run.historyLineCount,
            url=run.url,
            being_written=run.state == "running" and is_being_written(self._options, run.id, run.heartbeat_at),
            is_replaced=REPLACED_TAG in (run.tags or ()),
        )

    @property
    def _model(self) -> str:
        return artifact_name(self._options.model_artifact_name)

    def _find(self, file: TrainingFile) -> Held | None:
        """Return what W&B holds of a training or validation file, if that is as this version would write it."""
        artifact = self._artifact(f"{dataset_name(file)}:{alias(file.id)}")
        summary = summary_of(artifact.metadata, self._options.table_rows) if artifact else None
        if artifact is None or summary is None:
            return None
        return self._held.get(dataset_name(file), lambda: Held(artifact, summary))

    def _artifact(self, name: str) -> wandb.Artifact | None:
        """Return an artifact by name and alias, None if W&B says that there is none."""
        with self._apis.lent(), translated(f"the artifact {name}"):
            return _if_there(lambda: self._apis.get().artifact(f"{self._path}/{name}"))

    def _drop_files(self, run_id: RunId, but: Collection[str]) -> None:
        """Delete the files of an earlier sync that have others in their place now."""
        with self._apis.lent(), translated(f"the files of the run {run_id}"):
            for file in run_files(self._run(run_id)):
                if file.name not in but:
                    file.delete()

    def _unmark(self, run_id: RunId) -> None:
        """Have a run not be taken for a complete one."""
        with self._apis.lent(), translated(f"the run {run_id}"):
            self._run(run_id).summary.update({"ftsync": None})

    def _missing_files(self, run_id: RunId, saved: Collection[str], pauses: Iterable[float] = PAUSES) -> set[str]:
        """Return which files of a run W&B did not take: the SDK does not tell."""
        missing = set(saved)
        with self._apis.lent(), translated(f"the files of the run {run_id}"):
            for pause in (*pauses, 0):
                if not missing:
                    break
                run = unread_run(self._apis.get(), self._path, run_id)
                remove_folder(run)
                missing -= {file.name for file in run_files(run)}
                if missing:
                    time.sleep(pause)  # the listing may trail
        return missing

    def _run(self, named: RunId) -> Run:
        run = self._apis.get().run(f"{self._path}/{named}")
        remove_folder(run)
        return run

    @property
    def _path(self) -> str:
        entity = self._apis.entity
        return f"{entity}/{self._options.project}" if entity else self._options.project

    def _runs(self, wanted: Mapping[RunId, JobId]) -> Iterator[Run]:
        api = self._apis.new(PATIENCE_IN_BULK)
        named = [{"name": {"$in": sorted(wanted)}}, {f"config.{JOB_ID}": {"$in": sorted(wanted.values())}}]
        with translated(f"the runs of {self._path}"):
            runs = api.runs(self._path, filters={"$or": named}, per_page=RUNS_A_PAGE, lazy=False)
            for run in runs if project_exists(runs) else ():
                remove_folder(run)
                yield run


def start_core() -> None:
    """Start the process that the SDK works with; whoever needs it later is told what is wrong with it."""
    with suppress(*SDK_ERRORS):
        wandb.setup()


def not_taken(run_id: RunId, files: Collection[str]) -> SinkRejected:
    """Return the error for files that W&B did not take."""
    return SinkRejected(
        f"W&B did not take {len(files)} files of the run {run_id}, among them {min(files)}",
        hint="run the same command again: it repairs what is incomplete",
    )


def _if_there(ask: Callable[[], _Answer]) -> _Answer | None:
    """Return the answer, None if W&B says that there is no such thing."""
    try:
        return ask()
    except wandb.errors.CommError as error:
        if isinstance(error.exc, ValueError):
            return None
        raise


def _batched(job_ids: Collection[JobId]) -> Iterator[dict[RunId, JobId]]:
    """Yield jobs by what their runs are called at first, some at a time."""
    ids = list(job_ids)
    for start in range(0, len(ids), JOBS_A_QUERY):
        yield {run_id(job_id): job_id for job_id in ids[start : start + JOBS_A_QUERY]}


def project_exists(runs: Runs) -> bool:
    """Read the first page; a project that was never written to is an answer, not a failure."""
    try:
        len(runs)
    except ValueError:
        answer = runs.last_response
        if answer is None or answer.get("project") is not None:
            raise
        return False
    return True


def _has_keys_of(config: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Whether every key that is there has its place in the config; W&B keeps the others, at any depth."""
    return all(
        key in config
        and (not (isinstance(value, dict) and isinstance(config[key], dict)) or _has_keys_of(config[key], value))
        for key, value in there.items()
    )


def _rank(artifact: wandb.Artifact) -> _Rank:
    """Return what orders the model artifacts: those of jobs that succeeded before others, newer ones before older."""
    content = artifact.metadata
    return (content.get("status", SUCCEEDED) == SUCCEEDED, *newness(content, content.get("job_id")))


def _origin(run: Run, *, written_by_us: bool) -> Origin:
    if any(tag.startswith(NATIVE_TAG) for tag in run.tags or ()):
        return Origin.NATIVE  # also when it was enriched by us
    is_blank = not (run.config or run.job_type or run.tags or run.historyLineCount)
    if written_by_us or is_blank:  # which it is when a sync was cut off as soon as it had created it
        return Origin.FTSYNC
    if run.job_type == JOB_TYPE:
        return Origin.WANDB_LOGGER
    return Origin.OTHER
