"""Compares what a run in W&B holds with what it should hold, item by item; pure.

What users add to a run is not a difference: tags, summary keys, notes, aliases, a name, a job type. But everything that
ftsync wrote must still be there unchanged, and the config says of a job what the service says, no more.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ft_sync.convert import STATUS_KEYS, model_content
from ft_sync.models import Skipped
from ft_sync.names import (
    CHECKPOINTS,
    DATASET_TYPES,
    EVENTS,
    JOB_FILE,
    MODEL_FILE,
    alias,
    dataset_name,
    table_file,
    table_key,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from ft_sync.datasets import DatasetSummary
    from ft_sync.errors import FtSyncError
    from ft_sync.models import JobId, JsonObject, MetricRow, RunId, RunRecord, TrainingFile

LATEST = "model alias latest"
"""The only item that can be repaired without rewriting the run."""

ROWS_NAMED = 5
"""Maximum number of differing rows that are listed one by one."""

NO_BYTES = "no bytes: the storage does not have the file that W&B lists"
"""What is found of a file whose bytes are gone, or never came."""

BY_WANDB_LOGGER = "was written by wandb's WandbLogger; `ftsync resync` rewrites it"

COUNTS = frozenset({"n_train", "n_valid"})
"""The keys that datasets add to a run's config."""

Stored: TypeAlias = "Digest | str"
"""The digest of stored bytes; or why there are none."""


@dataclass(frozen=True, slots=True)
class Digest:
    """A file's size in bytes and its MD5 in base64, as W&B describes files.

    Without an MD5, the file was too large to be read to its end, and has at least `size` bytes.
    """

    size: int
    md5: str

    def __str__(self) -> str:
        return f"{self.size} bytes, MD5 {self.md5}" if self.md5 else f"{self.size} bytes or more"


@dataclass(frozen=True, slots=True)
class HeldDataset:
    """A version of a dataset artifact.

    Attributes:
        files: What is stored, by path.
        table_rows: Number of rows in the stored table; None if that cannot be read.
        listed: What W&B says that it holds, by path.
        was_read: The stored bytes were read; otherwise `files` are what W&B says.
    """

    name: str
    type: str
    aliases: tuple[str, ...]
    files: Mapping[str, Stored]
    table_rows: int | None
    listed: Mapping[str, Digest] = field(default_factory=dict)
    was_read: bool = True


@dataclass(frozen=True, slots=True)
class HeldModel:
    """A version of the model artifact.

    Attributes:
        content: The content of `model_metadata.json`; None if it cannot be read.
        is_newest: This is the model of the newest job among all models in W&B.
        listed: What W&B says of that file; None if it does not list it.
        stored: What is stored of it.
    """

    aliases: tuple[str, ...]
    content: JsonObject | None
    is_newest: bool
    listed: Digest | None = None
    stored: Stored | None = None


@dataclass(frozen=True, slots=True)
class HeldRun:
    """What a run in W&B holds, read back.

    Attributes:
        files: What is stored of the files that ftsync saved in the run, by path.
        log: The lines of the console log; None if this W&B server is too old to return it.
        datasets: The dataset artifacts among the run's inputs.
        model: The model artifact among the run's outputs.
    """

    run_id: RunId
    state: str
    config: JsonObject = field(default_factory=dict)
    summary: JsonObject = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    notes: str = ""
    rows: tuple[MetricRow, ...] = ()
    files: Mapping[str, Stored] = field(default_factory=dict)
    log: tuple[str, ...] | None = ()
    datasets: tuple[HeldDataset, ...] = ()
    model: HeldModel | None = None

    def dataset(self, file: TrainingFile) -> HeldDataset | None:
        """Return the artifact that holds the file; of several versions, the one with the file's alias."""
        named = [held for held in self.datasets if held.name == dataset_name(file)]
        return max(named, key=lambda held: alias(file.id) in held.aliases, default=None)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A training or validation file as the source gives it, and the table made from it."""

    content: Digest
    table: Digest
    summary: DatasetSummary


@dataclass(frozen=True, slots=True)
class Expected:
    """What the run of a job should hold.

    Attributes:
        datasets: The run's inputs; None for a file that W&B holds but the source no longer gives.
        digests: Digests of the record's files, by path.
        is_native: The run was logged by OpenAI's own integration and only enriched by ftsync.
        given: The config that the user gives to every run; a value of None stands for any.
    """

    record: RunRecord
    datasets: tuple[tuple[TrainingFile, Dataset | None], ...]
    digests: Mapping[str, Digest]
    is_native: bool = False
    given: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """One item that is not as it should be; None stands for an item that is absent."""

    item: str
    expected: Any
    found: Any


@dataclass(frozen=True, slots=True)
class Identical:
    """The run holds all that it should."""

    job_id: JobId
    run_id: RunId
    url: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Differs:
    """The run does not hold what it should.

    Attributes:
        lost: What the run holds and the source no longer gives, see `lost`.
        stale: Training and validation files whose artifacts in W&B differ from the files.
        beyond_repair: Items that only W&B holds, damaged.
        reason: Why the run differs as a whole; None if the differences are to be read one by one.
    """

    job_id: JobId
    run_id: RunId
    differences: tuple[Difference, ...]
    url: str | None = None
    notes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    stale: tuple[TrainingFile, ...] = ()
    beyond_repair: tuple[str, ...] = ()
    reason: str | None = None

    @property
    def is_repairable(self) -> bool:
        """Whether writing the job again makes something better and nothing worse."""
        return not self.lost and any(one.item not in self.beyond_repair for one in self.differences)

    @property
    def is_to_be_written(self) -> bool:
        """Whether repairing the differences requires rewriting the run."""
        return any(one.item != LATEST for one in self.differences)


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no run of the job."""

    job_id: JobId
    reason: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """One of the two sides could not be read, so they could not be compared."""

    job_id: JobId
    side: Literal["source", "W&B"]
    error: FtSyncError


