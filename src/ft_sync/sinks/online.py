"""Runs on a W&B server: queried in bulk and maintained through the public API, written through the SDK."""

from __future__ import annotations

import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import wandb

from ft_sync.compare import differ
from ft_sync.content import STATE
from ft_sync.convert import model_content, newness
from ft_sync.errors import FtSyncError, NotFound, RunExists
from ft_sync.models import SUCCEEDED, Create, Destination, Enrich, Extend, JobId, Origin, Replace, RunId, RunState
from ft_sync.names import NATIVE_TAG, REPLACED_TAG, alias, artifact_name, dataset_name, first_of, run_id
from ft_sync.once import Once
from ft_sync.sinks.apis import Apis
from ft_sync.sinks.gate import Gate
from ft_sync.sinks.held import A_PAGE, Reader, collection, console_log, history, run_files
from ft_sync.sinks.locks import forget_lock, is_being_written
from ft_sync.sinks.run import Held, described, filterable, model_file, notes_of, opened, reference, size_of, summary_of
from ft_sync.sinks.sdk import create_run, delete_run, listed_artifacts, remove_folder
from ft_sync.sinks.stored import RUNS_AT_ONCE, StoredRuns
from ft_sync.sinks.wandb import JOB_ID, JOB_TYPE, MARK, RunOptions, elsewhere, mark_from, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from wandb.apis.public import Run, Runs

    from ft_sync.compare import HeldRun
    from ft_sync.content import RunContent
    from ft_sync.datasets import DatasetSummary
    from ft_sync.models import Job, JsonObject, RunRecord, TrainingFile, Write
    from ft_sync.sinks.run import WandbRun
    from ft_sync.sinks.sdk import CreatedRun

JOBS_A_QUERY = 200
QUERIES_AT_ONCE = 4
RUNS_A_PAGE = 300
"""Runs per page: enough for all runs of one query, though some jobs have several."""

PATIENCE_IN_BULK = 60
"""Seconds to keep retrying the bulk query when W&B is away or limits the rate; all other work waits for its answer."""

PAUSES = (0.5, 1.0, 2.0)
"""Seconds between repeated checks whether another process is writing a run that has just been created."""

REJECTED = "incomplete"
"""Written to a run in place of its mark when W&B does not hold all of the run."""

COUNTS = frozenset({"n_train", "n_valid"})
TABLES = frozenset({"train_data", "valid_data"})
"""The keys that datasets add to a run's config (`COUNTS`) and summary (`TABLES`)."""

_Answer = TypeVar("_Answer")
_Id = TypeVar("_Id", bound=str)

_Rank: TypeAlias = tuple[bool, float, str]


@dataclass(slots=True)
class _Orphans:
    """What deleted versions of a dataset leave behind.

    Attributes:
        aliases: Their aliases.
        users: Runs that used one of them, by path, each with the URL by which tables in its summary refer to it.
    """

    aliases: set[str] = field(default_factory=set)
    users: dict[tuple[str, ...], str] = field(default_factory=dict)


