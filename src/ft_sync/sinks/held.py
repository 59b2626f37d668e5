"""Reads a run with its files and artifacts back through W&B's public API; changes nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

from ft_sync.compare import Digest, HeldDataset, HeldModel, HeldRun
from ft_sync.errors import SinkRejected
from ft_sync.models import MetricRow, RunId
from ft_sync.names import DATASET_TYPES, FOLDER, MODEL_FILE
from ft_sync.once import Once
from ft_sync.sinks.sdk import listed_artifacts
from ft_sync.sinks.wandb import SDK_ERRORS, http_status, translate
from ft_sync.table import count_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import wandb
    from wandb.apis.public import Run
    from wandb.apis.public.files import File

    from ft_sync.compare import Stored
    from ft_sync.models import JsonObject
    from ft_sync.sinks.storage import Storage

A_PAGE = 100
"""Files or artifacts per request."""

ROWS_A_PAGE = 1_000
"""History rows per request, on average."""

NO_SUCH_QUESTION = frozenset({400, 404, 422})
"""HTTP statuses with which an older server refuses a query that it does not know."""

LARGEST_MODEL = 2**26
"""Bytes of the largest `model_metadata.json` that is read into memory."""


@dataclass(frozen=True, slots=True)
class Content:
    """The files of an artifact.

    Attributes:
        listed: What W&B lists: what the client said of the files when it uploaded them.
        stored: What is stored.
        rows: Number of rows in the stored table; None without one that can be read.
        model: Content of the stored `model_metadata.json`; None without one that can be read.
    """

    listed: Mapping[str, Digest] = field(default_factory=dict)
    stored: Mapping[str, Stored] = field(default_factory=dict)
    rows: int | None = None
    model: JsonObject | None = None

    @property
    def is_sound(self) -> bool:
        """Whether all files are stored as W&B lists them."""
        return bool(self.listed) and self.stored == self.listed


class Reader:
    """Reads runs down to the stored bytes, those of each version of an artifact once, as jobs share versions."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._contents: Once[str, Content] = Once()
        self._lists: Once[str, Mapping[str, Digest]] = Once()

    @cached_property
    def _storage(self) -> Storage:
        from ft_sync.sinks.storage import Storage  # noqa: PLC0415 - `requests` is slow to import, and few need it

        return Storage()

    def read(self, run: Run, newest_model: Callable[[str], str | None], *, content: bool = True) -> HeldRun:
        """Return what the run holds.

        Args:
            run: The run.
            newest_model: Maps an artifact type to the id of the newest job's model.
            content: Read the stored bytes of datasets, too; otherwise take W&B's word for them.
        """
        logged, used = (
            listed_artifacts(some)[0] for some in (run.logged_artifacts(A_PAGE), run.used_artifacts(A_PAGE))
        )
        models = [one for one in logged if collection(one) == self._model]
        model = max(models, key=lambda one: (bool(one.aliases), _version(one)), default=None)
        return HeldRun(
            run_id=RunId(run.id),
            state=run.state,
            config=run.config,
            summary=dict(run.summary_metrics),
            tags=tuple(run.tags or ()),
            notes=run.notes or "",
            rows=history(run),
            files={file.name: self._storage.digest(file) for file in run_files(run)},
            log=console_log(run),
            datasets=tuple(self._dataset(one, read=content) for one in used if one.type in DATASET_TYPES.values()),
            model=self._held_model(model, is_newest=model.id == newest_model(model.type)) if model else None,
        )

    def content(self, artifact: wandb.Artifact) -> Content:
        """Return the files of an artifact's version, reading their stored bytes once."""
        return self._contents.get(str(artifact.id), lambda: self._read(artifact))

    def is_in_the_way(self, version: wandb.Artifact, draft: wandb.Artifact) -> bool:
        """Whether W&B would reuse the version or one of its files for the draft, without holding its bytes."""
        wanted = {str(path): str(entry.digest) for path, entry in draft.manifest.entries.items()}
        content = self.content(version)
        stored = {name: one.md5 for name, one in content.stored.items() if isinstance(one, Digest)}
        if version.digest == draft.digest:
            return stored != wanted
        return any(one.md5 in wanted.values() and stored.get(name) != one.md5 for name, one in content.listed.items())

    def _dataset(self, artifact: wandb.Artifact, *, read: bool) -> HeldDataset:
        if read:
            content = self.content(artifact)
        else:
            listed = self._lists.get(str(artifact.id), lambda: dict(_listed(_files(artifact))))
            content = Content(listed, listed)
        return HeldDataset(
            collection(artifact),
            artifact.type,
            tuple(artifact.aliases),
            content.stored,
            content.rows,
            listed=content.listed,
            was_read=read,
        )

    def _held_model(self, artifact: wandb.Artifact, *, is_newest: bool) -> HeldModel:
        content = self.content(artifact)
        listed, stored = content.listed.get(MODEL_FILE), content.stored.get(MODEL_FILE)
        return HeldModel(tuple(artifact.aliases), content.model, is_newest, listed, stored)

    def _read(self, artifact: wandb.Artifact) -> Content:
        files = _files(artifact)
        stored: dict[str, Stored] = {}
        rows = model = None
        for file in files:
            if file.name.endswith(".table.json"):
                stored[file.name], rows = self._storage.parsed(file, count_rows)
            elif file.name == MODEL_FILE:
                stored[file.name], model = self._storage.parsed(file, _json_object)
            else:
                stored[file.name] = self._storage.digest(file)
        return Content(dict(_listed(files)), stored, rows, model)


