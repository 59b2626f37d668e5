"""An archive folder: jobs, their events, checkpoints and files, and a manifest; knows no service.

Every file is first written to a partial folder, recorded in the manifest and then renamed into place: a command that is
killed may leave the archive incomplete, but never with a broken file. Only the user can read the archive, and nothing
outside of its folder is touched, whatever the folder contains (`confined`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import PurePosixPath
from threading import Lock
from typing import IO, TYPE_CHECKING, Literal, TypeAlias

from filelock import FileLock, Timeout

from ft_sync.confined import OPEN_TO_ALL, Folder, Unsafe
from ft_sync.errors import (
    FAILING,
    REFUSALS,
    BadData,
    ConfigError,
    DiskError,
    FtSyncError,
    NotOffered,
    Unavailable,
    in_folder,
    in_the_way,
    unusable,
)
from ft_sync.file_names import DEVICES, file_name
from ft_sync.models import Failed, JobId
from ft_sync.scratch import private
from ft_sync.spool import Many

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ft_sync.models import Download

Kind: TypeAlias = Literal["job", "events", "checkpoints", "file", "content"]
"""What an entry holds: of a job the first three, of a file its description (`file`) and its bytes (`content`)."""

FOLDERS: dict[Kind, str] = {
    "job": "jobs",
    "events": "jobs",
    "checkpoints": "jobs",
    "file": "files",
    "content": "files",
}
NAMES: dict[Kind, str] = {
    "job": "job.json",
    "events": "events.jsonl",
    "checkpoints": "checkpoints.jsonl",
    "file": "file.json",
}
REFUSED: dict[str, type[FtSyncError]] = {error.__name__: error for error in (*REFUSALS, NotOffered)}
MANIFEST = "manifest.jsonl"
RESTORE = "restore the manifest from a backup, or name another folder"
SUMS = "SHA256SUMS"
README = "README.md"
LOCK = ".lock"
PARTIAL = ".partial"
"""The folder for files that are still being written."""

PARTS = {**dict.fromkeys((MANIFEST, SUMS, README, LOCK), False), **dict.fromkeys((*FOLDERS.values(), PARTIAL), True)}
"""The names that an archive contains, and whether each is a folder."""

PATH = re.compile(r"(jobs|files)/([\w-][\w.-]*)/([\w-][\w.-]*)")
"""The paths that ftsync gives to what it stores."""

SUM = re.compile(r"[0-9a-f]{64}")

PARTIAL_NAME = re.compile(
    r"[0-9a-f]{16}(\.(job|events|checkpoints|file))?|(manifest\.jsonl|SHA256SUMS|README\.md)\.new"
)
"""The names that ftsync gives to files in the partial folder; a download to be resumed has one without a dot."""

OF_SYSTEMS = re.compile(r"\.DS_Store|\._.*|Thumbs\.db|desktop\.ini|lost\+found|\.nfs\w+")
"""What operating systems put into any folder by themselves; it is neither reported nor touched."""

CHUNK = 2**20
"""Bytes that are read at once."""

LONGEST_LINE = 8 * 2**20
"""Maximum size in bytes of a line of the manifest, which may quote an answer of 1 MiB, each byte in up to six."""

LARGEST = 64 * 2**20
"""Maximum size in bytes of a job, of a file's description, and of a line of events or checkpoints.

A service may serve a page of 16 MiB, and JSON in ASCII takes up to three times that.
"""

FEW = 10
"""Number of lines of the manifest that are named if many cannot be read."""

DEPTH = 3
"""Number of parts of a stored file's path."""