class OnlineSink:
    """A `RunSink` on the server that the wandb SDK is logged in to."""

    def __init__(self, options: RunOptions) -> None:
        self._options = options
        self._apis = Apis(options.entity, options.project)
        self._held: Once[str, Held] = Once()
        self._found: Once[str, Held | None] = Once()
        self._has_moved_latest = False
        self._reader = Reader(self._model)
        self._renewing: dict[str, Collection[RunId]] = {}
        self._orphans: dict[str, _Orphans] = defaultdict(_Orphans)
        self._renewed: dict[str, list[str]] = defaultdict(list)
        self._newest: Once[str, wandb.Artifact | None] = Once()
        self._gate = Gate(time.monotonic)
        self._stored_runs = StoredRuns()

    @property
    def can_go_on(self) -> bool:
        """True: the server lets closed runs be resumed."""
        return True

    def destination(self) -> Destination:
        """Return the project, as W&B spells it."""
        place = self._apis.place
        place.require_writable()
        return Destination(place.project, place.entity, is_new=place.is_new, ignored=self._options.ignored)

    def states(self, job_ids: Collection[JobId]) -> Mapping[JobId, tuple[RunState, ...]]:
        """Return the runs of each job, with one query per 200 jobs, several at a time."""
        found: dict[JobId, list[RunState]] = defaultdict(list)
        with ThreadPoolExecutor(QUERIES_AT_ONCE) as threads:
            asked = [threads.submit(copy_context().run, self._states, wanted) for wanted in _batched(job_ids)]
            for states in asked:
                for state in states.result():
                    found[state.job_id].append(state)
        return {job_id: tuple(states) for job_id, states in found.items()}

    def _states(self, wanted: Mapping[RunId, JobId]) -> list[RunState]:
        return [self._state(run, wanted) for run in self._runs(wanted)]

    def stored(self, run_ids: Collection[RunId], *, singly: bool = False) -> Mapping[RunId, RunContent]:
        """Return what W&B holds of these runs, with one query per 50 runs, or one per run if asked `singly`."""
        found: dict[RunId, RunContent] = {}
        api = self._apis.new(PATIENCE_IN_BULK)
        with translated(f"the runs of {self._path}"):
            for some in _parts(list(run_ids), 1 if singly else RUNS_AT_ONCE):
                found |= self._stored_runs.read(api, self._path, some, singly=singly)
        for named, held in found.items():
            if held.items.get(STATE) != "running":
                forget_lock(self._options, named)
        return found

    def reject(self, run_id: RunId, job_id: JobId) -> None:
        """Replace the run's mark by a note that the run is incomplete."""
        with self._apis.lent() as api, translated(f"the run {run_id}"):
            api.flush()  # otherwise the API object may answer from its cache
            run = self._run(run_id)
            run.summary.update({MARK: REJECTED})
            if run.config.get(JOB_ID) != job_id:
                run.config[JOB_ID] = job_id
                run.update()

    def held_rows(self, run: RunState, record: RunRecord, inputs: Collection[TrainingFile]) -> int | None:
        """Return the number of history rows in the run if its content is a prefix of `record`; None if it is not."""
        with translated(f"the run {run.run_id}"):
            there = self._run(run.run_id)
            held = history(there)
            self._require_as_listed(there, run, record.job_id)
            config = {**(self._options.init.get("config") or {}), **record.config}
            metrics = {name for row in record.rows for name in row.metrics}
            summary = {key for key in there.summary_metrics if not key.startswith("_")} - {MARK}
            log = console_log(there) or ()
            is_beginning = (
                _has_keys_of(config | dict.fromkeys(COUNTS), there.config)  # the values are written again
                and summary <= {*record.summary, *metrics, *TABLES}
                # Resuming a run can replace its notes, but not remove them.
                and not (there.notes and not notes_of(self._options.init, record))
                and len(held) <= len(record.rows)
                # W&B would drop rows whose step is below `_step`.
                and (there.summary_metrics.get("_step") or 0) <= (held[-1].step if held else 0)
                and not any(map(differ, record.rows, held))
                and {file.name for file in run_files(there)} <= {file.path for file in record.files}
                and self._has_artifacts_of(there, record, inputs)
                and _is_beginning(log, record.log)
            )
        return len(held) if is_beginning else None

    def _has_artifacts_of(self, there: Run, record: RunRecord, inputs: Collection[TrainingFile]) -> bool:
        """Whether the run has used only artifacts of `inputs`, and logged only the record's model."""
        used, used_drafts = listed_artifacts(there.used_artifacts(A_PAGE))
        logged, logged_drafts = listed_artifacts(there.logged_artifacts(A_PAGE))
        if record.model_metadata is None:
            metadata = size = None
        else:
            model = model_content(record.model_metadata, there.id, inputs)
            metadata, size = filterable(model), len(model_file(model))
        return (
            # Under another run id, the model is another artifact; under this one, W&B would reuse what it lists. The
            # drafts of an interrupted run are harmless, those of a run whose upload had ended are not.
            not ((used_drafts or logged_drafts) and there.summary_metrics.get(MARK) == REJECTED)
            and set(map(collection, used)) <= set(map(dataset_name, inputs))
            and all(one.metadata == metadata and one.size == size for one in logged)
        )

    def dataset(self, file: TrainingFile) -> DatasetSummary | None:
        """Return the summary of a file that W&B already holds, querying W&B once per file."""
        name = dataset_name(file)
        held = self._held.known(name) or self._found.get(name, lambda: self._find(file))
        return held.summary if held else None

    def described(self, file: TrainingFile) -> TrainingFile | None:
        """Return the file with the description stored in its artifact; None if there is none."""
        artifact = self._artifact(f"{dataset_name(file)}:{alias(file.id)}")
        return described(file, artifact.metadata.get("file")) if artifact else None

    def renew(self, file: TrainingFile, rewritten: Collection[RunId]) -> None:
        """Make the next run that uses the file upload it again, whatever W&B already holds of it.

        W&B takes no bytes of which it has been told before: it reuses the version, or the file of a version, that it
        was told of. So damaged versions are deleted right before the upload, and other runs that used one of them are
        made to use the new version afterwards, except those in `rewritten`.
        """
        name = dataset_name(file)
        self._renewing[name] = rewritten
        self._held.forget(name)
        self._found.forget(name)
        self._found.get(name, lambda: None)

    def renewed(self, file: TrainingFile) -> tuple[str, ...]:
        """Say what became of other runs when a renewed file was uploaded again."""
        name = dataset_name(file)
        what = f"used the damaged {name}, which was deleted before its upload failed"
        left = (f"the run {path[-1]} {what}" for path in self._orphans[name].users)
        return (*self._renewed[name], *left)

    @contextmanager
    def _replacing(self, draft: wandb.Artifact) -> Iterator[None]:
        """Delete the damaged versions that W&B would reuse for the draft, and let their users use what is uploaded."""
        name = draft.name
        rewritten = self._renewing.get(name)
        if rewritten is None:
            yield
            return
        orphans = self._orphans[name]  # also those of an upload that failed
        with self._apis.lent() as api, translated(f"the damaged versions of {name}"):
            path = f"{self._path}/{name}"
            has_versions = api.artifact_collection_exists(path, draft.type)
            versions = list(api.artifacts(draft.type, path, per_page=A_PAGE)) if has_versions else []
            damaged = [one for one in versions if self._reader.is_in_the_way(one, draft)]
            for one in damaged:
                used_by = {tuple(run.path): reference(one) for run in one.used_by() if run.id not in rewritten}
                aliases = one.aliases
                one.delete(delete_aliases=True)
                orphans.users |= used_by
                orphans.aliases |= set(aliases)
        yield
        del self._renewing[name], self._orphans[name]
        if orphans.aliases or orphans.users:
            with self._apis.lent():
                self._hand_over(name, orphans)

    def _hand_over(self, name: str, orphans: _Orphans) -> None:
        """Give the aliases and the users of deleted versions to the version that has replaced them."""
        with translated(f"the artifact {name}"):
            there = self._apis.get().artifact(f"{self._path}/{name}:latest")
            if lacking := sorted(orphans.aliases - set(there.aliases)):
                there.aliases.extend(lacking)
                there.save()
        for path, deleted in orphans.users.items():
            try:
                with translated(f"the run {path[-1]}"):
                    run = self._apis.get().run("/".join(path))
                    remove_folder(run)
                    run.use_artifact(there)
                    if moved := _moved_tables(run.summary_metrics, deleted, reference(there)):
                        run.summary.update(moved)
            except FtSyncError as error:
                what = f"does not use the new one: {error.message}"
            else:
                what = "uses the new one now"
            self._renewed[name].append(f"the run {path[-1]} used the damaged {name}, and {what}")

    def read_back(self, run: RunState, *, content: bool = True) -> HeldRun:
        """Read back everything that a run holds, with about ten requests and a download for each of its files."""
        api = self._apis.get()
        api.flush()  # otherwise the API object may answer from its cache
        with self._gate.passing(), translated(f"what the run {run.run_id} holds"):
            return self._reader.read(self._run(run.run_id), self._newest_model, content=content)

    @contextmanager
    def open(self, plan: Write, record: RunRecord) -> Iterator[WandbRun]:
        """Open the run on the server, unless the gate is closed."""
        with self._gate.passing():
            with self._opened(plan, record) as run:
                run.replacing = self._replacing
                yield run
            if isinstance(plan, Enrich):
                self._drop_files(plan.run_id, but=run.saved)

    def _opened(self, plan: Write, record: RunRecord) -> AbstractContextManager[WandbRun]:
        self._has_moved_latest |= record.model_metadata is not None
        self._newest.forget(self._model)
        return opened(
            plan,
            record,
            self._placed,
            self._held,
            native=self._present(plan),
            create=lambda run_id: self._create(run_id, plan.job.id),
            discard=self._discard,
            api=self._apis.new(),
        )

    def _present(self, plan: Write) -> JsonObject | None:
        """Return the content of a run that is to be resumed, which `opened` needs; None for a new run."""
        if isinstance(plan, Create | Replace):
            return None
        with translated(f"the run {plan.run_id}"):
            there = self._run(plan.run_id)
            if isinstance(plan, Extend):
                return {"log": console_log(there)}
            self._require_as_listed(there, plan.run, plan.job.id)
            # The run keeps its id, so its model's file would be the same, and W&B would reuse the damaged one.
            for one in listed_artifacts(there.logged_artifacts(A_PAGE))[0]:
                if collection(one) in self._models and not self._reader.content(one).is_sound:
                    one.delete(delete_aliases=True)
            return {
                "tags": there.tags,
                "notes": there.notes,
                "summary": dict(there.summary_metrics),
                "log": console_log(there),
            }

    def _require_as_listed(self, there: Run, listed: RunState, job_id: JobId) -> None:
        """Raise `RunExists` if the run is complete or being written, though it was not when it was listed."""
        now = self._state(there, {run_id(job_id): job_id})
        if now.is_complete > listed.is_complete or now.being_written > listed.being_written:
            raise _exists(now)

    def _create(self, named: RunId, job_id: JobId) -> None:
        """Create the run on the server, unless it exists already: another process may be writing it.

        The run's first config names its job, so that even an unfinished run can be attributed to its job.

        Raises:
            RunExists: The run exists.
        """
        wanted = {run_id(job_id): job_id}
        with self._apis.lent():
            if (there := self._there(named)) is not None:  # creating it again would set its state to running
                raise _exists(self._state(there, wanted))
            claim = {JOB_ID: job_id}
            created = create_run(self._apis.get(), self._path, named, claim)
            self._require_planned(created, named)
            if created.is_new:
                return
            # Either another process has created the run and is about to write it, or this process has, but W&B's
            # answer was lost and the request repeated. If the config does not change, it was this process.
            for pause in PAUSES:
                time.sleep(pause)
                if (there := self._there(named)) is not None and there.config != claim:
                    raise _exists(self._state(there, wanted))

    def _discard(self, run_id: RunId) -> None:
        """Delete a run that was just created and holds nothing."""
        with suppress(FtSyncError), self._apis.lent(), translated(f"the run {run_id}"):
            self._run(run_id).delete()

    def _require_planned(self, created: CreatedRun, run_id: RunId) -> None:
        """Refuse a run that W&B has created in another place than the planned one, and remove it.

        Raises:
            ConfigError: Naming what differs.
        """
        place = self._apis.place
        wanted = {"id": run_id, "project": place.project, "entity": place.entity}
        found = {"id": created.run_id, "project": created.project, "entity": created.entity}
        for name, value in wanted.items():
            if found[name] != value:
                if created.is_new:
                    delete_run(self._apis.get(), created)
                raise elsewhere(name, value, found[name])

    def _there(self, run_id: RunId) -> Run | None:
        """Return a run, asking for this run alone; None if there is no such run."""
        self._apis.get().flush()  # otherwise the API object may answer from its cache
        return _if_there(lambda: self._run(run_id))

    def delete(self, run: RunState) -> None:
        """Delete the run; its artifacts stay, since other runs may use them."""
        with translated(f"the replaced run {run.run_id}"):
            self._run(run.run_id).delete()

    def keep(self, run: RunState) -> None:
        """Tag the run as replaced."""
        with translated(f"the replaced run {run.run_id}"):
            there = self._run(run.run_id)
            there.tags.append(REPLACED_TAG)
            there.update()

    def link(self, job: Job, collection: str, aliases: Collection[str]) -> None:
        """Link the job's model artifact to a collection of the registry.

        Raises:
            NotFound: W&B has no model artifact of the job.
        """
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
        """Move `latest` to the newest job's model artifact, unless it points to a newer one; succeeded jobs first."""
        best = max((job.status == SUCCEEDED, *job.newness) for job in jobs)
        with translated("the alias `latest`"):
            for model in self._models:
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
        """Return the id of the model artifact that `latest` should point to; None if there is no model artifact."""
        newest = self._newest.get(self._model, lambda: self._newest_of(kind, self._model))
        return newest.id if newest else None

    def _newest_of(self, kind: str, model: str) -> wandb.Artifact | None:
        """Return the model artifact of the newest job, preferring jobs that succeeded; None if there is none.

        The versions on the server decide, since another process may be writing and an earlier one may have been
        interrupted.
        """
        versions = self._apis.get().artifacts(kind, f"{self._path}/{model}", per_page=100)
        return max((one for one in versions if one.aliases), key=_rank, default=None)

    def _state(self, run: Run, wanted: Mapping[RunId, JobId]) -> RunState:
        config, summary = run.config, run.summary_metrics
        ours = config.get(JOB_ID)
        if run.state != "running":
            forget_lock(self._placed, run.id)
        named = wanted.get(first_of(RunId(run.id)), JobId(run.id))
        job_id = JobId(ours) if isinstance(ours, str) and ours in wanted.values() else named
        return RunState(
            run_id=RunId(run.id),
            job_id=job_id,
            origin=_origin(run, written_by_us=ours == job_id or MARK in summary),
            state=run.state,
            status=summary.get("status"),
            mark=mark_from(summary.get(MARK)),
            rows=run.historyLineCount,
            url=run.url,
            being_written=run.state == "running" and is_being_written(self._placed, run.id, run.heartbeat_at),
            is_replaced=REPLACED_TAG in (run.tags or ()),
        )

    @property
    def _model(self) -> str:
        return artifact_name(self._options.model_artifact_name)

    @property
    def _models(self) -> tuple[str, ...]:
        return (self._model, *map(artifact_name, self._options.model_artifact_copies))

    def _find(self, file: TrainingFile) -> Held | None:
        """Return the dataset of a training or validation file; None unless it is as this ftsync would write it."""
        artifact = self._artifact(f"{dataset_name(file)}:{alias(file.id)}")
        summary = summary_of(artifact.metadata, self._options.table_rows) if artifact else None
        if artifact is None or summary is None:
            return None
        size = size_of(artifact.metadata)
        if size not in {None, artifact.size}:
            self._renewing.setdefault(dataset_name(file), frozenset())  # otherwise W&B would reuse this version
            return None
        return self._held.get(dataset_name(file), lambda: Held(artifact, summary, size))

    def _artifact(self, name: str) -> wandb.Artifact | None:
        """Return an artifact by `NAME:ALIAS`; None if W&B answers that there is none."""
        with self._apis.lent(), translated(f"the artifact {name}"):
            return _if_there(lambda: self._apis.get().artifact(f"{self._path}/{name}"))

    def _drop_files(self, run_id: RunId, but: Collection[str]) -> None:
        """Delete the run's files except `but`: an earlier sync saved them, and they are obsolete now."""
        with self._apis.lent(), translated(f"the files of the run {run_id}"):
            for file in run_files(self._run(run_id)):
                if file.name not in but:
                    file.delete()

    def _run(self, named: RunId) -> Run:
        run = self._apis.get().run(f"{self._path}/{named}")
        remove_folder(run)
        return run

    @property
    def _path(self) -> str:
        return self._apis.place.path

    @property
    def _placed(self) -> RunOptions:
        """The options with the place as W&B spells it."""
        place = self._apis.place
        return replace(self._options, entity=place.entity, project=place.project)

    def _runs(self, wanted: Mapping[RunId, JobId]) -> Iterator[Run]:
        api = self._apis.new(PATIENCE_IN_BULK)
        named = [{"name": {"$in": sorted(wanted)}}, {f"config.{JOB_ID}": {"$in": sorted(wanted.values())}}]
        with translated(f"the runs of {self._path}"):
            runs = api.runs(self._path, filters={"$or": named}, per_page=RUNS_A_PAGE, lazy=False)
            for run in runs if project_exists(runs) else ():
                remove_folder(run)
                yield run


