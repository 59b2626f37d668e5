"""Temporary folders private to the user; those that a killed process left behind are removed by the next one."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from ft_sync.confined import opened
from ft_sync.errors import ConfigError, unusable

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "ftsync-"

LOCK = "ftsync.lock"
"""The lock file in each folder: held by the process that uses the folder, free once that process has ended or died."""


ELSEWHERE = "have TMPDIR name a folder of yours"


@contextmanager
def folder() -> Iterator[Path]:
    """Yield an empty folder that only this user can enter; first remove those that the user's killed processes left."""
    remove_leftovers()
    path, lock = _made()
    try:
        yield path
    finally:
        lock.release()  # before removing the folder: Windows cannot remove an open file
        shutil.rmtree(path, ignore_errors=True)


def locks() -> Path:
    """Return the folder for this user's lock files, the same for every process on this machine."""
    return _own("locks")


def home() -> Path | None:
    """Return a substitute for the user's home folder; None if the home folder is writable."""
    own = os.environ.get("HOME") if os.name == "posix" else str(Path.home())
    with suppress(OSError):
        if own:
            with tempfile.TemporaryFile(dir=own):
                return None
    return _own("home")


def _own(purpose: str) -> Path:
    """Return a persistent folder of this user in the temporary folder, creating it if needed.

    Raises:
        ConfigError: The folder belongs to somebody else, others can enter it, or it cannot be created.
        DiskError: The disk is full, read-only or failing.
    """
    owner = f"-{os.getuid()}" if os.name == "posix" else ""
    path = Path(tempfile.gettempdir()) / f"{PREFIX}{purpose}{owner}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        is_ours = _is_private(path)
    except OSError as error:
        raise unusable(path, error, hint=ELSEWHERE, use="made") from error
    if not is_ours:
        raise ConfigError(f"{path} is not yours alone", hint=ELSEWHERE)
    return path


def private(path: str, flags: int) -> int:
    """Opener for `open` that creates files readable by this user alone, and follows no link to another file."""
    return opened(path, flags)


def remove_leftovers() -> None:
    """Remove the folders whose process has ended; keep any that another user could have created or filled."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout):
            if _is_ours(path):
                with FileLock(path / LOCK).acquire(blocking=False):
                    # A folder in use is locked; rmtree removes symbolic links without following them.
                    shutil.rmtree(path, ignore_errors=True)
                shutil.rmtree(path, ignore_errors=True)  # the lock file, where open files cannot be removed (Windows)


def _made() -> tuple[Path, FileLock]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = FileLock(path / LOCK, thread_local=False)
        with suppress(Timeout):  # before it was locked, another process may have taken the folder for a leftover
            lock.acquire(blocking=False)
            if (path / LOCK).exists():
                return path, lock


def _is_ours(path: Path) -> bool:
    """Whether `path` is a temporary folder that ftsync created for this user."""
    return _is_private(path) and (path / LOCK).is_file()


def _is_private(path: Path) -> bool:
    """Whether `path` is a folder, and on POSIX owned by this user and closed to everybody else."""
    found = path.lstat()
    if os.name != "posix":
        return stat.S_ISDIR(found.st_mode)
    return stat.S_ISDIR(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077 and found.st_uid == os.getuid()