EXPLANATION = """\
# Fine-tuning jobs, archived by ftsync

A complete copy of fine-tuning jobs and of all that belongs to them, as the service served it. Nothing but this folder
is needed to read it.

| path | content |
|---|---|
| `jobs/JOB/job.json` | the job object |
| `jobs/JOB/events.jsonl` | its events, one JSON object a line, oldest first |
| `jobs/JOB/checkpoints.jsonl` | its checkpoints, one JSON object a line |
| `files/FILE/file.json` | the file object of a training, validation or result file |
| `files/FILE/NAME` | the file, byte for byte, under its own name |
| `manifest.jsonl` | one line for each of these: path, SHA-256, bytes, kind, id; or why something could not be had |
| `SHA256SUMS` | the same sums, for `sha256sum -c SHA256SUMS` |

A job names its files by id: `training_file`, `validation_file`, `result_files`. Result files are tables of metrics
(CSV), which some services serve base64-encoded. Of several lines of the manifest on one thing, the last one counts.

`ftsync archive DIR` brings the archive up to date, `ftsync archive DIR --check` reads all of it again and compares the
sums, and `ftsync sync --from-archive DIR` makes runs of it.
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """A manifest entry for a file in the archive: its relative path, SHA-256 in hex and size in bytes."""

    kind: Kind
    id: str
    path: str
    sha256: str
    bytes: int
    time: str


@dataclass(frozen=True, slots=True)
class Missing:
    """A manifest entry for something that the service refused: the name of the error class and the message."""

    kind: Kind
    id: str
    error: str
    message: str
    time: str

    @property
    def is_kept(self) -> bool:
        """Whether the service keeps this kind of thing; some keep no events or no checkpoints of any job."""
        return self.kind not in {"events", "checkpoints"} or self.error != NotOffered.__name__

    def raised(self) -> FtSyncError:
        """Return the error that the source adapter raised when this was to be archived."""
        return REFUSED[self.error](self.message)


Entry: TypeAlias = Stored | Missing
Problem: TypeAlias = tuple[str, str]
"""A path in the archive, and what is wrong with it."""


class Archive:
    """Read access to the archive in a folder; thread-safe.

    A line of the manifest that cannot be read affects nothing but what it was about; see `unreadable`.

    Raises:
        ConfigError: The folder is not an archive, belongs to another user or cannot be read.
        DiskError: The disk fails.
        BadData: There is no line in the manifest that can be read.
    """

    def __init__(self, folder: Path, root: Folder | None = None) -> None:
        self.folder = folder
        self._lock = Lock()
        self._entries: dict[tuple[Kind, str], Entry] = {}
        self._folders: dict[tuple[str, str], str] = {}
        self._owners: dict[str, str] = {}
        self._unread = 0
        self._unread_parts: list[tuple[int, int]] = []  # from byte to byte of the manifest, neighbours in one
        self._faults: dict[int, str] = {}
        place = folder
        try:
            self._root = root or Folder.at(folder)
            place /= MANIFEST
            with self._root.open(MANIFEST) as held:
                self._learn(held)
        except FileNotFoundError:
            raise ConfigError(f"{folder} is no archive", hint=f"`ftsync archive {folder}` makes one") from None
        except OSError as error:
            raise unusable(place, error, use="read", hint="name an archive of your own") from error
        if self._faults and not self._entries:
            raise BadData(f"{folder / MANIFEST} is no manifest of an archive", hint=RESTORE)

    def _learn(self, manifest: IO[bytes]) -> None:
        """Read the manifest; a line that cannot be read is counted, and where it is, is remembered."""
        number = end = 0
        odd: list[tuple[int, int, int, Stored]] = []
        while line := manifest.readline(LONGEST_LINE + 1):
            number, begin, end = number + 1, end, end + len(line)
            if len(line) > LONGEST_LINE:
                fault = f"line {number} has more than {LONGEST_LINE // 2**20} MiB"
                raise BadData(f"{self.folder / MANIFEST}: {fault}", hint=f"remove it, or {RESTORE}")
            if not line.endswith(b"\n"):
                break  # incomplete, left by a killed command: that item is fetched again
            try:
                entry = _entry(line)
                if isinstance(entry, Stored) and not _is_named(entry):
                    odd.append((number, begin, end, entry))
                else:
                    self._know(entry)
            except ValueError as error:
                self._cannot_read(number, begin, end, error)
        # Only now: a folder belongs to the job or file of its name, whichever line comes first.
        for number, begin, end, entry in odd:
            try:
                self._know(entry)
            except ValueError as error:
                self._cannot_read(number, begin, end, error)

    def _cannot_read(self, number: int, begin: int, end: int, error: ValueError) -> None:
        self._unread += 1
        if len(self._faults) < FEW:
            self._faults[number] = f"line {number} {error}"
        if self._unread_parts and self._unread_parts[-1][1] == begin:
            begin, _ = self._unread_parts.pop()
        self._unread_parts.append((begin, end))

    @property
    def unreadable(self) -> tuple[Failed, ...]:
        """The lines of the manifest that cannot be read, each in the place of a job: it may have been about any.

        Of many, the first few, and how many more there are.
        """
        hint = f"restore the line from a backup, or remove it; `ftsync archive {self.folder}` fetches again what it can"
        named = {f"line {number} of {MANIFEST}": fault for number, fault in self._faults.items()}
        if more := self._more:
            named[f"{more} more lines of {MANIFEST}"] = _cannot_be_read(more)
        return tuple(
            Failed(JobId(name), BadData(f"{self.folder / MANIFEST}: {fault}", hint=hint))
            for name, fault in named.items()
        )

    @property
    def _more(self) -> int:
        """The number of lines that cannot be read and are not named."""
        return self._unread - len(self._faults)

    def entries(self, kind: Kind) -> dict[str, Entry]:
        """Return all entries of this kind, by id."""
        with self._lock:
            return {name: entry for (of, name), entry in self._entries.items() if of == kind}

    def entry(self, kind: Kind, name: str) -> Entry | None:
        """Return the entry of one item; None if there is none."""
        return self._entries.get((kind, name))

    def missing(self) -> list[Missing]:
        """Return the entries for what the service refused."""
        with self._lock:
            return [entry for entry in self._entries.values() if isinstance(entry, Missing)]

    def read(self, kind: Kind, name: str) -> bytes:
        """Return an item's content, checked against its SHA-256.

        Raises:
            NotFound, Forbidden, Refused: The service refused the item when it was to be archived.
            Unavailable: The item has not been archived.
            BadData: The file is missing or damaged.
        """
        stored = self.stored(kind, name)
        if kind != "content" and stored.bytes > LARGEST:
            raise self._damaged(stored, f"has more than {LARGEST // 2**20} MiB")
        return b"".join(self._chunks(stored))

    def lines(self, kind: Kind, name: str) -> Many[bytes]:
        """Return an item's lines, read from disk at each iteration; raises the errors of `read`."""
        stored = self.stored(kind, name)
        number, open_line = 0, 0  # the bytes of a line whose end has not been read yet
        for chunk in self._chunks(stored):
            number += chunk.count(b"\n")
            open_line = len(chunk) - 1 - end if (end := chunk.rfind(b"\n")) >= 0 else open_line + len(chunk)
            if open_line > LARGEST:
                raise self._damaged(stored, f"has a line of more than {LARGEST // 2**20} MiB")

        def lines() -> Iterator[bytes]:
            try:
                with self._root.open(self._where(stored)) as content:
                    yield from content
            except OSError as error:
                raise self._unread_file(stored, error) from error

        return Many(number + (open_line > 0), lines)

    def copy(self, name: str, to: Path) -> Stored:
        """Copy a file's content to `to`; raises the errors of `read`."""
        stored = self.stored("content", name)
        with open(to, "wb", opener=private) as out:
            out.writelines(self._chunks(stored))
        return stored

    def stored(self, kind: Kind, name: str) -> Stored:
        """Return an item's entry; raises the errors of `read` if it is not stored."""
        match self.entry(kind, name):
            case Stored() as stored:
                return stored
            case Missing() as missing:
                raise missing.raised()
            case _:
                raise Unavailable(
                    f"the {kind} of {name} is not in the archive {self.folder}",
                    hint=f"`ftsync archive {self.folder}` completes it",
                )

    def check(self) -> Iterator[Problem]:
        """Read the whole archive again and yield each path that is missing, damaged or not in the manifest."""
        if self._root.is_open_to_all:
            yield ".", OPEN_TO_ALL
        for line in self._faults.values():
            yield MANIFEST, line
        if self._more:
            yield MANIFEST, _cannot_be_read(self._more)
        stored = {one.path: one for one in self._stored()}
        for one in stored.values():
            if fault := self._fault(one):
                yield one.path, fault
        if self._root.size(SUMS) is None and SUMS not in self._root.names():
            yield SUMS, f"is missing: `ftsync archive {self.folder}` writes it"
        named = ""
        for path, unsafe in self._root.walk(DEPTH):
            if path in stored or OF_SYSTEMS.fullmatch(PurePosixPath(path).name):
                continue
            # The folder of what is named is not named, too.
            if unsafe or not (self._is_known(path) or (path.endswith("/") and named.startswith(path))):
                named = path
                yield path, unsafe or "is not in the manifest"

    def _is_known(self, path: str) -> bool:
        """Whether an archive contains this without an entry; the path of a folder ends in a slash."""
        name = path.removesuffix("/")
        if path != name:
            return PARTS.get(name, False) or name.casefold() in self._owners
        folder, _, name = path.rpartition("/")
        return PARTS.get(path) is False or (folder == PARTIAL and PARTIAL_NAME.fullmatch(name) is not None)

    def holds(self, kind: Kind, name: str, content: bytes) -> bool:
        """Whether the item is stored with exactly this content."""
        held = self.entry(kind, name)
        if not isinstance(held, Stored):
            return False
        is_same = (held.sha256, held.bytes) == (hashlib.sha256(content).hexdigest(), len(content))
        return is_same and self.is_there(held)

    def is_there(self, stored: Stored) -> bool:
        """Whether there is a file in the entry's own place, which may be damaged."""
        return self._root.size(stored.path) is not None

    def place(self, kind: Kind, name: str) -> str:
        """Return the path of an item: where it is stored, or where it would be."""
        entry = self.entry(kind, name)
        return entry.path if isinstance(entry, Stored) else f"{self._folder_of(kind, name)}/{NAMES.get(kind, '')}"

    def _aside(self, kind: Kind, name: str) -> str:
        return _hashed(name) if kind == "content" else f"{_hashed(name)}.{kind}"

    def _where(self, stored: Stored) -> str:
        """Return a stored file's path: in the partial folder, if a command was killed before it moved the file."""
        aside = f"{PARTIAL}/{self._aside(stored.kind, stored.id)}"
        is_aside = self._root.size(aside) == stored.bytes and self._digest(aside, stored.bytes) == (
            stored.sha256,
            stored.bytes,
        )
        return aside if is_aside else stored.path

    def _digest(self, path: str, expected: int) -> tuple[str, int]:
        """Return the SHA-256 and the size of a file; no sum if it has not the expected size: it is not read."""
        digest = hashlib.sha256()
        with self._root.open(path) as content:
            if (size := _size(content)) != expected:
                return "", size
            while chunk := content.read(CHUNK):
                digest.update(chunk)
            return digest.hexdigest(), content.tell()

    def _fault(self, stored: Stored) -> str | None:
        """Return what is wrong with a stored file; None if nothing is."""
        where = self._where(stored)
        if where != stored.path and (obstacle := self._root.obstacle(stored.path)):
            return f"is in the way of a file, which is in {PARTIAL}: {obstacle}"
        try:
            digest, size = self._digest(where, stored.bytes)
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        return None if digest == stored.sha256 else f"is damaged: {size} bytes, {stored.bytes} were stored"

    def _chunks(self, stored: Stored) -> Iterator[bytes]:
        """Yield the content of a stored file; raises `BadData` if it cannot be read or, at its end, is damaged."""
        digest = hashlib.sha256()
        try:
            with self._root.open(self._where(stored)) as content:
                if _size(content) != stored.bytes:
                    raise self._damaged(stored)
                while chunk := content.read(CHUNK):
                    digest.update(chunk)
                    yield chunk
        except OSError as error:
            raise self._unread_file(stored, error) from error
        if digest.hexdigest() != stored.sha256:
            raise self._damaged(stored)

    def _stored(self) -> list[Stored]:
        with self._lock:
            return [entry for entry in self._entries.values() if isinstance(entry, Stored)]

    def _damaged(self, stored: Stored, fault: str = "is missing or damaged") -> BadData:
        return BadData(
            f"{self.folder / stored.path} {fault}", hint=f"`ftsync archive {self.folder} --check` names all that is"
        )

    def _unread_file(self, stored: Stored, error: OSError) -> BadData:
        if isinstance(error, FileNotFoundError):
            return self._damaged(stored)
        return self._damaged(stored, f"cannot be read: {error.strerror}")

    def _know(self, entry: Entry) -> None:
        """Take an entry in place of an earlier one on the same item.

        Raises:
            ValueError: It names the folder of another item.
        """
        if isinstance(entry, Stored):
            folder = str(PurePosixPath(entry.path).parent)
            if self._owners.setdefault(folder.casefold(), entry.id) != entry.id:
                raise ValueError("names the folder of another job or file")
            self._folders[FOLDERS[entry.kind], entry.id] = folder
        self._entries[entry.kind, entry.id] = entry

    def _folder_of(self, kind: Kind, name: str) -> str:
        """Return the folder of a job or file, unique even on case-insensitive file systems."""
        with self._lock:
            folder = self._folders.get((FOLDERS[kind], name))
            if folder is None:
                folder = f"{FOLDERS[kind]}/{file_name(name)}"
                while self._owners.get(folder.casefold(), name) != name:
                    folder += f"-{_hashed(name)}"
                self._folders[FOLDERS[kind], name] = folder
                self._owners[folder.casefold()] = name
        return folder