def _moved_tables(summary: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    """Return the references to tables in an artifact of a run's summary, with a new artifact in place of the old."""
    shown = {key: summary[key] for key in TABLES if isinstance(summary.get(key), dict)}
    paths = {key: str(table.get("artifact_path")) for key, table in shown.items()}
    return {
        key: {**table, "artifact_path": new + paths[key].removeprefix(old)}
        for key, table in shown.items()
        if paths[key].startswith(f"{old}/")
    }


def _exists(run: RunState) -> RunExists:
    return RunExists(f"the run {run.run_id} is there already", hint="run the same command again", run=run)


def _if_there(ask: Callable[[], _Answer]) -> _Answer | None:
    """Return the result of `ask`; None if W&B answers that the object does not exist."""
    try:
        return ask()
    except wandb.errors.CommError as error:
        if isinstance(error.exc, ValueError):
            return None
        raise


def _batched(job_ids: Collection[JobId]) -> Iterator[dict[RunId, JobId]]:
    """Yield batches of at most 200 jobs, each by the id of the job's first run."""
    ids = list(job_ids)
    return ({run_id(job_id): job_id for job_id in some} for some in _parts(ids, JOBS_A_QUERY))


def _parts(ids: Sequence[_Id], size: int) -> Iterator[Sequence[_Id]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))


