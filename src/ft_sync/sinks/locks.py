"""Who writes a run on this machine: a lock for each run, to tell one at work from one whose writer was killed."""

from __future__ import annotations

import glob
import hashlib
import os
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import wandb
from filelock import FileLock, Timeout

from ft_sync import scratch
from ft_sync.errors import BeingWritten, IdTaken, RunExists

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ft_sync.sinks.wandb import RunOptions

LOCK = "ftsync.lock"
"""In the folder of an offline run: held while it is written, and free when the writer was killed."""

HEARTBEAT_SECONDS = 60
"""A run that is written is heard of about this often."""


@contextmanager
def locked(options: RunOptions, run_id: str) -> Iterator[None]:
    """Hold the run's lock, from before W&B hears of the run until it is closed.

    The file stays until W&B says that the run has ended, see `forget_lock`: it may not have heard of that.

    Raises:
        BeingWritten: Another process holds it.
    """
    path = lock_of(options, run_id)
    try:
        # Not the thread's own: a run that is followed is opened in one thread and closed in another.
        with FileLock(path, thread_local=False).acquire(blocking=False):
            try:
                yield
            except (RunExists, IdTaken):
                path.unlink(missing_ok=True)  # the run is somebody else's
                raise
    except Timeout as error:
        raise BeingWritten(f"its run {run_id} is being written by another process right now") from error


def is_being_written(options: RunOptions, run_id: str, heartbeat: str | None) -> bool:
    """Whether somebody is at a run that seems to run: not if it was written here by a process that has gone.

    Unless W&B has heard of it since: a process elsewhere may have gone on with it.
    """
    lock = lock_of(options, run_id)
    logs = run_folder(options).glob(f"*run-*/run-{glob.escape(run_id)}.wandb")
    try:
        if is_locked(lock):
            return True
        written = max([lock.stat().st_mtime, *(log.stat().st_mtime for log in logs)])
    except FileNotFoundError:  # it is written elsewhere, or has just been finished
        return True
    heard = datetime.fromisoformat(heartbeat).replace(tzinfo=UTC).timestamp() if heartbeat else 0.0
    return heard > written + HEARTBEAT_SECONDS


def forget_lock(options: RunOptions, run_id: str) -> None:
    """Remove the lock of a run that has ended, unless a process is about to go on with it."""
    lock = lock_of(options, run_id)
    if lock.exists():
        with suppress(Timeout, OSError), FileLock(lock).acquire(blocking=False):
            lock.unlink()


def is_locked(lock: Path) -> bool:
    """Return whether a process holds the lock; when it was last held stays the file's time.

    Raises:
        FileNotFoundError: There is no lock.
    """
    held_at = lock.stat()
    try:
        with FileLock(lock).acquire(blocking=False):
            os.utime(lock, ns=(held_at.st_atime_ns, held_at.st_mtime_ns))
            return False
    except Timeout:
        return True


def lock_of(options: RunOptions, run_id: str) -> Path:
    """Return where the lock of a run lies; ids may be longer than the names of files, and projects share ids."""
    place = (wandb.setup().settings.base_url, options.entity or "", options.project, run_id)
    return scratch.locks() / hashlib.sha256("\n".join(place).encode()).hexdigest()


def run_folder(options: RunOptions) -> Path:
    """Return where the SDK keeps the folders of runs."""
    return Path(wandb.Settings(root_dir=str(options.init.get("dir") or Path.cwd())).wandb_dir)
