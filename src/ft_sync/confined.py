"""Reads and writes below one folder, whoever prepared it: follows no link, waits for no FIFO, touches nothing outside.

Where the operating system allows it (not on Windows), paths are relative to an open directory: if the folder, or one
below it, is exchanged for a link while it is in use, nothing follows that either.
"""

from __future__ import annotations

import errno
import os
import stat
import weakref
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

IS_RELATIVE = {os.open, os.stat, os.mkdir, os.unlink, os.rename} <= os.supports_dir_fd and os.listdir in os.supports_fd
"""Whether the operating system can open, rename and remove files relative to an open directory."""

NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)

WINDOWS_LINKS = {getattr(stat, f"IO_REPARSE_TAG_{name}", None) for name in ("SYMLINK", "MOUNT_POINT")} - {None}
"""Symbolic links and junctions; a junction differs from a folder in nothing else."""

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


OPEN_TO_ALL = "any user can write to it: `chmod o-w` ends that"


class Unsafe(OSError):  # noqa: N818 - names what was found
    """What is at a path is not used: a link, a FIFO, a socket, a device, or something of another user's."""

    def __init__(self, fault: str, path: object) -> None:
        super().__init__(errno.EPERM, fault, str(path))


def opened(path: str, flags: int, dir_fd: int | None = None) -> int:
    """Open a regular file of this user's that has no other name; one that is created is readable by this user alone.

    Raises:
        Unsafe: Something else is there; it was neither changed nor waited for.
        OSError: The file cannot be opened.
    """
    with suppress(FileNotFoundError):  # looked at first, since opening a device may already do something to it
        _require(_file_fault(os.stat(path, dir_fd=dir_fd, follow_symlinks=False)), path)
    descriptor = os.open(path, flags & ~os.O_TRUNC | NO_FOLLOW | NO_WAIT, 0o600, dir_fd=dir_fd)
    try:
        _require(_file_fault(os.fstat(descriptor)), path)  # it may have been exchanged since
        if flags & os.O_TRUNC:
            os.ftruncate(descriptor, 0)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@dataclass(frozen=True, slots=True)
class Place:
    """A name in an open folder, and how to reach it."""

    path: Path
    name: str
    dir_fd: int | None

    def status(self) -> os.stat_result:
        """Return what is there, which may be a link."""
        return os.stat(self.name, dir_fd=self.dir_fd, follow_symlinks=False)

    def unlink(self) -> None:
        """Remove what is there; were it a link, the link itself."""
        os.unlink(self.name, dir_fd=self.dir_fd)


