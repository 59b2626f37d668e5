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

from ft_sync.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "ftsync-"

LOCK = "ftsync.lock"
"""In each folder: held by the process that uses it, and free once that has ended, however it did."""


ELSEWHERE = "have TMPDIR name a folder of yours"


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


def locks() -> Path:
    """Return the folder of this user's locks, the same for every process on this machine."""
    return _own("locks")


def home() -> Path | None:
    """Return a folder of this user's to stand in for a home folder; None while there is one that can be written to."""
    own = os.environ.get("HOME") if os.name == "posix" else str(Path.home())
    with suppress(OSError):
        if own:
            with tempfile.TemporaryFile(dir=own):
                return None
    return _own("home")


def _own(purpose: str) -> Path:
    """Return a folder of this user's that stays.

    Raises:
        ConfigError: Somebody else has made it, or nobody can.
    """
    owner = f"-{os.getuid()}" if os.name == "posix" else ""
    path = Path(tempfile.gettempdir()) / f"{PREFIX}{purpose}{owner}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        is_ours = _is_private(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be made: {error.strerror}", hint=ELSEWHERE) from error
    if not is_ours:
        raise ConfigError(f"{path} is not yours alone", hint=ELSEWHERE)
    return path


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
    """Whether it is such a folder that this user made."""
    return _is_private(path) and (path / LOCK).is_file()


def _is_private(path: Path) -> bool:
    """Whether this user made the folder, and nobody else could put anything into it."""
    found = path.lstat()
    if os.name != "posix":
        return stat.S_ISDIR(found.st_mode)
    return stat.S_ISDIR(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077 and found.st_uid == os.getuid()
