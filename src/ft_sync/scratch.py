"""A folder for what a command needs on disk meanwhile: for its user alone, gone afterwards, also after a kill."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "ftsync-"

LOCK = "ftsync.lock"
"""In each folder: held by the process that uses it, and free once that has ended, however it did."""


@contextmanager
def folder() -> Iterator[Path]:
    """Give an empty folder that only this user can enter; first remove what killed processes of this user left."""
    remove_leftovers()
    path, lock = _made()
    try:
        yield path
    finally:
        lock.release()  # before the folder goes: not every system removes an open file
        shutil.rmtree(path, ignore_errors=True)


def private(path: str, flags: int) -> int:
    """Open a file that nobody else can read, whatever the umask says; an opener for `open`."""
    return os.open(path, flags, 0o600)


def remove_leftovers() -> None:
    """Remove the folders whose process has gone; one that somebody else could have made or filled stays."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout):
            if _is_ours(path):
                with FileLock(path / LOCK).acquire(blocking=False):
                    # What is in use is locked; a link inside is removed, not followed.
                    shutil.rmtree(path, ignore_errors=True)
                shutil.rmtree(path, ignore_errors=True)  # the lock itself, where an open file cannot be removed


def _made() -> tuple[Path, FileLock]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = FileLock(path / LOCK, thread_local=False)
        with suppress(Timeout):  # between its making and its locking it looked like a leftover to another process
            lock.acquire(blocking=False)
            if (path / LOCK).exists():
                return path, lock


def _is_ours(path: Path) -> bool:
    """Whether this user made it, and nobody else could put anything into it."""
    found = path.lstat()
    is_private = stat.S_ISDIR(found.st_mode) and not (os.name == "posix" and stat.S_IMODE(found.st_mode) & 0o077)
    return is_private and (os.name != "posix" or found.st_uid == os.getuid()) and (path / LOCK).is_file()