Verdict: TypeAlias = Identical | Differs | Missing | Unreadable | Skipped


@dataclass(frozen=True, slots=True)
class Verification:
    """The verdict on every selected job, in the order of the selection."""

    verdicts: tuple[Verdict, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Number of verdicts by kind; kinds without a verdict are left out."""
        return dict(Counter(type(verdict).__name__.lower() for verdict in self.verdicts))

    @property
    def is_identical(self) -> bool:
        """Whether W&B holds everything that it should of every job that a sync would write."""
        return all(isinstance(verdict, Identical | Skipped) for verdict in self.verdicts)


def differences(expected: Expected, held: HeldRun) -> tuple[Difference, ...]:
    """Compare a run with what it should hold; differences are in the order of the run's page in W&B."""
    return tuple(Difference(item, wanted, found) for item, wanted, found in _items(expected, held) if wanted != found)


def stale(expected: Expected, held: HeldRun) -> tuple[TrainingFile, ...]:
    """Return the training and validation files whose artifacts in W&B differ from the files."""
    return tuple(
        file
        for file, dataset in expected.datasets
        if dataset and any(wanted != found for _, wanted, found in _dataset(file, dataset, held))
    )


def beyond_repair(expected: Expected, held: HeldRun) -> tuple[str, ...]:
    """Name the files that are damaged in W&B and that the source no longer gives."""
    return tuple(
        item
        for file, dataset in expected.datasets
        if dataset is None and (artifact := held.dataset(file))
        for item, wanted, found in _damage(file, artifact)
        if wanted != found
    )


def unread(held: HeldRun) -> bool:
    """Whether the stored bytes of the run's datasets were left unread."""
    return any(not dataset.was_read for dataset in held.datasets)


def lost(expected: Expected, held: HeldRun) -> tuple[str, ...]:
    """Name what W&B holds of the job and the source no longer gives: rewriting the run would lose it.

    Evidence are the saved files and the console log, which has one line per event. Rows at steps that the source does
    not have count only if there are too many rows, or the source gives less of a file with metrics, or the run has no
    files; with identical files such rows never came from the source.
    """
    record = expected.record
    # The same bytes may have another name: a file is called `content` if its description could not be fetched.
    given = set(expected.digests.values())
    gone = sorted(
        path for path in held.files.keys() - expected.digests.keys() if held.files[path] not in {*given, NO_BYTES}
    )
    other = {path for path, digest in held.files.items() if expected.digests.get(path, digest) != digest}
    if EVENTS in other and not expected.is_native and (fewer := len(held.log or ()) - len(record.log)) > 0:
        gone.append(f"{fewer} events")
    if CHECKPOINTS in other and held.model:
        fewer = len((held.model.content or {}).get("checkpoints") or ()) - len(_checkpoints(record))
        gone += [f"{fewer} checkpoints"] if fewer > 0 else []
    if held.model and record.model_metadata is None:
        gone.append("the model")
    kept, offered = _with_metrics(held.files), _with_metrics(expected.digests)
    gives_less = any(
        one not in given and (path not in offered or one.size > offered[path].size) for path, one in kept.items()
    )
    has_more = len(held.rows) > len(record.rows) and kept != offered
    if not expected.is_native and (has_more or gives_less or not held.files):
        # Another program may have written the run with other metric names, so compare the steps.
        steps = {row.step for row in held.rows} - {row.step for row in record.rows}
        gone += [f"the metrics of {len(steps)} steps"] if steps else []
    return tuple(gone)


def _with_metrics(files: Mapping[str, Stored]) -> dict[str, Digest]:
    """Return the files that may tell metrics, as far as they are stored: all but the job itself."""
    return {path: one for path, one in files.items() if isinstance(one, Digest) and path != JOB_FILE}


def _items(expected: Expected, held: HeldRun) -> Iterator[tuple[str, Any, Any]]:
    """Yield (item, expected, found) for each item of the run."""
    record, is_native = expected.record, expected.is_native
    yield "state", "finished" if record.failure is None else "failed", held.state
    for tag in record.tags:
        yield f"tag {tag}", tag, tag if tag in held.tags else None
    for note in filter(None, (record.failure, *record.notes)):
        yield "notes", note, note if note in held.notes else held.notes or None
    yield from _config(expected, held)
    for key, value in record.summary.items():
        if not is_native or key in STATUS_KEYS:  # other keys may be the native integration's own
            yield f"summary.{key}", value, held.summary.get(key)
    yield from _mark(expected, held)
    if not is_native:
        yield from _rows(record.rows, held.rows)
    for path in sorted(expected.digests.keys() | held.files.keys()):
        yield f"file {path}", expected.digests.get(path), held.files.get(path)
    yield from _log(expected, held)
    for file, dataset in expected.datasets:
        yield from _dataset(file, dataset, held)
    yield from _model(expected, held)


def _config(expected: Expected, held: HeldRun) -> Iterator[tuple[str, Any, Any]]:
    """Yield the keys of the config, also those that the job does not have.

    A run that others wrote first keeps the keys that it already had, at any depth.
    """
    wanted = {**expected.given, **expected.record.config}
    found = {key: value for key, value in held.config.items() if key not in COUNTS}
    for key in [key for key, value in wanted.items() if value is None]:
        wanted[key] = found.get(key)
    yield from _keys("config", wanted, found, with_others=not expected.is_native)


def _keys(
    item: str, wanted: Mapping[str, Any], found: Mapping[str, Any], *, with_others: bool
) -> Iterator[tuple[str, Any, Any]]:
    for key in dict.fromkeys((*wanted, *sorted(found)) if with_others else wanted):
        value, there = wanted.get(key), found.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            yield from _keys(f"{item}.{key}", value, there, with_others=with_others)
        else:
            yield f"{item}.{key}", value, there


def _mark(expected: Expected, held: HeldRun) -> Iterator[tuple[str, Any, Any]]:
    record = expected.record
    mark = held.summary.get("ftsync")
    found = {key: mark.get(key) for key in ("digest", "rows")} if isinstance(mark, dict) else None
    rows: object = len(record.rows)
    if expected.is_native:  # the history's length when the run was enriched
        rows = found["rows"] if found else len(held.rows)
    yield "mark", {"digest": record.digest, "rows": rows}, found


def _rows(wanted: Collection[MetricRow], found: Collection[MetricRow]) -> Iterator[tuple[str, Any, Any]]:
    """Yield the rows that differ, listing the first ones one by one; a repeated step counts as an extra row."""
    numbered = [dict(_numbered(rows)) for rows in (wanted, found)]
    steps = sorted(numbered[0].keys() | numbered[1].keys())
    differing = [(step, *pair) for step in steps if differ(*(pair := (numbered[0].get(step), numbered[1].get(step))))]
    for (step, _), row, other in differing[:ROWS_NAMED]:
        if row is None or other is None:
            yield f"row {step}", row and dict(row.metrics), other and dict(other.metrics)
            continue
        for name in sorted(row.metrics.keys() | other.metrics.keys()):
            yield f"row {step}: {name}", row.metrics.get(name), other.metrics.get(name)
        if row.time is not None:
            yield f"row {step}: time", row.time, other.time
    if more := len(differing[ROWS_NAMED:]):
        yield "rows", f"{len(wanted)} rows", f"{len(found)} rows, {more} more of them differ"


def _numbered(rows: Iterable[MetricRow]) -> Iterator[tuple[tuple[int, int], MetricRow]]:
    """Yield each row under its step and how often that step was there before."""
    seen: Counter[int] = Counter()
    for row in rows:
        yield (row.step, seen[row.step]), row
        seen[row.step] += 1


def differ(row: MetricRow | None, other: MetricRow | None) -> bool:
    """Whether two rows differ; if `row` has no time, W&B has set its own, which is ignored."""
    if row is None or other is None:
        return True
    return row.step != other.step or dict(row.metrics) != dict(other.metrics) or row.time not in {None, other.time}


def _log(expected: Expected, held: HeldRun) -> Iterator[tuple[str, Any, Any]]:
    if held.log is None:
        return
    wanted = [line.rstrip() for line in expected.record.log]
    found = [line.rstrip() for line in held.log]
    if expected.is_native:
        missing = Counter(wanted) - Counter(found)
        yield "console log", None, f"{missing.total()} of {len(wanted)} lines are missing" if missing else None
        return
    if len(wanted) != len(found):
        yield "console log", f"{len(wanted)} lines", f"{len(found)} lines"
        return
    yield from (
        (f"console log, line {number}", *pair) for number, pair in enumerate(zip(wanted, found, strict=True), 1)
    )


def _dataset(file: TrainingFile, dataset: Dataset | None, held: HeldRun) -> Iterator[tuple[str, Any, Any]]:
    what, artifact = f"{file.split} dataset", held.dataset(file)
    yield f"{what}: artifact", dataset_name(file), artifact and artifact.name
    if artifact is None:
        return
    yield f"{what}: type", DATASET_TYPES[file.split], artifact.type
    named = alias(file.id)
    yield f"{what}: alias", named, named if named in artifact.aliases else ", ".join(artifact.aliases) or None
    if dataset is None:
        yield from _damage(file, artifact)
        return
    table = table_file(file.split)
    files = {name: stored for name, stored in artifact.files.items() if name != table}
    if len(files) == 1:
        ((name, stored),) = files.items()
        yield f"{what}: file {name}", dataset.content, stored
    else:
        yield f"{what}: file", [dataset.content], list(files.values())
    if artifact.table_rows in {None, dataset.summary.rows}:
        yield f"{what}: file {table}", dataset.table, artifact.files.get(table)
    else:
        yield f"{what}: rows of {table}", dataset.summary.rows, artifact.table_rows
    yield f"config.n_{file.split}", dataset.summary.examples, held.config.get(f"n_{file.split}")
    shown = held.summary.get(table_key(file.split))
    rows = shown.get("nrows") if isinstance(shown, dict) else None
    yield f"summary.{table_key(file.split)}", dataset.summary.rows, rows


def _damage(file: TrainingFile, artifact: HeldDataset) -> Iterator[tuple[str, Any, Any]]:
    """Yield the files of an artifact as they were uploaded and as they are stored."""
    if not artifact.listed:
        yield f"{file.split} dataset: file", "a file", None
    for name in dict.fromkeys((*artifact.listed, *artifact.files)):
        yield f"{file.split} dataset: file {name}", artifact.listed.get(name), artifact.files.get(name)


def _model(expected: Expected, held: HeldRun) -> Iterator[tuple[str, Any, Any]]:
    record, model = expected.record, held.model
    if record.model_metadata is None or model is None:
        yield "model artifact", record.model_metadata and "is there", model and "is there"
        return
    if model.content is None:
        yield MODEL_FILE, "a JSON object", str(model.stored) if model.stored else None
    else:
        yield MODEL_FILE, model.listed, model.stored
        content = model_content(record.model_metadata, held.run_id, [file for file, _ in expected.datasets])
        for key in dict.fromkeys((*content, *model.content)):
            yield f"{MODEL_FILE}: {key}", content.get(key), model.content.get(key)
    named = alias(record.job_id)
    yield f"model alias {named}", named, named if named in model.aliases else None
    if model.is_newest:
        yield LATEST, "latest", "latest" if "latest" in model.aliases else None


def _checkpoints(record: RunRecord) -> Sequence[Any]:
    found: Sequence[Any] = (record.model_metadata or {}).get("checkpoints") or ()
    return found
