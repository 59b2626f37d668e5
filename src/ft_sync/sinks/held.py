"""Reads a run with its files and artifacts back through W&B's public API; changes nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

from ft_sync import scratch
from ft_sync.compare import Digest, HeldDataset, HeldModel, HeldRun
from ft_sync.errors import BadData
from ft_sync.models import MetricRow, RunId
from ft_sync.names import DATASET_TYPES, FOLDER, MODEL_FILE
from ft_sync.sinks.wandb import SDK_ERRORS, http_status
from ft_sync.table import count_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    import wandb
    from wandb.apis.public import Run
    from wandb.apis.public.files import File

    from ft_sync.once import Once

    Content = tuple[Mapping[str, Digest], int | None]

A_PAGE = 100
"""Files or artifacts per request."""

ROWS_A_PAGE = 1_000
"""History rows per request, on average."""

NO_SUCH_QUESTION = frozenset({400, 404, 422})
"""HTTP statuses with which an older server refuses a query that it does not know."""


class Reader:
    """Reads runs; `contents` caches dataset contents by artifact id, as jobs share versions and those never change."""

    def __init__(self, model: str, contents: Once[str, Content]) -> None:
        self._model = model
        self._contents = contents

    def read(self, run: Run, newest_model: Callable[[str], str | None]) -> HeldRun:
        """Return what the run holds; `newest_model` maps an artifact type to the id of the newest job's model."""
        logged = [one for one in run.logged_artifacts(A_PAGE) if collection(one) == self._model]
        model = max(logged, key=lambda one: (bool(one.aliases), _version(one)), default=None)
        types = set(DATASET_TYPES.values())
        return HeldRun(
            run_id=RunId(run.id),
            state=run.state,
            config=run.config,
            summary=dict(run.summary_metrics),
            tags=tuple(run.tags or ()),
            notes=run.notes or "",
            rows=history(run),
            files=dict(_digests(run_files(run))),
            log=console_log(run),
            datasets=tuple(self._dataset(one) for one in run.used_artifacts(A_PAGE) if one.type in types),
            model=HeldModel(tuple(model.aliases), _content(model), model.id == newest_model(model.type))
            if model
            else None,
        )

    def _dataset(self, artifact: wandb.Artifact) -> HeldDataset:
        files, rows = self._contents.get(str(artifact.id), lambda: _dataset_content(artifact))
        return HeldDataset(collection(artifact), artifact.type, tuple(artifact.aliases), files, rows)


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
    return MetricRow(held["_step"], metrics, held.get("_timestamp"))


def console_log(run: Run) -> tuple[str, ...] | None:
    """Return the console log; None if the server is too old to return it."""
    try:
        return tuple(line.content for line in run.console_logs())
    except SDK_ERRORS as error:
        if http_status(error) in NO_SUCH_QUESTION:
            return None
        raise


def _dataset_content(artifact: wandb.Artifact) -> Content:
    """Return the digests of an artifact's files and the number of rows in its table, None without one."""
    files = list(artifact.files(per_page=A_PAGE))
    rows = None
    for file in files:
        if file.name.endswith(".table.json"):
            with scratch.folder() as folder:
                rows = count_rows(_downloaded(file, folder))
    return dict(_digests(files)), rows


def _content(model: wandb.Artifact) -> dict[str, Any]:
    """Return the content of `model_metadata.json`; empty if it cannot be read."""
    for file in model.files([MODEL_FILE]):
        with scratch.folder() as folder:
            try:
                content = json.loads(_downloaded(file, folder).read_bytes())
            except ValueError:
                continue
            return content if isinstance(content, dict) else {}
    return {}


def _digests(files: Iterable[File]) -> Iterator[tuple[str, Digest]]:
    for file in files:
        yield file.name, Digest(file.size, file.md5 or _md5(file))


def _md5(file: File) -> str:
    """Download a file whose MD5 W&B does not know, and compute it."""
    with scratch.folder() as folder, _downloaded(file, folder).open("rb") as content:
        digest = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).digest()
    return base64.b64encode(digest).decode()


def _downloaded(file: File, folder: Path) -> Path:
    path = folder / str(file.name)
    if not path.resolve().is_relative_to(folder.resolve()):  # the SDK would write outside the folder
        raise BadData(f"a file in W&B is named {file.name!r}", hint="delete the run or artifact that holds it")
    file.download(str(folder)).close()
    return path


def run_files(run: Run) -> Iterable[File]:
    """Return the files that a sync saved in the run."""
    return run.files(pattern=f"{FOLDER}/%", per_page=A_PAGE)


def collection(artifact: wandb.Artifact) -> str:
    """Return an artifact's name without its version."""
    return artifact.name.rpartition(":")[0]


def _version(artifact: wandb.Artifact) -> int:
    return int(artifact.version.removeprefix("v"))