class ArchiveWriter(Archive):
    """Write access to the archive in a folder, by one process at a time; see `writing`."""

    def __init__(self, folder: Path, root: Folder | None = None) -> None:
        super().__init__(folder, root)
        self._partial = self._root.folder(PARTIAL, create=True)

    def partial(self, name: str) -> Path:
        """Return where to download a file's content before `adopt`; a file there is a partial download to resume."""
        return self._partial.path_of(self._aside("content", name))

    def store(self, kind: Kind, name: str, chunks: Iterable[bytes]) -> bool:
        """Store an item from chunks; return False if the same content was stored already."""
        digest, aside = hashlib.sha256(), self._aside(kind, name)
        with self._partial.open(aside, "wb") as out:
            for chunk in chunks:
                out.write(chunk)
                digest.update(chunk)
            size = out.tell()
        held = self.entry(kind, name)
        if isinstance(held, Stored) and (held.sha256, held.bytes) == (digest.hexdigest(), size):
            if self._root.size(held.path) is not None:
                self._partial.unlink(aside)
                return False
            self._partial.move(aside, self._root, held.path)
            return True
        path = f"{self._folder_of(kind, name)}/{NAMES[kind]}"
        self._put(aside, Stored(kind, name, path, digest.hexdigest(), size, _now()))
        return True

    def adopt(self, name: str, download: Download, filename: str | None) -> None:
        """Move a file's content, downloaded to `partial`, into the archive, under the file's own name."""
        own = file_name(PurePosixPath((filename or "").replace("\\", "/")).name) if filename else "content"
        if own.casefold() == NAMES["file"]:
            own = f"content-{own}"  # file.json is the name of the file's description
        path = f"{self._folder_of('content', name)}/{own}"
        aside = self._aside("content", name)
        self._put(aside, Stored("content", name, path, download.sha256, download.size, _now()))

    def note(self, kind: Kind, name: str, error: FtSyncError) -> None:
        """Record that the service refused an item, unless it is stored already."""
        if isinstance(self.entry(kind, name), Stored):
            return
        self._append(Missing(kind, name, type(error).__name__, error.message, _now()))

    def begin(self) -> None:
        """Explain the archive, compact its manifest to a line per item, and clean up after a killed command."""
        if self._root.size(README) is None:
            self._replace(README, [EXPLANATION.encode()])
        self._replace(MANIFEST, chain(self._unread_lines(), map(_line, self._entries.values())))
        left = {self._aside(stored.kind, stored.id): stored for stored in self._stored()}
        for name in filter(PARTIAL_NAME.fullmatch, self._partial.names()):
            stored = left.get(name)
            if stored and self._where(stored) != stored.path:
                try:
                    self._partial.move(name, self._root, stored.path)
                except OSError as error:  # something is in its way: it stays readable where it is
                    if error.errno in FAILING:
                        raise
            elif "." in name:  # partial downloads are kept, to be resumed
                self._partial.unlink(name)

    def _unread_lines(self) -> Iterator[bytes]:
        """Yield what cannot be read of the manifest, which is kept, in chunks."""
        with self._root.open(MANIFEST) as held:
            for begin, end in self._unread_parts:
                held.seek(begin)
                while chunk := held.read(min(CHUNK, end - held.tell())):
                    yield chunk

    def end(self) -> None:
        """Write the checksums in the format of `sha256sum`."""
        self._replace(SUMS, sorted(f"{stored.sha256}  {stored.path}\n".encode() for stored in self._stored()))

    def _replace(self, name: str, lines: Iterable[bytes]) -> None:
        """Replace a file of the archive at once."""
        aside = f"{name}.new"
        with self._partial.open(aside, "wb") as out:
            out.writelines(lines)
            out.flush()
            os.fsync(out.fileno())
        self._partial.move(aside, self._root, name)

    def _put(self, aside: str, stored: Stored) -> None:
        with self._partial.open(aside, "ab") as written:
            os.fsync(written.fileno())
            if os.chmod in os.supports_fd:
                os.chmod(written.fileno(), 0o600)  # noqa: PTH101 - the open file, whatever a source has made it
        self._root.require_free(stored.path)
        # Manifest first: if the process is killed before the move, `_where` finds the file in the partial folder.
        self._append(stored)
        self._partial.move(aside, self._root, stored.path)

    def _append(self, entry: Entry) -> None:
        line = _line(entry)
        if len(line) > LONGEST_LINE:
            raise BadData(f"the {entry.kind} of a job or file has an id of {len(entry.id)} characters")
        with self._lock:
            with self._root.open(MANIFEST, "ab", buffering=0) as out:
                end = out.tell()
                try:
                    while line:
                        line = line[out.write(line) :]
                except OSError:
                    out.truncate(end)  # a partial line would corrupt the next one
                    raise
            self._know(entry)


