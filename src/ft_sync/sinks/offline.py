"""A `RunSink` that writes offline run folders to `./wandb`, for `wandb sync`; reads them with W&B's own reader."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wandb.util import get_core_path

from ft_sync import content
from ft_sync.content import STATE, RunContent
from ft_sync.errors import ConfigError, SinkRejected, unusable
from ft_sync.models import UNREADABLE, Destination, Origin, RunId, RunState
from ft_sync.names import first_of, run_id
from ft_sync.once import Once
from ft_sync.sinks.locks import LOCK, is_locked, run_folder
from ft_sync.sinks.run import opened
from ft_sync.sinks.wandb import RunOptions, mark_from

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from ft_sync.compare import HeldRun
    from ft_sync.content import Item
    from ft_sync.models import Job, JobId, RunRecord, TrainingFile, Write
    from ft_sync.sinks.run import WandbRun

LOG = re.compile(r"run-(?P<run_id>.+)\.wandb")
"""The log file, whose name holds the run id; the folder's name may end in -1 if two runs began in the same second."""


class OfflineSink:
    """A `RunSink` in a folder.

    It refuses what requires a server: links, and keeping replaced runs. A run cannot be resumed either.
    """

    def __init__(self, options: RunOptions) -> None:
        self._options = options
        self._folder = run_folder(options)
        _require_writable(self._folder)

    @property
    def can_go_on(self) -> bool:
        """False: an offline run cannot be resumed, only rewritten."""
        return False

    def destination(self) -> Destination:
        """Return the folder, and the project that the runs will be uploaded to."""
        options = self._options
        return Destination(options.project, options.entity, folder=str(self._folder), ignored=options.ignored)

    def states(self, job_ids: Collection[JobId]) -> Mapping[JobId, tuple[RunState, ...]]:
        """Return the offline runs of each job in the folder."""
        wanted = {run_id(job_id): job_id for job_id in job_ids}
        found: dict[JobId, list[RunState]] = defaultdict(list)
        for state in self._states(wanted):
            found[state.job_id].append(state)
        return {job_id: tuple(states) for job_id, states in found.items()}

    def stored(self, run_ids: Collection[RunId], *, singly: bool = False) -> Mapping[RunId, RunContent]:
        """Return what the offline runs hold: all that W&B's reader returns of a run."""
        del singly
        found: dict[RunId, RunContent] = {}
        for folder in sorted(self._folder.glob("offline-run-*")):
            named = _run_id_in(folder)
            held = _inspect(folder) if named in run_ids else None
            if named is not None and held is not None:
                found[named] = _content(held)
        return found

    def reject(self, run_id: RunId, job_id: JobId) -> None:
        """Do nothing: an offline run cannot be changed."""

    def held_rows(self, run: RunState, record: RunRecord, inputs: Collection[TrainingFile]) -> None:
        """Return None: an offline run cannot be resumed, only rewritten."""

    def dataset(self, file: TrainingFile) -> None:
        """Return None: without a server, every file must be downloaded."""

    def described(self, file: TrainingFile) -> None:
        """Return None: without a server, no description is stored."""

    def renew(self, file: TrainingFile, rewritten: Collection[RunId]) -> None:
        """Do nothing: an offline run always contains its files."""

    def renewed(self, file: TrainingFile) -> tuple[str, ...]:
        """Return nothing: no other run is affected."""
        del file
        return ()

    def read_back(self, run: RunState, *, content: bool = True) -> HeldRun:
        """Refuse: W&B does not hold the run before it is uploaded."""
        del content
        raise ConfigError(
            f"{run.run_id} is an offline run: W&B does not hold it yet",
            hint="upload it with `wandb sync`, then run `FTSYNC_MODE=online ftsync verify`",
        )

    def open(self, plan: Write, record: RunRecord) -> AbstractContextManager[WandbRun]:
        """Open a run in a folder of its own."""
        return opened(plan, record, self._options, Once())

    def delete(self, run: RunState) -> None:
        """Remove a run folder; refuse if it has been uploaded, because the server would still hold the run."""
        assert run.url is not None, "an offline run has a folder"
        folder = Path(run.url)
        if any(folder.glob("*.synced")):
            raise SinkRejected(
                f"{run.run_id} has already been uploaded",
                hint=f"delete the run {run.run_id} in W&B, then {folder}",
            )
        shutil.rmtree(folder)

    def keep(self, run: RunState) -> None:
        """Refuse: the replaced run would be uploaded like any other."""
        raise SinkRejected(f"{run.run_id} cannot be kept offline", hint="leave out --keep-replaced")

    def link(self, job: Job, collection: str, aliases: Collection[str]) -> None:
        """Refuse: there is no registry offline."""
        del collection, aliases
        raise SinkRejected(f"{job.id} cannot be linked offline", hint="`wandb sync` the runs, then link them")

    def point_latest(self, jobs: Iterable[Job]) -> None:
        """Do nothing: the server moves `latest` at each upload, so only an online sync can set it right."""

    def _states(self, wanted: Mapping[RunId, JobId]) -> Iterator[RunState]:
        for folder in sorted(self._folder.glob("offline-run-*")):
            named = _run_id_in(folder)
            job_id = wanted.get(first_of(named)) if named is not None else None
            if named is None or job_id is None:
                continue
            held = _inspect(folder)
            if held is None:
                yield RunState(named, job_id, Origin.OTHER, UNREADABLE, url=str(folder))
                continue
            if held.get("project") != self._options.project or (held.get("entity") or None) != self._options.entity:
                continue
            summary: Mapping[str, Any] = held.get("summary") or {}
            yield RunState(
                run_id=named,
                job_id=job_id,
                origin=_origin(held),
                state=str(held.get("state")),
                status=summary.get("status"),
                mark=mark_from(summary.get("ftsync")),
                url=str(folder),
                being_written=(folder / LOCK).exists() and is_locked(folder / LOCK),
            )


def _run_id_in(folder: Path) -> RunId | None:
    """Return the id of the run in a run folder; None if nothing was written there."""
    logs = (LOG.fullmatch(log.name) for log in folder.glob("run-*.wandb"))
    named = next(filter(None, logs), None)
    return RunId(named["run_id"]) if named else None


def _content(held: Mapping[str, Any]) -> RunContent:
    items: dict[str, Item] = {STATE: str(held.get("state"))}
    items |= content.values("config", held.get("config") or {})
    items |= content.values("summary", held.get("summary") or {})
    items |= content.tagged(held.get("tags") or ())
    items |= content.texts(name=held.get("name"), notes=held.get("notes"))
    return RunContent(items)


def _origin(held: Mapping[str, Any]) -> Origin:
    return Origin.FTSYNC if "fine_tune_job_id" in (held.get("config") or {}) else Origin.OTHER


def _inspect(folder: Path) -> dict[str, Any] | None:
    """Read a run folder with W&B's own reader; None if it is damaged, empty if nothing was written."""
    log = next(folder.glob("run-*.wandb"), None)
    if log is None:
        return {}  # the writer was killed before it wrote anything
    # The binary behind `wandb leet inspect`, called directly because that command takes most of a second to import.
    inspect = [get_core_path(), "leet", "inspect", "--no-observability", "--summary", "--json"]
    command = [*inspect, "--run-file", str(log), str(folder.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
    try:
        held = json.loads(done.stdout)
    except json.JSONDecodeError:
        return None
    return held if isinstance(held, dict) else {}


def _require_writable(folder: Path) -> None:
    # Otherwise wandb would silently fall back to a temporary folder, where nobody looks for runs.
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unusable(folder, error, hint="go to a writable folder or use --init dir=FOLDER") from error