class Folder:
    """An open folder and what is below it, named by relative paths with `/`; thread-safe, apart from `names`.

    Methods raise `Unsafe` rather than follow a link, open anything but a regular file that has no other name, enter a
    folder that is on another file system, or use anything of another user's.
    """

    def __init__(self, path: Path, descriptor: int | None, found: os.stat_result) -> None:
        """Use an open directory, to be closed with this object.

        Args:
            path: The folder's path, for messages, and to reach it without a descriptor.
            descriptor: The open directory; None where the operating system has no such thing.
            found: Its status when it was opened.
        """
        self.path = path
        self._descriptor = descriptor
        self._device = found.st_dev
        self.is_open_to_all = os.name == "posix" and bool(found.st_mode & stat.S_IWOTH)
        self._closing = None if descriptor is None else weakref.finalize(self, os.close, descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._closing is not None:
            self._closing()

    @classmethod
    def at(cls, path: Path) -> Folder:
        """Open the folder that the user has named; a link to it is the user's own, so it is followed.

        Raises:
            Unsafe: The folder belongs to another user.
            OSError: There is no such folder, or it cannot be opened.
        """
        return _entered(Place(path, str(path), None), None)

    def folder(self, name: str, *, create: bool = False) -> Folder:
        """Open a folder directly below this one; with `create`, make it if it is missing."""
        place = self.place(name)
        if create:
            with suppress(FileExistsError):
                os.mkdir(place.name, 0o700, dir_fd=place.dir_fd)
        _require(_folder_fault(place.status(), self._device), place.path)
        return _entered(place, self._device)

    def place(self, name: str) -> Place:
        """Return how to reach a name in this folder."""
        path = self.path / name.replace("\0", "?")
        _require("it is no name" if name in {"", ".", ".."} or {"/", os.sep, "\0"} & {*name} else None, path)
        return Place(path, name if self._descriptor is not None else str(path), self._descriptor)

    @contextmanager
    def reach(self, path: str, *, create: bool = False) -> Iterator[Place]:
        """Open the folders that lead to a path below this one; with `create`, make those that are missing."""
        name, _, rest = path.partition("/")
        if not rest:
            yield self.place(name)
            return
        with self.folder(name, create=create) as below, below.reach(rest, create=create) as place:
            yield place

    def open(self, path: str, mode: str = "rb", buffering: int = -1) -> IO[bytes]:
        """Open a file for reading (`rb`), at its end (`ab`), or anew, in place of whatever has its name (`wb`)."""
        with self.reach(path) as place:
            if mode == "wb":
                # Not truncated but removed: it may be a link.
                with suppress(FileNotFoundError):
                    place.unlink()
                mode = "xb"
            return open(place.name, mode, buffering, opener=partial(opened, dir_fd=place.dir_fd))

    def size(self, path: str) -> int | None:
        """Return a file's size in bytes; None if there is no file that can be opened."""
        try:
            with self.reach(path) as place:
                found = place.status()
        except OSError:
            return None
        return None if _file_fault(found) else found.st_size

    def fault(self, name: str, *, is_folder: bool = False) -> str | None:
        """Return why a file, or a folder, directly below this one is not used; None if it is."""
        found = self.place(name).status()
        return _folder_fault(found, self._device) if is_folder else _file_fault(found)

    def obstacle(self, path: str) -> str | None:
        """Return why no file can be moved to a path, in place of a file or link of that name; None if one can."""
        try:
            with self.reach(path) as place:
                is_folder = stat.S_ISDIR(place.status().st_mode)
        except FileNotFoundError:
            return None
        except OSError as error:
            return error.strerror
        return "it is a folder" if is_folder else None

    def require_free(self, path: str) -> None:
        """Raise `Unsafe` if no file can be moved to a path."""
        _require(self.obstacle(path), self.path / path)

    def move(self, name: str, to: Folder, path: str) -> None:
        """Move a file of this folder to a path below another one, in place of a file or link of that name."""
        old = self.place(name)
        to.require_free(path)
        with to.reach(path, create=True) as new:
            os.replace(old.name, new.name, src_dir_fd=old.dir_fd, dst_dir_fd=new.dir_fd)

    def unlink(self, name: str) -> None:
        """Remove a file directly below this folder."""
        self.place(name).unlink()

    def names(self) -> list[str]:
        """Return the names of everything directly below this folder, sorted."""
        place = self.path if self._descriptor is None else self._descriptor
        return sorted(os.listdir(place))  # noqa: PTH208 - of a descriptor

    def walk(self, depth: int) -> Iterator[tuple[str, str | None]]:
        """Yield the path of everything down to `depth` levels, and why it is not used.

        The path of a folder that is entered ends in a slash, and comes after all that is in it.
        """
        for name in self.names():
            if depth == 1 or not stat.S_ISDIR(self.place(name).status().st_mode):
                yield name, self.fault(name)
                continue
            try:
                entered = self.folder(name)
            except OSError as error:
                yield name, f"it cannot be entered: {error.strerror}"
                continue
            with entered:
                yield from ((f"{name}/{path}", fault) for path, fault in entered.walk(depth - 1))
            yield f"{name}/", OPEN_TO_ALL if entered.is_open_to_all else None

    def path_of(self, name: str) -> Path:
        """Return a path to a file, for code that takes nothing else; on Linux it leads through the open directory."""
        place = self.place(name)
        through = Path(f"/proc/self/fd/{place.dir_fd}")
        with suppress(OSError):
            if place.dir_fd is not None and os.path.samestat(through.stat(), os.fstat(place.dir_fd)):
                return through / name
        return place.path


def _entered(place: Place, device: int | None) -> Folder:
    """Open a folder; without a device it is the one that the user has named."""
    is_named = device is None
    if not IS_RELATIVE:
        found = place.path.stat(follow_symlinks=is_named)
        _require(_folder_fault(found, device), place.path)
        return Folder(place.path, None, found)
    flags = DIRECTORY | NO_WAIT | (0 if is_named else NO_FOLLOW)
    descriptor = os.open(place.name, flags, dir_fd=place.dir_fd)
    try:
        found = os.fstat(descriptor)
        _require(_folder_fault(found, device), place.path)
    except OSError:
        os.close(descriptor)
        raise
    return Folder(place.path, descriptor, found)


def _require(fault: str | None, path: object) -> None:
    if fault is not None:
        raise Unsafe(fault, path)


def _file_fault(found: os.stat_result) -> str | None:
    """Return why this is not read or written as a file; None if nothing is against it."""
    if fault := _link_fault(found):
        return fault
    if not stat.S_ISREG(found.st_mode):
        return f"it is {KINDS.get(stat.S_IFMT(found.st_mode), 'no file')}"
    if fault := _owner_fault(found):
        return fault
    return "it is a hard link: the same file has another name" if found.st_nlink > 1 else None


def _folder_fault(found: os.stat_result, device: int | None) -> str | None:
    """Return why this is not entered as a folder; None if nothing is against it."""
    if fault := _link_fault(found):
        return fault
    if not stat.S_ISDIR(found.st_mode):
        return "it is no folder"
    if fault := _owner_fault(found):
        return fault
    return "it is on another file system" if device not in {None, found.st_dev} else None


def _owner_fault(found: os.stat_result) -> str | None:
    is_foreign = os.name == "posix" and found.st_uid != os.geteuid()
    return f"it belongs to another user (uid {found.st_uid})" if is_foreign else None


def _link_fault(found: os.stat_result) -> str | None:
    is_link = stat.S_ISLNK(found.st_mode) or getattr(found, "st_reparse_tag", None) in WINDOWS_LINKS
    return "it is a symbolic link" if is_link else None