def project_exists(runs: Runs) -> bool:
    """Read the first page of runs and return whether the project exists: a missing project is not an error."""
    try:
        len(runs)
    except ValueError:
        answer = runs.last_response
        if answer is None or answer.get("project") is not None:
            raise
        return False
    return True


def _is_beginning(lines: Sequence[str], log: Collection[str]) -> bool:
    """Whether the lines are the first ones of the log: otherwise W&B would keep the other lines."""
    return len(lines) <= len(log) and all(
        line.rstrip() == wanted.rstrip() for line, wanted in zip(lines, log, strict=False)
    )


def _has_keys_of(config: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Whether `config` has all keys of `there`, at any depth: W&B would keep the other keys."""
    return all(
        key in config
        and (not (isinstance(value, dict) and isinstance(config[key], dict)) or _has_keys_of(config[key], value))
        for key, value in there.items()
    )


def _rank(artifact: wandb.Artifact) -> _Rank:
    """Return a sort key for model artifacts: those of succeeded jobs rank above others, then newer jobs above older."""
    content = artifact.metadata
    return (content.get("status", SUCCEEDED) == SUCCEEDED, *newness(content, content.get("job_id")))


def _origin(run: Run, *, written_by_us: bool) -> Origin:
    if any(tag.startswith(NATIVE_TAG) for tag in run.tags or ()):
        return Origin.NATIVE  # also if ftsync has enriched it
    is_blank = not (run.config or run.job_type or run.tags or run.historyLineCount)
    if written_by_us or is_blank:  # a run is blank if its sync was interrupted right after creating it
        return Origin.FTSYNC
    if run.job_type == JOB_TYPE:
        return Origin.WANDB_LOGGER
    return Origin.OTHER