def history(run: Run) -> tuple[MetricRow, ...]:
    """Return the whole history.

    W&B pages the history by a range of steps, not by rows. As steps may be far apart, the range is chosen so that a
    page holds `ROWS_A_PAGE` rows on average.
    """
    last = run.summary_metrics.get("_step")
    steps = int(last) + 1 if isinstance(last, int | float) else 0
    size = max(ROWS_A_PAGE, min(steps, ROWS_A_PAGE * steps // max(run.historyLineCount, 1) + 1))
    return tuple(map(_row, run.scan_history(page_size=size, use_cache=False)))


def _row(held: Mapping[str, Any]) -> MetricRow:
    metrics = {key: value for key, value in held.items() if key not in {"_step", "_timestamp", "_runtime"}}
    step = held.get("_step")
    # Every row has a step; one that lost it is still to be compared, and no row of a job is at this one.
    return MetricRow(step if isinstance(step, int) else -1, metrics, held.get("_timestamp"))


def console_log(run: Run) -> tuple[str, ...] | None:
    """Return the console log; None if the server is too old to return it."""
    try:
        return tuple(line.content for line in run.console_logs())
    except SDK_ERRORS as error:
        if http_status(error) in NO_SUCH_QUESTION:
            return None
        raise


def _files(artifact: wandb.Artifact) -> list[File]:
    """Return the files of an artifact; none if W&B answers that it cannot list them, as when their list is lost."""
    try:
        return list(artifact.files(per_page=A_PAGE))
    except SDK_ERRORS as error:
        if isinstance(translate(error, "the files of an artifact"), SinkRejected):
            return []
        raise
    except (ValueError, AttributeError):  # of the SDK, for an answer in which the files or the artifact are missing
        return []


def _listed(files: Iterable[File]) -> Iterator[tuple[str, Digest]]:
    for file in files:
        yield file.name, Digest(file.size, file.md5 or "")


def _json_object(content: IO[bytes]) -> JsonObject | None:
    try:
        parsed = json.loads(content.read(LARGEST_MODEL))
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def run_files(run: Run) -> Iterable[File]:
    """Return the files that a sync saved in the run."""
    return run.files(pattern=f"{FOLDER}/%", per_page=A_PAGE)


def collection(artifact: wandb.Artifact) -> str:
    """Return an artifact's name without its version."""
    return artifact.name.rpartition(":")[0]


def _version(artifact: wandb.Artifact) -> int:
    return int(artifact.version.removeprefix("v"))