@contextmanager
def writing(folder: Path) -> Iterator[ArchiveWriter]:
    """Open an archive for writing, creating it in a new or empty folder.

    Raises:
        ConfigError: The folder is another user's, contains what no archive does, cannot be written to, or another
            process is writing it.
        DiskError: The disk is full, read-only or failing.
        BadData: There is no line in the manifest that can be read.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        root = Folder.at(folder)
        _require_archive(root)
        lock = FileLock(root.path_of(LOCK), mode=0o600)
        lock.acquire(blocking=False)
    except Timeout:
        raise ConfigError(f"another process is writing {folder}", hint="wait for it, or name another folder") from None
    except OSError as error:
        raise unusable(folder, error, hint="name another folder") from error
    try:
        with _on_disk(folder):
            root.open(MANIFEST, "ab").close()
            archive = ArchiveWriter(folder, root)
            archive.begin()
        yield archive
        with _on_disk(folder):
            archive.end()
    finally:
        lock.release()


def _require_archive(root: Folder) -> None:
    """Refuse a folder that contains what no archive does, before anything in it is changed.

    Raises:
        ConfigError: The folder contains such a thing.
        BadData: Its manifest is none of an archive.
    """
    names = [name for name in root.names() if not OF_SYSTEMS.fullmatch(name)]
    if MANIFEST not in names and {*names} - {LOCK, PARTIAL}:
        raise ConfigError(f"{root.path} is not empty and no archive", hint="name a folder that is new or empty")
    for name in names:
        _require_part(root, name, is_known=name in PARTS, is_folder=PARTS.get(name, False))
    if MANIFEST in names and LOCK not in names:
        Archive(root.path, root)  # so that no lock is made beside another program's manifest
    if PARTIAL in names:
        with root.folder(PARTIAL) as partial:
            for name in partial.names():
                if not OF_SYSTEMS.fullmatch(name):
                    _require_part(partial, name, is_known=PARTIAL_NAME.fullmatch(name) is not None)


def _require_part(folder: Folder, name: str, *, is_known: bool, is_folder: bool = False) -> None:
    fault: str | None = "no archive contains that"
    if is_known:
        try:
            fault = folder.fault(name, is_folder=is_folder)
        except FileNotFoundError:  # another process is writing; the lock will tell
            return
    if fault:
        raise ConfigError(f"{folder.path / name}: {fault}", hint="move it elsewhere, or name another folder")


@contextmanager
def _on_disk(folder: Path) -> Iterator[None]:
    """Translate `OSError` into `DiskError`."""
    try:
        yield
    except OSError as error:
        raise unwritten(folder, error) from error


def unwritten(folder: Path, error: OSError) -> DiskError:
    """Return the error for a file of an archive that could not be written."""
    return in_the_way(error) if isinstance(error, Unsafe) else in_folder(folder, error)


def _size(content: IO[bytes]) -> int:
    return os.fstat(content.fileno()).st_size


def _line(entry: Entry) -> bytes:
    return json.dumps(asdict(entry)).encode() + b"\n"


def _entry(line: bytes) -> Entry:
    """Parse a line of the manifest.

    Raises:
        ValueError: It is no entry, or not one that ftsync makes: none leads out of the folder.
    """
    if b"{" not in line:  # at once, as there may be millions
        raise ValueError("cannot be read")
    try:
        found = json.loads(line)
        entry: Entry = Missing(**found) if "error" in found else Stored(**found)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError("cannot be read") from error
    if not all(isinstance(value, str) for name, value in asdict(entry).items() if name != "bytes"):
        raise ValueError("cannot be read")
    if entry.kind not in FOLDERS or not (entry.error in REFUSED if isinstance(entry, Missing) else _is_ours(entry)):
        raise ValueError("names what no archive contains")
    return entry


def _is_ours(stored: Stored) -> bool:
    """Whether the path and the sum are such as ftsync makes."""
    path = PATH.fullmatch(stored.path)
    if path is None or DEVICES.match(path[2]) or DEVICES.match(path[3]):
        return False
    is_named = path[3] == NAMES[stored.kind] if stored.kind in NAMES else path[3].casefold() != NAMES["file"]
    is_summed = SUM.fullmatch(stored.sha256) is not None and type(stored.bytes) is int and 0 <= stored.bytes < 2**63
    return is_named and is_summed and path[1] == FOLDERS[stored.kind]


def _cannot_be_read(number: int) -> str:
    return f"{number} more lines cannot be read"


def _is_named(stored: Stored) -> bool:
    """Whether the folder has the name that `_folder_of` gives it."""
    name, own = PurePosixPath(stored.path).parent.name, file_name(stored.id)
    return name == own or re.fullmatch(rf"{re.escape(own)}(-{_hashed(stored.id)})+", name) is not None


def _hashed(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:16]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
