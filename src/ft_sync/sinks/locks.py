"""A lock file per run on this machine, to tell a run that is being written from one whose writer was killed."""

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
"""The lock file in the folder of an offline run: held while the run is written, free once its writer has ended."""

HEARTBEAT_SECONDS = 60
"""Seconds, about, between the heartbeats that W&B receives from a run that is being written."""


@contextmanager
def locked(options: RunOptions, run_id: str) -> Iterator[None]:
    """Hold the run's lock, from before the run is created in W&B until it is closed.

    The lock file stays until W&B reports that the run has ended (see `forget_lock`): W&B may learn of that late, and
    until then the free lock shows that no process here is writing the run.

    Raises:
        BeingWritten: Another process holds the lock.
    """
    path = lock_of(options, run_id)
    try:
        # Not thread-local: a followed run is opened in one thread and closed in another.
        with FileLock(path, thread_local=False).acquire(blocking=False):
            try:
                yield
            except (RunExists, IdTaken):
                path.unlink(missing_ok=True)  # the run belongs to another process
                raise
    except Timeout as error:
        raise BeingWritten(f"its run {run_id} is being written by another process right now") from error


def is_being_written(options: RunOptions, run_id: str, heartbeat: str | None) -> bool:
    """Whether a run that W&B calls running is really being written: not if its writer on this machine has ended.

    A heartbeat later than the last local write means that a process on another machine has resumed the run.
    """
    lock = lock_of(options, run_id)
    logs = run_folder(options).glob(f"*run-*/run-{glob.escape(run_id)}.wandb")
    try:
        if is_locked(lock):
            return True
        written = max([lock.stat().st_mtime, *(log.stat().st_mtime for log in logs)])
    except FileNotFoundError:  # the run is written on another machine, or has just been finished
        return True
    heard = datetime.fromisoformat(heartbeat).replace(tzinfo=UTC).timestamp() if heartbeat else 0.0
    return heard > written + HEARTBEAT_SECONDS


def forget_lock(options: RunOptions, run_id: str) -> None:
    """Remove the lock file of a run that has ended, unless a process is about to resume the run."""
    lock = lock_of(options, run_id)
    if lock.exists():
        with suppress(Timeout, OSError), FileLock(lock).acquire(blocking=False):
            lock.unlink()


def is_locked(lock: Path) -> bool:
    """Return whether a process holds the lock; the file's modification time, when it was last held, is preserved.

    Raises:
        FileNotFoundError: There is no lock file.
    """
    held_at = lock.stat()
    try:
        with FileLock(lock).acquire(blocking=False):
            os.utime(lock, ns=(held_at.st_atime_ns, held_at.st_mtime_ns))
            return False
    except Timeout:
        return True


def lock_of(options: RunOptions, run_id: str) -> Path:
    """Return the path of a run's lock: hashed, as ids may be too long for a file name and recur in other projects."""
    place = (wandb.setup().settings.base_url, options.entity or "", options.project, run_id)
    return scratch.locks() / hashlib.sha256("\n".join(place).encode()).hexdigest()


def run_folder(options: RunOptions) -> Path:
    """Return the folder in which the SDK keeps its run folders."""
    return Path(wandb.Settings(root_dir=str(options.init.get("dir") or Path.cwd())).wandb_dir)
